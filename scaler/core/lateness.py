"""How many first tokens were late, from a histogram that has no bound at the objective."""

from collections.abc import Mapping
from itertools import accumulate
from math import inf, sqrt
from typing import Final

from scaler.core.model import FirstTokens, Missing

ABOVE_LEAST: Final = 0.01
"""Of the requests above a bucket's lower bound, so many are taken to be above its upper one: over none, no slope can be
told, and the objective may lie anywhere below."""

HALVINGS: Final = 30
"""What is left of a bucket then is a billionth of it."""

NO_FIRST_TOKEN: Final = Missing(why="no request had its first token in the last minute")


def first_tokens_of(below_per_s: Mapping[float, float], limit_s: float) -> FirstTokens | Missing:
    """The requests by the second, and those that took longer than ``limit_s``, of buckets' cumulative rates by bound.

    Within a bucket the part that took longer falls by the same factor with every second, as tails do. vLLM has bounds
    at 1 and 2.5 s: where 5 of 100 took longer than 1 s, and 1 longer than 2.5 s, 1.7 took longer than 2 s. Spread
    evenly, as histogram_quantile has it, they would be 2.3; and 1.7 where nobody took longer than 2.5 s, which is 0.2
    here. Over 60 generated services it was off by 0.3 points at most, the other by 1.8 (docs/design/0025). Missing
    where nobody had a first token, or the histogram has no last bucket.
    """
    bounds = sorted(below_per_s)
    # Versions may differ in their buckets, and a sum over unlike ones is not monotonic where only some have a bound.
    rates = dict(zip(bounds, accumulate((below_per_s[bound] for bound in bounds), max), strict=True))
    total = rates.get(inf, 0.0)
    if not 0.0 < total < inf:
        return NO_FIRST_TOKEN
    low_s = max((bound for bound in bounds if bound <= limit_s), default=0.0)
    high_s = min(bound for bound in bounds if bound > limit_s)
    above_low = total - rates.get(low_s, 0.0)
    if high_s == inf or low_s == limit_s or above_low <= 0.0:
        return FirstTokens(per_s=total, late_per_s=above_low)
    above_high = max(total - rates[high_s], ABOVE_LEAST * above_low)
    return FirstTokens(per_s=total, late_per_s=_between(above_low, above_high, (limit_s - low_s) / (high_s - low_s)))


def _between(low: float, high: float, inside: float) -> float:
    """The geometric mean of both with the weight ``inside`` for ``high``: half-way the square root of their product.

    By halves, since a power has other bits on other machines, and a replay must agree; a square root has not.
    """
    for _ in range(HALVINGS):
        middle = sqrt(low * high)
        low, high = (low, middle) if inside < 0.5 else (middle, high)  # noqa: PLR2004 - half
        inside = 2.0 * inside % 1.0
    return low
