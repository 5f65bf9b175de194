from collections.abc import AsyncIterator

import pytest

from scaler.adapters.prometheus import Account, PrometheusSignals, Server
from scaler.runtime.signals import Answered, Asked
from tests.adapters.prometheus.fake_api import AT_S, FakePrometheus, serving


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
