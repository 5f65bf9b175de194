"""Pods come and go, and replicas with them; on the loopback, whose addresses stand for pods'."""

import os
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.state import Fate
from scaler.sim.trace import shipped
from testbed.emulator.arrivals import Poisson, steady
from testbed.emulator.emulation import Emulation, Timeline
from testbed.emulator.faults import Fault
from testbed.emulator.fleet import Service
from testbed.emulator.pods import Pod
from testbed.emulator.server import PORT
from testbed.waiting import wait_for

OURS = f"127.{128 + os.getpid() // 256 % 64}.{os.getpid() % 256}"  # so that two runs on a machine do not meet
HERE = f"{OURS}.1"
GENERATED = "vllm:generation_tokens_total"
SPEED = 200.0


def pod_of(
    name: str = "one", *, engine: str | None = "one/0", service: str = "llama", is_ready: bool = True, last: int = 1
) -> Pod:
    return Pod(
        name=f"models/{name}",
        service=service,
        version="",
        address=f"{OURS}.{last}",
        engine=engine,
        is_ready=is_ready,
        is_leaving=False,
    )


@pytest.fixture
async def emulation() -> AsyncIterator[Emulation]:
    arrivals = Poisson(steady(10.0), shipped(), seed=1)
    service = Service(name="llama", model="llama", engines={"": LLAMA_8B_H100}, arrivals=arrivals, holds=True)
    emulation = Emulation([service], Timeline(SPEED), seed=1)
    await emulation.doors.start()
    yield emulation
    await emulation.doors.stop()


async def page_at(address: str = HERE) -> str:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client,
        client.get(f"http://{address}:{PORT}/metrics", raise_for_status=True) as answer,
    ):
        return await answer.text()


def generated_in(page: str) -> float:
    found = re.search(rf"^{GENERATED}{{.*}} (\S+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def generated(emulation: Emulation) -> int:
    return sum(reading.generation_tokens for reading in emulation.readings().values())


async def test_a_started_pod_answers_and_serves(emulation: Emulation) -> None:
    await emulation.settle({"one": pod_of()})

    wait_for("tokens", lambda: generated(emulation))

    assert generated_in(await page_at()) > 0


@pytest.mark.parametrize("pod", [pod_of(engine=None), pod_of(service="another")], ids=["loading", "not ours"])
async def test_what_is_not_an_engine_of_ours_refuses(emulation: Emulation, pod: Pod) -> None:
    await emulation.settle({"one": pod})

    with pytest.raises(aiohttp.ClientConnectorError, match="Cannot connect"):
        await page_at()


async def test_a_started_pod_that_is_not_ready_answers_and_serves_nothing(emulation: Emulation) -> None:
    await emulation.settle({"one": pod_of(is_ready=False)})

    wait_for("requests at the gateway", lambda: emulation.sight("llama").held)

    assert generated_in(await page_at()) == 0


async def test_what_a_pod_serves_fails_when_it_is_gone(emulation: Emulation) -> None:
    await emulation.settle({"one": pod_of()})
    wait_for("work", lambda: emulation.sight("llama").running)

    await emulation.settle({})

    assert emulation.sight("llama").fates[Fate.FAILED] > 0
    with pytest.raises(aiohttp.ClientConnectorError, match="Cannot connect"):
        await page_at()


async def test_a_restart_begins_at_zero_at_the_same_address(emulation: Emulation) -> None:
    await emulation.settle({"one": pod_of()})
    wait_for("tokens", lambda: generated(emulation))

    await emulation.settle({"one": pod_of(engine="one/1", is_ready=False)})

    assert generated_in(await page_at()) == 0


async def test_an_address_may_be_used_again_at_once(emulation: Emulation) -> None:
    await emulation.settle({"one": pod_of()})

    await emulation.settle({"two": pod_of("two", engine="two/0")})

    assert list(emulation.readings()) == ["models/two"]
    assert generated_in(await page_at()) >= 0


async def test_a_fault_is_of_the_pods_that_it_is_told_of(emulation: Emulation) -> None:
    await emulation.settle({"one": pod_of(), "two": pod_of("two", engine="two/0", last=2)})

    emulation.set_fault(["models/one"], Fault.EMPTY)

    assert await page_at() == ""
    assert generated_in(await page_at(f"{OURS}.2")) >= 0

    emulation.set_fault(["models/one"], None)

    assert generated_in(await page_at()) >= 0


def test_a_faster_timeline_is_faster() -> None:
    timeline = Timeline(1000.0)

    assert wait_for("a hundred seconds", timeline.at_s, lambda at_s: at_s > 100.0, within_s=5.0) > 100.0
