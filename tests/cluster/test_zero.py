"""To zero and back on the real control plane, by a gauge of a gateway in the real Prometheus."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from testbed.control_plane import ControlPlane
from testbed.emulator.scrape import scrape_configuration
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.conftest import StartPrometheus
from tests.cluster.running import Controller, Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GATEWAY_PORT: Final = 18_082
IDLE_S: Final = 60
LOAD_S: Final = 10
WAKES_WITHIN_S: Final = 15.0
"""A scrape of 1 s and a tick of 2 s, on a machine that has other work."""

TO_ZERO: Final[dict[str, Any]] = {
    "replicas": {"min": 0, "max": 4},
    "scaleToZero": {"idleSeconds": IDLE_S, "demandQuery": 'sum(gateway_requests_waiting{service="llama"})'},
}


class Gateway:
    """A gateway's page of metrics, with one gauge: the requests for the service that it holds."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._waiting = Gauge("gateway_requests_waiting", "Requests held back.", ["service"], registry=registry)
        self._server, self._thread = start_http_server(GATEWAY_PORT, "127.0.0.1", registry)

    def holds(self, count: int) -> None:
        """So many requests wait from now on."""
        self._waiting.labels("llama").set(count)

    def says_nothing(self) -> None:
        """Serve the page without the gauge from now on."""
        self._waiting.remove("llama")

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def gateway(cluster: ControlPlane, tenant: Tenant, start_prometheus: StartPrometheus) -> Iterator[Gateway]:
    """A gateway that holds nothing, which Prometheus reads every second, as it does the tenant's servers."""
    gateway = Gateway()
    gateway.holds(0)
    configuration = scrape_configuration(cluster.kubeconfig, every_s=1, namespace=tenant.namespace)
    job = {"job_name": "gateway", "static_configs": [{"targets": [f"127.0.0.1:{GATEWAY_PORT}"]}]}
    start_prometheus({**configuration, "scrape_configs": [*configuration["scrape_configs"], job]})
    yield gateway
    gateway.close()


def rests(controller: Controller) -> list[dict[str, float]]:
    """The facts of each decision to let the last replica go."""
    rulings = [ruling for trail in controller.trails() for ruling in trail if ruling["rule"] == "rest"]
    return [ruling["facts"] for ruling in rulings]


@pytest.mark.usefixtures("emulator")
def test_a_model_goes_to_zero_after_the_idle_time_and_comes_back_at_the_gateways_word(
    tenant: Tenant, world: World, gateway: Gateway, start: Start
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 1, load_s=LOAD_S)
    tenant.wait_for_ready(1)
    world.add_policy(**TO_ZERO)
    controller = start()
    assert (
        "the last replica goes once nothing has come for 60 s" in world.wait_for_condition("AtZero", "False")["message"]
    )

    world.wait_for_requested(0, within_s=IDLE_S + 90.0)
    at_zero = wait_for("rest", lambda: world.condition("AtZero"), lambda told: told.get("reason") == "Resting")
    assert world.condition("SignalsHealthy")["status"] == "True"
    assert rests(controller)[0]["idle_s"] >= IDLE_S
    assert "the next request waits about" in at_zero["message"]

    gateway.says_nothing()
    world.wait_for_condition("SignalsHealthy", "False")
    assert "the query demandQuery gave no result" in world.condition("AtZero")["message"]
    assert world.requested() == 0

    asked_s = now_s()
    gateway.holds(3)
    world.wait_for_requested(1, within_s=60.0)
    woken_s = now_s() - asked_s
    gateway.holds(0)
    tenant.wait_for_ready(1)
    world.wait_for_condition("AtZero", "False")

    assert woken_s < WAKES_WITHIN_S
    assert world.requested() == 1
