"""Load times as they are learned from real objects, against those that the emulated kubelet was told."""

import pytest

from testbed.objects import Life
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import Start, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LOADS_S = (20, 40, 60)
REPLICAS = 3


def learned(world: World, name: str) -> dict[str, float]:
    """The learned load time of a policy's one target, empty before there is one."""
    targets = world.status(name).get("learned", [])
    found: dict[str, float] = targets[0]["loadSeconds"] if targets else {}
    return found


def test_load_times_of_twenty_to_sixty_seconds_are_learned_within_a_tenth(
    tenant: Tenant, world: World, start: Start
) -> None:
    tenant.add_nodes(2)
    start()
    for load_s in LOADS_S:
        tenant.add_deployment(f"load-{load_s}", replicas=REPLICAS, life=Life(load_s=load_s))
        world.add_policy(f"load-{load_s}", replicas={"min": REPLICAS, "max": REPLICAS})

    for load_s in LOADS_S:
        told = wait_for(
            f"all starts of {load_s} s",
            lambda name=f"load-{load_s}": learned(world, name),  # type: ignore[misc]
            lambda seen: seen.get("samples") == REPLICAS,
            within_s=150.0,
        )
        assert told["p50"] == pytest.approx(load_s, rel=0.1)
