"""Dynamo's planner: the load loop, alone and above the floor of its throughput loop. True capacity is given.

Where Dynamo fits its predictions to what engines report, these know the engine's own numbers, so they are never worse.
From reference/peers.md, 6; the load loop runs each 5 s there, and at each tick of the simulator here.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from scaler.sim.latency import Engine
from scaler.sim.oracle import work_s
from scaler.sim.peers.peer import Bounds, Peer, in_flight
from scaler.sim.view import ReplicaView, View

TTFT_S: Final = 0.5  # ttft_ms
ITL_S: Final = 0.05  # itl_ms
DOWN_SENSITIVITY: Final = 0.8
THROUGHPUT_LOOP_S: Final = 180.0
RATE_WINDOW_S: Final = 60.0
EARLY_S: Final = 0.001  # a tick may be this early, by rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoLoad(Peer):
    """The load loop; ``threshold`` is the target for the time to first token in seconds, 0.5 by default."""

    name: ClassVar[str] = "dynamo-load"
    sweep: ClassVar[tuple[float, ...]] = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.12, 0.16, 0.25, 0.5, 1, 2)

    threshold: float = TTFT_S
    engine: Engine

    def autoscaler(self) -> "LoadLoop":
        """One that has seen nothing yet."""
        return LoadLoop(self.engine, self.threshold, self.bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoThroughput(Peer):
    """Both loops; ``threshold`` is how much of the true capacity the throughput loop counts on, all by default."""

    name: ClassVar[str] = "dynamo-throughput"
    sweep: ClassVar[tuple[float, ...]] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)

    threshold: float = 1.0
    engine: Engine

    def autoscaler(self) -> "BothLoops":
        """One that has seen nothing yet."""
        return BothLoops(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the next request on an engine would see."""

    ttft_s: float
    itl_s: float

    def is_over(self, ttft_s: float, itl_s: float) -> bool:
        """Whether one of the targets is exceeded."""
        return self.ttft_s > ttft_s or self.itl_s > itl_s


class LoadLoop:
    """One up when all engines are over their targets, one down when all would stay under with one less."""

    def __init__(self, engine: Engine, ttft_s: float, bounds: Bounds) -> None:
        self._engine = engine
        self._ttft_s = ttft_s
        self._bounds = bounds
        self._prompt_tokens = 0.0

    def replicas(self, view: View) -> int:
        """How many to have from now on. It acts only when every ready replica is seen and none is starting.

        Nor does it before a request has finished: Dynamo's predictions are fitted to what it has observed.
        """
        self._prompt_tokens = mean_prompt(view, self._prompt_tokens)
        if view.starting or not view.replicas or len(view.replicas) != view.requested or not self._prompt_tokens:
            return view.requested
        return self._bounds.held(view.requested + self._step(view))

    def _step(self, view: View) -> int:
        if all(self.predicted(replica, 1.0).is_over(self._ttft_s, ITL_S) for replica in view.replicas):
            return 1
        replicas = len(view.replicas)
        if replicas == 1:
            return 0
        load = replicas / (replicas - 1)
        return -1 if all(self._would_hold(replica, load) for replica in view.replicas) else 0

    def _would_hold(self, replica: ReplicaView, load: float) -> bool:
        """Whether the engine stays well under its targets and within its cache with ``load`` times what it has."""
        over = self.predicted(replica, load).is_over(self._ttft_s * DOWN_SENSITIVITY, ITL_S * DOWN_SENSITIVITY)
        return replica.kv_usage * load < 1.0 and not over

    def predicted(self, replica: ReplicaView, load: float) -> Prediction:
        """With ``load`` times the queue and the running requests of its last scrape, and one request more.

        Example: 10 waiting of 1000 tokens, Llama-3.1-8B on an H100 with nothing running: 11,000 tokens in two steps,
        2 * 3.96 + 11,000 * 0.01962 = 224 ms.
        """
        prompts = (replica.waiting * load + 1.0) * self._prompt_tokens
        running = replica.running * load
        step_s = self._engine.step_s(running, replica.kv_usage * load * self._engine.kv_tokens) if running else 0.0
        steps = math.ceil(prompts / self._engine.chunk_tokens)
        return Prediction(ttft_s=self._engine.lone_ttft_s(math.ceil(prompts)) + steps * step_s, itl_s=step_s)


class BothLoops:
    """The load loop, never below what the throughput loop computes every 180 s from the last minute's arrivals."""

    def __init__(self, peer: DynamoThroughput) -> None:
        self._peer = peer
        self._load = LoadLoop(peer.engine, TTFT_S, peer.bounds)
        self._computed_s = -math.inf
        self._floor: int | None = None
        self._seen: deque[tuple[float, float]] = deque()

    def replicas(self, view: View) -> int:
        """How many to have from now on."""
        growth_rps = self._growth_rps(view)
        if self._floor is None and not any(replica.finished_per_s for replica in view.replicas):
            return view.requested
        if view.at_s - self._computed_s >= THROUGHPUT_LOOP_S - EARLY_S and view.replicas:
            self._computed_s = view.at_s
            self._floor = math.ceil(busy(view, self._peer.engine, growth_rps) / self._peer.threshold)
        return self._peer.bounds.held(max(self._floor or 0, self._load.replicas(view)))

    def _growth_rps(self, view: View) -> float:
        """By how much more came than went over the last minute: Dynamo counts arrivals, engines only what they end."""
        self._seen.append((view.at_s, in_flight(view)))
        while self._seen[0][0] < view.at_s - RATE_WINDOW_S:
            self._seen.popleft()
        since_s, before = self._seen[0]
        return (in_flight(view) - before) / (view.at_s - since_s) if view.at_s > since_s else 0.0


def busy(view: View, engine: Engine, growth_rps: float) -> float:
    """How many replicas the arrivals of the last minute keep busy: their rate by what an engine does of such."""
    finished = sum(replica.finished_per_s for replica in view.replicas)
    if finished <= 0.0:
        return 0.0
    prompts = sum(replica.prompt_tokens_per_s for replica in view.replicas) / finished
    outputs = sum(replica.generation_tokens_per_s for replica in view.replicas) / finished
    arrived = max(0.0, finished + growth_rps)
    return arrived * float(work_s(engine, np.array([prompts]), np.array([outputs]))[0])


def mean_prompt(view: View, known: float) -> float:
    """Tokens read for a request over the last minute; what was ``known`` when none has finished."""
    finished = sum(replica.finished_per_s for replica in view.replicas)
    return sum(replica.prompt_tokens_per_s for replica in view.replicas) / finished if finished > 0.0 else known
