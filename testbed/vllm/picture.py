"""A run of real vLLM as one page: ``python -m testbed.vllm.picture run.json vllm.html``.

The test leaves run.json in its folder (tests/cluster/vllm_running.py says what is in it).
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scaler.embedded.picture import COLORS

FILLS: Final = {**COLORS, "asleep": "#bbbbbb"}
TITLES: Final = (
    "Requests, as the engines say",
    "Replicas",
    "Time to first token of each request, as its client saw it",
)
MARKS: Final = (
    ("rose_at_s", "18 clients"),
    ("grown_at_s", "three ready"),
    ("fell_at_s", "4 clients"),
    ("back_at_s", "no client"),
)


def picture(run: Mapping[str, Any]) -> go.Figure:
    """Demand, replicas and what clients saw, over the minutes since the demand rose."""
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07, subplot_titles=TITLES)
    start_s = run["rose_at_s"]
    for name in ("running", "waiting"):
        points = run["work"][name]
        figure.add_trace(
            _area(_minutes([at_s for at_s, _ in points], start_s), [each for _, each in points], name), 1, 1
        )
    times = _minutes([each["at_s"] for each in run["moments"]], start_s)
    for name in ("ready", "asleep", "starting"):
        figure.add_trace(_area(times, [each[name] for each in run["moments"]], name), 2, 1)
    asked = [each["requested"] for each in run["moments"]]
    line = {"shape": "hv", "color": COLORS["target"], "dash": "dot"}
    figure.add_trace(go.Scatter(x=times, y=asked, name="asked for", line=line), 2, 1)
    _draw_streams(figure, run["streams"], start_s)
    for name, words in MARKS:
        figure.add_vline(x=(run[name] - start_s) / 60.0, line_dash="dot", line_color="#888888")
        figure.add_annotation(x=(run[name] - start_s) / 60.0, y=1.0, yref="paper", text=words, showarrow=False)
    figure.update_layout(
        template="plotly_white", height=820, width=1200, title="Real vLLM 0.32, one replica to three and back"
    )
    figure.update_xaxes(title_text="minutes", row=3, col=1)
    return figure


def _minutes(at_s: Sequence[float], start_s: float) -> list[float]:
    return [(each - start_s) / 60.0 for each in at_s]


def _area(x: Sequence[float], y: Sequence[float], name: str) -> go.Scatter:
    group = "work" if name in {"running", "waiting"} else "replicas"
    line = {"shape": "hv", "width": 0}
    return go.Scatter(x=x, y=y, name=name, mode="lines", stackgroup=group, line=line, fillcolor=FILLS[name])


def _draw_streams(figure: go.Figure, streams: Sequence[Mapping[str, Any]], start_s: float) -> None:
    whole = [each for each in streams if not each["cut"]]
    times = _minutes([each["began_at_s"] for each in whole], start_s)
    look = {"size": 4, "color": COLORS["running"]}
    seen = [each["first_token_s"] for each in whole]
    figure.add_trace(go.Scatter(x=times, y=seen, name="whole stream", mode="markers", marker=look), 3, 1)
    cut = [each for each in streams if each["cut"]]
    times = _minutes([each["began_at_s"] for each in cut], start_s)
    look = {"size": 9, "symbol": "x", "color": COLORS["waiting"]}
    figure.add_trace(go.Scatter(x=times, y=[0.0] * len(cut), name="cut stream", mode="markers", marker=look), 3, 1)
    figure.update_yaxes(title_text="seconds", rangemode="tozero", row=3, col=1)


def main() -> int:
    """Write the page."""
    source, target = (Path(word) for word in sys.argv[1:3])
    run = json.loads(source.read_text(encoding="utf-8"))
    target.write_text(picture(run).to_html(include_plotlyjs=True, config={"displayModeBar": False}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
