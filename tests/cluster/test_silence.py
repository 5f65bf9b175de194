"""Servers that take connections and never answer: the process says so, keeps what is there, and still stops in time."""

import signal
from collections.abc import Iterator

import pytest

from testbed.control_plane import ControlPlane
from testbed.emulator.arrivals import steady
from testbed.emulator.emulator import Emulator
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.running import STOPS_WITHIN_S, Controller, Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HANGS_S = 60.0
"""Four times the deadline of a request, and longer than Kubernetes waits for a node that does not answer."""

LEASE_S = "300"
"""Longer than the hang, so that the process outlives it: with less it ends, and its successor decides."""


@pytest.fixture
def hanging(cluster: ControlPlane) -> Iterator[list[str]]:
    """The parts that hang; they go on with the end of the test at the latest."""
    parts: list[str] = []
    yield parts
    for part in parts:
        cluster.signal_part(part, signal.SIGCONT)


def hang(cluster: ControlPlane, parts: list[str], part: str) -> None:
    """Have a part take connections, as the kernel does in its place, and never answer."""
    parts.append(part)
    cluster.signal_part(part, signal.SIGSTOP)


@pytest.mark.usefixtures("scraped", "emulator")
def test_sigterm_ends_it_within_five_seconds_though_nobody_answers(
    tenant: Tenant, world: World, cluster: ControlPlane, start: Start, hanging: list[str]
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 1, load_s=0)
    world.add_policy()
    controller = start()
    wait_for("some decisions", controller.decisions, lambda lines: len(lines) >= 3)

    hang(cluster, hanging, "prometheus")
    hang(cluster, hanging, "kube-apiserver")
    wait_for("a decision that meets the silence", lambda: has_met_silence(controller))
    stopped_s = now_s()
    controller.signal(signal.SIGTERM)

    assert controller.wait(STOPS_WITHIN_S) == 0
    assert now_s() - stopped_s < STOPS_WITHIN_S
    assert controller.log()[-1]["event"] == "stopped"


def has_met_silence(controller: Controller) -> bool:
    """Whether its last decision says of Prometheus that it did not answer."""
    return "did not answer within" in str(controller.decisions()[-1]["record"]["observation"])


@pytest.mark.usefixtures("scraped")
def test_an_api_server_that_hangs_costs_no_replica_and_is_followed_again(
    tenant: Tenant, world: World, emulator: Emulator, cluster: ControlPlane, start: Start, hanging: list[str]
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 3, load_s=0)
    tenant.wait_for_ready(3)
    emulator.set_rate("llama", steady(40.0))
    world.add_policy(replicas={"min": 1, "max": 3})
    controller = start(lease_seconds=LEASE_S)
    world.wait_for_condition("SignalsHealthy", "True")

    hang(cluster, hanging, "kube-apiserver")
    begun_s = now_s()
    wait_for("the hang", now_s, lambda at_s: at_s >= begun_s + HANGS_S, within_s=HANGS_S + 1.0)
    cluster.signal_part(hanging.pop(), signal.SIGCONT)
    world.change_policy(replicas={"min": 4, "max": 4})
    world.wait_for_requested(4, within_s=90.0)

    assert controller.exit_code is None
    assert min(trail[-1]["after"] for trail in controller.trails()) >= 3
