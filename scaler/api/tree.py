"""From the bytes of a YAML file to plain mappings, lists and scalars, with whatever is wrong in them on the way.

It goes by YAML's events and builds the tree itself. So it never follows an alias (a few lines of them can stand for
gigabytes), never makes an object of a tag, never recurses deeper than a limit, and sees a key that is there twice.
Plain scalars mean what they mean to kubectl: 22:30 is text, yes is true, and null is as good as left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

import yaml

from scaler.api.rules import Path

MAX_BYTES: Final = 2**20
MAX_DEPTH: Final = 32
MAX_DOCUMENTS: Final = 100

# The parser in C is a hundred times faster; PyYAML may have been built without it.
PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
TRUE: Final = re.compile(r"y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON")
FALSE: Final = re.compile(r"n|N|no|No|NO|false|False|FALSE|off|Off|OFF")
NULL: Final = re.compile(r"|~|null|Null|NULL")
WHOLE: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})")
FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
ODD_NUMBER: Final = re.compile(r"[-+]?(0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9]+_[0-9_]*)")


class UnreadableError(Exception):
    """From here on the file cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something wrong at one place of a document; ``value`` None where there is none worth showing."""

    at: Path
    value: object
    message: str


class Refused:
    """Stands in a tree for a value that a flaw was already found in."""


REFUSED: Final = Refused()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One document: its number in the file from 1, its value (None when there is nothing in it), and its flaws."""

    number: int
    value: object
    flaws: tuple[Flaw, ...]


def trees(raw: bytes) -> Iterator[Tree]:
    """The documents of a file, until the first one that cannot be read to its end (UnreadableError)."""
    events = _events(_text(raw))
    number = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            number += 1
            if number > MAX_DOCUMENTS:
                raise UnreadableError(f"has more than {MAX_DOCUMENTS} documents: split it into several files")
            composer = _Composer(events=events)
            value = composer.value(next(events), ())
            yield Tree(number=number, value=value, flaws=tuple(composer.flaws))


def _text(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise UnreadableError(f"is larger than {MAX_BYTES // 2**20} MiB: split it into several files")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8: byte {error.start + 1} does not belong to a character") from error
    if found := CONTROL.search(text):
        line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
        raise UnreadableError(
            f"holds the control character U+{ord(found[0]):04X} at line {line}, column {column}: remove it"
        )
    return text


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=PARSER)
    except yaml.MarkedYAMLError as error:
        raise UnreadableError(f"is not YAML{_place(error.problem_mark)}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"is not YAML: {' '.join(str(error).split())}") from error


def _place(mark: Any) -> str:
    """Where a mark is; the parsers in C and in Python have different ones."""
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


@dataclass(slots=True, kw_only=True)
class _Composer:
    """Builds the value of one document from ``events``, and goes on past what it refuses."""

    events: Iterator[yaml.Event]
    flaws: list[Flaw] = field(default_factory=list)

    def value(self, event: yaml.Event, at: Path) -> object:
        """The value that begins with ``event`` and is found at ``at``."""
        if len(at) > MAX_DEPTH:
            raise UnreadableError(f"is nested more than {MAX_DEPTH} deep{_place(event.start_mark)}: make it flatter")
        if isinstance(event, yaml.AliasEvent):
            return self.refused(at, None, "must be written out: aliases (*) are not read, because they can explode")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self.note_extras(event, at)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, at)
        return self.mapping(at) if isinstance(event, yaml.MappingStartEvent) else self.sequence(at)

    def note_extras(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, at: Path) -> None:
        """Refuse what YAML can hang on a value and we do not read; the value itself is read on."""
        if event.anchor is not None:
            self.refused(at, None, "must not have an anchor (&): aliases to it are not read")
        if event.tag is not None:
            self.refused(at, None, "must not have a tag (!): write the plain value")

    def refused(self, at: Path, value: object, message: str) -> Refused:
        """Record a flaw; the result stands for the value."""
        self.flaws.append(Flaw(at=at, value=value, message=message))
        return REFUSED

    def sequence(self, at: Path) -> list[object]:
        """The entries up to the end of the list that has just begun."""
        entries: list[object] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            entries.append(self.value(event, (*at, len(entries))))
        return entries

    def mapping(self, at: Path) -> dict[str, object]:
        """The fields up to the end of the mapping that has just begun; a field that is null is left out."""
        fields: dict[str, object] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, at)
            value = self.value(next(self.events), (*at, key))
            if key in lines:
                self.refused((*at, key), None, f"is there twice, at first in line {lines[key]}: remove one")
            elif value is not None:
                fields[key] = value
            lines.setdefault(key, event.start_mark.line + 1 if event.start_mark else 0)
        return fields

    def key(self, event: yaml.Event, at: Path) -> str:
        """The name of a field: its text, whatever a value of that text would be."""
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        if not isinstance(event, yaml.AliasEvent):
            self.value(event, (*at, "?"))
        self.refused(at, None, f"must have text for the name of a field{_place(event.start_mark)}")
        return "?"

    def scalar(self, event: yaml.ScalarEvent, at: Path) -> object:
        """The value of a scalar; only a plain one is anything but text."""
        text = str(event.value)
        if not event.implicit[0]:
            return text
        if NOT_FINITE.fullmatch(text):
            return self.refused(at, text, "must be a finite number")
        if ODD_NUMBER.fullmatch(text):
            return self.refused(at, text, "must be written in plain decimal digits, or in quotes if it is text")
        value = _plain(text)
        if isinstance(value, float) and not isfinite(value):
            return self.refused(at, text, "must be a finite number")
        return value


def _plain(text: str) -> str | int | float | bool | None:
    if NULL.fullmatch(text):
        return None
    if TRUE.fullmatch(text) or FALSE.fullmatch(text):
        return TRUE.fullmatch(text) is not None
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if FLOAT.fullmatch(text) else text
