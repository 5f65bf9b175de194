"""Following the emulated pods through the API: list, then watch, and again from the start when anything is odd."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from testbed.objects import is_true

SERVICE_LABEL: Final = "forebay.dev/emulates"
"""On a pod: the service whose replica it is."""

VERSION_LABEL: Final = "forebay.dev/version"
"""On a pod, optional: of which version of the service."""

Pause = Callable[[float], Awaitable[None]]
"""Lets so many seconds pass."""

RETRY_S: Final = 0.5
WATCH_S: Final = 60
"""So long a watch lasts; the API server ends it, and what it is silent for longer is a broken connection."""

FOR_A_WHILE: Final = {"timeoutSeconds": str(WATCH_S)}

MOST_BYTES: Final = 2**20
"""No pod is larger; a watch has one to a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What of a pod matters here. ``engine`` names one life of its container, None while there is none that serves."""

    name: str
    service: str
    version: str
    address: str
    engine: str | None
    is_ready: bool
    is_leaving: bool


Pods = Mapping[str, Pod]
"""All emulated pods by uid."""


class WatchError(Exception):
    """The watch cannot go on from where it was."""


def pod_of(raw: Mapping[str, Any]) -> Pod:
    """What matters of a pod as the API has it.

    The engine opens its port when the model is loaded, which is when kwok says that the container has started; real
    Kubernetes says so when the startup probe first got an answer.
    """
    metadata, status = raw["metadata"], raw.get("status", {})
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses", [])), {})
    restarts = container.get("restartCount", 0)
    return Pod(
        name=f"{metadata['namespace']}/{metadata['name']}",
        service=metadata["labels"][SERVICE_LABEL],
        version=metadata["labels"].get(VERSION_LABEL, ""),
        address=status.get("podIP", ""),
        engine=f"{metadata['uid']}/{restarts}" if container.get("started") else None,
        is_ready=is_true(raw, "Ready"),
        is_leaving="deletionTimestamp" in metadata,
    )


class PodWatch:
    """The emulated pods of one namespace, or of all with ``namespace`` "", as the caller of a kubeconfig sees them."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        stored = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = stored["clusters"][0]["cluster"], stored["users"][0]["user"]
        where = f"/namespaces/{namespace}" if namespace else ""
        self._address = f"{cluster['server']}/api/v1{where}/pods"
        self._headers = {"Authorization": f"Bearer {user['token']}"}
        self._trust = ssl.create_default_context(cafile=cluster["certificate-authority"])

    async def follow(self, pause: Pause) -> AsyncIterator[Pods]:
        """The pods, and again whenever they have changed; it outlives any failure of the API server."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=WATCH_S + 10)
        connector = aiohttp.TCPConnector(ssl=self._trust)
        async with aiohttp.ClientSession(
            connector=connector, headers=self._headers, read_bufsize=MOST_BYTES, timeout=timeout
        ) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, WatchError, json.JSONDecodeError):
                    async for pods in self._from_the_start(session):
                        yield pods
                await pause(RETRY_S)

    async def _from_the_start(self, session: aiohttp.ClientSession) -> AsyncIterator[Pods]:
        selected = {"labelSelector": SERVICE_LABEL}
        async with session.get(self._address, params=selected, raise_for_status=True) as answer:
            listed = await answer.json()
        pods: Pods = {raw["metadata"]["uid"]: pod_of(raw) for raw in listed["items"]}
        version = listed["metadata"]["resourceVersion"]
        yield pods
        while True:
            place = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "1", **FOR_A_WHILE}
            async with session.get(self._address, params=selected | place, raise_for_status=True) as answer:
                try:
                    async for line in answer.content:
                        pods, version = after(pods, json.loads(line))
                        yield pods
                finally:
                    cut(answer)


def cut(answer: aiohttp.ClientResponse) -> None:
    """Break off an answer that has not ended, for a polite end of TLS would outlive the event loop."""
    if answer.connection is not None and answer.connection.transport is not None:
        answer.connection.transport.abort()


def after(pods: Pods, event: Mapping[str, Any]) -> tuple[Pods, str]:
    """The pods after one event of a watch, and the version to go on from."""
    raw = event["object"]
    if event["type"] == "ERROR":
        raise WatchError(raw.get("message", "no message"))
    return changed(pods, event["type"], raw), raw["metadata"]["resourceVersion"]


def changed(pods: Pods, kind: str, raw: Mapping[str, Any]) -> Pods:
    """The pods after one of them has come, changed or gone; a bookmark says nothing of any."""
    if kind == "BOOKMARK":
        return pods
    uid = raw["metadata"]["uid"]
    others = {other: pod for other, pod in pods.items() if other != uid}
    return others if kind == "DELETED" else {**others, uid: pod_of(raw)}
