"""The warm floor that is advised: none where scaling is in time, and otherwise the smallest that does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core import advice as rules
from scaler.core.advice import LEFT_SHARE, MISSED_MOST, ROOM, WATCHED_LEAST_S, reckoned
from scaler.core.forecast import GROWTHS
from scaler.core.memory import DAY_S, Course, Wished
from scaler.core.model import FirstTokens, Objective, Role
from scaler.core.plan import FloorAdvice

SERVE = Role.SERVE.value
NEW = Course(role=SERVE)
TICK_S = 15.0


def course(came_s: float = 10_000.0, seen_s: float = 5000.0, **late: float) -> Course:
    """A role of 10,000 requests, and so many late by level: ``r4=50`` were so when 4 replicas would have done."""
    levels = sorted((int(level.removeprefix("r")), requests) for level, requests in late.items())
    return replace(NEW, came_s=came_s, seen_s=seen_s, requests=10_000.0, late=tuple(levels))


def advised(known: Course, percentile: float | None = None) -> tuple[FloorAdvice, ...]:
    """The advice by an objective of that percentile, or by none."""
    return rules.advised(known, None if percentile is None else Objective(percentile=percentile, limit_s=2.0))


def advice(known: Course) -> FloorAdvice:
    (told,) = advised(known)
    return told


def served(known: Course, hours: float, work_replicas: float, instant: int, late_share: float) -> Course:
    """``known`` after so many hours of ticks, with eight requests a second to a replica's worth of work."""
    for _ in range(int(hours * 3600.0 / TICK_S)):
        known = ticked(known, work_replicas, instant, late_share)
    return known


def ticked(known: Course, work_replicas: float, instant: int, late_share: float, elapsed_s: float = TICK_S) -> Course:
    """``known`` after one more tick."""
    at_s = known.instants[-1].at_s + elapsed_s if known.instants else elapsed_s
    told = FirstTokens(per_s=8.0 * work_replicas, late_per_s=8.0 * work_replicas * late_share)
    return reckoned(known, work_replicas, Wished(at_s=at_s, replicas=instant), elapsed_s, told)


# --- What is counted ---------------------------------------------------------------------------------------------


def test_work_requests_and_time_are_counted_and_late_requests_by_the_replicas_that_would_have_done() -> None:
    known = ticked(ticked(NEW, 2.5, 4, 0.0), 6.0, 8, 0.25)

    assert known.came_s == pytest.approx(37.5 + 90.0, rel=1e-3)
    assert known.requests == pytest.approx(300.0 + 720.0, rel=1e-3)
    assert known.seen_s == pytest.approx(30.0, rel=1e-3)
    assert dict(known.late) == {8: pytest.approx(180.0)}


def test_what_is_late_counts_by_the_most_that_were_needed_within_two_scrapes() -> None:
    """First tokens of a burst come when it is over: 8, 2, 2, 2 replicas, and the last of them is told by itself."""
    known = NEW
    for instant in (8, 2, 2, 2):
        known = ticked(known, 1.0, instant, 0.5)

    assert dict(known.late) == {8: pytest.approx(3 * 60.0, rel=1e-3), 2: pytest.approx(60.0, rel=1e-3)}


def test_levels_are_kept_in_order() -> None:
    known = NEW
    for level in (5, 2, 9, 2):
        known = ticked(known, 1.0, level, 1.0, elapsed_s=60.0)

    assert [level for level, _ in known.late] == [2, 5, 9]


def test_within_the_first_day_the_first_hour_weighs_as_much_as_the_last() -> None:
    known = served(served(served(NEW, 1.0, 4.0, 8, 0.5), 22.0, 4.0, 4, 0.0), 0.9, 4.0, 9, 0.5)

    assert known.requests == pytest.approx(23.9 * 3600.0 * 32.0)
    assert dict(known.late) == pytest.approx({8: 16.0 * 3600.0, 9: 16.0 * 0.9 * 3600.0}, rel=0.01)


def test_what_was_counted_fades_once_a_day_has_been_seen() -> None:
    late = served(NEW, 1.0, 4.0, 8, 1.0)
    a_day, two_days = (served(late, hours, 4.0, 4, 0.0) for hours in (23.0, 47.0))
    long = served(NEW, 240.0, 4.0, 4, 0.0)

    assert dict(a_day.late)[8] == pytest.approx(dict(late.late)[8], rel=0.001)
    assert dict(two_days.late)[8] == pytest.approx(dict(late.late)[8] / 2.718, rel=0.01)
    assert a_day.requests == pytest.approx(two_days.requests, rel=0.01)
    assert (long.came_s, long.requests) == pytest.approx((4.0 * DAY_S, 32.0 * DAY_S), rel=0.01)


def test_before_a_replica_is_learned_no_count_is_of_more_than_a_day() -> None:
    def unlearned(known: Course, hours: float, late_per_s: float) -> Course:
        for _ in range(int(hours * 3600.0 / TICK_S)):
            at_s = known.instants[-1].at_s + TICK_S if known.instants else TICK_S
            told = FirstTokens(per_s=8.0, late_per_s=late_per_s)
            known = reckoned(known, None, Wished(at_s=at_s, replicas=2), TICK_S, told)
        return known

    late = unlearned(NEW, 1.0, 8.0)
    days = unlearned(late, 96.0, 0.0)

    assert dict(days.late)[2] == pytest.approx(dict(late.late)[2] / 2.718**4, rel=0.01)
    assert days.requests == pytest.approx(8.0 * DAY_S, rel=0.02)
    assert (days.seen_s, days.came_s) == (0.0, 0.0)


def test_work_and_the_time_seen_fade_from_the_first_tick() -> None:
    known = served(NEW, 24.0, 4.0, 4, 0.0)

    assert (known.seen_s, known.came_s) == pytest.approx((0.632 * DAY_S, 4.0 * 0.632 * DAY_S), rel=0.001)


def test_more_than_a_day_without_a_tick_leaves_nothing_of_before() -> None:
    known = ticked(course(seen_s=0.7 * DAY_S, r4=100.0), 1.0, 1, 0.0, elapsed_s=2.0 * DAY_S)

    assert known.late == ()
    assert known.seen_s == 2.0 * DAY_S


# --- Whether a floor is advised ----------------------------------------------------------------------------------


def test_nothing_is_advised_of_a_role_never_seen() -> None:
    assert advised(NEW) == ()


def test_nothing_is_advised_in_the_first_half_hour() -> None:
    assert advised(served(NEW, 0.49, 4.0, 8, 1.0)) == ()
    assert advised(served(NEW, 0.52, 4.0, 8, 1.0)) != ()


@pytest.mark.parametrize(("late", "is_advised"), [(0.0, False), (94.0, False), (95.0, False), (96.0, True)])
def test_without_an_objective_a_floor_is_advised_when_nearly_one_in_a_hundred_was_late(
    late: float,
    is_advised: bool,  # noqa: FBT001
) -> None:
    assert bool(advised(course(r4=late))) is is_advised


@pytest.mark.parametrize(
    ("percentile", "late", "is_advised"),
    [(99.0, 94.0, False), (99.0, 96.0, True), (95.0, 474.0, False), (95.0, 476.0, True), (99.9, 10.0, True)],
)
def test_with_one_a_floor_is_advised_when_nearly_all_of_its_room_was_used(
    percentile: float,
    late: float,
    is_advised: bool,  # noqa: FBT001
) -> None:
    assert bool(advised(course(r4=late), percentile)) is is_advised


def test_an_objective_with_more_room_is_advised_a_smaller_floor() -> None:
    known = course(r4=600.0, r9=100.0)

    assert [told.floor for percentile in (99.0, 95.0) for told in advised(known, percentile)] == [9, 4]


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
    assert told.late_share == pytest.approx(0.025)
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
def test_a_floor_is_the_least_of_the_levels_that_leaves_next_to_nothing(levels: dict[int, float], well: float) -> None:
    """Mutant: `_floor` that begins with the lowest level."""
    late = sum(levels.values())
    known = replace(NEW, requests=late + well, seen_s=WATCHED_LEAST_S, late=tuple(sorted(levels.items())))
    told = advised(known)
    room = ROOM * known.requests
    if late <= MISSED_MOST * room * (1.0 - 1e-9):
        assert told == ()
    for each in told:
        slack, left = 1e-6 * late, LEFT_SHARE * room
        assert sum(requests for level, requests in levels.items() if level > each.floor) <= left + slack
        assert sum(requests for level, requests in levels.items() if level >= each.floor) >= left - slack
