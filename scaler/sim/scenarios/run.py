"""A scenario as it goes: our core decides on what Prometheus would show of a modelled cluster, and things happen to it.

The cluster is `scaler.sim.cluster`, which has the faults; noise and lost scrapes are added here as `scaler.sim.replay`
has them, and decisions are taken as late after a scrape as there.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from scaler.core.decide import decide
from scaler.core.model import Fleet, FleetSeen, Load, Missing, Observation, Replica, Snapshot
from scaler.core.plan import Plan, SetReplicas
from scaler.sim.cluster import Cluster, ServiceSpec, TargetSpec
from scaler.sim.compare.cells import SHARE
from scaler.sim.loadtime import LoadTimes
from scaler.sim.ours import only_target
from scaler.sim.replay import AFTER_S, DECISION_AFTER_S, GAUGE_NOISE, LOST_SHARE, PERIOD_S, Change, Run
from scaler.sim.scenarios.setting import SERVICE, Setting
from scaler.sim.state import Fate
from scaler.sim.trace import Trace

SCRAPES: Final = 8  # the stream of a seed; `traffic` has another


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One tick: what was seen, and what was decided on it."""

    observation: Observation
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What became of a scenario: every request, every decision, and the run that `score` takes."""

    requests: Trace
    decisions: tuple[Decision, ...]
    run: Run


def played(setting: Setting, seed: int) -> Played:
    """``setting`` from its beginning to its end; the same arguments give the same bytes."""
    trace = setting.traffic.requests(SERVICE, seed)
    stage = _Stage(setting, trace, seed)
    span_s = setting.traffic.span_s
    for tick in range(int(span_s / PERIOD_S)):
        stage.decide_at(tick * PERIOD_S + DECISION_AFTER_S)
    return stage.ended(span_s, trace)


class _Stage:
    """The cluster, the core's memory, and what has been decided so far."""

    def __init__(self, setting: Setting, trace: Trace, seed: int) -> None:
        self._policy = setting.policy
        self._cluster = _cluster_of(setting, trace, seed)
        self._ahead = sorted(setting.events, key=lambda event: event.at_s)
        self._memory = setting.memory
        self._scraped = Scraped(seed)
        self._decisions: list[Decision] = []
        self._changes = [Change(at_s=0.0, replicas=setting.warm)]

    def decide_at(self, at_s: float) -> None:
        """Let time pass until ``at_s`` and take one decision there."""
        self._advance(at_s)
        seen = self._scraped.seen(self._cluster.observation(SERVICE))
        memories = {} if self._memory is None else {SERVICE: self._memory}
        snapshot = Snapshot(at_s=at_s, models={SERVICE: seen})
        (plan,) = decide(snapshot, memories, (self._policy,))
        self._memory = plan.memory
        self._decisions.append(Decision(observation=seen, plan=plan))
        for command in plan.commands:
            if isinstance(command, SetReplicas):
                self._cluster.set_replicas(SERVICE, command.key, command.replicas)
                self._changes.append(Change(at_s=at_s, replicas=command.replicas))

    def ended(self, span_s: float, trace: Trace) -> Played:
        """What it came to, once the last requests have had their time."""
        self._advance(span_s)
        replica_s = self._cluster.tally(SERVICE).replica_s
        self._advance(span_s + AFTER_S)
        outcomes = self._cluster.outcomes(SERVICE)
        ttft_s = outcomes.ttft_s.astype(np.float32)
        ttft_s[outcomes.fate == Fate.FAILED] = np.nan
        run = Run(
            span_s=span_s,
            ttft_s=ttft_s,
            fates=self._cluster.tally(SERVICE).fates,
            replica_s=replica_s,
            changes=tuple(self._changes),
        )
        return Played(requests=trace, decisions=tuple(self._decisions), run=run)

    def _advance(self, until_s: float) -> None:
        while self._ahead and self._ahead[0].at_s <= until_s:
            event = self._ahead.pop(0)
            self._cluster.advance(event.at_s)
            event.happens(self._cluster)
        self._cluster.advance(until_s)


def _cluster_of(setting: Setting, trace: Trace, seed: int) -> Cluster:
    policy = setting.policy
    target = TargetSpec(
        key=only_target(policy).key,
        engine=setting.engine,
        load_times=LoadTimes(median_s=setting.load_s),
        replicas=setting.warm,
    )
    service = ServiceSpec(name=SERVICE, trace=trace, targets=(target,), percentile=100.0 * SHARE)
    return Cluster((service,), setting.pools, seed=seed)


class Scraped:
    """Observations with the noise of gauges, and with one scrape in fifty lost: then the sample before it stands."""

    def __init__(self, seed: int) -> None:
        self._luck = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, SCRAPES))))
        self._last: dict[str, Load] = {}

    def seen(self, observation: Observation) -> Observation:
        """``observation`` as it would be read."""
        fleets = tuple(FleetSeen(key=each.key, fleet=self._fleet(each.fleet)) for each in observation.fleets)
        return replace(observation, fleets=fleets)

    def _fleet(self, fleet: Fleet | Missing) -> Fleet | Missing:
        if isinstance(fleet, Missing):
            return fleet
        replicas = tuple(self._replica(replica) for replica in fleet.replicas)
        self._last = {each.name: each.load for each in replicas if isinstance(each.load, Load)}
        return replace(fleet, replicas=replicas)

    def _replica(self, replica: Replica) -> Replica:
        is_lost, noise = self._luck.random() < LOST_SHARE, 1.0 + GAUGE_NOISE * self._luck.standard_normal()
        if isinstance(replica.load, Missing):
            return replica
        if is_lost and replica.name in self._last:
            return replace(replica, load=self._last[replica.name])
        load = replace(
            replica.load,
            running=replica.load.running * noise,
            waiting=replica.load.waiting * noise,
            kv_usage=min(replica.load.kv_usage * noise, 1.0),
        )
        return replace(replica, load=load)
