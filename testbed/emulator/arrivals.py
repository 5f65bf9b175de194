"""The requests that are to come, made a piece at a time, so that the traffic can change while it flows."""

import math
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from scaler.sim.trace import Trace

Rate = Callable[[float], float]
"""Requests a second at a time, in seconds since the emulator's start."""

GRAIN_S: Final = 1.0
"""For so long a rate counts as constant."""


class Arrivals(Protocol):
    """Where a service's requests come from; it is asked for one piece after the other."""

    def between(self, from_s: float, until_s: float) -> Trace:
        """The requests from ``from_s`` up to but not at ``until_s``."""


class Poisson:
    """Independent requests at a rate that may be changed, with the lengths of requests drawn from a trace."""

    def __init__(self, rate: Rate, lengths: Trace, *, seed: int) -> None:
        self.rate = rate
        self._lengths = lengths
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def between(self, from_s: float, until_s: float) -> Trace:
        """As many as chance has it."""
        begins = np.arange(from_s, until_s, GRAIN_S)
        spans = np.minimum(begins + GRAIN_S, until_s) - begins
        counts = self._generator.poisson(np.array([self.rate(float(begin)) for begin in begins]) * spans)
        size = int(counts.sum())
        offsets = self._generator.random(size) * np.repeat(spans, counts)
        drawn = self._generator.integers(0, len(self._lengths), size)
        return Trace(
            name="poisson",
            arrival_s=np.sort(np.repeat(begins, counts) + offsets),
            prompt_tokens=self._lengths.prompt_tokens[drawn],
            output_tokens=self._lengths.output_tokens[drawn],
        )


class Replay:
    """A trace as it was, from its begin again when it is over."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._span_s = trace.duration_s + 1.0  # the last request and the first are not one

    def between(self, from_s: float, until_s: float) -> Trace:
        """The trace's own."""
        rounds = range(int(from_s // self._span_s), int(until_s // self._span_s) + 1)
        pieces = [self._piece(turn * self._span_s, from_s, until_s) for turn in rounds]
        return Trace(
            name=self._trace.name,
            arrival_s=np.concatenate([piece.arrival_s for piece in pieces]),
            prompt_tokens=np.concatenate([piece.prompt_tokens for piece in pieces]),
            output_tokens=np.concatenate([piece.output_tokens for piece in pieces]),
        )

    def _piece(self, began_s: float, from_s: float, until_s: float) -> Trace:
        """What of the round that began at ``began_s`` is asked for."""
        arrival_s = self._trace.arrival_s + began_s
        first, end = np.searchsorted(arrival_s, [from_s, until_s], side="left").tolist()
        return Trace(
            name=self._trace.name,
            arrival_s=arrival_s[first:end],
            prompt_tokens=self._trace.prompt_tokens[first:end],
            output_tokens=self._trace.output_tokens[first:end],
        )


def steady(rps: float) -> Rate:
    """Always the same."""
    return lambda at_s: rps if at_s >= 0.0 else 0.0


def steps(*changes: tuple[float, float]) -> Rate:
    """From each time on its rate, nothing before the first: ``steps((0, 5), (60, 20))``."""

    def rate(at_s: float) -> float:
        return next((rps for from_s, rps in reversed(changes) if at_s >= from_s), 0.0)

    return rate


def waves(low_rps: float, high_rps: float, period_s: float) -> Rate:
    """From low to high and back, like day and night, beginning low."""

    def rate(at_s: float) -> float:
        return low_rps + (high_rps - low_rps) * (1.0 - math.cos(math.tau * at_s / period_s)) / 2.0

    return rate
