"""Kubernetes and Prometheus as one world for the loop, and who is told of what it decides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from structlog.typing import FilteringBoundLogger

from scaler.adapters.kubernetes.cluster import KubernetesCluster, Sight
from scaler.adapters.kubernetes.status import memory_of
from scaler.adapters.prometheus import Account
from scaler.adapters.telemetry import Telemetry
from scaler.api.v1alpha1 import ScalingPolicy
from scaler.core.memory import Memory
from scaler.core.model import Actuation, Fleet, Load, Missing, Observation, Policy, Snapshot
from scaler.core.plan import Command
from scaler.runtime.ports import Clock, Outcome, Record, Seen
from scaler.runtime.signals import Answered, Asked, SignalSource


@dataclass(slots=True, kw_only=True)
class World:
    """What the loop sees and acts on: fleets from Kubernetes, with what Prometheus says of their engines."""

    cluster: KubernetesCluster
    signals: SignalSource
    advises_only: bool
    sight: Sight = field(default_factory=lambda: Sight(models=(), faulty=()))
    _known: frozenset[str] = frozenset()
    _loads: Mapping[str, Mapping[str, Load | Missing]] = field(default_factory=dict)

    async def observe(self, at_s: float) -> Seen:
        """What there is as of ``at_s``. Raises TransientError while the policies are not known."""
        self.sight = await self.cluster.look(at_s)
        asked = [question(each.document, each.policy, each.observation) for each in self.sight.models]
        answers = await self.signals.read(asked, at_s)
        self._loads = {name: answer.loads for name, answer in answers.items()}
        restored = self._restored(at_s)
        self._known = frozenset(model.policy.name for model in self.sight.models)
        return Seen(
            snapshot=Snapshot(
                at_s=at_s,
                models={
                    each.policy.name: joined(each.observation, answers[each.policy.name]) for each in self.sight.models
                },
                pools=self.sight.pools,
            ),
            policies=tuple(self._as_allowed(model.policy) for model in self.sight.models),
            restored=restored,
        )

    def _restored(self, at_s: float) -> dict[str, Memory]:
        """What the statuses of policies that are new to us remember of a process before us."""
        return {
            model.policy.name: memory_of(model.object.status, model.observation, at_s)
            for model in self.sight.models
            if model.policy.name not in self._known and model.object.status is not None
        }

    def _as_allowed(self, policy: Policy) -> Policy:
        return replace(policy, actuation=Actuation.ADVISE) if self.advises_only else policy

    async def act(self, policy: Policy, commands: Sequence[Command]) -> None:
        """Carry out ``commands``; those with the least work go first."""
        await self.cluster.act(policy, commands, self._loads.get(policy.name, {}))


def question(document: ScalingPolicy, policy: Policy, observation: Observation) -> Asked:
    """What the engines are asked for ``policy``, of the ready replicas that were observed."""
    fleets = [seen.fleet for seen in observation.fleets if isinstance(seen.fleet, Fleet)]
    zero = document.spec.scale_to_zero
    return Asked(
        policy=policy.name,
        namespace=document.metadata.namespace,
        signals=document.spec.signals,
        pods=tuple(replica.name for fleet in fleets for replica in fleet.ready()),
        objective=policy.time_to_first_token,
        demand_query=None if zero is None else zero.demand_query,
    )


def joined(observation: Observation, answer: Answered) -> Observation:
    """The observation with what the engines say; a replica that was not asked for keeps what it had."""
    fleets = tuple(
        replace(seen, fleet=_with_loads(seen.fleet, answer)) if isinstance(seen.fleet, Fleet) else seen
        for seen in observation.fleets
    )
    return replace(
        observation,
        fleets=fleets,
        gateway_waiting=answer.gateway_waiting,
        gateway_refused_per_s=answer.gateway_refused_per_s,
        ttft_s=answer.ttft_s,
        first_tokens=answer.first_tokens,
        own_replicas=answer.own_replicas,
        demand_at_gateway=answer.demand_at_gateway,
    )


def _with_loads(fleet: Fleet, answer: Answered) -> Fleet:
    replicas = tuple(
        replace(replica, load=answer.loads[replica.name], is_asleep=replica.name in answer.asleep)
        if replica.name in answer.loads
        else replica
        for replica in fleet.replicas
    )
    return replace(fleet, replicas=replicas)


@dataclass(slots=True, kw_only=True)
class Herald:
    """Tells the cluster: statuses and events, and by the Lease how fresh all plans are."""

    cluster: KubernetesCluster
    world: World
    beat: Callable[[float], None]

    async def decided(self, records: Sequence[Record], at_s: float) -> None:
        """Write what is news, and then that it is fresh: whoever reads both must not take the old for the new."""
        await self.cluster.tell(records, at_s)
        await self.cluster.tell_faults(self.world.sight.faulty, at_s)
        self.beat(at_s)

    def ticked(self, at_s: float, took_s: float, outcome: Outcome) -> None:
        """A tick without decisions is news to nobody: the heartbeat stays where it is."""


@dataclass(slots=True, kw_only=True)
class Accountant:
    """Counts, for the metrics, and remembers when the loop last ticked, for the health check."""

    telemetry: Telemetry
    clock: Clock
    log: FilteringBoundLogger
    is_leading: bool = False
    _last_s: float = 0.0
    _warned: frozenset[tuple[str, str, str]] = frozenset()

    @contextmanager
    def leading(self) -> Iterator[None]:
        """While this lasts, the loop should tick."""
        self.is_leading, self._last_s = True, self.clock.now_s()
        self.telemetry.led(is_leader=True)
        try:
            yield
        finally:
            self.is_leading = False
            self.telemetry.led(is_leader=False)

    def last_tick_s(self) -> float:
        """When the loop last ended a tick, whatever came of it, on the steady clock."""
        return self._last_s

    def told(self, account: Account) -> None:
        """This is what the reading of signals lacked, and what the GPUs said against pods; the news of it is logged."""
        self.telemetry.lacked(account.lacking)
        warned = frozenset(
            (policy, pod, warning)
            for policy, pods in account.warnings.items()
            for pod, warnings in pods.items()
            for warning in warnings
        )
        for policy, pod, warning in sorted(warned - self._warned):
            self.log.warning("gpu_suspect", policy=policy, pod=pod, why=warning)
        self._warned = warned

    async def decided(self, records: Sequence[Record], at_s: float) -> None:
        """Count the decisions."""
        del at_s
        self.telemetry.decided(records)

    def ticked(self, at_s: float, took_s: float, outcome: Outcome) -> None:
        """Count the tick."""
        self._last_s = self.clock.now_s()
        self.telemetry.ticked(at_s, took_s, outcome.value)
