"""One model service in the cluster: its traffic, its targets and their pods, and what was scraped of them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from scaler.core.lateness import NO_FIRST_TOKEN, first_tokens_of
from scaler.core.model import FirstTokens, Fleet, FleetSeen, Missing, Objective, Observation, TargetKey
from scaler.sim.latency import Engine
from scaler.sim.loadtime import LoadTimes
from scaler.sim.plant import Plant
from scaler.sim.pods import Pod, Scrape
from scaler.sim.state import BOUNDS_S, Ints
from scaler.sim.trace import Trace

MINUTE_S: Final = 60.0
WINDOW_SCRAPES: Final = 4  # a minute of them


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """A Deployment-like set of replicas. ``replicas`` of them are there, ready, when the run begins."""

    key: TargetKey
    engine: Engine
    load_times: LoadTimes
    replicas: int = 1


USUAL: Final = Objective(percentile=95.0, limit_s=2.0)
"""The API's own percentile, at the limit that a policy without an objective is sized for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One model service: a trace of requests and the targets, one a version, that serve it.

    With ``weights`` there is a route that splits the traffic, and it answers 503 for a version that has nobody ready.
    With None there is one version behind a gateway that holds requests until somebody is ready. A replica that is to
    go may finish its requests for ``grace_s``. ``objective`` says of what percentile the time to first token is
    observed, and what is late.
    """

    name: str
    trace: Trace
    targets: tuple[TargetSpec, ...]
    weights: Mapping[str, int] | None = None
    grace_s: float = 120.0
    objective: Objective = USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """From ``from_s`` to ``until_s`` every ``nth`` pod is not scraped (1: none is)."""

    from_s: float
    until_s: float
    nth: int

    def covers(self, at_s: float, ordinal: int) -> bool:
        """Whether it keeps pod number ``ordinal`` from being scraped at ``at_s``."""
        return self.from_s <= at_s < self.until_s and ordinal % self.nth == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """From ``from_s`` to ``until_s`` every answer is the last from before, with the time of that sample."""

    from_s: float
    until_s: float

    def covers(self, at_s: float) -> bool:
        """Whether it holds at ``at_s``."""
        return self.from_s <= at_s < self.until_s


class Service:
    """The state of one service. The cluster moves it; here is what belongs to one service alone."""

    def __init__(self, spec: ServiceSpec, seed: int) -> None:
        self.spec = spec
        self.plant = Plant(spec.trace, seed=seed, holds=spec.weights is None, versions=len(spec.targets))
        self.pods: list[Pod] = []  # those not gone, oldest first
        self.requested = {target.key: target.replicas for target in spec.targets}
        self.created = dict.fromkeys(self.requested, 0)
        self.versions = {target.key.version: place for place, target in enumerate(spec.targets)}
        self.blind: list[Blindness] = []
        self.frozen: list[Freeze] = []
        self.held: int | Missing = Missing(why="the gateway has not been scraped yet")
        self.counts: deque[Ints] = deque(maxlen=WINDOW_SCRAPES + 1)
        self.replica_s = 0.0  # of pods that are gone
        self.gpu_s = 0.0
        self.weights = spec.weights
        if spec.weights is not None:
            self.set_weights(spec.weights)

    def target(self, key: TargetKey) -> TargetSpec:
        """The target ``key``. Raises KeyError."""
        for target in self.spec.targets:
            if target.key == key:
                return target
        raise KeyError(key)

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Split the traffic by these percentages from now on."""
        self.weights = dict(weights)
        self.plant.set_weights(tuple(weights.get(version, 0) for version in self.versions))

    def pods_of(self, key: TargetKey) -> list[Pod]:
        """The pods of one target, oldest first."""
        return [pod for pod in self.pods if pod.key == key]

    def pod(self, name: str) -> Pod:
        """The pod of that name, which has a node. Raises KeyError."""
        for pod in self.pods:
            if pod.name == name and pod.node is not None:
                return pod
        raise KeyError(name)

    def scrape(self, at_s: float) -> None:
        """Read the engines, the gateway and the histogram of first tokens, as far as they can be read."""
        if any(freeze.covers(at_s) for freeze in self.frozen):
            return
        readings = self.plant.readings()
        for pod in self.pods:
            if any(blind.covers(at_s, pod.ordinal) for blind in self.blind):
                pod.load = Missing(why=f"its engine was not scraped at {at_s:g} s")
            elif pod.slot is not None and (pod.is_ready or pod.deleted_at_s is not None):
                pod.tell(Scrape(at_s=at_s, reading=readings[pod.slot]))
            else:
                pod.load = Missing(why="its engine does not answer yet")
        if any(blind.covers(at_s, 0) and blind.nth == 1 for blind in self.blind):
            self.held = Missing(why=f"the gateway was not scraped at {at_s:g} s")
            self.counts.clear()
        else:
            self.held = self.plant.held
            self.counts.append(self.plant.ttft_counts())

    def observation(self, at_s: float) -> Observation:
        """What one tick would see at ``at_s``: pods as they are, signals as last scraped."""
        return Observation(
            fleets=tuple(FleetSeen(key=target.key, fleet=self._fleet(target, at_s)) for target in self.spec.targets),
            weights=Missing(why="the policy names no route") if self.weights is None else dict(self.weights),
            gateway_waiting=self._gateway_waiting(),
            ttft_s=self._ttft_s(),
            first_tokens=self._first_tokens(),
        )

    def _fleet(self, target: TargetSpec, at_s: float) -> Fleet:
        return Fleet(
            requested=self.requested[target.key],
            replicas=tuple(pod.seen(at_s) for pod in self.pods_of(target.key)),
            gpus_per_replica=target.engine.gpus,
        )

    def _gateway_waiting(self) -> float | Missing:
        if self.weights is not None:
            return Missing(why="the policy names no endpoint picker")
        return self.held if isinstance(self.held, Missing) else float(self.held)

    def _ttft_s(self) -> float | Missing:
        counts = self._minute()
        return counts if isinstance(counts, Missing) else quantile(counts, self.spec.objective.percentile / 100.0)

    def _first_tokens(self) -> FirstTokens | Missing:
        counts = self._minute()
        if isinstance(counts, Missing):
            return counts
        return first_tokens_of(rates_of(counts, MINUTE_S), self.spec.objective.limit_s)

    def _minute(self) -> Ints | Missing:
        """First tokens of the last minute by bucket."""
        if len(self.counts) <= WINDOW_SCRAPES:
            return Missing(why="first tokens have not been scraped for a minute yet")
        return self.counts[-1] - self.counts[0]


def rates_of(counts: Ints, span_s: float) -> dict[float, float]:
    """The rates of the bucket counts of ``span_s``, cumulated, by upper bound, as Prometheus has them."""
    return dict(zip((*BOUNDS_S, inf), (np.cumsum(counts) / span_s).tolist(), strict=True))


def quantile(counts: Ints, share: float) -> float | Missing:
    """The quantile from bucket counts as Prometheus' histogram_quantile has it, linear within the bucket."""
    total = int(counts.sum())
    if total == 0:
        return NO_FIRST_TOKEN
    below = np.cumsum(counts)
    bucket = int(np.searchsorted(below, share * total, side="left"))
    if bucket >= len(BOUNDS_S):
        return BOUNDS_S[-1]
    low_s = BOUNDS_S[bucket - 1] if bucket else 0.0
    inside = (share * total - (int(below[bucket]) - int(counts[bucket]))) / int(counts[bucket])
    return low_s + (BOUNDS_S[bucket] - low_s) * inside
