"""One line of the bar: what was asked for, whether it is reached, and the figure that says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.standings import Choice, Interval, Standing

THREE_OF_FOUR: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line. ``peer`` is who it is held against, empty where it is nobody.

    ``is_reached`` is None where the suite did not run what it takes to tell.
    """

    line: str
    is_reached: bool | None
    figure: str
    peer: str = ""

    @property
    def said(self) -> str:
        """Whether it is reached, in words."""
        return {True: "reached", False: "not reached", None: "not all was run"}[self.is_reached]


def untold(lines: Iterable[Verdict]) -> list[Verdict]:
    """``lines`` with their figures, but neither reached nor not."""
    return [replace(line, is_reached=None) for line in lines]


def by_cell(standings: Iterable[Standing], policy: str, choice: Choice) -> dict[Cell, Standing]:
    """The standings of one policy by cell."""
    return {each.cell: each for each in standings if each.policy == policy and each.choice is choice}


def beats(ours: Standing, other: Standing) -> bool:
    """Cheaper where both meet the objective; else the one that meets it is the better."""
    if ours.is_met and other.is_met:
        return ours.ratio.value < other.ratio.value
    return ours.is_met


def is_most(part: Sequence[object], whole: Sequence[object]) -> bool:
    """Whether ``part`` is at least three of four of ``whole``."""
    return len(part) >= THREE_OF_FOUR * len(whole)


def told(interval: Interval) -> str:
    """A figure and its interval in words."""
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
