"""What was learned goes into the status and comes back from it, and what nobody can have learned does not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.adapters.kubernetes.learned import demand_of, learned_of
from scaler.adapters.kubernetes.policies import policy_object
from scaler.adapters.kubernetes.status import Change, body_of, change, memory_of, status_of
from scaler.adapters.kubernetes.times import written
from scaler.api.status import LearnedLoad, LearnedTarget, Status
from scaler.core.capacity import Belief, belief_of
from scaler.core.forecast import GROWTHS, growth_covered
from scaler.core.loading import learn, load_time
from scaler.core.memory import CapacityMemory, Course, LoadSample, Memory
from scaler.core.model import Fleet, Missing, Observation, Policy, Role, Tokens
from scaler.runtime.ports import Record
from scaler.sim.latency import LLAMA_8B_H100
from tests.builders import START_S, fleet, key, plan_of, policy, ready, sample, seen, starting, version
from tests.core.engines import CONVERSATION, Row, after, rounds

NOBODY = seen(fleet())
CHAT = Row(engine=LLAMA_8B_H100, mix=CONVERSATION)
SERVE = Role.SERVE.value
REQUEST = Tokens(prefill_per_s=1155.25, decode_per_s=211.0, requests_per_s=1.0, cache_share=0.01234)


def capacity(name: str = "v1", node_class: str | None = "H100", slow: float = 1.0) -> CapacityMemory:
    new = CapacityMemory(key=key(name), node_class=node_class)
    return after(new, replace(CHAT, slow=slow), rounds(40, 0.2, 0.5, 0.8))


CAPACITY = capacity()


def growth(**weights: float) -> tuple[float, ...]:
    """Weights of steps: ``g1_02=30`` for 1.02."""
    told = {float(name.removeprefix("g").replace("_", ".")): weight for name, weight in weights.items()}
    return tuple(told.get(step, 0.0) for step in GROWTHS)


def calm(**difference: object) -> dict[str, object]:
    """The part on the calm base, with this in it."""
    return {"growth": "1=60", "costSeconds": 1.0, "plainCostSeconds": 2.0, **difference}


COURSE = Course(
    role=SERVE,
    growth=growth(g1=5400.0, g1_02=30.0, g2=4.25),
    trends=(growth(g1=1800.0), growth(), growth(g1=15.0, g1_4=30.0), growth(), growth()),
    calm_growth=growth(g1=4500.0, g1_06=30.0),
    losses=(12_345_600.0, 6_172_800.0),
    coverage=0.7123,
    highest_per_s=12_345.6,
    request=REQUEST,
    seen_s=5000.0,
    came_s=10_000.0,
    requests=250_000.0,
    late=((4, 120.0), (9, 30.5)),
)

NOT_RECKONED = {"seen_s": 0.0, "came_s": 0.0, "requests": 0.0, "late": ()}


def record(memory: Memory, asked: Policy | None = None) -> Record:
    """A decision that ended with this memory."""
    asked = asked or policy()
    plan = replace(plan_of(NOBODY, asked), memory=memory)
    return Record(policy=asked, observation=NOBODY, memory=memory, plan=plan)


def told(*capacities: CapacityMemory, courses: Sequence[Course] = (), asked: Policy | None = None) -> Status:
    memory = Memory(at_s=START_S, capacities=capacities, courses=tuple(courses))
    return status_of(record(memory, asked=asked), (), 1, None)


def stored(status: Status, **difference: Any) -> Status:
    """The status as it is read again, with something else written into its first target's first capacity."""
    raw = json.loads(json.dumps(body_of(status)))
    if difference:
        raw["learned"][0]["capacity"][0] |= difference
    return read(raw)


def read(raw: Mapping[str, Any]) -> Status:
    """A status as it is read from the API server, whatever is in it."""
    found = policy_object({"metadata": {"uid": "u", "name": "llama"}, "status": raw}, None).status
    assert found is not None
    return found


def restored(status: Status) -> Memory:
    return memory_of(status, NOBODY, START_S)


def belief(memory: CapacityMemory) -> Belief:
    known = belief_of(memory)
    assert known is not None
    return known


def course(**difference: Any) -> Course:
    return replace(COURSE, **difference)


# --- Capacity ----------------------------------------------------------------------------------------------------


def test_what_a_replica_takes_is_told_in_seconds() -> None:
    (learned,) = told(CAPACITY).learned
    (kind,) = learned.capacity

    assert kind.node_class == "H100"
    assert kind.step_seconds == pytest.approx(CHAT.truth.step_s, rel=0.05)
    assert kind.prefill_seconds == pytest.approx(belief(CAPACITY).prefill_s, rel=5e-4)
    assert kind.sequences == 256.0
    assert kind.weight == pytest.approx(CAPACITY.lines, rel=0.01)


def test_what_was_believed_is_believed_again_within_the_rounding() -> None:
    (again,) = restored(stored(told(CAPACITY))).capacities

    assert again.key == CAPACITY.key
    assert again.node_class == "H100"
    for name in ("step_s", "decode_s", "cache_s", "prefill_s", "sequences_most"):
        assert getattr(belief(again), name) == pytest.approx(getattr(belief(CAPACITY), name), rel=5e-4)
    assert again.lines == pytest.approx(CAPACITY.lines, rel=5e-3)


def test_each_version_and_kind_of_node_has_its_own() -> None:
    known = [capacity(name, kind) for name in ("v1", "v2") for kind in ("A100", "H100", None)]

    again = restored(stored(told(*known, asked=policy(versions=(version("v1"), version("v2")))))).capacities

    assert {(each.key, each.node_class) for each in again} == {(each.key, each.node_class) for each in known}


def test_of_many_kinds_of_node_those_with_the_most_behind_them_are_told() -> None:
    known = [replace(CAPACITY, node_class=f"gpu-{place:02}", lines=100.0 + place) for place in range(12)]

    (learned,) = told(*known).learned

    assert [kind.node_class for kind in learned.capacity] == [f"gpu-{place:02}" for place in range(4, 12)]


def test_a_version_that_left_the_policy_is_told_no_more() -> None:
    assert told(capacity("gone")).learned == ()


def test_a_belief_that_no_engine_can_have_is_not_told() -> None:
    assert told(replace(CAPACITY, scale=1e9)).learned == ()


@pytest.mark.parametrize(
    "difference",
    [
        {"stepSeconds": -0.006},
        {"stepSeconds": "NaN"},
        {"stepSeconds": "six"},
        {"stepSeconds": 1e-6},
        {"decodeSeconds": 0},
        {"prefillSeconds": 1e30},
        {"cacheSeconds": None},
        {"sequences": 0},
        {"weight": -1},
        {"weight": 1e9},
        {"busy": {"decode": 0.5}},
        {"busy": {"decode": 0.9, "cache": 0.9, "prefill": 0.9, "spread": 0.1}},
        {"nodeClass": "x" * 500, "stepSeconds": []},
    ],
    ids=str,
)
def test_nonsense_in_one_kind_of_node_costs_that_kind_alone(difference: dict[str, Any]) -> None:
    status = told(capacity(node_class="A100"), CAPACITY, courses=[COURSE])

    again = restored(stored(status, **difference))

    assert [each.node_class for each in again.capacities] == ["H100"]
    assert again.courses[0].growth == pytest.approx(COURSE.growth)


# --- Demand ------------------------------------------------------------------------------------------------------


def test_how_demand_went_is_told_in_short() -> None:
    (demand,) = demand_of([COURSE])

    assert demand.growth == "1=5400,1.02=30,2=4.25"
    assert [(trend.above, trend.growth) for trend in demand.trends] == [(0.0, "1=1800"), (1.04, "1=15,1.4=30")]
    assert demand.calm is not None
    assert (demand.calm.growth, demand.calm.plain_cost_seconds) == ("1=4500,1.06=30", 1000.0)
    assert demand.calm.cost_seconds == 500.0
    assert (demand.requests, demand.late_requests) == (250_000.0, "4=120,9=30.5")
    assert (demand.coverage, demand.highest_tokens_per_second) == (0.712, 12_300.0)


def test_large_counts_have_no_exponent() -> None:
    (demand,) = demand_of([course(growth=growth(g1=86_400.0, g4=0.01), late=((900, 7.654321e7),))])

    assert demand.growth == "1=86400"
    assert demand.late_requests == "900=76500000"


def test_how_demand_went_is_known_again() -> None:
    (again,) = restored(stored(told(courses=[COURSE]))).courses

    assert again.growth == pytest.approx(COURSE.growth)
    assert again.trends == COURSE.trends
    assert again.calm_growth == COURSE.calm_growth
    assert again.losses == pytest.approx(COURSE.losses, rel=5e-3)
    assert again.coverage == pytest.approx(COURSE.coverage, abs=5e-4)
    assert again.highest_per_s == pytest.approx(COURSE.highest_per_s, rel=5e-3)
    assert again.request == replace(REQUEST, prefill_per_s=1155.0)
    assert (again.seen_s, again.came_s) == (COURSE.seen_s, COURSE.came_s)
    assert (again.requests, again.late) == (COURSE.requests, COURSE.late)
    assert again.moments == ()
    assert growth_covered(again, 0.99) == growth_covered(COURSE, 0.99)


def test_of_a_role_of_which_nothing_was_counted_nothing_is_told() -> None:
    assert told(courses=[Course(role=SERVE)]).demand == ()


def test_a_course_that_has_only_begun_is_told_and_known_again() -> None:
    begun = Course(role=SERVE, highest_per_s=1000.0)

    assert restored(stored(told(courses=[begun]))).courses == (begun,)


@pytest.mark.parametrize(
    ("difference", "unknown"),
    [
        ({"growth": "1=-5"}, {"growth": ()}),
        ({"growth": "1=NaN"}, {"growth": ()}),
        ({"growth": "1=99999999"}, {"growth": ()}),
        ({"growth": "1.1.1=4"}, {"growth": ()}),
        ({"growth": [1, 2, 3]}, {"growth": ()}),
        ({"growth": ",".join(f"{place}=1" for place in range(400))}, {"growth": ()}),
        ({"trends": [{"above": 1.07, "growth": "1=60"}]}, {"trends": ()}),
        ({"trends": [{"above": 0.0, "growth": "1=-5"}]}, {"trends": ()}),
        ({"trends": "up"}, {"trends": ()}),
        ({"calm": "still"}, {"calm_growth": (), "losses": (0.0, 0.0)}),
        (
            {"calm": {"growth": "1=-5", "costSeconds": 1.0, "plainCostSeconds": 2.0}},
            {"calm_growth": (), "losses": (0.0, 0.0)},
        ),
        (
            {"calm": {"growth": "1=60", "costSeconds": -1.0, "plainCostSeconds": 2.0}},
            {"calm_growth": (), "losses": (0.0, 0.0)},
        ),
        ({"coverage": 7}, {"coverage": None}),
        ({"coverage": 0.999}, {"coverage": None}),
        ({"highestTokensPerSecond": -1}, {"highest_per_s": 0.0, "losses": (0.0, 0.0)}),  # told in seconds of it
        ({"request": {"prefillTokens": 1e20}}, {"request": None}),
        ({"request": "long"}, {"request": None}),
        ({"seenSeconds": 1e9}, NOT_RECKONED),
        ({"requests": 9}, NOT_RECKONED),
        ({"lateRequests": "4=9999999"}, NOT_RECKONED),
        ({"lateRequests": "four"}, {"late": ()}),
        ({"aNewerField": {"of": "another version"}}, {}),
    ],
    ids=str,
)
def test_nonsense_in_one_part_of_demand_costs_that_part_alone(
    difference: dict[str, Any], unknown: dict[str, Any]
) -> None:
    (whole,) = restored(stored(told(courses=[COURSE]))).courses
    raw = body_of(told(courses=[COURSE]))
    raw["demand"][0] |= difference

    (again,) = restored(read(raw)).courses

    assert again == replace(whole, **unknown)


# --- Load times --------------------------------------------------------------------------------------------------


def carrying(tokens_per_s: float, before: Status | None = None) -> Status:
    bare = record(Memory(at_s=START_S))
    plan = replace(bare.plan, load_times={}, tokens_per_s={"v1": tokens_per_s})
    return status_of(replace(bare, plan=plan), (), 4, before)


def test_what_a_replica_carries_is_told_to_two_digits() -> None:
    assert [each.tokens_per_second_per_replica for each in carrying(18_637.2).learned] == [19_000.0]


def test_what_a_replica_carries_is_kept_while_nothing_is_served() -> None:
    before = carrying(18_637.2)

    assert carrying(0.0, before).learned == before.learned


def test_where_nothing_was_learned_nothing_is_told() -> None:
    assert carrying(0.0).learned == ()


def relearned(p50: float, p90: float, samples: int) -> tuple[float, float]:
    learned = LearnedTarget(name="v1", load_seconds=LearnedLoad(p50=p50, p90=p90, samples=samples))
    memory = restored(Status(learned=(learned,)))
    again = load_time(key(), policy(), memory.load_samples, Fleet(requested=0, replicas=()), START_S)
    return again.p50_s, again.p90_s


@given(
    p50=st.floats(min_value=5, max_value=600),
    spread=st.floats(min_value=1, max_value=3),
    samples=st.integers(min_value=4, max_value=200),
)
def test_what_was_learned_is_learned_again(p50: float, spread: float, samples: int) -> None:
    """Kills the mutant that marks every second sample slow: then the median is the p90."""
    assert relearned(p50, p50 * spread, samples) == pytest.approx((p50, p50 * spread))


def test_two_measured_starts_of_300_and_360_s_are_still_about_that() -> None:
    p50_s, p90_s = relearned(300.0, 360.0, 2)

    assert 285.0 <= p50_s <= 315.0
    assert 300.0 <= p90_s <= 450.0


def loaded(observation: Observation, samples: Sequence[LoadSample]) -> Status:
    """The status after a tick of a process that knew these starts of others than are there now."""
    memory = Memory(at_s=START_S - 15.0, load_samples=tuple(samples))
    plan = plan_of(observation, policy(), memory)
    told = Record(policy=policy(), observation=observation, memory=memory, plan=plan)
    return status_of(told, (), 1, None)


def test_a_restart_keeps_load_times_and_counts_no_start_twice() -> None:
    there = seen(fleet(*(ready(f"r{place}", age_s=900.0 - place) for place in range(4)), starting()))
    before = loaded(there, [sample(each) for each in (200, 210, 190, 205, 400, 195)])
    memory = memory_of(stored(before), there, START_S)

    samples, counted = learn(memory.load_samples, memory.counted, there)

    assert before.learned[0].load_seconds is not None
    assert before.learned[0].load_seconds.until == written(START_S - 897.0)
    assert samples == memory.load_samples
    assert counted == ("r0", "r1", "r2", "r3")


def test_a_start_that_ended_while_nobody_watched_is_counted() -> None:
    before = loaded(seen(fleet(ready("old"))), [])
    later = seen(fleet(ready("old"), ready("new", age_s=10.0)))
    memory = memory_of(stored(before), later, START_S)

    samples, _ = learn(memory.load_samples, memory.counted, later)

    assert len(memory.load_samples) == 1
    assert len(samples) == 2


@pytest.mark.parametrize("until", [None, "not a time", "2999-01-01T00:00:00Z"])
def test_without_a_time_that_can_be_believed_no_start_counts_as_known(until: str | None) -> None:
    load = LearnedLoad(p50=300.0, p90=360.0, samples=4, until=until)

    assert (
        memory_of(Status(learned=(LearnedTarget(name="v1", load_seconds=load),)), seen(fleet(ready())), START_S).counted
        == ()
    )


def test_a_fleet_that_cannot_be_seen_is_no_reason_to_forget() -> None:
    before = loaded(seen(fleet(ready("old"))), [])

    memory = memory_of(stored(before), seen(Missing(why="the watch is broken")), START_S)

    assert memory.counted == ()
    assert len(memory.load_samples) == 1


# --- What is worth a write ---------------------------------------------------------------------------------------


def changed(before: Status, after: Status) -> Change:
    return change(after, before)


def test_a_belief_that_moves_a_little_is_no_change_and_one_that_moves_a_tenth_is() -> None:
    before = told(CAPACITY)

    assert changed(before, told(replace(CAPACITY, scale=1.08))) is Change.NONE
    assert changed(before, told(replace(CAPACITY, scale=1.15))) is Change.LEARNED


def test_what_stands_behind_it_is_a_change_when_it_has_grown_by_a_third() -> None:
    """A quarter of the larger is a third of the smaller."""
    before = told(courses=[COURSE])

    assert changed(before, told(courses=[course(growth=growth(g1=6500.0, g1_02=30.0, g2=4.25))])) is Change.NONE
    assert changed(before, told(courses=[course(growth=growth(g1=7400.0, g1_02=30.0, g2=4.25))])) is Change.LEARNED
    assert changed(before, told(courses=[course(trends=(growth(g1=60.0), *[growth()] * 4))])) is Change.NONE
    assert changed(before, told(courses=[course(losses=(1.0, 2.0), calm_growth=growth(g1=60.0))])) is Change.NONE
    assert changed(before, told(courses=[course(seen_s=7000.0)])) is Change.LEARNED
    assert changed(before, told(courses=[course(late=((4, 120.0), (9, 90.0)))])) is Change.LEARNED


def test_what_is_learned_for_the_first_time_is_told_as_soon_as_words_are() -> None:
    assert changed(told(), told(CAPACITY)) is Change.WORDS
    assert changed(told(CAPACITY), told(CAPACITY, courses=[COURSE])) is Change.WORDS
    assert changed(told(courses=[course(coverage=None)]), told(courses=[COURSE])) is Change.WORDS


def test_what_goes_along_is_no_reason_to_write() -> None:
    load = LearnedLoad(p50=300.0, p90=360.0, samples=4, until=written(START_S))
    before = Status(learned=(LearnedTarget(name="v1", load_seconds=load),))
    later = load.model_copy(update={"samples": 5, "until": written(START_S + 60.0)})

    assert changed(before, Status(learned=(LearnedTarget(name="v1", load_seconds=later),))) is Change.NONE


# --- How large it is ---------------------------------------------------------------------------------------------


def test_what_is_learned_of_two_targets_on_two_kinds_of_node_is_less_than_2250_bytes() -> None:
    """With all steps of growth and all levels in use, which is more than there ever is."""
    known = [
        capacity(name, kind) for name in ("v1", "v2") for kind in ("NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB")
    ]
    every = tuple(1234.5 for _ in GROWTHS)
    full = course(
        growth=every, trends=(every,) * 5, calm_growth=every, late=tuple((level, 12.5) for level in range(10, 26))
    )
    both = policy(versions=(version("v1"), version("v2")))

    body = body_of(told(*known, courses=[full], asked=both))
    size = len(json.dumps({part: body[part] for part in ("learned", "demand")}, separators=(",", ":")))

    assert len(body["learned"]) == 2
    assert size < 2250


def test_the_learned_parts_keep_to_the_api() -> None:
    memory = Memory(at_s=START_S, capacities=(CAPACITY,), courses=(COURSE,))

    assert learned_of(record(memory), Status())
    assert Status.model_validate(body_of(told(CAPACITY, courses=[COURSE]))) == told(CAPACITY, courses=[COURSE])
