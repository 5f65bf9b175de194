"""`forebay run` as a process of its own, asked by KEDA over mutual TLS, and stopped while it is asked."""

import shutil
import signal
import socket
from pathlib import Path
from typing import Final

import grpc
import pytest

from scaler.adapters.keda.contract import METRIC_NAME
from scaler.adapters.keda.external_scaler_pb2_grpc import ExternalScalerStub
from testbed.pki import CONFIGURATION, Pair, make_pair
from testbed.waiting import wait_for
from tests.adapters.keda.asking import question, ref, replicas
from tests.bench.polling import name_of
from tests.bench.storing import REPLICAS, filled
from tests.cluster.running import STOPS_WITHIN_S, Controller, controlling

POLICY: Final = name_of(0)


def port_of(controller: Controller) -> int | None:
    """Where it says that it answers, None before it has."""
    return next((line["port"] for line in controller.log() if line["event"] == "answering_keda"), None)


def asked_of(stub: ExternalScalerStub) -> float | grpc.StatusCode:
    try:
        return replicas(stub.GetMetrics(question(policy=POLICY)))
    except grpc.RpcError as error:
        return error.code()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl")
def test_a_stop_ends_streams_with_ok_and_the_process_in_time(tmp_path: Path) -> None:
    (tmp_path / "openssl.cnf").write_text(CONFIGURATION, encoding="utf-8")
    authority = make_pair(tmp_path, "authority", "authority", None)
    ours, kedas = make_pair(tmp_path, "ours", "server", authority), make_pair(tmp_path, "kedas", "client", authority)
    files = {
        "keda_certificate_file": str(ours.certificate),
        "keda_key_file": str(ours.key),
        "keda_client_ca_file": str(authority.certificate),
    }
    with (
        filled(tmp_path / "kubeconfig", 1),
        controlling(
            tmp_path / "kubeconfig", "models", tmp_path / "one", listen_on="0", keda_listen_on="0", **files
        ) as controller,
    ):
        port = wait_for("a port", lambda: port_of(controller))
        with grpc.secure_channel(f"localhost:{port}", _credentials(authority, kedas)) as channel:
            stub = ExternalScalerStub(channel)
            wait_for("the count", lambda: asked_of(stub), lambda told: told == REPLICAS)
            stream = stub.StreamMetricSpec(ref(policy=POLICY))
            assert next(iter(stream)).metricSpecs[0].metricName == METRIC_NAME

            controller.signal(signal.SIGTERM)

            assert not list(stream)
            assert stream.code() is grpc.StatusCode.OK
        assert controller.wait(STOPS_WITHIN_S) == 0


def _credentials(authority: Pair, own: Pair) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), own.key.read_bytes(), own.certificate.read_bytes()
    )


@pytest.mark.slow
def test_whoever_is_killed_leaves_nobody_behind_who_answers(tmp_path: Path) -> None:
    with (
        filled(tmp_path / "kubeconfig", 1),
        controlling(
            tmp_path / "kubeconfig", "models", tmp_path / "one", listen_on="0", keda_listen_on="0"
        ) as controller,
    ):
        port = wait_for("a port", lambda: port_of(controller))
        assert is_listening(port)

        controller.signal(signal.SIGKILL)

        wait_for("nobody at the port", lambda: not is_listening(port))


def is_listening(port: int | None) -> bool:
    """Whether anybody takes connections there."""
    assert port is not None
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
    except ConnectionRefusedError:
        return False
    return True
