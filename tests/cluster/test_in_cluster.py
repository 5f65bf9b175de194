"""The process as a pod of the cluster has it, and all of it as a developer starts it."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from testbed.commands import Child, CommandError, run
from testbed.control_plane import ControlPlane
from testbed.parts import API_PORT
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import PORT, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROOT: Final = Path(__file__).parents[2]
MOUNTED: Final = "/run/secrets/kubernetes.io/serviceaccount"
AS_A_POD: Final = f"""
mount -t tmpfs tmpfs /run && mkdir -p {MOUNTED} && cp "$TOKEN" {MOUNTED}/token && cp "$AUTHORITY" {MOUNTED}/ca.crt &&
exec "$@"
"""
"""Puts the files of a service account where a kubelet mounts them, for one process alone."""


@pytest.fixture
def pod(cluster: ControlPlane, kubeconfig: Path, tmp_path: Path) -> Iterator[Child]:
    """The controller for the whole cluster, with what a pod has: an address in the environment, and mounted files."""
    told = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    token = tmp_path / "token"
    token.write_text(told["users"][0]["user"]["token"], encoding="utf-8")
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(API_PORT),
        "TOKEN": str(token),
        "AUTHORITY": told["clusters"][0]["cluster"]["certificate-authority"],
        "FOREBAY_LEASE_NAMESPACE": "forebay",
        "FOREBAY_PROMETHEUS_URLS": "http://127.0.0.1:9090",
        "FOREBAY_JOURNAL": str(tmp_path / "decisions.jsonl"),
        "FOREBAY_LISTEN_ON": str(PORT),
    }
    words = [sys.executable, "-m", "scaler", "run", "--tick-seconds", "2", "--prometheus-timeout-seconds", "1"]
    command = ["unshare", "--mount", "sh", "-c", AS_A_POD, "sh", *words]
    with cluster.network.entered():
        child = Child(command, tmp_path / "log.txt", cwd=ROOT, environment=environment)
    yield child
    child.stop()


def test_as_a_pod_it_finds_the_api_by_itself_and_serves_the_whole_cluster(
    tenant: Tenant, world: World, pod: Child
) -> None:
    add_servers(tenant, 1, load_s=0)
    world.add_policy(replicas={"min": 2, "max": 2})

    wait_for("2 replicas", lambda: world.requested() == 2 or pod.exit_code is not None)

    assert pod.exit_code is None, pod.tail()
    assert pod.stop() == 0


@pytest.mark.usefixtures("control_plane")  # which says why where there can be none
def test_a_developer_gets_all_of_it_at_work_with_one_command(tmp_path: Path) -> None:
    child = Child(
        [sys.executable, "-m", "testbed.dev"], tmp_path / "log", cwd=ROOT, environment={"TMPDIR": str(tmp_path)}
    )
    try:
        wait_for(
            "directions", lambda: "why: forebay explain" in child.tail() or child.exit_code is not None, within_s=90
        )
        (journal,) = [Path(line.rsplit(" ", 1)[1]) for line in child.tail().splitlines() if "why: forebay" in line]
        wait_for("a decision", journal.exists, within_s=60)

        told = wait_for("its reasons", lambda: explained(journal))

        assert "llama" in told
        child.signal(signal.SIGTERM)
        assert child.wait(20) == 0, child.tail()
        assert not journal.exists()
    finally:
        child.kill()


def explained(journal: Path) -> str:
    """What `forebay explain` says, empty where there is nothing to explain yet."""
    with contextlib.suppress(CommandError):
        return run([sys.executable, "-m", "scaler", "explain", "llama", "--journal", str(journal)], cwd=ROOT)
    return ""
