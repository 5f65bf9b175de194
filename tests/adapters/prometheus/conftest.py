import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scaler.adapters.prometheus import Account, PrometheusSignals, Server
from scaler.runtime.signals import Answered, Asked
from testbed.build import BuildError, ensure_binaries
from testbed.commands import CommandError
from tests.adapters.prometheus.fake_api import AT_S, FakePrometheus, serving

REAL = pytest.StashKey[Path | str]()
"""Where a real Prometheus is, or why there is none."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test starts its clock: a first build takes minutes, a test's timeout does not."""
    wanted = any("real_prometheus" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        with session.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            session.config.stash[REAL] = installed_or_built()


def installed_or_built() -> Path | str:
    if (installed := shutil.which("prometheus")) is not None:  # Debian's package prometheus
        return Path(installed)
    try:
        return ensure_binaries(names=["prometheus"])["prometheus"]
    except (BuildError, CommandError) as error:
        return f"no Prometheus is installed, and none could be built: {error}"


@pytest.fixture(scope="session")
def real_prometheus(pytestconfig: pytest.Config) -> Path:
    """The program."""
    path = pytestconfig.stash[REAL]
    if isinstance(path, str):
        pytest.skip(path)
    return path


@pytest.fixture
async def prometheus() -> AsyncIterator[FakePrometheus]:
    async with serving(FakePrometheus()) as fake:
        yield fake


class Reader:
    """Signals read from ``prometheus``, with what was told beside the answers."""

    def __init__(self, *servers: Server, timeout_s: float = 30.0) -> None:
        self.outcomes: list[str] = []
        self.account = Account()
        self.signals = PrometheusSignals(servers, timeout_s=timeout_s, counted=self.outcomes.append, told=self._told)

    def _told(self, account: Account) -> None:
        self.account = account

    async def answer(self, ask: Asked, at_s: float = AT_S) -> Answered:
        return (await self.signals.read([ask], at_s))[ask.policy]


@pytest.fixture
async def reader(prometheus: FakePrometheus) -> AsyncIterator[Reader]:
    reader = Reader(Server(url=prometheus.url))
    yield reader
    reader.signals.close()
