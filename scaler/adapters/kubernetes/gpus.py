"""How many GPUs a pod takes, read from its spec: devices counted as resources, and devices claimed (DRA).

How many devices a claim asks for is in another object, so a spec alone gives the claims, and who knows the objects
counts them. The fields are those of resource.k8s.io/v1, which Kubernetes serves since 1.34.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from scaler.adapters.kubernetes.client import Json

DRA: Final = "resource.k8s.io/v1"
CLAIM: Final = "ResourceClaim"
CLAIM_TEMPLATE: Final = "ResourceClaimTemplate"

UNKNOWN_CLAIM: Final = 1
"""What a claim counts for whose object is not known, and a request for all devices of a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNamed:
    """An object by which a pod claims devices: ``kind`` is ResourceClaim or ResourceClaimTemplate."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What pods hold: so many GPUs as resources, and what these claims ask for, each as often as it is named."""

    gpus: int = 0
    claims: tuple[ClaimNamed, ...] = ()

    def __add__(self, other: "Devices") -> "Devices":
        return Devices(gpus=self.gpus + other.gpus, claims=self.claims + other.claims)

    def times(self, count: int) -> "Devices":
        """What ``count`` such pods hold."""
        return Devices(gpus=self.gpus * count, claims=self.claims * count)

    def counted(self, asked: Callable[[ClaimNamed], int | None]) -> int:
        """The GPUs in all; ``asked`` says how many a claim asks for, None where it is not known."""
        known = (asked(claim) for claim in self.claims)
        return self.gpus + sum(UNKNOWN_CLAIM if count is None else count for count in known)


def devices_of(spec: Json) -> Devices:
    """The devices that a pod with this spec holds.

    Resources as the scheduler counts them: containers run together, so theirs add up; init containers run one by one
    before them, so the greediest counts, on top of the sidecars, which stay. A claim that all replicas share counts
    for each of them.
    """
    containers = sum(_asked(each) for each in spec.get("containers") or ())
    sidecars, greediest = 0, 0
    for init in spec.get("initContainers") or ():
        if init.get("restartPolicy") == "Always":
            sidecars += _asked(init)
        else:
            greediest = max(greediest, sidecars + _asked(init))
    claims = tuple(_claim(each) for each in spec.get("resourceClaims") or ())
    return Devices(gpus=max(containers + sidecars, greediest), claims=claims)


def _asked(container: Json) -> int:
    """The GPUs of one container. Limits say it all: an extended resource's request must equal its limit."""
    resources = container.get("resources") or {}
    return sum(amounts(resources.get("limits") or resources.get("requests") or {}).values())


def amounts(resources: Json) -> dict[str, int]:
    """nvidia.com/gpu, amd.com/gpu and whatever else calls itself a GPU; slices of one (MIG) are none."""
    return {resource: _whole(amount) for resource, amount in resources.items() if resource.endswith("/gpu")}


def _whole(quantity: str) -> int:
    """A quantity of whole things. The API server writes 1000 of them as 1k (apimachinery, resource.Quantity)."""
    return int(parse_quantity(quantity))  # type: ignore[no-untyped-call]  # its package has no types


# --- Claims ------------------------------------------------------------------------------------------------------


def _claim(named: Json) -> ClaimNamed:
    template = named.get("resourceClaimTemplateName")
    if template:
        return ClaimNamed(kind=CLAIM_TEMPLATE, name=template)
    return ClaimNamed(kind=CLAIM, name=named.get("resourceClaimName") or "")


def claimed_gpus(thing: Json, _: int | None) -> int:
    """The GPUs that a ResourceClaim, or each claim made of a ResourceClaimTemplate, asks for."""
    spec = thing.get("spec") or {}
    claim = spec.get("spec") or spec
    return sum(_requested(each) for each in (claim.get("devices") or {}).get("requests") or ())


def _requested(request: Json) -> int:
    """One request's GPUs; of alternatives the greediest, since nobody knows which there will be room for."""
    alternatives = request.get("firstAvailable") or [request.get("exactly") or {}]
    return max(_exactly(each) for each in alternatives)


def _exactly(asked: Mapping[str, Any]) -> int:
    """The GPUs of a request for devices of one class; ``adminAccess`` looks at devices without taking them."""
    if "gpu" not in str(asked.get("deviceClassName", "")).split(".") or asked.get("adminAccess"):
        return 0  # gpu.nvidia.com, gpu.intel.com and their like; a NIC or a slice of a GPU (mig.nvidia.com) is none
    return int(asked.get("count") or UNKNOWN_CLAIM) if asked.get("allocationMode") != "All" else UNKNOWN_CLAIM
