"""The share that was late, from a histogram: exact at its bounds, and between them where tails fall evenly."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.lateness import ABOVE_LEAST, NO_FIRST_TOKEN, first_tokens_of
from scaler.core.model import FirstTokens

BOUNDS_S = (0.5, 1.0, 2.5, 5.0, 10.0)


def late_share(below_per_s: dict[float, float], limit_s: float) -> float:
    told = first_tokens_of(below_per_s, limit_s)
    assert isinstance(told, FirstTokens)
    assert told.per_s == below_per_s[inf]
    return told.late_per_s / told.per_s


def histogram(values_s: np.ndarray) -> dict[float, float]:
    """How many of ``values_s`` are at or below each bound."""
    return {bound: float(np.count_nonzero(values_s <= bound)) for bound in (*BOUNDS_S, inf)}


@pytest.mark.parametrize(
    ("below", "limit_s", "share"),
    [
        ({1.0: 95.0, 2.5: 99.0, inf: 100.0}, 1.0, 0.05),
        ({1.0: 95.0, 2.5: 99.0, inf: 100.0}, 2.5, 0.01),
        ({1.0: 95.0, 2.5: 99.0, inf: 100.0}, 2.0, 0.01710),  # 5^(1/3) * 1^(2/3) of 100
        ({1.0: 95.0, 2.5: 100.0, inf: 100.0}, 2.0, 0.00232),  # as if 0.05 were above 2.5 s
        ({1.0: 95.0, 2.5: 99.0, inf: 100.0}, 7.0, 0.01),  # above the last bound nobody knows better
        ({1.0: 100.0, 2.5: 100.0, inf: 100.0}, 2.0, 0.0),
        ({1.0: 75.0, inf: 100.0}, 0.5, 0.5),  # all are above 0 s
        ({inf: 7.0}, 2.0, 1.0),
        ({1.0: 99.0, 2.5: 98.0, inf: 100.0}, 2.5, 0.01),  # a sum over versions of unlike buckets
    ],
    ids=[
        "a bound",
        "another",
        "between two",
        "nobody above",
        "above all",
        "nobody late",
        "below all",
        "no bound",
        "odd",
    ],
)
def test_the_share_is_exact_at_a_bound_and_falls_evenly_between_two(
    below: dict[float, float], limit_s: float, share: float
) -> None:
    assert late_share(below, limit_s) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("below", [{}, {1.0: 0.0, inf: 0.0}, {1.0: 5.0, 2.5: 9.0}, {inf: float("nan")}])
def test_without_a_first_token_or_a_last_bucket_nothing_is_known(below: dict[float, float]) -> None:
    assert first_tokens_of(below, 2.0) == NO_FIRST_TOKEN


@pytest.mark.parametrize("scale_s", [0.4, 0.6, 1.2])
def test_of_waits_with_an_exponential_tail_the_share_is_the_true_one(scale_s: float) -> None:
    """The share that histogram_quantile's even spread gives is four times as large for 0.4 s."""
    values_s = np.random.default_rng(7).exponential(scale_s, size=200_000)

    told = late_share(histogram(values_s), 2.0)

    assert told == pytest.approx(float(np.mean(values_s > 2.0)), rel=0.1)


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=50), st.floats(0.1, 12.0))
def test_the_share_lies_between_those_of_the_bounds_around_it(values: list[float], limit_s: float) -> None:
    """Mutant: a share that is told of the bucket below."""
    values_s = np.array(values)
    low_s = max((bound for bound in BOUNDS_S if bound <= limit_s), default=-1.0)
    high_s = min((bound for bound in BOUNDS_S if bound >= limit_s), default=inf)

    told = late_share(histogram(values_s), limit_s)

    above_low = float(np.mean(values_s > low_s))
    least = float(np.mean(values_s > high_s)) if high_s < inf else above_low
    assert min(least, above_low) - 1e-9 <= told <= above_low + 1e-9
    assert told >= ABOVE_LEAST * above_low * (1.0 - 1e-9)
