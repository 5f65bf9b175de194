"""Requests as they came: when, and how many tokens each read and wrote."""

import csv
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

HEADER: Final = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
SHIPPED: Final = "azure2023_conv.csv.xz"
MOST_TOKENS: Final = 10_000_000
MOST_DIGITS: Final = len(str(MOST_TOKENS))
MOST_FACTOR: Final = 1000.0
SHIFT_S: Final = 5.0


class TraceError(Exception):
    """A trace that cannot be used; the message names file, line and limit in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Requests in the order of arrival; ``arrival_s`` counts from 0. The arrays are read-only and of one length."""

    name: str
    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]

    def __post_init__(self) -> None:
        for column in (self.arrival_s, self.prompt_tokens, self.output_tokens):
            column.setflags(write=False)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def duration_s(self) -> float:
        """From the first request to the last."""
        return float(self.arrival_s[-1]) if len(self) else 0.0


def shipped() -> Trace:
    """The hour of Azure's 2023 conversation trace that comes with the package: 19,366 requests in 58 minutes."""
    packed = (resources.files("scaler.sim") / "traces" / SHIPPED).read_bytes()
    return parsed("azure2023-conv", lzma.decompress(packed).decode("utf-8"))


def load(path: Path) -> Trace:
    """The trace in a CSV file of the Azure 2023 form. Raises TraceError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: is not UTF-8 text") from error
    return parsed(str(path), text)


def parsed(name: str, text: str) -> Trace:
    """The trace in ``text``; ``name`` is what faults are reported under."""
    lines = text.splitlines()
    if not lines or lines[0].split(",") != HEADER:
        raise TraceError(f"{name}: line 1: must be {','.join(HEADER)}")
    rows = list(rows_of(name, lines))
    if not rows:
        raise TraceError(f"{name}: line 2: must be a request, and there is none")
    at = np.array([row[0] for row in rows], dtype="datetime64[ns]")
    out_of_order = np.flatnonzero(np.diff(at) < np.timedelta64(0, "ns"))
    if len(out_of_order):
        raise TraceError(f"{name}: line {out_of_order[0] + 3}: TIMESTAMP must not be before the line above")
    return Trace(
        name=name,
        arrival_s=(at - at[0]).astype(np.int64) / 1e9,
        prompt_tokens=np.array([row[1] for row in rows], dtype=np.int32),
        output_tokens=np.array([row[2] for row in rows], dtype=np.int32),
    )


def rows_of(name: str, lines: list[str]) -> Iterator[tuple[np.datetime64, int, int]]:
    """The requests below the header, each checked."""
    for number, row in enumerate(csv.reader(lines[1:]), start=2):
        where = f"{name}: line {number}"
        if len(row) != len(HEADER):
            raise TraceError(f"{where}: must have {len(HEADER)} columns and has {len(row)}")
        yield instant(where, row[0]), tokens(where, HEADER[1], row[1]), tokens(where, HEADER[2], row[2])


def instant(where: str, text: str) -> np.datetime64:
    """The time that ``text`` gives."""
    try:
        at = np.datetime64(text.strip(), "ns")
    except ValueError as error:
        raise TraceError(f"{where}: TIMESTAMP = {text}: must be a time such as 2023-11-16 18:15:46.68") from error
    if np.isnat(at):
        raise TraceError(f"{where}: TIMESTAMP = {text}: must be a time such as 2023-11-16 18:15:46.68")
    return at


def tokens(where: str, column: str, text: str) -> int:
    """The number of tokens that ``text`` gives."""
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS and 1 <= int(text) <= MOST_TOKENS):
        raise TraceError(f"{where}: {column} = {text}: must be a whole number from 1 to {MOST_TOKENS}")
    return int(text)


def scaled(trace: Trace, factor: float, seed: int) -> Trace:
    """``trace`` with ``factor`` times the traffic, over the same span.

    The whole part of the factor is that many copies laid over each other, the rest a copy in which each request stays
    with that chance (so a factor under 1 only thins). The first whole copy is the trace itself. Every other one is
    moved by up to 5 s, wrapping round at the end, and deals its pairs of prompt and output out anew: whatever lasts
    longer than some seconds keeps its shape and grows by the factor, while arrivals and long prompts do not repeat in
    step. Below the shift, bursts are somewhat smoother than in a trace whose every burst grew.
    """
    if not 0.0 < factor <= MOST_FACTOR:
        raise TraceError(f"factor = {factor}: must be above 0 and at most {MOST_FACTOR:g}")
    generator = np.random.Generator(np.random.PCG64(seed))
    whole = int(factor)
    copies = [trace] * min(whole, 1) + [moved(trace, generator) for _ in range(whole - 1)]
    if factor > whole:
        copies.append(thinned(moved(trace, generator) if whole else trace, factor - whole, generator))
    arrival_s = np.concatenate([copy.arrival_s for copy in copies])
    order = np.argsort(arrival_s, kind="stable")
    return Trace(
        name=trace.name,
        arrival_s=arrival_s[order],
        prompt_tokens=np.concatenate([copy.prompt_tokens for copy in copies])[order],
        output_tokens=np.concatenate([copy.output_tokens for copy in copies])[order],
    )


def moved(trace: Trace, generator: np.random.Generator) -> Trace:
    """``trace`` later by up to 5 s, the end wrapped to the start, with its lengths dealt out anew in pairs."""
    span_s = trace.duration_s or 1.0
    arrival_s = np.sort((trace.arrival_s + round(generator.random() * SHIFT_S, 3)) % span_s)
    deal = generator.permutation(len(trace))
    return Trace(
        name=trace.name,
        arrival_s=arrival_s,
        prompt_tokens=trace.prompt_tokens[deal],
        output_tokens=trace.output_tokens[deal],
    )


def thinned(trace: Trace, share: float, generator: np.random.Generator) -> Trace:
    """``trace`` with each request kept with chance ``share``."""
    kept = generator.random(len(trace)) < share
    return Trace(
        name=trace.name,
        arrival_s=trace.arrival_s[kept],
        prompt_tokens=trace.prompt_tokens[kept],
        output_tokens=trace.output_tokens[kept],
    )
