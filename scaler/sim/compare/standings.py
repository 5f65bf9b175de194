"""What the outcomes say of each policy in each cell, with its interval, and over all cells of a part.

Runs are paired: all policies meet the same traffic, load times and lost scrapes for a seed. Intervals are bootstrapped
over the seeds, and over the services where each has one seed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.suites import Part

Floats = NDArray[np.float64]

RESAMPLES: Final = 2000
LOW: Final = 2.5
HIGH: Final = 97.5


class Choice(StrEnum):
    """How the threshold of a policy was come by."""

    OWN = "own defaults"
    BEST = "best for the cell, in hindsight"
    SINGLE = "one for everything"
    FIXED = "constant"
    SWEPT = "swept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An outcome, and what it is in the comparison for. One run may stand in several records."""

    part: Part
    choice: Choice
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure, and where it lies in 95 of 100 resamples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A policy in a cell over all seeds: the mean share in time, and the mean of replica-hours over the bound's.

    ``reach`` is the share that the bound attains on the seed on which it attains least.
    """

    part: Part
    choice: Choice
    cell: Cell
    policy: str
    threshold: float | None
    floor: int | None
    attained: Interval
    ratio: Interval
    flips_per_hour: float
    reach: float

    @property
    def is_reachable(self) -> bool:
        """Whether the bound attains the share on every seed."""
        return self.reach >= SHARE

    @property
    def is_met(self) -> bool:
        """Whether the mean share in time is the objective's."""
        return self.attained.value >= SHARE


# --- Standings ---------------------------------------------------------------------------------------------------


def standings(records: Iterable[Record]) -> tuple[Standing, ...]:
    """A standing for each policy and choice in each cell. Ours counts with the floor it advised, where it did."""
    grouped: dict[tuple[Part, Choice, Cell, str], dict[int, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        job = record.outcome.job
        if record.choice is not Choice.SWEPT:
            grouped[record.part, record.choice, job.cell, job.contender.name][job.seed].append(record.outcome)
    return tuple(_standing(*key, [_last_word(each) for each in seeds.values()]) for key, seeds in grouped.items())


def _last_word(outcomes: Sequence[Outcome]) -> Outcome:
    """Of one policy on one seed: the run with the highest floor, if there is one."""
    return max(outcomes, key=lambda one: one.job.contender.floor or 0)


def _standing(part: Part, choice: Choice, cell: Cell, policy: str, outcomes: Sequence[Outcome]) -> Standing:
    contenders = [one.job.contender for one in outcomes]
    floors = [contender.floor for contender in contenders if contender.floor is not None]
    return Standing(
        part=part,
        choice=choice,
        cell=cell,
        policy=policy,
        threshold=contenders[0].threshold,
        floor=max(floors, default=None),
        attained=mean_of([one.attained for one in outcomes]),
        ratio=mean_of([one.ratio for one in outcomes]),
        flips_per_hour=max(float(one.figures["flips_per_hour"] or 0.0) for one in outcomes),
        reach=min(one.oracle.attained for one in outcomes),
    )


def mean_of(values: Sequence[float]) -> Interval:
    """The mean of ``values`` with its bootstrap interval; the same values give the same interval."""
    return resampled(np.asarray(values), lambda rows: np.asarray(rows.mean(axis=1)), fmean(values))


def median_of(values: Sequence[float]) -> Interval:
    """The median of ``values`` with its bootstrap interval. Raises ValueError of nothing."""
    return resampled(np.asarray(values), lambda rows: np.asarray(np.median(rows, axis=1)), median(values))


def resampled(values: Floats, figure: Callable[[Floats], Floats], value: float) -> Interval:
    """``value`` with the interval that ``figure`` has over rows of resampled ``values``."""
    generator = np.random.Generator(np.random.PCG64(0))
    rows = values[generator.integers(0, len(values), (RESAMPLES, len(values)))]
    low, high = np.percentile(figure(rows), [LOW, HIGH]).tolist()
    return Interval(value=value, low=low, high=high)


# --- Tables ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A policy over all cells of a part. Ratios are over the cells that it meets, None where it meets none."""

    part: Part
    policy: str
    choice: Choice
    met: int
    cells: int
    lowest: float
    ratio: Interval | None
    most: float | None
    flips_per_hour: float


def lines(standings: Iterable[Standing]) -> tuple[Line, ...]:
    """A line for each policy and choice in each part."""
    grouped: Mapping[tuple[Part, str, Choice], list[Standing]] = defaultdict(list)
    for each in standings:
        grouped[each.part, each.policy, each.choice].append(each)
    return tuple(_line(part, policy, choice, every) for (part, policy, choice), every in grouped.items())


def _line(part: Part, policy: str, choice: Choice, every: Sequence[Standing]) -> Line:
    ratios = [each.ratio.value for each in every if each.is_met]
    return Line(
        part=part,
        policy=policy,
        choice=choice,
        met=len(ratios),
        cells=len(every),
        lowest=min(each.attained.value for each in every),
        ratio=median_of(ratios) if ratios else None,
        most=max(ratios, default=None),
        flips_per_hour=max(each.flips_per_hour for each in every),
    )
