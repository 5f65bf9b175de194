"""A thousand policies of ten pods on a real API server and a real Prometheus: figures in docs/figures.md.

Nobody runs the pods. An emulated kubelet needs 0.09 s of processor time for each, which is a quarter of an hour for
10,000 before anything can be measured. So every object is written once as Kubernetes would have left it, to a control
plane that is only its store and its API: to the controller under test, which lists and watches, there is no difference.
"""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
import pytest
import yaml

from testbed import network
from testbed.build import ensure_binaries
from testbed.control_plane import ControlPlane
from testbed.dev import admitted
from testbed.objects import gpu_deployment, gpu_node, is_true
from testbed.waiting import wait_for
from tests.bench.resting import rested
from tests.cluster.running import POLICIES, controlling, policy_of
from tests.cluster.test_at_rest import scrape, served

pytestmark = [pytest.mark.bench, pytest.mark.timeout(2400)]

SERVICES: Final = 1000
REPLICAS: Final = 10
NODES: Final = 100
NAMESPACE: Final = "models"
AT_ONCE: Final = 16

TOLD_WITHIN_S: Final = 900.0
RESTS_S: Final = 120.0

Json: TypeAlias = dict[str, Any]
Write: TypeAlias = Callable[[str, str, Json], Awaitable[Json]]
"""Method, path and body to the stored object."""


def path_in(group: str, *rest: str) -> str:
    """A path in the services' namespace."""
    return "/".join(["/api" if group == "v1" else "/apis", group, "namespaces", NAMESPACE, *rest])


def owned_by(kind: str, owner: Json) -> list[Json]:
    """The owner reference of what ``owner`` controls."""
    name, uid = owner["metadata"]["name"], owner["metadata"]["uid"]
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": True}]


def ready_status(at: str) -> Json:
    """What the kubelet says of a pod that became ready at this time."""
    kinds = ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:v0.32.0",
        "imageID": "emulated://vllm",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": at}},
    }
    return {
        "phase": "Running",
        "startTime": at,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in kinds],
        "containerStatuses": [container],
    }


@contextlib.asynccontextmanager
async def writing(told: Json) -> AsyncIterator[Write]:
    """Writes over a few connections that stay open, as the caller of a kubeconfig."""
    cluster, token = told["clusters"][0]["cluster"], told["users"][0]["user"]["token"]
    trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
    connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=trust)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers) as session:

        async def write(method: str, path: str, body: Json) -> Json:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            async with session.request(method, path, json=body, headers={"Content-Type": kind}) as answer:
                stored: Json = await answer.json()
                assert answer.ok, stored
                return stored

        yield write


async def fill(kubeconfig: Json) -> list[str]:
    """A thousand services of ten ready pods each, and their policies; the names of the pods."""
    async with writing(kubeconfig) as write:
        await write("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await write("POST", path_in("v1", "serviceaccounts"), {"metadata": {"name": "default"}})
        nodes = [await write("POST", "/api/v1/nodes", gpu_node(f"gpu-{place}", gpus=100)) for place in range(NODES)]
        turn = asyncio.Semaphore(AT_ONCE)

        async def add(number: int) -> list[str]:
            async with turn:
                return await add_service(write, f"m{number:04}", nodes[number % NODES]["metadata"]["name"])

        added = await asyncio.gather(*(add(number) for number in range(SERVICES)))
    return [name for names in added for name in names]


async def add_service(write: Write, name: str, node: str) -> list[str]:
    """One service with all that belongs to it; the names of its pods."""
    body = gpu_deployment(name, replicas=REPLICAS)
    deployment = await write("POST", path_in("apps/v1", "deployments"), body)
    labels = {"app": name, "pod-template-hash": "1"}
    metadata: Json = {"name": f"{name}-1", "labels": labels, "ownerReferences": owned_by("Deployment", deployment)}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}}
    template = {"metadata": {"labels": labels}, "spec": body["spec"]["template"]["spec"]}
    made = await write(
        "POST", path_in("apps/v1", "replicasets"), {"metadata": metadata, "spec": spec | {"template": template}}
    )
    pods = [f"{name}-1-{place}" for place in range(REPLICAS)]
    for pod in pods:
        metadata = {"name": pod, "labels": labels, "ownerReferences": owned_by("ReplicaSet", made)}
        pod_spec = {**template["spec"], "nodeName": node}
        stored = await write("POST", path_in("v1", "pods"), {"metadata": metadata, "spec": pod_spec})
        status = ready_status(stored["metadata"]["creationTimestamp"])
        await write("PATCH", path_in("v1", "pods", pod, "status"), {"status": status})
    bounds = {"min": REPLICAS, "max": REPLICAS}
    await write("POST", path_in(POLICIES, "scalingpolicies"), policy_of(name, replicas=bounds))
    return pods


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of which only the store and the API run, from inside its network."""
    if (why := network.why_not()) is not None:
        pytest.skip(why)
    with contextlib.ExitStack() as undo:
        inside = network.NetworkNamespace()
        undo.callback(inside.close)
        plane = ControlPlane(binaries=ensure_binaries(), folder=tmp_path, network=inside)
        undo.callback(plane.stop)
        plane.start_part("etcd")
        plane.start_part("kube-apiserver")
        undo.enter_context(inside.entered())
        yield plane


def test_a_thousand_policies_at_rest_are_a_lease_and_watches(store: ControlPlane, tmp_path: Path) -> None:
    kubeconfig = admitted(store)
    told = yaml.safe_load(store.kubeconfig.read_text(encoding="utf-8"))
    pods = asyncio.run(fill(told))
    settings = {"tick_seconds": "15", "prometheus_timeout_seconds": "8"}
    with contextlib.ExitStack() as running:
        page = running.enter_context(served())
        page.pods = [(NAMESPACE, pod) for pod in pods]
        store.start_prometheus(scrape(5))
        controller = running.enter_context(controlling(kubeconfig, NAMESPACE, tmp_path / "resting", **settings))
        wait_for("a first tick", controller.journal.exists, within_s=120.0)
        rest = rested(lambda: controller.page("/metrics"), TOLD_WITHIN_S, RESTS_S)

    sys.stdout.write(f"\npolicies of {REPLICAS} pods: {SERVICES}; {rest}\n")
    policies = store.rest.items(path_in(POLICIES, "scalingpolicies"))
    assert sum(is_true(each, "SignalsHealthy") for each in policies) == SERVICES
    assert {what.split()[0] for what in rest.requests} <= {"update", "watch", "list"}
