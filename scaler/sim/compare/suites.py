"""Which cells there are, and which of them each question of the comparison is asked on."""

from typing import Final

from scaler.sim.compare.cells import GENERATED, Cell
from scaler.sim.workload import SHIPPED

LOAD_TIMES_S: Final = (45.0, 120.0, 300.0, 600.0)


def grid() -> tuple[Cell, ...]:
    """The 36 cells that a bar is set on: all six workloads, at a mean of 2 with four load times, and of 8 with two.

    The trials name six workloads, four load times at a mean of 2, "means of 2 and 8" and 36 cells in all; 24 of them
    are at 2, so 12 are at 8. Which two load times these had is not said: here the second and the longest.
    """
    small = [Cell(workload=name, pool=2.0, load_s=load_s) for name in SHIPPED for load_s in LOAD_TIMES_S]
    large = [Cell(workload=name, pool=8.0, load_s=load_s) for name in SHIPPED for load_s in (120.0, 600.0)]
    return tuple(small + large)


GENERATED_POOLS: Final = (2.0, 4.0, 8.0)


def generated(seeds: range) -> tuple[Cell, ...]:
    """A cell for each service of ``seeds``.

    Families take turns by seed, load times by every eight seeds and pools by every third, so that 96 seeds in a row
    hold each family with each load time and each pool once.
    """
    return tuple(
        Cell(
            workload=f"{GENERATED}{seed}",
            pool=GENERATED_POOLS[seed % 3],
            load_s=LOAD_TIMES_S[seed // 8 % 4],
        )
        for seed in seeds
    )
