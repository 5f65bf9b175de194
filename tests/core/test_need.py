"""What each target needs for the work of its role: by what its replicas were learned to carry, or by a safe guess."""

from dataclasses import replace

import pytest

from scaler.core.capacity import learned
from scaler.core.memory import CapacityMemory, Course, TargetMemory
from scaler.core.model import (
    FirstTokens,
    Fleet,
    FleetSeen,
    Missing,
    Objective,
    Observation,
    Policy,
    Role,
    Target,
    Version,
)
from scaler.core.plan import Ruling
from tests.builders import START_S, fleet, key, load, policy, ready, seen, serving, starting, version, work
from tests.core.conversing import CHAT, LOAD_TIME, SERVE, SLOW, busy, capacity, refusing, work_seen
from tests.core.engines import CONVERSATION, TICK_S, after, rounds

BOTH = policy(versions=(version("v1"), version("v2")))


def need(
    observation: Observation, *capacities: CapacityMemory, asked: Policy | None = None, name: str = "v1"
) -> Ruling:
    told = work_seen(observation, *capacities, asked=asked).needs[key(name)]
    assert isinstance(told, Ruling)
    return told


# --- Where nothing was learned -----------------------------------------------------------------------------------


def test_where_engines_count_no_tokens_a_safe_number_of_requests_has_to_do() -> None:
    told = need(seen(fleet(*serving(2, running=60.0))), capacity())

    assert told.after == 5
    assert told.because == "120 running and 0 waiting requests at 24 to a replica"


def test_until_it_is_learned_what_one_carries_a_queue_needs_twice_the_ready_at_most() -> None:
    told = need(seen(busy(4, 0.5, waiting=1000.0)))

    assert told.after == 8
    assert told.because.endswith(", but at most 8 until it is learned what one carries")


def test_until_it_is_learned_the_ready_are_enough_while_no_queue_forms() -> None:
    """236 running are ten replicas' worth by the safe guess, and nobody waits for the four that have them."""
    assert need(seen(busy(4, 0.7, waiting=1.0))).after == 4


def test_until_it_is_learned_a_need_below_that_stays_as_it_is() -> None:
    told = need(seen(busy(4, 0.3)))

    assert told.after == 3
    assert "learned" not in told.because


def test_the_bound_counts_the_ready_of_all_versions() -> None:
    both = seen({"v1": busy(4, 0.5, waiting=1000.0), "v2": busy(1, 0.5, waiting=1000.0)})

    assert need(both, asked=BOTH, name="v2").after == 10


def test_those_that_start_do_not_raise_the_bound() -> None:
    whole = busy(2, 0.5, waiting=1000.0)
    more = fleet(*whole.replicas, *(starting(f"s{index}") for index in range(6)))

    assert need(seen(more)).after == 4


def test_demand_is_watched_before_anything_is_learned() -> None:
    (course,) = work_seen(seen(busy(2, 0.5))).courses

    assert len(course.moments) == 1


def test_a_demand_that_cannot_be_told_is_missing_for_every_version_and_keeps_the_course() -> None:
    known = Course(role=SERVE, coverage=0.7)
    silent = ready("r0", load=Missing(why="connection refused"))
    told = work_seen(seen({"v1": busy(1, 0.5), "v2": fleet(silent)}), capacity(), asked=BOTH, courses=[known])

    assert all(isinstance(each, Missing) for each in told.needs.values())
    assert set(told.needs) == {key("v1"), key("v2")}
    assert told.courses == (known,)


def test_the_policys_own_queries_come_before_what_was_learned() -> None:
    told = need(replace(seen(busy(4, 0.9)), own_replicas=2.5), capacity())

    assert told.after == 3


# --- By what one carries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "share"), [(1, 0.3), (4, 0.5), (10, 0.8), (40, 0.25)])
def test_the_work_is_told_in_replicas_that_are_full(count: int, share: float) -> None:
    told = need(seen(busy(count, share)), capacity())

    assert told.facts["work_replicas"] == pytest.approx(count * share, rel=0.02)
    assert told.after >= count * share * told.facts["growth"]


def test_without_traffic_one_replica_is_needed() -> None:
    idle = replace(load(), work=work())

    assert need(seen(fleet(*(ready(f"r{index}", load=idle) for index in range(3)))), capacity()).after == 1


def test_a_version_twice_as_slow_needs_twice_as_many() -> None:
    known = (capacity(CHAT, "v1"), capacity(SLOW, "v2"))
    observation = seen({"v1": busy(20, 0.5), "v2": fleet()})

    fast, slow = (need(observation, *known, asked=BOTH, name=name) for name in ("v1", "v2"))

    assert fast.facts["work_replicas"] == pytest.approx(10.0, rel=0.02)
    assert slow.facts["work_replicas"] == pytest.approx(20.0, rel=0.02)
    assert slow.after == pytest.approx(2.0 * fast.after, abs=1.0)


def test_what_one_carries_is_told_for_each_version() -> None:
    told = work_seen(
        seen({"v1": busy(20, 0.5), "v2": fleet()}), capacity(CHAT, "v1"), capacity(SLOW, "v2"), asked=BOTH
    ).tokens_per_s

    assert told[key("v1")] == pytest.approx(CHAT.most_per_s * (1155.0 + 211.0), rel=0.02)
    assert told[key("v2")] == pytest.approx(told[key("v1")] / 2.0, rel=0.02)


def test_a_version_without_lines_of_its_own_is_believed_to_be_as_another_of_its_role() -> None:
    observation = seen({"v1": busy(20, 0.5), "v2": fleet()})

    new, old = (need(observation, capacity(SLOW, "v1"), asked=BOTH, name=name) for name in ("v2", "v1"))

    assert new.facts["work_replicas"] == old.facts["work_replicas"] == pytest.approx(20.0, rel=0.02)


# --- Queues and objectives ---------------------------------------------------------------------------------------


def test_a_queue_is_worked_off_within_half_a_load_time_after_the_replicas_for_it_are_there() -> None:
    """4000 requests that wait are 4000 / 21 replica-seconds, which 150 s take, and what is ready is just enough."""
    full = need(seen(busy(4, 0.99)), capacity())
    queue = need(seen(busy(4, 0.99, waiting=1000.0)), capacity())
    queued_s = 4000.0 / CHAT.most_per_s
    behind_s = (queue.facts["work_replicas"] - 4.0) * LOAD_TIME.p50_s

    assert full.facts["drain_replicas"] == 0.0
    assert queue.facts["drain_replicas"] == pytest.approx((queued_s + behind_s) / 150.0, rel=0.05)
    assert queue.after > full.after
    assert queue.because.endswith("to work off 4000 that wait")


def test_a_queue_that_is_gone_within_the_objective_needs_no_more() -> None:
    """What is ready is a little too few, and 40 requests are two seconds' work of one of the four."""
    told = need(seen(busy(4, 1.02, waiting=10.0)), capacity())

    assert told.facts["work_replicas"] > 4.0
    assert told.facts["drain_replicas"] == 0.0


def test_a_queue_that_the_ready_work_off_by_themselves_needs_no_more() -> None:
    """At a tenth of what 20 replicas carry, 18 of them work it off while others would load."""
    told = need(seen(busy(20, 0.1, waiting=1000.0)), capacity())

    assert told.facts["drain_replicas"] == 0.0


def test_the_queue_of_a_role_is_met_by_the_ready_of_all_its_versions() -> None:
    """Four requests wait at four replicas: gone at once, and no backlog for the version that has nobody ready yet."""
    observed = seen({"v1": busy(4, 0.6, waiting=1.0), "v2": fleet(starting())}, {"v1": 100, "v2": 0})

    told = work_seen(observed, capacity(), asked=BOTH).needs[key("v2")]

    assert isinstance(told, Ruling)
    assert told.facts["drain_replicas"] == 0.0


def test_an_objective_between_tokens_lowers_the_batch_and_raises_the_need() -> None:
    observation = seen(busy(20, 0.5))
    strict = policy(inter_token_latency=Objective(percentile=95.0, limit_s=0.010))
    lax = policy(inter_token_latency=Objective(percentile=95.0, limit_s=10.0))

    told = need(observation, capacity(), asked=strict)

    # A step of 10 ms has 6.373 of overhead: 3.6 ms of work in each, where 256 sequences have it nearly full.
    assert told.facts["work_replicas"] > 1.5 * need(observation, capacity()).facts["work_replicas"]
    assert need(observation, capacity(), asked=lax) == need(observation, capacity())


def test_a_tighter_objective_for_the_first_token_leaves_more_idle() -> None:
    observation = seen(busy(20, 0.5))
    tight = policy(time_to_first_token=Objective(percentile=95.0, limit_s=0.2))

    assert need(observation, capacity(), asked=tight).facts["idle_replicas"] > (
        5.0 * need(observation, capacity()).facts["idle_replicas"]
    )


@pytest.mark.parametrize(
    ("ttft_s", "limit_s", "is_late"),
    [(1.9, None, False), (2.1, None, True), (2.1, 5.0, False), (5.1, 5.0, True)],
    ids=["in time", "late", "in time by its own objective", "late by its own objective"],
)
def test_coverage_rises_when_first_tokens_are_late(ttft_s: float, limit_s: float | None, is_late: bool) -> None:  # noqa: FBT001
    objective = None if limit_s is None else Objective(percentile=95.0, limit_s=limit_s)
    earlier = work_seen(seen(busy(4, 0.5, at_s=START_S - TICK_S)), capacity()).courses
    known = replace(earlier[0], coverage=0.5)
    observation = replace(seen(busy(4, 0.5)), ttft_s=ttft_s)

    told = work_seen(observation, capacity(), asked=policy(time_to_first_token=objective), courses=[known])

    (course,) = told.courses
    assert course.coverage is not None
    assert (course.coverage > 0.5) is is_late


@pytest.mark.parametrize(("short_from_s", "rises"), [(None, True), (START_S - 600.0, False)], ids=["enough", "short"])
def test_what_is_late_for_want_of_gpus_moves_no_coverage(short_from_s: float | None, rises: bool) -> None:  # noqa: FBT001
    earlier = work_seen(seen(busy(4, 0.5, at_s=START_S - TICK_S)), capacity()).courses
    known = replace(earlier[0], coverage=0.5)
    shared = TargetMemory(key=key(), shared_from_s=short_from_s)

    told = work_seen(replace(seen(busy(4, 0.5)), ttft_s=9.0), capacity(), courses=[known], targets=[shared])

    assert ((told.courses[0].coverage or 0.0) > 0.5) is rises


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((0.0, 0.0), "worth of work, which may grow"),
        ((1.0, 0.0), "worth of work, which by the last five minutes may grow"),
    ],
)
def test_a_need_says_from_which_base_growth_was_told(losses: tuple[float, float], words: str) -> None:
    """90 % of the starts take 400 s, so the look-ahead is longer than the five minutes of the calm base."""
    earlier = work_seen(seen(busy(4, 0.9, at_s=START_S - TICK_S)), capacity()).courses

    told = work_seen(seen(busy(4, 0.9)), capacity(), courses=[replace(earlier[0], losses=losses)])

    (need_told,) = told.needs.values()
    assert isinstance(need_told, Ruling)
    assert words in need_told.because


# --- Refusals ----------------------------------------------------------------------------------------------------


def test_what_is_refused_needs_replicas_as_if_it_had_been_served() -> None:
    """Four that are full, and as much again that finds no room: eight replicas' worth."""
    told = need(refusing(4, 0.95, 4.0 * 0.95 * CHAT.most_per_s), capacity())

    assert told.facts["work_replicas"] == pytest.approx(8.0 * 0.95, rel=0.03)
    assert told.because.endswith(f"; {4.0 * 0.95 * CHAT.most_per_s:.1f} requests a second are refused")
    assert told.after > need(refusing(4, 0.95, 0.0), capacity()).after


def test_what_is_refused_moves_coverage_and_is_late() -> None:
    before = work_seen(refusing(4, 0.9, 0.0, at_s=START_S - 15.0), capacity()).courses
    (course,) = work_seen(refusing(4, 0.9, 1.0), capacity(), courses=before).courses
    (well,) = work_seen(refusing(4, 0.9, 0.0), capacity(), courses=before).courses

    assert sum(requests for _, requests in course.late) == 15.0 * 1.0
    assert well.late == ()
    assert course.coverage is not None
    assert well.coverage is not None
    assert course.coverage > well.coverage


def test_until_it_is_learned_refusals_allow_twice_the_ready_like_a_queue() -> None:
    """236 running are ten replicas' worth by the safe guess."""
    assert need(refusing(4, 0.7, 0.0)).after == 4
    assert need(refusing(4, 0.7, 1.0)).after == 8


# --- Prefill and decode apart ------------------------------------------------------------------------------------

PREFILL, DECODE = key(role=Role.PREFILL), key(role=Role.DECODE)
APART = policy(versions=(Version(name="v1", targets=(Target(key=PREFILL), Target(key=DECODE))),))
DECODING = replace(CHAT, mix=replace(CONVERSATION, prompt=0.0))


def prefilling(count: int, busy: float, rps: float, waiting: float = 0.0, at_s: float = START_S) -> Fleet:
    """Replicas that only prefill, each busy for this share of its time."""
    told = replace(work(rps * 1155.0, rps, rps), prefilling=busy / (1.0 - busy * busy))
    minute = replace(load(waiting=waiting, at_s=at_s), work=told)
    return fleet(*(ready(f"p{index}", at_s=at_s, load=minute) for index in range(count)))


def apart(prefill: Fleet, decode: Fleet) -> Observation:
    return Observation(fleets=(FleetSeen(key=PREFILL, fleet=prefill), FleetSeen(key=DECODE, fleet=decode)))


def known_apart() -> tuple[CapacityMemory, CapacityMemory]:
    """What is known after minutes of either role: a replica prefills 40 of these requests a second."""
    prefill = CapacityMemory(key=PREFILL, node_class="H100")
    for tick, share in enumerate(rounds(40, 0.2, 0.4, 0.6, 0.8)):
        prefill = learned(prefill, prefilling(4, share, 40.0 * share, at_s=START_S - 10_000.0 + tick * TICK_S))
    decode = after(CapacityMemory(key=DECODE, node_class="H100"), DECODING, rounds(40, 0.2, 0.4, 0.6, 0.8))
    return prefill, replace(decode, at_s=None)


def test_prefill_is_sized_by_prompt_tokens_and_decode_by_decoded_ones() -> None:
    """Four that prefill for 0.6 of their time, four that decode at 0.3 of what they carry."""
    told = work_seen(apart(prefilling(4, 0.6, 24.0), busy(4, 0.3, DECODING)), *known_apart(), asked=APART).needs
    prefill, decode = told[PREFILL], told[DECODE]

    assert isinstance(prefill, Ruling)
    assert isinstance(decode, Ruling)
    assert prefill.facts["work_replicas"] == pytest.approx(2.4, rel=0.1)
    assert decode.facts["work_replicas"] == pytest.approx(1.2, rel=0.1)


def test_longer_prompts_need_more_to_prefill_and_no_more_to_decode() -> None:
    long = prefilling(4, 0.6, 24.0)
    work_of_long = replace(work(24.0 * 4000.0, 24.0, 24.0), prefilling=5.0)
    long = fleet(*(replace(each, load=replace(load(), work=work_of_long)) for each in long.replicas))
    short = work_seen(apart(prefilling(4, 0.6, 24.0), busy(4, 0.3, DECODING)), *known_apart(), asked=APART).needs
    told = work_seen(apart(long, busy(4, 0.3, DECODING)), *known_apart(), asked=APART).needs

    assert replicas(told[PREFILL]) > 2 * replicas(short[PREFILL])
    assert told[DECODE] == short[DECODE]


def replicas(told: Ruling | Missing) -> int:
    assert isinstance(told, Ruling)
    return told.after


def test_a_queue_of_prompts_is_drained_by_more_that_prefill() -> None:
    queued = prefilling(4, 0.9, 36.0, waiting=2000.0)
    told = work_seen(apart(queued, busy(4, 0.3, DECODING)), *known_apart(), asked=APART).needs
    prefill, decode = told[PREFILL], told[DECODE]

    assert isinstance(prefill, Ruling)
    assert isinstance(decode, Ruling)
    assert prefill.facts["drain_replicas"] > 0.0
    assert decode.facts["drain_replicas"] == 0.0


def test_late_first_tokens_are_laid_to_the_role_in_which_requests_wait() -> None:
    observation = apart(prefilling(4, 0.9, 36.0, waiting=20.0), busy(4, 0.3, DECODING))
    earlier_s = START_S - TICK_S
    before = apart(prefilling(4, 0.9, 36.0, waiting=20.0, at_s=earlier_s), busy(4, 0.3, DECODING, at_s=earlier_s))
    earlier = work_seen(before, *known_apart(), asked=APART).courses
    courses = [replace(course, coverage=0.5) for course in earlier]

    late = replace(observation, ttft_s=9.0, first_tokens=FirstTokens(per_s=36.0, late_per_s=4.0))
    told = work_seen(late, *known_apart(), asked=APART, courses=courses).courses

    coverage = {course.role: course.coverage for course in told}
    assert (coverage[Role.PREFILL.value] or 0.0) > 0.5 > (coverage[Role.DECODE.value] or 0.0)
    counted = {course.role: (course.requests, sum(requests for _, requests in course.late)) for course in told}
    assert counted == {Role.PREFILL.value: (15.0 * 36.0, 15.0 * 4.0), Role.DECODE.value: (15.0 * 36.0, 0.0)}


def test_prefill_replicas_that_do_not_time_their_prefills_are_sized_by_requests() -> None:
    """As engines were before they were timed: bounded by what is ready until a queue forms."""
    untimed = prefilling(2, 0.5, 20.0, waiting=100.0)
    minute = replace(load(waiting=100.0), work=work(20.0 * 1155.0, 20.0, 20.0))
    untimed = fleet(*(replace(each, load=minute) for each in untimed.replicas))

    told = work_seen(apart(untimed, busy(4, 0.3, DECODING)), known_apart()[1], asked=APART).needs[PREFILL]

    assert isinstance(told, Ruling)
    assert told.after == 4
    assert "200 waiting requests at 24 to a replica" in told.because
