"""The comparison drawn: every policy over the grid, and the frontier of each workload."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scaler.sim.compare.cells import SHARE, Cell
from scaler.sim.compare.contenders import OURS, PEERS, STATIC, STATIC_MEAN, STATIC_PEAK
from scaler.sim.compare.frontier import frontier
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.report import workload_of
from scaler.sim.compare.standings import Choice, Interval, Line, Record, Standing
from scaler.sim.compare.suites import Part

COLORS: Final = dict(
    zip(
        (*PEERS, STATIC),
        (
            *("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#994455", "#997700"),
            "#6699cc",
        ),
        strict=False,
    )
)
"""Paul Tol's bright scheme and part of his medium contrast one, which people who are colour-blind can tell apart."""

OUR_COLOR: Final = "#111111"
SYMBOLS: Final = {OURS: "star", STATIC_MEAN: "triangle-down", STATIC_PEAK: "triangle-up"}
CHOICE_SYMBOLS: Final = {Choice.OWN: "star", Choice.BEST: "circle", Choice.SINGLE: "circle-open", Choice.FIXED: "x"}

LOWEST_DRAWN: Final = 0.90
RATIOS_DRAWN: Final = (0.9, 4.0)
COLUMNS_DRAWN: Final = 4
ROW_PIXELS: Final = 330
LEAST_PIXELS: Final = 540
"""Of a lower figure the legend would not fit."""

ABOUT_FRONTIERS: Final = (
    "Share in time against replica-hours over the bound's; further up and further left is better. A dot is a threshold "
    "that was tried on the first seed (hover to read it), a line joins those that no cheaper one beats. The star is "
    f"Forebay with its defaults, the triangles are constants, all over all seeds with 95 % intervals. What is below "
    f"{LOWEST_DRAWN:.0%} or above {RATIOS_DRAWN[1]:g} times the bound is not drawn; the dotted line is the objective."
)
ABOUT_OVERVIEW: Final = (
    "Cells of the grid in which the objective is met, against the median of replica-hours over the bound's where it is "
    "met; further up and further left is better. Full dots are peers with the best threshold of each cell in "
    "hindsight, open ones with one for everything."
)


def pictures(records: Sequence[Record], standings: Sequence[Standing], lines: Sequence[Line]) -> Iterator[str]:
    """The pictures with their titles, as HTML; the first brings the library that draws them."""
    grid = [line for line in lines if line.part is Part.GRID and line.ratio is not None]
    figures = [("Over the grid", ABOUT_OVERVIEW, _overview(grid))] if grid else []
    for number, figure in enumerate(_frontiers(records, standings)):
        figures.append(("Frontiers" if number == 0 else "", ABOUT_FRONTIERS if number == 0 else "", figure))
    for number, (title, about, figure) in enumerate(figures):
        head = f"<h2>{escape(title)}</h2><p>{escape(about)}</p>" if title else ""
        yield head + figure.to_html(full_html=False, include_plotlyjs=number == 0)


def _overview(lines: Sequence[Line]) -> go.Figure:
    figure = go.Figure()
    for line in lines:
        if line.ratio is None:
            continue
        figure.add_trace(
            go.Scatter(
                x=[line.ratio.value],
                y=[line.met],
                error_x=_interval(line.ratio),
                name=f"{line.policy}, {line.choice}",
                mode="markers",
                marker={"size": 11, "symbol": CHOICE_SYMBOLS[line.choice], "color": _color(line.policy)},
            )
        )
    figure.update_xaxes(title="times the bound's replica-hours, median where met")
    figure.update_yaxes(title=f"cells met of {max(line.cells for line in lines)}", rangemode="tozero")
    figure.update_layout(template="plotly_white", height=560)
    return figure


def _color(policy: str) -> str:
    return COLORS.get(policy, OUR_COLOR)


def _frontiers(records: Sequence[Record], standings: Sequence[Standing]) -> Iterator[go.Figure]:
    """A figure for each workload, window and engine, with a panel for each of its cells that somebody was swept in."""
    swept: dict[Cell, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.choice is Choice.SWEPT:
            swept[record.outcome.job.cell][record.outcome.job.contender.name].append(record.outcome)
    workloads: dict[str, list[Cell]] = defaultdict(list)
    for cell in sorted(swept):
        workloads[workload_of(cell)].append(cell)
    for workload, cells in sorted(workloads.items()):
        yield _panels(workload, {cell: swept[cell] for cell in cells}, standings)


def _panels(workload: str, swept: dict[Cell, dict[str, list[Outcome]]], standings: Sequence[Standing]) -> go.Figure:
    rows = -(-len(swept) // COLUMNS_DRAWN)
    titles = [f"pool {cell.pool:g}, load time {cell.load_s:g} s" for cell in swept]
    figure = make_subplots(rows=rows, cols=min(len(swept), COLUMNS_DRAWN), subplot_titles=titles)
    named: set[str] = set()
    for number, (cell, outcomes) in enumerate(swept.items()):
        place = {"row": number // COLUMNS_DRAWN + 1, "col": number % COLUMNS_DRAWN + 1}
        for trace in (*_sweeps(outcomes), *_points(cell, standings)):
            # One entry of the legend for a policy, whichever panel has it first; a click hides it in all.
            trace.update(legendgroup=trace.name, showlegend=trace.name not in named)
            named.add(trace.name)
            figure.add_trace(trace, **place)
        figure.add_hline(y=SHARE, line_dash="dot", line_color="#888", **place)
    figure.update_yaxes(range=[LOWEST_DRAWN, 1.003], tickformat=".0%")
    figure.update_xaxes(range=list(RATIOS_DRAWN))
    figure.update_layout(title=workload, template="plotly_white", height=max(LEAST_PIXELS, ROW_PIXELS * rows + 120))
    return figure


def _sweeps(outcomes: dict[str, list[Outcome]]) -> Iterator[go.Scatter]:
    for name, tried in outcomes.items():
        line = frontier((each.ratio, each.attained) for each in tried)
        shown: dict[str, Any] = {"name": name, "line": {"color": _color(name), "width": 1}}
        yield go.Scatter(x=[ratio for ratio, _ in line], y=[share for _, share in line], mode="lines", **shown)
        yield go.Scatter(
            x=[each.ratio for each in tried],
            y=[each.attained for each in tried],
            text=[f"{name} at {each.job.contender.threshold:g}" for each in tried],
            mode="markers",
            marker={"size": 4, "color": _color(name)},
            **shown,
        )


def _points(cell: Cell, standings: Sequence[Standing]) -> Iterator[go.Scatter]:
    for each in standings:
        if each.cell == cell and each.choice in {Choice.OWN, Choice.FIXED}:
            yield go.Scatter(
                x=[each.ratio.value],
                y=[each.attained.value],
                error_x=_interval(each.ratio),
                error_y=_interval(each.attained),
                name=each.policy,
                mode="markers",
                marker={"size": 11, "symbol": SYMBOLS.get(each.policy, "x"), "color": OUR_COLOR},
            )


def _interval(interval: Interval) -> dict[str, Any]:
    above, below = interval.high - interval.value, interval.value - interval.low
    return {"type": "data", "symmetric": False, "array": [above], "arrayminus": [below], "thickness": 1}
