"""What the hold and the flap budget cost at the least, whoever decides when to shrink.

Ours does not know how long a dip lasts. Whoever knew all needs of a run beforehand would let replicas go in some dips
and keep them through others: the mean of that is a bound on what any rule for shrinking could save.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

PRICE_MOST: Final = 8.0
"""The highest price of a turn that is tried, in runs at the highest need: one such run is the most that it can save."""

THIRDS: Final = 40
"""The price is known to (2/3)^40, 1e-7 of the highest."""


def least_mean(needs: Sequence[int], turns: float) -> float:
    """The least mean of a count that is nowhere below ``needs`` and turns at most ``turns`` times. ValueError of none.

    A turn is a change that goes the other way than the one before it. By Lagrange: for any price of a turn, the
    cheapest count with its turns paid for, less the price of so many turns, costs no more than any count with so few.
    That is concave in the price, so thirds find the highest. Worked: 1, 2, 1, 2 with no turn is 2 throughout but for
    the beginning, 7 / 4; with two turns it is 6 / 4.
    """
    low, high = 0.0, PRICE_MOST * max(needs) * len(needs)
    for _ in range(THIRDS):
        first, second = low + (high - low) / 3.0, high - (high - low) / 3.0
        if _bound(needs, first, turns) < _bound(needs, second, turns):
            low = first
        else:
            high = second
    return _bound(needs, low, turns) / len(needs)


def _bound(needs: Sequence[int], price: float, turns: float) -> float:
    return _cheapest(needs, price) - price * turns


def _cheapest(needs: Sequence[int], price: float) -> float:
    """What the cheapest count costs of which each turn costs ``price``, by dynamic programming over count and way."""
    levels = np.arange(max(needs) + 1, dtype=np.float64)
    growing = np.where(levels >= needs[0], levels, np.inf)
    shrinking = growing.copy()
    for need in needs[1:]:
        costs = np.where(levels >= need, levels, np.inf)
        from_below = np.minimum.accumulate(np.minimum(growing, shrinking + price))
        from_above = np.minimum.accumulate(np.minimum(shrinking, growing + price)[::-1])[::-1]
        growing, shrinking = from_below + costs, from_above + costs
    return float(min(growing.min(), shrinking.min()))
