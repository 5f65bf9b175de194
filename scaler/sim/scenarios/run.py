"""A scenario as it goes: our core decides on what Prometheus would show of a modelled cluster, and things happen to it.

The cluster is `scaler.sim.cluster`, which has the faults; noise and lost scrapes are added here as `scaler.sim.replay`
has them, and decisions are taken as late after a scrape as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from scaler.core.decide import decide
from scaler.core.model import Fleet, FleetSeen, Load, Missing, Observation, Pool, Pools, Replica, Snapshot
from scaler.core.plan import Plan, SetReplicas
from scaler.sim.cluster import Cluster, ServiceSpec, TargetSpec
from scaler.sim.compare.cells import OBJECTIVE
from scaler.sim.loadtime import LoadTimes
from scaler.sim.nodes import Node
from scaler.sim.ours import only_target
from scaler.sim.replay import AFTER_S, DECISION_AFTER_S, GAUGE_NOISE, LOST_SHARE, PERIOD_S, Change, Run
from scaler.sim.scenarios.setting import Served, Setting
from scaler.sim.state import Fate
from scaler.sim.trace import Trace

SCRAPES: Final = 8  # the stream of a seed; `traffic` has another
SEEDS_APART: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One tick: what was seen, and what was decided on it."""

    observation: Observation
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What became of a model: every request, every decision, and the run that `score` takes.

    ``beside`` are the others of the scenario, by the names of their policies.
    """

    requests: Trace
    decisions: tuple[Decision, ...]
    run: Run
    beside: Mapping[str, "Played"] = field(default_factory=dict)


def played(setting: Setting, seed: int) -> Played:
    """``setting`` from its beginning to its end; the same arguments give the same bytes."""
    stage = _Stage(setting, seed)
    span_s = setting.traffic.span_s
    for tick in range(int(span_s / PERIOD_S)):
        stage.decide_at(tick * PERIOD_S + DECISION_AFTER_S)
    own, *others = stage.ended(span_s)
    names = [served.policy.name for served in setting.served[1:]]
    return replace(own, beside=dict(zip(names, others, strict=True)))


class _Model:
    """One of the models on the stage: what it is asked, what the core remembers of it, and what was decided so far."""

    def __init__(self, served: Served, trace: Trace, seed: int) -> None:
        self.policy = served.policy
        self.memory = served.memory
        self.trace = trace
        self.scraped = Scraped(seed)
        self.decisions: list[Decision] = []
        self.changes = [Change(at_s=0.0, replicas=served.warm)]

    def decided(self, observation: Observation, plan: Plan) -> list[SetReplicas]:
        """The commands of ``plan``, which is kept."""
        self.memory = plan.memory
        self.decisions.append(Decision(observation=observation, plan=plan))
        commands = [command for command in plan.commands if isinstance(command, SetReplicas)]
        self.changes += [Change(at_s=plan.at_s, replicas=command.replicas) for command in commands]
        return commands

    def ended(self, cluster: Cluster, span_s: float, replica_s: float) -> Played:
        """What it came to."""
        outcomes = cluster.outcomes(self.policy.name)
        ttft_s = outcomes.ttft_s.astype(np.float32)
        ttft_s[outcomes.fate == Fate.FAILED] = np.nan
        run = Run(
            span_s=span_s,
            ttft_s=ttft_s,
            fates=cluster.tally(self.policy.name).fates,
            replica_s=replica_s,
            changes=tuple(self.changes),
        )
        return Played(requests=self.trace, decisions=tuple(self.decisions), run=run)


class _Stage:
    """The cluster, its models, and what is still to befall it."""

    def __init__(self, setting: Setting, seed: int) -> None:
        # Each model has a chance of its own: with one seed, all would have their bursts together.
        seeds = [seed + SEEDS_APART * place for place in range(len(setting.served))]
        self._models = [
            _Model(served, served.traffic.requests(served.policy.name, own), own)
            for served, own in zip(setting.served, seeds, strict=True)
        ]
        self._cluster = _cluster_of(setting, [model.trace for model in self._models], seed)
        self._ahead = sorted(setting.events, key=lambda event: event.at_s)

    def decide_at(self, at_s: float) -> None:
        """Let time pass until ``at_s`` and take one decision there, for all models together."""
        self._advance(at_s)
        seen = {
            model.policy.name: model.scraped.seen(self._cluster.observation(model.policy.name))
            for model in self._models
        }
        memories = {model.policy.name: model.memory for model in self._models if model.memory is not None}
        snapshot = Snapshot(at_s=at_s, models=seen, pools=pools_of(self._cluster.nodes))
        plans = decide(snapshot, memories, [model.policy for model in self._models])
        for model, plan in zip(self._models, plans, strict=True):
            for command in model.decided(seen[model.policy.name], plan):
                self._cluster.set_replicas(model.policy.name, command.key, command.replicas)

    def ended(self, span_s: float) -> list[Played]:
        """What each model came to, once the last requests have had their time."""
        self._advance(span_s)
        replica_s = [self._cluster.tally(model.policy.name).replica_s for model in self._models]
        self._advance(span_s + AFTER_S)
        return [model.ended(self._cluster, span_s, each) for model, each in zip(self._models, replica_s, strict=True)]

    def _advance(self, until_s: float) -> None:
        while self._ahead and self._ahead[0].at_s <= until_s:
            event = self._ahead.pop(0)
            self._cluster.advance(event.at_s)
            event.happens(self._cluster)
        self._cluster.advance(until_s)


def _cluster_of(setting: Setting, traces: Sequence[Trace], seed: int) -> Cluster:
    services = [_service(setting, served, trace) for served, trace in zip(setting.served, traces, strict=True)]
    return Cluster(services, setting.pools, seed=seed)


def _service(setting: Setting, served: Served, trace: Trace) -> ServiceSpec:
    target = TargetSpec(
        key=only_target(served.policy).key,
        engine=setting.engine,
        load_times=LoadTimes(median_s=setting.load_s),
        replicas=served.warm,
    )
    return ServiceSpec(name=served.policy.name, trace=trace, targets=(target,), objective=OBJECTIVE)


def pools_of(nodes: Sequence[Node]) -> Pools:
    """The GPUs of ``nodes`` by product, as the controller counts them; no namespace has a quota."""
    products = tuple(
        Pool(
            product=product,
            allocatable_gpus=sum(node.gpus for node in nodes if node.node_class == product),
            free_gpus=sum(node.free_gpus for node in nodes if node.node_class == product),
        )
        for product in sorted({node.node_class for node in nodes})
    )
    return Pools(products=products, quotas=())


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
