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


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratedClock:
    """A clock that starts at ``start_s`` when it is made, and runs ``speed`` times as fast as the machine's."""

    start_s: float
    speed: float
    _made_at_s: float = field(default_factory=time.monotonic)

    def now_s(self) -> float:
        """Seconds of the accelerated time."""
        return self.start_s + (time.monotonic() - self._made_at_s) * self.speed

    async def wait_until(self, at_s: float) -> None:
        """Return when ``now_s()`` has reached ``at_s``; others get their turn even when it has already."""
        await asyncio.sleep(max(0.0, at_s - self.now_s()) / self.speed)
