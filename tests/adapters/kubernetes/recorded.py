"""Objects as a cluster stores them: a vLLM pod in each phase of its life, its owners, its node."""

import json
from typing import Any, Final

from tests.adapters.differences import merged

Json = dict[str, Any]

CREATED: Final = "2026-03-02T09:00:00Z"
SCHEDULED: Final = "2026-03-02T09:00:02Z"
STARTED: Final = "2026-03-02T09:01:40Z"
READY: Final = "2026-03-02T09:05:10Z"
CREATED_S: Final = 1772442000.0


def pod(name: str = "llama-v1-7c9f-x2x4z", **difference: Any) -> Json:
    """A pod as it was created, without a node yet."""
    thing: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": "llama-v1-7c9f-",
            "namespace": "models",
            "uid": f"uid-{name}",
            "creationTimestamp": CREATED,
            "labels": {"app": "llama-v1", "pod-template-hash": "7c9f"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llama-v1-7c9f", "uid": "uid-rs",
                 "controller": True, "blockOwnerDeletion": True}
            ],
        },
        "spec": {
            "containers": [
                {"name": "server", "image": "vllm/vllm-openai:v0.32.0",
                 "resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "8"}, "requests": {"nvidia.com/gpu": "2"}}}
            ],
            "schedulerName": "default-scheduler",
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }  # fmt: skip
    return merged(thing, difference)


def condition(kind: str, status: str, at: str, reason: str | None = None) -> Json:
    told = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": at}
    return told if reason is None else {**told, "reason": reason}


def unschedulable(name: str = "llama-v1-7c9f-x2x4z") -> Json:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    told = {**condition("PodScheduled", "False", SCHEDULED, "Unschedulable"), "message": message}
    return pod(name, status={"conditions": [told]})


def pulling(name: str = "llama-v1-7c9f-x2x4z") -> Json:
    """On a node, pulling its image. Initialized is True already, for there is nothing to initialise."""
    conditions = [
        condition("PodReadyToStartContainers", "False", SCHEDULED),
        condition("Initialized", "True", SCHEDULED),
        condition("Ready", "False", SCHEDULED, "ContainersNotReady"),
        condition("ContainersReady", "False", SCHEDULED, "ContainersNotReady"),
        condition("PodScheduled", "True", SCHEDULED),
    ]
    waiting = {
        "name": "server", "ready": False, "started": False, "restartCount": 0,
        "state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {},
    }  # fmt: skip
    status = {"conditions": conditions, "containerStatuses": [waiting], "startTime": SCHEDULED}
    return pod(name, spec={"nodeName": "gpu-1"}, status=status)


def loading(name: str = "llama-v1-7c9f-x2x4z", **difference: Any) -> Json:
    """Its container runs and loads the model."""
    thing = pulling(name)
    thing["status"]["phase"] = "Running"
    thing["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": STARTED}}
    return merged(thing, difference)


def ready(name: str = "llama-v1-7c9f-x2x4z", **difference: Any) -> Json:
    thing = loading(name)
    set_ready(thing, "True", READY)
    return merged(thing, difference)


def lost(name: str = "llama-v1-7c9f-x2x4z", at: str = "2026-03-02T11:00:00Z") -> Json:
    """It was ready, and then its readiness probe failed."""
    thing = ready(name)
    set_ready(thing, "False", at)
    return thing


def draining(name: str = "llama-v1-7c9f-x2x4z") -> Json:
    """Asked to go at 12:00:00, with 120 s of grace."""
    return ready(name, metadata={"deletionTimestamp": "2026-03-02T12:02:00Z", "deletionGracePeriodSeconds": 120})


def set_ready(thing: Json, status: str, at: str) -> None:
    for each in thing["status"]["conditions"]:
        if each["type"] in {"Ready", "ContainersReady"}:
            each.update(status=status, lastTransitionTime=at)


def restarted(thing: Json, at: str) -> Json:
    """The same pod after its container crashed and started again."""
    thing = json.loads(json.dumps(thing))
    container = thing["status"]["containerStatuses"][0]
    container["lastState"] = {"terminated": {**container["state"].get("running", {}), "exitCode": 137}}
    container["state"] = {"running": {"startedAt": at}}
    container["restartCount"] += 1
    return thing


def owned(name: str, uid: str, owner: str | None = None, **difference: Any) -> Json:
    metadata: Json = {"name": name, "namespace": "models", "uid": uid, "generation": 1, "creationTimestamp": CREATED}
    if owner is not None:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True, "kind": "X", "name": "x"}]
    return merged({"apiVersion": "apps/v1", "metadata": metadata, "spec": {}, "status": {}}, difference)


def deployment(name: str = "llama-v1", replicas: int = 1, **difference: Any) -> Json:
    template = {"spec": pod()["spec"]}
    return owned(name, f"uid-{name}", spec={"replicas": replicas, "template": template}, **difference)


def node(name: str = "gpu-1") -> Json:
    labels = {"kubernetes.io/hostname": name}
    return {"apiVersion": "v1", "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}}


def worker(group: int, index: int, **difference: Any) -> Json:
    """A pod of group ``group`` of a LeaderWorkerSet llama; index 0 is the leader."""
    name = f"llama-{group}" if index == 0 else f"llama-{group}-{index}"
    thing = ready(name)
    owner = "uid-sts-llama" if index == 0 else f"uid-sts-llama-{group}"
    thing["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "uid": owner, "controller": True}]
    thing["metadata"]["labels"] = {
        "leaderworkerset.sigs.k8s.io/name": "llama",
        "leaderworkerset.sigs.k8s.io/group-index": str(group),
        "leaderworkerset.sigs.k8s.io/worker-index": str(index),
    }
    return merged(thing, difference)


def leader_worker_set(replicas: int = 2, size: int = 3) -> Json:
    template = {"spec": pod()["spec"]}
    group = {"size": size, "workerTemplate": template}
    return owned("llama", "uid-llama", spec={"replicas": replicas, "leaderWorkerTemplate": group})


def wrote(manager: str, at: str) -> Json:
    """An entry of managedFields: ``manager`` wrote the replica count."""
    return {
        "manager": manager, "operation": "Update", "subresource": "scale", "time": at, "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }  # fmt: skip
