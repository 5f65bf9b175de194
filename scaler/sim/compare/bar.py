"""The bar: what was asked for before anything was measured, and whether it is reached, line by line with the figure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.contenders import OURS, PEERS, STATIC
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.standings import Choice, Interval, Record, Standing, median_of
from scaler.sim.compare.suites import SERVICES, Part

GRID_CELLS: Final = 36
DAY_CELLS: Final = 6
GRID_MET: Final = 33
GRID_MEDIAN: Final = 1.20
GRID_MOST: Final = 1.60
GENERATED_LEAST: Final = 0.97
GENERATED_MEDIAN: Final = 1.5
MOST_FLIPS: Final = 2.0
THREE_OF_FOUR: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of the bar. ``is_reached`` None where the suite did not run what it takes to tell."""

    line: str
    is_reached: bool | None
    figure: str


def verdicts(standings: Sequence[Standing], records: Sequence[Record]) -> tuple[Verdict, ...]:
    """Every line of the bar that runs of a suite can tell of, with its figure."""
    grid, days, generated = (_of(standings, part) for part in (Part.GRID, Part.DAYS, Part.GENERATED))
    on_grid = [record for record in records if record.part is Part.GRID]
    against = [
        line
        for peer in PEERS
        for line in (_against_single(grid, peer), _against_best(grid, peer), _on_the_frontier(on_grid, peer))
        if line is not None
    ]
    return (
        *_only_of_all([*_grid_verdicts(grid), *against], grid, GRID_CELLS),
        *_only_of_all(_days_verdicts(days), days, DAY_CELLS),
        *_only_of_all(_generated_verdicts(generated), generated, SERVICES),
        *_flips([each for each in standings if each.policy == OURS]),
    )


def _only_of_all(lines: Sequence[Verdict], standings: Iterable[Standing], cells: int) -> Sequence[Verdict]:
    """``lines``, which are neither reached nor not while fewer than ``cells`` were run."""
    is_all = len({each.cell for each in standings}) == cells
    return lines if is_all else [replace(line, is_reached=None) for line in lines]


def _of(standings: Iterable[Standing], part: Part) -> list[Standing]:
    return [each for each in standings if each.part is part]


def _by_cell(standings: Iterable[Standing], policy: str, choice: Choice) -> dict[Cell, Standing]:
    return {each.cell: each for each in standings if each.policy == policy and each.choice is choice}


def _grid_verdicts(grid: Sequence[Standing]) -> list[Verdict]:
    ours = list(_by_cell(grid, OURS, Choice.OWN).values())
    met = [each for each in ours if each.is_met]
    if not met:
        return []
    ratio = median_of([each.ratio.value for each in met])
    dearest = max(met, key=lambda each: each.ratio.value)
    return [
        Verdict(
            line=f"grid: the objective met in at least {GRID_MET} of {GRID_CELLS} cells",
            is_reached=len(met) >= GRID_MET,
            figure=f"{len(met)} of {len(ours)}",
        ),
        Verdict(
            line=f"grid: replica-hours at most {GRID_MEDIAN:.2f} times the bound's in the median, where met",
            is_reached=ratio.value <= GRID_MEDIAN,
            figure=_told(ratio),
        ),
        Verdict(
            line=f"grid: none over {GRID_MOST:.1f} times the bound's where met",
            is_reached=dearest.ratio.value <= GRID_MOST,
            figure=f"{dearest.ratio.value:.2f} ({dearest.cell.name})",
        ),
    ]


def _days_verdicts(days: Sequence[Standing]) -> list[Verdict]:
    ours, static = _by_cell(days, OURS, Choice.OWN), _by_cell(days, STATIC, Choice.BEST)
    if not ours:
        return []
    met = [each for each in ours.values() if each.is_met]
    told = ", ".join(f"{each.ratio.value:.2f}" for each in met) or "none"
    cheaper = [cell for cell, each in ours.items() if cell in static and _beats(each, static[cell])]
    worst = max((each.ratio.value for each in met), default=np.inf)
    middle = median([each.ratio.value for each in met]) if met else np.inf
    is_as_in_grid = len(met) * GRID_CELLS >= GRID_MET * len(ours) and middle <= GRID_MEDIAN and worst <= GRID_MOST
    return [
        Verdict(
            line="whole days: met in the same share of cells, and the same limits on replica-hours",
            is_reached=is_as_in_grid,
            figure=f"{len(met)} of {len(ours)} met; times the bound's: {told}",
        ),
        Verdict(
            line="whole days: cheaper than the best constant in hindsight in three cells of four",
            is_reached=len(cheaper) >= THREE_OF_FOUR * len(ours),
            figure=f"{len(cheaper)} of {len(ours)}",
        ),
    ]


def _beats(ours: Standing, other: Standing) -> bool:
    """Cheaper where both meet the objective; else the one that meets it is the better."""
    if ours.is_met and other.is_met:
        return ours.ratio.value < other.ratio.value
    return ours.is_met


def _against_single(grid: Sequence[Standing], peer: str) -> Verdict | None:
    ours, theirs = _by_cell(grid, OURS, Choice.OWN), _by_cell(grid, peer, Choice.SINGLE)
    both = [cell for cell in theirs if cell in ours and theirs[cell].is_met and ours[cell].is_met]
    if not theirs:
        return None
    cheaper = [cell for cell in both if _beats(ours[cell], theirs[cell])]
    counts = [sum(each[cell].is_met for cell in theirs if cell in ours) for each in (ours, theirs)]
    threshold = next(iter(theirs.values())).threshold
    return Verdict(
        line=f"{peer} at one threshold for everything: cheaper wherever both meet, and meeting more cells",
        is_reached=len(cheaper) == len(both) and counts[0] > counts[1],
        figure=f"cheaper in {len(cheaper)} of {len(both)}; met {counts[0]}, they {counts[1]} (at {threshold:g})",
    )


def _against_best(grid: Sequence[Standing], peer: str) -> Verdict | None:
    ours, theirs = _by_cell(grid, OURS, Choice.OWN), _by_cell(grid, peer, Choice.BEST)
    either = [cell for cell in theirs if cell in ours and (theirs[cell].is_met or ours[cell].is_met)]
    if not either:
        return None
    better = [cell for cell in either if _beats(ours[cell], theirs[cell])]
    return Verdict(
        line=f"{peer} at its best threshold of each cell: cheaper in three cells of four",
        is_reached=len(better) >= THREE_OF_FOUR * len(either),
        figure=f"{len(better)} of {len(either)} cells that either meets",
    )


def _on_the_frontier(records: Sequence[Record], peer: str) -> Verdict | None:
    """Ours against the most that any threshold of the peer attains at our replica-hours, on the seed of its sweep."""
    ours = {
        record.outcome.job.cell: record.outcome
        for record in sorted(records, key=lambda each: each.outcome.job.contender.floor is not None)
        if record.outcome.job.contender.name == OURS and record.outcome.job.seed == 1
    }
    swept: dict[Cell, list[Outcome]] = defaultdict(list)
    for record in records:
        if record.choice is Choice.SWEPT and record.outcome.job.contender.name == peer:
            swept[record.outcome.job.cell].append(record.outcome)
    cells = [cell for cell in swept if cell in ours]
    if not cells:
        return None
    better = [cell for cell in cells if ours[cell].attained > _most_attained(swept[cell], ours[cell].replica_hours)]
    return Verdict(
        line=f"{peer}'s frontier: more in time than any of its thresholds that costs no more, in three cells of four",
        is_reached=len(better) >= THREE_OF_FOUR * len(cells),
        figure=f"{len(better)} of {len(cells)}",
    )


def _most_attained(outcomes: Iterable[Outcome], replica_hours: float) -> float:
    return max((one.attained for one in outcomes if one.replica_hours <= replica_hours), default=0.0)


def _generated_verdicts(generated: Sequence[Standing]) -> list[Verdict]:
    ours = list(_by_cell(generated, OURS, Choice.OWN).values())
    if not ours:
        return []
    reachable = [each for each in ours if each.is_reachable]
    met = [each for each in reachable if each.is_met]
    lowest = min(ours, key=lambda each: each.attained.value)
    ratio = median_of([each.ratio.value for each in ours])
    return [
        Verdict(
            line="generated: at least 99 % in time wherever the bound reaches it",
            is_reached=len(met) == len(reachable),
            figure=f"{len(met)} of {len(reachable)}",
        ),
        Verdict(
            line=f"generated: never below {GENERATED_LEAST:.0%}",
            is_reached=lowest.attained.value >= GENERATED_LEAST,
            figure=f"{lowest.attained.value:.2%} ({lowest.cell.name})",
        ),
        Verdict(
            line=f"generated: replica-hours at most {GENERATED_MEDIAN} times the bound's in the median",
            is_reached=ratio.value <= GENERATED_MEDIAN,
            figure=_told(ratio),
        ),
    ]


def _flips(ours: Sequence[Standing]) -> list[Verdict]:
    most = max(ours, key=lambda each: each.flips_per_hour, default=None)
    if most is None:
        return []
    return [
        Verdict(
            line=f"at most {MOST_FLIPS:.0f} direction flips an hour on any workload",
            is_reached=most.flips_per_hour <= MOST_FLIPS,
            figure=f"{most.flips_per_hour:.1f} ({most.cell.name})",
        )
    ]


def _told(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
