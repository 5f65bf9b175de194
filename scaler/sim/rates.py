"""How many requests come each second, read from the series that others published: three forms, one answer.

A series says nothing of single requests; `workload` makes those. Times are seconds since the series begins.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim.trace import TraceError

Floats = NDArray[np.float64]

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400
WINDOW_S: Final = 6 * 3600
SMOOTH_S: Final = 180
RISE_S: Final = 300
"""A rise is measured over 5 minutes of the rate smoothed over 3, as the table of the traces' shapes measures ramps."""

LEAST_ROWS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """Requests a second for every second of a span, and the size of the noise that one minute has on top."""

    name: str
    rps: Floats
    sd_rps: Floats

    @property
    def span_s(self) -> float:
        """How long the series is."""
        return float(len(self.rps))

    @property
    def mean_rps(self) -> float:
        """Requests a second over the whole span, without the noise."""
        return float(self.rps.mean())

    def within(self, window: "Window") -> "Rates":
        """The part in ``window``. Raises TraceError where the series does not hold it."""
        if not 0 <= window.from_s < window.until_s <= len(self.rps):
            raise TraceError(
                f"{self.name}: the window from {window.from_s} to {window.until_s} s must lie in {len(self.rps)} s"
            )
        part = slice(window.from_s, window.until_s)
        return Rates(name=self.name, rps=self.rps[part], sd_rps=self.sd_rps[part])

    def times(self, factor: float) -> "Rates":
        """The same shape with ``factor`` times the traffic; its noise grows in step, as it is traffic too."""
        return Rates(name=self.name, rps=self.rps * factor, sd_rps=self.sd_rps * factor)


# --- Windows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a series, in whole seconds."""

    from_s: int
    until_s: int


def steepest(rates: Rates, span_s: int = WINDOW_S) -> Window:
    """The ``span_s`` around the steepest rise, which is in the middle unless the series begins or ends before."""
    smooth = np.convolve(rates.rps, np.full(SMOOTH_S, 1.0 / SMOOTH_S), mode="valid")
    rise_at_s = int(np.argmax(smooth[RISE_S:] - smooth[:-RISE_S])) + (SMOOTH_S + RISE_S) // 2
    from_s = min(max(rise_at_s - span_s // 2, 0), len(rates.rps) - span_s)
    return Window(from_s=from_s, until_s=from_s + span_s)


def day(number: int) -> Window:
    """Day ``number`` of a series, counted from 0."""
    return Window(from_s=number * DAY_S, until_s=(number + 1) * DAY_S)


# --- The three forms ---------------------------------------------------------------------------------------------

Columns = Mapping[str, Floats]
Reader = Callable[[str, Columns, float], Rates]


def is_series(text: str) -> bool:
    """Whether the first line of ``text`` is that of a series."""
    return tuple(text.partition("\n")[0].strip().split(",")) in FORMS


def parsed_rates(name: str, text: str, prompt_tokens_mean: float) -> Rates:
    """The series in ``text``, which `is_series`; ``name`` is what faults are reported under.

    ``prompt_tokens_mean`` turns prompt tokens into requests, where that is what the series counts.
    """
    lines = text.splitlines()
    header = tuple(lines[0].strip().split(","))
    columns = _columns(name, header, lines)
    return FORMS[header](name, columns, prompt_tokens_mean)


def _columns(name: str, header: tuple[str, ...], lines: list[str]) -> Columns:
    rows = [_row(f"{name}: line {number}", header, row) for number, row in enumerate(csv.reader(lines[1:]), start=2)]
    if len(rows) < LEAST_ROWS:
        raise TraceError(f"{name}: line {len(rows) + 2}: must be a row of a series, which has at least {LEAST_ROWS}")
    table = np.array(rows, dtype=np.float64)
    backwards = np.flatnonzero(np.diff(table[:, 0]) <= 0.0)
    if len(backwards):
        raise TraceError(f"{name}: line {backwards[0] + 3}: {header[0]} must be after that of the line above")
    return {column: table[:, place] for place, column in enumerate(header)}


def _row(where: str, header: tuple[str, ...], row: list[str]) -> list[float]:
    if len(row) != len(header):
        raise TraceError(f"{where}: must have {len(header)} columns and has {len(row)}")
    return [_number(where, column, text) for column, text in zip(header, row, strict=True)]


def _number(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    # Written so that NaN, which compares false with everything, is refused as well.
    if not 0.0 <= value < np.inf:
        raise TraceError(f"{where}: {column} = {text}: must be a number of at least 0")
    return value


def _per_minute(name: str, columns: Columns, prompt_tokens_mean: float) -> Rates:
    """Requests a minute at points of time, with the noise of one minute at each (azure2024)."""
    del prompt_tokens_mean
    at_s = columns["minute"] * MINUTE_S
    span_s = _span_s(at_s)
    return Rates(
        name=name,
        rps=_each_second(at_s, columns["mid"] / MINUTE_S, span_s),
        sd_rps=_each_second(at_s, columns["sd1m"] / MINUTE_S, span_s),
    )


def _means(name: str, columns: Columns, prompt_tokens_mean: float) -> Rates:
    """Requests a second as the mean of the bin that begins at t (ServeGen)."""
    del prompt_tokens_mean
    return _binned(name, columns["t"], columns["rps"])


def _prompt_tokens(name: str, columns: Columns, prompt_tokens_mean: float) -> Rates:
    """Prompt tokens of each minute (C_prod)."""
    return _binned(name, columns["minute"] * MINUTE_S, columns["prompt_tokens"] / prompt_tokens_mean / MINUTE_S)


def _binned(name: str, begins_s: Floats, rps: Floats) -> Rates:
    """Bins by their beginnings: the mean of a bin stands in its middle."""
    span_s = _span_s(begins_s)
    middle_s = (begins_s + np.append(begins_s[1:], span_s)) / 2.0
    return Rates(name=name, rps=_each_second(middle_s, rps, span_s), sd_rps=np.zeros(span_s))


def _span_s(at_s: Floats) -> int:
    """Until one step after the last."""
    return round(2.0 * float(at_s[-1]) - float(at_s[-2]))


def _each_second(at_s: Floats, rps: Floats, span_s: int) -> Floats:
    return np.asarray(np.interp(np.arange(span_s) + 0.5, at_s, rps), dtype=np.float64)


FORMS: Final[Mapping[tuple[str, ...], Reader]] = {
    ("minute", "lo", "mid", "hi", "sd1m"): _per_minute,
    ("t", "rps"): _means,
    ("minute", "prompt_tokens"): _prompt_tokens,
}
"""Header of a file, and who reads it."""
