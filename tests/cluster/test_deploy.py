"""What deploy/ ships, on a real control plane: it is accepted, it may start, and its rights are needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from testbed.control_plane import ControlPlane
from testbed.rest import Rest
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import Controller, Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.usefixtures("kubeconfig")]

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
BASE: Final = DEPLOY / "base"
CRD: Final = "customresourcedefinition.apiextensions.k8s.io/scalingpolicies.forebay.dev"
PODS: Final = "/api/v1/namespaces/forebay/pods"
BINDING: Final = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/forebay-controller"


@pytest.mark.parametrize("folder", ["base", "crd", "examples/overlay"])
def test_all_that_is_to_be_applied_is_accepted(cluster: ControlPlane, folder: str) -> None:
    words = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    told = cluster.kubectl("apply", *words, "-k", str(DEPLOY / folder))

    assert f"{CRD} serverside-applied (server dry run)" in told
    assert ("deployment.apps/forebay serverside-applied (server dry run)" in told) == (folder != "crd")
    assert all(line.endswith("serverside-applied (server dry run)") for line in told.splitlines())


@pytest.fixture
def deployed(cluster: ControlPlane, api: Rest) -> Iterator[None]:
    """The base as it is applied; nothing runs in its pods."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(BASE))
    yield
    api.delete("/apis/apps/v1/namespaces/forebay/deployments/forebay")
    api.delete("/apis/policy/v1/namespaces/forebay/poddisruptionbudgets/forebay")
    wait_for("no replica set", lambda: api.items("/apis/apps/v1/namespaces/forebay/replicasets"), lambda left: not left)
    api.delete(PODS, gracePeriodSeconds="0")


@pytest.mark.usefixtures("deployed")
def test_its_pods_are_let_into_a_namespace_that_restricts_them(api: Rest, tenant: Tenant) -> None:
    tenant.add_nodes(1)

    pods = wait_for("two pods that run", lambda: running(api), lambda pods: len(pods) == 2)

    labels = api.get("/api/v1/namespaces/forebay")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {pod["spec"]["serviceAccountName"] for pod in pods} == {"forebay"}


def running(api: Rest) -> list[dict[str, Any]]:
    return [pod for pod in api.items(PODS) if pod["status"].get("phase") == "Running"]


@pytest.fixture
def without_rights(api: Rest, kubeconfig: Path) -> Iterator[None]:
    """The account without the ClusterRole; the Lease is another role's."""
    del kubeconfig
    binding = api.get(BINDING)
    api.delete(BINDING)
    yield
    metadata = {"name": binding["metadata"]["name"]}
    api.create(BINDING.rpartition("/")[0], {**binding, "metadata": metadata})


@pytest.mark.usefixtures("without_rights")
def test_without_its_role_it_scales_nothing_and_the_log_says_why_in_a_sentence(
    tenant: Tenant, world: World, start: Start, tmp_path: Path
) -> None:
    add_servers(tenant, 2, load_s=1)
    world.add_policy(replicas={"min": 5, "max": 12})

    controller = start()
    wait_for("three ticks", lambda: skipped(controller), lambda whys: len(whys) >= 3)

    assert "scalingpolicies" in skipped(controller)[-1]
    assert "is forbidden" in skipped(controller)[-1]
    assert "Traceback" not in (tmp_path / "first" / "log.txt").read_text()
    assert world.requested() == 2
    assert world.status() == {}


def skipped(controller: Controller) -> list[str]:
    return [line["why"] for line in controller.log() if line["event"] == "tick_skipped"]
