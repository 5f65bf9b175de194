"""What is told of files: documents that were checked, decisions of a journal in words, and decided again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final

from scaler.adapters import journal as journals
from scaler.api.documents import check_files
from scaler.core.explain import explain
from scaler.runtime.ports import Record
from scaler.runtime.retelling import differences, in_force
from scaler.wiring.errors import UserError

JOURNAL_FILE: Final = "decisions.jsonl"

RUNS_FROM_ZERO_S: Final = 86_400.0 * 365
"""No clock of a cluster says 1970; a time within that year counts from the start of an emulated run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check of documents found: the names of the sound ones, and every fault, a line each."""

    names: tuple[str, ...]
    faults: tuple[str, ...]


def validated(files: Sequence[Path]) -> Report:
    """The documents of ``files``, checked."""
    checked = check_files(files)
    names = tuple(f"{document.metadata.namespace}/{document.metadata.name}" for document in checked.policies)
    return Report(names=names, faults=tuple(str(fault) for fault in checked.faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether decisions come out again as they were recorded, and the sentence that says so."""

    agrees: bool
    text: str


def explained(policy: str, at: str | None, journal: Path) -> str:
    """The decision on ``policy`` that was in force at ``at``, in words. Raises UserError."""
    record = _chosen(policy, at, journal)
    return explain(record.plan, record.observation, told_time(record.plan.at_s))


def replayed(policy: str, at: str | None, journal: Path) -> Verdict:
    """Whether the decision at ``at``, or every one of the journal, comes out again. Raises UserError."""
    records = [_chosen(policy, at, journal)] if at is not None else list(_records(_full_name(policy, journal), journal))
    otherwise = [(record, parts) for record in records if (parts := differences(record))]
    if not otherwise:
        return Verdict(agrees=True, text=f"{len(records)} of {len(records)} decisions come out the same again")
    record, parts = otherwise[0]
    first = f"the first at {told_time(record.plan.at_s)}, in {', '.join(parts)}"
    text = f"{len(otherwise)} of {len(records)} decisions come out otherwise; {first}"
    return Verdict(agrees=False, text=text)


def told_time(at_s: float) -> str:
    """A decision's time for people: UTC, or how far into the run where the run counts from zero, as the demo does."""
    moment = datetime.fromtimestamp(at_s, tz=UTC)
    if at_s < RUNS_FROM_ZERO_S:
        return f"{moment:%H:%M:%S} of the run"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _chosen(policy: str, at: str | None, journal: Path) -> Record:
    name = _full_name(policy, journal)
    at_s = None if at is None else _moment_s(at, _last_day(name, journal))
    record = in_force(_records(name, journal), at_s)
    if record is None:
        raise UserError(f"--at {at}: the journal has no decision on {name} so early")
    return record


def _files(journal: Path) -> list[Path]:
    """The journal's files, oldest first. Raises UserError when there is none."""
    path = journal / JOURNAL_FILE if journal.is_dir() else journal
    files = [*journals.rotated(path), *([path] if path.exists() else [])]
    if not files:
        raise UserError(f"--journal {path}: no such journal; `forebay demo` writes one, --journal names another")
    return files


def _records(name: str, journal: Path) -> Iterator[Record]:
    try:
        for path in _files(journal):
            yield from (line.record for line in journals.read(path, name))
    except journals.JournalError as error:
        raise UserError(str(error)) from error


def _full_name(policy: str, journal: Path) -> str:
    """The one policy of the journal that ``policy`` names, with its namespace."""
    try:
        names = sorted({name for path in _files(journal) for name in journals.names(path)})
    except journals.JournalError as error:
        raise UserError(str(error)) from error
    matches = [name for name in names if policy in {name, name.partition("/")[2]}]
    if len(matches) == 1:
        return matches[0]
    has = f"it has {', '.join(names)}" if names else "it is empty"
    problem = "no such policy in the journal" if not matches else "more than one policy has this name"
    raise UserError(f"{policy}: {problem}; {has}")


def _last_day(name: str, journal: Path) -> date:
    last = in_force(_records(name, journal), None)
    return date.min if last is None else datetime.fromtimestamp(last.plan.at_s, tz=UTC).date()


def _moment_s(text: str, day: date) -> float:
    """Seconds since 1970 of a time as people write it; a time of day is meant on ``day``."""
    try:
        return _in_utc(datetime.combine(day, time.fromisoformat(text))).timestamp()
    except ValueError:
        pass
    try:
        return _in_utc(datetime.fromisoformat(text)).timestamp()
    except ValueError as error:
        raise UserError(f"--at {text}: not a time; write 2026-11-22T18:45:00Z or 18:45") from error


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
