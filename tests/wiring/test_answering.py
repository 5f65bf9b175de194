"""Replicas of one controller, which all answer KEDA from what is stored."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError
from numpy.random import default_rng
from prometheus_client import CollectorRegistry

from scaler.adapters.clock import SteadyClock, SystemClock
from scaler.adapters.keda.external_scaler_pb2_grpc import ExternalScalerStub
from scaler.adapters.kubernetes.cluster import cluster_of
from scaler.adapters.kubernetes.election import Elector, Post, Terms
from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.adapters.telemetry import Telemetry
from scaler.runtime.board import Board
from scaler.settings import settings_from
from scaler.wiring.answering import Answering, answering
from scaler.wiring.errors import UserError
from tests.adapters.keda.asking import connected, question, ref, replicas, stub
from tests.adapters.kubernetes.conftest import Caller, calling, running, silent, until
from tests.adapters.kubernetes.fake_api import FakeApi, serving
from tests.adapters.kubernetes.followed import policy

pytestmark = pytest.mark.slow  # each starts a process that answers

QUICK = Terms(lease_s=15.0, renew_within_s=10.0, retry_s=0.1, stop_within_s=2.0)
"""Tried for often; a lease that was given back need not run out, so a busy machine loses none by its length."""

LISTENING = ("--keda-listen-on", "0", "--keda-listen-address", "127.0.0.1")


STARTS_WITHIN_S = 30.0
SILENT_S = 3.0
NEVER_SILENT_S = 300.0


@pytest.fixture
async def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def caller(api: FakeApi, tmp_path: Path) -> AsyncIterator[Caller]:
    async with serving(api) as server, calling(server, tmp_path) as caller:
        yield caller


@dataclass
class Replica:
    """One process' part in this: it follows, it may lead, and it answers."""

    elector: Elector
    answering: Answering
    registry: CollectorRegistry

    async def asked(self) -> float | StatusCode:
        """The count that it answers with, or the code with which it does not."""
        async with connected(self.answering.port) as channel:
            try:
                active = await stub(channel).IsActive(ref())
                count = replicas(await stub(channel).GetMetrics(question()))
            except AioRpcError as error:
                return error.code()
        assert active.result is (count > 0)
        return count

    def answers(self) -> float | None:
        """How many values it has told, by its metrics."""
        return self.registry.get_sample_value("forebay_keda_answers_total", {"rpc": "GetMetrics", "code": "OK"})


@asynccontextmanager
async def replica(
    caller: Caller, identity: str, *words: str, silent_s: float = NEVER_SILENT_S
) -> AsyncIterator[Replica]:
    client, clock, log = caller.client, SteadyClock(), silent()
    events = Events(client=client, log=log, instance=identity)
    means = Means(client=client, clock=clock, chance=default_rng(7), log=log)
    cluster = cluster_of(client, means, (), Reporter(client=client, events=events, log=log))
    elector = Elector(
        client=client,
        post=Post(namespace="forebay", name="forebay", identity=identity),
        wall=SystemClock(),
        steady=clock,
        chance=default_rng(len(identity)),
        log=log,
        terms=QUICK,
    )
    registry = CollectorRegistry()
    settings = settings_from([*LISTENING, *words])
    made = answering(settings, cluster, elector, Telemetry(registry, Board()), log)
    assert made is not None
    made.silent_s = silent_s
    await made.open()
    try:
        async with running(cluster.run(), made.run()):
            yield Replica(elector=elector, answering=made, registry=registry)
    finally:
        await made.close()


async def leading(elector: Elector) -> None:
    """Lead until cancelled, beating as the loop does."""

    async def work() -> None:
        while True:
            elector.beat(SystemClock().now_s())
            await elector.steady.wait_until(elector.steady.now_s() + 0.05)

    await elector.lead(work)


async def decide(api: FakeApi, count: int, **spec: Any) -> None:
    """What whoever leads would write."""
    status = {"versions": [{"name": "v1", "role": "Serve", "desired": count}]}
    await api.put("scalingpolicies", policy(spec={"actuation": "KEDA", **spec}, status=status))


async def all_answer(wanted: float | StatusCode, *asked: Replica) -> None:
    seen: list[float | StatusCode] = []

    async def look() -> bool:
        seen[:] = [await each.asked() for each in asked]
        return set(seen) == {wanted}

    async with asyncio.timeout(10.0):
        while not await look():
            await SteadyClock().wait_until(SteadyClock().now_s() + 0.02)


async def test_leader_and_followers_answer_alike_and_so_they_do_through_a_change_of_leaders(
    api: FakeApi, caller: Caller
) -> None:
    await decide(api, 20)
    async with replica(caller, "one") as one, replica(caller, "two") as two:
        first = asyncio.ensure_future(leading(one.elector))
        await until(one.elector.may_write, "a leader")
        second = asyncio.ensure_future(leading(two.elector))
        await all_answer(20, one, two)

        await decide(api, 21)
        await all_answer(21, one, two)

        first.cancel()
        await asyncio.wait({first})
        assert not one.elector.may_write()
        assert [await one.asked(), await two.asked()] == [21, 21]
        await until(two.elector.may_write, "the other leader")

        await decide(api, 19)
        await all_answer(19, two)
        second.cancel()
        await asyncio.wait({second})
        await until(lambda: (one.answers() or 0) > 0, "its counts")


async def test_before_anybody_led_nobody_is_told_a_count(api: FakeApi, caller: Caller) -> None:
    await decide(api, 20)
    async with replica(caller, "one") as one:
        assert await one.asked() is StatusCode.UNAVAILABLE


async def test_while_nothing_was_listed_a_policy_is_not_said_to_be_none(api: FakeApi, caller: Caller) -> None:
    api.is_hanging = True
    async with replica(caller, "one") as one:
        assert await one.asked() is StatusCode.UNAVAILABLE


async def test_a_policy_that_comes_goes_or_changes_hands_is_answered_so(api: FakeApi, caller: Caller) -> None:
    async with replica(caller, "one") as one, running(leading(one.elector)):
        await all_answer(StatusCode.NOT_FOUND, one)

        await decide(api, 3)
        await all_answer(3, one)

        path = api.path(policy(), "scalingpolicies")
        await api.remove(path)
        await all_answer(StatusCode.NOT_FOUND, one)


async def test_a_process_that_only_advises_gives_keda_no_count(api: FakeApi, caller: Caller) -> None:
    await decide(api, 3)
    async with replica(caller, "one", "--advise-only") as one, running(leading(one.elector)):
        await all_answer(StatusCode.FAILED_PRECONDITION, one)


async def test_an_answer_does_not_wait_for_a_tick(api: FakeApi, caller: Caller) -> None:
    await decide(api, 3)

    def ask() -> float:
        with grpc.insecure_channel(f"127.0.0.1:{one.answering.port}") as channel:
            return replicas(ExternalScalerStub(channel).GetMetrics(question(), timeout=10.0))

    async with replica(caller, "one") as one, running(leading(one.elector)):
        await all_answer(3, one)

        # The loop of this test, which is the one that decides, stands still until the answer is there.
        assert ThreadPoolExecutor(1).submit(ask).result(timeout=10.0) == 3


async def test_a_port_that_is_taken_is_a_sentence(api: FakeApi, caller: Caller) -> None:
    async with replica(caller, "one") as one:
        port = str(one.answering.port)
        with pytest.raises(UserError, match=f"--keda-listen-on {port}: 127.0.0.1:{port} cannot be listened on"):
            async with replica(caller, "two", "--keda-listen-on", port):
                pass
    assert not api.objects


async def test_a_certificate_that_cannot_be_used_is_a_sentence(caller: Caller) -> None:
    words = ("--keda-certificate-file", "nowhere.crt", "--keda-key-file", "nowhere.key")
    with pytest.raises(UserError, match=r"--keda-certificate-file: nowhere.crt: cannot be read"):
        async with replica(caller, "one", *words):
            pass


# --- The process that answers ------------------------------------------------------------------------------------


async def test_a_process_that_is_killed_has_a_successor_at_the_same_port(api: FakeApi, caller: Caller) -> None:
    await decide(api, 3)
    async with replica(caller, "one") as one, running(leading(one.elector)):
        await all_answer(3, one)
        made, port, first = one.answering, one.answering.port, one.answering.pid
        assert made.trouble() is None
        assert first is not None

        os.kill(first, signal.SIGKILL)
        await until(lambda: made.trouble() is not None, "its end to be noticed", within_s=STARTS_WITHIN_S)
        await decide(api, 4)
        await until(lambda: made.trouble() is None, "a successor", within_s=STARTS_WITHIN_S)

        await all_answer(4, one)
        assert (made.port, made.pid == first) == (port, False)


async def test_a_process_that_hangs_has_a_successor(api: FakeApi, caller: Caller) -> None:
    await decide(api, 3)
    async with replica(caller, "one", silent_s=SILENT_S) as one, running(leading(one.elector)):
        await all_answer(3, one)
        first = one.answering.pid
        assert first is not None

        os.kill(first, signal.SIGSTOP)
        await until(lambda: one.answering.pid not in {None, first}, "a successor", within_s=STARTS_WITHIN_S)

        await all_answer(3, one)


async def test_a_signal_for_all_of_us_is_left_to_the_one_that_ends_the_other(api: FakeApi, caller: Caller) -> None:
    await decide(api, 3)
    async with replica(caller, "one") as one, running(leading(one.elector)):
        await all_answer(3, one)
        first = one.answering.pid
        assert first is not None

        os.kill(first, signal.SIGINT)
        os.kill(first, signal.SIGTERM)

        await all_answer(3, one)
        assert one.answering.pid == first


async def test_a_process_that_ends_at_once_is_a_sentence(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(UserError, match=r"--keda-listen-on 0: the process that answers there ended at once \(1\)"):
        async with replica(caller, "one"):
            pass
