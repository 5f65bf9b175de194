"""The comparison's tables, in words: the page and the documents print the same rows."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.contenders import OURS
from scaler.sim.compare.standings import Choice, Line, Standing
from scaler.sim.compare.suites import Part
from scaler.sim.compare.verdict import Verdict, told

Row = tuple[str, ...]

BAR_HEAD: Final = ("line", "verdict", "figure")
LINE_HEAD: Final = (
    *("policy", "threshold", "cells met", "lowest in time"),
    *("times the bound's, median where met (95 %)", "most", "flips an hour, most"),
)
CELL_HEAD: Final = (
    *("cell", "in time (95 %)", "times the bound's (95 %)", "floor advised", "flips an hour, most"),
    "the cheapest of the others, in hindsight",
)
NONE_MET: Final = "none met"
CELLS: Final = "Every cell of Forebay"
REACH_HEAD: Final = ("cell", "the bound, in time", "Forebay, in time", "floor advised")
CHOICES: Final = (Choice.OWN, Choice.BEST, Choice.SINGLE, Choice.FIXED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in words."""

    title: str
    head: Row
    rows: tuple[Row, ...]

    def facts(self) -> dict[str, Any]:
        """The fields, for a file."""
        return {"title": self.title, "head": self.head, "rows": self.rows}


def read_table(facts: Mapping[str, Any]) -> Table:
    """The table that `Table.facts` wrote. Raises KeyError where it is none."""
    return Table(title=facts["title"], head=tuple(facts["head"]), rows=tuple(map(tuple, facts["rows"])))


def tables(verdicts: Sequence[Verdict], lines: Sequence[Line], standings: Sequence[Standing]) -> tuple[Table, ...]:
    """All tables that have a row."""
    every = (_bar(verdicts), _peers(verdicts), *_parts(lines), *_cells(standings), _unreached(standings))
    return tuple(table for table in every if table.rows)


def verdict_row(verdict: Verdict) -> tuple[str, str, str]:
    """A line of the bar in words."""
    return f"{verdict.peer} {verdict.line}".strip(), verdict.said, verdict.figure


def _bar(verdicts: Iterable[Verdict]) -> Table:
    rows = tuple(verdict_row(verdict) for verdict in verdicts if not verdict.peer)
    return Table(title="The bar", head=BAR_HEAD, rows=rows)


def _peers(verdicts: Iterable[Verdict]) -> Table:
    """A row for each peer, a column for each line that is held against it."""
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    for verdict in verdicts:
        if verdict.peer:
            cells[verdict.peer][verdict.line] = f"{verdict.said}: {verdict.figure}"
    asked = list(dict.fromkeys(line for found in cells.values() for line in found))
    rows = tuple((peer, *(found.get(line, "") for line in asked)) for peer, found in cells.items())
    return Table(title="The bar: against each peer", head=("peer", *asked), rows=rows)


def _parts(lines: Sequence[Line]) -> Iterator[Table]:
    for part in Part:
        here = sorted((line for line in lines if line.part is part), key=_place)
        yield Table(title=f"Over the cells: {part}", head=LINE_HEAD, rows=tuple(map(line_row, here)))


def _place(line: Line) -> tuple[int, int, float]:
    """Ours first, then by how the threshold was come by, those that meet most before the others."""
    return CHOICES.index(line.choice), -line.met, line.ratio.value if line.ratio else 0.0


def line_row(line: Line) -> Row:
    """A policy over a part in words."""
    ratio = NONE_MET if line.ratio is None else told(line.ratio)
    most = "" if line.most is None else f"{line.most:.2f}"
    met = f"{line.met} of {line.cells}"
    return line.policy, line.choice, met, f"{line.lowest:.1%}", ratio, most, f"{line.flips_per_hour:.1f}"


def _cells(standings: Sequence[Standing]) -> Iterator[Table]:
    others: dict[Cell, list[Standing]] = defaultdict(list)
    for each in standings:
        if each.policy != OURS and each.choice in {Choice.BEST, Choice.FIXED}:
            others[each.cell].append(each)
    for part in Part:
        rows = tuple(_cell_row(each, others[each.cell]) for each in _ours(standings) if each.part is part)
        yield Table(title=f"{CELLS}: {part}", head=CELL_HEAD, rows=rows)


def _ours(standings: Iterable[Standing]) -> list[Standing]:
    return sorted((each for each in standings if each.policy == OURS), key=lambda each: each.cell)


def _cell_row(each: Standing, others: Sequence[Standing]) -> Row:
    in_time = f"{each.attained.value:.2%} ({each.attained.low:.2%} to {each.attained.high:.2%})"
    cheapest = min((other for other in others if other.is_met), key=lambda other: other.ratio.value, default=None)
    beside = "" if cheapest is None else f"{cheapest.policy} at {cheapest.ratio.value:.2f}"
    floor, flips = _floor(each), f"{each.flips_per_hour:.1f}"
    return each.cell.name, in_time, told(each.ratio), floor, flips, beside or "none meets it"


def _floor(each: Standing) -> str:
    return "" if each.floor is None else f"{each.floor}"


def _unreached(standings: Sequence[Standing]) -> Table:
    rows = tuple(
        (each.cell.name, f"{each.reach:.2%}", f"{each.attained.value:.2%}", _floor(each))
        for each in _ours(standings)
        if not each.is_reachable
    )
    return Table(title=f"Where the bound itself does not reach {SHARE:.0%}", head=REACH_HEAD, rows=rows)


def as_markdown(table: Table, level: int = 3) -> str:
    """The table as Markdown, under a heading of this level."""
    rule = "|".join("--:" if _is_numeric(table, column) else "--" for column in range(len(table.head)))
    rows = "\n".join(_line(row) for row in table.rows)
    return f"{'#' * level} {table.title}\n\n{_line(table.head)}\n|{rule}|\n{rows}\n"


def _line(row: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _is_numeric(table: Table, column: int) -> bool:
    return all(is_number(row[column]) for row in table.rows)


def is_number(text: str) -> bool:
    """Whether a cell is set as a number: it has one, perhaps with its interval, or stands where there is none."""
    words = text.replace(NONE_MET, "").replace(" to ", " ").replace(" of ", " ")
    return not any(letter.isalpha() for letter in words)
