"""The quantile of summed bucket rates."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.adapters.prometheus.quantile import NO_LAST_BUCKET, NO_TRAFFIC, quantile_of


def test_it_lies_within_its_bucket_in_proportion() -> None:
    assert quantile_of({1.0: 95.0, 2.0: 100.0, inf: 100.0}, 97.5) == 1.5


def test_the_first_bucket_begins_at_nothing() -> None:
    assert quantile_of({1.0: 10.0, inf: 10.0}, 50.0) == 0.5


def test_beyond_the_last_bound_only_that_bound_is_known() -> None:
    assert quantile_of({1.0: 5.0, 2.0: 6.0, inf: 10.0}, 95.0) == 2.0


@pytest.mark.parametrize("rates", [{}, {1.0: 5.0, 2.0: 10.0}, {inf: 10.0}])
def test_without_the_last_bucket_the_slowest_are_not_counted(rates: dict[float, float]) -> None:
    assert quantile_of(rates, 95.0) == NO_LAST_BUCKET


def test_pitfall_10_no_requests_have_no_latency() -> None:
    assert quantile_of({1.0: 0.0, inf: 0.0}, 95.0) == NO_TRAFFIC


def test_buckets_that_only_one_version_has_do_not_make_it_faster() -> None:
    # One version has bounds 1 and 2, the other 1 and 4: at 2 only half of the requests are counted.
    assert quantile_of({1.0: 10.0, 2.0: 10.0, 4.0: 30.0, inf: 40.0}, 50.0) == pytest.approx(3.0)


@given(st.lists(st.floats(0.01, 59.0), min_size=1, max_size=200), st.floats(1.0, 99.9))
def test_it_is_within_a_bucket_of_the_true_quantile(values: list[float], percentile: float) -> None:
    """Kills a mutant that takes the bucket below or above."""
    bounds = np.arange(1.0, 61.0)
    rates = {float(bound): float(np.sum(np.array(values) <= bound)) for bound in bounds} | {inf: float(len(values))}

    told = quantile_of(rates, percentile)

    true = float(np.quantile(values, percentile / 100.0, method="inverted_cdf"))
    assert isinstance(told, float)
    assert abs(told - true) <= 1.0
