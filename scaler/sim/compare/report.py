"""The comparison as files: a CSV with a row for each run, and one HTML page that opens without a network."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scaler.sim.compare.bar import Verdict
from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.contenders import OURS, PEERS, STATIC
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.standings import Choice, Interval, Line, Record, Standing
from scaler.sim.compare.suites import Part

COLUMNS: Final = (
    *("workload", "load_s", "pool", "policy", "threshold", "seed", "attained", "p99_ttft_s"),
    *("failed", "replica_hours", "oracle_replica_hours", "scale_events", "flips"),
)
USUAL_ENGINE: Final = "llama-3.1-8b/H100"
COLORS: Final = (
    *("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#994455", "#997700"),
    "#6699cc",
)
"""Paul Tol's bright scheme and part of his medium contrast one, which people who are colour-blind can tell apart."""

LOWEST_DRAWN: Final = 0.90
COLUMNS_DRAWN: Final = 4
ROW_PIXELS: Final = 330

ABOUT_FRONTIERS: Final = (
    "Share in time against replica-hours over the bound's. Lines are the sweeps of one seed; the points with bars are "
    "ours and the constants over all seeds, with 95 % bootstrap intervals."
)
STYLE: Final = """body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:14px}td,th{padding:.25em .7em;border-bottom:1px solid #ddd}
th{text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}.yes{color:#228833}.no{color:#bb3344}"""


# --- The CSV -----------------------------------------------------------------------------------------------------


def as_csv(outcomes: Iterable[Outcome]) -> str:
    """A row for each run, in order. ``threshold`` and ``p99_ttft_s`` are empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(map(_row, outcomes), key=lambda row: [str(value) for value in row]))
    return text.getvalue()


def _row(outcome: Outcome) -> tuple[str | float | int | None, ...]:
    job, figures = outcome.job, outcome.figures
    floor = "" if job.contender.floor is None else f"+floor-{job.contender.floor}"
    return (
        *(workload_of(job.cell), job.cell.load_s, job.cell.pool),
        *(job.contender.name + floor, job.contender.threshold, job.seed),
        *(figures["attained"], figures["ttft_p99_s"], figures["failed"], figures["replica_hours"]),
        *(outcome.oracle.replica_hours, figures["scale_events"], figures["flips"]),
    )


def workload_of(cell: Cell) -> str:
    """The workload with its window and engine, where they are not the usual ones."""
    window = "" if cell.window == "rise" else f" {cell.window}"
    engine = "" if cell.engine == USUAL_ENGINE else f" {cell.engine}"
    return cell.workload + window + engine


# --- The page ----------------------------------------------------------------------------------------------------


def as_html(
    title: str,
    note: str,
    verdicts: Sequence[Verdict],
    lines: Sequence[Line],
    standings: Sequence[Standing],
    records: Sequence[Record],
) -> str:
    """The page: the bar, a table of each part, the frontier of each workload, and each cell of ours."""
    parts = [
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><p>{escape(note)}</p>",
        "<h2>The bar</h2>" + table(("line", "", "figure"), map(verdict_row, verdicts)),
        *_part_tables(lines),
        f"<h2>Frontiers</h2><p>{ABOUT_FRONTIERS}</p>",
        *_frontiers(records, standings),
        "<h2>Every cell of ours</h2>" + table(CELL_HEAD, map(_cell_row, _ours(standings))),
        "</body></html>",
    ]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; cells that begin with a digit or a minus are set as numbers."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(map(_td, row)) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _td(text: str) -> str:
    shade = {"reached": "yes", "not reached": "no"}.get(text, "n" if text[:1].isdigit() else "")
    return f'<td class="{shade}">{escape(text)}</td>'


def verdict_row(verdict: Verdict) -> tuple[str, str, str]:
    """A line of the bar in words."""
    said = {True: "reached", False: "not reached", None: "not all was run"}[verdict.is_reached]
    return verdict.line, said, verdict.figure


LINE_HEAD: Final = ("policy", "threshold", "cells met", "lowest in time", "ratio, median where met", "most", "flips/h")


def _part_tables(lines: Sequence[Line]) -> Iterator[str]:
    for part in Part:
        here = [line for line in lines if line.part is part]
        if here:
            yield f"<h2>Over the cells: {part}</h2>" + table(LINE_HEAD, map(line_row, here))


def line_row(line: Line) -> tuple[str, ...]:
    """A policy over a part in words."""
    ratio = "none met" if line.ratio is None else told(line.ratio)
    most = "" if line.most is None else f"{line.most:.2f}"
    met = f"{line.met} of {line.cells}"
    return line.policy, line.choice, met, f"{line.lowest:.1%}", ratio, most, f"{line.flips_per_hour:.1f}"


def told(interval: Interval) -> str:
    """A figure and its interval in words."""
    return f"{interval.value:.2f} ({interval.low:.2f}-{interval.high:.2f})"


CELL_HEAD: Final = ("cell", "in time", "over the bound's", "floor advised", "flips/h", "bound")


def _ours(standings: Iterable[Standing]) -> list[Standing]:
    return sorted((each for each in standings if each.policy == OURS), key=lambda each: each.cell)


def _cell_row(each: Standing) -> tuple[str, ...]:
    attained = f"{each.attained.value:.2%} ({each.attained.low:.2%}-{each.attained.high:.2%})"
    floor = "" if each.floor is None else f"{each.floor}"
    reach = "" if each.is_reachable else f"does not reach {SHARE:.0%}"
    return each.cell.name, attained, told(each.ratio), floor, f"{each.flips_per_hour:.1f}", reach


# --- Frontiers ---------------------------------------------------------------------------------------------------

Key = tuple[str, str, str]


def _frontiers(records: Sequence[Record], standings: Sequence[Standing]) -> Iterator[str]:
    """A figure for each workload, window and engine, with a panel for each of its cells that somebody was swept in."""
    cells: dict[str, set[Cell]] = defaultdict(set)
    for record in records:
        if record.choice is Choice.SWEPT:
            cells[workload_of(record.outcome.job.cell)].add(record.outcome.job.cell)
    for number, (workload, here) in enumerate(sorted(cells.items())):
        figure = _frontier(workload, sorted(here), records, standings)
        yield figure.to_html(full_html=False, include_plotlyjs=number == 0)


def _frontier(
    workload: str, cells: Sequence[Cell], records: Sequence[Record], standings: Sequence[Standing]
) -> go.Figure:
    rows = -(-len(cells) // COLUMNS_DRAWN)
    titles = [f"pool {cell.pool:g}, load time {cell.load_s:g} s" for cell in cells]
    figure = make_subplots(rows=rows, cols=min(len(cells), COLUMNS_DRAWN), subplot_titles=titles)
    for number, cell in enumerate(cells):
        place = {"row": number // COLUMNS_DRAWN + 1, "col": number % COLUMNS_DRAWN + 1}
        for trace in (*_sweeps(cell, records, is_first=number == 0), *_points(cell, standings, is_first=number == 0)):
            figure.add_trace(trace, **place)
        figure.add_hline(y=SHARE, line_dash="dot", line_color="#888", **place)
    figure.update_yaxes(range=[LOWEST_DRAWN, 1.003], tickformat=".0%")
    figure.update_xaxes(range=[0.9, 4.0])
    figure.update_layout(title=workload, template="plotly_white", height=ROW_PIXELS * rows + 120)
    return figure


def _sweeps(cell: Cell, records: Sequence[Record], *, is_first: bool) -> Iterator[go.Scatter]:
    for name, color in zip((*PEERS, STATIC), COLORS, strict=False):
        swept = sorted(
            (record.outcome for record in records if _is_swept(record, name, cell)), key=lambda each: each.ratio
        )
        yield go.Scatter(
            x=[each.ratio for each in swept],
            y=[each.attained for each in swept],
            text=[f"{name} at {each.job.contender.threshold:g}" for each in swept],
            name=name,
            legendgroup=name,
            showlegend=is_first,
            mode="lines+markers",
            line={"color": color, "width": 1},
            marker={"size": 4},
        )


def _is_swept(record: Record, name: str, cell: Cell) -> bool:
    job = record.outcome.job
    return record.choice is Choice.SWEPT and job.contender.name == name and job.cell == cell


def _points(cell: Cell, standings: Sequence[Standing], *, is_first: bool) -> Iterator[go.Scatter]:
    for each in standings:
        if each.cell == cell and each.choice in {Choice.OWN, Choice.FIXED}:
            yield go.Scatter(
                x=[each.ratio.value],
                y=[each.attained.value],
                error_x=_bar(each.ratio),
                error_y=_bar(each.attained),
                name=each.policy,
                legendgroup=each.policy,
                showlegend=is_first,
                mode="markers",
                marker={"size": 11, "symbol": "star" if each.policy == OURS else "x", "color": "#222"},
            )


def _bar(interval: Interval) -> dict[str, object]:
    above, below = interval.high - interval.value, interval.value - interval.low
    return {"type": "data", "symmetric": False, "array": [above], "arrayminus": [below]}
