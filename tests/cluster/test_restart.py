"""The controller killed, stopped, doubled or told to keep still: nothing shrinks, and one acts at a time."""

import contextlib
import http.client
import signal
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from testbed.emulator.arrivals import steady
from testbed.emulator.emulator import Emulator
from testbed.rest import Rest
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.running import POLICIES, PORT, STOPS_WITHIN_S, Controller, Start, World, add_servers, controlling

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LOAD_S: Final = 25
QUIET_RPS: Final = 9.0
FOR_FIVE_RPS: Final = 100.0
LEASE: Final = "/apis/coordination.k8s.io/v1/namespaces/forebay/leases/forebay"

LEASE_S: Final = 6.0
RETRY_S: Final = LEASE_S * 2.0 / 15.0 * 2.2
"""A candidate tries at most so long after its last attempt: two fifteenths of the lease, and up to 1.2 times that."""

SETTLED_S: Final = 4.0
STOPPED_S: Final = 60.0

ANSWERS_S: Final = 3.0
"""For the requests and the first tick, on a machine with other work."""


def holder(api: Rest) -> str:
    """Who holds the lease, empty if nobody does."""
    return str(api.get(LEASE)["spec"].get("holderIdentity", "")) if api.exists(LEASE) else ""


def wait_for_leader(api: Rest, name: str, *, within_s: float = 60.0) -> None:
    wait_for(f"{name} leads", lambda: holder(api), lambda now: now == name, within_s=within_s)


def planned(controller: Controller) -> list[int]:
    """What each decision of its journal asked for."""
    plans = [record["plan"]["targets"] for record in controller.records()]
    return [targets[0]["trail"][-1]["after"] for targets in plans if targets]


def commands(controller: Controller) -> list[int]:
    """The counts that each decision of its journal commanded."""
    plans = [record["plan"] for record in controller.records()]
    return [command["replicas"] for plan in plans for command in plan["commands"]]


def samples(decision: Mapping[str, Any]) -> int:
    return len(decision["record"]["plan"]["memory"]["load_samples"])


def writes(controller: Controller) -> int:
    """The writes that it sent, whatever came of them, by its own count."""
    lines = [line for line in controller.page("/metrics").splitlines() if line.startswith("forebay_api_requests_total")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if is_write(line))


def is_write(line: str) -> bool:
    return any(f'verb="{verb}"' in line for verb in ("patch", "create", "update", "delete"))


@pytest.mark.usefixtures("scraped")
def test_a_kill_in_the_middle_of_a_scale_up_costs_no_replica_and_nothing_learned(
    tenant: Tenant, world: World, emulator: Emulator, start: Start
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 2, load_s=LOAD_S)
    tenant.wait_for_ready(2)
    emulator.set_rate("llama", steady(QUIET_RPS))
    world.add_policy(replicas={"min": 1, "max": 4})  # the demand below needs 5: the target does not move by itself
    has_learned = {"name": "v1", "role": "Serve", "loadSeconds": {"p50": LOAD_S, "p90": LOAD_S, "samples": 12}}
    policy = tenant.path(POLICIES, "scalingpolicies", "llama")
    tenant.api.patch(f"{policy}/status", {"status": {"learned": [has_learned]}})
    first = start("first", lease_seconds=str(LEASE_S))
    world.wait_for_condition("SignalsHealthy", "True")
    emulator.set_rate("llama", steady(FOR_FIVE_RPS))
    world.wait_for_requested(4, within_s=90.0)

    first.signal(signal.SIGKILL)
    learned = world.status()["learned"][0]["loadSeconds"]
    still_loading = 4 - len(tenant.ready_pods())
    second = start("second", lease_seconds=str(LEASE_S))
    wait_for("a dozen decisions", lambda: planned(second), lambda plans: len(plans) >= 12, within_s=60.0)

    grown = planned(first)
    assert still_loading > 0
    assert grown == sorted(grown)
    assert grown[-1] == 4
    assert set(planned(second)) == {4}
    assert commands(second) == []
    assert samples(second.decisions()[0]) >= learned["samples"] >= 12
    assert world.status()["learned"][0]["loadSeconds"]["p50"] == pytest.approx(LOAD_S, rel=0.1)


@pytest.mark.usefixtures("scraped")
def test_what_a_replica_carries_and_how_demand_went_outlast_a_kill(
    tenant: Tenant, world: World, emulator: Emulator, start: Start
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 2, load_s=1)
    emulator.set_rate("llama", steady(QUIET_RPS))
    world.add_policy(replicas={"min": 1, "max": 4}, behavior={"scaleDown": {"holdSeconds": 600}})
    first = start("first", lease_seconds=str(LEASE_S))
    first.wait_until_it_has_learned()
    wait_for("it in the status", world.status, lambda now: bool(capacities(now) and now["demand"]), within_s=90.0)

    first.signal(signal.SIGKILL)
    told = world.status()
    second = start("second", lease_seconds=str(LEASE_S))
    wait_for("some decisions", lambda: planned(second), lambda plans: len(plans) >= 5, within_s=60.0)

    (kind,), (demand,) = capacities(told), told["demand"]
    wish = second.trails()[0][0]
    begun = second.decisions()[0]
    again = begun["record"]["memory"]
    assert "work_replicas" in wish["facts"]
    assert wish["after"] == first.trails()[-1][0]["after"]
    assert again["capacities"][0]["lines"] == pytest.approx(kind["weight"], rel=0.01)
    assert again["courses"][0]["highest_per_s"] == pytest.approx(demand["highestTokensPerSecond"], rel=0.01)
    assert samples(begun) == 2
    assert set(planned(second)) == {2}
    assert commands(second) == []


def capacities(status: Mapping[str, Any]) -> list[Any]:
    """What is told of the one target's replicas, by kind of node."""
    learned = status.get("learned", [])
    return list(learned[0]["capacity"]) if learned else []


@pytest.mark.usefixtures("scraped", "emulator")
def test_of_two_one_acts_and_when_it_is_killed_the_other_does_within_lease_and_retry(
    api: Rest, tenant: Tenant, world: World, start: Start
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 2, load_s=1)
    world.add_policy(replicas={"min": 3, "max": 8})
    first = start("first", lease_seconds=str(LEASE_S))
    wait_for_leader(api, "first")
    second = start("second", lease_seconds=str(LEASE_S), listen_on=str(PORT + 1))
    wait_for("the second to be ready", lambda: is_ready(second))
    wait_for("decisions", first.decisions, lambda lines: len(lines) >= 3)
    assert "forebay_is_leader 1.0" in first.page("/metrics")
    assert "forebay_is_leader 0.0" in second.page("/metrics")
    assert second.decisions() == []
    assert writes(second) == 0

    killed_s = now_s()
    first.signal(signal.SIGKILL)
    wait_for_leader(api, "second")

    assert now_s() - killed_s < LEASE_S + RETRY_S + ANSWERS_S
    wait_for("a decision", second.decisions)
    assert min(planned(second)) >= 3


def is_ready(controller: Controller) -> bool:
    """Whether it has seen the cluster."""
    try:
        return controller.page("/readyz") == "ok\n"
    except OSError:
        return False


@pytest.mark.usefixtures("scraped", "emulator")
def test_sigterm_ends_it_within_five_seconds_and_the_other_leads_at_once(
    api: Rest, tenant: Tenant, world: World, start: Start
) -> None:
    add_servers(tenant, 1, load_s=1)
    world.add_policy()
    first = start("first", lease_seconds="60")
    wait_for_leader(api, "first")
    wait_for("a decision", first.decisions)
    second = start("second", lease_seconds=str(LEASE_S), listen_on=str(PORT + 1))
    third = start("third", listen_on=str(PORT + 2))
    for follower in (second, third):
        wait_for("a follower to be ready", lambda follower=follower: is_ready(follower))  # type: ignore[misc]

    third.signal(signal.SIGTERM)
    assert third.wait(STOPS_WITHIN_S) == 0
    begun_s = now_s()
    first.signal(signal.SIGTERM)
    code = first.wait(STOPS_WITHIN_S)
    wait_for_leader(api, "second")

    assert code == 0
    assert now_s() - begun_s < RETRY_S + ANSWERS_S
    assert first.log()[-1]["event"] == "stopped"


class Listener(ThreadingHTTPServer):
    """Stands between one controller and the API server, and writes down what it is asked for.

    Plain HTTP on our side: a token is all that says who calls, and it is passed on.
    """

    daemon_threads = True

    def __init__(self, api: Rest, authority: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.api = api
        self.trust = ssl.create_default_context(cafile=authority)
        self.heard: list[tuple[float, str, str]] = []

    def writes_since(self, at_s: float) -> list[str]:
        return [f"{method} {path}" for when_s, method, path in self.heard if when_s >= at_s and method != "GET"]

    def kubeconfig(self, path: Path, folder: Path) -> Path:
        """The way in at ``path``, by way of us."""
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        told["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.server_port}"}
        ours = folder / "by-way-of-us.yaml"
        ours.write_text(yaml.safe_dump(told), encoding="utf-8")
        return ours


class Passing(BaseHTTPRequestHandler):
    """Passes one request on, and its answer back as it comes: a watch has no end."""

    server: Listener

    def do_GET(self) -> None:
        self.server.heard.append((now_s(), self.command, self.path))
        api = self.server.api
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        onward = http.client.HTTPSConnection(api.host, api.port, timeout=400, context=self.server.trust)
        passed = {
            name: self.headers[name] for name in ("Authorization", "Content-Type", "Accept") if self.headers[name]
        }
        with contextlib.closing(onward), contextlib.suppress(OSError, http.client.HTTPException):
            onward.request(self.command, self.path, body, passed)
            answer = onward.getresponse()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.end_headers()
            while piece := answer.read1(65536):
                self.wfile.write(piece)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names are the server's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the server's
        """Say nothing."""


Overheard = tuple[Controller, Listener]


@pytest.fixture
def overheard(api: Rest, tenant: Tenant, kubeconfig: Path, tmp_path: Path) -> Iterator[Overheard]:
    """A controller and who listens to it."""
    (way_in,) = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["clusters"]
    with Listener(api, way_in["cluster"]["certificate-authority"]) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        by_way_of_us = listener.kubeconfig(kubeconfig, tmp_path)
        with controlling(by_way_of_us, tenant.namespace, tmp_path / "overheard", lease_seconds=str(LEASE_S)) as first:
            yield first, listener
        listener.shutdown()


@pytest.mark.usefixtures("scraped")
def test_a_leader_that_was_stopped_for_a_minute_writes_nothing_more(
    api: Rest, tenant: Tenant, world: World, emulator: Emulator, start: Start, overheard: Overheard
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 2, load_s=1)
    emulator.set_rate("llama", steady(QUIET_RPS))
    world.add_policy(replicas={"min": 2, "max": 8})
    first, listener = overheard
    wait_for_leader(api, "overheard")
    world.wait_for_condition("SignalsHealthy", "True")
    second = start("second", lease_seconds=str(LEASE_S), listen_on=str(PORT + 1))
    wait_for("the second to be ready", lambda: is_ready(second))
    assert listener.writes_since(0.0)

    stopped_s = now_s()
    first.signal(signal.SIGSTOP)
    wait_for_leader(api, "second")
    taken_over_s = now_s()
    tenant.api.patch(tenant.path(POLICIES, "scalingpolicies", "llama"), {"spec": {"replicas": {"min": 5}}})
    world.wait_for_requested(5)
    wait_for("a minute", now_s, lambda at_s: at_s >= stopped_s + STOPPED_S, within_s=STOPPED_S + 1.0)
    # With the second stopped as well, whatever is written from here on is the first one's.
    second.signal(signal.SIGSTOP)
    tenant.scale("llama", 3)  # a leader would write 5 again
    before = settled(tenant, ready=3)
    gone_on_s = now_s()
    first.signal(signal.SIGCONT)
    code = first.wait(10.0)

    assert taken_over_s - stopped_s < LEASE_S + RETRY_S + ANSWERS_S
    assert code == 1
    assert listener.writes_since(gone_on_s) == []
    assert written_versions(tenant) == before
    assert (world.requested(), holder(api)) == (3, "second")
    assert [line["level"] for line in first.log() if line["event"] == "lease_lost"] == ["error"]


def settled(tenant: Tenant, *, ready: int) -> dict[str, str]:
    """The versions of all that a controller writes, once Kubernetes' own controllers are done with it."""
    tenant.wait_for_ready(ready)
    wait_for("no pods on their way out", tenant.pods, lambda pods: len(pods) == ready)
    path = tenant.path("apps/v1", "deployments", "llama")

    def is_told() -> bool:
        told = tenant.api.get(path)
        is_seen = told["status"].get("observedGeneration") == told["metadata"]["generation"]
        return bool(is_seen and told["status"].get("readyReplicas") == told["status"].get("replicas") == ready)

    wait_for("the Deployment's status", is_told)
    return unchanged(tenant)


def unchanged(tenant: Tenant) -> dict[str, str]:
    """The versions once nobody has changed any for a while: the Deployment's own controller writes in several steps."""
    seen: list[tuple[float, dict[str, str]]] = []

    def look() -> dict[str, str]:
        versions = written_versions(tenant)
        if not seen or seen[-1][1] != versions:
            seen.append((now_s(), versions))
        return versions

    return wait_for("nobody to write", look, lambda _: now_s() - seen[-1][0] >= SETTLED_S)


def written_versions(tenant: Tenant) -> dict[str, str]:
    """The resourceVersion of each object that a controller writes: any write that changes it makes another."""
    lists = [
        tenant.path("apps/v1", "deployments"),
        tenant.path(POLICIES, "scalingpolicies"),
        tenant.path("v1", "pods"),
        tenant.path("events.k8s.io/v1", "events") + "?fieldSelector=reportingController=forebay.dev/controller",
        LEASE.rpartition("/")[0],
    ]
    found = [(path, each["metadata"]) for path in lists for each in tenant.api.items(path)]
    return {f"{path} {metadata['name']}": metadata["resourceVersion"] for path, metadata in found}


@pytest.mark.usefixtures("scraped")
@pytest.mark.parametrize("by", ["the policy", "a setting"])
def test_who_only_advises_says_what_it_would_do_and_never_writes_a_count(
    tenant: Tenant, world: World, emulator: Emulator, start: Start, tmp_path: Path, by: str
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 2, load_s=1)
    emulator.set_rate("llama", steady(QUIET_RPS))
    advises = {"actuation": "Advise"} if by == "the policy" else {}
    world.add_policy(replicas={"min": 4, "max": 8}, **advises)
    (tmp_path / "settings.yaml").write_text(f"adviseOnly: {str(by == 'a setting').lower()}\n")

    controller = start(config=str(tmp_path / "settings.yaml"))
    wait_for("the advice", world.status, lambda status: status.get("desired") == 4)
    wait_for("some decisions", lambda: planned(controller), lambda plans: plans.count(4) >= 4)

    assert world.requested() == 2
    assert commands(controller) == []
    assert "/scale" not in controller.page("/metrics")
    assert world.status()["learned"][0]["loadSeconds"]["samples"] == 2


@pytest.mark.usefixtures("scraped")
def test_a_paused_policy_holds_and_keeps_learning_and_goes_on_when_it_is_let(
    tenant: Tenant, world: World, emulator: Emulator, start: Start
) -> None:
    tenant.add_nodes(1)
    add_servers(tenant, 2, load_s=1)
    emulator.set_rate("llama", steady(QUIET_RPS))
    world.add_policy(replicas={"min": 4, "max": 8})
    policy = tenant.path(POLICIES, "scalingpolicies", "llama")
    tenant.api.patch(policy, {"metadata": {"annotations": {"forebay.dev/paused": "true"}}})
    controller = start()
    wait_for("two starts learned", lambda: loads_learned(world), lambda count: count == 2)

    tenant.scale("llama", 3)
    wait_for("a third", lambda: loads_learned(world), lambda count: count == 3)

    assert world.requested() == 3
    assert commands(controller) == []
    tenant.api.patch(policy, {"metadata": {"annotations": {"forebay.dev/paused": None}}})
    world.wait_for_requested(4)


def loads_learned(world: World) -> int:
    """How many starts the learned load time rests on."""
    learned = world.status().get("learned", [])
    return int(learned[0]["loadSeconds"]["samples"]) if learned else 0
