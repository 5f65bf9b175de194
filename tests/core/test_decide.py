"""One tick after another: what a memory, a gap, a clock and a policy do to a decision."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import isfinite, nan

import pytest

from scaler.core.decide import decide
from scaler.core.memory import GAP_S, Memory, PoolMemory, ReleaseMemory, Shortage, TargetMemory
from scaler.core.model import Load, Loading, Missing, Observation, Policy, Replica, Snapshot, Work
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
    unschedulable,
    watched,
    work,
    world,
)
from tests.core.strategies import AWAY

QUIET = seen(fleet(*serving(8)))
"""Eight replicas, and nothing to do."""


def replicas(observation: Observation, asked: Policy | None = None, memory: Memory | None = None) -> int:
    """What v1 should have."""
    return plan_of(observation, asked, memory).targets[0].replicas


def rules(observation: Observation, asked: Policy | None = None, memory: Memory | None = None) -> list[str]:
    return [ruling.rule for ruling in plan_of(observation, asked, memory).targets[0].trail]


def table(
    work: Sequence[tuple[int, float]], asked: Policy, *, has: int, every_s: float = 60.0
) -> list[tuple[int, int]]:
    """The (at_s, replicas) at which a plan changes; ``work`` is the requests in flight from each time on.

    What is planned is there, ready, at the next tick.
    """
    told, memory, until_s = [(0, has)], None, work[-1][0]
    for at in range(0, until_s, int(every_s)):
        running = [requests for from_s, requests in work if from_s <= at][-1]
        at_s = START_S + at
        each = serving(has, running=running / has, at_s=at_s)
        plan = plan_of(seen(fleet(*each)), asked, memory, at_s)
        memory, has = plan.memory, plan.targets[0].replicas
        if has != told[-1][1]:
            told.append((at, has))
    return told


# --- The first tick, gaps and clocks -----------------------------------------------------------------------------


def test_the_first_tick_never_shrinks_and_may_grow() -> None:
    assert rules(QUIET) == ["wish", "full_window"]
    assert replicas(QUIET) == 8
    assert replicas(seen(fleet(*serving(2, running=48)))) == 4


def test_after_a_full_window_it_shrinks() -> None:
    assert replicas(QUIET, memory=watched((240.0, 1))) == 6


def test_the_first_tick_begins_the_window() -> None:
    assert plan_of(QUIET).memory.target(key()).known_from_s == START_S


@pytest.mark.parametrize(("last_s", "planned"), [(0.0, 6), (GAP_S, 6), (GAP_S + 1.0, 8), (-1.0, 8), (-9e9, 8)])
def test_a_gap_and_a_clock_that_goes_back_begin_the_window_anew(last_s: float, planned: int) -> None:
    memory = watched((240.0, 1), last_s=last_s)

    assert replicas(QUIET, memory=memory) == planned


@pytest.mark.parametrize(
    ("since_s", "left"),
    [(1800.0, 1.5), (-60.0, 0.5), (-9e9, 0.5)],
    ids=["gap", "back", "far back"],
)
def test_a_gap_keeps_the_turns_and_a_clock_that_went_back_hands_nothing_out(since_s: float, left: float) -> None:
    memory = watched((240.0, 1), last_s=since_s, direction=1, turns_left=0.5, turns_at_s=START_S - since_s)

    kept = plan_of(QUIET, memory=memory).memory.target(key())

    assert (kept.direction, kept.turns_left, kept.turns_at_s) == (1, left, START_S)


@pytest.mark.parametrize("observation", [QUIET, seen(AWAY)], ids=["seen", "unseen"])
def test_a_clock_that_goes_back_and_on_hands_out_the_turns_of_its_time_once(observation: Observation) -> None:
    """It goes back by an hour and lives half of it again: at two turns an hour, that is one."""
    memory = watched((240.0, 1), last_s=-3600.0, direction=1, turns_left=0.5, turns_at_s=START_S + 3600.0)

    back = plan_of(observation, memory=memory).memory
    again = plan_of(QUIET, None, back, START_S + 1800.0).memory

    assert again.target(key()).turns_left == 1.5


@pytest.mark.parametrize(("last_s", "since_s"), [(1800.0, 1900.0), (-9e9, 0.0)], ids=["gap", "back"])
def test_a_gap_frees_no_pace_and_forgets_no_shortage(last_s: float, since_s: float) -> None:
    """A clock that went back makes what was done in its future as if it were done now."""
    done_s = START_S - (1900.0 if last_s > 0.0 else last_s)
    memory = watched(
        (240.0, 1),
        last_s=last_s,
        grown_at_s=done_s,
        shrunk_at_s=done_s,
        shortage=Shortage(began_s=done_s, wait_s=480.0, is_over=True),
        pool=PoolMemory(gpus=8, since_s=done_s, tried=4),
    )

    kept = plan_of(seen(AWAY), memory=memory).memory.target(key())

    assert (kept.known_from_s, kept.wished) == (None, ())
    assert (kept.grown_at_s, kept.shrunk_at_s) == (START_S - since_s, START_S - since_s)
    assert kept.shortage == Shortage(began_s=START_S - since_s, wait_s=480.0, is_over=True)
    assert kept.pool == PoolMemory(gpus=8, since_s=START_S - since_s, tried=4)


def test_a_tick_that_cannot_see_its_replicas_hands_out_no_second_step() -> None:
    stepping = policy(behavior=replace(BEHAVIOR, grow_step=1, grow_period_s=600.0))
    busy = seen(fleet(*serving(2, running=200)))

    grown = plan_of(busy, stepping)
    blind = plan_of(seen(AWAY), stepping, grown.memory, START_S + 15.0)
    again = plan_of(seen(fleet(*serving(3, running=200, at_s=START_S + 30.0))), stepping, blind.memory, START_S + 30.0)

    assert (grown.targets[0].replicas, again.targets[0].replicas) == (3, 3)


def test_a_plan_is_as_of_the_snapshot() -> None:
    plan = plan_of(QUIET, at_s=START_S + 15.0)

    assert (plan.at_s, plan.memory.at_s) == (START_S + 15.0, START_S + 15.0)


# --- What is seen ------------------------------------------------------------------------------------------------


def test_a_policy_that_was_not_seen_gets_no_plan() -> None:
    other = policy(name="models/other")

    assert [plan.policy for plan in decide(world(QUIET), {}, [other, policy()])] == [NAME]
    assert decide(Snapshot(at_s=START_S, models={}), {}, [policy()]) == ()


def test_policies_do_not_know_each_other() -> None:
    busy = seen(fleet(*serving(2, running=48)))
    both = Snapshot(at_s=START_S, models={NAME: QUIET, "models/other": busy})

    plans = decide(both, {NAME: watched((240.0, 1))}, [policy(), policy(name="models/other")])

    assert [plan.targets[0].replicas for plan in plans] == [6, 4]


def test_a_fleet_that_cannot_be_seen_has_no_plan_and_keeps_its_memory_as_unwatched() -> None:
    memory = watched((240.0, 9), direction=1, turns_left=1.5, turns_at_s=START_S - 60.0)

    plan = plan_of(seen(AWAY), memory=memory)

    assert plan.targets == ()
    assert plan.commands == ()
    assert plan.memory.targets == (TargetMemory(key=key(), direction=1, turns_left=1.5, turns_at_s=START_S - 60.0),)


def test_an_outage_costs_nothing_and_the_window_begins_after_it() -> None:
    silent = seen(fleet(*(replace(replica, load=AWAY) for replica in serving(8))))

    blind = plan_of(silent, memory=watched((240.0, 1)))
    back = plan_of(seen(fleet(*serving(8, at_s=START_S + 15.0))), None, blind.memory, START_S + 15.0)

    assert [ruling.rule for ruling in blind.targets[0].trail] == ["keep"]
    assert [ruling.rule for ruling in back.targets[0].trail] == ["wish", "full_window"]


def test_a_queue_at_the_gateway_that_is_lost_costs_nothing() -> None:
    assert replicas(replace(QUIET, gateway_waiting=AWAY), memory=watched((240.0, 1))) == 8


@pytest.mark.parametrize(
    "hidden",
    [lost("b"), ready("b", age_s=20.0, load=Missing(why="not scraped yet"))],
    ids=["lost", "unread"],
)
def test_work_that_is_not_seen_in_one_version_holds_the_other_as_well(hidden: object) -> None:
    """The eight of v1 look idle, while a replica of v2 has work that nobody counts."""
    assert isinstance(hidden, type(ready()))
    observation = seen({"v1": fleet(*serving(8)), "v2": fleet(hidden)}, weights={"v1": 50, "v2": 50})

    assert rules(observation, releasing((50, 0.0), (100, 0.0)), watched((240.0, 1))) == ["wish", "intact"]


def test_a_replica_that_has_failed_for_good_pins_nobody() -> None:
    observation = seen(fleet(*serving(8), lost(for_s=1801.0), requested=8))

    assert replicas(observation, memory=watched((240.0, 1))) == 6


def test_starts_that_find_no_node_are_not_asked_for_again() -> None:
    observation = seen(fleet(*serving(2, running=100), unschedulable()))

    assert rules(observation) == ["wish", "room"]
    assert replicas(observation) == 3


def test_a_start_is_learned_once() -> None:
    observation = seen(fleet(*serving(2)))

    first = plan_of(observation, memory=Memory(at_s=START_S - 15.0, load_samples=(sample(100.0),)))
    second = plan_of(observation, memory=first.memory)

    assert [each.total_s for each in first.memory.load_samples] == [100.0, 300.0, 300.0]
    assert second.memory.load_samples == first.memory.load_samples
    assert second.load_times["v1"].samples == 3


def test_a_load_of_the_past_is_not_a_load_of_now() -> None:
    old = Load(at_s=START_S - 91.0, running=0.0, waiting=0.0, kv_usage=0.0)

    assert rules(seen(fleet(*serving(7), ready("old", load=old))), memory=watched((240.0, 1))) == ["keep"]
    assert load().at_s == START_S


# --- Starts that hang --------------------------------------------------------------------------------------------


def asked_for(hangs: int, until_s: float) -> list[tuple[float, int]]:
    """The times at which more is asked for where six are needed, two are ready and four start, and how much then.

    Starts take 120 s by the ten that were measured; of the first four ``hangs`` never end, nor do those that replace
    them. What is asked for is created at once.
    """
    asked = policy(loading=Loading(expected_s=120.0, budget_s=1800.0))
    samples, counted = (sample(120.0),) * 10, tuple(f"r{index}" for index in range(2))
    memory = replace(watched(), load_samples=samples, counted=counted)
    created_s = {f"s{index}": START_S for index in range(4)}
    stuck = {f"s{index}" for index in range(hangs)}
    told: list[tuple[float, int]] = []
    for after_s in range(15, int(until_s), 15):
        at_s = START_S + after_s
        has = [*serving(2, running=72.0, at_s=at_s)]
        for name, since_s in created_s.items():
            is_up = name not in stuck and at_s - since_s >= 120.0
            mark_s = since_s + 120.0
            begun = Replica(name=name, created_at_s=since_s, scheduled_at_s=since_s, node_class="H100")
            served = replace(ready(name, at_s=at_s, load=load(at_s=at_s)), created_at_s=since_s, scheduled_at_s=since_s)
            up = replace(served, pulled_at_s=since_s, initialised_at_s=since_s, ready_at_s=mark_s)
            has.append(up if is_up else begun)
        plan = plan_of(seen(fleet(*has)), asked, memory, at_s)
        memory = plan.memory
        new = [f"x{at_s:.0f}-{index}" for index in range(plan.targets[0].replicas - len(has))]
        created_s |= dict.fromkeys(new, at_s)
        stuck |= set(new)
        if new:
            told.append((float(after_s), len(has) + len(new)))
    return told


def test_where_every_start_takes_its_usual_time_nothing_is_asked_for_twice() -> None:
    assert asked_for(hangs=0, until_s=1200.0) == []


def test_starts_that_hang_are_replaced_long_before_their_deadline_and_once() -> None:
    """Two of four hang: after two and a half times 120 s two more are asked for; when those hang too, nobody else."""
    assert asked_for(hangs=2, until_s=1790.0) == [(315.0, 8)]


# --- Growing, holding, shrinking, turning ------------------------------------------------------------------------


def test_it_grows_at_once_and_shrinks_by_quarters_when_a_dip_has_lasted() -> None:
    """A start takes 300 s, so a dip must last 225 s; then a quarter a minute, rounded down, at least one.

    With four turns an hour, the budget has the second one after a quarter of it.
    """
    work = [(0, 96.0), (600, 192.0), (780, 48.0), (1800, 0.0)]
    turning = policy(behavior=replace(BEHAVIOR, flaps_per_hour=4))

    assert table(work, turning, has=4) == [(0, 4), (600, 8), (960, 6), (1020, 5), (1080, 4), (1140, 3), (1200, 2)]


def test_a_dip_that_has_lasted_waits_for_the_flap_budget() -> None:
    """At two turns an hour, the second one is there after half of it."""
    work = [(0, 96.0), (600, 192.0), (780, 48.0), (2000, 0.0)]

    assert table(work, policy(), has=4) == [(0, 4), (600, 8), (1800, 6), (1860, 5), (1920, 4), (1980, 3)]


def test_a_dip_that_ends_in_time_moves_nothing() -> None:
    work = [(0, 192.0), (600, 24.0), (700, 192.0), (1800, 0.0)]

    assert table(work, policy(), has=8) == [(0, 8)]


def test_it_grows_by_steps_where_the_policy_wants_it() -> None:
    stepping = policy(behavior=replace(BEHAVIOR, grow_step=3, grow_period_s=120.0))

    assert table([(0, 24.0), (60, 240.0), (600, 0.0)], stepping, has=1) == [
        (0, 1),
        (60, 4),
        (180, 7),
        (300, 10),
    ]


@pytest.mark.parametrize("budget", [2, 4])
def test_an_hour_of_square_waves_turns_no_oftener_than_the_budget(budget: int) -> None:
    """Ten minutes of 8 replicas' work, ten minutes of 2's: the hold alone would let it turn every ten minutes."""
    waves = [(start, 192.0 if index % 2 == 0 else 48.0) for index, start in enumerate(range(0, 7800, 600))]
    asked = policy(behavior=replace(BEHAVIOR, flaps_per_hour=budget))

    moves = table(waves, asked, has=8, every_s=60.0)

    signs = [(at_s, 1 if after > before else -1) for (_, before), (at_s, after) in pairwise(moves)]
    turns = [at_s for (_, before), (at_s, after) in pairwise(signs) if before != after]
    assert len(turns) >= budget
    assert all(number <= 1 + budget * at_s / 3600 for number, at_s in enumerate(turns, start=1))


# --- Work in tokens ----------------------------------------------------------------------------------------------

BUSY = work(prefill=4000.0, decode=1000.0, finished=5.0, inter_token_latency_s=0.02)


def counting(count: int, at_s: float, told: Work = BUSY) -> tuple[Replica, ...]:
    """``count`` replicas whose engines count tokens."""
    each = replace(load(running=20.0, kv_usage=0.2, at_s=at_s), work=told)
    return tuple(ready(f"r{index}", at_s=at_s, load=each) for index in range(count))


def test_a_rate_that_is_absurd_for_a_minute_is_never_learned_from() -> None:
    """A counter that breaks on one replica of two, and is there again a minute later."""
    memory, told = None, []
    for tick in range(40):
        at_s = START_S + 15.0 * tick
        odd = replace(BUSY, prefill_tokens_per_s=nan) if 20 <= tick < 24 else BUSY
        plan = plan_of(seen(fleet(*counting(1, at_s), *counting(1, at_s, odd))), None, memory, at_s)
        memory = plan.memory
        told.append(plan.targets[0].trail[0])

    assert memory is not None
    assert all(isfinite(value) for capacity in memory.capacities for value in capacity.moments)
    assert "work_replicas" in told[-1].facts


def test_until_it_is_learned_what_one_carries_no_version_gets_more_than_its_part_of_what_is_ready() -> None:
    """Eight replicas with ten times the requests in flight that are safe: four of them do not carry all of that."""
    loaded = tuple(replace(each, load=replace(load(running=240.0), work=BUSY)) for each in counting(4, START_S))
    observation = seen({"v1": fleet(*loaded), "v2": fleet(*loaded)}, weights={"v1": 50, "v2": 50})
    held = ReleaseMemory(stable="v1", candidate="v2", weight_percent=50, since_s=START_S - 400.0)

    plan = plan_of(observation, releasing((50, 300.0), (100, 0.0)), replace(watched((240.0, 1)), release=held))

    assert plan.weights == {"v1": 50, "v2": 50}


@pytest.mark.parametrize("broken", [work(prefill=nan), Missing(why="it was scraped only once")], ids=["absurd", "gone"])
def test_a_counter_that_breaks_on_one_replica_costs_nothing(broken: Work | Missing) -> None:
    """What 160 requests in flight keep busy is known to be more than seven replicas, until one counter breaks."""
    turning, memory = policy(behavior=replace(BEHAVIOR, flaps_per_hour=20)), None
    heavy, told = replace(BUSY, prefill_tokens_per_s=9000.0, decode_tokens_per_s=1500.0), []
    for tick in range(60):
        at_s = START_S + 15.0 * tick
        first, *rest = counting(8, at_s, heavy)
        if tick >= 40:
            assert isinstance(first.load, Load)
            first = replace(first, load=replace(first.load, work=broken))
        plan = plan_of(seen(fleet(first, *rest)), turning, memory, at_s)
        memory = plan.memory
        told.append(plan.targets[0].replicas)

    assert min(told[:40]) >= 8
    assert min(told[40:]) >= 8


# --- Work that the policy's own queries tell ----------------------------------------------------------------------

SILENT = Missing(why="a worker of its own kind has no engine metrics")


def own(count: int, own_replicas: float | Missing) -> Observation:
    workers = tuple(ready(f"w{number}", load=SILENT) for number in range(count))
    return replace(seen(fleet(*workers)), own_replicas=own_replicas)


def test_work_told_by_own_queries_grows_and_shrinks_workers_that_say_nothing() -> None:
    assert replicas(own(2, 4.2)) == 5
    assert replicas(own(8, 2.0), memory=watched((240.0, 2))) == 6


def test_own_queries_without_an_answer_keep_what_is_there() -> None:
    assert replicas(own(8, Missing(why="Prometheus did not answer")), memory=watched((240.0, 2))) == 8


def test_a_worker_that_is_lost_keeps_the_others_though_own_queries_say_less() -> None:
    workers = (ready("w", load=SILENT), lost("l", for_s=30.0))
    observation = replace(seen(fleet(*workers)), own_replicas=1.0)

    assert replicas(observation, memory=watched((240.0, 1))) == 2
