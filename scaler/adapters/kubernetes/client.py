"""The client: plain JSON in and out, within a budget and a deadline, and no exception but ours.

It repeats nothing. Informers and the loop know when to ask again; the client only keeps everyone away while the API
server has asked for that, and holds writes back that this process may not make.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeAlias

import aiohttp

from scaler.adapters.kubernetes.budget import Budget
from scaler.adapters.kubernetes.errors import BusyError, NotLeadingError, refusal
from scaler.adapters.kubernetes.paths import resource_of
from scaler.adapters.kubernetes.transport import Request, Transport, spoken
from scaler.runtime.ports import TransientError

Json: TypeAlias = dict[str, Any]

Counted = Callable[[str, str, str], None]
"""Told of every request: its verb, its resource, and the status it was answered with ("none" where there was no
answer)."""

PAGE: Final = 500
"""Objects asked for at once: at 2 kB a pod, a page is 1 MB and 15 ms of decoding."""

LONGEST_EVENT: Final = 16 * 2**20
"""Bytes of one watch event; the API server stores no object beyond some 1.5 MB."""

NO_QUERY: Final[Mapping[str, str]] = {}


class Patch(Enum):
    """How a patch is to be understood."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One event of a watch. ``kind`` is ADDED, MODIFIED, DELETED, BOOKMARK, or what a later server may say."""

    kind: str
    object: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Speaks to the API server. ``may_write`` is asked just before each write leaves."""

    transport: Transport
    budget: Budget
    counted: Counted
    may_write: Callable[[], bool]
    timeout_s: float = 15.0

    async def get(self, path: str, query: Mapping[str, str] = NO_QUERY) -> Json:
        """The object at ``path``."""
        return await self._call(Request(verb="get", method="GET", path=path, query=query))

    async def pages(self, path: str, query: Mapping[str, str] = NO_QUERY) -> AsyncIterator[Json]:
        """The list at ``path``, page by page, all of one resourceVersion. Raises GoneError when it got too old."""
        more: dict[str, str] = {}
        while True:
            asked = {**query, "limit": str(PAGE), **more}
            page = await self._call(Request(verb="list", method="GET", path=path, query=asked))
            yield page
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            more = {"continue": token}

    async def create(self, path: str, body: Json, query: Mapping[str, str] = NO_QUERY) -> Json:
        """The object as it was stored. Raises ConflictError where it is there already."""
        return await self._call(Request(verb="create", method="POST", path=path, query=query, body=body))

    async def replace(self, path: str, body: Json) -> Json:
        """The object as it was stored; its resourceVersion, if it has one, must be the stored one's."""
        return await self._call(Request(verb="update", method="PUT", path=path, body=body))

    async def patch(self, path: str, how: Patch, body: object, query: Mapping[str, str] = NO_QUERY) -> Json:
        """The object after the patch."""
        request = Request(verb="patch", method="PATCH", path=path, query=query, body=body, content_type=how.value)
        return await self._call(request)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """What the API server says of the deletion; the object may take its time."""
        return await self._call(Request(verb="delete", method="DELETE", path=path, body=body))

    async def watch(self, path: str, query: Mapping[str, str], quiet_s: float) -> AsyncGenerator[WatchEvent | None]:
        """None when the watch is open, then its events until the server ends it.

        Raises GoneError for a 410, whether it comes as the answer or as an event, and TransientError when nothing
        was heard for ``quiet_s``: a half-open connection looks like a quiet one, and bookmarks come every minute.
        """
        asked = {**query, "watch": "true", "allowWatchBookmarks": "true"}
        request = Request(verb="watch", method="GET", path=path, query=asked)
        with spoken(path):
            async with asyncio.timeout(self.timeout_s):
                response = await self._send(request)
        try:
            yield None
            async for line in _lines(path, response, quiet_s):
                yield _event(path, line)
        finally:
            cut(response)

    async def _call(self, request: Request) -> Json:
        with spoken(request.path):
            async with asyncio.timeout(self.timeout_s):
                response = await self._send(request)
                with closed(response):
                    body = await response.read()
        return _decoded(request.path, body)

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        """The head of a good answer; a bad one is raised."""
        await self.budget.admit()
        # Asked last of all: waiting for the budget may have taken longer than the lease lasts.
        if request.is_write and not self.may_write():
            raise NotLeadingError(f"{request.verb} {request.path}: held back, because this process does not lead")
        status = "none"
        try:
            response = await self.transport.send(request)
            status = str(response.status)
        finally:
            self.counted(request.verb, resource_of(request.path), status)
        if response.status >= HTTPStatus.BAD_REQUEST:
            await self._refuse(response)
        return response

    async def _refuse(self, response: aiohttp.ClientResponse) -> NoReturn:
        with closed(response):
            error = refusal(response.status, await response.read(), response.headers.get("Retry-After"))
        if isinstance(error, BusyError):
            self.budget.close_for(error.retry_after_s)
        raise error


@contextlib.contextmanager
def closed(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Give the connection back when the body has been read, and close it when that failed."""
    try:
        yield
    except BaseException:
        cut(response)
        raise
    response.release()


def cut(response: aiohttp.ClientResponse) -> None:
    """Close the connection at once, if it is still open: whoever does not answer would not say goodbye either."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def _lines(path: str, response: aiohttp.ClientResponse, quiet_s: float) -> AsyncIterator[bytes]:
    """The lines of a stream, cut by ourselves: the transport's own reader gives up on lines beyond its buffer."""
    rest = b""
    while chunk := await _chunk(path, response, quiet_s):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_EVENT:
            raise TransientError(f"{path}: an event of more than {LONGEST_EVENT} bytes")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        raise TransientError(f"{path}: the watch was cut off in the middle of an event")


async def _chunk(path: str, response: aiohttp.ClientResponse, quiet_s: float) -> bytes:
    with spoken(path):
        async with asyncio.timeout(quiet_s):
            return await response.content.readany()


def _event(path: str, line: bytes) -> WatchEvent:
    told = _decoded(path, line)
    kind, thing = told.get("type"), told.get("object")
    if not isinstance(kind, str) or not isinstance(thing, dict):
        raise TransientError(f"{path}: an event without a type or an object")
    if kind == "ERROR":
        code = thing.get("code")
        status = code if isinstance(code, int) else int(HTTPStatus.INTERNAL_SERVER_ERROR)
        raise refusal(status, _line_of(thing), None)
    return WatchEvent(kind=kind, object=thing)


def _line_of(thing: Json) -> bytes:
    """An object as the bytes that it came in."""
    return json.dumps(thing).encode()


def _decoded(path: str, body: bytes) -> Json:
    try:
        told = json.loads(body)
    except ValueError as error:
        raise TransientError(f"{path}: the answer is no whole JSON") from error
    if not isinstance(told, dict):
        raise TransientError(f"{path}: the answer is no JSON object")
    return told
