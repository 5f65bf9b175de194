"""Going to zero, where it is asked for, and coming back from there."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from scaler.core.decide import decide
from scaler.core.forecast import watched as watched_course
from scaler.core.memory import Course, Memory
from scaler.core.model import (
    Demand,
    Fleet,
    FleetSeen,
    Missing,
    Observation,
    Policy,
    Pool,
    Pools,
    ScaleToZero,
    Snapshot,
    Target,
    Tokens,
    Version,
)
from scaler.core.plan import Condition, Plan, Ruling
from scaler.core.zero import coming
from tests.builders import (
    BEHAVIOR,
    NAME,
    START_S,
    fleet,
    key,
    load,
    lost,
    plan_of,
    policy,
    ready,
    releasing,
    sample,
    seen,
    serving,
    starting,
    version,
    watched,
)

IDLE_S = 1800.0
MAY_REST = policy(min_replicas=0, scale_to_zero=ScaleToZero(idle_s=IDLE_S))
OWN_BOUND = replace(MAY_REST, versions=(Version(name="v1", targets=(Target(key=key(), min_replicas=1),)),))
AWAY = Missing(why="the query demandQuery gave no result")
STARTS = (sample(140.0),) * 7


def at_gateway(value: float | Missing, has: Observation | None = None, **difference: object) -> Observation:
    """One idle replica, or what ``has`` shows, with this answer of the demand query."""
    shown = seen(fleet(*serving(1))) if has is None else has
    return replace(shown, demand_at_gateway=value, **difference)  # type: ignore[arg-type]  # named by the test


def idle(for_s: float = IDLE_S, **rest: object) -> Memory:
    """A memory of a target that has been watched for long, and of nothing that came for so long."""
    return replace(watched(**rest), idle_from_s=START_S - for_s, load_samples=STARTS, counted=("r0",))  # type: ignore[arg-type]


def served() -> Demand:
    """What a replica that counts tokens told a tick ago."""
    flow = Tokens(prefill_per_s=0.0, decode_per_s=0.0, requests_per_s=0.0, cache_share=0.0)
    return Demand(at_s=START_S - 15.0, running=0.0, waiting=0.0, kv_replicas=0.0, tokens=flow)


def replicas(observation: Observation, memory: Memory | None = None, asked: Policy = MAY_REST) -> int:
    return plan_of(observation, asked, memory).targets[0].replicas


def last(plan: Plan) -> Ruling:
    return plan.targets[0].trail[-1]


def at_zero_of(plan: Plan) -> Condition | None:
    return next((each for each in plan.conditions if each.type == "AtZero"), None)


NOBODY = seen(fleet())

# --- What comes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "queue", "own", "comes"),
    [
        (0.0, 0.0, 0.0, 0),
        (0.1, 0.0, 0.0, 1),
        (0.0, 1.0, 0.0, 1),
        (0.0, 0.0, 0.2, 1),
        (AWAY, 3.0, None, 1),
        (0.0, AWAY, None, None),
        (AWAY, 0.0, None, None),
        (float("nan"), 0.0, None, None),
        (-1.0, 0.0, None, None),
        (1e9, 0.0, None, None),
    ],
)
def test_one_signal_tells_that_something_comes_and_it_takes_all_to_tell_that_nothing_does(
    query: float | Missing, queue: float | Missing, own: float | None, comes: int | None
) -> None:
    told = coming(Observation(fleets=(), demand_at_gateway=query, gateway_waiting=queue, own_replicas=own))

    assert (told.after if isinstance(told, Ruling) else None) == comes


def test_without_any_such_signal_nobody_tells() -> None:
    assert coming(Observation(fleets=())) == Missing(why="no signal tells what comes while there is no replica")


# --- Going -------------------------------------------------------------------------------------------------------


def test_the_last_replica_goes_after_the_idle_time_and_the_trail_says_what_that_costs() -> None:
    ruling = last(plan_of(at_gateway(0.0), MAY_REST, idle()))

    assert (ruling.rule, ruling.before, ruling.after) == ("rest", 1, 0)
    assert ruling.because == "nothing came for 1800 s; the next request waits about 140 s (p90 of 7 starts)"


def test_zero_is_said_in_every_tick_until_somebody_carries_it_out() -> None:
    """KEDA looks whether a model is active once in its polling interval, and must not find it back at one."""
    memory, told = idle(), []
    for tick in range(5):
        plan = plan_of(at_gateway(0.0), MAY_REST, memory, START_S + 15.0 * tick)
        memory = plan.memory
        told.append(plan.targets[0].replicas)

    assert told == [0] * 5


@pytest.mark.parametrize(
    ("observation", "memory", "asked"),
    [
        (at_gateway(0.0), idle(IDLE_S - 1.0), MAY_REST),
        (at_gateway(0.0), idle(), policy(min_replicas=0)),
        (at_gateway(1.0), idle(), MAY_REST),
        (at_gateway(AWAY), idle(), MAY_REST),
        (seen(fleet(*serving(1))), idle(), MAY_REST),
        (at_gateway(0.0, gateway_waiting=AWAY), idle(), MAY_REST),
        (at_gateway(0.0, gateway_waiting=1.0), idle(), MAY_REST),
        (at_gateway(0.0, seen(fleet(*serving(1, running=0.2)))), idle(), MAY_REST),
        (at_gateway(0.0, seen(fleet(ready("mute", load=Missing(why="refused"))))), idle(), MAY_REST),
        (at_gateway(0.0, seen(fleet(lost()))), idle(), MAY_REST),
        (at_gateway(0.0), idle(last_s=121.0), MAY_REST),
        (at_gateway(0.0), idle(last_s=-30.0), MAY_REST),
        (at_gateway(0.0), None, MAY_REST),
        (at_gateway(0.0), idle(), replace(MAY_REST, warm_floor=1)),
        (at_gateway(0.0), idle(), replace(MAY_REST, versions=(version(min_replicas=1),))),
        (at_gateway(0.0), idle(), replace(MAY_REST, paused=True)),
        (at_gateway(0.0), idle(), replace(MAY_REST, behavior=replace(BEHAVIOR, hold_s=7200.0))),
        (at_gateway(0.0), idle(direction=1, turns_left=1.0, turns_at_s=START_S), MAY_REST),
        (at_gateway(0.0), idle(shrunk_at_s=START_S - 30.0), MAY_REST),
    ],
    ids=[
        "too soon",
        "not asked for",
        "something comes",
        "the query gives nothing",
        "no such signal",
        "the queue is not known",
        "one waits",
        "one runs",
        "a silent replica",
        "a lost replica",
        "a gap",
        "a clock that went back",
        "a restart",
        "a warm floor",
        "a bound of the target",
        "paused",
        "a hold",
        "no turns left",
        "shrunk just now",
    ],
)
def test_the_last_replica_stays(observation: Observation, memory: Memory | None, asked: Policy) -> None:
    assert replicas(observation, memory, asked) == 1


def test_only_the_last_one_goes_and_the_others_by_the_usual_rules() -> None:
    assert replicas(at_gateway(0.0, seen(fleet(*serving(4)))), idle()) == 3


def test_a_start_that_nobody_waits_for_any_more_is_given_up_after_the_idle_time() -> None:
    loading = at_gateway(0.0, seen(fleet(starting(age_s=3000.0))))

    assert replicas(loading, idle(IDLE_S - 1.0)) == 1
    assert replicas(loading, idle()) == 0


def test_idle_time_begins_when_nothing_comes_and_ends_when_something_does() -> None:
    begun = plan_of(at_gateway(0.0), MAY_REST).memory
    ended = plan_of(at_gateway(2.0), MAY_REST, idle()).memory

    assert (begun.idle_from_s, ended.idle_from_s) == (START_S, None)


def test_a_counter_that_is_gone_ends_the_idle_time() -> None:
    """What an engine has counted so far and does not any more may be work."""
    anew = replace(load(), work=Missing(why="its engine has begun to count anew within the last minute"))
    course = watched_course(Course(role="Serve"), served(), 300.0, 0.0)
    memory = replace(idle(), courses=(course,))

    plan = plan_of(at_gateway(0.0, seen(fleet(ready("r0", load=anew)))), MAY_REST, memory)

    assert plan.targets[0].replicas == 1
    assert plan.memory.idle_from_s is None


def test_work_that_own_queries_tell_goes_to_zero_by_them() -> None:
    mute = seen(fleet(ready("r0", load=Missing(why="the engine is Custom"))))

    assert replicas(replace(mute, own_replicas=0.0), idle()) == 0
    assert replicas(replace(mute, own_replicas=0.1), idle()) == 1
    assert replicas(replace(mute, own_replicas=AWAY), idle()) == 1


# --- At zero, and leaving it -------------------------------------------------------------------------------------


def test_at_zero_it_stays_while_nothing_comes_and_its_signals_are_healthy() -> None:
    plan = plan_of(at_gateway(0.0, NOBODY), MAY_REST)

    assert plan.targets[0].replicas == 0
    assert plan.targets[0].trail[0].because == "0 replicas for what comes (demandQuery gives 0)"
    assert [each.status for each in plan.conditions if each.type in {"Ready", "SignalsHealthy"}] == [True, True]


@pytest.mark.parametrize("memory", [None, idle(), idle(last_s=900.0), idle(turns_left=0.0, turns_at_s=START_S)])
def test_it_leaves_zero_at_once_whatever_is_remembered(memory: Memory | None) -> None:
    assert replicas(at_gateway(0.5, NOBODY), memory) == 1


def test_the_endpoint_pickers_queue_wakes_a_model_as_well() -> None:
    assert replicas(replace(NOBODY, gateway_waiting=1.0)) == 1


def test_a_queue_wakes_a_model_whose_last_replica_has_ceased_to_count_its_tokens() -> None:
    """Mutant: on engines that no longer count what they counted, what is there is kept, at zero too."""
    leaving = replace(seen(fleet(*serving(1, running=0.0), requested=0)), gateway_waiting=7.0)
    memory = replace(watched(), courses=(watched_course(Course(role="Serve"), served(), 300.0, 0.0),))

    assert replicas(leaving, memory) == 1


def test_another_signal_that_is_missing_keeps_nobody_at_zero() -> None:
    assert replicas(at_gateway(AWAY, NOBODY, gateway_waiting=1.0)) == 1


def test_neither_a_pace_nor_a_former_shortage_holds_the_first_replica_back() -> None:
    paced = replace(MAY_REST, behavior=replace(BEHAVIOR, grow_step=1, grow_period_s=3600.0))
    short = seen(fleet(starting(age_s=5000.0), requested=0))

    plan = plan_of(at_gateway(1.0, short), paced, idle(grown_at_s=START_S - 10.0))

    assert [(ruling.rule, ruling.after) for ruling in plan.targets[0].trail[1:]] == [("room", 0), ("wake", 1)]


def test_a_signal_that_is_missing_at_zero_keeps_zero_and_is_told() -> None:
    plan = plan_of(at_gateway(AWAY, NOBODY), MAY_REST)

    assert plan.targets[0].replicas == 0
    (healthy,) = [each for each in plan.conditions if each.type == "SignalsHealthy"]
    assert (healthy.status, healthy.reason) == (False, "DemandUnknown")
    assert healthy.message == "Serve: the query demandQuery gave no result; what is there is kept"


def test_work_that_own_queries_tell_in_replicas_is_asked_for_as_a_whole() -> None:
    assert replicas(replace(NOBODY, own_replicas=2.3)) == 3
    assert replicas(replace(NOBODY, own_replicas=0.0)) == 0


def test_a_replica_on_its_way_out_that_has_work_again_calls_for_another() -> None:
    assert replicas(at_gateway(0.0, seen(fleet(*serving(1, running=2.0), requested=0)))) == 1


def test_who_has_not_asked_for_zero_is_not_woken_by_what_it_does_not_use() -> None:
    assert replicas(at_gateway(5.0, NOBODY), asked=policy(min_replicas=0)) == 0


def test_a_warm_floor_that_begins_at_zero_is_kept_at_once() -> None:
    assert replicas(at_gateway(0.0, NOBODY), asked=replace(MAY_REST, warm_floor=2)) == 2


# --- Beside a release --------------------------------------------------------------------------------------------

SETTLED = releasing((100, 0.0), to="v1", min_replicas=0, scale_to_zero=ScaleToZero(idle_s=IDLE_S))
ON_THE_WAY = releasing((100, 0.0), to="v2", min_replicas=0, scale_to_zero=ScaleToZero(idle_s=IDLE_S))


def two(v1: int, v2: int, weights: tuple[int, int] = (100, 0)) -> Observation:
    fleets = (
        FleetSeen(key=key("v1"), fleet=fleet(*serving(v1))),
        FleetSeen(key=key("v2"), fleet=fleet(*(ready(f"b{index}") for index in range(v2)))),
    )
    shares = dict(zip(("v1", "v2"), weights, strict=True))
    return Observation(fleets=fleets, weights=shares, demand_at_gateway=0.0)


def test_of_two_versions_the_one_that_serves_goes_when_the_other_is_gone() -> None:
    assert replicas(two(1, 0), idle(), SETTLED) == 0
    assert replicas(two(1, 1), idle(), SETTLED) == 1


def test_nobody_goes_to_zero_in_the_middle_of_a_release() -> None:
    assert replicas(two(1, 0), idle(), ON_THE_WAY) == 1


def test_a_release_that_is_asked_for_at_zero_waits_for_what_comes() -> None:
    asleep, awake = two(0, 0), replace(two(0, 0), demand_at_gateway=1.0)

    assert [each.replicas for each in plan_of(asleep, ON_THE_WAY).targets] == [0, 0]
    assert [each.replicas for each in plan_of(awake, ON_THE_WAY).targets] == [1, 1]


def test_a_replica_that_is_lost_holds_nobody_at_zero_beside_a_release() -> None:
    lingering = replace(two(0, 0), demand_at_gateway=1.0)
    lost_one = FleetSeen(key=key("v1"), fleet=fleet(*serving(1), lost(), requested=0))

    assert replicas(replace(lingering, fleets=(lost_one, lingering.fleets[1])), idle(), SETTLED) == 1


# --- Beside others who want its GPUs -----------------------------------------------------------------------------

GREEDY = replace(policy(), name="models/greedy", priority=10)


def beside_a_greedy_one(own: Fleet, memories: Mapping[str, Memory], at_s: float) -> dict[str, Plan]:
    """What is decided on a model with demand, while a more important one wants all of two GPUs."""
    taken = Pools(products=(Pool(product="H100", allocatable_gpus=2, free_gpus=0),))
    greedy = seen(fleet(*serving(2 - own.requested, running=200.0, at_s=at_s)))
    models = {NAME: at_gateway(1.0, seen(own)), GREEDY.name: greedy}
    plans = decide(Snapshot(at_s=at_s, models=models, pools=taken), memories, [MAY_REST, GREEDY])
    return {plan.policy: plan for plan in plans}


def test_the_last_replica_never_goes_for_somebody_elses_sake() -> None:
    memories: dict[str, Memory] = {}
    for tick in range(60):
        at_s = START_S + 60.0 * tick
        plans = beside_a_greedy_one(fleet(*serving(1, running=1.0, at_s=at_s)), memories, at_s)
        memories = {name: plan.memory for name, plan in plans.items()}
        assert plans[NAME].targets[0].replicas == 1


def test_the_first_replica_is_asked_for_while_others_have_all_gpus() -> None:
    assert beside_a_greedy_one(fleet(), {}, START_S)[NAME].targets[0].replicas == 1


# --- What is told ------------------------------------------------------------------------------------------------


def test_who_never_goes_to_zero_has_no_condition_on_it() -> None:
    assert at_zero_of(plan_of(at_gateway(0.0))) is None


COST = "waits about 140 s (p90 of 7 starts)"
NO_RESULT = "the query demandQuery gave no result"


@pytest.mark.parametrize(
    ("observation", "told"),
    [
        (
            at_gateway(0.0),
            (
                False,
                "Serving",
                f"the last replica goes once nothing has come for 1800 s; at zero the next request {COST}",
            ),
        ),
        (
            at_gateway(AWAY),
            (False, "DemandUnknown", f"the last replica stays, since it is not known what comes: {NO_RESULT}"),
        ),
        (
            at_gateway(0.0, NOBODY),
            (True, "Resting", f"no replica is asked for, since nothing comes; the next request {COST}"),
        ),
        (
            at_gateway(2.0, NOBODY),
            (
                True,
                "Waking",
                f"a replica is asked for what comes (demandQuery gives 2); its start {COST.replace('waits', 'takes')}",
            ),
        ),
        (
            at_gateway(AWAY, NOBODY),
            (
                True,
                "DemandUnknown",
                f"no replica is asked for, and it is not known what comes: {NO_RESULT}; at zero a request {COST}",
            ),
        ),
    ],
)
def test_what_it_costs_is_told_in_seconds(observation: Observation, told: tuple[bool, str, str]) -> None:
    condition = at_zero_of(plan_of(observation, MAY_REST, idle(60.0)))

    assert condition is not None
    assert (condition.status, condition.reason, condition.message) == told


@pytest.mark.parametrize("asked", [replace(MAY_REST, warm_floor=2), OWN_BOUND], ids=["warm pool", "bound"])
def test_nobody_is_told_that_the_last_replica_goes_while_a_floor_keeps_it(asked: Policy) -> None:
    plan = plan_of(at_gateway(0.0), asked, idle())
    condition = at_zero_of(plan)

    assert condition is not None
    assert (condition.status, condition.reason) == (False, "Kept")
    assert plan.targets[0].replicas > 0


def test_before_a_start_is_measured_the_cost_is_what_is_expected() -> None:
    told = at_zero_of(plan_of(at_gateway(0.0, NOBODY), MAY_REST))

    assert told is not None
    assert told.message.endswith("waits about 420 s (p90 by loading.expectedSeconds, until a start is measured)")


def test_a_whole_night_and_the_morning_after() -> None:
    """Traffic ends, the idle time passes, nothing happens for hours, and the first request of the morning wakes it."""
    memory, has, told = None, 1, []
    comes = [3.0] * 4 + [0.0] * 50 + [1.0] * 2
    for tick, demand in enumerate(comes):
        at_s = START_S + 60.0 * tick
        there = fleet(*serving(has, at_s=at_s))
        plan = plan_of(replace(seen(there), demand_at_gateway=demand), MAY_REST, memory, at_s)
        memory, has = plan.memory, plan.targets[0].replicas
        told.append(has)

    assert told == [1] * 34 + [0] * 20 + [1] * 2
