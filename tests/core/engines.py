"""Minutes of replicas that behave as the latency model says, and what such a replica truly carries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from scaler.core.capacity import Belief, learned
from scaler.core.memory import CapacityMemory
from scaler.core.model import Load, Replica, Tokens
from scaler.sim.latency import ENGINES, Engine
from tests.builders import START_S, fleet, load, ready, work

TICK_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What a request is like: tokens in and out."""

    name: str
    prompt: float
    answer: float


CONVERSATION = Mix(name="conversation", prompt=1155.0, answer=211.0)
CODE = Mix(name="code", prompt=2048.0, answer=28.0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One engine under one kind of traffic, ``slow`` times as slow as it should be."""

    engine: Engine
    mix: Mix
    slow: float = 1.0

    def __str__(self) -> str:
        return f"{self.engine.name}-{self.engine.gpu}-{self.mix.name}"

    @property
    def truth(self) -> Belief:
        """The parameters that the minutes are made with."""
        ms = self.slow / 1e3
        return Belief(
            step_s=self.engine.alpha_ms * ms,
            decode_s=self.engine.beta_ms * ms,
            cache_s=self.engine.kappa_ms * ms * self.engine.kv_tokens / 1e3,
            prefill_s=self.engine.delta_ms * ms,
            sequences_most=float(self.engine.max_seqs),
            lines=1.0,
        )

    def flow(self, requests_per_s: float = 1.0) -> Tokens:
        """So many requests by the second; a sequence has its prompt in the cache and half its answer, on average."""
        resident = self.mix.prompt + self.mix.answer / 2.0
        return Tokens(
            prefill_per_s=requests_per_s * self.mix.prompt,
            decode_per_s=requests_per_s * self.mix.answer,
            requests_per_s=requests_per_s,
            cache_share=resident / self.engine.kv_tokens,
        )

    @property
    def most_per_s(self) -> float:
        """The requests a second that one replica truly carries."""
        return 1.0 / self.truth.replicas(self.flow())

    def minute(self, share: float, at_s: float = START_S) -> Load:
        """A minute at ``share`` of what a replica carries.

        L = alpha + beta*B + kappa*KV + delta*P*L, with B = G*L, is linear in L.
        """
        flow, truth = self.flow(share * self.most_per_s), self.truth
        decoding = flow.decode_per_s * (truth.decode_s + truth.cache_s * flow.cache_share)
        latency_s = truth.step_s / (1.0 - decoding - flow.prefill_per_s * truth.prefill_s)
        running = flow.decode_per_s * latency_s
        rates = work(flow.prefill_per_s, flow.decode_per_s, flow.requests_per_s, latency_s)
        return replace(load(running=running, kv_usage=running * flow.cache_share, at_s=at_s), work=rates)

    def replica(self, name: str, share: float, at_s: float = START_S) -> Replica:
        """A replica that had such a minute."""
        return ready(name, at_s=at_s, load=self.minute(share, at_s))


ROWS = tuple(Row(engine=engine, mix=mix) for engine in ENGINES for mix in (CONVERSATION, CODE))


def after(memory: CapacityMemory, row: Row, shares: Sequence[float], count: int = 4) -> CapacityMemory:
    """``memory`` after one round of ``count`` replicas at each of these shares of what they carry."""
    start_s = START_S if memory.at_s is None else memory.at_s
    for tick, share in enumerate(shares, start=1):
        at_s = start_s + tick * TICK_S
        memory = learned(memory, fleet(*(row.replica(f"r{index}", share, at_s) for index in range(count))))
    return memory


def rounds(count: int, *shares: float) -> list[float]:
    """So many shares, taken in turn."""
    return list(islice(cycle(shares), count))
