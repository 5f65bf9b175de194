"""What the other tests in this folder rely on: the testbed behaves as a cluster does."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.control_plane import ControlPlane
from testbed.network import MY_NETWORK
from testbed.objects import Life, condition_of, is_true, names
from testbed.rest import Patch, RefusedError, Rest
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.running import asked

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
POLICY_CRD = DEPLOY / "crd" / "forebay.dev_scalingpolicies.yaml"
EXAMPLES = [path for path in sorted((DEPLOY / "examples").glob("**/*.yaml")) if "ScalingPolicy" in path.read_text()]


def test_the_api_server_says_its_version(api: Rest) -> None:
    assert api.get("/version")["gitVersion"].startswith("v1.36.")


def test_a_deployment_is_ready_after_its_load_time(tenant: Tenant) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=3, life=Life(pull_s=1, load_s=4, jitter_s=1))

    pods = tenant.wait_for_ready(3)

    for pod in pods:
        assert {each["type"] for each in pod["status"]["conditions"] if each["status"] == "True"} >= {
            "PodScheduled",
            "Initialized",
            "ContainersReady",
            "Ready",
        }
        # Kubernetes cuts its times to whole seconds, so a span may be one short; the machine may be slow.
        assert 4 - 1 - 1 <= loading_s(pod) <= 4 + 1 + 5


def test_a_pod_that_is_patched_while_it_loads_does_not_begin_anew(tenant: Tenant) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=1, life=Life(load_s=4))
    (pod,) = wait_for("a starting pod", tenant.pods, all_in_phase("Running"))
    ready_at = pod["metadata"]["annotations"]["testbed.forebay.dev/ready-at"]

    for cost in range(8):
        set_cost(tenant, pod, cost)
    (pod,) = tenant.wait_for_ready(1)

    assert pod["metadata"]["annotations"]["testbed.forebay.dev/ready-at"] == ready_at
    assert loading_s(pod) <= 4 + 3


def test_gpus_run_out(tenant: Tenant) -> None:
    tenant.add_nodes(3, gpus=8)
    tenant.add_deployment("llama", replicas=14, gpus=2)

    tenant.wait_for_ready(12)
    pending = wait_for("two pods without a node", lambda: pending_in(tenant), are_unschedulable)

    assert len(pending) == 2
    assert all("Insufficient nvidia.com/gpu" in condition_of(pod, "PodScheduled")["message"] for pod in pending)


def test_a_new_node_takes_the_pods_that_had_no_room(tenant: Tenant) -> None:
    tenant.add_nodes(1, gpus=2)
    tenant.add_deployment("llama", replicas=3)
    wait_for("a pod without a node", lambda: pending_in(tenant), are_unschedulable)

    (name,) = tenant.add_nodes(1, gpus=2, product="NVIDIA-L4")

    pods = tenant.wait_for_ready(3)
    assert sum(pod["spec"]["nodeName"] == name for pod in pods) == 1


def test_scale_is_read_and_written(tenant: Tenant) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=1)

    tenant.scale("llama", 4)
    tenant.wait_for_ready(4)

    scale = tenant.path("apps/v1", "deployments", "llama", "scale")
    seen = wait_for("a scale of four", lambda: tenant.api.get(scale), lambda it: it["status"].get("replicas") == 4)
    assert seen["status"]["selector"] == "app=llama"


def test_a_shrink_takes_the_pod_with_the_lowest_deletion_cost(tenant: Tenant) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=4)
    pods = tenant.wait_for_ready(4)
    for cost, pod in enumerate(pods):
        set_cost(tenant, pod, 10 * cost)

    tenant.scale("llama", 3)

    left = wait_for("three pods", tenant.pods, lambda found: len(found) == 3)
    assert names(left) == names(pods[1:])


def test_a_drain_keeps_the_pod_for_its_time(tenant: Tenant) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=1, life=Life(drain_s=3))
    tenant.wait_for_ready(1)
    tenant.scale("llama", 0)
    began_s = now_s()

    wait_for("a pod that drains", tenant.pods, lambda it: "deletionTimestamp" in it[0]["metadata"])
    wait_for("no pod", tenant.pods, lambda found: not found)

    assert 2 <= now_s() - began_s <= 3 + 5


def test_a_quota_refuses_what_is_over_it(tenant: Tenant) -> None:
    tenant.add_nodes(1)
    quotas = tenant.path("v1", "resourcequotas")
    tenant.api.create(quotas, {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "4"}}})
    wait_for("a counted quota", lambda: tenant.api.get(f"{quotas}/gpus"), lambda it: "used" in it["status"])

    tenant.add_deployment("llama", replicas=3, gpus=2)

    tenant.wait_for_ready(2)
    deployment = tenant.path("apps/v1", "deployments", "llama")
    refused = wait_for("a no", lambda: tenant.api.get(deployment), lambda it: is_true(it, "ReplicaFailure"))
    assert "exceeded quota: gpus" in condition_of(refused, "ReplicaFailure")["message"]


def test_a_service_account_may_do_what_its_role_says(cluster: ControlPlane, tenant: Tenant) -> None:
    caller, _ = cluster.service_account(tenant.namespace, "default")
    pods = tenant.path("v1", "pods")
    assert not may_get(caller, pods)

    let_list_pods(tenant, "default")

    assert wait_for("the right to list", lambda: may_get(caller, pods))


def test_one_server_answers_at_every_pod_address(tenant: Tenant) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=2)
    addresses = {pod["status"]["podIP"] for pod in tenant.wait_for_ready(2)}

    with socket.create_server(("0.0.0.0", 8000)) as server:  # noqa: S104 - inside a network of our own
        assert {answered_as(server, address) for address in addresses} == addresses


async def test_an_asynchronous_test_and_its_worker_threads_are_inside_too(tenant: Tenant) -> None:
    assert await asyncio.to_thread(tenant.pods) == []


def test_a_test_without_the_cluster_stays_outside(control_plane: ControlPlane) -> None:
    before = MY_NETWORK.readlink()

    with control_plane.network.entered():
        assert MY_NETWORK.readlink() != before

    assert MY_NETWORK.readlink() == before


def test_prometheus_finds_the_pods_by_itself(
    cluster: ControlPlane, tenant: Tenant, start_prometheus: Callable[[dict[str, Any]], str]
) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=2)
    addresses = {f"{pod['status']['podIP']}:8000" for pod in tenant.wait_for_ready(2)}
    discovery = {"role": "pod", "kubeconfig_file": str(cluster.kubeconfig), "namespaces": {"names": [tenant.namespace]}}

    start_prometheus(
        {"scrape_configs": [{"job_name": "pods", "scrape_interval": "1s", "kubernetes_sd_configs": [discovery]}]}
    )

    # Nothing listens there, so each is down; but it is known, and that is the claim.
    wait_for("both pods", instances_known_to_prometheus, lambda known: known == addresses)


def test_objects_outlive_a_crash_of_the_store_and_the_api_server(cluster: ControlPlane, tenant: Tenant) -> None:
    tenant.add_nodes(1)
    tenant.add_deployment("llama", replicas=2)
    before = names(tenant.wait_for_ready(2))

    cluster.kill_part("kube-apiserver")
    cluster.kill_part("etcd")
    cluster.start_part("etcd")
    cluster.start_part("kube-apiserver")

    assert names(tenant.pods()) == before
    # The controllers, the scheduler and kwok find their way back by themselves.
    tenant.scale("llama", 3)
    tenant.wait_for_ready(3)


def test_the_scaling_policy_crd_is_established(api: Rest) -> None:
    seen = establish(api, POLICY_CRD)

    assert condition_of(seen, "NonStructuralSchema") == {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_shipped_example_is_accepted(tenant: Tenant, path: Path) -> None:
    establish(tenant.api, POLICY_CRD)
    policies = [it for it in yaml.safe_load_all(path.read_text()) if it and it["kind"] == "ScalingPolicy"]
    where = tenant.path("forebay.dev/v1alpha1", "scalingpolicies")

    for policy in policies:
        policy["metadata"]["namespace"] = tenant.namespace
        tenant.api.create(f"{where}?fieldValidation=Strict", policy)

    assert names(tenant.api.items(where)) == names(policies)


def pending_in(tenant: Tenant) -> list[dict[str, Any]]:
    return tenant.pods(fieldSelector="status.phase=Pending")


def all_in_phase(phase: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda pods: bool(pods) and all(pod["status"]["phase"] == phase for pod in pods)


def are_unschedulable(pods: list[dict[str, Any]]) -> bool:
    return bool(pods) and all(condition_of(pod, "PodScheduled").get("reason") == "Unschedulable" for pod in pods)


def loading_s(pod: dict[str, Any]) -> float:
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    ready = condition_of(pod, "Ready")["lastTransitionTime"]
    return (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()


def set_cost(tenant: Tenant, pod: dict[str, Any], cost: int) -> None:
    annotations = {"controller.kubernetes.io/pod-deletion-cost": str(cost)}
    path = tenant.path("v1", "pods", pod["metadata"]["name"])
    tenant.api.patch(path, {"metadata": {"annotations": annotations}})


def let_list_pods(tenant: Tenant, account: str) -> None:
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    tenant.api.create(tenant.path(f"{group}/v1", "roles"), {"metadata": {"name": "reader"}, "rules": rules})
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": tenant.namespace}],
    }
    tenant.api.create(tenant.path(f"{group}/v1", "rolebindings"), binding)


def may_get(caller: Rest, path: str) -> bool:
    with contextlib.suppress(RefusedError):
        caller.get(path)
        return True
    return False


def answered_as(server: socket.socket, address: str) -> str:
    with socket.create_connection((address, 8000), timeout=5), server.accept()[0] as answering:
        found: str = answering.getsockname()[0]
        return found


def instances_known_to_prometheus() -> set[str]:
    return {series["metric"]["instance"] for series in asked("up")}


def establish(api: Rest, path: Path) -> dict[str, Any]:
    definition = yaml.safe_load(path.read_text())
    where = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}"
    api.patch(where, definition, Patch.APPLY)
    return wait_for("an established CRD", lambda: api.get(where), lambda it: is_true(it, "Established"))
