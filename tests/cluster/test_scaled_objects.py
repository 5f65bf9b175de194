"""KEDA's own kinds on a real API server, with nobody who acts on them: what is written, pruned, taken back, let go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from scaler.adapters.keda.scaled_object import connection_of, scaled_objects
from scaler.api.v1alpha1 import ScalingPolicy
from testbed.control_plane import ControlPlane
from testbed.rest import Patch, Rest
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import POLICIES, Controller, Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("keda_definitions")]

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RIGHT: Final = DEPLOY / "components" / "keda-managed" / "rbac.yaml"
KIND: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaledobjects.keda.sh"
BEHAVIOR: Final = (
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/advanced/properties"
    "/horizontalPodAutoscalerConfig/properties/behavior/properties"
)
MANAGED: Final[dict[str, Any]] = {"actuation": "KEDA", "keda": {"managed": True}}


@pytest.fixture
def may_write(cluster: ControlPlane, kubeconfig: Path) -> Iterator[None]:
    """The account of deploy/base, with the right that is shipped apart."""
    del kubeconfig
    cluster.kubectl("apply", "--server-side", "-f", str(RIGHT))
    yield
    cluster.kubectl("delete", "-f", str(RIGHT))


def path_of(tenant: Tenant) -> str:
    """The ScaledObject's place."""
    return tenant.path("keda.sh/v1alpha1", "scaledobjects", "llama")


def written(tenant: Tenant) -> dict[str, Any]:
    """The ScaledObject, once it is there."""
    path = path_of(tenant)
    wait_for("the ScaledObject", lambda: tenant.api.exists(path), within_s=60.0)
    found: dict[str, Any] = tenant.api.get(path)
    return found


def wait_for_decisions(controller: Controller, more: int) -> None:
    """Return after so many more ticks."""
    until = len(controller.decisions()) + more
    wait_for(f"{more} ticks", lambda: len(controller.decisions()) >= until, within_s=60.0)


def test_what_is_shipped_and_printed_is_taken_to_the_last_field(cluster: ControlPlane, api: Rest) -> None:
    api.create("/api/v1/namespaces", {"metadata": {"name": "serving"}})
    files = ("scaled-object.yaml", "trigger-authentication.yaml")
    words = [word for file in files for word in ("-f", str(DEPLOY / "examples" / "keda" / file))]

    told = cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", *words)

    api.delete("/api/v1/namespaces/serving")
    assert [line.partition(" ")[0] for line in told.splitlines()] == [
        "scaledobject.keda.sh/qwen3",
        "triggerauthentication.keda.sh/forebay-client",
    ]


@pytest.mark.usefixtures("may_write")
def test_a_scaled_object_of_the_policys_own_is_kept_as_it_should_be_and_goes_with_the_policy(
    tenant: Tenant, world: World, start: Start
) -> None:
    add_servers(tenant, 1, load_s=0)
    world.add_policy(**MANAGED)
    controller = start()
    path = path_of(tenant)
    before = written(tenant)

    tenant.api.patch(path, {"spec": {"maxReplicaCount": 3}})

    (owner,) = before["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ScalingPolicy", "llama", True)
    wait_for("the policy's bound", lambda: tenant.api.get(path)["spec"]["maxReplicaCount"], lambda most: most == 12)
    settled = tenant.api.get(path)["metadata"]["resourceVersion"]
    wait_for_decisions(controller, 5)
    assert tenant.api.get(path)["metadata"]["resourceVersion"] == settled
    assert controller.writes_of_scale() == 0
    tenant.api.delete(tenant.path(POLICIES, "scalingpolicies", "llama"))
    wait_for("its end", lambda: not tenant.api.exists(path), within_s=60.0)


@pytest.mark.usefixtures("may_write")
def test_back_at_scale_the_scaled_object_goes_first_and_then_we_write(
    tenant: Tenant, world: World, start: Start
) -> None:
    add_servers(tenant, 1, load_s=0)
    world.add_policy(replicas={"min": 2, "max": 2}, **MANAGED)
    controller = start()
    written(tenant)
    untouched = world.requested()

    world.change_policy(actuation="Scale", keda=None)

    world.wait_for_requested(2)
    assert untouched == 1
    assert not tenant.api.exists(path_of(tenant))
    assert controller.writes_of_scale() == 1


def test_somebody_elses_scaled_object_is_told_and_not_taken_over(tenant: Tenant, world: World, start: Start) -> None:
    add_servers(tenant, 1, load_s=0)
    spec = {"scaleTargetRef": {"name": "llama"}, "triggers": [{"type": "cron", "metadata": {"start": "0 8 * * *"}}]}
    theirs = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "llama"}, "spec": spec}
    tenant.api.create(tenant.path("keda.sh/v1alpha1", "scaledobjects"), theirs)
    before = tenant.api.get(path_of(tenant))
    world.add_policy(**MANAGED)
    controller = start()

    told = world.wait_for_condition("KEDAReady", "False")

    assert told["reason"] == "NotOurs"
    assert "does not ask for policy llama, version v1, role Serve" in told["message"]
    wait_for_decisions(controller, 3)
    assert tenant.api.get(path_of(tenant)) == before


@pytest.fixture
def older_keda(api: Rest, keda_definitions: None) -> None:
    """ScaledObjects as before KEDA 2.18, which knew no tolerance; the kind is gone after the test anyway."""
    del keda_definitions
    sides = ("scaleUp", "scaleDown")
    steps = [{"op": "remove", "path": f"{BEHAVIOR}/{side}/properties/tolerance"} for side in sides]
    api.patch(KIND, steps, Patch.JSON)


@pytest.mark.usefixtures("older_keda")
def test_a_tolerance_that_an_older_keda_prunes_is_told_with_what_it_costs(
    tenant: Tenant, world: World, start: Start
) -> None:
    add_servers(tenant, 1, load_s=0)
    world.add_policy(actuation="KEDA")
    policy = ScalingPolicy.model_validate(tenant.api.get(tenant.path(POLICIES, "scalingpolicies", "llama")))
    (printed,) = scaled_objects(policy, connection_of(policy))
    tenant.api.create(tenant.path("keda.sh/v1alpha1", "scaledobjects"), printed)
    start()

    told = world.wait_for_condition("KEDAReady", "False")

    assert "tolerance" not in str(written(tenant)["spec"])
    assert (
        "ScaledObject llama has no tolerance, so at 11 replicas a wish for 10 to 12 changes nothing" in told["message"]
    )
    assert "11 → 12 cannot be said" in told["message"]


@pytest.mark.usefixtures("older_keda", "may_write")
def test_a_kind_of_an_older_keda_is_not_written_to_and_the_condition_says_what_to_do(
    tenant: Tenant, world: World, start: Start
) -> None:
    add_servers(tenant, 1, load_s=0)
    world.add_policy(**MANAGED)
    start()

    told = refused(world)

    assert "scaleUp.tolerance: field not declared in schema" in told
    assert "KEDA is older than 2.18 here: update it" in told
    assert not tenant.api.exists(path_of(tenant))


def test_without_the_right_to_write_them_the_condition_says_so(tenant: Tenant, world: World, start: Start) -> None:
    add_servers(tenant, 1, load_s=0)
    world.add_policy(**MANAGED)
    start()

    told = refused(world)

    assert "scaledobjects.keda.sh" in told
    assert "give the controller this right (deploy/components/keda-managed)" in told


def refused(world: World) -> str:
    """What KEDAReady says of a ScaledObject that could not be written."""
    told = wait_for(
        "the refusal",
        lambda: world.condition("KEDAReady"),
        lambda found: found.get("reason") == "NotWritten",
        within_s=60.0,
    )
    return str(told["message"])
