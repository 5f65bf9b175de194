"""A fake API server for each test, and a client that found it through a kubeconfig."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from numpy.random import default_rng
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger

from scaler.adapters.clock import AcceleratedClock, SteadyClock
from scaler.adapters.kubernetes.budget import Budget
from scaler.adapters.kubernetes.client import Client
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.transport import from_kubeconfig
from scaler.runtime.ports import Clock
from tests.adapters.kubernetes.fake_api import FakeApi, serving, write_kubeconfig


@dataclass
class Caller:
    """A client of the fake, what it counted, and the way to make others like it."""

    client: Client
    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def hasty(self, timeout_s: float) -> Client:
        return replace(self.client, timeout_s=timeout_s)


@dataclass
class LeapingClock:
    """A clock that leaps to whatever is waited for, and stands still otherwise: hours pass at once, none by itself."""

    at_s: float = 0.0

    def now_s(self) -> float:
        return self.at_s

    async def wait_until(self, at_s: float) -> None:
        self.at_s = max(self.at_s, at_s)
        await SteadyClock().wait_until(0.0)


def quick(speed: float = 100.0) -> Clock:
    """A steady clock on which minutes of back-off pass in a second."""
    return AcceleratedClock(start_s=0.0, speed=speed)


def silent() -> FilteringBoundLogger:
    log: Any = CapturingLogger()
    return log  # type: ignore[no-any-return]  # it takes every call, which is all that is asked of a log


@asynccontextmanager
async def calling(server: str, folder: Path, clock: Clock | None = None, **client: Any) -> AsyncIterator[Caller]:
    transport = from_kubeconfig(write_kubeconfig(folder / "kubeconfig", server))
    counted: Counter[tuple[str, str, str]] = Counter()

    def count(verb: str, resource: str, status: str) -> None:
        counted[verb, resource, status] += 1

    budget = Budget(clock=clock or SteadyClock(), per_second=client.pop("per_second", 1000))
    settings = {"may_write": lambda: True, "timeout_s": 5.0, **client}
    try:
        yield Caller(client=Client(transport=transport, budget=budget, counted=count, **settings), requests=counted)
    finally:
        await transport.close()


@pytest.fixture
async def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def server(api: FakeApi) -> AsyncIterator[str]:
    async with serving(api) as server:
        yield server


@pytest.fixture
async def caller(server: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(server, tmp_path) as caller:
        yield caller


@pytest.fixture
def means(caller: Caller) -> Means:
    return Means(client=caller.client, clock=quick(), chance=default_rng(7), log=silent(), quiet_s=0.3)


async def until(claim: Callable[[], object], what: str, within_s: float = 20.0) -> None:
    """Return when ``claim`` holds; the real clock's deadline bounds it."""
    clock = SteadyClock()
    deadline_s = clock.now_s() + within_s
    while not claim():
        assert clock.now_s() < deadline_s, f"not within {within_s:g} s: {what}"
        await clock.wait_until(clock.now_s() + 0.005)


@asynccontextmanager
async def running(*works: Any) -> AsyncIterator[None]:
    """Coroutines at work while the test looks, ended afterwards; what they raise is the test's failure."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
        assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
