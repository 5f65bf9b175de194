"""The only module that reads a clock."""

import asyncio
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's own time, in seconds since 1970."""

    def now_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def wait_until(self, at_s: float) -> None:
        """Return after the seconds that are left until ``at_s`` now, whatever the wall clock is set to meanwhile."""
        await asyncio.sleep(max(0.0, at_s - self.now_s()))


@dataclass(frozen=True, slots=True)
class SteadyClock:
    """A clock that is never set, for durations: only differences of its readings mean something."""

    def now_s(self) -> float:
        """Seconds since some moment that stays the same while the process lives."""
        return time.monotonic()

    async def wait_until(self, at_s: float) -> None:
        """Return when ``now_s()`` has reached ``at_s``; others get their turn even when it has already."""
        await asyncio.sleep(max(0.0, at_s - self.now_s()))


@dataclass(slots=True, kw_only=True)
class AcceleratedClock:
    """A clock that starts at ``start_s`` and runs ``speed`` times as fast as the machine's, for whoever waits for it.

    Its time passes only in waits, and stands at what was waited for: work between them takes no time on it. So a run
    on it comes out the same on a slow machine, only later.
    """

    start_s: float
    speed: float
    _made_at_s: float = field(default_factory=time.monotonic)
    _at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._at_s = self.start_s

    def now_s(self) -> float:
        """Seconds of the accelerated time."""
        return self._at_s

    async def wait_until(self, at_s: float) -> None:
        """Return when ``at_s`` has come; others get their turn even when it has already."""
        due_at_s = self._made_at_s + (at_s - self.start_s) / self.speed
        await asyncio.sleep(max(0.0, due_at_s - time.monotonic()))
        self._at_s = max(self._at_s, at_s)
