"""Small traces and engines for tests of the fleet model."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from scaler.sim.latency import Engine
from scaler.sim.plant import Plant
from scaler.sim.trace import Trace

Row = tuple[float, int, int]


def trace_of(rows: Sequence[Row]) -> Trace:
    ordered = sorted(rows, key=lambda row: row[0])
    return Trace(
        name="test",
        arrival_s=np.array([row[0] for row in ordered], dtype=np.float64),
        prompt_tokens=np.array([row[1] for row in ordered], dtype=np.int32),
        output_tokens=np.array([row[2] for row in ordered], dtype=np.int32),
    )


STEADY = trace_of([(0.1 * place, 500, 100) for place in range(12_000)])
"""Ten requests a second for twenty minutes, all alike."""


def poisson(rps: float, duration_s: float, lengths: Trace, seed: int) -> Trace:
    """Poisson arrivals, with pairs of lengths drawn from ``lengths``."""
    generator = np.random.Generator(np.random.PCG64(seed))
    requests = int(rps * duration_s)
    drawn = generator.integers(0, len(lengths), requests)
    return Trace(
        name="poisson",
        arrival_s=np.cumsum(generator.exponential(1.0 / rps, requests)),
        prompt_tokens=lengths.prompt_tokens[drawn],
        output_tokens=lengths.output_tokens[drawn],
    )


def tiny(
    *, max_seqs: int = 3, kv_tokens: int = 60, chunk_tokens: int = 8, kappa_ms: float = 5.0, beta_ms: float = 2.0
) -> Engine:
    """An engine whose limits a dozen requests of some tokens meet; its rates are whole picoseconds."""
    return Engine(
        name="tiny",
        gpu="test",
        gpus=1,
        gamma_ms=7.0,
        delta_ms=1.0,
        alpha_ms=10.0,
        beta_ms=beta_ms,
        kappa_ms=kappa_ms,
        kv_tokens=kv_tokens,
        max_seqs=max_seqs,
        chunk_tokens=chunk_tokens,
    )


def plant_of(trace: Trace, engine: Engine, replicas: int = 1) -> Plant:
    """A fleet of open replicas."""
    plant = Plant(trace, seed=0, holds=True)
    for _ in range(replicas):
        plant.open(plant.add(engine))
    return plant


engines = st.builds(
    tiny,
    max_seqs=st.integers(1, 5),
    kv_tokens=st.integers(60, 120),
    chunk_tokens=st.integers(1, 40),
    kappa_ms=st.sampled_from([0.0, 5.0, 1000.0]),
    beta_ms=st.sampled_from([0.0, 2.0]),
)

# A grid of one millisecond makes arrivals meet each other and the ends of steps.
rows = st.tuples(st.integers(0, 400).map(lambda ms: ms / 1000), st.integers(1, 40), st.integers(1, 20))
traces = st.lists(rows, min_size=1, max_size=14).map(trace_of)
