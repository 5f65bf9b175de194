"""Replicas that only prefill, as the fleet model serves them: every request ends with its first token."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaler.core.capacity import learned
from scaler.core.memory import CapacityMemory
from scaler.core.model import Load, Replica, Role, Work
from scaler.sim.latency import Engine
from scaler.sim.plant import Plant, Reading
from scaler.sim.state import NOBODY, TICKS_PER_S
from scaler.sim.trace import Trace
from scaler.sim.workload import drawn_from
from tests.builders import START_S, fleet, key, ready
from tests.core.engines import TICK_S
from tests.sim.traffic import poisson

WINDOW_TICKS = 4


def prompts(source: str) -> Trace:
    """The prompts of a public trace, each with an answer of one token."""
    lengths = drawn_from(source)
    return replace(lengths, output_tokens=np.ones_like(lengths.output_tokens))


def alike(tokens: int) -> Trace:
    """Prompts of one length."""
    return Trace(
        name="alike",
        arrival_s=np.arange(2, dtype=np.float64),
        prompt_tokens=np.full(2, tokens, dtype=np.int32),
        output_tokens=np.ones(2, dtype=np.int32),
    )


def full_tokens_per_s(engine: Engine) -> float:
    """The prompt tokens a second of a replica all of whose steps are full."""
    return engine.chunk_tokens / (engine.gamma_ms + engine.delta_ms * engine.chunk_tokens) * 1e3


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefilled:
    """One replica that has served its trace: what its counters said at every tick, and each prefill's end and time."""

    readings: Sequence[Reading]
    ended_s: NDArray[np.float64]
    took_s: NDArray[np.float64]

    def minute(self, tick: int) -> Load:
        """The minute that ends with a tick, as the queries tell it."""
        first, last = self.readings[tick - WINDOW_TICKS], self.readings[tick]
        span_s = WINDOW_TICKS * TICK_S
        begin_s = (tick - WINDOW_TICKS) * TICK_S
        within = (self.ended_s > begin_s) & (self.ended_s <= begin_s + span_s)
        finished_per_s = (last.finished - first.finished) / span_s
        told = Work(
            prefill_tokens_per_s=(last.prompt_tokens - first.prompt_tokens) / span_s,
            decode_tokens_per_s=finished_per_s,
            finished_per_s=finished_per_s,
            inter_token_latency_s=None,
            prefilling=float(self.took_s[within].sum()) / span_s,
        )
        at_s = START_S + tick * TICK_S
        return Load(at_s=at_s, running=float(last.running), waiting=float(last.waiting), kv_usage=0.1, work=told)


def prefilled(engine: Engine, lengths: Trace, share: float, minutes: int, seed: int) -> Prefilled:
    """A replica that had ``share`` of what it carries, with Poisson arrivals."""
    ticks = WINDOW_TICKS * minutes
    rps = share * full_tokens_per_s(engine) / float(lengths.prompt_tokens.mean())
    plant = Plant(poisson(rps, ticks * TICK_S, lengths, seed), seed=0, holds=True)
    slot = plant.add(engine)
    plant.open(slot)
    readings: list[Reading] = []
    for tick in range(ticks + 1):
        plant.advance(tick * TICK_S)
        readings.append(plant.readings()[slot])
    rows = plant.requests(np.arange(plant.arrived))
    begun = rows[rows["first_ps"] != NOBODY]
    ended_s = begun["first_ps"] / TICKS_PER_S
    return Prefilled(readings=readings, ended_s=ended_s, took_s=ended_s - begun["start_ps"] / TICKS_PER_S)


def learning(engine: Engine, lengths: Trace, share: float, *, minutes: int, count: int = 4) -> list[CapacityMemory]:
    """What is known after every tick from the first whole minute on, of ``count`` replicas at this share."""
    fleets = [prefilled(engine, lengths, share, minutes, seed) for seed in range(1, count + 1)]
    memory = CapacityMemory(key=key(role=Role.PREFILL), node_class="H100")
    known: list[CapacityMemory] = []
    for tick in range(WINDOW_TICKS, WINDOW_TICKS * minutes + 1):
        replicas = (replica(f"r{index}", each.minute(tick)) for index, each in enumerate(fleets))
        memory = learned(memory, fleet(*replicas))
        known.append(memory)
    return known


def replica(name: str, minute: Load) -> Replica:
    """A ready replica that had such a minute."""
    return ready(name, at_s=minute.at_s, load=minute)
