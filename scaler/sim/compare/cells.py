"""A cell: one service's traffic at one size, on one engine, with one load time. Every policy meets the same cells.

What is here decides what a bound is worth, so bounds that are kept are named after this file's content too.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from math import ceil
from typing import Final

import numpy as np

from scaler.core.model import Objective
from scaler.sim.generated import Generated, filled, service
from scaler.sim.latency import Engine
from scaler.sim.loadtime import LoadTimes
from scaler.sim.oracle import Case
from scaler.sim.rates import DAY_S, Rates, day, steepest
from scaler.sim.replay import FleetSpec
from scaler.sim.trace import Trace, TraceError
from scaler.sim.workload import SUSTAINED_RPS, Rated, Recorded, engine_named, filling, opened

OBJECTIVE_S: Final = 2.0
SHARE: Final = 0.99
OBJECTIVE: Final = Objective(percentile=100.0 * SHARE, limit_s=OBJECTIVE_S)
DRAIN_S: Final = 10.0
"""What a drain takes as it usually is: an answer of 211 tokens at 25 to 50 ms each."""

WARM_SHARE: Final = 1.25
"""At the start as many are ready as the first quarter of an hour needs on average, and a quarter more."""

MOST_SHARE: Final = 12.0
"""Nobody may ask for more than this many times the mean need: what the burstiest public trace wants at its peaks."""

GENERATED: Final = "generated-"
GENERATED_HOURS: Final = 12
"""Half a day: with a day, the services that rules are tuned on would take a quarter of an hour to look at."""

STEP: Final = "step"
STEP_RPS: Final = 20.0
STEP_LASTS_S: Final = 600
STEP_SPAN_S: Final = 1800
STEP_TOKENS: Final = (4000, 1000)
"""The step load that others published figures for (reference/peers.md, 11), and twice as long to serve its queue."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cell:
    """What is served: ``pool`` replicas are busy on average in the window, and a start takes ``load_s``.

    ``workload`` is one of `workload.SHIPPED`, ``generated-`` and a seed, or ``step``, whose size is its own. ``window``
    is "rise" (six hours around the steepest rise of a series, a recording whole), or "day" (the day that holds it);
    generated services are whole.
    """

    workload: str
    pool: float
    load_s: float
    engine: str = "llama-3.1-8b/H100"
    window: str = "rise"

    @property
    def name(self) -> str:
        """All of it in a line, for people and for ``--only``."""
        return f"{self.workload} {self.window} pool-{self.pool:g} load-{self.load_s:g} {self.engine}"

    @property
    def most(self) -> int:
        """The most replicas that anybody may ask for."""
        return ceil(MOST_SHARE * self.pool)

    def facts(self) -> dict[str, str | float]:
        """The fields, for a file."""
        return asdict(self)


@lru_cache(maxsize=4)
def traffic(cell: Cell) -> Recorded | Rated | Generated:
    """The requests of ``cell``. Raises TraceError."""
    return _traffic(cell.workload, cell.pool, cell.engine, cell.window)


@lru_cache(maxsize=8)
def _traffic(name: str, pool: float, engine: str, window: str) -> Recorded | Rated | Generated:
    if name.startswith(GENERATED):
        made = service(int(name.removeprefix(GENERATED)), GENERATED_HOURS)
        return filled(made, engine_named(engine), pool)
    if name == STEP:
        return _step()
    whole = opened(name)
    lengths = "code" if name.endswith("-code") else "conv"
    return filling(_windowed(whole, window), pool, SUSTAINED_RPS[engine, lengths])


def _step() -> Rated:
    rps = np.zeros(STEP_SPAN_S)
    rps[:STEP_LASTS_S] = STEP_RPS
    prompt, output = (np.array([tokens], dtype=np.int32) for tokens in STEP_TOKENS)
    lengths = Trace(name=STEP, arrival_s=np.zeros(1), prompt_tokens=prompt, output_tokens=output)
    return Rated(rates=Rates(name=STEP, rps=rps, sd_rps=np.zeros(STEP_SPAN_S)), lengths=lengths)


def _windowed(whole: Recorded | Rated, window: str) -> Recorded | Rated:
    if isinstance(whole, Recorded):
        return whole
    if window not in {"rise", "day"}:
        raise TraceError(f"window = {window}: must be rise or day")
    rise = steepest(whole.rates)
    middle_s = (rise.from_s + rise.until_s) // 2
    return whole.within(rise if window == "rise" else day(middle_s // DAY_S))


def case_of(cell: Cell, seed: int) -> Case:
    """What the perfect-foresight bound of ``cell`` has to serve."""
    return Case(
        workload=traffic(cell),
        engine=engine_of(cell),
        load_s=cell.load_s,
        drain_s=DRAIN_S,
        seed=seed,
        objective_s=OBJECTIVE_S,
        share=SHARE,
    )


def engine_of(cell: Cell) -> Engine:
    """The row of the latency model."""
    return engine_named(cell.engine)


def fleet_of(cell: Cell, seed: int) -> FleetSpec:
    """The fleet that a run of ``cell`` begins with."""
    return FleetSpec(
        engine=engine_of(cell),
        load_times=LoadTimes(median_s=cell.load_s),
        warm=warm_of(cell, seed),
        objective=OBJECTIVE,
    )


def warm_of(cell: Cell, seed: int) -> int:
    """How many replicas are ready when a run begins.

    The share of the traffic in its first quarter of an hour, as a rate over the mean rate, times the pool: worked, a
    pool of 8 whose traffic begins at half of its mean has 8 * 0.5 * 1.25 = 5. A step meets one.
    """
    if cell.workload == STEP:
        return 1
    work = traffic(cell)
    first = next(work.pieces(seed))
    span_s = min(900.0, work.span_s)
    rate = np.count_nonzero(first.arrival_s < span_s) / span_s / work.mean_rps
    return max(ceil(round(cell.pool * rate * WARM_SHARE, 6)), 1)
