"""What our hold and flap budget cost beside the least that they could: a look at the grid and the days, one seed each.

    python -m scaler.wiring.envelope           the 36 cells of the public grid and the days at a mean need of 8
    python -m scaler.wiring.envelope o365 day  only cells whose name holds each of these words

Each line is a cell without any floor, in replicas over the bound's: what is needed by the forecast, the least mean of a
count that covers that with two turns an hour, what Forebay asked for, and its share in time.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Final

from scaler.sim.compare.bar import MOST_FLIPS
from scaler.sim.compare.cells import OBJECTIVE_S, Cell, fleet_of, traffic
from scaler.sim.compare.contenders import policy_for
from scaler.sim.compare.envelope import least_mean
from scaler.sim.compare.suites import Part, grid, public
from scaler.sim.ours import Ours
from scaler.sim.replay import PERIOD_S, replayed
from scaler.sim.score import HOUR_S, scored
from scaler.sim.view import View
from scaler.wiring.compare_store import kept_bound
from scaler.wiring.errors import UserError

CORES: Final = 2
SEED: Final = 1
DAYS_POOL: Final = 8.0


class Watched:
    """Ours, with what it needed at each tick before any limit."""

    def __init__(self, cell: Cell) -> None:
        policy = policy_for(cell)
        self._ours = Ours(lambda _: policy)
        self.needs: list[int] = []

    def replicas(self, view: View) -> int:
        """What ours says."""
        answer = self._ours.replicas(view)
        told = () if self._ours.last is None else self._ours.last.targets
        self.needs += [int(target.trail[0].facts.get("wanted", answer)) for target in told]
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A cell: what is needed, the least that covers it with few turns, and what ours kept, over the bound's."""

    cell: Cell
    needed: float
    least: float
    kept: float
    attained: float

    def told(self) -> str:
        """In one line."""
        return f"{self.needed:6.3f} {self.least:6.3f} {self.kept:6.3f} {self.attained:8.3%}  {self.cell.name}"


def looked_at(cell: Cell) -> Kept:
    """Ours in ``cell``, and what its needs would have taken at the least."""
    watched = Watched(cell)
    run = replayed(traffic(cell), fleet_of(cell, SEED), watched, SEED)
    hours = run.span_s / HOUR_S
    score, bound = scored(run, OBJECTIVE_S), kept_bound(cell, SEED).replica_hours
    ticks = len(watched.needs) * PERIOD_S / HOUR_S
    return Kept(
        cell=cell,
        needed=sum(watched.needs) / len(watched.needs) * ticks / bound,
        least=least_mean(watched.needs, MOST_FLIPS * hours) * ticks / bound,
        kept=score.replica_hours / bound,
        attained=score.attained,
    )


def main(words: Sequence[str]) -> None:
    """Look at the cells that ``words`` name, and print them as they come. Raises UserError."""
    days = [entry.cell for entry in public() if entry.part is Part.DAYS and entry.cell.pool == DAYS_POOL]
    cells = [cell for cell in (*grid(), *days) if all(word in cell.name for word in words)]
    if not cells:
        raise UserError(f"{' '.join(words)}: must be words in the name of a cell, such as: {grid()[0].name}")
    with ProcessPoolExecutor(CORES) as pool:
        found: list[Kept] = []
        sys.stdout.write("needed  least   kept  in time\n")
        for each in pool.map(looked_at, cells):
            sys.stdout.write(each.told() + "\n")
            sys.stdout.flush()
            found.append(each)
    middle = [median(values) for values in zip(*((one.needed, one.least, one.kept) for one in found), strict=True)]
    sys.stdout.write("{:6.3f} {:6.3f} {:6.3f}  in the median of {}\n".format(*middle, len(found)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
