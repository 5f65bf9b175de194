"""KEDA on the testbed's control plane: its kinds, its operator, and its adapter as the external metrics API."""

import base64
import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from testbed.control_plane import ControlPlane
from testbed.objects import is_true
from testbed.parts import ADAPTER_PORT, HOSTS, KEDA, KEDA_KEYS, KEDA_NAMESPACE
from testbed.pki import make_pair
from testbed.rest import Patch, Rest
from testbed.waiting import wait_for

CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
API_SERVICE: Final = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
ADAPTER: Final = "keda-metrics-apiserver"
ADAPTER_ADDRESS: Final = "10.244.255.254"
"""Like a pod's, but so far up in the range that no pod of a test gets it."""

SERVED_WITHIN_S: Final = 60.0

ENDED_WITHIN_S: Final = 300.0
"""The operator may send 20 requests a second, and needs several for each ScaledObject."""


@contextlib.contextmanager
def keda_kinds(plane: ControlPlane, kinds: Path) -> Iterator[None]:
    """KEDA's own CustomResourceDefinitions, from the folder ``kinds``, for the length of a ``with``."""
    files = sorted(kinds.glob("*.yaml"))
    plane.kubectl("apply", "--server-side", *(f"--filename={file}" for file in files))
    paths = [f"{CRDS}/{group_and_plural(file)}" for file in files]
    wait_for("KEDA's kinds", lambda: all(is_true(plane.rest.get(path), "Established") for path in paths))
    # A kind that nobody has listed has no storage yet, and is not let go of while that is set up.
    names = [group_and_plural(file).partition(".") for file in files]
    lists = [f"/apis/{group}/v1alpha1/{plural}" for plural, _, group in names]
    wait_for("the storage of KEDA's kinds", lambda: all(plane.rest.exists(path) for path in lists))
    try:
        yield
    finally:
        for path in paths:
            plane.rest.delete(path)
        # The API server lets go of a kind when its last object is gone, which takes long beside other work.
        wait_for("the end of KEDA's kinds", lambda: not any(plane.rest.exists(path) for path in paths), within_s=120.0)


def group_and_plural(file: Path) -> str:
    """The name of the definition in a file: keda.sh_scaledobjects.yaml has scaledobjects.keda.sh."""
    group, plural = file.stem.split("_")
    return f"{plural}.{group}"


@contextlib.contextmanager
def keda_running(plane: ControlPlane, kinds: Path) -> Iterator["Keda"]:
    """KEDA at work for the length of a ``with``; what it scaled must be gone by its end, for it removes its traces."""
    keda = Keda(plane)
    with keda_kinds(plane, kinds):
        try:
            keda.start()
            yield keda
            wait_for_their_end(plane.rest)
        finally:
            keda.stop()


def wait_for_their_end(api: Rest) -> None:
    """Return when there is no ScaledObject any more: only the operator can take its finalizer off them."""
    path = "/apis/keda.sh/v1alpha1/scaledobjects"
    wait_for("no ScaledObjects", lambda: not api.items(path), within_s=ENDED_WITHIN_S)


class Keda:
    """KEDA's operator and adapter, as parts of the control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._hosts = plane.layout.folder / HOSTS

    def start(self) -> None:
        """Start both and return when the API server passes external metrics on to the adapter."""
        self.resolve({})
        self._make_keys()
        self._announce()
        for part in KEDA:
            self._plane.start_part(part.name)
        wait_for(
            "the external metrics API",
            lambda: self._plane.rest.get(API_SERVICE),
            lambda found: is_true(found, "Available"),
            within_s=SERVED_WITHIN_S,
        )

    def stop(self) -> None:
        """End both; an API that nobody serves would keep every namespace from ending."""
        if self._plane.rest.exists(API_SERVICE):
            self._plane.rest.delete(API_SERVICE)
        self._plane.end_parts([part.name for part in KEDA])

    def restart_operator(self) -> None:
        """Have the operator begin anew, as `kubectl rollout restart` does."""
        operator, _ = KEDA
        self._plane.kill_part(operator.name)
        self._plane.start_part(operator.name)

    def resolve(self, names: Mapping[str, Sequence[str]]) -> None:
        """Have the operator find these addresses by these names, as those of headless Services; no others."""
        lines = [f"{address} {name}\n" for name, addresses in names.items() for address in addresses]
        self._hosts.write_text("".join(["127.0.0.1 localhost\n", *lines]), encoding="utf-8")

    def _make_keys(self) -> None:
        """The operator's certificate is the adapter's too, as in KEDA's own deployment, where both mount one Secret."""
        keys = self._plane.layout.keys
        folder = self._plane.layout.folder / KEDA_KEYS
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        also = f"IP:127.0.0.1,DNS:localhost,DNS:{ADAPTER}.{KEDA_NAMESPACE}.svc"
        pair = make_pair(keys.authority.certificate.parent, "keda", "peer", keys.authority, also)
        for source, name in (
            (keys.authority.certificate, "ca.crt"),
            (pair.certificate, "tls.crt"),
            (pair.key, "tls.key"),
        ):
            shutil.copyfile(source, folder / name)

    def _announce(self) -> None:
        """Say where the external metrics API is: a Service without a selector, and the one address behind it."""
        authority = self._plane.layout.keys.authority.certificate.read_bytes()
        apply = [
            ("/api/v1/namespaces", namespace()),
            (f"/api/v1/namespaces/{KEDA_NAMESPACE}/services", service()),
            (f"/apis/discovery.k8s.io/v1/namespaces/{KEDA_NAMESPACE}/endpointslices", endpoints()),
            (API_SERVICE.rpartition("/")[0], api_service(authority)),
        ]
        for path, body in apply:
            self._plane.rest.patch(f"{path}/{body['metadata']['name']}", body, Patch.APPLY)


def namespace() -> dict[str, Any]:
    """KEDA's namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KEDA_NAMESPACE}}


def service() -> dict[str, Any]:
    """The adapter's Service."""
    ports = [{"name": "https", "port": 443, "targetPort": ADAPTER_PORT}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": ADAPTER}, "spec": {"ports": ports}}


def endpoints() -> dict[str, Any]:
    """Where the adapter is."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": ADAPTER, "labels": {"kubernetes.io/service-name": ADAPTER}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ADAPTER_ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": ADAPTER_PORT, "protocol": "TCP"}],
    }


def api_service(authority: bytes) -> dict[str, Any]:
    """What has the API server pass external metrics on."""
    spec = {
        "group": "external.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "caBundle": base64.b64encode(authority).decode(),
        "service": {"name": ADAPTER, "namespace": KEDA_NAMESPACE, "port": 443},
    }
    name = API_SERVICE.rpartition("/")[2]
    return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec}
