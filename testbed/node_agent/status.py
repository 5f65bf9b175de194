"""A pod's status from the life of its process, as a kubelet writes it."""

from collections.abc import Mapping
from typing import Any, Final

from scaler.adapters.kubernetes.times import written
from testbed.node_agent.life import Life, Stage
from testbed.node_agent.workload import Workload
from testbed.objects import condition_of

NOT_READY: Final = "ContainersNotReady"
BACK_OFF: Final = "CrashLoopBackOff"
CREATING: Final = "ContainerCreating"


def status_of(pod: Mapping[str, Any], workload: Workload, life: Life, address: str, at_s: float) -> dict[str, Any]:
    """The status to write as a strategic merge, which keeps the scheduler's own condition.

    A condition keeps the time of its last change in ``pod``. All times are whole seconds, as the API stores them.
    """
    before = pod.get("status", {})
    has_run = life.started_at_s is not None
    states = {"PodReadyToStartContainers": True, "Initialized": True}
    states |= {"ContainersReady": life.is_ready, "Ready": life.is_ready}
    return {
        "phase": "Running" if has_run else "Pending",
        "startTime": before.get("startTime") or written(at_s),
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [_condition(pod, kind, is_true=is_true, at_s=at_s) for kind, is_true in states.items()],
        "containerStatuses": [_container(workload, life)],
    }


def _condition(pod: Mapping[str, Any], kind: str, *, is_true: bool, at_s: float) -> dict[str, Any]:
    status = "True" if is_true else "False"
    before = condition_of(pod, kind)
    since = before["lastTransitionTime"] if before.get("status") == status else written(at_s)
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "reason": None if is_true else NOT_READY,
    }


def _container(workload: Workload, life: Life) -> dict[str, Any]:
    return {
        "name": workload.container,
        "image": workload.image,
        "imageID": "",
        "ready": life.is_ready,
        "started": life.is_started,
        "restartCount": life.restarts,
        "state": _state(life),
        "lastState": {} if life.exit_code is None else {"terminated": {"exitCode": life.exit_code}},
    }


def _state(life: Life) -> dict[str, Any]:
    if life.stage is Stage.WAITING:
        return {"waiting": {"reason": CREATING if life.restarts == 0 else BACK_OFF}}
    if life.stage is Stage.ENDED:
        return {"terminated": {"exitCode": 0 if life.exit_code is None else life.exit_code}}
    return {"running": {"startedAt": None if life.started_at_s is None else written(life.started_at_s)}}
