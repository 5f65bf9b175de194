"""The control plane as one thing that is started, broken on purpose, and stopped."""

import http.client
import secrets
import shutil
import signal
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.commands import Child, run
from testbed.network import NetworkNamespace
from testbed.parts import API, API_PORT, CLIENTS, PARTS, PROMETHEUS, PROMETHEUS_PORT, STORE, Layout, Part
from testbed.pki import make_keys
from testbed.rest import Rest
from testbed.waiting import wait_for

READY_WITHIN_S: Final = 60.0
"""How long one part may take to be well; the API server takes 6 s on two idle cores."""


class PartFailedError(Exception):
    """A part ended or never got well; the message has the end of its log."""


class ControlPlane:
    """A Kubernetes control plane with emulated nodes, in a network namespace of its own.

    ``rest`` is the API as an administrator. Whoever talks to it must be inside ``network``.
    """

    def __init__(self, *, binaries: Mapping[str, Path], folder: Path, network: NetworkNamespace) -> None:
        self.network = network
        self._binaries = binaries
        self._children: dict[str, Child] = {}
        keys = make_keys(folder / "keys")
        token = secrets.token_hex(16)
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{token},administrator,administrator,"system:masters"\n', encoding="utf-8")
        self._layout = Layout(folder=folder, keys=keys, tokens=tokens, kubeconfig=folder / "administrator.yaml")
        self._write_kubeconfig(self._layout.kubeconfig, token)
        self.rest = self._as(token)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._layout.kubeconfig

    @property
    def layout(self) -> Layout:
        """The files of this run."""
        return self._layout

    def start(self) -> None:
        """Start all parts and return when all are well."""
        for part in (STORE, API):
            self.start_part(part.name)
        for part in CLIENTS:
            self._launch(part)
        for part in CLIENTS:
            self._wait_until_well(part)

    def start_part(self, name: str) -> None:
        """Start one part, for the first time or again, and return when it is well."""
        self._launch(PARTS[name])
        self._wait_until_well(PARTS[name])

    def kill_part(self, name: str) -> None:
        """End one part as a crash would, with SIGKILL."""
        self._children.pop(name).kill()

    def end_parts(self, names: Iterable[str]) -> None:
        """End those of these parts that run."""
        for name in names:
            if name in self._children:
                self.kill_part(name)

    def signal_part(self, name: str, number: signal.Signals) -> None:
        """Send one part a signal: SIGSTOP makes it hang, SIGCONT lets it go on."""
        self._children[name].signal(number)

    def start_prometheus(self, configuration: Mapping[str, Any]) -> str:
        """Start Prometheus with ``configuration`` and return its address; its earlier samples, if any, are kept."""
        path = self._layout.folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        self.start_part(PROMETHEUS.name)
        return f"http://127.0.0.1:{PROMETHEUS_PORT}"

    def end_prometheus(self) -> None:
        """End Prometheus, if it runs, and forget its samples."""
        self.end_parts([PROMETHEUS.name])
        shutil.rmtree(self._layout.in_folder("prometheus"), ignore_errors=True)

    def stop(self) -> None:
        """End all parts at once, the last started first; there is nothing that they would have to save."""
        while self._children:
            self._children.popitem()[1].kill()

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says, as the administrator."""
        return run([str(self._binaries["kubectl"]), f"--kubeconfig={self.kubeconfig}", *arguments])

    def service_account(self, namespace: str, name: str) -> tuple[Rest, Path]:
        """The API as a service account that exists, by a real token of an hour, and a kubeconfig with that token."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token: str = self.rest.create(path, asked)["status"]["token"]
        kubeconfig = self._layout.folder / f"{namespace}.{name}.yaml"
        self._write_kubeconfig(kubeconfig, token)
        return self._as(token), kubeconfig

    def logs(self) -> str:
        """The end of the log of every part that runs, for a failure's report."""
        return "\n".join(f"--- {name}\n{child.tail(1500)}" for name, child in self._children.items())

    def _launch(self, part: Part) -> None:
        flags = [f"--{name}={value}" if value else f"--{name}" for name, value in part.flags(self._layout).items()]
        log = self._layout.folder / f"{part.name}.log"
        command = [str(self._binaries[part.name]), *flags]
        if part.hosts:
            command = with_hosts(self._layout.folder / part.hosts, command)
        with self.network.entered():
            self._children[part.name] = Child(command, log, environment=part.environment)

    def _wait_until_well(self, part: Part) -> None:
        child = self._children[part.name]
        trust = ssl.create_default_context(cafile=self._layout.keys.authority.certificate) if part.tls else None
        try:
            with self.network.entered():
                wait_for(
                    part.name, lambda: child.exit_code is not None or is_well(part, trust), within_s=READY_WITHIN_S
                )
        except TimeoutError as error:
            raise PartFailedError(f"{error}\n{child.tail()}") from error
        if child.exit_code is not None:
            raise PartFailedError(f"{part.name} ended with {child.exit_code}\n{child.tail()}")

    def _as(self, token: str) -> Rest:
        authority = self._layout.keys.authority.certificate
        return Rest(host="127.0.0.1", port=API_PORT, authority=authority, token=token)

    def _write_kubeconfig(self, path: Path, token: str) -> None:
        cluster = {
            "server": f"https://127.0.0.1:{API_PORT}",
            "certificate-authority": str(self._layout.keys.authority.certificate),
        }
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "caller"}}],
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": "caller", "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")


def with_hosts(hosts: Path, command: Sequence[str]) -> list[str]:
    """``command`` with ``hosts`` in the place of /etc/hosts, for it alone; the file may change while it runs."""
    bind = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", bind, str(hosts), *command]


def is_well(part: Part, trust: ssl.SSLContext | None) -> bool:
    """Whether the part's health address answers yes."""
    connection = (
        http.client.HTTPConnection("127.0.0.1", part.port, timeout=5)
        if trust is None
        else http.client.HTTPSConnection("127.0.0.1", part.port, timeout=5, context=trust)
    )
    try:
        connection.request("GET", part.health)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
