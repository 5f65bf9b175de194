"""Two models that want more GPUs than there are: the one that matters more gets them, the other keeps its floor."""

from typing import Any

import pytest

from scaler.adapters.journal import read
from scaler.runtime.retelling import differences
from testbed.objects import Life
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.conftest import StartPrometheus
from tests.cluster.following import work_of
from tests.cluster.running import Start, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

GPUS = 6
NOTHING_TO_SCRAPE = {"global": {"evaluation_interval": "1m"}}


def wanting(replicas: int, priority: int) -> dict[str, Any]:
    """A policy's spec that asks for so many replicas by a query of its own."""
    return {"signals": work_of(replicas), "capacity": {"priority": priority}}


def test_a_lower_priority_gives_way_by_steps_until_the_higher_one_has_its_part(
    tenant: Tenant, world: World, start: Start, start_prometheus: StartPrometheus
) -> None:
    tenant.add_nodes(2, gpus=GPUS // 2)
    tenant.add_deployment("low", replicas=5, life=Life(load_s=1, drain_s=1))
    tenant.add_deployment("high", replicas=1, life=Life(load_s=1, drain_s=1))
    tenant.wait_for_ready(GPUS)
    start_prometheus(NOTHING_TO_SCRAPE)
    world.add_policy("low", **wanting(8, priority=0))
    world.add_policy("high", **wanting(4, priority=10))
    controller = start(namespaces="")

    wait_for("the higher one's part", lambda: ready_of(tenant, "high"), lambda count: count == 4, within_s=240.0)
    short = world.condition("CapacityAvailable", "low")
    wait_for("the higher one at peace", lambda: world.condition("CapacityAvailable", "high")["status"], "True".__eq__)
    lines = list(read(controller.journal))

    assert ready_of(tenant, "low") == GPUS - 4
    assert (short["status"], short["reason"]) == ("False", "GpusShort")
    assert f"of the {GPUS} " in short["message"]
    assert f"{tenant.namespace}/high has" in short["message"]
    given = [each for each in rulings(lines, f"{tenant.namespace}/low") if each.rule == "give_way"]
    assert given
    assert all(each.before - each.after == 1 for each in given)
    assert all(each.after >= 1 for each in rulings(lines, f"{tenant.namespace}/low"))
    assert [line.at_s for line in lines if differences(line.record)] == []


def ready_of(tenant: Tenant, name: str) -> int:
    """The ready pods of a Deployment that are to stay."""
    return sum(pod["metadata"]["name"].startswith(f"{name}-") for pod in tenant.ready_pods())


def rulings(lines: list[Any], policy: str) -> list[Any]:
    """All rulings on the one target of a policy; a first decision may come before the target has been listed."""
    plans = [line.record.plan for line in lines if line.name == policy]
    return [ruling for plan in plans for target in plan.targets for ruling in target.trail]
