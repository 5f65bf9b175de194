"""What a run looks like in a terminal while it goes on, and in plain lines where there is none."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scaler.embedded.moments import Moment

DECISIONS_SHOWN: Final = 5
HISTORY_SHOWN: Final = 60
BLOCKS: Final = " ▁▂▃▄▅▆▇█"
PLAIN_EVERY_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is shown of a run at one time.

    ``done`` is the share of it that is over, ``left_s`` how long whoever watches has still to wait.
    """

    title: str
    moment: Moment
    done: float
    left_s: float
    objective_s: float


class View(Protocol):
    """Shows frames, one after the other."""

    def show(self, frame: Frame) -> None:
        """Show ``frame``; it is drawn in place of the one before, or below it."""
        ...

    def close(self) -> None:
        """Give the terminal back."""
        ...


@dataclass
class LiveView:
    """The run on a terminal, drawn over itself."""

    console: Console
    _history: deque[Moment] = field(default_factory=lambda: deque(maxlen=HISTORY_SHOWN), init=False)
    _told: deque[Moment] = field(default_factory=lambda: deque(maxlen=DECISIONS_SHOWN), init=False)
    _live: Live = field(init=False)

    def __post_init__(self) -> None:
        self._live = Live(console=self.console, refresh_per_second=8, transient=True)
        self._live.start()

    def show(self, frame: Frame) -> None:
        """Draw ``frame``."""
        self._history.append(frame.moment)
        if frame.moment.has_changed:
            self._told.append(frame.moment)
        self._live.update(_drawn(frame, self._history, self._told))

    def close(self) -> None:
        """Take the drawing away."""
        self._live.stop()


@dataclass
class PlainView:
    """The run as lines: each decision that told something, and the state every five minutes."""

    console: Console
    _said_at_s: float = field(default=-PLAIN_EVERY_S, init=False)

    def show(self, frame: Frame) -> None:
        """Print what is new in ``frame``, if anything."""
        moment = frame.moment
        if moment.at_s - self._said_at_s >= PLAIN_EVERY_S:
            self._said_at_s = moment.at_s
            self._print(moment, _state_words(moment, frame.objective_s))
        if moment.has_changed:
            self._print(moment, moment.told)

    def _print(self, moment: Moment, words: str) -> None:
        self.console.print(f"{clock(moment.at_s)}  {words}", soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Nothing is left to do: every line is out."""


def clock(at_s: float) -> str:
    """Seconds since the start as 00:15:30."""
    minutes, seconds = divmod(int(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}"


def _state_words(moment: Moment, objective_s: float) -> str:
    return (
        f"{moment.running:.0f} running and {moment.waiting:.0f} waiting requests; {moment.ready} ready, "
        f"{moment.starting} starting, {moment.stuck} without room, target {moment.target}; "
        f"TTFT p95 {_seconds(moment.ttft_s)} of {objective_s:g} s; load time {_load_words(moment)}"
    )


def _seconds(value_s: float | None) -> str:
    return "unknown" if value_s is None else f"{value_s:.2f} s"


def _load_words(moment: Moment) -> str:
    measured = f"{moment.starts_measured} starts measured" if moment.starts_measured else "expected, not measured yet"
    return f"{moment.load_p50_s:.0f} s, 90 % within {moment.load_p90_s:.0f} s ({measured})"


def _drawn(frame: Frame, history: Sequence[Moment], told: Sequence[Moment]) -> RenderableType:
    return Panel(
        Group(_progress(frame), Text(), _now(frame, history), Text(), _decisions(told)),
        title=frame.title,
        title_align="left",
    )


def _progress(frame: Frame) -> Table:
    row = Table.grid(expand=True, padding=(0, 2))
    row.add_column()
    row.add_column(ratio=1)
    row.add_column(justify="right")
    bar = ProgressBar(total=1.0, completed=frame.done)
    row.add_row(clock(frame.moment.at_s), bar, f"{frame.left_s:.0f} s left, Ctrl-C ends it")
    return row


def _now(frame: Frame, history: Sequence[Moment]) -> Table:
    moment = frame.moment
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(min_width=34)
    table.add_column(no_wrap=True)
    in_flight = [each.running + each.waiting for each in history]
    demand = f"{moment.running:.0f} running, {moment.waiting:.0f} waiting"
    table.add_row("demand", demand if moment.is_known else Text(f"{demand}, not all seen", "yellow"), spark(in_flight))
    table.add_row("replicas", _replicas(moment), spark([float(each.ready) for each in history]))
    ttft = [each.ttft_s or 0.0 for each in history]
    table.add_row("TTFT p95", _ttft(moment, frame.objective_s), spark(ttft))
    table.add_row("load time", _load_words(moment))
    return table


def _replicas(moment: Moment) -> Text:
    text = Text()
    text.append("■" * moment.ready, "green")
    text.append("■" * moment.starting, "yellow")
    text.append("■" * moment.stuck, "red")
    text.append(f" {moment.ready} ready, {moment.starting} starting, target {moment.target}")
    if moment.stuck:
        text.append(f", {moment.stuck} without room", "red")
    return text


def _ttft(moment: Moment, objective_s: float) -> Text:
    is_kept = moment.ttft_s is None or moment.ttft_s <= objective_s
    return Text(f"{_seconds(moment.ttft_s)}, objective {objective_s:g} s", "green" if is_kept else "red")


def spark(values: Sequence[float]) -> str:
    """The course of ``values`` as a line of blocks, from zero to their highest."""
    top = max(values, default=0.0)
    if top <= 0.0:
        return BLOCKS[0] * len(values)
    return "".join(BLOCKS[round(value / top * (len(BLOCKS) - 1))] for value in values)


def _decisions(told: Sequence[Moment]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for moment in told:
        table.add_row(clock(moment.at_s), moment.told)
    if not told:
        table.add_row("", "nothing had to change yet")
    return table
