"""A run as one self-contained HTML page: demand, replicas by state, TTFT, and every decision with its reason."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scaler.embedded.moments import Moment

COLORS: Final = {
    "running": "#4477aa",
    "waiting": "#ee6677",
    "ready": "#228833",
    "starting": "#ccbb44",
    "stuck": "#ee6677",
    "target": "#222222",
}
"""Paul Tol's bright scheme, which people who cannot tell red from green can still tell apart."""

HOVER_WIDTH: Final = 70


def write_picture(path: Path, title: str, moments: Sequence[Moment], objective_s: float) -> None:
    """Write the page to ``path``: nothing in it is fetched from elsewhere. Raises OSError."""
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.05,
        row_heights=[0.3, 0.42, 0.28],
        subplot_titles=("Requests in flight", "Replicas, and what was decided (hover for the reason)", "TTFT p95"),
    )
    _draw_demand(figure, moments)
    _draw_replicas(figure, moments)
    _draw_decisions(figure, moments)
    _draw_ttft(figure, moments, objective_s)
    figure.update_layout(title=title, template="plotly_white", hovermode="closest", height=900)
    figure.update_xaxes(tickformat="%H:%M", row=3, col=1)
    path.write_text(figure.to_html(include_plotlyjs=True, full_html=True), encoding="utf-8")


def _times(moments: Sequence[Moment]) -> list[datetime]:
    return [datetime.fromtimestamp(moment.at_s, tz=UTC) for moment in moments]


def _draw_demand(figure: go.Figure, moments: Sequence[Moment]) -> None:
    for name in ("running", "waiting"):
        values = [getattr(moment, name) for moment in moments]
        # Areas without a line: that of a state with nothing in it would be drawn over the one below.
        look = {"line": {"width": 0}, "fillcolor": COLORS[name]}
        area = go.Scatter(x=_times(moments), y=values, name=name, mode="lines", stackgroup="demand", **look)
        figure.add_trace(area, row=1, col=1)
    unknown = [moment for moment in moments if not moment.is_known]
    marks = go.Scatter(
        x=_times(unknown),
        y=[0.0] * len(unknown),
        name="demand not known",
        mode="markers",
        marker={"symbol": "x", "color": COLORS["target"]},
    )
    figure.add_trace(marks, row=1, col=1)
    figure.update_yaxes(title_text="requests", row=1, col=1)


def _draw_replicas(figure: go.Figure, moments: Sequence[Moment]) -> None:
    times = _times(moments)
    for name, words in (("ready", "ready"), ("starting", "starting"), ("stuck", "without room")):
        values = [getattr(moment, name) for moment in moments]
        look = {"line": {"shape": "hv", "width": 0}, "fillcolor": COLORS[name]}
        area = go.Scatter(x=times, y=values, name=words, mode="lines", stackgroup="replicas", **look)
        figure.add_trace(area, row=2, col=1)
    targets = [moment.target for moment in moments]
    line = go.Scatter(x=times, y=targets, name="target", line={"shape": "hv", "color": COLORS["target"], "dash": "dot"})
    figure.add_trace(line, row=2, col=1)
    figure.update_yaxes(title_text="replicas", rangemode="tozero", row=2, col=1)


def _draw_decisions(figure: go.Figure, moments: Sequence[Moment]) -> None:
    told = [moment for moment in moments if moment.has_changed]
    words = ["<br>".join(textwrap.wrap(moment.told, HOVER_WIDTH)) for moment in told]
    marks = go.Scatter(
        x=_times(told),
        y=[moment.target for moment in told],
        name="decision",
        mode="markers",
        marker={"size": 10, "color": COLORS["target"], "symbol": "diamond"},
        text=words,
        hovertemplate="%{x|%H:%M:%S}<br>%{text}<extra></extra>",
    )
    figure.add_trace(marks, row=2, col=1)


def _draw_ttft(figure: go.Figure, moments: Sequence[Moment], objective_s: float) -> None:
    values = [moment.ttft_s for moment in moments]
    line = go.Scatter(x=_times(moments), y=values, name="TTFT p95", line_color=COLORS["running"])
    figure.add_trace(line, row=3, col=1)
    figure.add_hline(y=objective_s, line_dash="dash", line_color=COLORS["waiting"], row=3, col=1)
    figure.update_yaxes(title_text="seconds", rangemode="tozero", row=3, col=1)
