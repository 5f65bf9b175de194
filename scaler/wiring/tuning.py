"""Our core on the cells that it may be tuned on, one seed each and nobody beside it: a look, not a result.

    python -m scaler.wiring.tuning                    the 36 cells of the public grid, and the 40 tuning services
    python -m scaler.wiring.tuning grid               the first alone
    python -m scaler.wiring.tuning generated          the others alone
    python -m scaler.wiring.tuning grid code load-600 only cells whose name holds each of these words

Each line is a cell: the share in time, replica-hours over the bound's, direction flips an hour, and the floor that was
advised. Bounds are found once and kept (`compare_store.bounds_folder`). Two processes share the work.
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.outcomes import Outcome, ours_in, outcome_of
from scaler.sim.compare.suites import grid, services
from scaler.wiring.compare_store import kept_bound

TUNING_SEEDS: Final = range(40)
CORES: Final = 2
SEED: Final = 1
SURE: Final = 0.995


def looked_at(cell: Cell) -> tuple[Outcome, ...]:
    """Ours in ``cell``, and again with the floors that it advised where it did."""
    oracle = kept_bound(cell, SEED)
    return ours_in(cell, SEED, lambda job: outcome_of(job, oracle))


def line(outcome: Outcome) -> str:
    """A cell in one line."""
    mark = "  " if outcome.attained >= SHARE else "x "
    reach = "" if outcome.oracle.attained >= SHARE else f" (the bound itself reaches {outcome.oracle.attained:.2%})"
    floor = outcome.job.contender.floor
    advice = f" with advised floor {floor}" if floor is not None else ""
    flips = float(outcome.figures["flips_per_hour"] or 0.0)
    figures = f"{outcome.attained:8.3%} {outcome.ratio:6.3f} flips/h {flips:4.1f}"
    return f"{mark}{figures}  {outcome.job.cell.name}{advice}{reach}"


def summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Cells met, and what they cost."""
    met = [outcome for outcome in outcomes if outcome.attained >= SHARE]
    lowest = min(one.attained for one in outcomes)
    yield f"met {len(met)} of {len(outcomes)}, at 99.5 % {sum(one.attained >= SURE for one in outcomes)}; "
    yield f"lowest {lowest:.2%}; over all cells: median {statistics.median(one.ratio for one in outcomes):.3f}"
    if met:
        ratios = sorted(one.ratio for one in met)
        yield f"; where met: median {statistics.median(ratios):.3f}, mean {statistics.fmean(ratios):.3f}, "
        yield f"largest {ratios[-1]:.3f}"


def main(words: Sequence[str]) -> None:
    """Run the cells that ``words`` name, and print them as they come."""
    suites = {"grid": grid(), "generated": services(TUNING_SEEDS)}
    chosen = [name for name in suites if name in words] or list(suites)
    filters = [word for word in words if word not in suites]
    with ProcessPoolExecutor(CORES) as pool:
        for name in chosen:
            cells = [cell for cell in suites[name] if all(word in cell.name for word in filters)]
            last: list[Outcome] = []
            for outcomes in pool.map(looked_at, cells):
                sys.stdout.write("".join(line(outcome) + "\n" for outcome in outcomes))
                sys.stdout.flush()
                last.append(outcomes[-1])
            if last:
                sys.stdout.write(f"{name}: " + "".join(summary(last)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
