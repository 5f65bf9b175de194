"""What each target needs for the work of its role: by what its replicas were learned to carry, or by a safe guess."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from scaler.core.capacity import learned
from scaler.core.memory import CapacityMemory, Course, Memory, TargetMemory
from scaler.core.model import (
    FirstTokens,
    Fleet,
    FleetSeen,
    Missing,
    Objective,
    Observation,
    Policy,
    Replica,
    Role,
    Target,
    TargetKey,
    Version,
)
from scaler.core.need import Asked, WorkSeen, believed, learned_of, slow_of, slowness_of, work_of
from scaler.core.plan import LoadTime, Ruling
from scaler.sim.latency import LLAMA_8B_H100
from tests.builders import START_S, fleet, key, load, policy, ready, seen, serving, starting, version, work
from tests.core.engines import CONVERSATION, TICK_S, Row, after, rounds

SERVE = Role.SERVE.value
CHAT = Row(engine=LLAMA_8B_H100, mix=CONVERSATION)
SLOW = replace(CHAT, slow=2.0)
LOAD_TIME = LoadTime(p50_s=300.0, p90_s=400.0, samples=5)
BOTH = policy(versions=(version("v1"), version("v2")))


def capacity(row: Row = CHAT, name: str = "v1", node_class: str = "H100", ticks: int = 40) -> CapacityMemory:
    """What is known of a version after minutes at several levels."""
    new = CapacityMemory(key=key(name), node_class=node_class)
    return replace(after(new, row, rounds(ticks, 0.2, 0.4, 0.6, 0.8)), at_s=None)


def busy(count: int, share: float, row: Row = CHAT, waiting: float = 0.0, at_s: float = START_S) -> Fleet:
    """So many replicas at a share of what each carries, with so many requests in each one's queue."""
    minute = replace(row.minute(share, at_s), waiting=waiting)
    return fleet(*(ready(f"r{index}", at_s=at_s, load=minute) for index in range(count)))


def work_seen(
    observation: Observation,
    *capacities: CapacityMemory,
    asked: Policy | None = None,
    courses: Sequence[Course] = (),
    targets: Sequence[TargetMemory] = (),
) -> WorkSeen:
    asked = asked or policy()
    load_times = {target.key: LOAD_TIME for target in asked.targets()}
    memory = Memory(at_s=START_S - TICK_S, courses=tuple(courses), capacities=capacities, targets=tuple(targets))
    return work_of(question(asked, observation, memory, load_times, START_S))


def question(
    asked: Policy, observation: Observation, memory: Memory, load_times: dict[TargetKey, LoadTime], at_s: float
) -> Asked:
    """What is asked of one tick, where no replica is slower than its like."""
    return Asked(
        policy=asked,
        observation=observation,
        memory=memory,
        capacities=memory.capacities,
        load_times=load_times,
        slow={},
        at_s=at_s,
    )


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


def test_its_own_lines_count_for_more_than_any_number_of_anothers() -> None:
    known = (capacity(CHAT, "v1", ticks=100), capacity(SLOW, "v2", ticks=4))
    slow, fast = believed(key("v2"), known), believed(key("v1"), known)

    assert slow is not None
    assert fast is not None
    assert slow.replicas(CHAT.flow()) == pytest.approx(2.0 * fast.replicas(CHAT.flow()), rel=0.05)


def test_nobodys_lines_are_no_belief() -> None:
    assert believed(key(), [CapacityMemory(key=key(), node_class=None)]) is None


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


# --- What is counted for the advice ------------------------------------------------------------------------------


def counted(observation: Observation, **question: Any) -> Course:
    """The course of four replicas' service after a tick of 15 s that saw this."""
    before = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0)), capacity()).courses
    return work_seen(observation, capacity(), courses=before, **question).courses[0]


def test_first_tokens_that_were_late_are_counted_by_the_replicas_that_would_have_been_in_time() -> None:
    well, late = FirstTokens(per_s=80.0, late_per_s=0.0), FirstTokens(per_s=80.0, late_per_s=2.0)

    told = counted(replace(seen(busy(4, 0.9)), first_tokens=well))
    assert (told.late, told.requests) == ((), 15.0 * 80.0)
    assert told.came_s == pytest.approx(3.6 * 15.0, rel=0.02)

    told = counted(replace(seen(busy(4, 0.99, waiting=1000.0)), first_tokens=late))
    ((level, requests),) = told.late
    assert level > 4
    assert requests == 15.0 * 2.0
    assert told.requests == 15.0 * 80.0


LATE = FirstTokens(per_s=80.0, late_per_s=2.0)


@pytest.mark.parametrize(("waiting", "is_counted"), [(0.0, False), (4.0, False), (6.0, True)])
def test_first_tokens_that_are_late_without_a_queue_are_so_for_their_prompts(waiting: float, is_counted: bool) -> None:  # noqa: FBT001
    """A full replica works off 24 requests a second: at four of them 16 that wait are 0.7 s, and a tenth of 2 s 0.8."""
    course = counted(replace(seen(busy(4, 0.9, waiting=waiting)), first_tokens=LATE))

    assert (course.late != ()) is is_counted
    assert course.requests == 15.0 * 80.0


@pytest.mark.parametrize(("ago_s", "is_counted"), [(15.0, True), (135.0, True), (150.0, False)])
def test_a_queue_counts_for_as_long_as_first_tokens_are_told_of_its_time(ago_s: float, is_counted: bool) -> None:  # noqa: FBT001
    course = Course(role=SERVE)
    for tick in range(11):
        at_s = START_S - 150.0 + 15.0 * tick
        waiting = 60.0 if at_s == START_S - ago_s else 0.0
        observation = replace(
            seen(busy(4, 0.9, waiting=waiting, at_s=at_s)), first_tokens=replace(LATE, late_per_s=0.0)
        )
        if at_s == START_S:
            observation = replace(observation, first_tokens=LATE)
        memory = Memory(at_s=at_s, courses=(course,), capacities=(capacity(),))
        (course,) = work_of(question(policy(), observation, memory, {key(): LOAD_TIME}, at_s)).courses

    assert (course.late != ()) is is_counted


@pytest.mark.parametrize(("waiting", "late"), [(1.0, ()), (1.25, ((5, 15.0 * 2.0),))])
def test_before_a_replica_is_learned_one_more_than_are_ready_would_have_been_in_time(
    waiting: float, late: tuple[tuple[int, float], ...]
) -> None:
    """More than one that waits for each of the four is a queue."""
    before = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0))).courses
    observation = replace(seen(busy(4, 0.9, waiting=waiting)), first_tokens=LATE)

    (course,) = work_seen(observation, courses=before).courses

    assert course.late == late
    assert (course.requests, course.seen_s, course.came_s) == (15.0 * 80.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("floor", "most", "level"),
    [(0, 100, 4), (4, 100, 5), (8, 100, 4), (4, 4, 4)],
    ids=["no floor", "a floor in force", "a floor that is not there yet", "no more than may be"],
)
def test_a_floor_that_was_in_force_is_to_be_raised_by_a_tenth(floor: int, most: int, level: int) -> None:
    """A queue of 0.9 s is no reason for more than the work, which is four replicas'."""
    course = counted(
        replace(seen(busy(4, 0.9, waiting=6.0)), first_tokens=LATE),
        asked=replace(policy(), warm_floor=floor, max_replicas=most),
    )

    assert course.late == ((level, 15.0 * 2.0),)


def test_a_queue_whose_first_tokens_are_in_time_is_not_late() -> None:
    observation = replace(seen(busy(4, 0.9, waiting=60.0)), first_tokens=FirstTokens(per_s=80.0, late_per_s=0.0))

    assert counted(observation).late == ()


NAN = float("nan")


@pytest.mark.parametrize(
    "told",
    [
        Missing(why="the policy has no objective for it"),
        FirstTokens(per_s=1.0, late_per_s=2.0),
        FirstTokens(per_s=1.0, late_per_s=-1.0),
        FirstTokens(per_s=NAN, late_per_s=0.0),
        FirstTokens(per_s=1e7, late_per_s=0.0),
    ],
)
@pytest.mark.parametrize(("waiting", "share"), [(0.0, 0.0), (20.0, 0.0), (60.0, 1.0)])
def test_where_nobody_measures_first_tokens_a_queue_longer_than_the_objective_is_late(
    told: FirstTokens | Missing, waiting: float, share: float
) -> None:
    """A full replica works off 24 requests a second: 60 in each queue are 2.5 s, 20 are 0.8 s."""
    observation = replace(seen(busy(4, 0.9, waiting=waiting)), first_tokens=told)

    course = counted(observation)

    assert course.requests == pytest.approx(15.0 * 4 * 0.9 * CHAT.most_per_s, rel=0.01)
    assert sum(requests for _, requests in course.late) == share * course.requests


def test_before_a_replica_is_learned_and_where_nobody_measures_nothing_is_counted_but_what_is_refused() -> None:
    """Mutant: what nobody measured counts as in time."""
    before = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0))).courses

    (unknown,) = work_seen(seen(busy(4, 0.9, waiting=60.0)), courses=before).courses
    (refused,) = work_seen(refusing(4, 0.9, 3.0), courses=before).courses

    assert (unknown.requests, unknown.late) == (0.0, ())
    assert (refused.requests, refused.late) == (45.0, ((5, 45.0),))


@pytest.mark.parametrize(
    ("since_s", "counted_s"), [(15.0, 15.0), (90.0, 90.0), (100.0, 90.0), (0.0, 0.0), (-15.0, 0.0)]
)
def test_a_tick_stands_for_the_time_since_the_last_but_not_for_a_gap(since_s: float, counted_s: float) -> None:
    course = Course(role=SERVE)
    for at_s in (START_S, START_S + since_s):
        observation = replace(seen(busy(4, 0.9, at_s=at_s)), first_tokens=LATE)
        memory = Memory(at_s=START_S, courses=(course,), capacities=(capacity(),))
        (course,) = work_of(question(policy(), observation, memory, {key(): LOAD_TIME}, at_s)).courses

    assert course.requests == counted_s * 80.0


def test_what_is_refused_is_late_beside_what_is_told() -> None:
    told = FirstTokens(per_s=80.0, late_per_s=2.0)

    refused = counted(replace(refusing(4, 0.95, 3.0), first_tokens=told))

    assert refused.requests == 15.0 * 83.0
    assert sum(requests for _, requests in refused.late) == 15.0 * 3.0


def test_the_advice_is_by_the_objective_of_the_policy() -> None:
    """2 % are late: more than an objective for 99 % leaves room for, and less than one for 95 % does."""
    late = replace(seen(busy(4, 0.9)), first_tokens=FirstTokens(per_s=80.0, late_per_s=0.0))
    (known,) = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0)), capacity()).courses
    known = replace(known, seen_s=7200.0, came_s=7200.0, requests=1e5, late=((6, 2000.0),))

    floors = [
        [each.floor for each in work_seen(late, capacity(), asked=asked, courses=[known]).advice]
        for asked in (
            policy(time_to_first_token=Objective(percentile=percentile, limit_s=2.0)) for percentile in (99.0, 95.0)
        )
    ]

    assert floors == [[6], []]


# --- Refusals ----------------------------------------------------------------------------------------------------


def refusing(count: int, share: float, refused_per_s: float, at_s: float = START_S) -> Observation:
    """Replicas at a share of what they carry, and a gateway that turns so many requests away."""
    return replace(seen(busy(count, share, at_s=at_s)), gateway_waiting=0.0, gateway_refused_per_s=refused_per_s)


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


# --- Who is learned from -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("queued_before", "is_growing"), [(1900.0, True), (2060.0, False)])
def test_a_queue_that_is_worked_off_says_nothing_of_the_floor_that_arrivals_need(
    queued_before: float,
    is_growing: bool,  # noqa: FBT001
) -> None:
    """Ten replicas work off what one could not take: a floor of ten would be for the queue, not for what comes."""
    course = Course(role=SERVE)
    for at_s, waiting in ((START_S - TICK_S, queued_before), (START_S, 2000.0)):
        observed = seen(busy(10, 0.5, waiting=waiting / 10.0, at_s=at_s))
        memory = Memory(at_s=at_s, courses=(course,), capacities=(capacity(),))
        load_times = {key(): LOAD_TIME}
        (course,) = work_of(question(policy(), observed, memory, load_times, at_s)).courses

    highest = max(level for level, _ in course.late)

    assert (highest >= 10) == is_growing


@pytest.mark.parametrize(("ready_for_s", "level"), [(1000.0, 10), (15.0, 10), (6.0, 6), (0.0, 2)])
def test_who_became_ready_since_the_last_scrape_has_taken_what_came_since_then(ready_for_s: float, level: int) -> None:
    """Two replicas are there, and eight more for a part of the 15 s in which the queue grew by a little."""
    course = Course(role=SERVE)
    for at_s, waiting in ((START_S - TICK_S, 1990.0), (START_S, 2000.0)):
        old, new = busy(2, 0.5, waiting=waiting / 2.0, at_s=at_s), busy(8, 0.1, at_s=at_s)
        joined = [replace(each, name=f"new-{each.name}", ready_at_s=START_S - ready_for_s) for each in new.replicas]
        observed = seen(fleet(*old.replicas, *(each for each in joined if (each.ready_at_s or 0.0) <= at_s)))
        memory = Memory(at_s=at_s, courses=(course,), capacities=(capacity(),))
        (course,) = work_of(question(policy(), observed, memory, {key(): LOAD_TIME}, at_s)).courses

    assert max(each.replicas for each in course.instants) == level


def steady() -> Memory:
    """A memory in which the last minutes were alike."""
    course = Course(role=SERVE)
    for tick in range(6):
        at_s = START_S + (tick - 6) * TICK_S
        (course,) = work_seen(seen(busy(4, 0.5, at_s=at_s)), courses=[course]).courses
    return Memory(at_s=START_S - TICK_S, courses=(course,))


def learned_from(*replicas: Replica, memory: Memory | None = None) -> tuple[CapacityMemory, ...]:
    return learned_of(memory or steady(), {key(): fleet(*replicas)}, START_S)


def test_a_steady_minute_is_learned_from() -> None:
    (known,) = learned_from(*busy(4, 0.5).replicas)

    assert (known.key, known.node_class, known.lines) == (key(), "H100", 4.0)


def test_a_minute_that_was_not_steady_teaches_nothing() -> None:
    assert learned_from(*busy(4, 0.5).replicas, memory=Memory(at_s=START_S - TICK_S)) == ()


def test_a_replica_is_learned_from_when_a_whole_minute_of_it_was_scraped() -> None:
    young = ready("young", age_s=90.0, load=CHAT.minute(0.5))
    old = ready("old", age_s=91.0, load=CHAT.minute(0.5))

    assert [known.lines for known in learned_from(young, old)] == [1.0]


def test_each_kind_of_node_is_learned_by_itself() -> None:
    there = replace(ready("l", load=SLOW.minute(0.5)), node_class="L40S")
    nowhere = replace(ready("n", load=SLOW.minute(0.5)), node_class=None)

    known = learned_from(*busy(4, 0.5).replicas, there, nowhere)

    assert {each.node_class: each.lines for each in known} == {"H100": 4.0, "L40S": 1.0, None: 1.0}


def test_what_was_known_of_a_version_that_is_gone_stays() -> None:
    gone = capacity(SLOW, "v0")
    memory = replace(steady(), capacities=(gone,))

    assert gone in learned_from(*busy(4, 0.5).replicas, memory=memory)


def test_slow_replicas_are_named_among_their_like() -> None:
    ill = replace(ready("ill", load=replace(CHAT, slow=3.0).minute(0.5)), name="ill")
    other = replace(ready("other", load=SLOW.minute(0.5)), node_class="L40S")
    fleets = {key(): fleet(*busy(4, 0.5).replicas, ill, other)}

    told = slow_of([capacity()], fleets, START_S)

    assert [(replica.name, round(share, 1)) for replica, share in told] == [("ill", 0.3)]


# --- Whether a minute has borne the belief out -------------------------------------------------------------------


def test_a_belief_from_before_the_start_is_not_borne_out_until_a_minute_was_learned() -> None:
    """What `capacity` gives is remembered: nothing was learned since the start."""
    now = busy(4, 0.5)
    remembered = replace(capacity(), slowness=None)

    assert slowness_of([], {key(): now}, START_S) == {key(): None}
    assert slowness_of([remembered], {key(): now}, START_S) == {key(): None}
    assert slowness_of([learned(remembered, now)], {key(): now}, START_S) == {key(): pytest.approx(1.0, rel=0.05)}


@pytest.mark.parametrize(("age_s", "told"), [(900.0, 1.5), (900.1, 1.0)])
def test_a_minute_of_long_ago_speaks_against_nobody(age_s: float, told: float) -> None:
    slow = replace(capacity(), at_s=START_S - age_s, slowness=1.5)

    assert slowness_of([slow], {key(): busy(4, 0.5)}, START_S) == {key(): told}


@pytest.mark.parametrize("idle", [fleet(ready()), fleet(), fleet(starting())], ids=["no work", "none", "not ready"])
def test_replicas_without_work_bear_nothing_out_and_need_not(idle: Fleet) -> None:
    slow = replace(capacity(), at_s=START_S, slowness=1.5)

    assert slowness_of([slow], {key(): idle}, START_S) == {key(): 1.0}


def test_the_slowest_kind_of_node_counts() -> None:
    others = [replace(ready(f"l{index}", load=CHAT.minute(0.5)), node_class="L40S") for index in range(3)]
    both = fleet(*busy(4, 0.5).replicas, *others)
    known = [
        replace(capacity(node_class=each), at_s=START_S, slowness=slowness)
        for each, slowness in (("H100", 1.0), ("L40S", 1.3))
    ]

    assert slowness_of(known, {key(): both}, START_S) == {key(): 1.3}
    assert slowness_of(known[:1], {key(): both}, START_S) == {key(): None}
