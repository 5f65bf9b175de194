"""How many GPUs a pod takes, read from its spec: devices counted as resources, and devices claimed (DRA)."""

from collections.abc import Iterable
from typing import Any


def gpus_of(spec: dict[str, Any]) -> int:
    """The GPUs that a pod with this spec holds.

    As the scheduler counts: containers run together, so theirs add up; init containers run one by one before them,
    so the greediest counts, on top of the sidecars, which stay. A claim counts as one GPU, for how many devices it
    asks is in another object.
    """
    containers = sum(_asked(each) for each in spec.get("containers") or ())
    sidecars, greediest = 0, 0
    for init in spec.get("initContainers") or ():
        if init.get("restartPolicy") == "Always":
            sidecars += _asked(init)
        else:
            greediest = max(greediest, sidecars + _asked(init))
    return max(containers + sidecars, greediest) + len(spec.get("resourceClaims") or ())


def _asked(container: dict[str, Any]) -> int:
    """The GPUs of one container. Limits say it all: an extended resource's request must equal its limit."""
    resources = container.get("resources") or {}
    return sum(_amounts(resources.get("limits") or resources.get("requests") or {}))


def _amounts(amounts: dict[str, Any]) -> Iterable[int]:
    """nvidia.com/gpu, amd.com/gpu and whatever else calls itself a GPU; slices of one (MIG) are none."""
    return (int(amount) for resource, amount in amounts.items() if resource.endswith("/gpu"))
