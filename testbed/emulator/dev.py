"""All of it to look at: a cluster with GPUs, a model service under a load that comes and goes, and Prometheus."""

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.state import Fate
from scaler.sim.trace import shipped
from testbed import network
from testbed.build import ensure_binaries
from testbed.control_plane import ControlPlane
from testbed.emulator.arrivals import Poisson, waves
from testbed.emulator.deployment import emulated_deployment
from testbed.emulator.emulator import Emulator, emulating
from testbed.emulator.fleet import Service
from testbed.emulator.scrape import scrape_configuration
from testbed.objects import Life
from testbed.report import Report, to_stderr
from testbed.tenant import Tenant
from testbed.waiting import wait_for

NAMESPACE: Final = "models"
SERVICE: Final = "llama"
DEPLOYMENT: Final = "llama-v1"
MODEL: Final = "llama-3.1-8b"

NODES: Final = 3
REPLICAS: Final = 2
LIFE: Final = Life(pull_s=5.0, load_s=30.0, jitter_s=5.0, drain_s=10)
LOAD: Final = waves(5.0, 120.0, 600.0)
"""A day in ten minutes. One replica carries a bit more than 20 requests a second, so from one to six are needed."""

SCRAPE_S: Final = 5
NEWS_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What `dev` has set up, for whoever adds a controller to it."""

    plane: ControlPlane
    tenant: Tenant
    emulator: Emulator
    prometheus: str


def dev(report: Report = to_stderr) -> None:
    """Set all up and stay until Ctrl-C or SIGTERM, with a line of news now and then."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell has its background jobs ignore the first
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), staged(report) as stage:
        for line in directions(stage):
            report(line)
        over = threading.Event()
        while not over.wait(NEWS_EVERY_S):
            report(news(stage.emulator))
    report("ended")


@contextlib.contextmanager
def staged(report: Report) -> Iterator[Stage]:
    """Everything for the length of a ``with``, with the calling thread inside its network."""
    if (why := network.why_not()) is not None:
        raise SystemExit(f"testbed: {why}")
    binaries = ensure_binaries(report)
    with contextlib.ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="forebay-dev-")))
        inside = network.NetworkNamespace()
        undo.callback(inside.close)
        plane = ControlPlane(binaries=binaries, folder=folder, network=inside)
        undo.callback(plane.stop)
        report("starting the control plane")
        plane.start()
        undo.enter_context(inside.entered())
        tenant = furnished(plane)
        prometheus = plane.start_prometheus(scrape_configuration(plane.kubeconfig, every_s=SCRAPE_S))
        emulator = undo.enter_context(emulating([service()], kubeconfig=plane.kubeconfig, namespace=NAMESPACE))
        yield Stage(plane=plane, tenant=tenant, emulator=emulator, prometheus=prometheus)


def furnished(plane: ControlPlane) -> Tenant:
    """A namespace with nodes and the Deployment; it goes with the control plane, so nothing is swept up."""
    tenant = Tenant(plane.rest, NAMESPACE)
    plane.rest.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    account = tenant.path("v1", "serviceaccounts", "default")
    wait_for("the default service account", lambda: plane.rest.exists(account))
    tenant.add_nodes(NODES)
    body = emulated_deployment(DEPLOYMENT, service=SERVICE, replicas=REPLICAS, life=LIFE)
    plane.rest.create(tenant.path("apps/v1", "deployments"), body)
    return tenant


def service() -> Service:
    """The service and its traffic."""
    arrivals = Poisson(LOAD, shipped(), seed=1)
    return Service(name=SERVICE, model=MODEL, engines={"": LLAMA_8B_H100}, arrivals=arrivals, holds=True)


def directions(stage: Stage) -> list[str]:
    """How to look at it from another terminal."""
    enter = f"nsenter --net=/proc/{os.getpid()}/ns/net"
    kubectl = f"{enter} kubectl --kubeconfig={stage.plane.kubeconfig} -n {NAMESPACE}"
    return [
        f"kubeconfig: {stage.plane.kubeconfig}",
        f"its network: {enter} COMMAND",
        f"  {kubectl} get pods -o wide -w",
        f"  {kubectl} scale deployment {DEPLOYMENT} --replicas=6",
        f"  {enter} curl -s POD_IP:8000/metrics",
        f"Prometheus, inside: {stage.prometheus}",
        "Ctrl-C ends all of it",
    ]


def news(emulator: Emulator) -> str:
    """The service in a line."""
    seen = emulator.sight(SERVICE)
    return (
        f"{SERVICE}: {LOAD(seen.at_s):.0f} requests/s, {seen.open} replicas open, {seen.running} running, "
        f"{seen.waiting} waiting, {seen.held} at the gateway, {seen.fates[Fate.FINISHED]} finished"
    )
