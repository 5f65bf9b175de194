"""What a cell's traffic and fleet are."""

import numpy as np
import pytest

from scaler.sim.compare.cells import STEP, Cell, fleet_of, traffic, warm_of
from scaler.sim.compare.contenders import OURS, STATIC, STATIC_MEAN, STATIC_PEAK, Contender, policy_for, scaler_of
from scaler.sim.rates import DAY_S
from scaler.sim.trace import TraceError
from scaler.sim.view import View
from scaler.sim.workload import Rated

NOTHING = View(at_s=0.0, requested=1, starting=0, replicas=(), gateway_waiting=0.0, ttft_s=None)


def cell(workload: str = "azure2023-conv", *, pool: float = 2.0, window: str = "rise", load_s: float = 120.0) -> Cell:
    return Cell(workload=workload, pool=pool, load_s=load_s, window=window)


def test_a_pool_of_two_has_the_rate_that_two_replicas_sustain() -> None:
    assert traffic(cell()).mean_rps == pytest.approx(2 * 21.4)
    assert traffic(cell("azure2023-code")).mean_rps == pytest.approx(2 * 18.7)


def test_a_day_holds_the_steepest_rise_of_its_week() -> None:
    day, rise = traffic(cell("o365-c-prod", window="day")), traffic(cell("o365-c-prod"))

    assert isinstance(day, Rated)
    assert isinstance(rise, Rated)
    assert (day.span_s, rise.span_s) == (DAY_S, 6 * 3600)
    middle = rise.rates.rps[3 * 3600 - 60 : 3 * 3600 + 60] / rise.mean_rps
    shape = day.rates.rps / day.mean_rps
    ratios = np.lib.stride_tricks.sliding_window_view(shape, 120) / middle
    assert np.ptp(ratios, axis=1).min() < 1e-6


def test_another_window_is_refused() -> None:
    with pytest.raises(TraceError, match="window = week: must be rise or day"):
        traffic(cell("o365-c-prod", window="week"))


def test_a_generated_service_and_the_step_are_traffic_too() -> None:
    assert traffic(cell("generated-3")).span_s == 12 * 3600
    step = traffic(Cell(workload=STEP, pool=2.0, load_s=110.0, engine="qwen3-32b/H100"))
    arrivals = np.concatenate([piece.arrival_s for piece in step.pieces(1)])
    assert len(arrivals) == pytest.approx(12_000, rel=0.03)
    assert arrivals.max() < 600.0


def test_a_run_begins_with_what_its_first_quarter_of_an_hour_needs() -> None:
    chat = cell(pool=8.0)
    first = next(iter(traffic(chat).pieces(1)))
    rate = np.count_nonzero(first.arrival_s < 900) / 900 / traffic(chat).mean_rps

    assert warm_of(chat, 1) == np.ceil(8 * rate * 1.25)
    assert fleet_of(chat, 1).warm == warm_of(chat, 1)


def test_our_policy_has_the_defaults_the_objective_and_the_advised_floor() -> None:
    policy = policy_for(cell(pool=8.0), floor=5)

    assert (policy.min_replicas, policy.max_replicas, policy.warm_floor) == (1, 96, 5)
    assert policy.loading.expected_s == 120.0
    assert policy.time_to_first_token is not None
    assert (policy.time_to_first_token.percentile, policy.time_to_first_token.limit_s) == (99.0, 2.0)


@pytest.mark.parametrize(
    ("name", "threshold", "replicas"), [(STATIC, 5.0, 5), (STATIC_MEAN, None, 2), (STATIC, 500.0, 24), (OURS, None, 1)]
)
def test_a_contender_is_made_from_its_name(name: str, threshold: float | None, replicas: int) -> None:
    assert scaler_of(Contender(name=name, threshold=threshold), cell(), 1).replicas(NOTHING) == replicas


def test_the_constant_of_the_peak_covers_the_busiest_minute() -> None:
    assert scaler_of(Contender(name=STATIC_PEAK), cell(), 1).replicas(NOTHING) == 3
