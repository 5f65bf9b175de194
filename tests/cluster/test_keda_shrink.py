"""Which pods go when the real KEDA and its HPA shrink a Deployment: those with the least work."""

from itertools import groupby
from typing import Final

import pytest

from testbed.emulator.arrivals import steady
from testbed.emulator.emulator import Emulator
from testbed.keda import Keda
from testbed.tenant import Tenant
from tests.cluster.following import ADDRESS, SCALER, Following, answering, wait_until_it_answers
from tests.cluster.running import Controller, Start, World, add_servers
from tests.cluster.test_controller import shrinks, trail_of, work_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RPS: Final = 8.0
"""Less than one replica's worth, and some requests at each of four at any time."""


def works_at_each_step(controller: Controller) -> list[dict[str, float]]:
    """The work of each pod when a lower count was first told, count by count: by that the pods were marked.

    A count is told again until KEDA has carried it out, and the work has changed by then.
    """
    falling = (record for record in controller.records() if shrinks(trail_of(record)))
    return [work_of(next(same)) for _, same in groupby(falling, key=lambda record: trail_of(record)[-1]["after"])]


@pytest.mark.usefixtures("scraped")
def test_the_idle_pods_go_first(keda: Keda, tenant: Tenant, world: World, emulator: Emulator, start: Start) -> None:
    keda.resolve({SCALER: [ADDRESS]})
    tenant.add_nodes(1)
    add_servers(tenant, 4, load_s=0)
    tenant.wait_for_ready(4)
    emulator.set_rate("llama", steady(RPS))
    world.add_policy(actuation="KEDA", warmPool={"floor": 4})
    controller = start(**answering())
    wait_until_it_answers(controller)
    Following(tenant=tenant, name="llama").ask_keda()
    world.wait_for_condition("KEDAReady", "True")
    world.wait_for_condition("SignalsHealthy", "True")

    world.change_policy(warmPool={"floor": 2})
    world.wait_for_requested(2, within_s=240.0)
    stayed = {pod["metadata"]["name"] for pod in tenant.wait_for_ready(2)}

    first, second = works_at_each_step(controller)
    assert (len(first), len(second), len(stayed)) == (4, 3, 2), "one at a time"
    for work, left in [(first, second.keys()), (second, stayed)]:
        (gone,) = work.keys() - left
        assert work[gone] == min(work.values())
    assert controller.writes_of_scale() == 0
    keda.resolve({})
