"""The fleet model beside public measurements: steps of an engine, the knee of a run on GPUs, a run in a closed loop.

The points are of reference/latency-model.md, 2 and 4: NVIDIA's AIConfigurator database (0.12.0, vLLM 0.24.0) and the
runs that the llm-d documents tell of.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scaler.sim.latency import LLAMA_8B_H100, LLAMA_8B_L40S, LLAMA_70B_H100, QWEN_32B_H100, Engine
from scaler.sim.plant import Plant
from scaler.sim.trace import Trace
from scaler.sim.workload import poisson, row_name

CONTEXT_TOKENS: Final = 1024
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DECODE_MS: Final[Mapping[Engine, Sequence[float]]] = {
    LLAMA_8B_H100: (6.18, 6.43, 6.63, 6.6, 7.51, 8.32, 10.35, 12.83, 19.55),
    LLAMA_8B_L40S: (21.98, 22.92, 23.33, 23.45, 24.99, 31.43, 38.27, 53.3, 78.41),
    QWEN_32B_H100: (13.42, 13.73, 13.6, 13.96, 15.21, 16.1, 18.84, 22.22, 30.75),
    LLAMA_70B_H100: (14.86, 15.46, 15.14, 16.1, 16.37, 16.91, 19.09, 22.8, 30.51),
}
"""A decode step of `BATCHES` sequences of 1024 tokens."""

PROMPTS: Final = (128, 256, 512, 1024, 2048, 4096, 8192)
PREFILL_MS: Final[Mapping[Engine, Sequence[float]]] = {
    LLAMA_8B_H100: (7.6, 8.7, 12.0, 22.1, 43.5, 90.1, 199.7),
    LLAMA_8B_L40S: (26.9, 30.1, 38.3, 70.3, 144.9, 311.3, 699.8),
    QWEN_32B_H100: (18.9, 21.7, 30.1, 55.5, 107.2, 224.1, 476.0),
    LLAMA_70B_H100: (20.1, 24.1, 37.3, 67.4, 130.2, 264.1, 576.8),
}
"""A lone prompt of `PROMPTS` tokens, which the model takes in one chunk."""

KNEE_RPS: Final = (1.4, 1.5)
"""Where the public run of Qwen3-32B on two H100, 4000 tokens in and 1000 out, had its knee."""

KNEE_ENGINE: Final = QWEN_32B_H100
KNEE_TOKENS: Final = (4000, 1000)
KNEE_LIMIT_S: Final = 3.0
RATES: Final = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8)
BEFORE: Final[Mapping[float, float]] = {1.3: 0.98, 1.4: 0.99, 1.5: 0.91, 1.6: 0.59, 1.7: 0.05}
"""Shares that an earlier simulation of the same formulas gave."""

HOUR_S: Final = 3600
SERVED_S: Final = 10_000.0
COLORS: Final = ("#4477aa", "#ccbb44", "#228833", "#ee6677")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A public figure in milliseconds, and the model's."""

    engine: Engine
    at: int
    public_ms: float
    model_ms: float

    @property
    def error(self) -> float:
        """By how much of the public figure the model is off."""
        return self.model_ms / self.public_ms - 1.0


def decode_points() -> tuple[Point, ...]:
    """Decode steps by batch."""
    return tuple(
        Point(engine=engine, at=batch, public_ms=public, model_ms=1e3 * engine.step_s(batch, batch * CONTEXT_TOKENS))
        for engine, row in DECODE_MS.items()
        for batch, public in zip(BATCHES, row, strict=True)
    )


def prefill_points() -> tuple[Point, ...]:
    """Lone prompts by length."""
    return tuple(
        Point(engine=engine, at=prompt, public_ms=public, model_ms=1e3 * engine.lone_ttft_s(prompt))
        for engine, row in PREFILL_MS.items()
        for prompt, public in zip(PROMPTS, row, strict=True)
    )


def mean_error(points: Sequence[Point], engine: Engine) -> float:
    """The mean absolute error on ``engine``, as a share."""
    return float(np.mean([abs(point.error) for point in points if point.engine == engine]))


def knee_share(rps: float, seeds: Sequence[int]) -> float:
    """The share of an hour's requests with a first token within 3 s on one replica, on average over ``seeds``."""
    return float(np.mean([_share(rps, seed) for seed in seeds]))


def _share(rps: float, seed: int) -> float:
    prompt, output = (np.array([tokens], dtype=np.int32) for tokens in KNEE_TOKENS)
    lengths = Trace(name="knee", arrival_s=np.zeros(1), prompt_tokens=prompt, output_tokens=output)
    trace = poisson(np.full(HOUR_S, rps), 0, lengths, np.random.Generator(np.random.PCG64(seed)))
    plant = Plant(trace, seed=seed, holds=True)
    plant.open(plant.add(KNEE_ENGINE))
    plant.advance(SERVED_S)
    return float(np.mean(plant.outcomes().ttft_s <= KNEE_LIMIT_S))


def closed_loop(engine: Engine, sequences: int, prompt_tokens: int, output_tokens: int) -> tuple[float, float]:
    """Requests a second and seconds between tokens when ``sequences`` are always running, each new one at once.

    Every step ends sequences ÷ output of them, and as many prompts share the next. Worked: 64 of 128 in and 128 out on
    the 8B row and an H100 have 6.37 + 0.77 + 0.50 ms, and half a prompt with 1.26 ms: 8.90 ms, 56.2 requests a second.
    """
    resident = sequences * (prompt_tokens + output_tokens / 2.0)
    begun = sequences / output_tokens
    step_s = engine.step_s(sequences, resident) + engine.delta_ms * prompt_tokens * begun / 1e3
    return begun / step_s, step_s


def picture(shares: Mapping[float, float]) -> go.Figure:
    """Steps, prompts and the knee, the public figures as marks and the model as lines; ``shares`` are by rate."""
    titles = ("Decode step, 1024 tokens each", "Lone prompt", "Qwen3-32B, 2 H100, 4000/1000: in time")
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles)
    for column, points in enumerate((decode_points(), prefill_points()), start=1):
        for trace in _traces(points, is_first=column == 1):
            figure.add_trace(trace, row=1, col=column)
    figure.add_trace(go.Scatter(x=list(shares), y=list(shares.values()), name="fleet model", line_color="#222"), 1, 3)
    before = go.Scatter(x=list(BEFORE), y=list(BEFORE.values()), name="computed before", mode="markers")
    figure.add_trace(before, 1, 3)
    figure.add_vrect(
        *KNEE_RPS, row=1, col=3, fillcolor="#228833", opacity=0.2, annotation_text="knee of the public run"
    )
    for column, (x, y) in enumerate((("sequences", "ms"), ("tokens", "ms"), ("requests a second", "share")), start=1):
        kind = "log" if column < len(titles) else "linear"
        figure.update_xaxes(title=x, type=kind, row=1, col=column)
        figure.update_yaxes(title=y, type=kind, row=1, col=column)
    figure.update_layout(template="plotly_white", width=1500, height=520, legend={"orientation": "h", "y": -0.2})
    return figure


def _traces(points: Sequence[Point], *, is_first: bool) -> Iterator[go.Scatter]:
    for engine, color in zip(DECODE_MS, COLORS, strict=True):
        here = [point for point in points if point.engine == engine]
        shared = {"x": [point.at for point in here], "name": row_name(engine), "legendgroup": row_name(engine)}
        public, model = [point.public_ms for point in here], [point.model_ms for point in here]
        yield go.Scatter(**shared, y=public, mode="markers", marker_color=color, showlegend=False)
        yield go.Scatter(**shared, y=model, mode="lines", line_color=color, showlegend=is_first)
