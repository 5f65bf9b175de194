"""How shrinking is slowed, and what is remembered from tick to tick so that it can be."""

from dataclasses import replace

import pytest

from scaler.core import limits
from scaler.core.limits import remembered
from scaler.core.memory import TargetMemory
from scaler.core.model import Replica
from scaler.core.plan import Ruling
from tests.builders import BEHAVIOR, START_S, lost, ready
from tests.core.cases import MEASURED, WATCHED, after, because, behaving, case, wished

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
