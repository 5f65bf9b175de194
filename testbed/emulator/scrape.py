"""How Prometheus is told to scrape the emulated servers: as an operator's PodMonitor would have it."""

from pathlib import Path
from typing import Any

from testbed.emulator.pods import SERVICE_LABEL, VERSION_LABEL

META = "__meta_kubernetes_pod"


def scrape_configuration(kubeconfig: Path, *, every_s: int, namespace: str = "") -> dict[str, Any]:
    """Prometheus' whole configuration: the emulated pods of one namespace, or of all, every ``every_s`` seconds.

    Series have the labels ``namespace`` and ``pod``, ``service`` and, where a pod has one, ``version``. Pods that load
    are targets too and are down, as with real ones.
    """
    discovery: dict[str, Any] = {"role": "pod", "kubeconfig_file": str(kubeconfig)}
    if namespace:
        discovery["namespaces"] = {"names": [namespace]}
    job = {
        "job_name": "vllm",
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            {"source_labels": [label_of(SERVICE_LABEL)], "regex": ".+", "action": "keep"},
            # A pod without a port has a target all the same, at no port that anybody listens on.
            {"source_labels": [f"{META}_container_port_number"], "regex": "8000", "action": "keep"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{META}_name"], "target_label": "pod"},
            {"source_labels": [label_of(SERVICE_LABEL)], "target_label": "service"},
            {"source_labels": [label_of(VERSION_LABEL)], "target_label": "version"},
        ],
    }
    times = {"scrape_interval": f"{every_s}s", "scrape_timeout": f"{min(every_s, 10)}s"}
    return {"global": times, "scrape_configs": [job]}


def label_of(label: str) -> str:
    """What discovery calls a pod's label."""
    return f"{META}_label_{label.replace('.', '_').replace('/', '_').replace('-', '_')}"
