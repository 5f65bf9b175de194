"""What demand may rise to: told from the growth that was seen, and from a prior until there is enough of it."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.forecast import (
    BEYOND_HIGHEST,
    CALM_S,
    COVERAGE_LEAST,
    COVERAGE_MOST,
    GROWTHS,
    IDLE_WORTH_S,
    PRIOR_S,
    Forecast,
    adapted,
    calm_of,
    coverage_of,
    forecast,
    growth_covered,
    is_calmer,
    watched,
)
from scaler.core.memory import Course
from tests.builders import START_S
from tests.core.courses import A_REQUEST, AHEAD_S, NEW, TICK_S, counted, course, demand, peak

MINUTE = int(60.0 / TICK_S)
FELL, STAYED, ROSE, ROSE_BY_A_TENTH, ROSE_BY_A_FIFTH = range(5)
NEVER = (0.0,) * len(GROWTHS)


def by_trend(known: Course) -> list[float]:
    """For how many ticks growth was counted after each trend."""
    return [sum(each) / TICK_S for each in known.trends]


def always(growth: float, seconds: float) -> tuple[float, ...]:
    """Growth that was the same for so long."""
    return tuple(seconds if step == growth else 0.0 for step in GROWTHS)


# --- Growth is counted -------------------------------------------------------------------------------------------


def test_growth_is_counted_when_its_look_ahead_is_over_and_not_before() -> None:
    ticks = int(AHEAD_S / TICK_S)
    early = course(*[10.0] * ticks)

    assert counted(early) == {}
    assert counted(course(10.0, before=early)) == {1.0: pytest.approx(1.0)}


def test_growth_is_the_highest_demand_within_the_look_ahead_over_the_demand_of_the_moment() -> None:
    known = course(10.0, 10.0, 25.0, 10.0, 10.0, ahead_s=60.0)

    assert counted(known) == {2.5: pytest.approx(1.0)}


def test_what_comes_after_the_look_ahead_is_no_growth_of_this_moment() -> None:
    """A tick is left out, so that two look-aheads are over at once: the burst is in the second only."""
    before = course(*[10.0] * 4, ahead_s=60.0)
    known = watched(before, demand(START_S + 75.0, 100.0), 60.0, 0.0)

    assert counted(known) == {1.0: pytest.approx(1.0), 12.0: pytest.approx(1.0)}


def test_growth_counts_from_half_a_replica() -> None:
    """From 0.1 to 2.1 requests a second where a replica carries 4: one replica had nearly all of it."""
    assert counted(course(*[0.1] * 4, 2.1, ahead_s=60.0, unit=4.0)) == {1.06: pytest.approx(1.0)}
    assert counted(course(*[0.1] * 4, 1.0, ahead_s=60.0)) == {12.0: pytest.approx(1.0)}


def test_a_moment_after_which_nobody_looked_within_its_look_ahead_teaches_nothing() -> None:
    """A load time of 30 s looks 75 s ahead, and two scrapes were 90 s apart: less than what counts as a gap."""
    early = course(*[10.0] * 3, ahead_s=75.0)
    late = demand(START_S + 2.0 * TICK_S + 90.0, 10.0)

    assert sum(counted(watched(early, late, 75.0, 0.0)).values()) == pytest.approx(2.0, abs=0.01)


def test_every_moment_is_counted_once() -> None:
    known = course(*[10.0] * 100)

    assert sum(known.growth) == pytest.approx(80.0 * TICK_S, rel=0.02)


@pytest.mark.parametrize(
    ("rate", "trend"),
    [
        (9.6, FELL),
        (9.8, STAYED),
        (10.3, STAYED),
        (10.9, ROSE),
        (11.9, ROSE_BY_A_TENTH),
        (12.1, ROSE_BY_A_FIFTH),
    ],
)
def test_growth_is_counted_by_how_demand_had_moved_within_four_minutes(rate: float, trend: int) -> None:
    """Five minutes at 10 and one at ``rate``, of which the last moment is judged by a minute that follows."""
    known = course(*[10.0] * 5 * MINUTE, *[rate] * 2 * MINUTE, ahead_s=60.0)
    before = course(*[10.0] * 5 * MINUTE, *[rate] * (2 * MINUTE - 1), ahead_s=60.0)

    new = [now - then for now, then in zip(by_trend(known), by_trend(before), strict=True)]
    assert new[trend] == pytest.approx(1.0, abs=0.01)
    assert sum(new) == pytest.approx(1.0, abs=0.01)


def test_a_moment_that_was_not_watched_for_four_minutes_before_has_no_trend() -> None:
    assert sum(by_trend(course(*[10.0] * 4 * MINUTE, ahead_s=60.0))) == 0.0
    assert sum(counted(course(*[10.0] * 4 * MINUTE, ahead_s=60.0)).values()) > 0.0


@pytest.mark.parametrize(("coverage", "growth"), [(0.94, 1.0), (0.95, 1.45)])
def test_once_coverage_is_nearly_all_a_rise_is_expected_to_go_on_as_rises_did(coverage: float, growth: float) -> None:
    """Of a day nearly all moments were followed by nothing, and an hour of steep rises by half as much again."""
    rising = course(*[10.0] * 5 * MINUTE, *[13.0] * MINUTE)
    steep = always(1.45, 3600.0)
    known = replace(
        rising,
        coverage=coverage,
        growth=always(1.0, 80_000.0),
        trends=(NEVER, NEVER, NEVER, NEVER, steep),
        highest_per_s=1e9,
    )

    assert (peak(known, 13.0).growth, peak(known, 13.0).steady) == (growth, growth)
    assert peak(replace(known, trends=()), 13.0).growth == 1.0


@pytest.mark.parametrize(
    ("own", "elsewhere", "growth"),
    [
        pytest.param(NEVER, always(1.0, 80_000.0), 1.25, id="never seen: a quarter of an hour of prior, one of all"),
        pytest.param(always(1.0, 36_000.0), always(1.3, 80_000.0), 1.3, id="calmer than all moments: not below them"),
    ],
)
def test_what_a_trend_has_shown_is_weighed_with_all_moments(
    own: tuple[float, ...], elsewhere: tuple[float, ...], growth: float
) -> None:
    rising = course(*[10.0] * 5 * MINUTE, *[13.0] * MINUTE)
    trends = (NEVER, NEVER, NEVER, NEVER, own)

    known = replace(rising, coverage=0.95, growth=elsewhere, trends=trends, highest_per_s=1e9)

    assert peak(known, 13.0).growth == growth


def test_work_after_none_has_no_trend() -> None:
    known = course(*[0.0] * 6 * MINUTE, *[10.0] * 2 * MINUTE, ahead_s=60.0)

    assert sum(counted(known).values()) > 0.0
    assert sum(by_trend(known)) == 0.0


def test_what_was_counted_of_a_trend_fades_as_all_counts_do() -> None:
    day = always(1.0, 86_400.0)
    known = replace(course(*[10.0] * 2, ahead_s=60.0), growth=day, trends=(day,) * 5)

    after = watched(known, demand(START_S + 2.0 * TICK_S, 10.0), 60.0, 0.0)

    assert [sum(each) for each in after.trends] == [pytest.approx(sum(after.growth))] * 5
    assert sum(after.growth) < 86_400.0


def test_what_was_counted_fades_over_a_day() -> None:
    known = replace(course(10.0), growth=(100.0, *[0.0] * (len(GROWTHS) - 1)))

    assert sum(course(10.0, before=known).growth) == pytest.approx(100.0 * (1.0 - TICK_S / 86400.0))


def test_moments_that_nobody_needs_are_let_go() -> None:
    assert len(course(*[10.0] * 200).moments) == 41
    assert len(course(*[10.0] * 200, ahead_s=1200.0).moments) == 101  # and five minutes, for the trend of the oldest


# --- Restless demand ---------------------------------------------------------------------------------------------

RESTLESS = (8.0, 12.0)
"""Up and down by a fifth with every scrape: what the next minutes bring hangs little on the last value."""


def test_restless_demand_is_expected_to_come_to_less_from_its_height_than_growth_from_there_says() -> None:
    """Within a look-ahead it always comes to 12, which the mean of five minutes tells better than 8 or 12."""
    known = course(*RESTLESS * 400)
    plain = replace(known, losses=(0.0, 0.0))

    assert (peak(known, 12.0).is_calm, peak(plain, 12.0).is_calm) == (True, False)
    assert peak(known, 12.0).growth < peak(plain, 12.0).growth


def test_demand_that_rises_and_falls_for_minutes_is_told_from_its_last_value() -> None:
    rise = [10.0 + tick for tick in range(40)]
    known = course(*(rise + rise[::-1]) * 10)

    assert sum(known.calm_growth) > 0.0
    assert not is_calmer(known, AHEAD_S)


def test_the_calm_base_counts_only_where_it_costs_a_tenth_less() -> None:
    assert not is_calmer(replace(NEW, losses=(10.0, 9.0)), AHEAD_S)
    assert is_calmer(replace(NEW, losses=(10.0, 8.9)), AHEAD_S)
    assert not is_calmer(NEW, AHEAD_S)


def test_the_calm_base_is_not_used_to_look_ahead_for_less_than_it_looks_back() -> None:
    assert is_calmer(replace(NEW, losses=(1.0, 0.0)), CALM_S)
    assert not is_calmer(replace(NEW, losses=(1.0, 0.0)), CALM_S - 1.0)


@given(rates=st.lists(st.floats(0.0, 1e6), min_size=2, max_size=60), coverage=st.floats(COVERAGE_LEAST, COVERAGE_MOST))
def test_no_base_expects_less_than_what_comes_now(rates: list[float], coverage: float) -> None:
    """Mutant: the calm peak without its least."""
    known = replace(course(*rates), coverage=coverage, losses=(1.0, 0.0))

    told = peak(known, rates[-1])
    assert told.is_calm
    assert 1.0 <= told.growth <= told.steady


def test_a_loss_is_what_was_missing_or_idle_by_coverage() -> None:
    """Prepared for 10 by a prior of 1.0 at a coverage of 0.25: 25 came after the first tick, and 10 after the last."""
    known = replace(NEW, coverage=0.25)
    missed = course(10.0, 10.0, 25.0, 10.0, 10.0, before=known, ahead_s=60.0)

    assert missed.losses[0] == pytest.approx(0.25 * 15.0 * A_REQUEST * TICK_S)
    assert missed.losses[1] == pytest.approx(0.25 * 15.0 * A_REQUEST * TICK_S)


@pytest.mark.parametrize(("coverage", "growth"), [(0.9, 1.25), (0.5, 1.04)])
def test_what_idled_costs_the_rest_of_coverage(coverage: float, growth: float) -> None:
    """The prior prepares for so much growth, and none comes."""
    idle = course(*[10.0] * 5, before=replace(NEW, coverage=coverage), ahead_s=60.0)

    assert idle.losses[0] == pytest.approx((1.0 - coverage) * (growth - 1.0) * 10.0 * A_REQUEST * TICK_S)


def test_after_a_height_both_bases_prepare_for_what_came_then_and_no_less() -> None:
    """At 12 the calm base is 8.25. Only 2 follow, so that both let 10 idle, at a coverage of 0.25."""
    before = course(2.0, 2.0, 2.0, 12.0, 2.0, 2.0, 2.0, before=replace(NEW, coverage=0.25), ahead_s=60.0)
    after = course(2.0, before=before, ahead_s=60.0)

    lost = [now - then for now, then in zip(after.losses, before.losses, strict=True)]
    assert lost == pytest.approx([0.75 * 10.0 * A_REQUEST * TICK_S] * 2, rel=1e-3)


def test_the_calm_base_is_half_way_to_the_mean_of_the_last_five_minutes() -> None:
    """Of 22 scrapes the last twenty count: three of 100, sixteen of 4, and the 20 of the moment."""
    known = course(*[100.0] * 5, *[4.0] * 16, 20.0)
    mean = (3 * 100.0 + 16 * 4.0 + 20.0) / 20

    assert calm_of(known.moments, known.moments[-1]) == pytest.approx(A_REQUEST * (20.0 + mean) / 2.0)


def test_what_comes_now_moves_the_calm_base_whole_where_it_made_no_moment() -> None:
    """Some replicas were scraped since: 14 are served now, where the last moment had 12, and the mean is 10."""
    known = replace(course(*RESTLESS * 400), highest_per_s=1e9)
    less, more = peak(known, 12.0), peak(known, 13.0)

    assert more.growth * 13.0 == pytest.approx(less.growth * 12.0 + (less.growth * 12.0) / 11.0, rel=1e-3)


def test_what_was_lost_fades_as_all_counts_do() -> None:
    known = replace(course(*[10.0] * 2, ahead_s=60.0), losses=(100.0, 50.0), calm_growth=always(1.0, 86_400.0))

    after = watched(known, demand(START_S + 2.0 * TICK_S, 10.0), 60.0, 0.0)

    assert list(after.losses) == pytest.approx([loss * (1.0 - TICK_S / 86400.0) for loss in known.losses])
    assert sum(after.calm_growth) == pytest.approx(86_400.0 - TICK_S)


# --- The growth to prepare for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "growth"), [(0.25, 1.0), (0.5, 1.04), (0.7, 1.1), (0.9, 1.25), (0.96, 1.4), (0.98, 2.0), (0.999, 4.0)]
)
def test_with_no_history_the_prior_tells_the_growth(share: float, growth: float) -> None:
    assert growth_covered(NEW, share) == growth


def test_its_own_history_replaces_the_prior() -> None:
    """After a day of growth by 1.5 in every look-ahead, 1.5 is what nine of ten exceed, and are covered by."""
    place = GROWTHS.index(1.5)
    own = tuple(86400.0 if step == place else 0.0 for step in range(len(GROWTHS)))

    assert growth_covered(replace(NEW, growth=own), 0.1) == 1.5
    assert growth_covered(replace(NEW, growth=own), 0.99) == 1.5


def test_a_quarter_of_an_hour_of_history_weighs_as_much_as_the_prior() -> None:
    place = GROWTHS.index(3.0)
    own = tuple(PRIOR_S if step == place else 0.0 for step in range(len(GROWTHS)))
    known = replace(NEW, growth=own)

    assert growth_covered(known, 0.49) == 2.0  # 0.99 of the prior, which is half of all, is 2 or below
    assert growth_covered(known, 0.50) == 3.0


@given(st.lists(st.floats(min_value=0.0, max_value=1e4), min_size=len(GROWTHS), max_size=len(GROWTHS)), st.data())
def test_more_coverage_is_never_less_growth(own: list[float], data: st.DataObject) -> None:
    """Mutant: `left` that begins at the share and not at what is left of it."""
    shares = st.floats(min_value=0.0, max_value=1.0)
    less, more = sorted((data.draw(shares), data.draw(shares)))
    known = replace(NEW, growth=tuple(own))

    assert 1.0 <= growth_covered(known, less) <= growth_covered(known, more) <= GROWTHS[-1]


def test_growth_is_believed_to_a_fifth_beyond_the_highest_demand_of_a_day_and_no_further() -> None:
    wild = tuple(86400.0 if step == GROWTHS.index(8.0) else 0.0 for step in range(len(GROWTHS)))
    quiet = replace(course(10.0), growth=wild, highest_per_s=20.0 * A_REQUEST, seen_s=1e9)
    busy = replace(course(20.0), growth=wild, highest_per_s=20.0 * A_REQUEST, seen_s=1e9)

    assert peak(quiet, 10.0).growth == pytest.approx(BEYOND_HIGHEST * 2.0, rel=1e-3)
    assert peak(busy, 20.0).growth == pytest.approx(BEYOND_HIGHEST, rel=1e-3)
    assert peak(busy, 20.0).steady == pytest.approx(BEYOND_HIGHEST, rel=1e-3)


def test_the_shorter_a_service_was_seen_the_further_it_may_grow_beyond_what_was_highest() -> None:
    wild = tuple(86400.0 if step == GROWTHS.index(8.0) else 0.0 for step in range(len(GROWTHS)))
    known = replace(course(10.0), growth=wild, highest_per_s=10.0 * A_REQUEST)

    assert peak(replace(known, seen_s=0.0), 10.0).growth == pytest.approx(BEYOND_HIGHEST + 1.0)
    assert peak(replace(known, seen_s=AHEAD_S), 10.0).growth == pytest.approx(BEYOND_HIGHEST + 0.5)


def test_a_day_without_work_teaches_no_growth() -> None:
    """Mutant: no bound below which a peak is not counted; the zeros would make growth of 1.0 certain."""
    over = course(10.0, *[20.0] * 40, *[0.0] * 40, unit=1.0)
    idle = course(*[0.0] * 4000, before=over, unit=1.0)

    assert sum(idle.growth) < sum(over.growth)


def test_the_highest_demand_of_a_day_fades() -> None:
    known = course(*[10.0] * 2, before=course(100.0))

    assert 99.9 * A_REQUEST < known.highest_per_s < 100.0 * A_REQUEST


def test_a_shrink_leaves_room_for_more_growth_than_is_prepared_for() -> None:
    known = replace(course(10.0), highest_per_s=1e9)

    assert peak(known, 10.0, ahead_s=700.0).growth == 1.16  # coverage 0.83
    assert peak(known, 10.0, ahead_s=700.0).steady == 1.4  # coverage 0.95


def test_growth_is_counted_from_half_a_replica() -> None:
    assert peak(course(0.1), 0.1, unit=4.0).from_per_s == 2.0 * A_REQUEST
    assert peak(course(10.0), 10.0, unit=4.0).from_per_s == 10.0 * A_REQUEST


@given(st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6)), min_size=1, max_size=30), st.floats(0.0, 1e9))
def test_a_forecast_is_finite_and_no_growth_is_below_one(ticks: list[tuple[float, float]], unit: float) -> None:
    """Mutant: `from_per_s` without its least."""
    known = NEW
    for tick, (rate, waiting) in enumerate(ticks):
        known = watched(known, demand(START_S + tick * TICK_S, rate, waiting), 60.0, unit)

    told = forecast(known, demand(known.moments[-1].at_s, ticks[-1][0]), 60.0, unit)

    assert isinstance(told, Forecast)
    assert 1.0 <= told.growth <= told.steady <= GROWTHS[-1]
    assert 0.0 <= told.now_per_s <= told.from_per_s * told.growth < inf
    assert 0.0 <= told.arriving < inf


# --- Coverage ----------------------------------------------------------------------------------------------------


def test_the_longer_a_cure_takes_the_more_moments_are_prepared_for() -> None:
    assert coverage_of(NEW, IDLE_WORTH_S) == 0.5
    assert coverage_of(NEW, 3.0 * IDLE_WORTH_S) == 0.75


def test_a_minute_that_is_late_halves_what_coverage_leaves_and_a_day_in_time_takes_back_a_sixth() -> None:
    known = replace(NEW, coverage=0.48)

    assert coverage_of(adapted(known, AHEAD_S, 60.0, missed=True), AHEAD_S) == pytest.approx(0.73)
    assert coverage_of(adapted(known, AHEAD_S, 86400.0, missed=False), AHEAD_S) == pytest.approx(0.48 - 0.1728)


def test_no_time_teaches_no_coverage() -> None:
    known = replace(NEW, coverage=0.48)

    assert adapted(known, AHEAD_S, 0.0, missed=True) == adapted(known, AHEAD_S, 0.0, missed=False) == known


def test_coverage_stays_within_its_bounds() -> None:
    high, low = NEW, NEW
    for _ in range(20_000):
        high, low = adapted(high, AHEAD_S, TICK_S, missed=True), adapted(low, AHEAD_S, TICK_S, missed=False)

    assert coverage_of(high, AHEAD_S) == pytest.approx(COVERAGE_MOST)
    assert coverage_of(low, AHEAD_S) == COVERAGE_LEAST
