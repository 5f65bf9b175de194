"""The node agent on the real control plane, with processes that start in no time."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler.adapters.kubernetes.times import seconds
from testbed.node_agent.agent import NodeAgent, running_node
from testbed.objects import condition_of, is_true
from testbed.rest import Rest
from testbed.tenant import Tenant
from testbed.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SERVER = """
import http.server, os, signal, sys
for word in sys.argv[1:]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN if word == "stubborn" else lambda *_: sys.exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(os.environ["READY"]) else 503)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8000), Handler).serve_forever()
"""
PROBE = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1, "failureThreshold": 600}


@pytest.fixture
def node(api: Rest, tenant: Tenant, tmp_path: Path) -> Iterator[NodeAgent]:
    with running_node(api, f"real-{tenant.namespace}", tmp_path / "pods", gpus=1) as agent:
        wait_for("room", lambda: not api.get(f"/api/v1/nodes/{agent.name}")["spec"].get("taints"))
        yield agent


def add_pod(tenant: Tenant, folder: Path, manner: str, *, grace_s: int) -> str:
    container = {
        "name": "server",
        "image": "none",
        "command": [sys.executable, "-c", SERVER, manner],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "READY", "value": str(folder / "ready")},
        ],
        "startupProbe": PROBE,
        "readinessProbe": {**PROBE, "failureThreshold": 1},
        "lifecycle": {"preStop": {"exec": {"command": ["touch", str(folder / "asked to go")]}}},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": grace_s}
    tenant.api.create(tenant.path("v1", "pods"), {"metadata": {"name": manner}, "spec": spec})
    return tenant.path("v1", "pods", manner)


def wait_for_pod(tenant: Tenant, path: str, condition: str, *, is_so: bool) -> dict[str, Any]:
    return wait_for(
        f"{condition}: {is_so}", lambda: tenant.api.get(path), lambda pod: is_true(pod, condition) is is_so, within_s=60
    )


@pytest.mark.usefixtures("node")
def test_a_pod_is_ready_when_its_process_answers_and_not_any_more_when_it_does_not(
    tenant: Tenant, tmp_path: Path
) -> None:
    path = add_pod(tenant, tmp_path, "obliging", grace_s=30)
    loading = wait_for_pod(tenant, path, "Initialized", is_so=True)
    assert not is_true(loading, "Ready")

    (tmp_path / "ready").touch()
    ready = wait_for_pod(tenant, path, "Ready", is_so=True)
    (status,) = ready["status"]["containerStatuses"]
    assert (status["started"], status["ready"], status["restartCount"]) == (True, True, 0)
    since_s = seconds(condition_of(ready, "Ready")["lastTransitionTime"])
    started_s = seconds(status["state"]["running"]["startedAt"])
    assert since_s is not None
    assert started_s is not None
    assert since_s >= started_s
    assert is_true(ready, "PodScheduled")

    (tmp_path / "ready").unlink()
    wait_for_pod(tenant, path, "Ready", is_so=False)


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("manner", ["obliging", "stubborn"])
def test_a_pod_that_is_deleted_does_its_hook_and_goes_at_the_latest_when_the_grace_period_ends(
    tenant: Tenant, tmp_path: Path, manner: str
) -> None:
    (tmp_path / "ready").touch()
    path = add_pod(tenant, tmp_path, manner, grace_s=3)
    wait_for_pod(tenant, path, "Ready", is_so=True)

    tenant.api.delete(path)
    wait_for("the pod gone", lambda: not tenant.api.exists(path), within_s=60)
    assert (tmp_path / "asked to go").exists()
