"""What each idea of the core is worth: ours with one of them taken out at a time, on cells that it may be tuned on.

    python -m scaler.wiring.ablation DIR            every idea
    python -m scaler.wiring.ablation DIR hold prior only those whose name holds one of these words

The 36 cells of the public grid and the first 16 tuning services, one seed, all cores. Each run is kept in DIR/runs, as
those of `forebay compare` are, so it goes on where it was ended; DIR/ablation.json has the table, and
`python -m scaler.wiring.tables DIR` prints it as Markdown.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from rich.console import Console

from scaler.sim.compare.ablation import IDEAS, NOTHING, SEED, Idea, without
from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.outcomes import OUR_SOURCES, Job, Outcome, digest, ours_in, outcome_of, read_outcome
from scaler.sim.compare.suites import SWEPT_SERVICES, grid, services
from scaler.sim.compare.tables import NONE_MET, Table, as_markdown
from scaler.wiring.compare_store import keep, kept, kept_bound
from scaler.wiring.comparing import RUNS, end, outcome_kept, writable
from scaler.wiring.errors import UserError
from scaler.wiring.progress import progress_on

ABLATION: Final = "ablation.json"
SOURCES: Final = (*OUR_SOURCES, "sim/compare/ablation.py")
CELLS: Final = {"the grid": grid(), "tuning services": services(range(SWEPT_SERVICES))}
HEAD: Final = (
    *("taken out", "instead", "cells met", "times the bound's, median where met"),
    *("replica-hours beside the whole, median", "lowest in time", "flips an hour, mean", "most"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What ours came to without an idea on some cells.

    ``ratio`` is the median of replica-hours over the bound's where met (None where nothing is), ``beside`` the median
    over all cells of replica-hours over those of the whole core.
    """

    idea: str
    cells: str
    met: int
    of: int
    ratio: float | None
    beside: float
    lowest: float
    flips_mean: float
    flips_most: float


def ablated_kept(folder: Path, asked: tuple[Idea, Cell]) -> Outcome:
    """Ours without an idea in a cell, with the floor that it advises where it does; run at most once for a folder."""
    idea, cell = asked
    run = partial(outcome_kept, folder) if idea == NOTHING else partial(_outcome_kept, folder, idea)
    return ours_in(cell, SEED, run)[-1]


def _outcome_kept(folder: Path, idea: Idea, job: Job) -> Outcome:
    asked = {"cell": job.cell.facts(), "seed": job.seed, **job.contender.facts(), "without": idea.name}
    path = folder / RUNS / f"{digest(asked, SOURCES)}.json"
    facts = kept(path)
    if facts is not None:
        return read_outcome(facts)
    oracle = kept_bound(job.cell, job.seed)
    with without(idea, job.cell):
        outcome = outcome_of(job, oracle)
    keep(path, outcome.facts() | {"without": idea.name})
    return outcome


def _by_name(folder: Path, asked: tuple[str, Cell]) -> Outcome:
    """As `ablated_kept`, for a process of its own: a name goes there, functions do not."""
    ideas = {idea.name: idea for idea in (NOTHING, *IDEAS)}
    return ablated_kept(folder, (ideas[asked[0]], asked[1]))


def ablated(folder: Path, ideas: Sequence[Idea], console: Console) -> tuple[Worth, ...]:
    """What the core is worth whole, and without each of ``ideas``."""
    asked = [(idea.name, cell) for idea in (NOTHING, *ideas) for cells in CELLS.values() for cell in cells]
    context = multiprocessing.get_context("spawn")  # the progress bar's thread must not be forked
    with progress_on(console) as progress, ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as executor:
        progress.begin("runs", len(asked))
        futures: dict[tuple[str, Cell], Future[Outcome]] = {
            each: executor.submit(_by_name, folder, each) for each in asked
        }
        try:
            for _ in as_completed(futures.values()):
                progress.step()
            outcomes = {each: future.result() for each, future in futures.items()}
        except BaseException:
            end(executor)
            raise
    return tuple(
        worth_of(
            idea.name, name, [outcomes[idea.name, cell] for cell in cells], [outcomes[NOTHING.name, c] for c in cells]
        )
        for name, cells in CELLS.items()
        for idea in (NOTHING, *ideas)
    )


def worth_of(idea: str, cells: str, outcomes: Sequence[Outcome], whole: Sequence[Outcome]) -> Worth:
    """What ``outcomes`` without ``idea`` come to beside those of the ``whole`` core, cell by cell."""
    met = [one.ratio for one in outcomes if one.attained >= SHARE]
    flips = [float(one.figures["flips_per_hour"] or 0.0) for one in outcomes]
    return Worth(
        idea=idea,
        cells=cells,
        met=len(met),
        of=len(outcomes),
        ratio=median(met) if met else None,
        beside=median(one.replica_hours / other.replica_hours for one, other in zip(outcomes, whole, strict=True)),
        lowest=min(one.attained for one in outcomes),
        flips_mean=fmean(flips),
        flips_most=max(flips),
    )


def table_of(name: str, worths: Sequence[Worth]) -> Table:
    """What each idea is worth on the cells called ``name``."""
    instead = {idea.name: idea.instead for idea in (NOTHING, *IDEAS)}
    rows = tuple(
        (
            *(worth.idea, instead[worth.idea], f"{worth.met} of {worth.of}"),
            *(NONE_MET if worth.ratio is None else f"{worth.ratio:.3f}", f"{worth.beside:.3f}"),
            *(f"{worth.lowest:.1%}", f"{worth.flips_mean:.2f}", f"{worth.flips_most:.1f}"),
        )
        for worth in worths
        if worth.cells == name
    )
    return Table(title=f"What each idea is worth: {name}", head=HEAD, rows=rows)


def main(words: Sequence[str]) -> None:
    """Run what ``words`` ask for, write it down and print it."""
    if not words:
        raise UserError("a folder must be named: python -m scaler.wiring.ablation DIR [WORD...]")
    folder, wanted = Path(words[0]), words[1:]
    ideas = [idea for idea in IDEAS if not wanted or any(word in idea.name for word in wanted)]
    if not ideas:
        raise UserError(f"{' '.join(wanted)}: must be in the name of an idea: {', '.join(idea.name for idea in IDEAS)}")
    writable(folder)
    worths = ablated(folder, ideas, Console(stderr=True))
    tables = [table_of(name, worths) for name in CELLS]
    facts: dict[str, Any] = {
        "suite": "ablation",
        "title": "python -m scaler.wiring.ablation",
        "note": "Forebay with one idea taken out at a time, on one seed, with the floor that it then advises.",
        "worths": [asdict(worth) for worth in worths],
        "tables": [table.facts() for table in tables],
    }
    (folder / ABLATION).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    sys.stdout.write("\n".join(map(as_markdown, tables)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # what is done is kept
