"""Which cells there are, who is run in them, and on how many seeds.

The issue's axes multiplied out (six workloads, three pools, four load times, three engines, two windows, five seeds,
ten policies and their thresholds) would take days. What a bar is set on is here in full; every other value of an axis
is taken once, from the middle of the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scaler.sim.compare.cells import GENERATED, Cell
from scaler.sim.compare.contenders import PEERS, STATIC, STATIC_MEAN, STATIC_PEAK
from scaler.sim.compare.step import STEP_CELL
from scaler.sim.generated import reported
from scaler.sim.workload import SHIPPED

LOAD_TIMES_S: Final = (45.0, 120.0, 300.0, 600.0)
MIDDLE_S: Final = 300.0
SEEDS: Final = (1, 2, 3, 4, 5)
WEEK_LONG: Final = ("azure2024-conv", "servegen-m-large", "o365-c-prod")
RECORDED: Final = ("azure2023-conv", "azure2023-code")
OTHER_ENGINES: Final = ("llama-3.1-8b/L40S", "llama-3.1-70b/H100")
GENERATED_FLEETS: Final = (
    ("llama-3.1-8b/H100", 2.0),
    ("llama-3.1-70b/H100", 4.0),
    ("llama-3.1-8b/L40S", 8.0),
)
"""The engines and pools that services take in turn, all with about as many requests: a service of short ones fills
eight of the fastest engine with 43 million in half a day."""
SERVICES: Final = 100
SWEPT_SERVICES: Final = 16
"""Two of each family. The peers' thresholds are chosen on them, in hindsight, before all services are run."""


class Part(StrEnum):
    """What a cell is in the suite for."""

    GRID = "grid"
    LARGE = "large"
    ENGINES = "engines"
    DAYS = "days"
    STEP = "step"
    GENERATED = "generated"


class Thoroughness(StrEnum):
    """How a peer's best threshold in a cell is looked for."""

    WHOLE = "whole"  # every second value of its sweep, then between the best and the next
    BISECTED = "bisected"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A cell of a suite. ``swept`` have their best threshold looked for; the constants that ``fixed`` names have none.

    With ``takes_best`` each swept policy is run on all seeds at its best threshold of the cell, with ``takes_single``
    each swept peer at its one threshold for everything.
    """

    part: Part
    cell: Cell
    seeds: tuple[int, ...]
    search: Thoroughness
    swept: tuple[str, ...]
    fixed: tuple[str, ...] = (STATIC_MEAN, STATIC_PEAK)
    takes_best: bool = True
    takes_single: bool = True


def public() -> tuple[Entry, ...]:
    """All of the public suite."""
    everyone = (*PEERS, STATIC)
    entries = [_entry(Part.GRID, cell, everyone) for cell in grid()]
    entries += [_entry(Part.LARGE, Cell(workload=name, pool=32.0, load_s=MIDDLE_S), everyone) for name in RECORDED]
    entries += [
        _entry(Part.ENGINES, Cell(workload=name, pool=2.0, load_s=MIDDLE_S, engine=engine), everyone)
        for engine in OTHER_ENGINES
        for name in SHIPPED
    ]
    entries += [_whole_day(name, pool) for name in WEEK_LONG for pool in (8.0, 32.0)]
    return (*entries, _entry(Part.STEP, STEP_CELL, everyone))


def grid() -> tuple[Cell, ...]:
    """The 36 cells that a bar is set on: all six workloads, at a mean of 2 with four load times, and of 8 with two.

    The trials name six workloads, four load times at a mean of 2, "means of 2 and 8" and 36 cells in all; 24 of them
    are at 2, so 12 are at 8. Which two load times these had is not said: here the second and the longest.
    """
    small = [Cell(workload=name, pool=2.0, load_s=load_s) for name in SHIPPED for load_s in LOAD_TIMES_S]
    large = [Cell(workload=name, pool=8.0, load_s=load_s) for name in SHIPPED for load_s in (120.0, 600.0)]
    return tuple(small + large)


def _entry(part: Part, cell: Cell, swept: tuple[str, ...]) -> Entry:
    is_small = part is Part.GRID and cell.pool < 8.0  # noqa: PLR2004 - the pools are 2 and 8
    search = Thoroughness.WHOLE if is_small else Thoroughness.BISECTED
    return Entry(part=part, cell=cell, seeds=SEEDS, search=search, swept=swept)


def _whole_day(name: str, pool: float) -> Entry:
    """A day of 60 million requests at 32 takes a minute a run, so it has one seed and no peer but the best constant."""
    is_large = pool > 8.0  # noqa: PLR2004 - the pools are 8 and 32
    return Entry(
        part=Part.DAYS,
        cell=Cell(workload=name, pool=pool, load_s=MIDDLE_S, window="day"),
        seeds=SEEDS[:1] if is_large else SEEDS,
        search=Thoroughness.BISECTED,
        swept=(STATIC,),
        fixed=(),
        takes_single=False,
    )


def generated(first_seed: int) -> tuple[Entry, ...]:
    """The generated suite: `SERVICES` services from ``first_seed`` on. Raises TuningSeedError for seeds below 100."""
    cells = services(reported(range(first_seed, first_seed + SERVICES)))
    return tuple(
        Entry(
            part=Part.GENERATED,
            cell=cell,
            seeds=SEEDS[:1],
            search=Thoroughness.WHOLE if number < SWEPT_SERVICES else Thoroughness.NONE,
            swept=PEERS,
            takes_best=False,
        )
        for number, cell in enumerate(cells)
    )


def services(seeds: Iterable[int]) -> tuple[Cell, ...]:
    """A cell for each service of ``seeds``.

    Families take turns by seed, load times by every eight seeds and fleets by every third, so that 96 seeds in a row
    hold each family with each load time and each fleet once.
    """
    return tuple(_service(seed, *GENERATED_FLEETS[seed % len(GENERATED_FLEETS)]) for seed in seeds)


def _service(seed: int, engine: str, pool: float) -> Cell:
    return Cell(workload=f"{GENERATED}{seed}", pool=pool, load_s=LOAD_TIMES_S[seed // 8 % 4], engine=engine)
