"""Our own core as one autoscaler among others: the same `decide` that the controller calls, on the same snapshot."""

from collections.abc import Callable
from typing import Final

from scaler.core.decide import decide
from scaler.core.lateness import NO_FIRST_TOKEN
from scaler.core.memory import Memory
from scaler.core.model import (
    Fleet,
    FleetSeen,
    Load,
    Missing,
    Observation,
    Policy,
    Replica,
    Role,
    Snapshot,
    Target,
    Work,
)
from scaler.core.plan import Plan
from scaler.sim.view import PodView, ReplicaView, View

UNREAD: Final = Missing(why="its engine has not been scraped yet")
NO_ROUTE: Final = Missing(why="the policy names no route")


class Ours:
    """`decide` with its memory.

    ``policy_at`` gives the policy as of a time, since warm windows are laid out around it; it has one version with one
    target that serves. ``last`` is the plan of the last call, for whoever wants to know why.
    """

    def __init__(self, policy_at: Callable[[float], Policy]) -> None:
        self._policy_at = policy_at
        self._memory: Memory | None = None
        self.last: Plan | None = None

    def replicas(self, view: View) -> int:
        """What the core says that the target should have."""
        policy = self._policy_at(view.at_s)
        target = only_target(policy)
        seen = Snapshot(at_s=view.at_s, models={policy.name: observation_of(view, target)})
        memories = {} if self._memory is None else {policy.name: self._memory}
        (plan,) = decide(seen, memories, (policy,))
        self._memory, self.last = plan.memory, plan
        planned = plan.target(target.key)
        return view.requested if planned is None else planned.replicas


def only_target(policy: Policy) -> Target:
    """The one target of ``policy``. Raises ValueError with what is wrong where it has more, or another role."""
    targets = policy.targets()
    if len(targets) != 1 or targets[0].key.role != Role.SERVE.value:
        raise ValueError(f"{policy.name}: spec.versions: must be one version with one target of role Serve")
    return targets[0]


def observation_of(view: View, target: Target) -> Observation:
    """``view`` as the controller would have observed it."""
    loads = {replica.name: load_of(replica) for replica in view.replicas}
    replicas = tuple(_replica(pod, loads.get(pod.name, UNREAD), view.at_s) for pod in view.pods)
    fleet = Fleet(requested=view.requested, replicas=replicas, gpus_per_replica=1)
    return Observation(
        fleets=(FleetSeen(key=target.key, fleet=fleet),),
        weights=NO_ROUTE,
        gateway_waiting=view.gateway_waiting,
        ttft_s=NO_FIRST_TOKEN if view.ttft_s is None else view.ttft_s,
        first_tokens=NO_FIRST_TOKEN if view.first_tokens is None else view.first_tokens,
    )


def load_of(replica: ReplicaView) -> Load:
    """What the queries of the controller answer: means of a minute, but for what waits."""
    return Load(
        at_s=replica.at_s,
        running=replica.mean_running,
        waiting=replica.waiting,
        kv_usage=replica.mean_kv_usage,
        work=Work(
            prefill_tokens_per_s=replica.prompt_tokens_per_s,
            decode_tokens_per_s=replica.generation_tokens_per_s,
            finished_per_s=replica.finished_per_s,
            inter_token_latency_s=replica.inter_token_latency_s,
        ),
    )


def _replica(pod: PodView, load: Load | Missing, at_s: float) -> Replica:
    """A pod that got a node as soon as it was there, and has had its image: nothing of that is short here."""
    return Replica(
        name=pod.name,
        created_at_s=pod.created_at_s,
        scheduled_at_s=pod.created_at_s,
        pulled_at_s=pod.created_at_s,
        ready_at_s=pod.ready_at_s,
        is_ready=pod.ready_at_s is not None and pod.ready_at_s <= at_s,
        load=load,
    )
