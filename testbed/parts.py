"""How each part of the control plane is started, and where it says that it is well.

All ports are fixed, since the network namespace is ours alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from testbed.pki import Keys

API_PORT: Final = 6443
ETCD: Final = "http://127.0.0.1:2379"
PROMETHEUS_PORT: Final = 9090

CONTROLLERS: Final = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "namespace-controller",
    "node-lifecycle-controller",  # without it a new node keeps the taint node.kubernetes.io/not-ready
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourceclaim-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "taint-eviction-controller",
)
"""The controllers that a model service meets; the others would only cost start-up time and memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The files of one run."""

    folder: Path
    keys: Keys
    tokens: Path
    kubeconfig: Path

    def in_folder(self, name: str) -> str:
        """A path in the run's folder, as a flag wants it."""
        return str(self.folder / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A program, the flags it runs with, and the address (port, path, over TLS or not) that says it is well.

    ``hosts`` is a file in the run's folder that it has as its /etc/hosts: there is no DNS.
    """

    name: str
    flags: Callable[[Layout], Mapping[str, str]]
    port: int
    health: str
    tls: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    hosts: str = ""


def etcd_flags(layout: Layout) -> Mapping[str, str]:
    """A store that need not survive the machine, only itself: no fsync."""
    return {
        "data-dir": layout.in_folder("etcd"),
        "listen-client-urls": ETCD,
        "advertise-client-urls": ETCD,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }


def apiserver_flags(layout: Layout) -> Mapping[str, str]:
    """RBAC, real service accounts, and all that an extension API server (KEDA's adapter) needs."""
    keys = layout.keys
    return {
        **serving_flags(layout),
        "secure-port": str(API_PORT),
        "advertise-address": "127.0.0.1",  # there is no route out to guess it from
        "etcd-servers": ETCD,
        "authorization-mode": "RBAC",
        "token-auth-file": str(layout.tokens),
        "client-ca-file": str(keys.authority.certificate),
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(keys.service_accounts.certificate),
        "service-account-signing-key-file": str(keys.service_accounts.key),
        "service-cluster-ip-range": "10.96.0.0/16",
        "endpoint-reconciler-type": "none",
        **aggregation_flags(keys),
    }


def aggregation_flags(keys: Keys) -> Mapping[str, str]:
    """Extension API servers are reached at pod addresses and learn from a header who calls."""
    return {
        "enable-aggregator-routing": "true",
        "requestheader-client-ca-file": str(keys.authority.certificate),
        "requestheader-allowed-names": "front-proxy",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": str(keys.front_proxy.certificate),
        "proxy-client-key-file": str(keys.front_proxy.key),
    }


def controllers_flags(layout: Layout) -> Mapping[str, str]:
    """The autoscaler looks every 5 s instead of 15, for tests wait for it."""
    return {
        **client_flags(layout),
        "controllers": ",".join(CONTROLLERS),
        "horizontal-pod-autoscaler-sync-period": "5s",
    }


def client_flags(layout: Layout) -> Mapping[str, str]:
    """What the scheduler and the controllers have in common: the only ones of their kind, and not to be slowed."""
    return {
        **serving_flags(layout),
        "kubeconfig": str(layout.kubeconfig),
        "leader-elect": "false",
        "kube-api-qps": "500",
        "kube-api-burst": "1000",
    }


def serving_flags(layout: Layout) -> Mapping[str, str]:
    """Serve on the loopback with the run's certificate."""
    server = layout.keys.server
    return {
        "bind-address": "127.0.0.1",
        "tls-cert-file": str(server.certificate),
        "tls-private-key-file": str(server.key),
    }


def kwok_flags(layout: Layout) -> Mapping[str, str]:
    """Nodes and pods live by kwok.yaml."""
    return {"kubeconfig": str(layout.kubeconfig), "config": str(Path(__file__).with_name("kwok.yaml"))}


def prometheus_flags(layout: Layout) -> Mapping[str, str]:
    """What it scrapes is whatever was written to prometheus.yaml."""
    return {
        "config.file": layout.in_folder("prometheus.yaml"),
        "storage.tsdb.path": layout.in_folder("prometheus"),
        "web.listen-address": f"127.0.0.1:{PROMETHEUS_PORT}",
        "web.enable-lifecycle": "",
        "scrape.discovery-reload-interval": "1s",  # hidden; by default a new pod waits 5 s to be scraped
        "log.level": "warn",
    }


def keda_operator_flags(layout: Layout) -> Mapping[str, str]:
    """KEDA's own defaults for how fast it may ask the API server: tests measure them."""
    return {
        "kubeconfig": str(layout.kubeconfig),
        "cert-dir": layout.in_folder(KEDA_KEYS),
        "leader-elect": "false",
        "metrics-bind-address": "127.0.0.1:18090",
        "health-probe-bind-address": "127.0.0.1:18091",
        "metrics-service-bind-address": "127.0.0.1:9666",
        # Certificates are ours, and so is the APIService.
        "enable-webhook-patching": "false",
        "enable-apiservice-patching": "false",
    }


def keda_adapter_flags(layout: Layout) -> Mapping[str, str]:
    """An extension API server, at a pod's address too."""
    folder = Path(layout.in_folder(KEDA_KEYS))
    kubeconfig = str(layout.kubeconfig)
    return {
        "kubeconfig": kubeconfig,
        "lister-kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "metrics-service-address": "localhost:9666",
        "cert-dir": str(folder),
        "tls-cert-file": str(folder / "tls.crt"),
        "tls-private-key-file": str(folder / "tls.key"),
        "secure-port": str(ADAPTER_PORT),
        "port": "18092",
    }


KEDA_NAMESPACE: Final = "keda"
KEDA_KEYS: Final = "keda-keys"
HOSTS: Final = "hosts"
ADAPTER_PORT: Final = 6444
KEDA_ENVIRONMENT: Final = {
    "POD_NAMESPACE": KEDA_NAMESPACE,
    "KEDA_CLUSTER_OBJECT_NAMESPACE": KEDA_NAMESPACE,
    "WATCH_NAMESPACE": "",
}

STORE: Final = Part(name="etcd", flags=etcd_flags, port=2379, health="/health", tls=False)
API: Final = Part(name="kube-apiserver", flags=apiserver_flags, port=API_PORT, health="/readyz")
PROMETHEUS: Final = Part(name="prometheus", flags=prometheus_flags, port=PROMETHEUS_PORT, health="/-/ready", tls=False)
CLIENTS: Final = (
    Part(name="kube-controller-manager", flags=controllers_flags, port=10257, health="/healthz"),
    Part(name="kube-scheduler", flags=client_flags, port=10259, health="/healthz"),
    Part(name="kwok", flags=kwok_flags, port=10247, health="/healthz", tls=False),
)
KEDA: Final = (
    Part(
        name="keda-operator",
        flags=keda_operator_flags,
        port=18091,
        health="/readyz",
        tls=False,
        environment=KEDA_ENVIRONMENT,
        hosts=HOSTS,
    ),
    Part(
        name="keda-adapter", flags=keda_adapter_flags, port=ADAPTER_PORT, health="/readyz", environment=KEDA_ENVIRONMENT
    ),
)
PARTS: Final = {part.name: part for part in (STORE, API, *CLIENTS, PROMETHEUS, *KEDA)}
