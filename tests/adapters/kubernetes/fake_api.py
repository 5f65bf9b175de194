"""An API server that behaves: a store with versions, paging, watches, bookmarks, and the ways in which it fails."""

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from tests.adapters.differences import merged

Json = dict[str, Any]

KINDS: Final = frozenset(
    {
        "pods", "nodes", "events", "deployments", "replicasets", "statefulsets", "scalingpolicies", "leases",
        "horizontalpodautoscalers", "leaderworkersets", "scaledobjects", "inferencegraphs", "customresourcedefinitions",
        "resourceclaims", "resourceclaimtemplates", "resourcequotas",
    }
)  # fmt: skip

Answer = Callable[[web.Request], web.StreamResponse | None]
"""A fault: answers a request in the server's place, or None to let it pass."""


@dataclass
class FakeApi:
    """Plain dictionaries by path; what a test sets of the fields below is how it misbehaves."""

    objects: dict[str, Json] = field(default_factory=dict)
    version: int = 100
    log: list[tuple[int, str, Json]] = field(default_factory=list)
    oldest: int = 0
    """Watches and lists from before this version are answered 410."""
    gone_as_event: bool = False
    close_watches_at_once: bool = False
    silent_watches: bool = False
    """Watches are opened, and then nothing comes: a half-open connection."""
    cut_next_event: bool = False
    is_hanging: bool = False
    """Requests are taken, and none is answered."""
    bookmark_every_s: float = 0.05
    faults: deque[Answer] = field(default_factory=deque)
    """Each answers one request, in order."""
    always: Answer | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[tuple[str, str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    watches: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    # --- What a test does to the world -------------------------------------------------------------------------

    def path(self, thing: Json, plural: str) -> str:
        metadata, api = thing["metadata"], thing.get("apiVersion", "v1")
        root = f"/apis/{api}" if "/" in api else f"/api/{api}"
        place = f"/namespaces/{metadata['namespace']}" if metadata.get("namespace") else ""
        return f"{root}{place}/{plural}/{metadata['name']}"

    async def put(self, plural: str, thing: Json) -> str:
        """Store an object as it is and tell the watches."""
        path = self.path(thing, plural)
        await self.store(path, thing)
        return path

    async def store(self, path: str, thing: Json) -> Json:
        self.version += 1
        metadata = thing.setdefault("metadata", {})
        metadata["resourceVersion"] = str(self.version)
        metadata.setdefault("uid", f"uid-{metadata['name']}")
        kind = "MODIFIED" if path in self.objects else "ADDED"
        self.objects[path] = thing
        await self._tell(kind, path, thing)
        return thing

    async def remove(self, path: str) -> None:
        self.version += 1
        thing = self.objects.pop(path)
        gone = {**thing, "metadata": {**thing["metadata"], "resourceVersion": str(self.version)}}
        await self._tell("DELETED", path, gone)

    def lose_history(self) -> None:
        """As after a compaction: no watch can go on from where it was."""
        self.version += 1
        self.oldest = self.version

    async def _tell(self, kind: str, path: str, thing: Json) -> None:
        self.log.append((self.version, path, {"type": kind, "object": json.loads(json.dumps(thing))}))
        async with self._changed:
            self._changed.notify_all()

    # --- Requests -----------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        self.counts[request.method] += 1
        if self.is_hanging:
            await self.ending.wait()
        fault = self.always or (self.faults.popleft() if self.faults else None)
        answered = fault(request) if fault is not None else None
        if answered is not None:
            return answered
        match request.method:
            case "GET":
                return await self._get(request)
            case "POST":
                return await self._create(request)
            case "PUT":
                return await self._replace(request)
            case "PATCH":
                return await self._patch(request)
            case _:
                return await self._delete(request)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if not is_list(request.path):
            thing = self._one(request.path)
            return failure(404, f"{request.path} not found") if thing is None else web.json_response(thing)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        return self._list(request)

    def _one(self, path: str) -> Json | None:
        if path.endswith("/scale") and (of := self.objects.get(path.removesuffix("/scale"))) is not None:
            return scale_of(of)
        return self.objects.get(path.removesuffix("/status"))

    def _list(self, request: web.Request) -> web.Response:
        found = sorted(path for path in self.objects if lists(request.path, path))
        start, version = 0, self.version
        if token := request.query.get("continue"):
            start, version = (int(part) for part in token.split(":"))
            if version < self.oldest:
                return failure(410, "The provided continue parameter is too old")
        limit = int(request.query.get("limit", "0")) or len(found) or 1
        page = [self.objects[path] for path in found[start : start + limit]]
        metadata = {"resourceVersion": str(version)}
        if start + limit < len(found):
            metadata["continue"] = f"{start + limit}:{version}"
        return web.json_response({"kind": "List", "metadata": metadata, "items": page})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        self.watches += 1
        if since < self.oldest and not self.gone_as_event:
            return failure(410, f"too old resource version: {since}")
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        if since < self.oldest:
            await send(response, {"type": "ERROR", "object": status(410, f"too old resource version: {since}")})
            return response
        if self.close_watches_at_once:
            return response
        with contextlib.suppress(ConnectionError):
            await self._stream(request, response, since)
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, since: int) -> None:
        at = since
        while not self.ending.is_set():
            for version, path, event in list(self.log):
                if version <= at or not lists(request.path, path) or self.silent_watches:
                    continue
                at = version
                if self.cut_next_event:
                    self.cut_next_event = False
                    await response.write(json.dumps(event).encode()[:20])
                    return
                await send(response, event)
            if not self.silent_watches:
                bookmark = {"metadata": {"resourceVersion": str(self.version)}}
                await send(response, {"type": "BOOKMARK", "object": bookmark})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.bookmark_every_s), self._changed:
                    await self._changed.wait()

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(("POST", request.path, body))
        path = f"{request.path}/{body['metadata']['name']}"
        if path in self.objects:
            return failure(409, f"{body['metadata']['name']} already exists")
        return web.json_response(await self.store(path, body), status=201)

    async def _replace(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(("PUT", request.path, body))
        stored = self.objects.get(request.path)
        if stored is None:
            return failure(404, f"{request.path} not found")
        if body["metadata"].get("resourceVersion", "") not in {"", stored["metadata"]["resourceVersion"]}:
            return failure(409, "the object has been modified; please apply your changes to the latest version")
        return web.json_response(await self.store(request.path, body))

    async def _patch(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(("PATCH", request.path, body))
        path = request.path.removesuffix("/scale").removesuffix("/status")
        thing = self.objects.get(path)
        if "apply" in request.content_type and path == request.path:
            return await self._apply(request, thing, body)
        if thing is None:
            return failure(404, f"{path} not found")
        try:
            changed = patched(json.loads(json.dumps(thing)), body)
        except ValueError as error:
            return failure(422, str(error))
        await self.store(path, changed)
        return web.json_response(scale_of(changed) if request.path.endswith("/scale") else changed)

    async def _apply(self, request: web.Request, thing: Json | None, body: Json) -> web.Response:
        """Makes or changes an object that no one else has; by force it is taken from whoever has it."""
        if thing is None:
            body["metadata"]["generation"] = 1
            return web.json_response(await self.store(request.path, body), status=201)
        if request.query.get("force") != "true":
            return failure(409, "Apply failed with 1 conflict: conflict with another manager")
        changed = patched(json.loads(json.dumps(thing)), body)
        changed["metadata"]["generation"] += changed.get("spec") != thing.get("spec")
        return web.json_response(await self.store(request.path, changed))

    async def _delete(self, request: web.Request) -> web.Response:
        if request.path not in self.objects:
            return failure(404, f"{request.path} not found")
        await self.remove(request.path)
        return web.json_response(status(200, ""))

    async def end(self) -> None:
        self.ending.set()
        async with self._changed:
            self._changed.notify_all()


def patched(thing: Json, body: Any) -> Json:
    """A JSON patch of "test" and "replace"/"add", or a merge patch (which will do for an applied one)."""
    if isinstance(body, dict):
        return merged(thing, {key: value for key, value in body.items() if key not in {"apiVersion", "kind"}})
    for step in body:
        *way, last = step["path"].strip("/").split("/")
        place = thing
        for part in way:
            place = place.setdefault(part, {})
        if step["op"] != "test":
            place[last] = step["value"]
        elif place.get(last) != step["value"]:
            raise ValueError(f"testing value {step['path']} failed")
    return thing


def scale_of(thing: Json) -> Json:
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": thing["metadata"],
        "spec": {"replicas": thing.get("spec", {}).get("replicas", 0)},
        "status": {"replicas": thing.get("status", {}).get("replicas", 0), "selector": "app=x"},
    }


def is_list(path: str) -> bool:
    return path.rsplit("/", 1)[-1] in KINDS


def lists(collection: str, path: str) -> bool:
    """Whether the object at ``path`` is in the list at ``collection``, which may be of all namespaces."""
    parent, plural = path.rsplit("/", 2)[0], path.rsplit("/", 2)[1]
    root = parent.split("/namespaces/", 1)[0]
    return collection in {f"{parent}/{plural}", f"{root}/{plural}"}


def status(code: int, message: str) -> Json:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def failure(code: int, message: str, retry_after: str | None = None) -> web.Response:
    headers = None if retry_after is None else {"Retry-After": retry_after}
    return web.json_response(status(code, message), status=code, headers=headers)


async def send(response: web.StreamResponse, event: Json) -> None:
    await response.write(json.dumps(event).encode() + b"\n")


@contextlib.asynccontextmanager
async def serving(api: FakeApi, port: int = 0) -> AsyncIterator[str]:
    """The address at which ``api`` answers."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, bound = runner.addresses[0][:2]
        yield f"http://{host}:{bound}"
    finally:
        await api.end()
        await runner.cleanup()


def write_kubeconfig(path: Path, server: str, token: str = "a-token") -> Path:  # noqa: S107 - it opens nothing
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "caller"}}],
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "caller", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return path


def numbered(count: int) -> Iterator[Json]:
    """Pods p0000, p0001, …"""
    for index in range(count):
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "models", "name": f"p{index:04}"}}
