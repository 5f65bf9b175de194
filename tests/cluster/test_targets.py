"""Targets beside a plain Deployment, on the real API server: groups of pods, claims of devices, StatefulSets."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from scaler.core.plan import SetReplicas
from testbed.objects import gpu_deployment, is_true
from testbed.rest import Rest
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import Start, World
from tests.cluster.test_kubernetes_adapter import V1, Controller, add_policy, at_work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LWS: Final = "leaderworkerset.x-k8s.io/v1"
LWS_LABELS: Final = "leaderworkerset.sigs.k8s.io"
GROUPS: Final = 2
WORKERS: Final = 3
"""Beside the leader: a group has four pods."""

Json = dict[str, Any]


@pytest.fixture
async def controller(kubeconfig: Path, tenant: Tenant) -> AsyncIterator[Controller]:
    """The adapter with the rights of deploy/base."""
    async with at_work(kubeconfig, tenant) as controller:
        yield controller


# --- Groups of pods ----------------------------------------------------------------------------------------------


@pytest.fixture
def leader_worker_sets(api: Rest) -> Iterator[None]:
    """The kind LeaderWorkerSet with its /scale; the test does what its controller would."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.hpaPodSelector",
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "subresources": {"status": {}, "scale": scale},
    }
    names = {"kind": "LeaderWorkerSet", "plural": "leaderworkersets", "singular": "leaderworkerset"}
    spec: Json = {"group": "leaderworkerset.x-k8s.io", "names": names, "scope": "Namespaced", "versions": [version]}
    metadata = {"name": "leaderworkersets.leaderworkerset.x-k8s.io"}
    # A group under x-k8s.io is the community's, and its API must say that it was reviewed.
    metadata |= {"annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/lws"}}  # type: ignore[dict-item]
    path = f"{CRDS}/{metadata['name']}"
    api.create(CRDS, {"apiVersion": "apiextensions.k8s.io/v1", "metadata": metadata, "spec": spec})
    wait_for("the kind", lambda: is_true(api.get(path), "Established"))
    yield
    api.delete(path)
    wait_for("its end", lambda: not api.exists(path))


def template(labels: dict[str, str], gpus: int) -> Json:
    """A pod template with so many GPUs."""
    return {
        "metadata": {"labels": labels},
        "spec": gpu_deployment("x", replicas=1, gpus=gpus)["spec"]["template"]["spec"],
    }


def add_set(tenant: Tenant, name: str, owner: Json, kind: str, gpus: int, **spec: Any) -> None:
    """A StatefulSet as the controller of LeaderWorkerSets makes it: of all leaders, or of one group's workers."""
    labels = {"set": name}
    reference = {"kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}
    reference |= {"apiVersion": LWS if kind == "LeaderWorkerSet" else "v1"}
    body = {
        "metadata": {"name": name, "ownerReferences": [reference]},
        "spec": {
            "serviceName": "llama",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": template(labels, gpus),
            **spec,
        },
    }
    tenant.api.create(tenant.path("apps/v1", "statefulsets"), body)


def label_pods(tenant: Tenant, names: list[str]) -> None:
    """Say of pods which group and place they have, as the webhook of LeaderWorkerSets does."""
    wait_for("the pods", lambda: {pod["metadata"]["name"] for pod in tenant.pods()}, lambda seen: seen >= set(names))
    for name in names:
        _, group, *place = name.split("-")
        labels = {f"{LWS_LABELS}/group-index": group, f"{LWS_LABELS}/worker-index": place[0] if place else "0"}
        tenant.api.patch(tenant.path("v1", "pods", name), {"metadata": {"labels": labels}})


def add_groups(tenant: Tenant) -> None:
    """A LeaderWorkerSet with two groups of a leader with one GPU and three workers with two each."""
    spec = {
        "replicas": GROUPS,
        "leaderWorkerTemplate": {
            "size": 1 + WORKERS,
            "leaderTemplate": template({}, 1),
            "workerTemplate": template({}, 2),
        },
    }
    body = {"apiVersion": LWS, "kind": "LeaderWorkerSet", "metadata": {"name": "llama"}, "spec": spec}
    made = tenant.api.create(tenant.path(LWS, "leaderworkersets"), body)
    add_set(tenant, "llama", made, "LeaderWorkerSet", 1, replicas=GROUPS)
    leaders = [f"llama-{group}" for group in range(GROUPS)]
    label_pods(tenant, leaders)
    for leader in leaders:
        pod = tenant.api.get(tenant.path("v1", "pods", leader))
        add_set(tenant, leader, pod, "Pod", 2, replicas=WORKERS, ordinals={"start": 1})
        label_pods(tenant, [f"{leader}-{place}" for place in range(1, 1 + WORKERS)])


@pytest.mark.usefixtures("leader_worker_sets")
async def test_a_group_is_one_replica_with_the_gpus_of_all_its_pods(tenant: Tenant, controller: Controller) -> None:
    tenant.add_nodes(2)
    add_policy(tenant, apiVersion=LWS, kind="LeaderWorkerSet")
    add_groups(tenant)

    fleet = await controller.fleet_when(lambda seen: len(seen.ready()) == GROUPS)
    await controller.cluster.act((await controller.model()).policy, (SetReplicas(key=V1, replicas=3),))

    assert [replica.name for replica in fleet.replicas] == ["llama-0", "llama-1"]
    assert fleet.gpus_per_replica == 1 + 2 * WORKERS
    assert tenant.api.get(tenant.path(LWS, "leaderworkersets", "llama"))["spec"]["replicas"] == 3
    lost = tenant.path("v1", "pods", "llama-1-2", "status")
    tenant.api.patch(lost, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    left = await controller.fleet_when(lambda seen: len(seen.ready()) == 1)
    assert [replica.name for replica in left.ready()] == ["llama-0"]


# --- Claims of devices -------------------------------------------------------------------------------------------


async def test_the_gpus_of_claims_are_those_that_their_templates_ask_for(
    tenant: Tenant, controller: Controller
) -> None:
    requests = [
        {"name": "gpus", "exactly": {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": 4}},
        {"name": "nics", "exactly": {"deviceClassName": "dranet", "count": 2}},
    ]
    body = {"metadata": {"name": "four"}, "spec": {"spec": {"devices": {"requests": requests}}}}
    tenant.api.create(tenant.path("resource.k8s.io/v1", "resourceclaimtemplates"), body)
    add_policy(tenant)
    deployment = gpu_deployment("llama", replicas=1, gpus=0)
    pod_spec = deployment["spec"]["template"]["spec"]
    pod_spec["resourceClaims"] = [{"name": "gpus", "resourceClaimTemplateName": "four"}]
    pod_spec["containers"][0]["resources"] = {"claims": [{"name": "gpus"}]}
    tenant.api.create(tenant.path("apps/v1", "deployments"), deployment)

    fleet = await controller.fleet_when(lambda seen: seen.gpus_per_replica == 4)

    assert fleet.requested == 1
    assert not [asked for asked in controller.requests if asked[2] == "403"]


# --- StatefulSets ------------------------------------------------------------------------------------------------


def test_a_stateful_set_that_meets_a_quota_says_so_until_there_is_more(
    tenant: Tenant, world: World, start: Start
) -> None:
    tenant.add_nodes(1)
    world.limit_gpus(2)
    path = tenant.path("apps/v1", "statefulsets")
    labels = {"app": "llama"}
    spec = {"serviceName": "llama", "replicas": 2, "selector": {"matchLabels": labels}, "template": template(labels, 1)}
    tenant.api.create(path, {"metadata": {"name": "llama"}, "spec": spec})
    tenant.wait_for_ready(2)
    target = {"role": "Serve", "targetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "llama"}}
    world.add_policy(versions=[{"name": "v1", "targets": [target]}], replicas={"min": 4, "max": 4})

    start()
    missing = world.wait_for_condition("CapacityAvailable", "False", reason="ReplicasRefused")

    assert tenant.api.get(f"{path}/llama")["spec"]["replicas"] == 4
    assert missing["message"].startswith("2 replicas of v1 cannot be created, 1 GPU each: ")
    assert "exceeded quota: gpus" in missing["message"]
    world.limit_gpus(8)
    world.wait_for_condition("CapacityAvailable", "True", within_s=120.0)
    tenant.wait_for_ready(4)
