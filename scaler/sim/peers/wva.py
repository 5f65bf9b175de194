"""llm-d's workload variant autoscaler, saturation analyzer V2: tokens wanted against tokens a replica can hold or do.

From reference/peers.md, 3, where the constants are; one variant, one role. Its number reaches the fleet through an HPA.
"""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import ClassVar, Final

from scaler.sim.latency import Engine
from scaler.sim.peers.hpa import Hpa, average_value
from scaler.sim.peers.peer import Peer
from scaler.sim.view import ReplicaView, View

KV_SHARE: Final = 0.8  # kvCacheThreshold
LONG_QUEUE: Final = 5.0  # queueLengthThreshold
DOWN_OVER_UP: Final = 0.70 / 0.85  # scaleDownBoundary to scaleUpThreshold
REMEMBERED: Final = 10
LENGTHS_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wva(Peer):
    """``threshold`` is scaleUpThreshold, and the boundary for shrinking keeps its proportion to it.

    Of ``engine`` only what its metrics and arguments say is used: KV tokens, most sequences, tokens of a step.
    """

    name: ClassVar[str] = "wva-v2"
    sweep: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.95)

    threshold: float = 0.85
    engine: Engine

    def autoscaler(self) -> "WvaScaler":
        """One that has seen nothing yet."""
        return WvaScaler(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Mean tokens of a request, read and written."""

    prompt: float
    output: float

    @property
    def total(self) -> float:
        """Both."""
        return self.prompt + self.output


class WvaScaler:
    """See `Wva`."""

    def __init__(self, peer: Wva) -> None:
        self._peer = peer
        self._hpa = Hpa(peer.bounds)
        self._rates: deque[tuple[float, float, float, float]] = deque()
        self._saturated: deque[float] = deque(maxlen=REMEMBERED)

    def replicas(self, view: View) -> int:
        """How many to have from now on; what is asked for already when no replica has reported."""
        if not self._hpa.is_due(view.at_s) or not view.replicas:
            return view.requested
        lengths = self._lengths(view)
        capacity = median([self._capacity(replica, lengths) for replica in view.replicas])
        wanted = self._wanted(self._demand(view, lengths) / capacity, view)
        return self._hpa.replicas(average_value(wanted, 1.0, view.requested), view)

    def _wanted(self, demand: float, view: View) -> int:
        """The number for a demand in replicas' worth: starting ones count on the way up, not on the way down."""
        missing = demand / self._peer.threshold - len(view.replicas) - view.starting
        if missing > 0.0:
            return view.requested + math.ceil(missing)
        spare = len(view.replicas) - demand / (self._peer.threshold * DOWN_OVER_UP)
        return view.requested - math.floor(spare) if spare >= 1.0 else view.requested

    def _demand(self, view: View, lengths: Lengths) -> float:
        """Tokens in use and those that the queues will need."""
        resident = sum(self._resident(replica) for replica in view.replicas)
        queued = sum(max(replica.waiting, replica.mean_waiting) for replica in view.replicas)
        return resident + (queued + view.gateway_waiting) * lengths.total

    def _resident(self, replica: ReplicaView) -> float:
        """Tokens in the KV cache: the minute's maximum, of which the last sample and the mean are what is seen."""
        return max(replica.kv_usage, replica.mean_kv_usage) * self._peer.engine.kv_tokens

    def _capacity(self, replica: ReplicaView, lengths: Lengths) -> float:
        """The smaller of what the cache may hold and what the replica was seen, or is computed, to get through."""
        by_memory = KV_SHARE * self._peer.engine.kv_tokens
        resident = self._resident(replica)
        if max(replica.waiting, replica.mean_waiting) >= LONG_QUEUE and resident >= 1.0:
            self._saturated.append(resident)
            return min(by_memory, resident)
        if self._saturated:
            return min(by_memory, sum(self._saturated) / len(self._saturated))
        return min(by_memory, derived(self._peer.engine, lengths))

    def _lengths(self, view: View) -> Lengths:
        """The means of the last five minutes' requests; 0 when none has finished."""
        prompt = sum(replica.prompt_tokens_per_s for replica in view.replicas)
        output = sum(replica.generation_tokens_per_s for replica in view.replicas)
        finished = sum(replica.finished_per_s for replica in view.replicas)
        self._rates.append((view.at_s, prompt, output, finished))
        while self._rates[0][0] < view.at_s - LENGTHS_S:
            self._rates.popleft()
        requests = sum(row[3] for row in self._rates)
        if requests <= 0.0:
            return Lengths(prompt=0.0, output=0.0)
        prompts, outputs = sum(row[1] for row in self._rates), sum(row[2] for row in self._rates)
        return Lengths(prompt=prompts / requests, output=outputs / requests)


def derived(engine: Engine, lengths: Lengths) -> float:
    """What a replica gets through by its limits alone: N sequences, each half way through its answer.

    Example: 1000 in and 200 out, 8192 tokens a step: N = 8192 * 200 / 1200 = 1365, so 256, with 281,600 tokens.
    """
    if lengths.total <= 0.0:
        return math.inf
    sequences = min(engine.chunk_tokens * lengths.output / lengths.total, engine.max_seqs)
    return max(max(sequences, 1.0) * (lengths.prompt + lengths.output / 2.0), 1.0)
