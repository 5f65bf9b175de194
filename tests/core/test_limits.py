"""Each rule alone, at its edges; their order; and what no rule may do."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.core import limits
from scaler.core.limits import RULES, Case, Rule, least, limited, remembered, stuck_replicas
from scaler.core.memory import Shortage, TargetMemory, Wished
from scaler.core.model import Behavior, Fleet, Loading, Policy, Refused, Replica, ScaleToZero, Target, WarmWindow
from scaler.core.plan import LoadTime, Ruling
from tests.builders import BEHAVIOR, START_S, fleet, key, lost, policy, ready, serving, starting, unschedulable

MEASURED = LoadTime(p50_s=750.0, p90_s=1000.0, samples=9)
"""A hold of 300 s follows from it."""

TO_ZERO = policy(min_replicas=0, scale_to_zero=ScaleToZero(idle_s=600.0))

WATCHED = TargetMemory(key=key(), known_from_s=START_S - 7200.0)
PLAIN = policy()


def case(
    requested: int = 8,
    *,
    asked: Policy = PLAIN,
    fleet: Fleet | None = None,
    memory: TargetMemory = WATCHED,
    **rest: object,
) -> Case:
    """A healthy target that has been watched for two hours, is asked for 8 and has them, and has all the traffic."""
    plain = Case(
        policy=asked,
        target=Target(key=key()),
        fleet=Fleet(requested=requested, replicas=serving(requested)) if fleet is None else fleet,
        memory=memory,
        load_time=MEASURED,
        at_s=START_S,
        share_percent=100,
        ceiling=asked.max_replicas,
        demand_known=True,
    )
    return replace(plain, **rest)  # type: ignore[arg-type]  # the rest is named by the test


def behaving(**difference: object) -> Policy:
    return policy(behavior=replace(BEHAVIOR, **difference))  # type: ignore[arg-type]  # named by the test


def after(rule: Rule, wish: int, seen: Case) -> int:
    """What ``rule`` makes of ``wish``; the wish itself where it has nothing to say."""
    ruling = rule(wish, seen)
    return wish if ruling is None else ruling.after


def because(rule: Rule, wish: int, seen: Case) -> str:
    ruling = rule(wish, seen)
    assert ruling is not None
    return ruling.because


def wished(*pairs: tuple[float, int]) -> TargetMemory:
    """A memory of wishes, as (age, replicas)."""
    ages = tuple(Wished(at_s=START_S - age_s, replicas=replicas) for age_s, replicas in pairs)
    return replace(WATCHED, wished=ages)


# --- The order ---------------------------------------------------------------------------------------------------


def test_the_order_of_the_rules() -> None:
    """Growth is bounded first, then shrinking is slowed, and whoever owns the cluster has the last words."""
    assert [rule.__name__ for rule in RULES] == [
        "room",
        "probe",
        "step_up",
        "wake",
        "full_window",
        "checked",
        "intact",
        "hold",
        "consolidate",
        "step_down",
        "flaps",
        "rest",
        "warm_floor",
        "bounds",
        "paused",
    ]


def test_a_ruling_bears_the_name_of_its_rule() -> None:
    shrinking = case(
        asked=policy(paused=True, warm_floor=3, min_replicas=4, behavior=replace(BEHAVIOR, grow_step=1)),
        fleet=fleet(*serving(7), unschedulable()),
        memory=replace(wished((10.0, 7)), known_from_s=None, direction=1, shortage=OVER),
        unheard=(lost(),),
        steady=2,
        slowness=None,
    )

    at_zero = case(0, asked=TO_ZERO, fleet=fleet(requested=0), is_waking=True)
    idle = case(1, asked=TO_ZERO, idle_for_s=900.0)

    told = {
        rule.__name__: ruling.rule
        for rule in RULES
        for seen, wish in ((shrinking, 0), (shrinking, 20), (at_zero, 0), (idle, 1))
        if (ruling := rule(wish, seen)) is not None
    }

    assert [*told] == [*told.values()] == [rule.__name__ for rule in RULES]


OVER = Shortage(began_s=START_S - 30.0, wait_s=60.0, is_over=True)
"""A shortage that began 30 s ago, and in which nothing is stuck any more."""


# --- Room --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stuck", "wish", "ruled"),
    [
        (unschedulable(for_s=60.0), 12, 12),
        (unschedulable(for_s=61.0), 12, 3),
        (unschedulable(for_s=61.0), 2, 2),
        (starting(age_s=1800.0), 12, 12),
        (starting(age_s=1801.0), 12, 3),
    ],
)
def test_what_cannot_start_caps_the_wish_at_what_is_asked_for(stuck: Replica, wish: int, ruled: int) -> None:
    assert after(limits.room, wish, case(fleet=fleet(*serving(2), stuck))) == ruled


def test_no_room_names_the_first_replica_and_its_trouble() -> None:
    homeless, slow = case(fleet=fleet(unschedulable("u"))), case(fleet=fleet(starting("s", age_s=2000.0)))

    assert because(limits.room, 9, homeless) == "1 of the 1 asked for cannot start (u: no node takes it)"
    assert because(limits.room, 9, slow) == "1 of the 1 asked for cannot start (s: its start has outlived its budget)"


def test_what_is_refused_is_not_asked_for_again() -> None:
    refused = replace(fleet(*serving(2), requested=4), refused=Refused(replicas=2, why="exceeded quota: gpus"))

    assert after(limits.room, 9, case(fleet=refused)) == 4
    assert after(limits.room, 3, case(fleet=refused)) == 3
    assert because(limits.room, 9, case(fleet=refused)) == (
        "2 of the 4 asked for cannot be created (exceeded quota: gpus)"
    )


# --- Trying for room ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago_s", "step", "tried"),
    [(59.0, 1, 8), (60.0, 1, 9), (60.0, 4, 12), (60.0, 16, 20)],
    ids=["too soon", "one at first", "four after two and one", "all that is wished for"],
)
def test_after_a_shortage_room_is_tried_in_growing_steps(ago_s: float, step: int, tried: int) -> None:
    shortage = replace(OVER, began_s=START_S - ago_s, step=step)

    assert after(limits.probe, 20, case(memory=replace(WATCHED, shortage=shortage))) == tried


def test_nothing_more_is_tried_while_the_last_try_has_no_node() -> None:
    shortage = replace(OVER, began_s=START_S - 900.0)
    waits = case(fleet=fleet(*serving(7), unschedulable(for_s=5.0)), memory=replace(WATCHED, shortage=shortage))

    assert after(limits.probe, 20, waits) == 8
    assert because(limits.probe, 20, waits) == "after a shortage 1 replica must find a node first"


def shortage_of(seen: Case, planned: int | None = None, *, knows_why: bool = False) -> Shortage | None:
    """What is remembered of a shortage after this case."""
    wish = Ruling(rule="wish", before=seen.requested, after=seen.requested, because="", facts={})
    return remembered(wish, planned or seen.requested, seen, knows_why=knows_why).shortage


def test_a_replica_that_finds_no_node_begins_a_shortage_and_one_that_comes_back_waits_twice_as_long() -> None:
    stuck = fleet(*serving(2), unschedulable(for_s=61.0))
    again = replace(OVER, wait_s=600.0)

    assert shortage_of(case(fleet=stuck)) == Shortage(began_s=START_S, wait_s=60.0)
    assert shortage_of(case(fleet=stuck, memory=replace(WATCHED, shortage=OVER))) == Shortage(
        began_s=START_S, wait_s=120.0
    )
    assert shortage_of(case(fleet=stuck, memory=replace(WATCHED, shortage=again))) == Shortage(
        began_s=START_S, wait_s=900.0
    )
    assert shortage_of(case(fleet=stuck), knows_why=True) is None


def test_a_try_that_found_a_node_doubles_the_next_one_until_there_is_no_doubt() -> None:
    tried = replace(OVER, probed=8)

    found = shortage_of(case(8, memory=replace(WATCHED, shortage=tried)))
    waiting = case(fleet=fleet(*serving(7), unschedulable(for_s=5.0)), memory=replace(WATCHED, shortage=tried))

    assert found == replace(OVER, step=2)
    assert shortage_of(waiting) == tried
    assert shortage_of(case(8, memory=replace(WATCHED, shortage=replace(OVER, step=32)))) is None
    assert shortage_of(case(8, memory=replace(WATCHED, shortage=replace(OVER, began_s=START_S - 3601.0)))) is None
    assert shortage_of(case(8, memory=replace(WATCHED, shortage=OVER)), planned=9) == replace(OVER, probed=9)


def test_the_deadline_of_a_start_is_the_policys_budget() -> None:
    slow = fleet(starting(age_s=700.0))

    assert stuck_replicas(slow, policy(loading=Loading(expected_s=60.0, budget_s=600.0)), START_S) == slow.replicas
    assert stuck_replicas(slow, policy(loading=Loading(expected_s=60.0, budget_s=700.0)), START_S) == ()


# --- Growing -----------------------------------------------------------------------------------------------------


def test_without_a_step_it_grows_at_once() -> None:
    assert limits.step_up(40, case()) is None


@pytest.mark.parametrize(("grown_s_ago", "ruled"), [(None, 11), (60.0, 11), (59.9, 8)])
def test_a_growth_by_steps_waits_for_its_period(grown_s_ago: float | None, ruled: int) -> None:
    stepping = behaving(grow_step=3, grow_period_s=60.0)
    memory = replace(WATCHED, grown_at_s=None if grown_s_ago is None else START_S - grown_s_ago)

    assert after(limits.step_up, 20, case(8, asked=stepping, memory=memory)) == ruled
    assert after(limits.step_up, 5, case(8, asked=stepping, memory=memory)) == 5


@pytest.mark.parametrize(("requested", "asked", "ruled"), [(8, 11, 11), (11, 11, 11), (12, 11, 12), (8, 6, 8)])
def test_a_growth_that_nobody_has_carried_out_is_said_again(requested: int, asked: int, ruled: int) -> None:
    stepping = behaving(grow_step=3, grow_period_s=60.0)
    memory = replace(WATCHED, grown_at_s=START_S - 15.0, asked=asked)

    assert after(limits.step_up, 20, case(requested, asked=stepping, memory=memory)) == ruled


# --- Shrinking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known_s", "hold_s", "ruled"),
    [
        (None, None, 8),
        (299.9, None, 8),
        (300.0, None, 2),  # three tenths of 1000 s
        (600.0, 601.0, 8),
        (59.9, 0.0, 8),  # a restart is watched for a minute, whatever the hold
        (60.0, 0.0, 2),
    ],
)
def test_nothing_shrinks_before_a_full_window(known_s: float | None, hold_s: float | None, ruled: int) -> None:
    memory = replace(WATCHED, known_from_s=None if known_s is None else START_S - known_s)

    assert after(limits.full_window, 2, case(8, asked=behaving(hold_s=hold_s), memory=memory)) == ruled


def test_the_window_says_what_it_has_seen() -> None:
    memory = replace(WATCHED, known_from_s=START_S - 45.0)

    assert because(limits.full_window, 2, case(memory=memory)) == (
        "the demand has been seen for 45 s without a gap, shrinking needs 300 s"
    )


@pytest.mark.parametrize(
    ("slowness", "known_s", "ruled"),
    [
        (1.0, 0.0, 2),
        (1.05, 9e9, 2),  # within the noise of a minute
        (1.06, 9e9, 8),
        (0.5, 9e9, 2),  # faster than is believed: fewer do
        (None, 0.0, 8),
        (None, 899.9, 8),
        (None, 900.0, 2),  # traffic that is never steady
    ],
)
def test_nothing_shrinks_on_a_belief_that_no_minute_bears_out(
    slowness: float | None, known_s: float, ruled: int
) -> None:
    memory = replace(WATCHED, known_from_s=START_S - known_s)

    assert after(limits.checked, 2, case(8, memory=memory, slowness=slowness)) == ruled


def test_what_a_belief_lacks_is_told() -> None:
    memory = replace(WATCHED, known_from_s=START_S - 140.0)

    assert because(limits.checked, 2, case(memory=memory, slowness=1.84)) == (
        "the replicas took 1.84 times as long for their last minute as is believed"
    )
    assert because(limits.checked, 2, case(memory=memory, slowness=None)) == (
        "no steady minute has told what a replica carries in the 140 s since the start"
    )


@pytest.mark.parametrize(
    ("unheard", "reason"),
    [
        ((lost("l"),), "the work of 1 replica is not in what was seen (l was ready and is not now)"),
        ((ready("n"), lost()), "the work of 2 replicas is not in what was seen (n has only just become ready)"),
    ],
)
def test_nothing_shrinks_on_a_part_of_the_work(unheard: tuple[Replica, ...], reason: str) -> None:
    partly = case(8, unheard=unheard)

    assert after(limits.intact, 2, partly) == 8
    assert after(limits.intact, 9, partly) == 9
    assert because(limits.intact, 2, partly) == reason
    assert limits.intact(2, case()) is None


@pytest.mark.parametrize(
    ("memory", "ruled"),
    [
        (wished(), 2),
        (wished((300.0, 6), (15.0, 3)), 6),  # the edge of the window is in it
        (wished((300.1, 6), (15.0, 3)), 3),
        (wished((300.0, 30)), 8),  # never above what is asked for
        (wished((15.0, 1)), 2),
    ],
)
def test_a_dip_must_outlast_the_hold(memory: TargetMemory, ruled: int) -> None:
    assert after(limits.hold, 2, case(8, memory=memory)) == ruled


def test_the_hold_says_what_was_needed_and_what_a_start_costs() -> None:
    assert because(limits.hold, 2, case(memory=wished((120.0, 6)))) == (
        "120 s ago it took 6 replicas, and a start takes up to 1000 s: a dip must last 300 s"
    )


@pytest.mark.parametrize(("p90_s", "hold_s"), [(20.0, 120.0), (400.0, 120.0), (1000.0, 300.0), (3000.0, 900.0)])
def test_the_hold_is_three_tenths_of_the_load_time_and_at_least_two_minutes(p90_s: float, hold_s: float) -> None:
    assert case(load_time=replace(MEASURED, p90_s=p90_s)).hold_s == hold_s


def test_the_policys_own_hold_is_taken_as_it_is() -> None:
    assert case(asked=behaving(hold_s=7.0)).hold_s == 7.0


@pytest.mark.parametrize(
    ("shrunk_s_ago", "percent", "requested", "ruled"),
    [
        (None, 25, 8, 6),
        (60.0, 25, 8, 6),
        (59.9, 25, 8, 8),
        (None, 25, 11, 9),  # a quarter of 11, rounded down
        (None, 25, 3, 2),  # one may always go
        (None, 100, 8, 1),
    ],
)
def test_it_shrinks_by_its_share_in_each_period(
    shrunk_s_ago: float | None, percent: int, requested: int, ruled: int
) -> None:
    memory = replace(WATCHED, shrunk_at_s=None if shrunk_s_ago is None else START_S - shrunk_s_ago)
    shrinking = case(requested, asked=behaving(shrink_step_percent=percent), memory=memory)

    assert after(limits.step_down, 1, shrinking) == ruled


@pytest.mark.parametrize(
    ("shrunk_s_ago", "requested", "asked", "ruled"),
    [
        (15.0, 8, 6, 6),  # said again
        (15.0, 6, 6, 6),  # carried out
        (15.0, 5, 6, 5),  # somebody took more away
        (60.0, 8, 6, 6),  # the next period begins from what there is, not from what was said
        (15.0, 8, 11, 8),  # what was decided was growth
    ],
)
def test_a_shrink_that_nobody_has_carried_out_is_said_again(
    shrunk_s_ago: float, requested: int, asked: int, ruled: int
) -> None:
    """KEDA takes up to a minute, and would hear of 6, 8, 8 and 8 in the ticks of one period."""
    memory = replace(WATCHED, shrunk_at_s=START_S - shrunk_s_ago, asked=asked)

    assert after(limits.step_down, 1, case(requested, memory=memory)) == ruled


@pytest.mark.parametrize(
    ("steady", "ruled"),
    [(0, 2), (2, 2), (5, 5), (8, 8), (30, 8)],  # never above what is asked for
)
def test_it_shrinks_to_what_carries_a_rise_that_is_not_rare(steady: int, ruled: int) -> None:
    assert after(limits.consolidate, 2, case(8, steady=steady)) == ruled
    assert after(limits.consolidate, 9, case(8, steady=steady)) == 9


def test_what_is_kept_for_a_rise_says_so() -> None:
    assert because(limits.consolidate, 2, case(8, steady=5)) == (
        "fewer than 5 replicas would have to grow again at a rise that is not rare"
    )


def turning(left: float | None, direction: int = 1, ago_s: float = 0.0) -> TargetMemory:
    """A memory of a target that moved in ``direction``, with these turns left so long ago."""
    at_s = None if left is None else START_S - ago_s
    return replace(WATCHED, direction=direction, turns_left=left, turns_at_s=at_s)


@pytest.mark.parametrize(
    ("direction", "left", "ruled"),
    [
        (1, 2.0, 2),  # down now, and up again: that is two
        (1, 1.9, 8),
        (1, 0.0, 8),
        (1, None, 8),  # the first hour begins with one
        (-1, 0.0, 2),  # it shrinks already: this is no turn
        (0, 0.0, 2),
    ],
)
def test_a_turn_to_shrinking_needs_two_turns_left(direction: int, left: float | None, ruled: int) -> None:
    memory = turning(left, direction)

    assert after(limits.flaps, 2, case(8, memory=memory)) == ruled
    assert after(limits.flaps, 9, case(8, memory=memory)) == 9


def test_the_flap_budget_counts_the_turn_back() -> None:
    assert because(limits.flaps, 2, case(memory=turning(1.5))) == (
        "turning now, and back again, takes 2 turns: 1.5 are left, with 2 more every hour"
    )


@pytest.mark.parametrize(
    ("budget", "left", "ago_s", "turns"),
    [
        (2, 0.0, 0.0, 0.0),
        (2, 0.0, 1800.0, 1.0),
        (2, 0.0, 3600.0, 2.0),
        (4, 0.5, 1800.0, 2.5),
        (2, 0.0, 10_800.0, 6.0),
        (2, 0.0, 36_000.0, 6.0),  # a night pays for three hours, not for ten
        (2, 6.0, 60.0, 6.0),
        (1, 6.0, 0.0, 3.0),  # a policy that allows fewer now
        (2, 1.0, -3600.0, 1.0),  # a clock that went back gives nothing and takes nothing
        (4, None, 0.0, 1.0),
    ],
)
def test_turns_accrue_by_the_hour_up_to_three_hours_worth(
    budget: int, left: float | None, ago_s: float, turns: float
) -> None:
    accrued = case(asked=behaving(flaps_per_hour=budget), memory=turning(left, ago_s=ago_s))

    assert limits.turns_left(accrued) == turns
    assert remembered(wish(8), 8, accrued).turns_left == turns
    assert remembered(wish(8), 8, accrued).turns_at_s == START_S


def test_a_flap_budget_that_is_used_up_accrues_again() -> None:
    spent = case(memory=turning(2.0, direction=-1))

    grown = remembered(wish(9), 9, spent)
    back = replace(spent, memory=grown, at_s=START_S + 1799.0)

    assert grown.turns_left == 1.0
    assert after(limits.flaps, 2, back) == 8
    assert after(limits.flaps, 2, replace(back, at_s=START_S + 1800.0)) == 2


# --- The operator's words ----------------------------------------------------------------------------------------

NIGHT = WarmWindow(from_s=START_S, until_s=START_S + 100.0, floor=6)


@pytest.mark.parametrize(
    ("at_s", "ruled"), [(START_S - 0.1, 2), (START_S, 6), (START_S + 99.9, 6), (START_S + 100.0, 2)]
)
def test_a_schedule_raises_the_floor_from_its_start_until_just_before_its_end(at_s: float, ruled: int) -> None:
    warm = policy(warm_floor=2, warm_windows=(NIGHT,))

    assert after(limits.warm_floor, 0, case(asked=warm, at_s=at_s)) == ruled


def test_the_highest_floor_in_force_counts() -> None:
    lower = replace(NIGHT, floor=4)

    assert after(limits.warm_floor, 0, case(asked=policy(warm_floor=5, warm_windows=(lower, NIGHT)))) == 6
    assert after(limits.warm_floor, 0, case(asked=policy(warm_floor=5, warm_windows=(lower,)))) == 5
    assert after(limits.warm_floor, 7, case(asked=policy(warm_floor=5))) == 7


@pytest.mark.parametrize(
    ("warm", "share_percent", "reason"),
    [
        (policy(warm_floor=6), 100, "the warm pool keeps 6"),
        (policy(warm_floor=2, warm_windows=(NIGHT,)), 100, "the warm pool keeps 6 on schedule"),
        (policy(warm_floor=6, warm_windows=(NIGHT,)), 50, "the warm pool keeps 6, for 50 % of the traffic"),
    ],
)
def test_the_floor_says_where_it_comes_from(warm: Policy, share_percent: int, reason: str) -> None:
    assert because(limits.warm_floor, 0, case(asked=warm, share_percent=share_percent)) == reason


@pytest.mark.parametrize(("share_percent", "low"), [(100, 4), (26, 2), (25, 1), (1, 1), (0, 0)])
def test_the_lower_bound_and_the_floor_go_by_the_traffic_rounded_up(share_percent: int, low: int) -> None:
    sharing = case(asked=policy(min_replicas=4, warm_floor=4), share_percent=share_percent)

    assert after(limits.bounds, 0, sharing) == low
    assert after(limits.warm_floor, 0, sharing) == low
    assert least(sharing.policy, sharing.target, share_percent, START_S) == low


@pytest.mark.parametrize(("floor", "low", "expected"), [(6, 1, 6), (1, 6, 6), (0, 0, 0)])
def test_the_least_is_the_higher_of_floor_and_lower_bound(floor: int, low: int, expected: int) -> None:
    assert least(policy(warm_floor=floor, min_replicas=low), target(), 100, START_S) == expected


def target(low: int = 0, high: int | None = None) -> Target:
    return Target(key=key(), min_replicas=low, max_replicas=high)


@pytest.mark.parametrize(
    ("wish", "seen", "ruled", "reason"),
    [
        (0, case(), 1, "the operator allows 1 to 40"),
        (50, case(), 40, "the operator allows 1 to 40"),
        (50, case(target=target(high=30)), 30, "the operator allows 1 to 30"),
        (50, case(ceiling=12), 12, "the operator allows 1 to 12 beside the other versions"),
        (50, case(ceiling=12, target=target(high=9)), 9, "the operator allows 1 to 9"),
        (1, case(target=target(low=3)), 3, "the operator allows 3 to 40"),
        (9, case(ceiling=2, target=target(low=3)), 2, "the operator allows at most 2 beside the other versions"),
    ],
    ids=["low", "high", "target's high", "beside", "target beside", "target's low", "high over low"],
)
def test_the_bounds_are_the_policys_the_targets_and_what_other_versions_leave(
    wish: int, seen: Case, ruled: int, reason: str
) -> None:
    assert after(limits.bounds, wish, seen) == ruled
    assert because(limits.bounds, wish, seen) == reason


def test_a_target_without_traffic_may_go_whatever_its_own_lower_bound() -> None:
    assert after(limits.bounds, 0, case(target=target(low=3), share_percent=0)) == 0


def test_a_paused_policy_keeps_what_is_there() -> None:
    pausing = case(8, asked=policy(paused=True))

    assert [after(limits.paused, wish, pausing) for wish in (2, 8, 30)] == [8, 8, 8]
    assert limits.paused(2, case()) is None


# --- What is remembered ------------------------------------------------------------------------------------------


def wish(replicas: int) -> Ruling:
    return Ruling(rule="wish", before=8, after=replicas, because="the work", facts={})


def test_only_wishes_that_may_still_be_the_highest_are_kept() -> None:
    memory = wished((3601.0, 30), (3600.0, 20), (200.0, 9), (100.0, 5), (50.0, 4))

    kept = remembered(wish(5), 8, case(memory=memory)).wished

    assert [(START_S - each.at_s, each.replicas) for each in kept] == [(3600.0, 20), (200.0, 9), (0.0, 5)]


def test_a_hold_of_two_hours_remembers_two_hours() -> None:
    patient = case(asked=behaving(hold_s=7200.0), memory=wished((7200.0, 30), (7201.0, 40)))

    kept = remembered(wish(5), 8, patient).wished

    assert [each.replicas for each in kept] == [30, 5]


def test_without_a_demand_no_wish_is_made_and_the_window_ends() -> None:
    blind = case(demand_known=False, memory=wished((10.0, 4)))

    memory = remembered(wish(8), 8, blind)

    assert memory == replace(blind.memory, known_from_s=None, turns_left=1.0, turns_at_s=START_S)


def test_the_window_begins_with_the_first_demand() -> None:
    fresh = replace(WATCHED, known_from_s=None)

    assert remembered(wish(8), 8, case(memory=fresh)).known_from_s == START_S
    assert remembered(wish(8), 8, case()).known_from_s == WATCHED.known_from_s


@pytest.mark.parametrize(
    ("direction", "planned", "turned"),
    [(0, 9, False), (0, 7, False), (1, 9, False), (1, 7, True), (-1, 9, True), (-1, 7, False), (1, 8, False)],
)
def test_a_turn_is_counted_when_the_target_moves_the_other_way(direction: int, planned: int, *, turned: bool) -> None:
    memory = turning(2.0, direction, ago_s=900.0)

    moved = remembered(wish(planned), planned, case(8, memory=memory))

    assert (moved.turns_left, moved.turns_at_s) == (1.5 if turned else 2.5, START_S)
    assert moved.direction == {9: 1, 7: -1, 8: direction}[planned]
    assert moved.grown_at_s == (START_S if planned == 9 else None)
    assert moved.shrunk_at_s == (START_S if planned == 7 else None)


def test_what_is_said_again_is_neither_another_turn_nor_another_step() -> None:
    memory = turning(2.0, 1)

    once = remembered(wish(7), 7, case(8, memory=memory))
    again = remembered(wish(7), 7, case(8, memory=once, at_s=START_S + 15.0))
    obeyed = remembered(wish(7), 7, case(7, memory=again, at_s=START_S + 30.0))

    assert (once.asked, once.direction, once.shrunk_at_s) == (7, -1, START_S)
    assert (again.asked, again.direction, again.shrunk_at_s) == (7, -1, START_S)
    assert (obeyed.asked, obeyed.shrunk_at_s) == (None, START_S)
    assert obeyed.turns_left == pytest.approx(1.0 + BEHAVIOR.flaps_per_hour * 30.0 / 3600.0)


def test_the_same_count_from_the_other_side_is_a_turn() -> None:
    """It was 8 and 7 was said; somebody took three away, so that 7 is growth now."""
    said = remembered(wish(7), 7, case(8, memory=turning(2.0, -1)))

    grown = remembered(wish(7), 7, case(5, memory=said, at_s=START_S + 15.0))

    assert (grown.asked, grown.direction, grown.grown_at_s) == (7, 1, START_S + 15.0)


# --- What holds for any case -------------------------------------------------------------------------------------

maybe_s = st.none() | st.integers(-4000, 0).map(lambda age_s: START_S + age_s)
behaviors = st.builds(
    Behavior,
    hold_s=st.none() | st.sampled_from([0.0, 60.0, 900.0]),
    shrink_step_percent=st.integers(1, 100),
    shrink_period_s=st.sampled_from([1.0, 60.0, 600.0]),
    grow_step=st.none() | st.integers(1, 10),
    grow_period_s=st.sampled_from([1.0, 60.0]),
    flaps_per_hour=st.integers(1, 6),
)
policies = st.builds(
    lambda bounds, floor, behavior, *, paused: policy(
        min_replicas=min(bounds), max_replicas=max(1, *bounds), warm_floor=floor, behavior=behavior, paused=paused
    ),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.integers(0, 20),
    behaviors,
    paused=st.booleans(),
)
memories = st.builds(
    TargetMemory,
    key=st.just(key()),
    known_from_s=maybe_s,
    asked=st.none() | st.integers(0, 40),
    wished=st.lists(
        st.builds(Wished, at_s=st.integers(-4000, -1).map(lambda age_s: START_S + age_s), replicas=st.integers(0, 40)),
        max_size=4,
    ).map(tuple),
    grown_at_s=maybe_s,
    shrunk_at_s=maybe_s,
    direction=st.sampled_from([-1, 0, 1]),
    turns_left=st.none() | st.floats(-1.0, 20.0),
    turns_at_s=maybe_s,
)
fleets = st.builds(
    lambda count, others, requested: fleet(*serving(count), *others, requested=requested),
    st.integers(0, 12),
    st.lists(st.sampled_from([starting(), starting(age_s=2000.0), unschedulable(), lost()]), max_size=3),
    st.integers(0, 40),
)
cases = st.builds(
    lambda asked, has, memory, share_percent, ceiling, unheard, steady, idle_for_s, is_waking: case(
        asked=asked,
        fleet=has,
        memory=memory,
        share_percent=share_percent,
        ceiling=ceiling,
        unheard=unheard,
        steady=steady,
        idle_for_s=idle_for_s,
        is_waking=is_waking,
    ),
    policies,
    fleets,
    memories,
    st.integers(0, 100),
    st.integers(0, 40),
    st.sampled_from([(), (lost(),)]),
    st.integers(0, 40),
    st.sampled_from([None, 100.0, 5000.0]),
    st.booleans(),
)
wishes = st.integers(0, 60)

UPWARDS: tuple[Rule, ...] = (limits.room, limits.probe, limits.step_up)
DOWNWARDS: tuple[Rule, ...] = (
    limits.full_window,
    limits.checked,
    limits.intact,
    limits.hold,
    limits.consolidate,
    limits.step_down,
    limits.flaps,
)


some = settings(max_examples=50)


@some
@given(cases, wishes)
def test_a_rule_on_growth_only_bounds_it_and_never_below_what_is_asked_for(seen: Case, wish: int) -> None:
    for rule in UPWARDS:
        assert min(wish, seen.requested) <= after(rule, wish, seen) <= wish


@some
@given(cases, wishes)
def test_a_rule_on_shrinking_only_slows_it_and_never_raises_above_what_is_asked_for(seen: Case, wish: int) -> None:
    for rule in DOWNWARDS:
        assert wish <= after(rule, wish, seen) <= max(wish, seen.requested)


@some
@given(cases, wishes)
def test_a_ruling_begins_with_the_wish_and_changes_it(seen: Case, wish: int) -> None:
    """Killed by a rule that returns a ruling whether or not it changes the number."""
    for rule in RULES:
        ruling = rule(wish, seen)

        assert ruling is None or (ruling.before == wish and ruling.after != wish and bool(ruling.because))


@some
@given(cases, wishes, wishes)
def test_a_higher_wish_never_leads_to_fewer(seen: Case, one: int, other: int) -> None:
    for rule in RULES:
        assert after(rule, min(one, other), seen) <= after(rule, max(one, other), seen)


@some
@given(cases, wishes)
def test_the_rules_of_zero_move_between_zero_and_one_alone(seen: Case, wish: int) -> None:
    assert after(limits.wake, wish, seen) in {wish, 1}
    assert after(limits.rest, wish, seen) in {wish, 0}
    assert wish == 0 or after(limits.wake, wish, seen) == wish
    assert wish == 1 or after(limits.rest, wish, seen) == wish


@some
@given(cases, wishes)
def test_the_floor_only_raises(seen: Case, wish: int) -> None:
    assert after(limits.warm_floor, wish, seen) >= wish


@some
@given(cases, wishes)
def test_the_plan_is_within_the_ceiling_unless_it_is_paused(seen: Case, wish: int) -> None:
    plan = limited(Ruling(rule="wish", before=seen.requested, after=wish, because="", facts={}), seen)

    assert plan.replicas == seen.requested if seen.policy.paused else plan.replicas <= seen.ceiling


def test_every_rule_of_the_properties_is_in_the_order() -> None:
    last: tuple[Rule, ...] = (limits.warm_floor, limits.bounds, limits.paused)

    assert (*UPWARDS, limits.wake, *DOWNWARDS, limits.rest, *last) == RULES
