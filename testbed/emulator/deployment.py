"""Deployments whose pods are emulated."""

from typing import Any

from testbed.emulator.pods import SERVICE_LABEL, VERSION_LABEL
from testbed.objects import Life, gpu_deployment


def emulated_deployment(
    name: str, *, service: str, replicas: int, life: Life, version: str = "", gpus: int = 1
) -> dict[str, Any]:
    """A Deployment of the service's servers; with ``version`` they are of that version of it."""
    body = gpu_deployment(name, replicas=replicas, gpus=gpus, life=life)
    labels = {SERVICE_LABEL: service} | ({VERSION_LABEL: version} if version else {})
    for metadata in (body["metadata"], body["spec"]["template"]["metadata"]):
        metadata["labels"] = metadata["labels"] | labels
    return body
