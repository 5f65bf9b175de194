"""The traffic of a scenario: a rate for every second, drawn from a course of replicas' worth of work."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim.latency import LLAMA_8B_L40S
from scaler.sim.trace import Trace
from scaler.sim.workload import SUSTAINED_RPS, drawn_from, poisson, row_name

Floats = NDArray[np.float64]

ENGINE: Final = LLAMA_8B_L40S
"""The slowest row: a replica's worth is 5.4 requests a second, so that a day of a pool is soon run."""

REPLICA_RPS: Final = SUSTAINED_RPS[row_name(ENGINE), "conv"]

ARRIVALS: Final = 7  # the stream of a seed; `workload` and `replay` have others

PROMPT_MEDIAN: Final = 400.0
PROMPT_SIGMA: Final = 0.5
OUTPUT_MEDIAN: Final = 120.0
DRAWN: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """Requests that come at ``rps`` in each second, by Poisson, with rows drawn from ``lengths``.

    ``prompt_factor`` multiplies the prompts of each second; None leaves them as they are.
    """

    rps: Floats
    lengths: Trace
    prompt_factor: Floats | None = None

    @property
    def span_s(self) -> float:
        """How long it lasts."""
        return float(len(self.rps))

    def requests(self, name: str, seed: int) -> Trace:
        """All of it, the same for the same seed."""
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, ARRIVALS))))
        drawn = poisson(self.rps, 0, self.lengths, generator)
        prompts = drawn.prompt_tokens
        if self.prompt_factor is not None:
            factor = self.prompt_factor[drawn.arrival_s.astype(np.int64)]
            prompts = np.rint(prompts * factor).astype(np.int32)
        return Trace(name=name, arrival_s=drawn.arrival_s, prompt_tokens=prompts, output_tokens=drawn.output_tokens)


def chat(replicas: Floats) -> Traffic:
    """Chat requests that are so many replicas' worth of work in each second."""
    return Traffic(rps=replicas * REPLICA_RPS, lengths=_chat_lengths())


def course(*points: tuple[float, float]) -> Floats:
    """A value for every second until the last of ``points`` (seconds, value), on straight lines between them."""
    at_s, values = zip(*points, strict=True)
    return np.asarray(np.interp(np.arange(int(at_s[-1])) + 0.5, at_s, values), dtype=np.float64)


def repeated(period: Floats, times: int) -> Floats:
    """The same course, so many times."""
    return np.tile(period, times)


@lru_cache(maxsize=1)
def _chat_lengths() -> Trace:
    return drawn_from("conv")


@lru_cache(maxsize=1)
def prompt_lengths() -> Trace:
    """Prompts of 400 tokens in the median, which fit the cache and the objective even ten times as long."""
    generator = np.random.Generator(np.random.PCG64(ARRIVALS))
    prompts = PROMPT_MEDIAN * np.exp(PROMPT_SIGMA * generator.standard_normal(DRAWN))
    outputs = OUTPUT_MEDIAN * np.exp(PROMPT_SIGMA * generator.standard_normal(DRAWN))
    return Trace(
        name="prompts",
        arrival_s=np.zeros(DRAWN),
        prompt_tokens=np.rint(prompts).astype(np.int32),
        output_tokens=np.maximum(np.rint(outputs), 1.0).astype(np.int32),
    )
