"""How many replicas a demand needs, and what a target should have for its share of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.model import Demand, Fleet, Missing
from scaler.core.plan import Ruling
from scaler.core.wish import replicas_needed, replicas_told, wish_of
from tests.builders import START_S, fleet, lost, ready, serving, starting


def demand(running: float = 0.0, waiting: float = 0.0, kv_replicas: float = 0.0) -> Demand:
    return Demand(at_s=START_S, running=running, waiting=waiting, kv_replicas=kv_replicas)


def need(replicas: int) -> Ruling:
    return Ruling(rule="need", before=0, after=replicas, because="the work", facts={})


def wish(replicas: int, has: Fleet, share_percent: int = 100) -> int:
    return wish_of(need(replicas), share_percent, has).after


# --- The need ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "replicas"),
    [
        (demand(), 1),
        (demand(running=24.0), 1),
        (demand(running=24.0, waiting=1.0), 2),
        (demand(running=25.0), 2),
        (demand(waiting=240.0), 10),
        (demand(running=8.0, kv_replicas=2.0), 3),  # 2 caches at 0.7 of each
        (demand(running=1.0, waiting=1.0, kv_replicas=2.0), 6),
        (demand(running=8.0, waiting=8.0, kv_replicas=2.0), 6),  # what waits will want 2 more
        (demand(kv_replicas=2.0), 3),  # nobody runs: there is no average to expect of those who wait
    ],
)
def test_a_replica_carries_24_requests_and_seven_tenths_of_a_cache(work: Demand, replicas: int) -> None:
    assert replicas_needed(work).after == replicas


def test_the_reason_is_the_scarcer_of_requests_and_cache() -> None:
    assert replicas_needed(demand(running=120.0, waiting=3.0)).because == (
        "120 running and 3 waiting requests at 24 to a replica"
    )
    assert replicas_needed(demand(running=8.0, waiting=8.0, kv_replicas=2.0)).because == (
        "4.00 KV caches' worth of tokens, counting what waits, at 70% of a cache"
    )


def test_a_request_that_is_hardly_there_does_not_blow_the_cache_up() -> None:
    """An average over less than one request is none: 1e-320 of a request would want a cache of infinite size."""
    assert replicas_needed(demand(running=1e-320, waiting=48.0, kv_replicas=0.5)).after == 2


@pytest.mark.parametrize(("own_replicas", "replicas"), [(0.0, 1), (0.2, 1), (3.0, 3), (3.01, 4)])
def test_work_that_own_queries_tell_in_replicas_is_rounded_up(own_replicas: float, replicas: int) -> None:
    told = replicas_told(own_replicas)

    assert isinstance(told, Ruling)
    assert told.after == replicas


@pytest.mark.parametrize("own_replicas", [float("nan"), float("inf"), -1.0, 1e7])
def test_an_absurd_answer_of_own_queries_is_no_answer(own_replicas: float) -> None:
    told = replicas_told(own_replicas)

    assert isinstance(told, Missing)
    assert "own queries" in told.why


works = st.builds(demand, running=st.floats(0.0, 1e7), waiting=st.floats(0.0, 1e7), kv_replicas=st.floats(0.0, 1e3))


@given(works, st.floats(0.0, 1e6))
def test_more_waiting_never_needs_fewer(work: Demand, more: float) -> None:
    busier = demand(work.running, work.waiting + more, work.kv_replicas)

    assert 1 <= replicas_needed(work).after <= replicas_needed(busier).after


# --- The wish ----------------------------------------------------------------------------------------------------


def test_without_a_demand_the_wish_is_what_is_there() -> None:
    ruling = wish_of(Missing(why="nobody answers"), 100, fleet(*serving(2), requested=7))

    assert ruling == Ruling(rule="keep", before=7, after=7, because="nobody answers", facts={})


@pytest.mark.parametrize(
    ("replicas", "ready", "requested", "wished"),
    [
        (12, 4, 10, 12),
        (10, 4, 10, 10),  # 6 are starting: they are not asked for twice
        (7, 4, 10, 10),  # and none of them goes while they are needed
        (4, 4, 10, 10),  # the edge: 4 ready carry it, 6 that start carry nothing yet
        (3, 4, 10, 3),
        (1, 0, 3, 3),
    ],
)
def test_up_counts_what_is_asked_for_and_down_counts_what_is_ready(
    replicas: int, ready: int, requested: int, wished: int
) -> None:
    begun = tuple(starting(f"s{index}") for index in range(requested - ready))

    assert wish(replicas, fleet(*serving(ready), *begun)) == wished


@pytest.mark.parametrize(
    ("late", "requested", "wished"),
    [
        (0, 6, 6),
        (2, 6, 8),  # two of the four that start hang: each is replaced
        (2, 8, 8),  # once
        (4, 8, 10),
        (9, 10, 10),  # no more in all than there are replicas missing
    ],
)
def test_a_start_that_is_late_is_replaced_once(late: int, requested: int, wished: int) -> None:
    """Six are needed and two are ready."""
    begun = tuple(starting(f"s{index}") for index in range(requested - 2))

    assert wish_of(need(6), 100, fleet(*serving(2), *begun), late).after == wished


def test_what_is_ready_needs_no_replacement() -> None:
    has = fleet(*serving(6), starting("a"), starting("b"))

    assert wish_of(need(6), 100, has, 2).after == 8
    assert wish_of(need(5), 100, has, 2).after == 5


def test_the_reason_says_how_many_start_late() -> None:
    ruling = wish_of(need(6), 100, fleet(*serving(2), *(starting(f"s{index}") for index in range(4))), 2)

    assert ruling.because.endswith("; 2 more, for 2 that are starting far longer than usual")
    assert ruling.facts["late"] == 2


@pytest.mark.parametrize(("share_percent", "wished"), [(100, 10), (25, 3), (5, 1), (1, 1), (0, 0)])
def test_a_share_of_the_traffic_wants_its_part_of_the_need_rounded_up(share_percent: int, wished: int) -> None:
    assert wish(10, fleet(), share_percent) == wished


def test_the_reason_says_for_what_and_whether_something_is_kept() -> None:
    has = fleet(*serving(1), lost(), requested=3)

    assert wish_of(need(1), 100, fleet(*serving(2))).because == "1 replica for the work"
    assert wish_of(need(8), 25, fleet()).because == "2 replicas for the work, for 25 % of the traffic"
    assert wish_of(need(2), 100, has).because == (
        "2 replicas for the work; of the 3 asked for, 1 is ready, so none may go"
    )


def test_the_numbers_of_the_reason_are_facts() -> None:
    ruling = wish_of(replicas_needed(demand(running=30.0)), 50, fleet(*serving(1), starting()))

    assert ruling.facts == {
        "running": 30.0,
        "waiting": 0.0,
        "kv_replicas": 0.0,
        "wanted": 1,
        "ready": 1,
        "starting": 1,
        "late": 0,
        "asleep": 0,
        "share_percent": 50,
    }


@given(st.integers(1, 60), st.integers(0, 100), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_a_wish_covers_its_share_and_shrinks_only_to_what_the_ready_exceed(
    replicas: int, share_percent: int, ready: int, begun: int, requested: int
) -> None:
    has = fleet(*serving(ready), *(starting(f"s{index}") for index in range(begun)), requested=requested)

    wished = wish(replicas, has, share_percent)

    assert 100 * wished >= replicas * share_percent
    assert wished >= requested or wished < ready or wished == 0


# --- Sleepers ----------------------------------------------------------------------------------------------------


def with_asleep(awake: int, asleep: int) -> Fleet:
    sleepers = tuple(replace(ready(f"z{number}"), is_asleep=True) for number in range(asleep))
    return fleet(*serving(awake), *sleepers)


@pytest.mark.parametrize(
    ("awake", "asleep", "needed", "asked_for"),
    [
        (3, 2, 3, 5),  # those awake carry it
        (3, 2, 4, 6),  # one more, besides the two that carry nothing
        (3, 2, 1, 3),  # two awake may go, and the sleepers stay
    ],
)
def test_a_sleeper_is_no_supply_and_is_counted_besides(awake: int, asleep: int, needed: int, asked_for: int) -> None:
    assert wish(needed, with_asleep(awake, asleep)) == asked_for


def test_a_version_without_traffic_keeps_no_sleepers() -> None:
    assert wish(4, with_asleep(2, 1), share_percent=0) == 0


def test_a_sleeper_is_named_in_the_reason() -> None:
    assert "1 asleep, without work" in wish_of(need(3), 100, with_asleep(2, 1)).because
