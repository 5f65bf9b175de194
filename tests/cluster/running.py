"""The controller as a process of its own on the testbed, and the world that its tests put around it."""

import http.client
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode
from urllib.request import urlopen

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.trace import shipped
from testbed.commands import Child
from testbed.emulator.arrivals import Poisson, steady
from testbed.emulator.deployment import emulated_deployment
from testbed.emulator.fleet import Service
from testbed.objects import Life
from testbed.parts import PROMETHEUS_PORT
from testbed.rest import Patch
from testbed.tenant import Tenant
from testbed.waiting import wait_for

POLICIES: Final = "forebay.dev/v1alpha1"
MODEL: Final = "llama-3.1-8b"
STOPS_WITHIN_S: Final = 5.0
PORT: Final = 18_081
WRITE_OF_SCALE: Final = re.compile(
    r'^forebay_api_requests_total\{resource="[^"]*/scale".*verb="patch"\} (.*)$', re.MULTILINE
)


def emulated_service() -> Service:
    """A chat service without requests until a test sets its rate; a replica carries at most about 24 a second."""
    arrivals = Poisson(steady(0.0), shipped(), seed=1)
    return Service(name="llama", model=MODEL, engines={"": LLAMA_8B_H100}, arrivals=arrivals, holds=True)


def add_servers(tenant: Tenant, replicas: int, *, load_s: int, gpus: int = 1, name: str = "llama") -> None:
    """The Deployment of the service's servers."""
    body = emulated_deployment(name, service="llama", replicas=replicas, life=Life(load_s=load_s, drain_s=2), gpus=gpus)
    tenant.api.create(tenant.path("apps/v1", "deployments"), body)


def policy_of(name: str = "llama", **spec: Any) -> dict[str, Any]:
    """A ScalingPolicy for the servers, with a short expectation, a hold as short as there is, and a turn a minute."""
    target = {"role": "Serve", "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}
    return {
        "apiVersion": POLICIES,
        "kind": "ScalingPolicy",
        "metadata": {"name": name},
        "spec": {
            "signals": {"engine": "VLLM", "modelName": MODEL, "staleSeconds": 15},
            "versions": [{"name": "v1", "targets": [target]}],
            "replicas": {"min": 1, "max": 12},
            "loading": {"expectedSeconds": 60, "budgetSeconds": 600},
            "behavior": {"scaleDown": {"holdSeconds": 20, "periodSeconds": 5}, "flapsPerHour": 60},
            **spec,
        },
    }


@dataclass
class World:
    """What a test sees of the tenant's one policy."""

    tenant: Tenant

    def add_policy(self, name: str = "llama", **spec: Any) -> None:
        """Add a policy; unless ``spec`` says otherwise, of the Deployment of its name."""
        self.tenant.api.create(self.tenant.path(POLICIES, "scalingpolicies"), policy_of(name, **spec))

    def change_policy(self, name: str = "llama", **spec: Any) -> None:
        """Change these fields of the policy's spec."""
        self.tenant.api.patch(self.tenant.path(POLICIES, "scalingpolicies", name), {"spec": spec})

    def status(self, name: str = "llama") -> dict[str, Any]:
        """The policy's status, empty before the first."""
        found: dict[str, Any] = self.tenant.api.get(self.tenant.path(POLICIES, "scalingpolicies", name))
        status: dict[str, Any] = found.get("status", {})
        return status

    def condition(self, kind: str, name: str = "llama") -> dict[str, Any]:
        """One condition of the status, empty before it is there."""
        return next((each for each in self.status(name).get("conditions", []) if each["type"] == kind), {})

    def wait_for_condition(
        self, kind: str, status: str, name: str = "llama", *, reason: str | None = None, within_s: float = 60.0
    ) -> dict[str, Any]:
        """The condition, once it has this status, and this reason where one is named."""
        return wait_for(
            f"{kind}={status}" + ("" if reason is None else f" for {reason}"),
            lambda: self.condition(kind, name),
            lambda found: found.get("status") == status and reason in (None, found.get("reason")),
            within_s=within_s,
        )

    def requested(self, name: str = "llama") -> int:
        """What the Deployment is asked to have."""
        found = self.tenant.api.get(self.tenant.path("apps/v1", "deployments", name, "scale"))
        return int(found["spec"].get("replicas", 0))

    def wait_for_requested(self, count: int, *, within_s: float = 60.0) -> None:
        """Return once the Deployment is asked for exactly ``count``."""
        wait_for(f"{count} replicas asked for", self.requested, lambda now: now == count, within_s=within_s)

    def scale_by_hand(self, who: str, count: int) -> None:
        """Write the Deployment's replica count as someone with this field manager."""
        path = self.tenant.path("apps/v1", "deployments", "llama", f"scale?fieldManager={who}")
        self.tenant.api.patch(path, {"spec": {"replicas": count}})

    def limit_gpus(self, count: int) -> None:
        """Let the tenant's pods have so many GPUs in all, by a ResourceQuota, from when this returns."""
        path = self.tenant.path("v1", "resourcequotas", "gpus")
        hard = {"requests.nvidia.com/gpu": str(count)}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus"}, "spec": {"hard": hard}}
        self.tenant.api.patch(path, quota, Patch.APPLY)
        wait_for(
            "the quota in force",
            lambda: self.tenant.api.get(path).get("status", {}),
            lambda status: "used" in status and status["hard"] == hard,
        )


def asked(query: str) -> list[dict[str, Any]]:
    """What the testbed's Prometheus answers."""
    connection = http.client.HTTPConnection("127.0.0.1", PROMETHEUS_PORT, timeout=10)
    try:
        connection.request("GET", f"/api/v1/query?{urlencode({'query': query})}")
        found: list[dict[str, Any]] = json.loads(connection.getresponse().read())["data"]["result"]
    finally:
        connection.close()
    return found


class Controller:
    """One process of `forebay run`, as the ServiceAccount that deploy/base ships."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path, settings: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = folder / "decisions.jsonl"
        self.port = int(settings.get("listen-on", PORT))
        given = {
            "kubeconfig": str(kubeconfig),
            "namespaces": namespace,
            "prometheus-urls": "http://127.0.0.1:9090",
            "prometheus-timeout-seconds": "1.5",
            "tick-seconds": "2",
            "journal": str(self.journal),
            "identity": folder.name,
            "listen-on": str(self.port),
            "listen-address": "127.0.0.1",
            **settings,
        }
        words = [word for key, value in given.items() for word in (f"--{key}", value)]
        self._child = Child([sys.executable, "-m", "scaler", "run", *words], folder / "log.txt")

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it runs."""
        return self._child.exit_code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.signal(number)

    def wait(self, within_s: float) -> int | None:
        """How it ended, None if it has not within ``within_s``."""
        return self._child.wait(within_s)

    def log(self) -> list[dict[str, Any]]:
        """What it logged."""
        lines = self._child.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def page(self, path: str) -> str:
        """One of the pages that it serves."""
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5.0) as answer:
            return str(answer.read().decode())

    def decisions(self) -> list[dict[str, Any]]:
        """The lines of its journal."""
        if not self.journal.exists():
            return []
        whole = self.journal.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def trails(self) -> list[list[dict[str, Any]]]:
        """The rulings on the one target, decision by decision; none where it was not seen."""
        targets = [record["plan"]["targets"] for record in self.records()]
        return [seen[0]["trail"] for seen in targets if seen]

    def records(self) -> list[dict[str, Any]]:
        """Its decisions, each with what it was taken on."""
        return [line["record"] for line in self.decisions()]

    def wait_until_it_has_learned(self, *, within_s: float = 180.0) -> None:
        """Return once the demand is told from what a replica was seen to carry, not from requests in flight."""
        wait_for(
            "what a replica carries",
            lambda: any("work_replicas" in trail[0]["facts"] for trail in self.trails()[-1:]),
            within_s=within_s,
        )

    def writes_of_scale(self) -> int:
        """How often a replica count was written, or tried to be."""
        return sum(int(float(count)) for count in WRITE_OF_SCALE.findall(self.page("/metrics")))


Start: TypeAlias = Callable[..., Controller]
"""Starts a controller by a name of its own, with these settings."""


@contextmanager
def controlling(kubeconfig: Path, namespace: str, folder: Path, **settings: str) -> Iterator[Controller]:
    """A controller for the length of a ``with``; a setting ``tick_seconds`` is the flag ``--tick-seconds``."""
    flags = {key.replace("_", "-"): value for key, value in settings.items()}
    controller = Controller(kubeconfig, namespace, folder, flags)
    try:
        yield controller
    finally:
        controller.signal(signal.SIGCONT)
        controller.signal(signal.SIGTERM)
        if controller.wait(STOPS_WITHIN_S) is None:
            controller.signal(signal.SIGKILL)
            controller.wait(STOPS_WITHIN_S)
