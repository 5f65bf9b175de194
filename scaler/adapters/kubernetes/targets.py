"""Targets (whatever has a replica count) as the few fields that are used of them: the count, and what a replica holds.

Deployments, StatefulSets and LeaderWorkerSets keep their count where we know it; of any other kind the /scale
subresource has to be asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from scaler.adapters.kubernetes.client import Json
from scaler.adapters.kubernetes.gpus import Devices, devices_of
from scaler.adapters.kubernetes.pods import controller_of
from scaler.adapters.kubernetes.times import seconds

DEPLOYMENT: Final = "Deployment"
LEADER_WORKER_SET: Final = "LeaderWorkerSet"
KNOWN_KINDS: Final = frozenset({DEPLOYMENT, "StatefulSet", LEADER_WORKER_SET})
"""The kinds whose count is spec.replicas, with one replica unless it says otherwise."""

REPLICA_FAILURE: Final = "ReplicaFailure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who wrote a replica count last, by the name that it gave itself, and when."""

    name: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSeen:
    """A scalable object. ``requested`` is None where only its /scale knows; ``group_size`` are pods of a replica.

    ``devices`` are those of one replica, None where the object has no pod template that we know; ``generation`` counts
    the changes of its spec, ``version`` those of all of it, and ``owner`` controls it. ``refusal`` is why pods of it
    could not be created the last time. ``is_leaving`` says that it was deleted and only waits for its finalizers.
    """

    uid: str
    kind: str
    name: str
    generation: int
    version: int
    requested: int | None
    devices: Devices | None
    group_size: int = 1
    writer: Writer | None = None
    owner: str | None = None
    refusal: str | None = None
    is_leaving: bool = False


def target_seen(target: Json, kind: str) -> TargetSeen:
    """What is used of a scalable object. A list's items do not say their kind, so it is given."""
    metadata, spec = target["metadata"], target.get("spec") or {}
    size = int((spec.get("leaderWorkerTemplate") or {}).get("size") or 1)
    return TargetSeen(
        uid=metadata["uid"],
        kind=kind,
        name=metadata["name"],
        generation=int(metadata.get("generation") or 0),
        version=version_of(metadata),
        requested=int(spec.get("replicas", 1)) if kind in KNOWN_KINDS else None,
        devices=_of_group(spec, size) if kind == LEADER_WORKER_SET else _of_pod(spec.get("template")),
        group_size=size if kind == LEADER_WORKER_SET else 1,
        writer=count_writer(metadata.get("managedFields") or ()),
        owner=controller_of(metadata),
        refusal=_refusal((target.get("status") or {}).get("conditions") or ()),
        is_leaving="deletionTimestamp" in metadata,
    )


def _refusal(conditions: Iterable[Json]) -> str | None:
    """Why pods could not be created, as Deployments alone tell it. They stop telling it with the first that could."""
    told = (each for each in conditions if each.get("type") == REPLICA_FAILURE and each.get("status") == "True")
    return next((each.get("message") or each.get("reason") or "no reason given" for each in told), None)


def version_of(metadata: Json) -> int:
    """The resourceVersion as the number that it is; they grow with time."""
    return int(metadata.get("resourceVersion") or 0)


def _of_pod(template: Any) -> Devices | None:
    spec = template.get("spec") if isinstance(template, dict) else None
    return devices_of(spec) if isinstance(spec, dict) else None


def _of_group(spec: Json, size: int) -> Devices:
    """What one group holds: its leader, which may have a template of its own, and its workers."""
    group = spec.get("leaderWorkerTemplate") or {}
    worker = _of_pod(group.get("workerTemplate")) or Devices()
    leader = _of_pod(group.get("leaderTemplate"))
    return (worker if leader is None else leader) + worker.times(size - 1)


def count_writer(fields: Iterable[Json]) -> Writer | None:
    """Who wrote spec.replicas last, None where the API server does not know.

    Several may own the field with the same value; the one who wrote last is who a person would ask.
    """
    owners = [each for each in fields if "f:replicas" in ((each.get("fieldsV1") or {}).get("f:spec") or {})]
    writers = [Writer(name=each.get("manager") or "unknown", at_s=seconds(each.get("time")) or 0.0) for each in owners]
    return max(writers, key=lambda writer: writer.at_s, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link of an owner chain: the object ``uid`` is controlled by ``owner``."""

    uid: str
    owner: str | None


def link(thing: Json, _: Link | None) -> Link:
    """The link of an object that stands between pods and a target, such as a ReplicaSet."""
    return Link(uid=thing["metadata"]["uid"], owner=controller_of(thing["metadata"]))
