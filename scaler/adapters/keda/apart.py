"""An event loop in a thread of its own, so that whoever asks need not wait for a tick of the loop that decides."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Apart:
    """Runs from its making until ``close()``. What it works on belongs to its thread alone."""

    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: Thread = field(init=False)

    def __post_init__(self) -> None:
        thread = Thread(target=self._loop.run_forever, name="answers", daemon=True)
        object.__setattr__(self, "_thread", thread)  # the way to set a field of a frozen value while it is made
        thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns or raises, once it has been done there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Have ``call`` called there; calls keep their order."""
        self._loop.call_soon_threadsafe(call, *arguments)

    async def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()
