"""The floor that is advised, on real objects: told by a real histogram, and enough for whoever follows it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from testbed.emulator.arrivals import steady
from testbed.emulator.emulator import Emulator
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.running import POLICIES, Controller, Start, World, add_servers, asked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

QUIET_RPS: Final = 9.0
SURGE_RPS: Final = 100.0
"""For five or six replicas."""

LOAD_S: Final = 40
SURGE_S: Final = 75.0
"""A load time and a bit, in which the queue begins to shrink."""

EMPTY_WITHIN_S: Final = 360.0
"""Some 6500 requests wait at the end of the surge; on two busy cores they were gone after 120 s."""

SETTLES_WITHIN_S: Final = 150.0
"""The last late first token, and the minute of a rate after it."""

SEEN_S: Final = 1800.0
"""In the first half hour nothing is advised; a status of before saves the test from it."""

OBJECTIVE: Final = {"timeToFirstToken": {"percentile": 95, "milliseconds": 2500}}
"""One of vLLM's bounds is 2.5 s, so that Prometheus can be asked how many came later."""

FIRST_TOKENS: Final = "vllm:time_to_first_token_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """First tokens so far, as the engines have counted them since they started."""

    requests: float
    late: float

    def since(self, before: "Came") -> "Came":
        """What came between two moments."""
        return Came(requests=self.requests - before.requests, late=self.late - before.late)


def came(tenant: Tenant) -> Came:
    """What the histogram of all engines says at this moment."""
    mine = f'namespace="{tenant.namespace}"'
    requests = value(f"sum({FIRST_TOKENS}_count{{{mine}}})")
    return Came(requests=requests, late=requests - value(f'sum({FIRST_TOKENS}_bucket{{{mine},le="2.5"}})'))


def value(query: str) -> float:
    return float(asked(query)[0]["value"][1])


def course(controller: Controller) -> Mapping[str, Any]:
    """What the last decision left of how demand went."""
    found: dict[str, Any] = controller.records()[-1]["plan"]["memory"]["courses"][0]
    return found


def surge(emulator: Emulator, tenant: Tenant) -> Came:
    """What came while demand was eleven times as high for a while, until all of it has its first token."""
    before = came(tenant)
    emulator.set_rate("llama", steady(SURGE_RPS))
    begun_s = now_s()
    wait_for("the surge to be over", lambda: now_s() - begun_s, lambda so_far_s: so_far_s >= SURGE_S, within_s=120.0)
    emulator.set_rate("llama", steady(QUIET_RPS))
    wait_for(
        "the queue to be gone", lambda: emulator.sight("llama").waiting, lambda left: left == 0, within_s=EMPTY_WITHIN_S
    )
    return came(tenant).since(before)


@pytest.mark.usefixtures("scraped")
def test_what_was_late_is_counted_as_the_engines_count_it_and_the_advised_floor_is_enough_the_next_time(
    tenant: Tenant, world: World, emulator: Emulator, start: Start
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 1, load_s=LOAD_S)
    tenant.wait_for_ready(1)
    emulator.set_rate("llama", steady(QUIET_RPS))
    world.add_policy(replicas={"min": 1, "max": 8}, objectives=OBJECTIVE)
    seen = {"role": "Serve", "seenSeconds": SEEN_S, "workReplicaSeconds": SEEN_S, "requests": 1.0}
    tenant.api.patch(f"{tenant.path(POLICIES, 'scalingpolicies', 'llama')}/status", {"status": {"demand": [seen]}})
    controller = start()
    controller.wait_until_it_has_learned()
    assert world.condition("Forecastable")["status"] == "True"
    before = counted_in(course(controller))

    met_late = surge(emulator, tenant)
    told = world.wait_for_condition("Forecastable", "False", reason="TooFast")["message"]
    wait_for(
        "nearly all of the surge to be counted",
        lambda: counted_in(course(controller)),
        lambda now: (
            now.late == pytest.approx(met_late.late, rel=0.1)
            and now.requests - before.requests >= 0.9 * met_late.requests
        ),
        within_s=SETTLES_WITHIN_S,
    )
    floor = advised(world)

    assert "of the last day's first tokens were late" in told
    assert met_late.late > 0.2 * met_late.requests
    assert 4 <= floor <= 8

    # Growth has been learned meanwhile, and would keep more than the floor: the floor alone is to do.
    world.change_policy(warmPool={"floor": floor}, replicas={"min": 1, "max": floor})
    tenant.wait_for_ready(floor, within_s=SETTLES_WITHIN_S)
    met_warm = surge(emulator, tenant)

    assert met_warm.late <= 0.05 * met_warm.requests


def counted_in(seen: Mapping[str, Any]) -> Came:
    """What a course has counted, late requests of all levels together."""
    return Came(requests=float(seen["requests"]), late=float(sum(requests for _, requests in seen["late"])))


def advised(world: World) -> int:
    """The floor that the condition tells of."""
    found = re.search(r"warmPool\.floor: (\d+) would cover it", world.condition("Forecastable")["message"])
    assert found is not None
    return int(found[1])
