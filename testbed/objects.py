"""Objects that tests put into the cluster, as plain JSON; each takes only the differences that may matter."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

ANNOTATION: Final = "testbed.forebay.dev"
"""The prefix of the annotations that kwok.yaml reads."""

GPU: Final = "nvidia.com/gpu"
H100: Final = "NVIDIA-H100-80GB-HBM3"


def gpu_node(name: str, *, gpus: int = 8, product: str = H100) -> dict[str, Any]:
    """A node as GPU feature discovery labels it and the device plugin fills it."""
    amounts = {"cpu": "128", "memory": "1Ti", "pods": "110", GPU: str(gpus)}
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.count": str(gpus),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How long a pod takes: to pull its image, to load its model (give or take the jitter), and to drain."""

    pull_s: float = 0.0
    load_s: float = 0.0
    jitter_s: float = 0.0
    drain_s: int = 0

    def annotations(self) -> dict[str, str]:
        """What tells kwok so."""
        return {
            f"{ANNOTATION}/pull-seconds": str(self.pull_s),
            f"{ANNOTATION}/load-seconds": str(self.load_s),
            f"{ANNOTATION}/load-jitter-seconds": str(self.jitter_s),
            f"{ANNOTATION}/drain-seconds": str(self.drain_s),
        }


AT_ONCE: Final = Life()
"""A pod that is ready when it starts and gone when it is asked to go."""


def gpu_deployment(name: str, *, replicas: int, gpus: int = 1, life: Life = AT_ONCE) -> dict[str, Any]:
    """A Deployment of one model server."""
    labels = {"app": name}
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:v0.32.0",
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"limits": {GPU: str(gpus)}} if gpus else {},
    }
    template = {
        "metadata": {"labels": labels, "annotations": life.annotations()},
        "spec": {"containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def is_true(thing: Mapping[str, Any], condition: str) -> bool:
    """Whether the object's status has the condition as True."""
    return condition_of(thing, condition).get("status") == "True"


def condition_of(thing: Mapping[str, Any], condition: str) -> Mapping[str, Any]:
    """The condition of that type, empty where the status has none."""
    found = thing.get("status", {}).get("conditions") or []  # a new CRD has a null there
    return next((each for each in found if each["type"] == condition), {})


def names(things: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of the objects."""
    return {thing["metadata"]["name"] for thing in things}
