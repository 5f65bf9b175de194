"""What traffic a run has: a recorded hour or a published series, sized to a pool, and dealt out piece by piece.

A week of a large service does not fit into memory as requests, so whoever replays asks for one piece after another.
"""

import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from scaler.sim.latency import ENGINES, Engine
from scaler.sim.plant import Plant
from scaler.sim.rates import MINUTE_S, Floats, Rates, Window, is_series, parsed_rates
from scaler.sim.trace import HEADER, MOST_FACTOR, Trace, TraceError, parsed, scaled

PIECE_S: Final = 900
"""At 32 replicas of the fastest row a piece is 600,000 requests, or 40 MB; shorter ones cost calls."""

ARRIVALS: Final = 1
NOISE: Final = 2
"""Streams of a seed, so that a longer window does not change the noise of a shorter one's arrivals."""


class Workload(Protocol):
    """Traffic over ``span_s`` seconds."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def span_s(self) -> float:
        """How long it lasts."""
        ...

    def pieces(self, seed: int) -> Iterator[Trace]:
        """The requests in order: the nth piece holds those from n to n + 1 times `PIECE_S`. One seed, one traffic."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Requests as they were recorded, ``factor`` times as many."""

    trace: Trace
    factor: float = 1.0

    @property
    def name(self) -> str:
        """The trace's."""
        return self.trace.name

    @property
    def span_s(self) -> float:
        """From the first request to the last, in whole seconds."""
        return float(np.ceil(self.trace.duration_s))

    @property
    def lengths(self) -> Trace:
        """Requests of the lengths that it has: itself."""
        return self.trace

    @property
    def mean_rps(self) -> float:
        """Requests a second."""
        return self.factor * len(self.trace) / max(self.trace.duration_s, 1.0)

    def times(self, factor: float) -> "Recorded":
        """The same with ``factor`` times the traffic."""
        return replace(self, factor=self.factor * factor)

    def pieces(self, seed: int) -> Iterator[Trace]:
        """The requests; copies are laid over each other as `scaled` says, by ``seed``."""
        whole = self.trace if self.factor == 1.0 else scaled(self.trace, self.factor, seed)
        for begin_s in range(0, int(self.span_s) + 1, PIECE_S):
            first, end = np.searchsorted(whole.arrival_s, (begin_s, begin_s + PIECE_S), side="left").tolist()
            yield _part(whole, first, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """Requests that come at random (Poisson) at the rates of a series, with lengths drawn as whole rows.

    A row keeps its prompt and its answer together, and with them how the two go with each other.
    """

    rates: Rates
    lengths: Trace

    @property
    def name(self) -> str:
        """The series'."""
        return self.rates.name

    @property
    def span_s(self) -> float:
        """The series'."""
        return self.rates.span_s

    @property
    def mean_rps(self) -> float:
        """Requests a second."""
        return self.rates.mean_rps

    def times(self, factor: float) -> "Rated":
        """The same with ``factor`` times the traffic."""
        return replace(self, rates=self.rates.times(factor))

    def within(self, window: Window) -> "Rated":
        """The part in ``window``. Raises TraceError where the series does not hold it."""
        return replace(self, rates=self.rates.within(window))

    def pieces(self, seed: int) -> Iterator[Trace]:
        """The requests, drawn as they are asked for."""
        generator = _generator(seed, ARRIVALS)
        rps = self._noisy_rps(seed)
        for begin_s in range(0, len(rps), PIECE_S):
            yield poisson(rps[begin_s : begin_s + PIECE_S], begin_s, self.lengths, generator)

    def _noisy_rps(self, seed: int) -> Floats:
        """The rates with the noise of every minute, never below zero."""
        minute = (np.arange(len(self.rates.rps)) // MINUTE_S).astype(np.int64)
        noise = _generator(seed, NOISE).standard_normal(int(minute[-1]) + 1)
        return np.maximum(self.rates.rps + self.rates.sd_rps * noise[minute], 0.0)


def poisson(rps: Floats, begin_s: int, lengths: Trace, generator: np.random.Generator) -> Trace:
    """Requests that come at ``rps`` in each second from ``begin_s`` on, with rows drawn from ``lengths``."""
    counts = generator.poisson(rps)
    total = int(counts.sum())
    second = np.repeat(np.arange(begin_s, begin_s + len(rps)), counts)
    drawn = generator.integers(0, len(lengths), total)
    return Trace(
        name=lengths.name,
        arrival_s=np.sort(second + generator.random(total)),
        prompt_tokens=lengths.prompt_tokens[drawn],
        output_tokens=lengths.output_tokens[drawn],
    )


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream))))


def _part(trace: Trace, first: int, end: int) -> Trace:
    return Trace(
        name=trace.name,
        arrival_s=trace.arrival_s[first:end],
        prompt_tokens=trace.prompt_tokens[first:end],
        output_tokens=trace.output_tokens[first:end],
    )


# --- Files -------------------------------------------------------------------------------------------------------

SHIPPED: Final = (
    *("azure2023-conv", "azure2023-code", "azure2024-conv"),
    *("servegen-m-large", "servegen-deepseek-r1", "o365-c-prod"),
)
"""The public traces that come with the package, by name (sources and licences: traces/ATTRIBUTION.md)."""

LENGTHS: Final[Mapping[str, str]] = {"conv": "azure2023-conv", "code": "azure2023-code"}
"""The files that lengths are drawn from, by the short names that `SUSTAINED_RPS` knows."""


def opened(source: str, lengths: str = "conv") -> Recorded | Rated:
    """The traffic that ``source`` names, one of `SHIPPED` or a file. Raises TraceError.

    A series takes the lengths of its requests from those of ``lengths``.
    """
    text = shipped_text(source) if source in SHIPPED else _text(Path(source))
    if is_series(text):
        rows = drawn_from(lengths)
        return Rated(rates=parsed_rates(source, text, float(rows.prompt_tokens.mean())), lengths=rows)
    if text.partition("\n")[0].strip() == ",".join(HEADER):
        return Recorded(trace=parsed(source, text))
    raise TraceError(
        f"{source}: line 1: must be the header of a trace: {','.join(HEADER)}; t,rps; minute,lo,mid,hi,sd1m; or "
        "minute,prompt_tokens"
    )


def drawn_from(lengths: str) -> Trace:
    """The requests whose lengths are meant by ``lengths``. Raises TraceError."""
    if lengths not in LENGTHS:
        raise TraceError(f"lengths = {lengths}: must be {' or '.join(LENGTHS)}")
    return parsed(lengths, shipped_text(LENGTHS[lengths]))


def shipped_text(name: str) -> str:
    """The text of one of `SHIPPED`."""
    year, _, part = name.partition("-")
    packed = resources.files("scaler.sim") / "traces" / f"{year}_{part}.csv.xz"
    return lzma.decompress(packed.read_bytes()).decode("utf-8")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode("utf-8")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except lzma.LZMAError as error:
        raise TraceError(f"{path}: is not an xz file") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: is not UTF-8 text") from error


# --- Size --------------------------------------------------------------------------------------------------------

SUSTAINED_RPS: Final[Mapping[tuple[str, str], float]] = {
    ("llama-3.1-8b/H100", "conv"): 21.4,
    ("llama-3.1-8b/H100", "code"): 18.7,
    ("llama-3.1-8b/L40S", "conv"): 5.4,
    ("llama-3.1-8b/L40S", "code"): 3.0,
    ("qwen3-32b/H100", "conv"): 9.7,
    ("qwen3-32b/H100", "code"): 5.5,
    ("llama-3.1-70b/H100", "conv"): 8.5,
    ("llama-3.1-70b/H100", "code"): 4.1,
}
"""What one replica sustains: the highest Poisson rate with 99 % of first tokens within 1 s.

Computed before this model was there (reference/latency-model.md, 3), and kept, so that pools compare with the trials.
For a row that is missing: `python -c "from scaler.sim.workload import *; print(sustained_rps(ENGINES[0],
drawn_from('conv')))"`.
"""

SUSTAINED_SHARE: Final = 0.99
SUSTAINED_TTFT_S: Final = 1.0
PROBES: Final = 12
PROBE_REQUESTS: Final = 20_000


def engine_named(name: str) -> Engine:
    """The row of the latency model called ``name``, model and GPU. Raises TraceError."""
    rows = {row_name(engine): engine for engine in ENGINES}
    if name not in rows:
        raise TraceError(f"engine = {name}: must be {', '.join(list(rows)[:-1])} or {list(rows)[-1]}")
    return rows[name]


def row_name(engine: Engine) -> str:
    """What files call ``engine``."""
    return f"{engine.name}/{engine.gpu}"


def filling(traffic: Recorded | Rated, pool: float, sustained: float) -> Recorded | Rated:
    """``traffic`` at a size that keeps ``pool`` replicas busy on average, each of which sustains ``sustained`` rps.

    Raises TraceError. Worked: the chat hour has 5.53 requests a second; two H100 of the 8B row sustain 42.8, so it is
    taken 7.74 times.
    """
    if traffic.mean_rps <= 0.0:
        raise TraceError(f"{traffic.name}: must have traffic to fill a pool of {pool:g}, and has none")
    factor = pool * sustained / traffic.mean_rps
    if factor > MOST_FACTOR:
        raise TraceError(f"pool = {pool:g}: takes {factor:.0f} times the traffic, and {MOST_FACTOR:g} is the most")
    return traffic.times(factor)


def sustained_rps(engine: Engine, lengths: Trace, seed: int = 1) -> float:
    """The highest Poisson rate at which one replica has its first tokens in time, within a thousandth.

    One seed of 20,000 requests: on a shallow slope (see docs/design/0003) another one may say 5 % more or less.
    """
    low, high = 0.0, 1000.0 * engine.gpus
    for _ in range(PROBES):
        middle = (low + high) / 2.0 if low else high / 4.0
        if _in_time(engine, lengths, middle, seed) >= SUSTAINED_SHARE:
            low = middle
        else:
            high = middle
    return low


def _in_time(engine: Engine, lengths: Trace, rps: float, seed: int) -> float:
    """The share of first tokens in time on one replica at ``rps``."""
    span_s = max(int(PROBE_REQUESTS / rps), 1)
    trace = poisson(np.full(span_s, rps), 0, lengths, _generator(seed, ARRIVALS))
    plant = Plant(trace, seed=seed, holds=True)
    plant.open(plant.add(engine))
    plant.advance(span_s + SUSTAINED_TTFT_S)
    return float(np.mean(plant.outcomes().ttft_s <= SUSTAINED_TTFT_S)) if len(trace) else 1.0
