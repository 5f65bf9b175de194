"""The perfect-foresight bound: hand-made demands, what holds for all of them, and real traffic in the plant."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.oracle import Case, Drawn, Span, bound, in_windows, scheduled, served, work_of, work_s
from scaler.sim.trace import Trace, scaled, shipped
from scaler.sim.workload import Recorded
from tests.sim.traffic import poisson, trace_of

RPS = 22.8  # what one replica carries of the shipped lengths, by docs/design/0003
needs = st.lists(st.integers(0, 4), min_size=1, max_size=25)
restarts = st.integers(0, 200)


def case_of(trace: Trace, span_s: float, load_s: float = 60.0) -> Case:
    in_span = trace.arrival_s < span_s
    workload = Drawn(name="test", span_s=span_s, drawn=(kept_of(trace, in_span),))
    return Case(workload=workload, engine=LLAMA_8B_H100, load_s=load_s, drain_s=10.0)


def kept_of(trace: Trace, chosen: NDArray[np.bool_]) -> Trace:
    columns = (trace.arrival_s[chosen], trace.prompt_tokens[chosen], trace.output_tokens[chosen])
    return Trace(name="test", arrival_s=columns[0], prompt_tokens=columns[1], output_tokens=columns[2])


def case(rps: float, span_s: float = 600.0) -> Case:
    return case_of(poisson(rps, span_s, shipped(), seed=1), span_s)


def square(high_rps: float, low_s: float, load_s: float) -> Case:
    """Five minutes high, ``low_s`` with a request a second, and high again."""
    lows = [(300.0 + second, 1000, 100) for second in range(int(low_s))]
    one, two = (poisson(high_rps, 300.0, shipped(), seed=seed) for seed in (1, 2))
    rows = [*zip(one.arrival_s, one.prompt_tokens, one.output_tokens, strict=True), *lows]
    rows += list(zip(two.arrival_s + 300.0 + low_s, two.prompt_tokens, two.output_tokens, strict=True))
    return case_of(trace_of(rows), 600.0 + low_s, load_s)


def cost_s(spans: tuple[Span, ...], restart_s: float) -> float:
    """Time from ready to stopped, and a restart for each begin after the first moment."""
    return sum(span.stopped_s - span.ready_s + (restart_s if span.ready_s > 0 else 0.0) for span in spans)


def serving(spans: tuple[Span, ...], at_s: float) -> int:
    return sum(span.ready_s <= at_s < span.stopped_s for span in spans)


# --- Schedules by hand -------------------------------------------------------------------------------------------


def test_a_constant_need_is_a_constant_number_of_replicas() -> None:
    assert scheduled([3, 3, 3], 10.0, 70.0, 30.0) == (Span(ready_s=0.0, stopped_s=30.0),) * 3


def test_a_gap_longer_than_a_restart_stops_the_replica_and_a_shorter_one_keeps_it() -> None:
    dip = [2] * 3 + [1] * 8 + [2] * 3  # 80 s

    assert scheduled(dip, 10.0, 79.0, 140.0) == (
        Span(ready_s=0.0, stopped_s=30.0),
        Span(ready_s=0.0, stopped_s=140.0),
        Span(ready_s=110.0, stopped_s=140.0),
    )
    assert scheduled(dip, 10.0, 80.0, 140.0) == (Span(ready_s=0.0, stopped_s=140.0),) * 2


def test_each_replica_weighs_its_own_gap() -> None:
    # The second is idle for 20 s, the third for 60 s; a restart costs 30 s.
    spans = scheduled([3, 2, 2, 1, 1, 2, 3, 3], 10.0, 30.0, 80.0)

    assert spans == (
        Span(ready_s=0.0, stopped_s=10.0),
        Span(ready_s=0.0, stopped_s=80.0),
        Span(ready_s=0.0, stopped_s=80.0),
        Span(ready_s=60.0, stopped_s=80.0),
    )


def test_the_last_window_ends_with_the_run() -> None:
    assert scheduled([1, 1], 10.0, 30.0, 17.5) == (Span(ready_s=0.0, stopped_s=17.5),)


@given(needs=needs, restart_s=restarts)
def test_a_schedule_has_what_is_needed_in_every_window(needs: list[int], restart_s: int) -> None:
    """Kills: an end not included counted as included; a level left out."""
    spans = scheduled(needs, 10.0, restart_s, 10.0 * len(needs))

    assert all(serving(spans, 10.0 * window + 5.0) >= need for window, need in enumerate(needs))
    assert max(serving(spans, 10.0 * window) for window in range(len(needs))) == max(needs)


@given(needs=needs, restart_s=restarts, horizon_s=restarts)
def test_seeing_further_across_a_dip_never_costs_more(needs: list[int], restart_s: int, horizon_s: int) -> None:
    """Whoever keeps replicas for any other time through a dip pays as much or more. Kills: <= turned, gaps summed."""
    until_s = 10.0 * len(needs)
    short_sighted = scheduled(needs, 10.0, horizon_s, until_s)

    assert cost_s(scheduled(needs, 10.0, restart_s, until_s), restart_s) <= cost_s(short_sighted, restart_s)


# --- In the plant ------------------------------------------------------------------------------------------------


def test_the_work_of_a_request_is_its_prompt_and_its_part_of_every_step() -> None:
    work = work_s(LLAMA_8B_H100, np.array([1155.0]), np.array([211.0]))

    assert 1.0 / work[0] == pytest.approx(24.2, abs=0.1)


def test_constant_demand_for_three_replicas_has_three_all_the_time() -> None:
    found = in_windows(case(2.5 * RPS), 60.0)

    assert found.attained >= 0.99
    assert found.spans == (Span(ready_s=0.0, stopped_s=600.0),) * 3
    assert found.replica_hours == pytest.approx(0.5)


@pytest.mark.parametrize(("low_s", "load_s", "stops"), [(300.0, 60.0, True), (300.0, 400.0, False)])
def test_a_square_wave_is_followed_when_its_low_outlasts_a_restart(low_s: float, load_s: float, *, stops: bool) -> None:
    found = in_windows(square(1.5 * RPS, low_s, load_s), 60.0)

    assert found.attained >= 0.99
    assert max(serving(found.spans, at_s) for at_s in (100.0, 800.0)) == 2
    assert (serving(found.spans, 450.0) == 1) is stops


def test_a_start_is_paid_from_one_load_time_before_and_a_stop_until_the_drain_ends() -> None:
    found = in_windows(square(1.5 * RPS, 300.0, 60.0), 60.0)

    served_s = sum(span.stopped_s - span.ready_s for span in found.spans)

    assert 60.0 <= found.replica_s - served_s <= 60.0 + 30.0


def test_one_replica_is_kept_where_there_is_no_traffic() -> None:
    quiet = case_of(trace_of([(5.0, 10, 1)]), 600.0)

    assert bound(quiet).spans == (Span(ready_s=0.0, stopped_s=600.0),)
    assert bound(replace(quiet, least=0)).replica_s < 400.0


def test_more_windows_to_choose_from_never_cost_more() -> None:
    busy = case(1.7 * RPS)

    assert bound(busy, (15.0, 60.0)).replica_s <= bound(busy, (60.0,)).replica_s


@pytest.mark.slow
def test_a_shorter_load_time_never_costs_more() -> None:
    costs = [in_windows(square(1.5 * RPS, 300.0, load_s), 60.0).replica_s for load_s in (30.0, 100.0, 250.0)]

    assert costs == sorted(costs)


def test_what_no_number_of_replicas_can_do_is_said() -> None:
    long_prompts = trace_of([(float(second), 200_000, 10) for second in range(100)])  # 4 s alone on a replica
    found = bound(case_of(long_prompts, 100.0), (15.0,))

    assert found.attained == 0.0


def test_a_schedule_that_is_broken_off_would_have_fallen_short() -> None:
    hour = case(2.5 * RPS, 3600.0)
    one = (Span(ready_s=0.0, stopped_s=3600.0),)
    to_the_end, _ = served(hour, one, 0.0)
    broken_off, _ = served(hour, one, 0.99)

    assert to_the_end <= broken_off < 0.99
    assert served(hour, one * 3, 0.99) == served(hour, one * 3, 0.0)


def test_the_same_case_gives_the_same_schedule() -> None:
    assert in_windows(case(2.2 * RPS), 60.0) == in_windows(case(2.2 * RPS), 60.0)


def test_traffic_that_comes_in_pieces_has_the_same_bound_as_in_one() -> None:
    hour = scaled(shipped(), 3.0, 1)
    whole = case_of(hour, float(np.ceil(hour.duration_s)))
    in_pieces = replace(whole, workload=Recorded(trace=hour))

    assert in_windows(in_pieces, 60.0) == in_windows(whole, 60.0)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(tenths=st.integers(3, 40))
def test_it_never_has_fewer_than_the_work_keeps_busy(tenths: int) -> None:
    """Kills: a factor that bisection lets fall without looking at the plant."""
    busy = case(tenths / 10 * RPS, 300.0)
    work = float(work_of(busy, 60.0).sum() * 60.0)
    found = bound(busy, (60.0,))

    assert found.attained >= 0.99
    assert found.replica_s >= min(work, 300.0) * 0.95  # a queue of 2 s may be left at the end
