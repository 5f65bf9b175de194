"""One test's share of the cluster: a namespace and nodes of its own, and all of it gone afterwards."""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from testbed.objects import AT_ONCE, H100, Life, gpu_deployment, gpu_node, is_true
from testbed.rest import Rest
from testbed.waiting import wait_for


class Tenant:
    """A namespace with nodes; its methods act as the administrator."""

    def __init__(self, api: Rest, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._nodes: list[str] = []

    def path(self, group: str, *rest: str) -> str:
        """A path in the namespace: ``path("apps/v1", "deployments", "llama", "scale")``; "v1" is the core group."""
        root = "/api" if group == "v1" else "/apis"
        return "/".join([root, group, "namespaces", self.namespace, *rest])

    def add_nodes(self, count: int, *, gpus: int = 8, product: str = H100) -> list[str]:
        """Add nodes with ``gpus`` each, wait until pods may run there, and say their names."""
        added = [f"gpu-{secrets.token_hex(4)}" for _ in range(count)]
        for name in added:
            self.api.create("/api/v1/nodes", gpu_node(name, gpus=gpus, product=product))
            self._nodes.append(name)
        for name in added:
            self._wait_until_open(f"/api/v1/nodes/{name}")
        return added

    def add_deployment(self, name: str, *, replicas: int, gpus: int = 1, life: Life = AT_ONCE) -> dict[str, Any]:
        """Add a Deployment of GPU pods, and return it as it was stored."""
        body = gpu_deployment(name, replicas=replicas, gpus=gpus, life=life)
        added: dict[str, Any] = self.api.create(self.path("apps/v1", "deployments"), body)
        return added

    def scale(self, deployment: str, replicas: int) -> None:
        """Write the Deployment's replica count through /scale, as a person with kubectl does."""
        self.api.patch(self.path("apps/v1", "deployments", deployment, "scale"), {"spec": {"replicas": replicas}})

    def pods(self, **query: str) -> list[dict[str, Any]]:
        """The pods; ``labelSelector`` and ``fieldSelector`` narrow them."""
        return self.api.items(self.path("v1", "pods"), **query)

    def ready_pods(self) -> list[dict[str, Any]]:
        """The pods that are ready and not on their way out."""
        return [pod for pod in self.pods() if is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]]

    def wait_for_ready(self, count: int, *, within_s: float = 60.0) -> list[dict[str, Any]]:
        """The ready pods, once there are exactly ``count``."""
        return wait_for(f"{count} ready pods", self.ready_pods, lambda pods: len(pods) == count, within_s=within_s)

    def leave(self) -> None:
        """Remove all that is the tenant's, pods before nodes."""
        # The end of the namespace keeps the controllers from filling up what is then swept away.
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")
        self.api.delete(self.path("v1", "pods"), gracePeriodSeconds="0")
        wait_for("no pods", self.pods, lambda left: not left)
        for path in [f"/api/v1/nodes/{name}" for name in self._nodes]:
            if self.api.exists(path):
                self.api.delete(path)

    def _wait_until_open(self, node: str) -> None:
        wait_for(f"room on {node}", lambda: self.api.get(node), is_open)


def is_open(node: dict[str, Any]) -> bool:
    """Whether the node is ready and has lost the taint that every new node has."""
    return is_true(node, "Ready") and not node["spec"].get("taints")


@contextlib.contextmanager
def tenant_of(api: Rest) -> Iterator[Tenant]:
    """A new tenant for the length of a ``with``."""
    tenant = Tenant(api, f"tenant-{secrets.token_hex(4)}")
    api.create("/api/v1/namespaces", {"metadata": {"name": tenant.namespace}})
    # Until it is there, every pod is refused.
    account = tenant.path("v1", "serviceaccounts", "default")
    wait_for("the default service account", lambda: api.exists(account))
    try:
        yield tenant
    finally:
        tenant.leave()
