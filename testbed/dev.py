"""The controller at work, to look at: ``python -m testbed.dev`` sets a cluster, a load and the controller up.

The controller is a process of its own, with the rights that deploy/base gives it and a policy from here.
"""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from testbed.commands import Child
from testbed.control_plane import ControlPlane
from testbed.emulator.dev import DEPLOYMENT, MODEL, NAMESPACE, NEWS_EVERY_S, Stage, directions, news, staged
from testbed.objects import is_true
from testbed.report import Report, to_stderr
from testbed.tenant import Tenant
from testbed.waiting import wait_for

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
CRD_PATH: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scalingpolicies.forebay.dev"
TICK_S: Final = 5
PORT: Final = 8081
STOPS_WITHIN_S: Final = 6.0

POLICY: Final[dict[str, Any]] = {
    "apiVersion": "forebay.dev/v1alpha1",
    "kind": "ScalingPolicy",
    "metadata": {"name": "llama"},
    "spec": {
        "signals": {"engine": "VLLM", "modelName": MODEL, "staleSeconds": 30},
        "versions": [
            {
                "name": "v1",
                "targets": [{"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENT}}],
            }
        ],
        "replicas": {"min": 1, "max": 12},
        "objectives": {"timeToFirstToken": {"percentile": 95, "milliseconds": 2000}},
        "behavior": {"flapsPerHour": 20},
    },
}
"""A day lasts ten minutes here, so the hour's flap budget is that of six days."""


def admitted(plane: ControlPlane) -> Path:
    """Install the CRD and the controller's rights; the kubeconfig of its ServiceAccount."""
    if not plane.rest.exists("/api/v1/namespaces/forebay"):
        plane.rest.create("/api/v1/namespaces", {"metadata": {"name": "forebay"}})
    for file in ("crd/forebay.dev_scalingpolicies.yaml", "base/rbac.yaml"):
        plane.kubectl("apply", "--server-side", "-f", str(DEPLOY / file))
    wait_for("the CRD", lambda: is_true(plane.rest.get(CRD_PATH), "Established"))
    return plane.service_account("forebay", "forebay")[1]


@contextlib.contextmanager
def controlled(stage: Stage, folder: Path) -> Iterator[Child]:
    """The controller for the length of a ``with``."""
    settings = {
        "kubeconfig": str(admitted(stage.plane)),
        "namespaces": NAMESPACE,
        "prometheus-urls": stage.prometheus,
        "prometheus-timeout-seconds": str(TICK_S - 1),
        "tick-seconds": str(TICK_S),
        "journal": str(folder / "decisions.jsonl"),
        "listen-address": "127.0.0.1",
        "listen-on": str(PORT),
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", value)]
    child = Child([sys.executable, "-m", "scaler", "run", *words], folder / "controller.log")
    try:
        yield child
    finally:
        child.signal(signal.SIGTERM)
        if child.wait(STOPS_WITHIN_S) is None:
            child.signal(signal.SIGKILL)


def told(log: Path, line: int) -> list[str]:
    """What the controller did, from line number ``line`` of its log on, and what it warned of."""
    lines = [text for text in log.read_text(encoding="utf-8").splitlines()[line:] if text.startswith("{")]
    events = [json.loads(text) for text in lines]
    return [f"  {event['event']}: {event['why']}" for event in events if "why" in event]


def dev(report: Report = to_stderr) -> None:
    """Set all up and stay until Ctrl-C or SIGTERM, with what the service and the controller do."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell has its background jobs ignore the first
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), staged(report) as stage:
        folder = stage.plane.kubeconfig.parent
        with controlled(stage, folder) as child:
            add_policy(stage.tenant)
            for line in (*directions(stage), *controller_directions(folder)):
                report(line)
            watch(stage, child, report)
    report("ended")


def add_policy(tenant: Tenant) -> None:
    """Give the controller its work."""
    tenant.api.create(tenant.path("forebay.dev/v1alpha1", "scalingpolicies"), POLICY)


def watch(stage: Stage, child: Child, report: Report) -> None:
    """Report the service and the controller's decisions until interrupted, or the controller ends."""
    over, line = threading.Event(), 0
    while child.exit_code is None and not over.wait(NEWS_EVERY_S):
        report(news(stage.emulator))
        for sentence in told(child.log, line):
            report(sentence)
        line = len(child.log.read_text(encoding="utf-8").splitlines())
    report(f"the controller has ended with {child.exit_code}; its log is {child.log}")


def controller_directions(folder: Path) -> list[str]:
    """How to ask the controller."""
    return [
        f"why: forebay explain llama --journal {folder / 'decisions.jsonl'}",
        f"the controller, inside its network: http://127.0.0.1:{PORT}/metrics, /debug/plans",
    ]


if __name__ == "__main__":
    dev()
