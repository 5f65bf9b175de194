"""From what was seen of pods, their owners and nodes to the core's Fleet. Pure: it asks nobody."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scaler.adapters.kubernetes.gpus import Devices
from scaler.adapters.kubernetes.pods import PodSeen, group_replica
from scaler.adapters.kubernetes.refusals import Refusal
from scaler.adapters.kubernetes.targets import Link, TargetSeen
from scaler.core.model import Fleet, Phase, Refused, Replica

LONGEST_CHAIN: Final = 6
"""Links between a pod and its target: a worker of a LeaderWorkerSet has four. A loop ends here, too."""

ClassOf = Callable[[str], str | None]
"""The class of a node by its name, None where it is not known."""


def parents_of(links: Iterable[Link], pods: Iterable[PodSeen]) -> Mapping[str, str]:
    """Who controls whom, by uid. Pods own too: the workers of a group belong to their leader."""
    known = {each.uid: each.owner for each in links if each.owner is not None}
    return known | {pod.uid: pod.owner for pod in pods if pod.owner is not None}


def pods_by_target(
    pods: Iterable[PodSeen], parents: Mapping[str, str], targets: frozenset[str]
) -> Mapping[str, Sequence[PodSeen]]:
    """The pods of each of ``targets`` (uids), through the chain of their owners; pods that have ended are nobody's."""
    found: dict[str, list[PodSeen]] = {uid: [] for uid in targets}
    for pod in pods:
        uid = None if pod.has_ended else target_above(pod.uid, parents, targets)
        if uid is not None:
            found[uid].append(pod)
    return found


def target_above(uid: str, parents: Mapping[str, str], targets: frozenset[str]) -> str | None:
    """Which of ``targets`` an object belongs to, through the chain of its owners."""
    above: str | None = uid
    for _ in range(LONGEST_CHAIN):
        above = parents.get(above) if above is not None else None
        if above in targets:
            return above
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is known beside a target and its pods.

    ``class_of`` is the class of a node by its name, ``gpus_of`` counts the GPUs of devices, and ``refusal`` is the last
    one that an event told of the target's pods.
    """

    class_of: ClassOf
    gpus_of: Callable[[Devices], int]
    refusal: Refusal | None = None


def fleet_of(target: TargetSeen, requested: int, pods: Sequence[PodSeen], around: Around) -> Fleet:
    """The fleet of ``target``, oldest replica first; ``requested`` is its /scale spec."""
    is_grouped = target.group_size > 1
    seen = _groups(pods, target.group_size, around.class_of) if is_grouped else _singles(pods, around.class_of)
    replicas = tuple(sorted(seen, key=lambda replica: (replica.created_at_s, replica.name)))
    held = max((around.gpus_of(pod.devices) for pod in pods), default=0) * target.group_size
    return Fleet(
        requested=requested,
        replicas=replicas,
        gpus_per_replica=held if target.devices is None else around.gpus_of(target.devices),
        refused=_refused(target.refusal or _standing(around.refusal, replicas), requested, replicas),
    )


def _standing(refusal: Refusal | None, replicas: Sequence[Replica]) -> str | None:
    """Why pods were not created, unless one was since."""
    newest_s = max((replica.created_at_s for replica in replicas), default=float("-inf"))
    return refusal.why if refusal is not None and refusal.at_s >= newest_s else None


def _refused(why: str | None, requested: int, replicas: Iterable[Replica]) -> Refused | None:
    """The replicas that were not created; pods on their way out are not those that were asked for."""
    lacking = requested - sum(replica.phase is not Phase.DRAINING for replica in replicas)
    return Refused(replicas=lacking, why=why) if why is not None and lacking > 0 else None


def _singles(pods: Sequence[PodSeen], class_of: ClassOf) -> Iterable[Replica]:
    return (_placed(pod.replica, pod, class_of) for pod in pods)


def _groups(pods: Sequence[PodSeen], size: int, class_of: ClassOf) -> Iterable[Replica]:
    groups: dict[str, list[PodSeen]] = {}
    for pod in pods:
        groups.setdefault(pod.group or pod.replica.name, []).append(pod)
    for members in groups.values():
        leader = min(members, key=lambda pod: pod.worker)
        yield _placed(group_replica(members, size), leader, class_of)


def _placed(replica: Replica, pod: PodSeen, class_of: ClassOf) -> Replica:
    """The replica with the class of the node that it is on."""
    return replica if pod.node is None else replace(replica, node_class=class_of(pod.node))
