"""How long 300 ScaledObjects take from the plan to /scale, and where the time goes: figures in docs/figures.md.

All times are those that the API server's objects tell, to the second: nothing is watched while it happens. The pods
stay without a node, for it is the counts that are measured, and 300 pods that start would take the machine.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import le
from statistics import median
from typing import Any, Final, TypeAlias

import pytest

from testbed.control_plane import ControlPlane
from testbed.keda import Keda, wait_for_their_end
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.conftest import StartPrometheus
from tests.cluster.following import ADDRESS, KEDA, SCALER, Following, answering
from tests.cluster.running import POLICIES, Start

pytestmark = [pytest.mark.bench, pytest.mark.timeout(2400)]

SERVICES: Final = 300
PAGE_PORT: Final = 9099
PER_SECOND: Final = "100"
"""Forebay's budget of requests to the API server: with the default of 20, 300 statuses alone would take 15 s."""

SETTLED_WITHIN_S: Final = 900.0

Things: TypeAlias = list[dict[str, Any]]
POLICIES_OF: Final = (POLICIES, "scalingpolicies")
DEPLOYMENTS: Final = ("apps/v1", "deployments")
HPAS: Final = ("autoscaling/v2", "horizontalpodautoscalers")


class Page(ThreadingHTTPServer):
    """One page with one number: the work that every service has in hand."""

    daemon_threads = True
    work = 1

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", PAGE_PORT), Telling)


class Telling(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        body = f"work {self.server.work}\n".encode()
        with contextlib.suppress(OSError):  # a scrape that gave up
            self._tell(body)

    def _tell(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the server's
        """Say nothing."""


@pytest.fixture
def page(start_prometheus: StartPrometheus) -> Iterator[Page]:
    """The page, which Prometheus scrapes every 5 s."""
    targets = [{"targets": [f"127.0.0.1:{PAGE_PORT}"]}]
    times = {"scrape_interval": "5s", "scrape_timeout": "5s"}
    with Page() as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        start_prometheus({"global": times, "scrape_configs": [{"job_name": "work", "static_configs": targets}]})
        yield page
        page.shutdown()


@pytest.fixture
def unscheduled(cluster: ControlPlane) -> Iterator[None]:
    """Nobody gives the pods a node, and so nothing is unschedulable either."""
    cluster.signal_part("kube-scheduler", signal.SIGSTOP)
    yield
    cluster.signal_part("kube-scheduler", signal.SIGCONT)


def time_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def created_s(thing: Mapping[str, Any]) -> float:
    return time_of(thing["metadata"]["creationTimestamp"])


def spread(what: str, times_s: Sequence[float]) -> None:
    """Print how late the first, the middle one, 19 of 20 and the last were."""
    late = sorted(times_s)
    told = (
        f"first {late[0]:.0f}, median {median(late):.0f}, 95 % {late[int(0.95 * len(late))]:.0f}, last {late[-1]:.0f} s"
    )
    sys.stderr.write(f"{SERVICES} {what}: {told}\n")


def together(what: Callable[[Following], object], services: Sequence[Following]) -> None:
    """Do it for all services, eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(what, services))


def decided(tenant: Tenant, polling_s: int) -> list[Following]:
    """Services whose work is the page's number, who have one replica each, and which KEDA is to poll so often."""
    work = {"engine": "Custom", "queries": {"demand": "work", "capacity": "vector(1)"}, "staleSeconds": 120}
    services = [Following(tenant=tenant, name=f"m{number:03}") for number in range(SERVICES)]
    spec = {"signals": work, "keda": {"pollingSeconds": polling_s}}
    together(lambda each: Following.decided(tenant, each.name, 1, **spec), services)
    return services


def wait_for_all(tenant: Tenant, what: str, kind: tuple[str, str], until: Callable[[dict[str, Any]], bool]) -> Things:
    """The objects of a kind, once there are as many as services and ``until`` holds of each."""
    return wait_for(
        f"{SERVICES} {what}",
        lambda: tenant.api.items(tenant.path(*kind)),
        lambda found: len(found) == SERVICES and all(until(each) for each in found),
        within_s=SETTLED_WITHIN_S,
        every_s=1.0,
    )


def wants(count: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a policy's status says ``count``."""
    return lambda policy: bool(policy.get("status", {}).get("desired") == count)


def has(count: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a Deployment is asked to have ``count``."""
    return lambda deployment: bool(deployment["spec"]["replicas"] == count)


def followed(keda: Keda, tenant: Tenant, start: Start, polling_s: int) -> list[Following]:
    """Services that were all decided on, and all of whose ScaledObjects were just made."""
    wait_for_their_end(tenant.api)  # those of an earlier test
    keda.resolve({SCALER: [ADDRESS]})
    start(**answering(), tick_seconds="15", prometheus_timeout_seconds="14", api_requests_per_second=PER_SECOND)
    services = decided(tenant, polling_s)
    wait_for_all(tenant, "plans", POLICIES_OF, wants(1))
    together(Following.ask_keda, services)
    return services


@pytest.mark.usefixtures("unscheduled")
def test_the_delay_of_300_scaled_objects(keda: Keda, tenant: Tenant, page: Page, start: Start) -> None:
    followed(keda, tenant, start, polling_s=60)
    hpas = wait_for_all(tenant, "HPAs", HPAS, lambda hpa: bool(hpa.get("status", {}).get("currentMetrics")))
    asked_s = [created_s(each) for each in tenant.api.items(tenant.path(KEDA, "scaledobjects"))]
    spread("ScaledObjects made", [each - min(asked_s) for each in asked_s])
    spread("HPAs made", [created_s(each) - min(asked_s) for each in hpas])

    page.work = 2
    wait_for_all(tenant, "scaled up", DEPLOYMENTS, has(2))
    policies = wait_for_all(tenant, "told", POLICIES_OF, wants(2))
    planned = {each["metadata"]["name"]: time_of(each["status"]["decision"]["at"]) for each in policies}
    written = {scaled_by(hpa): time_of(hpa["status"]["lastScaleTime"]) for hpa in tenant.api.items(tenant.path(*HPAS))}
    spread("plans after the first", [each - min(planned.values()) for each in planned.values()])
    spread("from plan to /scale", [written[name] - planned[name] for name in planned])


def scaled_by(hpa: Mapping[str, Any]) -> str:
    """The name of the Deployment that it scales, which is its policy's too."""
    return str(hpa["spec"]["scaleTargetRef"]["name"])


@pytest.mark.usefixtures("unscheduled", "page")
def test_the_hpas_of_300_scaled_objects_that_are_polled_each_10_s(keda: Keda, tenant: Tenant, start: Start) -> None:
    followed(keda, tenant, start, polling_s=10)
    began_s = now_s()

    for minute in range(1, 7):
        wait_for(f"minute {minute}", now_s, partial(le, began_s + 60.0 * minute), within_s=90.0)
        made = len(tenant.api.items(tenant.path(*HPAS)))
        sys.stderr.write(f"after {minute} min {made} of {SERVICES} have an HPA\n")
