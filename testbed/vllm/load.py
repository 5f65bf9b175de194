"""Clients that stream completions, one after the other each, and time what they get: TTFT and the time between tokens.

The model has one token to a character (model.py), so a piece of text says how many tokens came with it.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Any, Final

import aiohttp

from scaler.adapters.clock import SystemClock
from testbed.vllm.model import SPECIALS

PROMPT: Final = (
    "What does one replica of a language model carry, how long does it load, and how many of them "
    "does a service need at this hour?"
)
"""Each request has its number before this, so that no two share a prefix which the engine would keep."""

UNSPEAKABLE: Final = {str(number): -100.0 for number in range(len(SPECIALS))}
"""The model's tokens that are no text are never chosen, or an answer would have fewer characters than tokens."""

EVENT: Final = b"data: "
STREAM_MOST_S: Final = 600.0
"""A stream that takes longer counts as cut."""

CONNECT_S: Final = 30.0
ENDS_WITHIN_S: Final = STREAM_MOST_S + 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One request and what came of it; ``cut`` says why it did not end whole, empty where it did.

    Times are seconds since 1970. ``gaps_s`` has one entry for each token after the first.
    """

    began_at_s: float
    ended_at_s: float
    first_token_s: float | None = None
    gaps_s: tuple[float, ...] = ()
    prompt_tokens: int = 0
    tokens: int = 0
    cut: str = ""


class Load:
    """So many clients against ``address``; it runs in a thread, in the network that `start` is called in."""

    def __init__(self, address: str, model: str) -> None:
        self._address = f"{address}/v1/completions"
        self._model = model
        self._clients = 0
        self._answer_tokens = 1
        self._streams: list[Stream] = []
        self._at_work: dict[int, asyncio.Task[None]] = {}
        self._numbers = count()
        self._clock = SystemClock()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begin, without clients."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the last stream has ended."""
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(ENDS_WITHIN_S)

    def set_clients(self, clients: int, *, answer_tokens: int) -> float:
        """Have so many clients, each asking for so long answers; when that was. What is under way ends as begun."""
        self._clients, self._answer_tokens = clients, answer_tokens
        self._loop.call_soon_threadsafe(self._changed.set)
        return self._clock.now_s()

    def streams(self) -> list[Stream]:
        """All streams that have ended so far."""
        return list(self._streams)

    def at_work(self) -> int:
        """The clients that are in the middle of a stream."""
        return len(self._at_work)

    def _end(self) -> None:
        # All in one call: a client that ends between two would close the loop, and the second would find no loop.
        self._clients = 0
        self._over.set()
        self._changed.set()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        timeout = aiohttp.ClientTimeout(total=STREAM_MOST_S, sock_connect=CONNECT_S)
        # A connection for each request, as from many users: the gateway then picks a replica anew each time.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as group:
            while not self._over.is_set():
                self._changed.clear()
                for number in range(self._clients):
                    if number not in self._at_work:
                        self._at_work[number] = group.create_task(self._client(number, session))
                await self._changed.wait()

    async def _client(self, number: int, session: aiohttp.ClientSession) -> None:
        try:
            while number < self._clients:
                self._streams.append(await self._stream(session))
        finally:
            del self._at_work[number]
            self._changed.set()

    async def _stream(self, session: aiohttp.ClientSession) -> Stream:
        tokens = self._answer_tokens
        body = {
            "model": self._model,
            "prompt": f"{next(self._numbers):06d} {PROMPT}",
            "max_tokens": tokens,
            "ignore_eos": True,
            "logit_bias": UNSPEAKABLE,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        record = Record(self._clock.now_s())
        try:
            async with session.post(self._address, json=body) as answer:
                if answer.status != HTTPStatus.OK:
                    record.cut = f"answered {answer.status}: {await answer.text()}"
                async for event in events(answer):
                    record.take(event, self._clock.now_s())
        except (aiohttp.ClientError, TimeoutError) as error:
            record.cut = f"after {record.tokens} of {tokens} tokens: {error!r}"
        return record.ended(self._clock.now_s(), tokens)


class Record:
    """A stream as it comes in."""

    def __init__(self, began_at_s: float) -> None:
        self.began_at_s = began_at_s
        self.tokens = 0
        self.cut = ""
        self._first_at_s: float | None = None
        self._last_at_s = began_at_s
        self._gaps_s: list[float] = []
        self._usage: dict[str, int] = {}
        self._is_done = False

    def take(self, event: dict[str, Any] | None, at_s: float) -> None:
        """Take in an event, None for the one that says that there are no more."""
        if event is None:
            self._is_done = True
            return
        self._usage = event.get("usage") or self._usage
        if "error" in event:
            self.cut = f"after {self.tokens} tokens: {event['error']}"
        new = sum(len(choice["text"]) for choice in event.get("choices", ()))
        if new and self._first_at_s is None:
            self._first_at_s = at_s
            self._gaps_s += [0.0] * (new - 1)
        elif new:
            self._gaps_s += [(at_s - self._last_at_s) / new] * new
        self.tokens += new
        self._last_at_s = at_s

    def ended(self, at_s: float, asked: int) -> Stream:
        """The whole of it, which should have been ``asked`` tokens."""
        is_whole = self._is_done and self.tokens == self._usage.get("completion_tokens") == asked
        return Stream(
            began_at_s=self.began_at_s,
            ended_at_s=at_s,
            first_token_s=None if self._first_at_s is None else self._first_at_s - self.began_at_s,
            gaps_s=tuple(self._gaps_s),
            prompt_tokens=self._usage.get("prompt_tokens", 0),
            tokens=self.tokens,
            cut=self.cut or ("" if is_whole else f"ended after {self.tokens} of {asked} tokens"),
        )


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any] | None]:
    """The events of a stream, None for the last one."""
    async for line in answer.content:
        if line.startswith(EVENT):
            text = line.removeprefix(EVENT).strip()
            yield None if text == b"[DONE]" else json.loads(text)


@contextmanager
def loading(address: str, model: str) -> Iterator[Load]:
    """Clients for the length of a ``with``, none at first; the last streams end before it does."""
    load = Load(address, model)
    load.start()
    try:
        yield load
    finally:
        load.stop()
