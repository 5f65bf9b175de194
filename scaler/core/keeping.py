"""What is learned, in the few numbers that a status has room for, and made again of them after a restart.

Of capacity, four numbers and their weight do not say which new lines would move them: a belief from one level of load
is firm there and soft elsewhere. So what the replicas' time went to is kept as well, and by how much that varied. Two
lines stand for all, at one spread to either side of the mean; with one mix of requests at several levels of load, that
is where all of them lie.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt
from typing import Final, TypeVar

from scaler.core.capacity import SHAPE, SHAPE_SPREAD, WEIGHT_MOST, Line, precision_of, square_of, thetas_of
from scaler.core.demand import REQUESTS_MOST
from scaler.core.forecast import COVERAGE_LEAST, COVERAGE_MOST, GROWTHS, TRENDS, step_of
from scaler.core.memory import DAY_S, CapacityMemory, Course
from scaler.core.model import TargetKey

STEP_LEAST_S: Final = 1e-5
STEP_MOST_S: Final = 100.0
"""A step of a busy engine takes 5 to 60 ms (reference/latency-model.md, 2); a thousand times that is nobody's."""

RATIO_MOST: Final = 25.5
"""A fit keeps each of its four numbers between a fifth and five times what the shape says; the rest is rounding."""

WHOLE: Final = 1.01
"""All of the time, but for rounding."""

SEQUENCES_LIMIT: Final = 1e6
HALVINGS: Final = 64
"""After so many, an interval has no number in between."""

COUNTED_MOST_S: Final = 1.01 * DAY_S
"""Counts fade within a day, so they cannot sum to more than one, but for rounding."""

LATE_MOST: Final = 1.01
"""No more can be late than came, but for rounding."""

REPLICAS_MOST: Final = 1e6
"""A policy may ask for 10,000 replicas; a hundred times as much was not needed by anybody."""

LEVELS_MOST: Final = 16
"""Levels of late requests that are kept; a policy has seldom more than a few, since what was late fades."""

TREND_STEPS_MOST: Final = 6
"""Steps of growth that are kept of each of the five trends: 70 bytes of a status, where all would be 380."""

CALM_STEPS_MOST: Final = 6
"""Steps of growth over the calm base that are kept: as many as of a trend."""

LOSS_MOST: Final = 1e18
"""Tokens that were missing or idle within a day: a thousand times what 10,000 replicas of a fast engine work off."""

TREND_EDGES: Final = (0.0, *TRENDS)
"""What each trend lies above."""

Level = TypeVar("Level", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityKept:
    """What is kept of a `CapacityMemory`: what is believed, and what the replicas' time went to while it was learned.

    The seconds are as in `Belief`, but for replicas that only prefill, of which a belief has one number. The shares are
    of the mean line, the rest of which was steps' overhead; ``spread`` is the standard deviation of that rest.
    """

    step_s: float
    decode_s: float
    cache_s: float
    prefill_s: float
    sequences_most: float
    lines: float
    decode_share: float
    cache_share: float
    prefill_share: float
    spread: float


def capacity_kept(memory: CapacityMemory) -> CapacityKept | None:
    """The few numbers that stand for ``memory``; None where nothing was learned, or nothing that an engine can be."""
    believed = thetas_of(memory)
    if believed is None:
        return None
    thetas = [theta / memory.scale for theta in believed]
    squares = square_of(memory.moments)
    # What of all lines' time each went to: for a line that fits, theta times the line is 1.
    spent = [thetas[i] * fsum(squares[i][j] * thetas[j] for j in range(4)) for i in range(4)]
    whole = fsum(spent)
    overhead, *shares = (each / whole for each in spent)
    square = squares[0][0] * thetas[0] * thetas[0] / whole
    kept = CapacityKept(
        step_s=believed[0],
        decode_s=believed[1],
        cache_s=believed[2],
        prefill_s=believed[3],
        sequences_most=memory.sequences_most,
        lines=memory.lines,
        decode_share=shares[0],
        cache_share=shares[1],
        prefill_share=shares[2],
        spread=min(1.0, sqrt(max(0.0, square - overhead * overhead))),
    )
    return kept if _is_sound(kept) else None


def capacity_from(kept: CapacityKept, key: TargetKey, node_class: str | None) -> CapacityMemory | None:
    """A memory that believes what ``kept`` says, and that new lines move as they would have moved its own.

    None where the numbers are such as no lines can have told.
    """
    if not _is_sound(kept):
        return None
    thetas, lines = _thetas(kept), min(kept.lines, WEIGHT_MOST)
    squares = _squares(kept, thetas, lines)
    upper = (squares[first][second] for first in range(4) for second in range(first, 4))
    return CapacityMemory(
        key=key,
        node_class=node_class,
        moments=(*upper, *_sums(squares, thetas, lines)),
        lines=lines,
        sequences_most=kept.sequences_most,
    )


def _thetas(kept: CapacityKept) -> Line:
    return (kept.step_s, kept.decode_s, kept.cache_s, kept.prefill_s)


def _shares(kept: CapacityKept) -> tuple[float, float, float]:
    return (kept.decode_share, kept.cache_share, kept.prefill_share)


def _overheads(thetas: Sequence[float]) -> list[float]:
    """The overhead of a step that each of the four would have by the prior's shape."""
    return [theta / ratio for theta, ratio in zip(thetas, SHAPE, strict=True)]


def _is_sound(kept: CapacityKept) -> bool:
    """Whether these numbers can have been learned. Written so that NaN, for which nothing holds, is refused as well."""
    shares, overheads = _shares(kept), _overheads(_thetas(kept))
    return (
        STEP_LEAST_S <= kept.step_s <= STEP_MOST_S
        and all(0.0 < high <= RATIO_MOST * low for high in overheads for low in overheads)
        and 1.0 <= kept.sequences_most <= SEQUENCES_LIMIT
        and kept.lines > 0.0
        and all(0.0 <= share <= 1.0 for share in shares)
        and fsum(shares) <= WHOLE
        and 0.0 <= kept.spread <= 1.0
    )


def _squares(kept: CapacityKept, thetas: Sequence[float], lines: float) -> list[list[float]]:
    """The sum of squares of two lines, one spread busier and one less busy than the mean, of this weight together."""
    shares = _shares(kept)
    work = fsum(shares)
    overhead = max(0.0, 1.0 - work)
    spread = min(kept.spread, overhead, work)  # a line has no negative part
    two = [
        (overhead - step, *(share * (work + step) / work if work > 0.0 else 0.0 for share in shares))
        for step in (-spread, spread)
    ]
    rows = [[part / theta for part, theta in zip(line, thetas, strict=True)] for line in two]
    return [[fsum(lines / 2.0 * row[i] * row[j] for row in rows) for j in range(4)] for i in range(4)]


def _sums(squares: Sequence[Sequence[float]], thetas: Sequence[float], lines: float) -> list[float]:
    """The sums of values by which `fitted` gives exactly ``thetas``.

    It solves (w*D*M*D + S) x = w*D*v + S*1, for D = c*shape, S = 1/spread^2 and theta = D*x, and has c by
    c*(shape*M*shape) = shape*v. So v = M*theta + S*(x - 1)/(w*D); put into the line for c, that is a cubic in c.
    """
    pulls = [1.0 / (spread * spread) for spread in SHAPE_SPREAD]
    overheads, precision = _overheads(thetas), precision_of(lines)
    bottom = fsum(SHAPE[i] * SHAPE[j] * squares[i][j] for i in range(4) for j in range(4))
    top = fsum(SHAPE[i] * squares[i][j] * thetas[j] for i in range(4) for j in range(4))
    pulled = fsum(pull * overhead for pull, overhead in zip(pulls, overheads, strict=True))
    low, high = min(overheads), max(overheads)  # below all of them the cubic is negative, above positive
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        cubic = (bottom * middle - top) * middle * middle + (fsum(pulls) * middle - pulled) / precision
        low, high = (middle, high) if cubic < 0.0 else (low, middle)
    scale = (low + high) / 2.0
    return [
        fsum(squares[i][j] * thetas[j] for j in range(4))
        + pulls[i] * (overheads[i] / scale - 1.0) / (precision * scale * SHAPE[i])
        for i in range(4)
    ]


# --- How demand goes ---------------------------------------------------------------------------------------------


def growth_told(course: Course) -> dict[float, float]:
    """The seconds of each step of growth that was seen."""
    return dict(_seen(course.growth))


def trends_told(course: Course) -> dict[float, tuple[tuple[float, float], ...]]:
    """The same of each trend by its edge, in ``TREND_STEPS_MOST`` at most: see `_fewer`."""
    trends = zip(TREND_EDGES, course.trends, strict=False)
    return {edge: _fewer(_seen(growth), TREND_STEPS_MOST) for edge, growth in trends if any(growth)}


def calm_told(course: Course) -> tuple[tuple[float, float], ...]:
    """The seconds of each step of growth over the calm base, in ``CALM_STEPS_MOST`` at most: see `_fewer`."""
    return _fewer(_seen(course.calm_growth), CALM_STEPS_MOST)


def trends_from(told: Mapping[float, Mapping[float, float]]) -> tuple[tuple[float, ...], ...]:
    """The seconds by step of each trend; those of an edge that is not known, or of nobody's counting, are left out."""
    trends = tuple(growth_from(told.get(edge, {})) or (0.0,) * len(GROWTHS) for edge in TREND_EDGES)
    return trends if any(map(any, trends)) else ()


def _seen(growth: Sequence[float]) -> list[tuple[float, float]]:
    return [(step, seconds) for step, seconds in zip(GROWTHS, growth, strict=False) if seconds > 0.0]


def growth_from(weights: Mapping[float, float]) -> tuple[float, ...]:
    """The seconds by step, each at the first step that is not below it; () where they are such as nobody counted.

    Nobody counts more than a day: seconds without bounds would never fade beside what comes.
    """
    growth = [0.0] * len(GROWTHS)
    for factor, weight in weights.items():
        if not (factor >= 0.0 and 0.0 <= weight <= COUNTED_MOST_S):
            return ()
        growth[step_of(factor)] += weight
    return tuple(growth) if 0.0 < fsum(growth) <= COUNTED_MOST_S else ()


def levels_told(course: Course) -> tuple[tuple[int, float], ...]:
    """The late requests by level, in ``LEVELS_MOST`` at most: see `_fewer`."""
    return _fewer(course.late, LEVELS_MOST)


def _fewer(counted: Iterable[tuple[Level, float]], most: int) -> tuple[tuple[Level, float], ...]:
    """Seconds by level in ``most`` levels: the smallest parts count for the next one above them.

    That way a floor, or the growth to prepare for, comes out as large as by all levels, or larger.
    """
    levels = list(counted)
    while len(levels) > most:
        place = min(range(len(levels) - 1), key=lambda place: levels[place][1])
        (_, seconds), (above, above_s) = levels[place : place + 2]
        levels[place : place + 2] = [(above, seconds + above_s)]
    return tuple(levels)


def course_from(told: Course) -> Course:
    """``told`` as far as it can have been learned; what cannot is as if it had never been seen."""
    if told.coverage is not None and not COVERAGE_LEAST <= told.coverage <= COVERAGE_MOST:
        told = replace(told, coverage=None)
    if not _is_reckoned(told):
        told = replace(told, seen_s=0.0, came_s=0.0, requests=0.0, late=())
    if not (told.calm_growth and all(0.0 <= loss <= LOSS_MOST for loss in told.losses)):
        told = replace(told, calm_growth=(), losses=(0.0, 0.0))
    return told


def _is_reckoned(told: Course) -> bool:
    """Whether the work that came, and what of it was late, fit each other and the time."""
    late = fsum(requests for _, requests in told.late)
    return (
        0.0 < told.seen_s <= COUNTED_MOST_S
        and 0.0 <= told.came_s <= REPLICAS_MOST * told.seen_s
        and 0.0 <= told.requests <= REQUESTS_MOST * told.seen_s
        and late <= LATE_MOST * told.requests
        and all(1 <= level <= REPLICAS_MOST and requests >= 0.0 for level, requests in told.late)
    )
