"""The bar: what was asked for before anything was measured, and whether it is reached, line by line with the figure."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import ceil
from statistics import median
from typing import Final

from scaler.sim.compare.against import against
from scaler.sim.compare.cells import SHARE
from scaler.sim.compare.contenders import OURS, PEERS, STATIC
from scaler.sim.compare.standings import Choice, Record, Standing, median_of
from scaler.sim.compare.suites import SERVICES, Part, public
from scaler.sim.compare.verdict import Verdict, beats, by_cell, is_most, told, untold

GRID_CELLS: Final = 36
GRID_MET: Final = 33
DAY_CELLS: Final = 6
MEDIAN: Final = 1.20
MOST: Final = 1.60
SURE: Final = 0.995
"""What was to be aimed at, so that other seeds hold."""

GENERATED_LEAST: Final = 0.97
GENERATED_MEDIAN: Final = 1.5
MOST_FLIPS: Final = 2.0

WITH_PEERS: Final = (Part.GRID, Part.LARGE, Part.ENGINES)
"""Where peers are run at all thresholds and seeds, and somebody can be in time."""


def verdicts(standings: Sequence[Standing], records: Sequence[Record]) -> tuple[Verdict, ...]:
    """Every line of the bar that runs of a suite can tell of, with its figure."""
    grid, days, generated = (_of(standings, [part]) for part in (Part.GRID, Part.DAYS, Part.GENERATED))
    ours = [each for each in standings if each.policy == OURS]
    return (
        *_told_of(_limits("grid", grid, GRID_CELLS), grid, [Part.GRID]),
        *_told_of([*_limits("whole days", days, DAY_CELLS), *_constants(days)], days, [Part.DAYS]),
        *_told_of(_generated(generated), generated, [Part.GENERATED]),
        *_told_of(_flips(ours), ours, _suite_of(ours)),
        *_against(standings, records, WITH_PEERS),
        *_against(standings, records, [Part.GENERATED]),
    )


def _of(standings: Iterable[Standing], parts: Collection[Part]) -> list[Standing]:
    return [each for each in standings if each.part in parts]


def _suite_of(ours: Sequence[Standing]) -> Collection[Part]:
    """All parts of the suite that the standings are of."""
    if any(each.part is Part.GENERATED for each in ours):
        return [Part.GENERATED]
    return [part for part in Part if part is not Part.GENERATED]


def _told_of(lines: Sequence[Verdict], standings: Iterable[Standing], parts: Collection[Part]) -> Sequence[Verdict]:
    """``lines``, which are neither reached nor not while some cells of ``parts`` were not run."""
    counted = Counter(entry.part for entry in public())
    counted[Part.GENERATED] = SERVICES
    ran = {each.cell for each in standings if each.part in parts}
    return lines if len(ran) == sum(counted[part] for part in parts) else untold(lines)


def _limits(label: str, standings: Sequence[Standing], cells: int) -> list[Verdict]:
    """The grid's limits, on the grid or on as many other ``cells``, of which the same share is to be met."""
    ours = list(by_cell(standings, OURS, Choice.OWN).values())
    if not ours:
        return []
    met = [each for each in ours if each.is_met]
    least = ceil(GRID_MET * cells / GRID_CELLS)
    sure = sum(each.attained.value >= SURE for each in ours)
    missed = ", ".join(f"{each.cell.name} {each.attained.value:.2%}" for each in ours if not each.is_met)
    ratio = median_of([each.ratio.value for each in met]) if met else None
    dearest = max(met, key=lambda each: each.ratio.value, default=None)
    return [
        Verdict(
            line=f"{label}: the objective met in at least {least} of {cells} cells",
            is_reached=len(met) >= least,
            figure=f"{len(met)} of {len(ours)}, {SURE:.1%} in {sure}" + (f"; missed: {missed}" if missed else ""),
        ),
        Verdict(
            line=f"{label}: replica-hours at most {MEDIAN:.2f} times the bound's in the median, where met",
            is_reached=ratio is not None and ratio.value <= MEDIAN,
            figure="none met" if ratio is None else told(ratio),
        ),
        Verdict(
            line=f"{label}: none over {MOST:.1f} times the bound's where met",
            is_reached=dearest is not None and dearest.ratio.value <= MOST,
            figure="none met" if dearest is None else f"{dearest.ratio.value:.2f} ({dearest.cell.name})",
        ),
    ]


def _constants(days: Sequence[Standing]) -> list[Verdict]:
    ours, constants = by_cell(days, OURS, Choice.OWN), by_cell(days, STATIC, Choice.BEST)
    cells = [cell for cell in ours if cell in constants]
    if not cells:
        return []
    cheaper = [cell for cell in cells if beats(ours[cell], constants[cell])]
    saved = [1.0 - ours[cell].ratio.value / constants[cell].ratio.value for cell in cells]
    return [
        Verdict(
            line="whole days: cheaper than the best constant in hindsight in three cells of four",
            is_reached=is_most(cheaper, cells),
            figure=f"{len(cheaper)} of {len(cells)}; replica-hours saved: "
            f"{min(saved):.0%} to {max(saved):.0%}, {median(saved):.0%} in the median",
        )
    ]


def _generated(generated: Sequence[Standing]) -> list[Verdict]:
    ours = list(by_cell(generated, OURS, Choice.OWN).values())
    if not ours:
        return []
    reachable = [each for each in ours if each.is_reachable]
    met = [each for each in reachable if each.is_met]
    floors = sum(each.floor is not None for each in ours)
    lowest = min(ours, key=lambda each: each.attained.value)
    ratio = median_of([each.ratio.value for each in ours])
    return [
        Verdict(
            line=f"generated: at least {SHARE:.0%} in time wherever the bound reaches it",
            is_reached=len(met) == len(reachable),
            figure=f"{len(met)} of {len(reachable)}, with an advised floor in {floors}",
        ),
        Verdict(
            line=f"generated: never below {GENERATED_LEAST:.0%}",
            is_reached=lowest.attained.value >= GENERATED_LEAST,
            figure=f"{lowest.attained.value:.2%} ({lowest.cell.name})",
        ),
        Verdict(
            line=f"generated: replica-hours at most {GENERATED_MEDIAN} times the bound's in the median",
            is_reached=ratio.value <= GENERATED_MEDIAN,
            figure=told(ratio),
        ),
    ]


def _flips(ours: Sequence[Standing]) -> list[Verdict]:
    most = max(ours, key=lambda each: each.flips_per_hour, default=None)
    over = [each for each in ours if each.flips_per_hour > MOST_FLIPS]
    if most is None:
        return []
    return [
        Verdict(
            line=f"at most {MOST_FLIPS:.0f} direction flips an hour on any workload, on the worst seed",
            is_reached=not over,
            figure=f"{most.flips_per_hour:.1f} ({most.cell.name}); over it in {len(over)} of {len(ours)} cells",
        )
    ]


def _against(standings: Sequence[Standing], records: Sequence[Record], parts: Collection[Part]) -> list[Verdict]:
    """The lines against every peer over the cells of ``parts``."""
    here, runs = _of(standings, parts), [record for record in records if record.part in parts]
    return [
        verdict
        for peer in PEERS
        for verdict in _told_of(against(peer, here, runs), [each for each in here if each.policy == OURS], parts)
    ]
