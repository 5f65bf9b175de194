"""Growth that the cluster cannot give: it stops, says what is missing, and goes on when there is room."""

import re

import pytest

from testbed.emulator.arrivals import steady
from testbed.emulator.emulator import Emulator
from testbed.objects import names
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import Controller, Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420), pytest.mark.usefixtures("scraped")]

FOR_FOUR_RPS = 75.0
FOR_MORE_RPS = 150.0


def wait_for_growth_that_has_no_room(controller: Controller, *, rule: str = "room", decisions: int = 5) -> None:
    """Return when the demand has been for more, and ``rule`` has held it back, in so many decisions."""

    def held_back() -> int:
        return sum(any(step["rule"] == rule for step in trail) for trail in controller.trails())

    before = held_back()
    wait_for("growth held back", held_back, lambda count: count >= before + decisions)


def test_growth_stops_where_gpus_run_out_and_goes_on_with_a_new_node(
    tenant: Tenant, world: World, emulator: Emulator, start: Start
) -> None:
    tenant.add_nodes(1, gpus=2)
    add_servers(tenant, 2, load_s=2)
    tenant.wait_for_ready(2)
    emulator.set_rate("llama", steady(FOR_FOUR_RPS))
    world.add_policy()
    controller = start()
    wait_for("growth", world.requested, lambda count: count > 2)

    missing = world.wait_for_condition("CapacityAvailable", "False", within_s=100.0)
    controller.wait_until_it_has_learned()
    asked, writes = world.requested(), controller.writes_of_scale()
    assert asked <= 8, "growth that runs away from what there is room for"
    emulator.set_rate("llama", steady(FOR_MORE_RPS))
    wait_for_growth_that_has_no_room(controller)

    told = re.fullmatch(r"(\d+) replicas? of v1 cannot start, 1 GPU each; the first is (\S+)", missing["message"])
    assert told is not None, missing
    assert 1 <= int(told[1]) <= asked - 2
    assert told[2] in names(tenant.pods(fieldSelector="status.phase=Pending"))
    assert (world.requested(), controller.writes_of_scale()) == (asked, writes)
    tenant.add_nodes(1)
    world.wait_for_condition("CapacityAvailable", "True")
    wait_for("growth again", world.requested, lambda count: count > asked)


def test_growth_stops_at_a_quota_before_a_pod_is_refused_and_goes_on_when_there_is_more(
    tenant: Tenant, world: World, emulator: Emulator, start: Start
) -> None:
    tenant.add_nodes(2)
    world.limit_gpus(2)
    add_servers(tenant, 2, load_s=2)
    tenant.wait_for_ready(2)
    emulator.set_rate("llama", steady(FOR_FOUR_RPS))
    world.add_policy()
    controller = start()

    missing = world.wait_for_condition("CapacityAvailable", "False", within_s=100.0)
    controller.wait_until_it_has_learned()
    emulator.set_rate("llama", steady(FOR_MORE_RPS))
    wait_for_growth_that_has_no_room(controller, rule="share")

    assert missing["reason"] == "GpusShort"
    assert f"2 of the 2 GPUs of the quota of {tenant.namespace} are free or ours" in missing["message"]
    assert (len(tenant.pods()), world.requested(), controller.writes_of_scale()) == (2, 2, 0)
    world.limit_gpus(16)
    wait_for("growth again", world.requested, lambda count: count > 2)
    world.wait_for_condition("CapacityAvailable", "True", within_s=100.0)
