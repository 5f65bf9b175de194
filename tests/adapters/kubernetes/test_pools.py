"""The GPUs of a cluster, from its nodes, pods and quotas as they are stored."""

from typing import Any

import pytest

from scaler.adapters.kubernetes.pods import pod_seen
from scaler.adapters.kubernetes.pools import NodeSeen, QuotaSeen, node_seen, pools_of, quota_seen, quotas_of
from scaler.core.model import Pool, Quota
from tests.adapters.differences import merged
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.recorded import Json

H100 = NodeSeen(node_class="H100", gpus=8, takes_pods=True)


def node(**difference: Any) -> Json:
    """A node of eight GPUs that is ready."""
    ready = {"type": "Ready", "status": "True"}
    status = {"allocatable": {"cpu": "128", "nvidia.com/gpu": "8"}, "conditions": [ready]}
    thing = merged(recorded.node(), {"status": status})
    thing["metadata"]["labels"]["nvidia.com/gpu.product"] = "H100"
    return merged(thing, difference)


def test_a_node_has_the_gpus_that_pods_may_have() -> None:
    assert node_seen(node(), None) == H100
    assert node_seen(recorded.node(), None) == NodeSeen(node_class="")


@pytest.mark.parametrize(
    "difference",
    [
        {"spec": {"unschedulable": True}},
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        {"spec": {"taints": [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]}},
    ],
    ids=["cordoned", "silent", "pressed"],
)
def test_a_node_in_trouble_takes_no_pods(difference: Json) -> None:
    assert not node_seen(node(**difference), None).takes_pods


def test_a_node_that_is_kept_for_gpu_pods_takes_them() -> None:
    kept = {"spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}}

    assert node_seen(node(**kept), None) == H100


def test_what_is_free_is_what_no_pod_holds_that_runs() -> None:
    on_it = {"spec": {"nodeName": "one"}}
    pods = [
        pod_seen(recorded.pod("ours", **on_it), None),
        pod_seen(recorded.pod("theirs", **on_it, metadata={"namespace": "elsewhere"}), None),
        pod_seen(recorded.pod("over", **on_it, status={"phase": "Succeeded"}), None),
        pod_seen(recorded.pod("waits"), None),
    ]
    small = NodeSeen(node_class="L40S", gpus=4, takes_pods=True)
    cordoned = NodeSeen(node_class="H100", gpus=8, takes_pods=False)

    assert pools_of({"one": H100, "two": H100, "three": small, "four": cordoned}, pods) == (
        Pool(product="H100", allocatable_gpus=16, free_gpus=12),
        Pool(product="L40S", allocatable_gpus=4, free_gpus=4),
    )


def quota(name: str = "gpus", used: int = 2, hard: int | str = 8, **spec: Any) -> Json:
    counted = {"requests.nvidia.com/gpu": str(hard), "pods": "50"}
    status = {"hard": counted, "used": {"requests.nvidia.com/gpu": str(used)}}
    return {"metadata": {"name": name, "namespace": "models"}, "spec": spec, "status": status}


def test_of_several_quotas_the_tightest_counts() -> None:
    seen = [quota_seen(quota("a", used=2, hard=8), None), quota_seen(quota("b", used=2, hard=4), None)]

    assert quotas_of(seen) == (Quota(namespace="models", hard_gpus=4, left_gpus=2),)


def test_a_quota_of_a_thousand_is_read_as_the_api_server_writes_it() -> None:
    assert quotas_of([quota_seen(quota(hard="1k"), None)]) == (
        Quota(namespace="models", hard_gpus=1000, left_gpus=998),
    )


def test_quotas_on_several_makes_of_gpu_add_up() -> None:
    both = QuotaSeen(
        namespace="models",
        hard={"nvidia.com/gpu": 8, "amd.com/gpu": 4},
        used={"nvidia.com/gpu": 8, "amd.com/gpu": 1},
    )

    assert quotas_of([both]) == (Quota(namespace="models", hard_gpus=12, left_gpus=3),)


@pytest.mark.parametrize("spec", [{"scopes": ["BestEffort"]}, {"scopeSelector": {"matchExpressions": []}}])
def test_a_quota_for_some_pods_only_bounds_nobody_here(spec: Json) -> None:
    assert quotas_of([quota_seen(quota(**spec), None)]) == ()


def test_a_quota_without_gpus_is_none() -> None:
    assert quotas_of([QuotaSeen(namespace="models", hard={}, used={})]) == ()
