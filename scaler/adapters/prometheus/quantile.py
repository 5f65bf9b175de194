"""A quantile from the rates of a histogram's buckets, as Prometheus' histogram_quantile has it.

Done here so that policies with different percentiles share one query. Rates of buckets add up over pods; quantiles
do not.
"""

from collections.abc import Mapping
from math import inf
from typing import Final

import numpy as np

from scaler.adapters.prometheus.server import Lack, Reason

NO_TRAFFIC: Final = Lack(reason=Reason.NO_SERIES, why="no request got its first token in the last 2 minutes")
NO_LAST_BUCKET: Final = Lack(
    reason=Reason.BAD_ANSWER,
    why='its histogram has no bucket le="+Inf", so the slowest requests would not be counted',
)


def quantile_of(rates: Mapping[float, float], percentile: float) -> float | Lack:
    """The value that ``percentile`` per cent of the requests stay below; ``rates`` are cumulative, by upper bound.

    95 of 100 requests below 1 s and all below 2 s: the 95th percentile is 1 s, the 97.5th lies half way between. In
    the last bucket there is only a lower bound to give, the highest that is known.
    """
    if inf not in rates:
        return NO_LAST_BUCKET
    bounds = np.array(sorted(rates))
    # Versions may differ in their buckets, and a sum over unlike ones is not monotonic where only some have a bound.
    below = np.maximum.accumulate([rates[float(bound)] for bound in bounds])
    if not below[-1] > 0.0:
        return NO_TRAFFIC
    if len(bounds) == 1:
        return NO_LAST_BUCKET
    rank = below[-1] * percentile / 100.0
    index = int(np.searchsorted(below, rank))
    if index >= len(bounds) - 1:
        return float(bounds[-2])
    return _within(index, rank, bounds, below)


def _within(index: int, rank: float, bounds: np.ndarray, below: np.ndarray) -> float:
    """Where ``rank`` lies in bucket ``index``, its requests spread evenly."""
    if index == 0:
        return float(bounds[0] * rank / below[0]) if bounds[0] > 0.0 else float(bounds[0])
    share = (rank - below[index - 1]) / (below[index] - below[index - 1])
    return float(bounds[index - 1] + (bounds[index] - bounds[index - 1]) * share)
