"""The warm floor that is advised: none where scaling is in time, and otherwise the smallest that does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.advice import LEFT_SHARE, MISSED_MOST, WATCHED_LEAST_S, advised, reckoned
from scaler.core.forecast import GROWTHS
from scaler.core.memory import DAY_S, Course
from scaler.core.model import Role
from scaler.core.plan import FloorAdvice

SERVE = Role.SERVE.value
NEW = Course(role=SERVE)
TICK_S = 15.0


def course(came_s: float = 10_000.0, seen_s: float = 5000.0, **missed: float) -> Course:
    """A role with so much work, and so much of it missed by level: ``r4=50`` came when 4 replicas would have done."""
    levels = sorted((int(level.removeprefix("r")), late_s) for level, late_s in missed.items())
    return replace(NEW, came_s=came_s, seen_s=seen_s, missed_s=tuple(levels))


def advice(known: Course) -> FloorAdvice:
    (told,) = advised(known)
    return told


def served(known: Course, hours: float, work_replicas: float, instant: int, late_share: float) -> Course:
    """``known`` after so many hours of ticks."""
    for _ in range(int(hours * 3600.0 / TICK_S)):
        known = reckoned(known, work_replicas, instant, TICK_S, late_share)
    return known


# --- What is counted ---------------------------------------------------------------------------------------------


def test_work_is_counted_in_replica_seconds_and_as_missed_by_the_replicas_that_would_have_done() -> None:
    known = reckoned(NEW, 2.5, 4, 15.0, 0.0)
    known = reckoned(known, 6.0, 8, 15.0, 1.0)

    assert known.came_s == pytest.approx(37.5 + 90.0, rel=1e-3)
    assert known.seen_s == pytest.approx(30.0, rel=1e-3)
    assert dict(known.missed_s) == {8: pytest.approx(90.0)}


def test_levels_are_kept_in_order() -> None:
    known = NEW
    for level in (5, 2, 9, 2):
        known = reckoned(known, 1.0, level, 10.0, 1.0)

    assert [level for level, _ in known.missed_s] == [2, 5, 9]


def test_what_was_counted_fades_over_a_day() -> None:
    late = served(NEW, 1.0, 4.0, 8, 1.0)
    after_a_day = served(late, 24.0, 4.0, 4, 0.0)

    assert dict(after_a_day.missed_s)[8] == pytest.approx(dict(late.missed_s)[8] / 2.718, rel=0.01)
    assert served(NEW, 240.0, 4.0, 4, 0.0).came_s == pytest.approx(4.0 * DAY_S, rel=0.01)


def test_more_than_a_day_without_a_tick_leaves_nothing_of_before() -> None:
    known = reckoned(course(r4=100.0), 1.0, 1, 2.0 * DAY_S, 0.0)

    assert known.missed_s == ()
    assert known.seen_s == 2.0 * DAY_S


def test_of_work_that_was_late_in_part_that_part_counts() -> None:
    known = reckoned(reckoned(NEW, 4.0, 6, 15.0, 0.25), 4.0, 6, 15.0, 0.0)

    assert known.came_s == pytest.approx(120.0, rel=1e-3)
    ((level, late_s),) = known.missed_s
    assert level == 6
    assert late_s == pytest.approx(15.0, rel=1e-3)


# --- Whether a floor is advised ----------------------------------------------------------------------------------


def test_nothing_is_advised_of_a_role_never_seen() -> None:
    assert advised(NEW) == ()


def test_nothing_is_advised_in_the_first_half_hour() -> None:
    assert advised(served(NEW, 0.49, 4.0, 8, 1.0)) == ()
    assert advised(served(NEW, 0.52, 4.0, 8, 1.0)) != ()


@pytest.mark.parametrize(("late_s", "is_advised"), [(0.0, False), (94.0, False), (95.0, False), (96.0, True)])
def test_a_floor_is_advised_when_nearly_one_in_a_hundred_was_missed(late_s: float, is_advised: bool) -> None:  # noqa: FBT001
    assert bool(advised(course(came_s=10_000.0, r4=late_s))) is is_advised


def test_the_advice_ends_when_a_day_went_well() -> None:
    bad = served(served(NEW, 20.0, 4.0, 4, 0.0), 0.3, 4.0, 8, 1.0)

    assert advised(bad) != ()
    assert advised(served(bad, 48.0, 4.0, 4, 0.0)) == ()


# --- Which floor, and what it costs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "floor"),
    [
        ({"r4": 200.0}, 4),
        ({"r4": 200.0, "r9": 40.0}, 4),  # 50 of 10,000 may be left
        ({"r4": 200.0, "r9": 50.0}, 4),
        ({"r4": 200.0, "r9": 51.0}, 9),
        ({"r4": 200.0, "r9": 26.0, "r12": 26.0}, 9),
    ],
    ids=["one level", "a rare peak", "just rare enough", "no rare peak", "two rare peaks"],
)
def test_the_floor_is_the_smallest_above_which_one_in_two_hundred_is_left(missed: dict[str, float], floor: int) -> None:
    assert advice(course(came_s=10_000.0, **missed)).floor == floor


def test_the_cost_is_what_the_floor_idles_beyond_the_work() -> None:
    """10,000 replica-seconds in 5000 s keep two busy: a floor of six costs four."""
    told = advice(course(came_s=10_000.0, seen_s=5000.0, r6=250.0))

    assert told.idle_replicas == pytest.approx(4.0)
    assert told.missed_share == pytest.approx(0.025)
    assert told.role == SERVE


def test_a_floor_below_the_average_work_costs_nothing() -> None:
    assert advice(course(came_s=100_000.0, seen_s=5000.0, r6=2500.0)).idle_replicas == 0.0


def test_the_growth_told_is_what_one_moment_in_a_hundred_exceeds() -> None:
    own = {1.0: 5600.0, 3.0: 160.0}
    known = replace(course(r6=250.0), growth=tuple(own.get(step, 0.0) for step in GROWTHS))

    assert advice(known).growth == 3.0


@given(
    st.dictionaries(st.integers(1, 50), st.floats(0.1, 1e6), min_size=1, max_size=8),
    st.floats(min_value=0.0, max_value=1e7),
)
def test_a_floor_is_the_least_of_the_levels_that_leaves_next_to_nothing(
    levels: dict[int, float], well_s: float
) -> None:
    """Mutant: `_floor` that begins with the lowest level."""
    late_s = sum(levels.values())
    known = replace(NEW, came_s=late_s + well_s, seen_s=WATCHED_LEAST_S, missed_s=tuple(sorted(levels.items())))
    told = advised(known)
    if late_s <= MISSED_MOST * known.came_s * (1.0 - 1e-9):
        assert told == ()
    for each in told:
        slack_s = 1e-6 * late_s
        left_s = LEFT_SHARE * known.came_s
        assert sum(late for level, late in levels.items() if level > each.floor) <= left_s + slack_s
        assert sum(late for level, late in levels.items() if level >= each.floor) >= left_s - slack_s
