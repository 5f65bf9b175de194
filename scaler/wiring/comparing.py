"""`forebay compare`: runs a suite on all cores, keeps every run, and writes the CSV and the page.

Each run is a file in ``--out`` under a name that all it follows from goes into, so a comparison that was ended goes on
where it was, and one whose sources have changed runs again what they touch and nothing else.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Final, TypeVar

from rich.console import Console

from scaler.sim.compare.bar import verdicts
from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.contenders import STATIC, Contender
from scaler.sim.compare.outcomes import Job, Outcome, ours_in, outcome_of, read_outcome
from scaler.sim.compare.pictures import pictures
from scaler.sim.compare.report import as_csv, as_html
from scaler.sim.compare.search import Tried, cheapest_first, searched, single_of
from scaler.sim.compare.standings import Choice, Record, lines, standings
from scaler.sim.compare.suites import SEEDS, Entry, Part, Thoroughness, generated, public
from scaler.sim.compare.tables import tables, verdict_row
from scaler.sim.generated import TuningSeedError
from scaler.wiring.compare_store import keep, kept, kept_bound
from scaler.wiring.errors import UserError
from scaler.wiring.progress import Progressing, progress_on

CSV: Final = "comparison.csv"
PAGE: Final = "report.html"
SUMMARY: Final = "summary.json"
RUNS: Final = "runs"
TURNS: Final = 4

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")


class Suite(StrEnum):
    """What may be compared on."""

    PUBLIC = "public"
    GENERATED = "generated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The words of the command.

    Every one of ``only`` must be in a cell's part and name. ``seed`` is the first service's of the generated suite, and
    None for the public one.
    """

    suite: Suite
    folder: Path
    only: tuple[str, ...]
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What it came to: the bar, line by line, and the files."""

    rows: tuple[tuple[str, str, str], ...]
    page: Path
    csv: Path


def asked_for(suite: str, folder: Path, only: Iterable[str], seed: int | None) -> Asked:
    """The words of the command, where they go together. Raises UserError."""
    if suite not in set(Suite):
        raise UserError(f"--suite {suite}: must be {' or '.join(Suite)}")
    if (suite == Suite.GENERATED) is (seed is None):
        raise UserError("--seed: must be given with --suite generated, and with no other")
    return Asked(suite=Suite(suite), folder=folder, only=tuple(only), seed=seed)


def compared(asked: Asked, console: Console) -> Told:
    """Run what was asked, as far as it has not been, and write it down. Raises UserError."""
    entries = _entries(asked)
    writable(asked.folder)
    context = multiprocessing.get_context("spawn")  # the progress bar's thread must not be forked
    with progress_on(console) as progress, ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as executor:
        try:
            records = _Comparison(asked.folder, executor, progress).records(entries)
        except BrokenProcessPool as error:
            raise UserError("a process of the comparison was ended from outside; run it again to go on") from error
        except BaseException:
            end(executor)
            raise
    return _written(asked, entries, records)


def _entries(asked: Asked) -> tuple[Entry, ...]:
    try:
        every = public() if asked.seed is None else generated(asked.seed)
    except TuningSeedError as error:
        raise UserError(f"--seed {asked.seed}: {error}") from error
    chosen = tuple(entry for entry in every if all(word in f"{entry.part} {entry.cell.name}" for word in asked.only))
    if not chosen:
        example = f"{every[0].part} {every[0].cell.name}"
        raise UserError(f"--only {' '.join(asked.only)}: must be words in the name of a cell, such as: {example}")
    return chosen


def writable(folder: Path) -> None:
    """Have a place for runs in ``folder``. Raises UserError."""
    try:
        (folder / RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written ({error.strerror})") from error


def end(executor: ProcessPoolExecutor) -> None:
    """Let nothing go on: what is under way is lost, and what is done is kept."""
    executor.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.terminate()


# --- What a process runs -----------------------------------------------------------------------------------------


def outcome_kept(folder: Path, job: Job) -> Outcome:
    """What ``job`` came to, run at most once for a folder."""
    path = folder / RUNS / f"{job.key}.json"
    facts = kept(path)
    if facts is not None:
        return read_outcome(facts)
    outcome = outcome_of(job, kept_bound(job.cell, job.seed))
    keep(path, outcome.facts())
    return outcome


def ours_kept(folder: Path, asked: tuple[Cell, int]) -> tuple[Outcome, ...]:
    """Ours in a cell on a seed, and again with the floor that it advised, where it did."""
    return ours_in(*asked, partial(outcome_kept, folder))


def sweep_kept(folder: Path, asked: tuple[Cell, Thoroughness, str]) -> Tried:
    """The outcomes of a peer in a cell by threshold, on the first seed."""
    cell, search, name = asked

    def run(threshold: float) -> Outcome:
        contender = Contender(name=name, threshold=threshold)
        return outcome_kept(folder, Job(cell=cell, contender=contender, seed=SEEDS[0]))

    return searched(name, cell, search, run)


def best_kept(folder: Path, asked: tuple[Entry, Tried]) -> tuple[Outcome, ...]:
    """The outcomes on all seeds of a cell of the cheapest threshold that attains the share on average over them.

    What only just attains it on the seed of the sweep often does not on others; then the next careful ones have their
    turn. When none of `TURNS` does, it is the one that attains most on the seeds that it was run on.
    """
    entry, tried = asked

    def run(contender: Contender, seed: int) -> Outcome:
        return outcome_kept(folder, Job(cell=entry.cell, contender=contender, seed=seed))

    turns: list[list[Outcome]] = []
    for turn in cheapest_first(tried.values())[:TURNS]:
        turns.append([])
        # Once the share is out of reach the other seeds are not run: the next careful one has its turn.
        while len(turns[-1]) < len(entry.seeds) and _may_attain(turns[-1], len(entry.seeds)):
            turns[-1].append(run(turn.job.contender, entry.seeds[len(turns[-1])]))
        if len(turns[-1]) == len(entry.seeds) and _mean_attained(turns[-1]) >= SHARE:
            return tuple(turns[-1])
    most = max(turns, key=_mean_attained)
    return tuple(run(most[0].job.contender, seed) for seed in entry.seeds)


def _may_attain(outcomes: Sequence[Outcome], seeds: int) -> bool:
    """Whether the mean over ``seeds`` may still be the share, should all others be in time."""
    return sum(one.attained for one in outcomes) + seeds - len(outcomes) >= SHARE * seeds


def _mean_attained(outcomes: Sequence[Outcome]) -> float:
    return fmean(one.attained for one in outcomes)


def bound_kept(asked: tuple[Cell, int]) -> None:
    """Have the bound of a cell on a seed."""
    kept_bound(*asked)


# --- The stages --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The stages of a comparison: bounds, then ours, constants and sweeps, then what the sweeps chose on all seeds."""

    folder: Path
    executor: ProcessPoolExecutor
    progress: Progressing

    def records(self, entries: Sequence[Entry]) -> list[Record]:
        """All runs, by what they are in the comparison for."""
        self._all("bounds", bound_kept, _seeded(entries))
        ours = self._all("forebay", partial(ours_kept, self.folder), _seeded(entries))
        parts = {entry.cell: entry.part for entry in entries}
        records = [_record(parts, Choice.OWN, each) for outcomes in ours for each in outcomes]
        fixed = [
            Job(cell=entry.cell, contender=Contender(name=name), seed=seed)
            for entry in entries
            for name in entry.fixed
            for seed in entry.seeds[:1]
        ]
        records += [_record(parts, Choice.FIXED, each) for each in self._run("constants", fixed)]
        asked = [(entry.cell, entry.search, name) for entry in entries for name in entry.swept]
        swept = dict(zip(asked, self._all("sweeps", partial(sweep_kept, self.folder), asked), strict=True))
        records += [_record(parts, Choice.SWEPT, each) for tried in swept.values() for each in tried.values()]
        best = self._all(Choice.BEST, partial(best_kept, self.folder), _best(entries, swept))
        records += [_record(parts, Choice.BEST, each) for outcomes in best for each in outcomes]
        single = self._run(Choice.SINGLE, _single(entries, swept))
        return records + [_record(parts, Choice.SINGLE, each) for each in single]

    def _run(self, stage: str, jobs: Sequence[Job]) -> list[Outcome]:
        return self._all(stage, partial(outcome_kept, self.folder), jobs)

    def _all(self, stage: str, function: Callable[[Argument], Answer], asked: Sequence[Argument]) -> list[Answer]:
        """The answers in the order of ``asked``. The last are begun first: a suite ends with its longest runs."""
        self.progress.begin(stage, len(asked))
        futures: list[Future[Answer]] = [self.executor.submit(function, each) for each in reversed(asked)]
        for _ in as_completed(futures):
            self.progress.step()
        return [future.result() for future in reversed(futures)]


Swept = dict[tuple[Cell, Thoroughness, str], Tried]


def _seeded(entries: Iterable[Entry]) -> list[tuple[Cell, int]]:
    return [(entry.cell, seed) for entry in entries for seed in entry.seeds]


def _record(parts: dict[Cell, Part], choice: Choice, outcome: Outcome) -> Record:
    return Record(part=parts[outcome.job.cell], choice=choice, outcome=outcome)


def _best(entries: Sequence[Entry], swept: Swept) -> list[tuple[Entry, Tried]]:
    """What was tried of each policy in each cell where its best counts."""
    return [
        (entry, swept[entry.cell, entry.search, name]) for entry in entries if entry.takes_best for name in entry.swept
    ]


def _single(entries: Sequence[Entry], swept: Swept) -> list[Job]:
    """Each peer's one threshold for everything, in all cells, on the first seed."""
    jobs: list[Job] = []
    for name in sorted({name for entry in entries for name in entry.swept} - {STATIC}):
        whole = [swept[key] for key in swept if key[1] is Thoroughness.WHOLE and key[2] == name]
        threshold = single_of(whole)
        contender = Contender(name=name, threshold=threshold)
        chosen = [entry for entry in entries if entry.takes_single and name in entry.swept and threshold is not None]
        jobs += [Job(cell=entry.cell, contender=contender, seed=entry.seeds[0]) for entry in chosen]
    return jobs


# --- What is written ---------------------------------------------------------------------------------------------


def _written(asked: Asked, entries: Sequence[Entry], records: Sequence[Record]) -> Told:
    found = standings(records)
    bar, over = verdicts(found, records), lines(found)
    told = tables(bar, over, found)
    unique = {record.outcome.job: record.outcome for record in records}
    title, note = f"forebay compare --suite {asked.suite}", _note(asked, entries)
    summary = {
        "suite": asked.suite,
        "title": title,
        "note": note,
        "bar": [asdict(each) for each in bar],
        "lines": [asdict(each) for each in over],
        "cells": [asdict(each) for each in found],
        "tables": [each.facts() for each in told],
    }
    files = {
        CSV: as_csv(unique.values()),
        PAGE: as_html(title, note, told, pictures(records, found, over)),
        SUMMARY: json.dumps(summary, indent=1),
    }
    try:
        for name, text in files.items():
            (asked.folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {asked.folder}: cannot be written ({error.strerror})") from error
    return Told(rows=tuple(map(verdict_row, bar)), page=asked.folder / PAGE, csv=asked.folder / CSV)


def _note(asked: Asked, entries: Sequence[Entry]) -> str:
    only = f", of which only those with {' and '.join(asked.only)}" if asked.only else ""
    seeds = ", ".join(str(seed) for seed in sorted({seed for entry in entries for seed in entry.seeds}))
    if asked.suite is Suite.PUBLIC:
        return (
            f"Cells: {len(entries)}{only}; seeds {seeds}. What is in the suite, and why: docs/design/0013-compare.md."
        )
    names = ", ".join(entry.cell.workload for entry in entries)
    return f"Services: {len(entries)}{only}, one seed of arrivals each: {names}."
