"""The emulated servers' ports, on the loopback: any address of 127/8 is as good as a pod's."""

import http
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from testbed.emulator.meters import Sleep
from testbed.emulator.server import PORT, Doors

OURS = f"127.{64 + os.getpid() // 256 % 64}.{os.getpid() % 256}"  # so that two runs on a machine do not meet
HERE = f"{OURS}.1"
THERE = f"{OURS}.2"


class Vllm:
    """A server whose page is its own address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sleep = Sleep.AWAKE

    def page(self) -> str:
        return self.address

    def set_sleep(self, sleep: Sleep) -> None:
        self.sleep = sleep


@pytest.fixture
def servers() -> dict[str, Vllm]:
    return {address: Vllm(address) for address in (HERE, THERE)}


@pytest.fixture
async def doors(servers: dict[str, Vllm]) -> AsyncIterator[Doors]:
    doors = Doors(lambda address: servers[address])
    await doors.start()
    await doors.open(HERE)
    yield doors
    await doors.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
        yield client


async def text_at(client: aiohttp.ClientSession, address: str, path: str = "/metrics") -> str:
    async with client.get(f"http://{address}:{PORT}{path}", raise_for_status=True) as answer:
        return await answer.text()


async def test_it_sees_who_is_asked_by_the_address(doors: Doors, client: aiohttp.ClientSession) -> None:
    await doors.open(THERE)

    assert [await text_at(client, HERE), await text_at(client, THERE)] == [HERE, THERE]


@pytest.mark.usefixtures("doors")
async def test_an_address_that_is_not_open_refuses(client: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientConnectorError, match="Cannot connect"):
        await text_at(client, THERE)


async def test_a_closed_address_refuses_again(doors: Doors, client: aiohttp.ClientSession) -> None:
    await doors.close(HERE)

    with pytest.raises(aiohttp.ClientConnectorError, match="Cannot connect"):
        await text_at(client, HERE)


@pytest.mark.usefixtures("doors")
async def test_a_connection_that_was_kept_to_a_replica_that_is_gone_breaks(
    client: aiohttp.ClientSession, servers: dict[str, Vllm]
) -> None:
    await text_at(client, HERE)
    del servers[HERE]

    with pytest.raises(aiohttp.ClientConnectionError):
        await text_at(client, HERE)


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize(
    ("query", "level"),
    [("", Sleep.WEIGHTS_OFFLOADED), ("?level=1", Sleep.WEIGHTS_OFFLOADED), ("?level=2", Sleep.DISCARD_ALL)],
)
async def test_it_sleeps_and_wakes_as_it_is_told(
    client: aiohttp.ClientSession, servers: dict[str, Vllm], query: str, level: Sleep
) -> None:
    async with client.post(f"http://{HERE}:{PORT}/sleep{query}", raise_for_status=True):
        assert servers[HERE].sleep is level
    assert await text_at(client, HERE, "/is_sleeping") == '{"is_sleeping": true}'

    async with client.post(f"http://{HERE}:{PORT}/wake_up", raise_for_status=True):
        assert servers[HERE].sleep is Sleep.AWAKE
    assert await text_at(client, HERE, "/is_sleeping") == '{"is_sleeping": false}'


@pytest.mark.usefixtures("doors")
async def test_another_level_of_sleep_is_refused(client: aiohttp.ClientSession, servers: dict[str, Vllm]) -> None:
    async with client.post(f"http://{HERE}:{PORT}/sleep?level=3") as answer:
        assert answer.status == http.HTTPStatus.BAD_REQUEST
    assert servers[HERE].sleep is Sleep.AWAKE
