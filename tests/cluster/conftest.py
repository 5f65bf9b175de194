"""One control plane for the session, and for each test a namespace and nodes of its own.

A test that takes `cluster`, or anything that is made from it, runs inside the control plane's network namespace.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed import network
from testbed.binaries import KEDA, KEDA_KINDS
from testbed.build import BuildError, ensure_binaries, ensure_source
from testbed.commands import CommandError
from testbed.control_plane import ControlPlane
from testbed.dev import admitted
from testbed.emulator.emulator import Emulator, emulating
from testbed.emulator.scrape import scrape_configuration
from testbed.keda import Keda, keda_kinds, keda_running
from testbed.rest import Rest
from testbed.tenant import Tenant, tenant_of
from tests.cluster.running import Controller, Start, World, controlling, emulated_service
from tests.cluster.vllm_running import Programs, programs

StartPrometheus = Callable[[Mapping[str, Any]], str]

BINARIES = pytest.StashKey[Mapping[str, Path] | str]()
"""Where the binaries are, or why there are none."""

VLLM_PROGRAMS = pytest.StashKey[Programs | str]()
"""The same for what real vLLM needs."""

PLANE = pytest.StashKey[ControlPlane]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test starts its clock: a first build takes minutes, a test's timeout does not."""
    wanted = any("control_plane" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        with_keda = any("keda" in getattr(item, "fixturenames", ()) for item in session.items)
        with session.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            session.config.stash[BINARIES] = network.why_not() or built(with_keda=with_keda)
            with_vllm = any("vllm_run" in getattr(item, "fixturenames", ()) for item in session.items)
            if with_vllm and not isinstance(session.config.stash[BINARIES], str):
                session.config.stash[VLLM_PROGRAMS] = programs()


def built(*, with_keda: bool) -> Mapping[str, Path] | str:
    try:
        return {**ensure_binaries(), **(ensure_binaries(binaries=KEDA) if with_keda else {})}
    except (BuildError, CommandError) as error:
        return f"the testbed could not be built: {error}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the control plane's logs below a failure."""
    report = yield
    if report.failed and PLANE in item.config.stash:
        report.sections.append(("control plane", item.config.stash[PLANE].logs()))
    return report


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The running control plane; tests take `cluster`, which is the same from inside its network."""
    binaries = pytestconfig.stash[BINARIES]
    if isinstance(binaries, str):
        pytest.skip(binaries)
    with contextlib.ExitStack() as undo:
        inside = network.NetworkNamespace()
        undo.callback(inside.close)
        plane = ControlPlane(binaries=binaries, folder=tmp_path_factory.mktemp("control-plane"), network=inside)
        undo.callback(plane.stop)
        plane.start()
        pytestconfig.stash[PLANE] = plane
        yield plane


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane, with the test's thread inside its network."""
    with control_plane.network.entered():
        yield control_plane


@pytest.fixture
def api(cluster: ControlPlane) -> Rest:
    """The API as an administrator."""
    return cluster.rest


@pytest.fixture
def tenant(api: Rest) -> Iterator[Tenant]:
    """A namespace and nodes for this test only."""
    with tenant_of(api) as tenant:
        yield tenant


@pytest.fixture
def start_prometheus(cluster: ControlPlane) -> Iterator[StartPrometheus]:
    """Starts Prometheus with a configuration and says its address; ended, and its samples gone, after the test."""
    yield cluster.start_prometheus
    cluster.end_prometheus()


@pytest.fixture
def keda_definitions(cluster: ControlPlane) -> Iterator[None]:
    """The kinds of KEDA, and nobody who acts on them."""
    with keda_kinds(cluster, ensure_source(KEDA_KINDS)):
        yield


@pytest.fixture(scope="module")
def keda(control_plane: ControlPlane) -> Iterator[Keda]:
    """KEDA at work, for all tests of a module."""
    with control_plane.network.entered(), keda_running(control_plane, ensure_source(KEDA_KINDS)) as keda:
        yield keda


@pytest.fixture
def kubeconfig(cluster: ControlPlane) -> Path:
    """The way in as the ServiceAccount that is deployed."""
    return admitted(cluster)


@pytest.fixture
def world(tenant: Tenant) -> World:
    """What a test of the controller's process sees."""
    return World(tenant)


@pytest.fixture
def emulator(cluster: ControlPlane, tenant: Tenant) -> Iterator[Emulator]:
    """The servers of the chat service."""
    with emulating([emulated_service()], kubeconfig=cluster.kubeconfig, namespace=tenant.namespace) as emulator:
        yield emulator


@pytest.fixture
def scraped(cluster: ControlPlane, tenant: Tenant, start_prometheus: StartPrometheus) -> None:
    """Prometheus reads the tenant's servers every second."""
    start_prometheus(scrape_configuration(cluster.kubeconfig, every_s=1, namespace=tenant.namespace))


@pytest.fixture
def start(kubeconfig: Path, tenant: Tenant, tmp_path: Path) -> Iterator[Start]:
    """Starts a controller; all are ended with the test."""
    with contextlib.ExitStack() as running:

        def begin(name: str = "first", **settings: str) -> Controller:
            return running.enter_context(controlling(kubeconfig, tenant.namespace, tmp_path / name, **settings))

        yield begin
