"""The real KEDA and the real HPA between the plan and /scale: they follow it exactly, and hold without it."""

import base64
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from testbed.control_plane import ControlPlane
from testbed.dev import DEPLOY
from testbed.keda import Keda
from testbed.pki import make_authority, make_pair
from testbed.tenant import Tenant
from testbed.waiting import now_s, wait_for
from tests.cluster.conftest import StartPrometheus
from tests.cluster.following import (
    ADDRESS,
    FOLLOWED_WITHIN_S,
    KEDA,
    MOST,
    OTHER_ADDRESS,
    SCALER,
    Following,
    answering,
    wait_until_it_answers,
    work_of,
)
from tests.cluster.running import PORT, Start, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("prometheus", "pods_may_run")]

TRACE: Final = (11, 10, 20, 21)
"""From 10: one more, one less, twice as many, one in twenty more. With a dead band of 10 % only one is obeyed."""

IDLE_S: Final = 60
OUTAGE_S: Final = 300.0
SILENCE_S: Final = 90.0
"""KEDA waits 5 ms, then twice as long each time: its fifteenth try is after 82 s, and the next one 82 s after that."""

LEASE_S: Final = 6.0
AUTHENTICATION: Final = "forebay-client"


@pytest.fixture
def prometheus(start_prometheus: StartPrometheus) -> None:
    """A Prometheus that scrapes nothing, for queries that need nothing."""
    start_prometheus({"global": {"scrape_interval": "15s"}})


@pytest.fixture
def pods_may_run(tenant: Tenant) -> None:
    """Room for the pods, which need no GPUs here."""
    tenant.add_nodes(1)


@pytest.fixture
def may_own(kubeconfig: Path, cluster: ControlPlane) -> Iterator[None]:
    """The right to write ScaledObjects, which the controller has only where it is given."""
    del kubeconfig  # its account is what the right is for
    rights = DEPLOY / "components" / "keda-managed" / "rbac.yaml"
    cluster.kubectl("apply", "--server-side", f"--filename={rights}")
    yield
    cluster.kubectl("delete", f"--filename={rights}")


@pytest.fixture
def scaler(keda: Keda) -> Iterator[Keda]:
    """KEDA, who finds one scaler by its name."""
    keda.resolve({SCALER: [ADDRESS]})
    yield keda
    keda.resolve({})


@pytest.mark.usefixtures("scaler", "may_own")
def test_the_same_trace_through_keda_and_through_scale_gives_the_same_replicas(
    tenant: Tenant, world: World, start: Start
) -> None:
    start(**answering())
    by_keda = Following.decided(tenant, "by-keda", 10, keda={"managed": True})
    by_scale = Following.decided(tenant, "by-scale", 10, actuation="Scale")
    world.wait_for_condition("KEDAReady", "True", "by-keda")

    for count in TRACE:
        by_keda.need(count)
        by_scale.need(count)
        by_keda.wait_for(count)
        by_scale.wait_for(count)

    assert by_keda.writes() == by_scale.writes() == len(TRACE)
    assert world.condition("OwnershipClear", "by-keda")["status"] == "True"


@pytest.mark.usefixtures("scaler")
def test_a_model_goes_to_zero_and_comes_back_by_what_keda_is_told(tenant: Tenant, world: World, start: Start) -> None:
    start(**answering())
    service = Following.added(
        tenant, "llama", 1, signals=work_of(0), replicas={"min": 0, "max": MOST}, scaleToZero={"idleSeconds": IDLE_S}
    )
    world.wait_for_condition("KEDAReady", "True")

    service.wait_for(0, within_s=IDLE_S + FOLLOWED_WITHIN_S)
    world.wait_for_condition("AtZero", "True")
    world.wait_for_condition("KEDAReady", "True")
    service.need(3)
    service.wait_for(3)

    assert world.wait_for_condition("AtZero", "False")["reason"] == "Serving"
    assert service.writes() == 3  # to zero, from zero by KEDA itself, and from one by its HPA


@pytest.mark.usefixtures("scaler")
def test_five_minutes_without_us_and_an_api_server_that_restarts_in_them_cost_no_replica(
    cluster: ControlPlane, tenant: Tenant, start: Start
) -> None:
    service = Following.added(tenant, "llama", 10)
    first = start("first", **answering())
    service.need(12)
    service.wait_for(12)

    first.signal(signal.SIGKILL)
    gone_s = now_s()
    service.need(5)
    wait_for("two minutes", lambda: now_s() - gone_s > 0.4 * OUTAGE_S, within_s=OUTAGE_S)
    cluster.kill_part("kube-apiserver")
    cluster.start_part("kube-apiserver")
    wait_for("five minutes", lambda: now_s() - gone_s > OUTAGE_S, within_s=OUTAGE_S)

    assert (service.requested(), service.writes()) == (12, 1)
    service.need(14)
    start("second", **answering())
    service.wait_for(14)
    service.need(13)
    service.wait_for(13)
    assert service.writes() == 3


def test_a_scaled_object_made_while_nobody_answers_holds_and_is_followed_once_somebody_does(
    keda: Keda, tenant: Tenant, world: World, start: Start
) -> None:
    keda.resolve({})
    keda.restart_operator()  # it may have a connection left from a test before, to the same address
    start(**answering())
    service = Following.added(tenant, "llama", 3)
    service.need(5)
    told = world.wait_for_condition("KEDAReady", "False")
    wait_for("KEDA to have tried", lambda: reason(world), lambda reason: reason == "NobodyAnswered")

    assert "ScaledObject llama" in told["message"]
    assert service.hpa() is None
    assert service.writes() == 0
    keda.resolve({SCALER: [ADDRESS]})
    service.wait_for(5)
    world.wait_for_condition("KEDAReady", "True")
    keda.resolve({})


@pytest.mark.usefixtures("scaler")
def test_after_a_long_silence_a_restarted_operator_tries_at_once(keda: Keda, tenant: Tenant, start: Start) -> None:
    service = Following.added(tenant, "llama", 3)
    begun_s = now_s()
    wait_for("a long silence", lambda: now_s() - begun_s > SILENCE_S, within_s=2 * SILENCE_S)
    wait_until_it_answers(start(**answering()))
    assert service.hpa() is None

    keda.restart_operator()

    wait_for("an HPA", service.hpa, within_s=60.0)
    service.need(5)
    service.wait_for(5)


def reason(world: World) -> str:
    """The reason of KEDAReady, empty before there is one."""
    return str(world.condition("KEDAReady").get("reason", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The certificates of both sides: ours in files, KEDA's in a Secret that a TriggerAuthentication names."""

    tenant: Tenant
    folder: Path
    is_mutual: bool

    def settings(self) -> dict[str, str]:
        """Ours; connections end soon, as the next ones look at the files anew."""
        served = {
            "keda_certificate_file": str(self.folder / "tls.crt"),
            "keda_key_file": str(self.folder / "tls.key"),
            "keda_connection_seconds": "2",
        }
        return {**served, **({"keda_client_ca_file": str(self.folder / "ca.crt")} if self.is_mutual else {})}

    def renew(self, name: str) -> None:
        """Put certificates of a new authority into the place of all earlier ones."""
        folder = self.folder / name
        authority = make_authority(folder)
        ours = make_pair(folder, "scaler", "peer", authority, f"DNS:{SCALER}")
        theirs = make_pair(folder, "keda", "client", authority)
        for source, served in ((authority.certificate, "ca.crt"), (ours.certificate, "tls.crt"), (ours.key, "tls.key")):
            shutil.copyfile(source, self.folder / served)
        secret = {"ca.crt": authority.certificate}
        if self.is_mutual:
            secret |= {"tls.crt": theirs.certificate, "tls.key": theirs.key}
        self._write_secret({key: base64.b64encode(path.read_bytes()).decode() for key, path in secret.items()})

    def introduce(self) -> None:
        """Have KEDA take its side from the Secret."""
        keys = {"caCert": "ca.crt"} | (
            {"tlsClientCert": "tls.crt", "tlsClientKey": "tls.key"} if self.is_mutual else {}
        )
        refs = [{"parameter": parameter, "name": AUTHENTICATION, "key": key} for parameter, key in keys.items()]
        body = {"apiVersion": KEDA, "kind": "TriggerAuthentication", "metadata": {"name": AUTHENTICATION}}
        path = self.tenant.path(KEDA, "triggerauthentications")
        self.tenant.api.create(path, body | {"spec": {"secretTargetRef": refs}})

    def _write_secret(self, data: dict[str, str]) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": AUTHENTICATION}, "data": data}
        path = self.tenant.path("v1", "secrets")
        if self.tenant.api.exists(f"{path}/{AUTHENTICATION}"):
            self.tenant.api.replace(f"{path}/{AUTHENTICATION}", body)
        else:
            self.tenant.api.create(path, body)


@pytest.mark.usefixtures("scaler")
@pytest.mark.parametrize("is_mutual", [False, True], ids=["TLS", "mTLS"])
def test_certificates_of_a_new_authority_are_taken_by_both_sides_without_a_restart(
    tenant: Tenant, start: Start, tmp_path: Path, *, is_mutual: bool
) -> None:
    trust = Trust(tenant=tenant, folder=tmp_path, is_mutual=is_mutual)
    trust.renew("first")
    trust.introduce()
    controller = start(**answering(), **trust.settings())
    service = Following.added(tenant, "llama", 3, keda={"tls": {"authenticationRef": {"name": AUTHENTICATION}}})
    service.need(4)
    service.wait_for(4)

    trust.renew("second")
    wait_for("the new certificate", controller.log, lambda log: any(e["event"] == "certificate_taken" for e in log))
    service.need(5)
    service.wait_for(5)

    assert service.writes() == 2


def test_another_leader_in_the_middle_goes_on_with_the_count_that_there_is(
    keda: Keda, tenant: Tenant, start: Start
) -> None:
    keda.resolve({SCALER: [ADDRESS, OTHER_ADDRESS]})
    service = Following.added(tenant, "llama", 6)
    first = start("first", **answering(), lease_seconds=str(LEASE_S))
    service.need(8)
    service.wait_for(8)
    second = start("second", **answering(OTHER_ADDRESS), lease_seconds=str(LEASE_S), listen_on=str(PORT + 1))
    wait_until_it_answers(second)

    first.signal(signal.SIGKILL)
    service.need(9)
    service.wait_for(9)
    service.need(8)
    service.wait_for(8)

    assert service.writes() == 3
    keda.resolve({})
