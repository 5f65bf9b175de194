"""The GPUs of nodes, who holds them, and what quotas leave of them, as the core's Pools. Pure: it asks nobody."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from scaler.adapters.kubernetes.client import Json
from scaler.adapters.kubernetes.gpus import amounts
from scaler.adapters.kubernetes.pods import PodSeen, node_class
from scaler.core.model import Pool, Quota

NODE_TAINTS: Final = "node.kubernetes.io/"
"""What begins so says that something is wrong with a node; other taints are kept for pods that tolerate them."""

REQUESTS: Final = "requests."
"""How a quota names an extended resource: requests.nvidia.com/gpu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """A node: its class (empty where no label says), the GPUs that pods may have, and whether it takes pods now."""

    node_class: str
    gpus: int = 0
    takes_pods: bool = False


def node_seen(node: Json, _: NodeSeen | None) -> NodeSeen:
    """What is used of a node."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    return NodeSeen(
        node_class=node_class(node),
        gpus=sum(amounts(status.get("allocatable") or {}).values()),
        takes_pods=is_ready and not spec.get("unschedulable") and not any(map(_repels, spec.get("taints") or ())),
    )


def _repels(taint: Json) -> bool:
    return str(taint.get("key", "")).startswith(NODE_TAINTS) and taint.get("effect") in {"NoSchedule", "NoExecute"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSeen:
    """The GPUs that one ResourceQuota allows and counts, by resource; none where it is for some pods only."""

    namespace: str
    hard: Mapping[str, int]
    used: Mapping[str, int]


def quota_seen(quota: Json, _: QuotaSeen | None) -> QuotaSeen:
    """What is used of a ResourceQuota. One with scopes counts some pods, and nobody here knows which."""
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    is_scoped = bool(spec.get("scopes") or spec.get("scopeSelector"))
    return QuotaSeen(
        namespace=quota["metadata"]["namespace"],
        hard={} if is_scoped else _requested(status.get("hard") or {}),
        used={} if is_scoped else _requested(status.get("used") or {}),
    )


def _requested(counted: Json) -> dict[str, int]:
    named = {name.removeprefix(REQUESTS): amount for name, amount in counted.items() if name.startswith(REQUESTS)}
    return amounts(named)


def pools_of(nodes: Mapping[str, NodeSeen], pods: Iterable[PodSeen]) -> tuple[Pool, ...]:
    """The GPUs by product on the ``nodes`` (by name) that take pods; ``pods`` are all that run, whoever's they are.

    Devices that are claimed (DRA) are in no node's allocatable, so claims hold nothing here.
    """
    held: dict[str, int] = {}
    for pod in pods:
        if pod.node is not None and not pod.has_ended:
            held[pod.node] = held.get(pod.node, 0) + pod.devices.gpus
    whole: dict[str, int] = {}
    free: dict[str, int] = {}
    for name, node in nodes.items():
        if node.takes_pods and node.gpus > 0:
            whole[node.node_class] = whole.get(node.node_class, 0) + node.gpus
            free[node.node_class] = free.get(node.node_class, 0) + max(0, node.gpus - held.get(name, 0))
    return tuple(
        Pool(product=product, allocatable_gpus=whole[product], free_gpus=free[product]) for product in sorted(whole)
    )


def quotas_of(seen: Iterable[QuotaSeen]) -> tuple[Quota, ...]:
    """What is left of GPUs by namespace: of quotas on one resource the tightest counts, of several resources all."""
    tightest: dict[tuple[str, str], tuple[int, int]] = {}
    for each in seen:
        for resource, hard in each.hard.items():
            left = max(0, hard - each.used.get(resource, 0))
            known = tightest.get((each.namespace, resource), (left, hard))
            tightest[each.namespace, resource] = min(known, (left, hard))
    namespaces = sorted({namespace for namespace, _ in tightest})
    return tuple(
        _quota(each, [found for (place, _), found in tightest.items() if place == each]) for each in namespaces
    )


def _quota(namespace: str, found: list[tuple[int, int]]) -> Quota:
    return Quota(
        namespace=namespace, hard_gpus=sum(hard for _, hard in found), left_gpus=sum(left for left, _ in found)
    )
