"""What the controller costs on a real control plane, and how late it is: figures in docs/figures.md.

The engines' numbers stand on one page that Prometheus scrapes, so the machine measures the controller and not a
thousand servers.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from testbed.control_plane import ControlPlane
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.bench.resting import rested
from tests.cluster.running import MODEL, POLICIES, World, controlling, policy_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

REPLICAS: Final = 10
GPUS: Final = 100
PAGE_PORT: Final = 9099


class Page(ThreadingHTTPServer):
    """One page with the numbers of all engines: they work at an even pace, but for those whose policy is hurried."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", PAGE_PORT), Telling)
        self.pods: list[tuple[str, str]] = []
        self.hurried: dict[str, float | None] = {}
        """By the beginning of its pods' names, when its hurry was first scraped."""

    def text(self) -> str:
        for name, since_s in self.hurried.items():
            self.hurried[name] = now_s() if since_s is None else since_s
        return "".join(line for namespace, pod in self.pods for line in self.lines(namespace, pod))

    def lines(self, namespace: str, pod: str) -> Iterator[str]:
        is_hurried = any(pod.startswith(f"{name}-") for name in self.hurried)
        running, waiting = (200, 100) if is_hurried else (4, 0)
        labels = f'namespace="{namespace}",pod="{pod}",model_name="{MODEL}",engine="0"'
        yield f"vllm:num_requests_running{{{labels}}} {running}\n"
        yield f'vllm:num_requests_waiting_by_reason{{{labels},reason="capacity"}} {waiting}\n'
        yield f"vllm:kv_cache_usage_perc{{{labels}}} 0.2\n"
        yield f'vllm:engine_sleep_state{{{labels},sleep_state="awake"}} 1\n'


class Telling(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        body = self.server.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the server's
        """Say nothing."""


@contextmanager
def served() -> Iterator[Page]:
    """The page, served in this thread's network for the length of a ``with``."""
    with Page() as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        yield page
        page.shutdown()


@pytest.fixture
def page(cluster: ControlPlane) -> Iterator[Page]:
    del cluster  # its network
    with served() as page:
        yield page


def scrape(every_s: int) -> Mapping[str, Any]:
    times = {"scrape_interval": f"{every_s}s", "scrape_timeout": f"{min(every_s, 10)}s"}
    targets = [{"targets": [f"127.0.0.1:{PAGE_PORT}"]}]
    return {"global": times, "scrape_configs": [{"job_name": "all", "honor_labels": True, "static_configs": targets}]}


def add_services(tenant: Tenant, count: int, pods: int, **spec: Any) -> list[str]:
    """Services with a policy each, and all of their pods ready."""
    names = [f"m{number:03}" for number in range(count)]
    tenant.add_nodes(-(-2 * count * pods // GPUS), gpus=GPUS)
    for name in names:
        tenant.add_deployment(name, replicas=pods)
        tenant.api.create(tenant.path(POLICIES, "scalingpolicies"), policy_of(name, **spec))
    tenant.wait_for_ready(count * pods, within_s=400.0)
    return names


def remove_services(tenant: Tenant) -> None:
    """Have all pods gone; a thousand take longer than the tenant waits when it leaves."""
    tenant.api.delete(tenant.path("apps/v1", "deployments"))
    wait_for("no pods", tenant.pods, lambda left: not left, within_s=300.0)


@pytest.mark.parametrize("count", [1, 100])
def test_policies_at_rest_are_a_lease_and_watches(
    tenant: Tenant, start_prometheus: Callable[..., str], page: Page, kubeconfig: Path, tmp_path: Path, count: int
) -> None:
    add_services(tenant, count, REPLICAS, replicas={"min": REPLICAS, "max": REPLICAS})
    page.pods = [(tenant.namespace, pod["metadata"]["name"]) for pod in tenant.pods()]
    start_prometheus(scrape(5))

    settings = {"tick_seconds": "15", "prometheus_timeout_seconds": "8"}
    with controlling(kubeconfig, tenant.namespace, tmp_path / "resting", **settings) as controller:
        wait_for("a first tick", controller.decisions, within_s=60.0)
        rest = rested(lambda: controller.page("/metrics"), within_s=200.0, for_s=90.0)
        healthy = World(tenant).condition("SignalsHealthy", "m000")

    remove_services(tenant)
    sys.stdout.write(f"\npolicies of {REPLICAS} pods: {count}; {rest}\n")
    assert healthy["status"] == "True"
    assert {what.split()[0] for what in rest.requests} <= {"update", "watch", "list"}


@pytest.mark.parametrize(("scrape_s", "tick_s"), [(15, 15), (5, 5)])
def test_a_changed_metric_is_a_changed_scale_within_a_scrape_and_a_tick(
    tenant: Tenant,
    start_prometheus: Callable[..., str],
    page: Page,
    kubeconfig: Path,
    tmp_path: Path,
    scrape_s: int,
    tick_s: int,
) -> None:
    names = add_services(tenant, 5, 2)
    page.pods = [(tenant.namespace, pod["metadata"]["name"]) for pod in tenant.pods()]
    start_prometheus(scrape(scrape_s))
    world = World(tenant)
    settings = {"tick_seconds": str(tick_s), "prometheus_timeout_seconds": "2"}
    delays: list[tuple[float, float]] = []
    with controlling(kubeconfig, tenant.namespace, tmp_path / "hurrying", **settings) as controller:
        wait_for("a first tick", controller.decisions, within_s=60.0)
        wait_for("good signals", lambda: world.condition("SignalsHealthy", names[-1]).get("status"), within_s=90.0)
        for place, name in enumerate(names):
            # Each change in another part of the period.
            due_s = now_s() + place * tick_s / len(names)
            wait_for("its moment", now_s, lambda at_s, due_s=due_s: at_s >= due_s)  # type: ignore[misc]
            changed_s = now_s()
            page.hurried[name] = None
            wait_for("growth", lambda name=name: world.requested(name) > 2, within_s=90.0)  # type: ignore[misc]
            scraped_s = page.hurried[name]
            assert scraped_s is not None
            delays.append((now_s() - changed_s, scraped_s - changed_s))

    whole, by_scrape = ([each[part] for each in delays] for part in (0, 1))
    mean_s, scrape_mean_s = sum(whole) / len(whole), sum(by_scrape) / len(by_scrape)
    sys.stdout.write(
        f"\nscrape {scrape_s} s, tick {tick_s} s: {mean_s:.1f} s in the mean of {len(whole)}, {max(whole):.1f} s at "
        f"worst, of which {scrape_mean_s:.1f} s and at worst {max(by_scrape):.1f} s are the scrape\n"
    )
    assert max(whole) < scrape_s + tick_s + 3.0
