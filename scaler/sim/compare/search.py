"""A peer's best threshold in a cell: which values to try, and which of those tried counts.

The more careful value is tried at the lower end: all thresholds are of the kind "so much for each replica", except for
a constant, where more replicas are the more careful.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import ceil
from typing import Final

from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.contenders import STATIC, most_of, peer_of
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.suites import Thoroughness

TOO_FEW: Final = 0.8
"""A constant of this many times the mean need is overrun on average: a pool is sized by what a replica sustains within
1 s, and at its very limit one carries 7 % more."""

Tried = dict[float, Outcome]
Run = Callable[[float], Outcome]


def searched(name: str, cell: Cell, search: Thoroughness, run: Run) -> Tried:
    """The outcomes of ``name`` in ``cell`` by threshold. ``run`` gives that of one."""
    if search is Thoroughness.NONE:
        return {}
    if name == STATIC:
        return constants(cell, run)
    peer = peer_of(name, cell)
    values = sorted(peer.sweep)
    tried = {} if search is Thoroughness.BISECTED else {value: run(value) for value in coarse(values, peer.threshold)}
    if search is Thoroughness.BISECTED:
        tried = bisected(values, run)
    return refined(values, tried, run)


def coarse(values: Sequence[float], documented: float) -> list[float]:
    """Every second value, and the one that the peer's documents ship."""
    return sorted({*values[::2], documented})


def bisected(values: Sequence[float], run: Run) -> Tried:
    """The outcomes on the way to the boldest of ``values``, in rising order, that still attains the share."""
    tried: Tried = {}
    low, high = -1, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        tried[values[middle]] = run(values[middle])
        if tried[values[middle]].attained >= SHARE:
            low = middle
        else:
            high = middle
    return tried


def refined(values: Sequence[float], tried: Tried, run: Run) -> Tried:
    """``tried``, and two values between the cheapest that attains the share and the next bolder one, where there is."""
    found = dict(tried)
    for _ in range(2):
        best = best_of(found.values()).job.contender.threshold
        bolder = [value for value in found if best is not None and value > best]
        if best is None or found[best].attained < SHARE or not bolder:
            return found
        between = [value for value in values if best < value < min(bolder)]
        middle = round(between[len(between) // 2] if between else (best * min(bolder)) ** 0.5, 6)
        found[middle] = run(middle)
    return found


def constants(cell: Cell, run: Run) -> Tried:
    """The outcomes on the way to the smallest constant that attains the share; `TOO_FEW` are not tried."""
    low, high, most = int(TOO_FEW * cell.pool), ceil(1.5 * cell.pool), most_of(cell)
    tried: Tried = {}
    while True:
        tried[float(high)] = run(float(high))
        if tried[float(high)].attained >= SHARE or high >= most:
            break
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        tried[float(middle)] = run(float(middle))
        low, high = (low, middle) if tried[float(middle)].attained >= SHARE else (middle, high)
    return tried


def best_of(outcomes: Iterable[Outcome]) -> Outcome:
    """The cheapest that attains the share; when none does, the one that attains most. Raises ValueError of nothing."""
    every = list(outcomes)
    met = [one for one in every if one.attained >= SHARE]
    if met:
        return min(met, key=lambda one: one.replica_hours)
    return max(every, key=lambda one: (one.attained, -one.replica_hours))


def cheapest_first(outcomes: Collection[Outcome]) -> list[Outcome]:
    """Those that attain the share, the cheapest first; when none does, only the one that attains most."""
    met = [one for one in outcomes if one.attained >= SHARE]
    return sorted(met, key=lambda one: one.replica_hours) or [best_of(outcomes)]


def single_of(cells: Iterable[Mapping[float, Outcome]]) -> float | None:
    """The one threshold for everything: the one that attains the share in most of ``cells``, and then the cheapest.

    Only values that were tried in all of them count; None where there is none.
    """
    every = [tried for tried in cells if tried]
    shared = set.intersection(*(set(tried) for tried in every)) if every else set()
    if not shared:
        return None

    def worth(value: float) -> tuple[int, float]:
        outcomes = [tried[value] for tried in every]
        return sum(one.attained >= SHARE for one in outcomes), -sum(one.ratio for one in outcomes)

    return max(sorted(shared), key=worth)
