"""The controller's process on a real control plane: Prometheus in, /scale out, with the rights that deploy/ ships."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

from testbed.emulator.arrivals import steady
from testbed.emulator.emulator import Emulator
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import Controller, Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LOAD_S = 20
QUIET_RPS = 20.0
"""Less than one replica's worth, of which two have the work of a minute to tell; four times as much is for four."""

HOLD_S = 20.0
TICK_S = 2.0
"""As tests/cluster/running.py sets them."""


def replicas_by_time(controller: Controller) -> list[int]:
    """What was planned, decision by decision, without repetitions."""
    planned = [record["plan"]["targets"] for record in controller.records()]
    counts = [targets[0]["trail"][-1]["after"] for targets in planned if targets]
    return [count for count, _ in groupby(counts)]


def most_of(controller: Controller, what: Callable[[dict[str, Any]], int]) -> int:
    """The highest that ``what`` says of the fleet of any decision."""
    seen = [record["observation"]["fleets"][0]["fleet"] for record in controller.records()]
    return max(what(fleet) for fleet in seen if "requested" in fleet)


def trail_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The rulings on the one target of a decision; none where it was not seen."""
    return next((target["trail"] for target in record["plan"]["targets"]), [])


def shrinks(trail: list[dict[str, Any]]) -> bool:
    """Whether a decision's trail ends below what was there."""
    return bool(trail) and trail[-1]["after"] < trail[0]["before"]


def first_shrink(controller: Controller) -> dict[str, Any] | None:
    """The record of the first decision to shrink, None before there is one."""
    return next((each for each in controller.records() if shrinks(trail_of(each))), None)


def demand_before(controller: Controller, record: dict[str, Any], window_s: float) -> list[int]:
    """How many replicas the demand was for, in each decision of the ``window_s`` before this one."""
    plans = [each["plan"] for each in controller.records()]
    at_s = record["plan"]["at_s"]
    return [plan["targets"][0]["trail"][0]["after"] for plan in plans if at_s - window_s < plan["at_s"] < at_s]


def work_of(record: dict[str, Any]) -> dict[str, float]:
    """The requests that each ready replica had, as the decision saw them, by pod; those that are going are left out."""
    replicas = record["observation"]["fleets"][0]["fleet"]["replicas"]
    return {
        each["name"]: each["load"]["running"] + each["load"]["waiting"]
        for each in replicas
        if "running" in each["load"] and each.get("deleted_at_s") is None
    }


@pytest.mark.usefixtures("scraped")
def test_it_grows_with_the_demand_and_shrinks_after_the_hold_and_the_idle_go_first(
    tenant: Tenant, world: World, emulator: Emulator, start: Start
) -> None:
    tenant.add_nodes(2)
    add_servers(tenant, 2, load_s=LOAD_S)
    tenant.wait_for_ready(2)
    emulator.set_rate("llama", steady(QUIET_RPS))
    world.add_policy()
    controller = start()
    world.wait_for_condition("SignalsHealthy", "True")
    controller.wait_until_it_has_learned()

    emulator.set_rate("llama", steady(4 * QUIET_RPS))
    wait_for("growth", world.requested, lambda count: count >= 3, within_s=90.0)
    wait_for("new replicas at work", lambda: emulator.sight("llama").open, lambda count: count >= 3, within_s=60.0)
    emulator.set_rate("llama", steady(QUIET_RPS / 4))
    first = wait_for("a shrink", lambda: first_shrink(controller), within_s=180.0)
    assert first is not None
    trail = first["plan"]["targets"][0]["trail"]
    stayed = {pod["metadata"]["name"] for pod in tenant.wait_for_ready(trail[-1]["after"])}
    told = wait_for("its status", lambda: world.status()["decision"], lambda decision: shrinks(decision["trail"]))

    dip = demand_before(controller, first, HOLD_S)
    assert len(dip) >= HOLD_S / TICK_S / 2, "the hold was not watched"  # a tick may be late, or left out
    assert max(dip) <= trail[-1]["after"], "shrunk before the demand had been so low for the whole hold"
    work = work_of(first)
    gone = set(work) - stayed
    assert len(gone) == trail[0]["before"] - trail[-1]["after"]
    assert max(work[name] for name in gone) <= min(work[name] for name in stayed)
    assert "replicas' worth of work" in told["trail"][0]["because"]
    highest = most_of(controller, lambda fleet: fleet["requested"])
    assert highest <= 6, f"the demand needs 4 to 5: {replicas_by_time(controller)}"
    (learned,) = world.status()["learned"]
    assert learned["loadSeconds"]["p50"] == pytest.approx(LOAD_S, rel=0.1)
    assert learned["tokensPerSecondPerReplica"] > 0
