"""What arrives: the demand that queues and refusals add, through gaps and in steady minutes, and what a request is."""

from dataclasses import replace

import pytest

from scaler.core.arrivals import is_steady, queue_stood, request_of, tokens_of
from scaler.core.forecast import forecast, watched
from scaler.core.memory import GAP_S, Course
from scaler.core.model import Missing, Tokens
from tests.builders import START_S
from tests.core.courses import A_REQUEST, AHEAD_S, ANSWER, NEW, PROMPT, TICK_S, counted, course, demand, peak


def queued(*ticks: tuple[float, float]) -> Course:
    """What is known after a tick with each of these rates served and requests waiting."""
    known = NEW
    for tick, (rate, waiting) in enumerate(ticks):
        known = watched(known, demand(START_S + tick * TICK_S, rate, waiting), AHEAD_S, 0.0)
    return known


# --- What arrives ------------------------------------------------------------------------------------------------


def test_a_queue_that_grows_is_demand_beyond_what_is_served() -> None:
    """Ten a second are served and two a second join the queue."""
    known = queued(*((10.0, 30.0 * tick) for tick in range(9)))

    told = peak(known, 10.0)
    assert told.now_per_s == pytest.approx(12.0 * A_REQUEST, rel=0.01)
    assert told.arriving == pytest.approx(1.2, rel=0.01)
    assert told.queueing_per_s == pytest.approx(2.0)


def test_a_queue_that_was_not_there_a_scrape_ago_came_within_half_of_it() -> None:
    """Mutant: a burst spread over the whole interval, which makes a floor for it too small by a third."""
    known = queued((10.0, 0.0), (10.0, 30.0))

    assert peak(known, 10.0).queueing_per_s == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("refused_per_s", "arriving"),
    [(0.0, 1.0), (2.0, 1.2), (30.0, 4.0), (1000.0, 4.0)],
    ids=["none", "a fifth", "three times what is served", "clients that ask again and again"],
)
def test_requests_that_are_refused_are_demand_up_to_three_times_what_is_served(
    refused_per_s: float, arriving: float
) -> None:
    """Mutant: no bound, by which a client that tries again each second is sixty requests a minute."""
    known = NEW
    for tick in range(9):
        refusing = replace(demand(START_S + tick * TICK_S, 10.0), refused_per_s=refused_per_s)
        known = watched(known, refusing, AHEAD_S, 0.0)

    told = peak(known, 10.0)

    assert told.now_per_s == pytest.approx(arriving * 10.0 * A_REQUEST, rel=0.01)
    assert told.arriving == pytest.approx(arriving, rel=0.01)


def test_a_queue_that_drains_is_demand_below_what_is_served() -> None:
    known = queued(*((10.0, 300.0 - 30.0 * tick) for tick in range(9)))

    told = peak(known, 10.0)
    assert told.now_per_s == pytest.approx(8.0 * A_REQUEST, rel=0.01)
    assert told.arriving == pytest.approx(0.8, rel=0.01)
    assert told.queueing_per_s == 0.0


def test_a_queue_that_stands_still_adds_nothing() -> None:
    assert peak(queued(*[(10.0, 500.0)] * 9), 10.0).now_per_s == pytest.approx(10.0 * A_REQUEST)


def test_a_queue_that_vanishes_makes_no_demand_below_zero() -> None:
    assert peak(queued((1.0, 10_000.0), (1.0, 0.0)), 1.0).now_per_s == 0.0


def test_zero_traffic_is_zero() -> None:
    told = peak(course(*[0.0] * 30), 0.0)

    assert told.now_per_s == 0.0
    assert told.arriving == 1.0
    assert told.request == Tokens(prefill_per_s=0.0, decode_per_s=0.0, requests_per_s=0.0, cache_share=0.01)
    assert counted(course(*[0.0] * 30)) == {}


def test_engines_that_count_no_tokens_have_no_forecast_and_change_no_course() -> None:
    unknown = replace(demand(START_S, 1.0), tokens=Missing(why="the engines count no tokens"))

    assert forecast(course(1.0), unknown, AHEAD_S, 0.0) == Missing(why="the engines count no tokens")
    assert watched(course(1.0), unknown, AHEAD_S, 0.0) == course(1.0)


def test_before_the_first_tick_there_is_no_forecast() -> None:
    assert forecast(NEW, demand(START_S, 1.0), AHEAD_S, 0.0) == Missing(why="no tick has seen its demand yet")


def test_a_decoded_token_counts_as_three_and_a_half_prefilled_ones() -> None:
    assert tokens_of(Tokens(prefill_per_s=10.0, decode_per_s=2.0, requests_per_s=0.0, cache_share=0.0)) == 17.0


@pytest.mark.parametrize(
    ("waiting", "stood"),
    [((0.0, 0.0, 0.0, 0.0, 30.0), False), ((9.0, 20.0, 0.0, 20.0, 30.0), False), ((9.0, 2.0, 1.0, 20.0, 30.0), True)],
)
def test_a_queue_stood_when_every_scrape_of_the_last_minute_found_one(
    waiting: tuple[float, ...], *, stood: bool
) -> None:
    assert queue_stood(queued(*((10.0, each) for each in waiting))) == stood
    assert not queue_stood(NEW)


# --- Gaps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "away_s", [GAP_S + 1.0, 86400.0, -GAP_S - 1.0], ids=["just too long", "a day", "clock went back"]
)
def test_a_gap_forgets_the_moments_and_keeps_what_was_counted(away_s: float) -> None:
    before = course(*[10.0] * 40)
    known = watched(before, demand(before.moments[-1].at_s + away_s, 30.0), AHEAD_S, 0.0)

    assert len(known.moments) == 1
    assert known.growth == before.growth
    assert not is_steady(known)


def test_a_replica_that_joins_with_an_older_sample_than_all_others_forgets_nothing() -> None:
    before = course(10.0, 12.0, 14.0)
    joined = demand(before.moments[-1].at_s - 5.0, 15.0)

    assert watched(before, joined, AHEAD_S, 0.0) == before
    assert forecast(before, joined, AHEAD_S, 0.0) == peak(before, 15.0)


def test_a_short_gap_forgets_nothing() -> None:
    before = course(*[10.0] * 4)

    assert len(watched(before, demand(before.moments[-1].at_s + GAP_S, 10.0), AHEAD_S, 0.0).moments) == 5


def test_a_tick_without_a_new_scrape_changes_nothing() -> None:
    before = course(*[10.0] * 4)

    assert watched(before, demand(before.moments[-1].at_s, 99.0), AHEAD_S, 0.0) == before


# --- Steady minutes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "steady"),
    [
        ([], False),
        ([10.0], False),
        ([10.0] * 5, True),
        ([10.0, 11.0, 12.0, 13.0, 14.9], True),
        ([10.0, 11.0, 12.0, 13.0, 15.1], False),
        ([15.1, 14.0, 13.0, 12.0, 10.0], False),
        ([14.9, 14.0, 13.0, 12.0, 10.0], True),
        ([10.0, 50.0, 10.0, 50.0, 10.0], True),  # a minute apart, they are alike
        ([0.0] * 5, False),
    ],
    ids=["never seen", "once", "level", "morning", "burst", "end of a burst", "evening", "a minute apart", "idle"],
)
def test_a_minute_is_steady_when_it_is_like_the_one_before(rates: list[float], steady: bool) -> None:  # noqa: FBT001
    assert is_steady(course(*rates)) is steady


# --- Requests ----------------------------------------------------------------------------------------------------


def test_a_request_is_what_was_worked_on_over_what_has_finished() -> None:
    request = request_of(course(*[10.0] * 40).moments, 0.02)

    assert request == Tokens(prefill_per_s=PROMPT, decode_per_s=ANSWER, requests_per_s=1.0, cache_share=0.02)


def test_at_the_onset_requests_that_run_count_as_begun() -> None:
    """Two a second are worked on for a minute, none has finished and 120 run: each had its 1000 tokens."""
    known = NEW
    for tick in range(5):
        at = demand(START_S + tick * TICK_S, 2.0, running=30.0 * tick, finished_per_s=0.0)
        known = watched(known, at, AHEAD_S, 0.0)

    assert request_of(known.moments, 0.0).prefill_per_s == pytest.approx(PROMPT, rel=0.01)


def test_before_any_request_a_request_is_nothing() -> None:
    assert request_of((), 0.0).prefill_per_s == 0.0
