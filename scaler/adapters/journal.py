"""The journal: one JSON line for each decision, with all that it was taken on, in a file that rotates.

A line is written whole and flushed before its commands are carried out. It holds every float in the shortest form
that reads back to the same bits, so deciding again from it can be compared bit for bit.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from scaler.runtime.ports import Record, TransientError

FORMAT: Final = 1
"""Raised whenever a line of before could be read as something else now."""


class JournalError(Exception):
    """The journal cannot be read; the text says which file and line, and what to do."""


class Line(BaseModel):
    """One line. The time and the name stand first, so that a line can be passed over without reading all of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    name: str
    at_s: float
    record: Record


@dataclass(kw_only=True)
class FileJournal:
    """A journal in ``path``, rotated at ``most_bytes`` or ``oldest_s``, of which ``kept`` rotated files stay.

    A rotated file is named for the time of its last record: decisions-20231116T184500Z.jsonl beside decisions.jsonl.
    """

    path: Path
    most_bytes: int = 64 * 2**20
    oldest_s: float = 86_400.0
    kept: int = 8
    _since_s: float | None = field(default=None, init=False)
    _last_s: float = field(default=0.0, init=False)

    def record(self, records: Sequence[Record]) -> None:
        """Append ``records`` and hand them to the operating system. Raises TransientError when that fails."""
        if not records:
            return
        lines = b"".join(_line(record) for record in records)
        try:
            self._rotate_if_due(records[0].plan.at_s, len(lines))
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            raise TransientError(f"the journal {self.path} cannot be written: {error.strerror}") from error
        # The age counts from the first record of the file, as of the records' own time.
        self._since_s = records[0].plan.at_s if self._since_s is None else self._since_s
        self._last_s = records[-1].plan.at_s

    def _rotate_if_due(self, at_s: float, coming_bytes: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._since_s is None and self.path.exists():
            self._resume()
        if self._since_s is None:
            return
        is_full = self.path.stat().st_size + coming_bytes > self.most_bytes
        if is_full or at_s - self._since_s >= self.oldest_s:
            self._rotate()

    def _resume(self) -> None:
        """Take up the file of a former process, from its first decision to its last whole line.

        A line that a crash cut off goes: its commands come after it, so none of them was carried out.
        """
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        os.truncate(self.path, len(whole))
        lines = whole.splitlines()
        if lines:
            self._since_s = _parsed(self.path, 1, lines[0]).at_s
            self._last_s = _parsed(self.path, len(lines), lines[-1]).at_s

    def _rotate(self) -> None:
        stamp = datetime.fromtimestamp(self._last_s, tz=UTC).strftime("%Y%m%dT%H%M%SZ")
        self.path.rename(_unused(self.path.with_name(f"{self.path.stem}-{stamp}{self.path.suffix}")))
        self._since_s = None
        for old in rotated(self.path)[: -self.kept or None]:
            old.unlink()


def _unused(path: Path) -> Path:
    """``path``, or the first of path.1, path.2, … that is free: two rotations may fall into one second."""
    candidates = (path if n == 0 else path.with_name(f"{path.stem}.{n:03}{path.suffix}") for n in range(1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def rotated(path: Path) -> list[Path]:
    """The rotated files of the journal ``path``, oldest first: their names sort by time."""
    return sorted(path.parent.glob(f"{path.stem}-*Z*{path.suffix}"))


def _line(record: Record) -> bytes:
    line = Line(name=record.policy.name, at_s=record.plan.at_s, record=record)
    return line.model_dump_json().encode() + b"\n"


def read(path: Path, name: str | None = None) -> Iterator[Line]:
    """The lines of one file in order, of policy ``name`` only if one is given.

    A last line without its end is being written, or was cut off by a crash, and is left out; any other line that
    cannot be read raises JournalError, as does a file that cannot.
    """
    # A journal of a day is gigabytes with a thousand policies: other policies' lines are passed over unparsed.
    wanted = b"" if name is None else f'{{"format":{FORMAT},"name":{json.dumps(name)},'.encode()
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                if text.startswith(wanted) and text.endswith(b"\n"):
                    yield _parsed(path, number, text)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error


def names(path: Path) -> frozenset[str]:
    """The policies that one file has decisions on, read from the lines' heads alone. Raises JournalError."""
    head = f'{{"format":{FORMAT},"name":'.encode()
    try:
        with path.open("rb") as file:
            heads = {text[len(head) :].partition(b',"at_s":')[0] for text in file if text.startswith(head)}
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    return frozenset(json.loads(name) for name in heads)


def _parsed(path: Path, number: int, text: bytes) -> Line:
    try:
        return Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise JournalError(
            f"{path}, line {number}: not a decision in format {FORMAT} ({where}: {first['msg']}); "
            "read it with the release that wrote it"
        ) from error
