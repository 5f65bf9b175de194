"""A pool of nodes with GPUs, and models that want more of them than there are: what is commanded comes true, in time.

A pod takes a GPU as soon as one is free, the oldest first, whoever's it is; it is ready a load time later; and one that
goes keeps its GPU until it has drained.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from scaler.core.decide import decide
from scaler.core.memory import Memory
from scaler.core.model import Fleet, Observation, Policy, Pool, Pools, Replica, Snapshot
from scaler.core.plan import Plan, SetReplicas
from tests.builders import START_S, load, policy, seen

TICK_S = 15.0
LOAD_S = 60.0
DRAIN_S = 45.0
REQUESTS_EACH = 24.0
PRODUCT = "H100"


def model(name: str, priority: int = 0, **rest: object) -> Policy:
    """A policy of one target, 1 to 40 replicas, by this name."""
    return replace(policy(**rest), name=f"models/{name}", priority=priority)  # type: ignore[arg-type]  # as in builders


@dataclass(kw_only=True)
class Pod:
    """One pod, with the times of what has happened to it."""

    name: str
    created_at_s: float
    scheduled_at_s: float | None = None
    deleted_at_s: float | None = None

    def is_ready(self, at_s: float) -> bool:
        """Whether it has loaded."""
        return self.scheduled_at_s is not None and at_s >= self.scheduled_at_s + LOAD_S


@dataclass(kw_only=True)
class OnePool:
    """``gpus`` for the ``policies``, each of which needs ``needs(name, seconds since the start)`` replicas."""

    gpus: int
    policies: tuple[Policy, ...]
    needs: Callable[[str, float], int]
    counts_gpus: bool = True
    at_s: float = START_S
    requested: dict[str, int] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    plans: tuple[Plan, ...] = ()
    made: int = 0

    def begin(self, **has: int) -> None:
        """Each model has so many replicas, ready since long ago, and has been watched since."""
        for asked in self.policies:
            count = has[asked.name.partition("/")[2]]
            self.requested[asked.name] = count
            self.pods[asked.name] = [self._pod(age_s=10_000.0) for _ in range(count)]
        self.settle()
        for pods in self.pods.values():
            for pod in pods:
                pod.scheduled_at_s = pod.created_at_s if pod.scheduled_at_s is not None else None

    def tick(self) -> None:
        """Let ``TICK_S`` pass, and decide."""
        self.at_s += TICK_S
        self.settle()
        self.plans = decide(self.snapshot(), self.memories, self.policies)
        self.memories = {plan.policy: plan.memory for plan in self.plans}
        for plan in self.plans:
            for command in plan.commands:
                if isinstance(command, SetReplicas):
                    self.requested[plan.policy] = command.replicas

    def run(self, for_s: float) -> list[dict[str, int]]:
        """What was asked for after each tick of so many seconds."""
        told: list[dict[str, int]] = []
        for _ in range(round(for_s / TICK_S)):
            self.tick()
            told.append(self.asked())
        return told

    def asked(self) -> dict[str, int]:
        """What each model is asked to have, by its own name."""
        return {name.partition("/")[2]: count for name, count in self.requested.items()}

    def has(self) -> dict[str, int]:
        """The GPUs that each model holds and is to keep."""
        return {
            name.partition("/")[2]: len([pod for pod in pods if pod.scheduled_at_s and pod.deleted_at_s is None])
            for name, pods in self.pods.items()
        }

    def waiting(self) -> int:
        """The pods without a node."""
        return len([pod for pods in self.pods.values() for pod in pods if pod.scheduled_at_s is None])

    def because(self, name: str, rule: str) -> str:
        """Why ``rule`` changed the number of a model in the last tick; empty where it did not."""
        (plan,) = (plan for plan in self.plans if plan.policy == f"models/{name}")
        return next((each.because for each in plan.targets[0].trail if each.rule == rule), "")

    def settle(self) -> None:
        """Pods are created, deleted and bound as a cluster does."""
        for name, pods in self.pods.items():
            left = [pod for pod in pods if pod.deleted_at_s is None or self.at_s < pod.deleted_at_s + DRAIN_S]
            self.pods[name] = self._as_asked(left, self.requested[name])
        waiting = sorted(
            (pod for pods in self.pods.values() for pod in pods if pod.scheduled_at_s is None),
            key=lambda pod: (pod.created_at_s, pod.name),
        )
        for pod in waiting[: self.free()]:
            pod.scheduled_at_s = self.at_s if pod.created_at_s > START_S - 1.0 else pod.created_at_s

    def free(self) -> int:
        """The GPUs that no pod holds."""
        held = [pod for pods in self.pods.values() for pod in pods if pod.scheduled_at_s is not None]
        assert len(held) <= self.gpus
        return self.gpus - len(held)

    def _as_asked(self, pods: list[Pod], count: int) -> list[Pod]:
        staying = sorted(
            (pod for pod in pods if pod.deleted_at_s is None),
            key=lambda pod: (pod.scheduled_at_s is None, pod.created_at_s, pod.name),
        )
        for pod in staying[count:]:
            pod.deleted_at_s = self.at_s
        gone = [pod for pod in pods if pod.deleted_at_s is not None and pod.scheduled_at_s is not None]
        return [*gone, *staying[:count], *(self._pod() for _ in range(count - len(staying)))]

    def _pod(self, age_s: float = 0.0) -> Pod:
        self.made += 1
        return Pod(name=f"p{self.made:05}", created_at_s=self.at_s - age_s)

    def snapshot(self) -> Snapshot:
        """What the controller sees."""
        pools = Pools(products=(Pool(product=PRODUCT, allocatable_gpus=self.gpus, free_gpus=self.free()),))
        return Snapshot(
            at_s=self.at_s,
            models={asked.name: self._observation(asked.name) for asked in self.policies},
            pools=pools if self.counts_gpus else Pools(),
        )

    def _observation(self, name: str) -> Observation:
        pods = self.pods[name]
        serving = [pod for pod in pods if pod.deleted_at_s is None and pod.is_ready(self.at_s)]
        need = self.needs(name.partition("/")[2], self.at_s - START_S)
        each = REQUESTS_EACH * need / len(serving) if serving else 0.0
        replicas = tuple(self._replica(pod, each) for pod in pods)
        return seen(Fleet(requested=self.requested[name], replicas=replicas, gpus_per_replica=1))

    def _replica(self, pod: Pod, requests: float) -> Replica:
        is_ready = pod.is_ready(self.at_s)
        return Replica(
            name=pod.name,
            created_at_s=pod.created_at_s,
            scheduled_at_s=pod.scheduled_at_s,
            ready_at_s=pod.scheduled_at_s + LOAD_S if is_ready and pod.scheduled_at_s is not None else None,
            is_ready=is_ready,
            deleted_at_s=pod.deleted_at_s,
            unschedulable_since_s=pod.created_at_s if pod.scheduled_at_s is None else None,
            node_class=None if pod.scheduled_at_s is None else PRODUCT,
            load=load(running=requests, at_s=self.at_s),
        )


def turns(counts: Iterable[int]) -> int:
    """How often a series of counts changed its direction."""
    steps = [later - earlier for earlier, later in pairwise(counts) if later != earlier]
    return len([1 for earlier, later in pairwise(steps) if (earlier > 0) is not (later > 0)])
