"""Which pods go first when a Deployment shrinks: those with the least work, by their pod-deletion-cost.

It is a hint that Kubernetes follows as well as it can: pods without a node, pending or not ready go before any that
is ready, whatever this says. Only as many pods are marked as are to go, and a mark that was not needed is taken back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scaler.adapters.kubernetes.pods import PodSeen
from scaler.core.model import Load, Missing, Phase

LOWEST: Final = -1_000_000
"""The cost of the pod that goes first; the next ones' follow. No one else is likely to be there, so it is ours."""

MOST_MARKS: Final = 50
"""So many at once, those that go first; beyond them Kubernetes chooses, and the shrink costs no burst of requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The deletion cost that a pod should have; None takes it off."""

    pod: str
    cost: int | None


def marks(pods: Sequence[PodSeen], loads: Mapping[str, Load | Missing], left: int) -> tuple[Mark, ...]:
    """What has to be written before only ``left`` of ``pods`` stay, so that those with the least work go.

    How many go is told by the pods that stand, not by the count asked for: a pod may still stand that a former step let
    go, and if it had the only mark, nobody would be marked for the next.
    """
    staying = [pod for pod in pods if pod.replica.deleted_at_s is None]
    idle = [pod for pod in staying if pod.replica.phase is Phase.READY and _is_free(pod)]
    unready = sum(pod.replica.phase is not Phase.READY for pod in staying)
    idle.sort(key=lambda pod: _work(pod, loads))
    chosen = {pod.replica.name: LOWEST + rank for rank, pod in enumerate(idle[: max(0, len(staying) - left - unready)])}
    wanted = [Mark(pod=name, cost=cost) for name, cost in chosen.items()]
    now = {pod.replica.name: pod.deletion_cost for pod in staying}
    stale = [
        Mark(pod=pod.replica.name, cost=None) for pod in staying if _is_ours(pod) and pod.replica.name not in chosen
    ]
    fresh = [mark for mark in wanted if now[mark.pod] != str(mark.cost)]
    return (*fresh, *stale)[:MOST_MARKS]


def _work(pod: PodSeen, loads: Mapping[str, Load | Missing]) -> tuple[float, float, str]:
    """What would be lost with it: requests first, then the cache. Of whom nothing is known may be the busiest."""
    load = loads.get(pod.replica.name)
    if isinstance(load, Load):
        return (load.running + load.waiting, load.kv_usage, pod.replica.name)
    return (float("inf"), 0.0, pod.replica.name)


def _is_free(pod: PodSeen) -> bool:
    """Whether nobody else has set its cost."""
    return pod.deletion_cost is None or _is_ours(pod)


def _is_ours(pod: PodSeen) -> bool:
    cost = pod.deletion_cost
    return cost is not None and cost.removeprefix("-").isdigit() and LOWEST <= int(cost) < LOWEST + 10 * MOST_MARKS
