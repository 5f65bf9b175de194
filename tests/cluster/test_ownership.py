"""Targets that others write too, or that are not there: it is said who and why, and nobody is fought."""

from typing import Any

import pytest

from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.running import Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TWO = {"min": 2, "max": 2}
"""Bounds that leave nothing to decide, so that no signals are needed."""

BY_HAND_FOR_S = 40.0
KEDA = "keda.sh/v1alpha1"


def add_autoscaler(tenant: Tenant, kind: str) -> str:
    """An autoscaler that names the Deployment llama, and on which nobody acts; its path."""
    target: dict[str, Any] = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}}
    trigger = {"type": "external", "metadata": {"scalerAddress": "scaler:9443"}}
    specs: dict[str, tuple[str, str, dict[str, Any]]] = {
        "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers", {"minReplicas": 1, "maxReplicas": 9}),
        "ScaledObject": (KEDA, "scaledobjects", {"triggers": [trigger]}),
    }
    api_version, plural, spec = specs[kind]
    body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "another"}, "spec": target | spec}
    tenant.api.create(tenant.path(api_version, plural), body)
    return tenant.path(api_version, plural, "another")


def test_who_scales_by_hand_all_the_time_is_named_and_answered_once_a_minute(
    tenant: Tenant, world: World, start: Start
) -> None:
    add_servers(tenant, 2, load_s=0)
    world.add_policy(replicas=TWO)
    controller = start()
    world.wait_for_condition("OwnershipClear", "True")
    began_s = now_s()

    def by_hand() -> float:
        world.scale_by_hand("ada", 1)
        return now_s() - began_s

    wait_for("scaling by hand", by_hand, lambda for_s: for_s >= BY_HAND_FOR_S, within_s=90.0, every_s=1.0)

    condition = world.condition("OwnershipClear")
    assert condition["status"] == "False"
    assert condition["message"].startswith("ada set Deployment llama to 1 replicas at ")
    assert controller.writes_of_scale() == 1
    world.wait_for_requested(2)
    assert controller.writes_of_scale() == 2


@pytest.mark.usefixtures("keda_definitions")
@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_another_autoscaler_is_named_while_it_is_there(tenant: Tenant, world: World, start: Start, kind: str) -> None:
    add_servers(tenant, 2, load_s=0)
    world.add_policy(replicas=TWO)
    start()
    world.wait_for_condition("OwnershipClear", "True")

    path = add_autoscaler(tenant, kind)

    said = world.wait_for_condition("OwnershipClear", "False")
    assert said["message"].startswith(f"{kind} another scales Deployment llama too")
    tenant.api.delete(path)
    world.wait_for_condition("OwnershipClear", "True")


def test_a_target_that_comes_late_and_is_made_again_is_scaled_each_time(
    tenant: Tenant, world: World, start: Start
) -> None:
    world.add_policy(replicas=TWO)
    controller = start()
    absent = f"the replicas of v1 are not known: there is no Deployment llama in {tenant.namespace}"

    def told_that_it_is_absent() -> bool:
        return world.condition("CapacityAvailable").get("message") == absent

    # A first decision may come before the Deployments were listed; other words alone are told once a minute.
    for _ in range(2):
        wait_for("the condition to say what it is", told_that_it_is_absent, within_s=90.0)
        add_servers(tenant, 1, load_s=0)
        world.wait_for_requested(2)
        world.wait_for_condition("CapacityAvailable", "True")
        tenant.api.delete(tenant.path("apps/v1", "deployments", "llama"))

    wait_for("the condition to say what it is", told_that_it_is_absent, within_s=90.0)
    assert controller.exit_code is None


def test_a_target_without_a_scale_is_told_and_costs_no_other_policy(tenant: Tenant, world: World, start: Start) -> None:
    add_servers(tenant, 1, load_s=0)
    target = {"role": "Serve", "targetRef": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent"}}
    versions = [{"name": "v1", "targets": [target]}]
    world.add_policy(name="agent", versions=versions)
    world.add_policy(replicas=TWO)
    controller = start()

    world.wait_for_requested(2)

    said = world.wait_for_condition("CapacityAvailable", "Unknown", name="agent")
    assert said["message"].endswith("DaemonSet in apps/v1 has no /scale, so its replicas cannot be set")
    assert controller.exit_code is None
