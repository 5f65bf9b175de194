"""What a policy attains at each cost, over the thresholds that were tried: nobody is judged by one point.

Between two thresholds the frontier is a straight line, so that what is compared at equal replica-hours does not hang on
which values happened to be tried. That leans towards the peers: nobody ran what lies between.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf

from scaler.sim.compare.outcomes import Outcome

Point = tuple[float, float]
"""Replica-hours, and what they are worth: more is better."""


def share_in_time(outcome: Outcome) -> float:
    """The share of requests in time: the more the better."""
    return outcome.attained


def promptness(outcome: Outcome) -> float:
    """Minus the P99 of the time to first token in seconds; minus infinity where that request had none."""
    p99_s = outcome.figures["ttft_p99_s"]
    return -inf if p99_s is None else -float(p99_s)


def frontier(points: Iterable[Point]) -> list[Point]:
    """The points that are worth more than every cheaper one, by rising cost."""
    kept: list[Point] = []
    for cost, worth in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or worth > kept[-1][1]:
            kept.append((cost, worth))
    return kept


def worth_at(line: Sequence[Point], cost: float) -> float:
    """What ``cost`` is worth on a frontier: minus infinity where nothing costs so little."""
    if not line or cost < line[0][0]:
        return -inf
    for (low, low_worth), (high, high_worth) in pairwise(line):
        if low <= cost < high:
            part = (cost - low) / (high - low)
            return low_worth if low_worth == -inf else low_worth + part * (high_worth - low_worth)
    return line[-1][1]
