"""Pods and nodes as the few fields that are used of them: when a replica reached each mark of its life, and where.

The API keeps no history, only when each condition last changed. What was seen before is therefore handed in: the
first time that a pod was ready is kept for as long as the process has seen it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scaler.adapters.kubernetes.client import Json
from scaler.adapters.kubernetes.gpus import Devices, devices_of
from scaler.adapters.kubernetes.times import seconds
from scaler.core.model import Replica

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
GROUP_INDEX: Final = "leaderworkerset.sigs.k8s.io/group-index"
WORKER_INDEX: Final = "leaderworkerset.sigs.k8s.io/worker-index"

NODE_CLASS_LABELS: Final = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "node.kubernetes.io/instance-type",
)
"""What names the kind of a node, the most telling first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """A pod. ``replica`` has its marks, without a node class; ``group`` and ``worker`` are a LeaderWorkerSet's.

    ``has_ended`` says that it will never serve again (its phase is Succeeded or Failed), and is nobody's replica.
    """

    uid: str
    namespace: str
    owner: str | None
    node: str | None
    replica: Replica
    devices: Devices
    has_ended: bool = False
    group: str | None = None
    worker: int = 0
    deletion_cost: str | None = None


def pod_seen(pod: Json, before: PodSeen | None) -> PodSeen:
    """What is used of a pod, given what was known of the one of its name."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    labels = metadata.get("labels") or {}
    known = before.replica if before is not None and before.uid == metadata["uid"] else None
    return PodSeen(
        uid=metadata["uid"],
        namespace=metadata.get("namespace", ""),
        owner=controller_of(metadata),
        node=spec.get("nodeName"),
        replica=_replica(metadata, spec, status, known),
        devices=devices_of(spec),
        has_ended=status.get("phase") in {"Succeeded", "Failed"},
        group=labels.get(GROUP_INDEX),
        worker=int(labels.get(WORKER_INDEX, 0)),
        deletion_cost=(metadata.get("annotations") or {}).get(DELETION_COST),
    )


def controller_of(metadata: Mapping[str, Any]) -> str | None:
    """The uid of the object that controls this one, None where nobody does."""
    owners = metadata.get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)


def node_class(node: Json) -> str:
    """What kind of node it is, empty where no label says."""
    labels = node["metadata"].get("labels") or {}
    return next((labels[label] for label in NODE_CLASS_LABELS if labels.get(label)), "")


# --- The marks ---------------------------------------------------------------------------------------------------


def _replica(metadata: Json, spec: Json, status: Json, known: Replica | None) -> Replica:
    created_at_s = seconds(metadata["creationTimestamp"]) or 0.0
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    loading_since_s = _loading_since_s(status, conditions)
    has_init = bool(spec.get("initContainers"))
    ready = conditions.get("Ready", {})
    ready_at_s = _ready_at_s(ready, created_at_s, loading_since_s, known)
    is_ready = ready.get("status") == "True"
    return Replica(
        name=metadata["name"],
        created_at_s=created_at_s,
        scheduled_at_s=_since_s(conditions, "PodScheduled"),
        # Init containers have images of their own: when the model server's was pulled is then not told.
        pulled_at_s=None if has_init else loading_since_s,
        initialised_at_s=loading_since_s,
        ready_at_s=ready_at_s,
        is_ready=is_ready,
        unready_since_s=None if is_ready or ready_at_s is None else seconds(ready.get("lastTransitionTime")),
        deleted_at_s=_deleted_at_s(metadata),
        unschedulable_since_s=_unschedulable_since_s(conditions.get("PodScheduled", {})),
        restarts=sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or ()),
    )


def _since_s(conditions: Mapping[str, Json], kind: str) -> float | None:
    condition = conditions.get(kind, {})
    return seconds(condition.get("lastTransitionTime")) if condition.get("status") == "True" else None


def _loading_since_s(status: Json, conditions: Mapping[str, Json]) -> float | None:
    """When the last of the containers started, so that all that is left is loading; None before that.

    Not Initialized: without init containers that is True as soon as the pod has a node, before any image is pulled.
    """
    starts = [_started_s(each) for each in status.get("containerStatuses") or ()]
    known = [start_s for start_s in starts if start_s is not None]
    if known and len(known) == len(starts):
        return max(known)
    # Some platforms run pods without saying when their containers started.
    return _since_s(conditions, "Initialized") if status.get("phase") == "Running" and not known else None


def _started_s(container: Json) -> float | None:
    """When the container started, the last time if it did so several times."""
    state, last = container.get("state") or {}, container.get("lastState") or {}
    told = (state.get("running"), state.get("terminated"), last.get("terminated"))
    return next((seconds(each["startedAt"]) for each in told if each and each.get("startedAt")), None)


def _ready_at_s(
    ready: Mapping[str, Any], created_at_s: float, loading_since_s: float | None, known: Replica | None
) -> float | None:
    """When the pod was ready first, as far as can be known; None if it never was.

    A pod that is not ready, and stopped being so after its containers had started, was ready between: nobody knows
    since when. Then it counts as ready from its creation, of which no load time is learned.
    """
    if known is not None and known.ready_at_s is not None:
        return known.ready_at_s
    changed_s = seconds(ready.get("lastTransitionTime"))
    if ready.get("status") == "True":
        return changed_s
    was_ready = changed_s is not None and loading_since_s is not None and changed_s > loading_since_s
    return created_at_s if was_ready else None


def _deleted_at_s(metadata: Mapping[str, Any]) -> float | None:
    """When it was asked to go: the deletion timestamp is when its grace is over."""
    over_s = seconds(metadata.get("deletionTimestamp"))
    return None if over_s is None else over_s - float(metadata.get("deletionGracePeriodSeconds") or 0)


def _unschedulable_since_s(scheduled: Mapping[str, Any]) -> float | None:
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return seconds(scheduled.get("lastTransitionTime"))
    return None


# --- Groups ------------------------------------------------------------------------------------------------------


def group_replica(members: Iterable[PodSeen], size: int) -> Replica:
    """A group of a LeaderWorkerSet as the one replica that it is, named for its leader.

    It reaches a mark when the last of its ``size`` pods does, and serves only as a whole.
    """
    pods = sorted(members, key=lambda pod: pod.worker)
    parts = [pod.replica for pod in pods]
    is_whole = len(parts) >= size
    ready_at_s = _last([part.ready_at_s for part in parts], is_whole=is_whole)
    is_ready = is_whole and all(part.is_ready for part in parts)
    return Replica(
        name=parts[0].name,
        created_at_s=min(part.created_at_s for part in parts),
        scheduled_at_s=_last([part.scheduled_at_s for part in parts], is_whole=is_whole),
        pulled_at_s=_last([part.pulled_at_s for part in parts], is_whole=is_whole),
        initialised_at_s=_last([part.initialised_at_s for part in parts], is_whole=is_whole),
        ready_at_s=ready_at_s,
        is_ready=is_ready,
        unready_since_s=None if is_ready or ready_at_s is None else _first([part.unready_since_s for part in parts]),
        deleted_at_s=_first([part.deleted_at_s for part in parts]),
        unschedulable_since_s=_first([part.unschedulable_since_s for part in parts]),
        restarts=sum(part.restarts for part in parts),
    )


def _last(marks: list[float | None], *, is_whole: bool) -> float | None:
    known = [mark for mark in marks if mark is not None]
    return max(known) if is_whole and len(known) == len(marks) else None


def _first(marks: list[float | None]) -> float | None:
    return min((mark for mark in marks if mark is not None), default=None)
