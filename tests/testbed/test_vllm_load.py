"""The clients, against a server that streams as vLLM does, and one that breaks off."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import Context
from typing import TypeVarTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from testbed.vllm.load import Load, Record, Stream, loading
from testbed.waiting import wait_for

Arguments = TypeVarTuple("Arguments")


def piece(text: str) -> dict[str, object]:
    return {"choices": [{"text": text, "finish_reason": None}]}


def usage(tokens: int) -> dict[str, object]:
    return {"choices": [], "usage": {"prompt_tokens": 54, "completion_tokens": tokens}}


def stream_of(*events: tuple[float, dict[str, object] | None], asked: int) -> Stream:
    record = Record(100.0)
    for at_s, event in events:
        record.take(event, at_s)
    return record.ended(events[-1][0] if events else 100.0, asked)


def test_a_whole_stream_has_its_first_token_and_a_gap_for_each_other() -> None:
    found = stream_of(
        (100.5, piece("a")), (100.6, piece("b")), (100.8, piece("c")), (100.8, usage(3)), (100.8, None), asked=3
    )

    assert found.cut == ""
    assert found.first_token_s == pytest.approx(0.5)
    assert found.gaps_s == pytest.approx((0.1, 0.2))
    assert (found.prompt_tokens, found.tokens) == (54, 3)


def test_tokens_that_come_together_share_the_time() -> None:
    found = stream_of((100.5, piece("a")), (100.9, piece("bc")), (100.9, usage(3)), (100.9, None), asked=3)

    assert found.gaps_s == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize(
    "events",
    [
        [(100.5, piece("a"))],
        [(100.5, piece("a")), (100.6, piece("b")), (100.7, piece("c"))],
        [(100.5, piece("a")), (100.6, usage(1)), (100.6, None)],
    ],
    ids=["in the middle", "before its end is said", "shorter than asked"],
)
def test_a_stream_that_lacks_anything_is_cut(events: list[tuple[float, dict[str, object] | None]]) -> None:
    assert "of 3 tokens" in stream_of(*events, asked=3).cut


def test_an_error_in_a_stream_is_told() -> None:
    found = stream_of((100.5, piece("a")), (100.6, {"error": "aborted"}), asked=3)

    assert found.cut == "after 1 tokens: aborted"


async def whole(request: web.Request) -> web.StreamResponse:
    asked = (await request.json())["max_tokens"]
    answer = web.StreamResponse()
    await answer.prepare(request)
    for event in [*(piece("x") for _ in range(asked)), usage(asked)]:
        await answer.write(f"data: {json.dumps(event)}\n\n".encode())
    await answer.write(b"data: [DONE]\n\n")
    return answer


async def broken(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(f"data: {json.dumps(piece('x'))}\n\n".encode())
    assert request.transport is not None
    request.transport.abort()
    return answer


async def refusing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="no server")


Serve = Callable[[web.Request], object]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., object]]:
    servers: list[TestServer] = []

    async def begin(what: Serve) -> str:
        app = web.Application()
        app.router.add_post("/v1/completions", what)  # type: ignore[arg-type]
        servers.append(TestServer(app))
        await servers[-1].start_server()
        return str(servers[-1].make_url("")).rstrip("/")

    yield begin
    for server in servers:
        await server.close()


@pytest.mark.parametrize(
    ("what", "cut"), [(whole, ""), (broken, "after 1 of 5 tokens"), (refusing, "answered 503: no server")]
)
async def test_clients_say_what_became_of_each_request(serve: Callable[..., object], what: Serve, cut: str) -> None:
    address = await serve(what)  # type: ignore[misc]

    def some_streams() -> list[Stream]:
        with loading(address, "tiny") as load:
            load.set_clients(2, answer_tokens=5)
            wait_for("four streams", lambda: len(load.streams()) >= 4)
        assert load.at_work() == 0
        return load.streams()

    found = await asyncio.to_thread(some_streams)
    assert len(found) >= 4
    assert all(each.cut.startswith(cut) and bool(each.cut) == bool(cut) for each in found)


async def test_clients_that_are_at_rest_end_too(serve: Callable[..., object]) -> None:
    address = await serve(whole)  # type: ignore[misc]

    def some_streams() -> list[Stream]:
        with loading(address, "tiny") as load:
            load.set_clients(1, answer_tokens=5)
            wait_for("a stream", load.streams)
            load.set_clients(0, answer_tokens=5)
            wait_for("rest", load.at_work, lambda clients: clients == 0)
        return load.streams()

    assert await asyncio.to_thread(some_streams)


class Meanwhile(asyncio.SelectorEventLoop):
    """A loop that is given the time to do all it can after its ``calls``-th call from the test's thread."""

    def __init__(self, calls: int, let_go: Callable[[], object]) -> None:
        super().__init__()
        self._left, self._let_go = calls, let_go

    def call_soon_threadsafe(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        called = super().call_soon_threadsafe(callback, *args, context=context)
        self._left -= 1
        if self._left == 0:
            self._let_go()
            wait_for("the end of the clients", self.is_closed)
        return called


async def test_the_last_client_may_end_while_the_clients_are_being_stopped(
    serve: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    async def held(request: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(let_go.wait, 30.0)
        return await whole(request)

    address = await serve(held)  # type: ignore[misc]
    # The first call has a client begin, and the second ends it all.
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: Meanwhile(2, let_go.set))

    def one_stream() -> list[Stream]:
        load = Load(address, "tiny")
        load.start()
        load.set_clients(1, answer_tokens=5)
        wait_for("a stream", lambda: load.at_work() == 1)
        load.stop()
        return load.streams()

    (found,) = await asyncio.to_thread(one_stream)
    assert found.cut == ""
