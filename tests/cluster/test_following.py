"""Following the real API server over connections that die without a word, and from versions that are gone."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest
import yaml

from scaler.adapters.kubernetes.errors import GoneError
from scaler.adapters.kubernetes.paths import path_to
from testbed.control_plane import ControlPlane
from testbed.parts import API_PORT, ETCD
from testbed.tenant import Tenant
from tests.cluster.test_kubernetes_adapter import add_policy, at_work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

QUIET_S: Final = 4.0
"""In place of 150 s. Watches that are well are cut by it too, for bookmarks come once a minute; that costs nothing."""


@dataclass
class Wire:
    """Passes bytes to the API server and back, until its connections are let die: open at both ends, and silent."""

    opened: int = 0
    dead: int = 0
    _ends: list[asyncio.StreamWriter] = field(default_factory=list)
    _passing: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", API_PORT)
        self._ends += [writer, server_writer]
        for one_way in (passed(reader, server_writer), passed(server_reader, writer)):
            self._passing.add(asyncio.ensure_future(one_way))

    def let_die(self) -> None:
        """Nothing passes any more on the connections that there are; new ones are as good as ever."""
        for task in self._passing:
            task.cancel()
        self._passing.clear()
        self.dead = self.opened

    def close(self) -> None:
        self.let_die()
        for end in self._ends:
            end.close()


async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def wired(kubeconfig: Path, folder: Path) -> AsyncIterator[tuple[Wire, Path]]:
    """A wire, and the way in that leads through it."""
    wire = Wire()
    server = await asyncio.start_server(wire.take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    told = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))  # noqa: ASYNC240 - nothing else runs yet
    told["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    path = folder / "through-the-wire.yaml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    try:
        yield wire, path
    finally:
        wire.close()
        server.close()


async def test_connections_that_die_without_a_word_are_noticed_and_replaced(
    tenant: Tenant, kubeconfig: Path, tmp_path: Path
) -> None:
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=1)
    async with wired(kubeconfig, tmp_path) as (wire, path), at_work(path, tenant, quiet_s=QUIET_S) as controller:
        await controller.fleet_when(lambda seen: seen.requested == 1 and len(seen.replicas) == 1)

        wire.let_die()
        tenant.scale("llama", 3)

        await controller.fleet_when(lambda seen: seen.requested == 3 and len(seen.replicas) == 3)
        assert wire.opened > wire.dead


def compact(revision: str) -> None:
    """Have the store forget all versions before this one, as it does every five minutes in a real cluster."""
    body = json.dumps({"revision": revision, "physical": True}).encode()
    with urlopen(f"{ETCD}/v3/kv/compaction", data=body, timeout=10.0) as answer:  # noqa: S310 - the address is ours
        assert answer.status == HTTPStatus.OK


async def test_versions_that_are_gone_after_a_restart_are_listed_anew(
    tenant: Tenant, kubeconfig: Path, cluster: ControlPlane
) -> None:
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=1)
    pods = path_to("v1", "pods", tenant.namespace)
    async with at_work(kubeconfig, tenant) as controller:
        await controller.fleet_when(lambda seen: len(seen.replicas) == 1)
        old: str = tenant.api.get(pods)["metadata"]["resourceVersion"]
        lists = controller.requests["list", "pods", "200"]
        tenant.add_deployment("other", replicas=1)
        compact(tenant.api.get(pods)["metadata"]["resourceVersion"])

        cluster.kill_part("kube-apiserver")
        # Not in a thread of its own: the part would end with the thread that started it.
        cluster.start_part("kube-apiserver")
        tenant.scale("llama", 3)

        await controller.fleet_when(lambda seen: seen.requested == 3 and len(seen.replicas) == 3, within_s=90.0)
        assert controller.requests["list", "pods", "200"] > lists
        with pytest.raises(GoneError):
            async for _ in controller.client.watch(pods, {"resourceVersion": old}, QUIET_S):
                pass
