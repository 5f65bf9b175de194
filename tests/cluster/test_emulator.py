"""Emulated fleets in a real cluster, scraped by a real Prometheus."""

import contextlib
import http.client
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.state import Fate
from scaler.sim.trace import shipped
from testbed.commands import Child
from testbed.control_plane import ControlPlane
from testbed.emulator.arrivals import Poisson, steady
from testbed.emulator.deployment import emulated_deployment
from testbed.emulator.emulator import Emulator, emulating
from testbed.emulator.faults import Fault
from testbed.emulator.fleet import Service, Sight
from testbed.emulator.scrape import scrape_configuration
from testbed.objects import Life, names
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.running import asked

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODEL = "llama-3.1-8b"
RPS = 30.0
LOAD_S = 5.0
RUSH_OVER = 900
"""So many finished requests are half a minute's. What was held while the first pod loaded, 200 to 360 requests, went to
it all at once; after 300 finished ones up to 170 of them still ran."""

RUNNING = "vllm:num_requests_running"
GENERATED = "vllm:generation_tokens_total"

StartPrometheus = Callable[[dict[str, Any]], str]


@pytest.fixture
def emulator(cluster: ControlPlane, tenant: Tenant) -> Iterator[Emulator]:
    arrivals = Poisson(steady(RPS), shipped(), seed=1)
    service = Service(name="llama", model=MODEL, engines={"": LLAMA_8B_H100}, arrivals=arrivals, holds=True)
    with emulating([service], kubeconfig=cluster.kubeconfig, namespace=tenant.namespace) as emulator:
        yield emulator


@pytest.fixture
def scraped(cluster: ControlPlane, tenant: Tenant, start_prometheus: StartPrometheus) -> None:
    """Prometheus looks at the tenant's pods every second."""
    start_prometheus(scrape_configuration(cluster.kubeconfig, every_s=1, namespace=tenant.namespace))


@pytest.mark.usefixtures("scraped")
def test_a_loading_pod_refuses_and_a_loaded_one_is_scraped(tenant: Tenant, emulator: Emulator) -> None:
    add_servers(tenant, 3)
    (loading, *_) = wait_for("three pods that load", lambda: running_pods(tenant), lambda pods: len(pods) == 3)
    with pytest.raises(ConnectionRefusedError):
        answer(loading, "GET", "/health")
    assert emulator.sight("llama").open == 0

    ready = tenant.wait_for_ready(3)

    series = wait_for("three series", lambda: latest(RUNNING), lambda found: len(found) == 3)
    assert set(series) == names(ready)
    assert emulator.sight("llama").open == 3
    assert labels_of(RUNNING, "model_name") == {MODEL}
    assert labels_of(RUNNING, "namespace") == {tenant.namespace}
    assert all(age_s <= 1 + 2 for age_s in latest(f"time() - timestamp({RUNNING})").values())


@pytest.mark.usefixtures("scraped")
def test_what_runs_follows_littles_law(tenant: Tenant, emulator: Emulator) -> None:
    add_servers(tenant, 3)
    tenant.wait_for_ready(3)
    wait_for("an even flow", lambda: emulator.sight("llama"), has_finished(RUSH_OVER))

    own = sights_for(20.0, emulator)

    running = sum(latest(f"avg_over_time({RUNNING}[20s])").values())
    arriving_rps = sum(latest("rate(vllm:request_success_total[20s])").values())
    spent_s = sum(latest("rate(vllm:request_inference_time_seconds_sum[20s])").values()) / arriving_rps
    assert arriving_rps == pytest.approx(RPS, rel=0.2)
    assert running == pytest.approx(mean(sight.running for sight in own), rel=0.2)
    assert running == pytest.approx(arriving_rps * spent_s, rel=0.2)


@pytest.mark.usefixtures("scraped", "emulator")
def test_the_series_of_a_deleted_pod_end(tenant: Tenant) -> None:
    add_servers(tenant, 2)
    gone, _ = tenant.wait_for_ready(2)
    name = gone["metadata"]["name"]
    wait_for("both series", lambda: latest(RUNNING), lambda found: len(found) == 2)

    tenant.api.delete(tenant.path("v1", "pods", name))

    wait_for("the end of the series", lambda: latest(RUNNING), lambda found: bool(found) and name not in found)
    with pytest.raises(ConnectionRefusedError):
        answer(gone, "GET", "/health")


@pytest.mark.usefixtures("scraped")
def test_half_of_the_series_end_and_come_back(tenant: Tenant, emulator: Emulator) -> None:
    add_servers(tenant, 2)
    tenant.wait_for_ready(2)
    wait_for("both series", lambda: latest(RUNNING), lambda found: len(found) == 2)
    spoiled, *_ = emulator.readings()

    emulator.set_fault([spoiled], Fault.EMPTY)
    wait_for("one series", lambda: set(latest(RUNNING)), lambda found: len(found) == 1)

    emulator.set_fault([spoiled], None)
    wait_for("both again", lambda: latest(RUNNING), lambda found: len(found) == 2)


def test_a_pod_that_drains_finishes_its_requests(tenant: Tenant, emulator: Emulator) -> None:
    add_servers(tenant, 2, drain_s=15)
    tenant.wait_for_ready(2)
    wait_for("an even flow", lambda: emulator.sight("llama"), has_finished(RUSH_OVER))
    wait_for("work for both", emulator.readings, lambda found: all(it.running > 2 for it in found.values()))

    tenant.scale("llama", 1)

    wait_for("one that is sent requests", lambda: emulator.sight("llama").open, lambda count: count == 1)
    wait_for("no work on the other", emulator.readings, lambda found: min(it.running for it in found.values()) == 0)
    assert len(emulator.readings()) == 2
    wait_for("one engine", emulator.readings, lambda found: len(found) == 1)
    assert emulator.sight("llama").fates[Fate.FAILED] == 0


@pytest.mark.usefixtures("scraped")
def test_a_sleeping_replica_serves_nothing_until_it_wakes(tenant: Tenant, emulator: Emulator) -> None:
    add_servers(tenant, 2)
    sleeper, other = tenant.wait_for_ready(2)
    asleep, awake = sleeper["metadata"]["name"], other["metadata"]["name"]
    wait_for("work for both", lambda: latest(RUNNING), lambda found: all(found.get(it) for it in (asleep, awake)))

    assert answer(sleeper, "POST", "/sleep?level=1") == b""

    assert json.loads(answer(sleeper, "GET", "/is_sleeping")) == {"is_sleeping": True}
    assert answer(sleeper, "GET", "/health") == b""
    wait_for(
        "awake to be 0", lambda: latest('vllm:engine_sleep_state{sleep_state="awake"}'), lambda it: it[asleep] == 0
    )
    before = latest(GENERATED)
    wait_for("more of the other", lambda: latest(GENERATED), lambda found: found[awake] > before[awake] + 2000)
    assert latest(GENERATED)[asleep] == before[asleep]
    assert latest(RUNNING)[asleep] == 0
    assert emulator.sight("llama").open == 1

    answer(sleeper, "POST", "/wake_up")

    wait_for("work again", lambda: latest(RUNNING), lambda found: found[asleep] > 0)


def test_it_goes_on_when_the_api_server_was_away(cluster: ControlPlane, tenant: Tenant, emulator: Emulator) -> None:
    add_servers(tenant, 1)
    tenant.wait_for_ready(1)

    cluster.kill_part("kube-apiserver")
    assert emulator.sight("llama").open == 1
    cluster.start_part("kube-apiserver")
    tenant.scale("llama", 2)

    wait_for("both", lambda: emulator.sight("llama").open, lambda count: count == 2, within_s=60)


@pytest.mark.usefixtures("control_plane")  # which says why where there can be none
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_of_it_starts_with_one_command_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    environment = {"TMPDIR": str(tmp_path)}
    child = Child([sys.executable, "-m", "testbed.emulator"], tmp_path / "log", cwd=ROOT, environment=environment)
    try:
        wait_for("directions", lambda: "Ctrl-C ends" in child.tail() or child.exit_code is not None, within_s=100)
        (folder,) = tmp_path.glob("forebay-dev-*")
        parts = started_from(folder)

        child.signal(number)

        assert child.wait(20) == 0, child.tail()
        assert len(parts) > 4
        assert not folder.exists()
        assert started_from(folder) == []
    finally:
        child.kill()


def started_from(folder: Path) -> list[str]:
    """The process ids of the programs that were told to work in the folder."""
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in words.read_bytes():
                found.append(words.parent.name)
    return found


def add_servers(tenant: Tenant, replicas: int, drain_s: int = 0) -> None:
    tenant.add_nodes(1)
    life = Life(load_s=LOAD_S, drain_s=drain_s)
    body = emulated_deployment("llama", service="llama", replicas=replicas, life=life)
    tenant.api.create(tenant.path("apps/v1", "deployments"), body)


def running_pods(tenant: Tenant) -> list[dict[str, Any]]:
    return [pod for pod in tenant.pods() if pod["status"]["phase"] == "Running"]


def answer(pod: dict[str, Any], method: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(pod["status"]["podIP"], 8000, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        assert response.status == http.client.OK
        return response.read()
    finally:
        connection.close()


def has_finished(count: int) -> Callable[[Sight], bool]:
    return lambda sight: sight.fates[Fate.FINISHED] >= count


def sights_for(for_s: float, emulator: Emulator) -> list[Sight]:
    seen: list[Sight] = []
    until_s = now_s() + for_s

    def look() -> bool:
        seen.append(emulator.sight("llama"))
        return now_s() >= until_s

    wait_for("time to pass", look, within_s=for_s + 10, every_s=0.2)
    return seen


def latest(query: str) -> dict[str, float]:
    """The values by pod; several series of a pod are added."""
    values: dict[str, float] = {}
    for series in asked(query):
        pod = series["metric"]["pod"]
        values[pod] = values.get(pod, 0.0) + float(series["value"][1])
    return values


def labels_of(query: str, label: str) -> set[str]:
    return {series["metric"][label] for series in asked(query)}
