"""One budget for all requests: so many a second, and none while the API server has asked us to stay away."""

from dataclasses import dataclass, field

from asyncio_throttle.throttler import Throttler

from scaler.runtime.ports import Clock


@dataclass(slots=True, kw_only=True)
class Budget:
    """Lets ``per_second`` requests through in any second. ``clock`` is a steady one."""

    clock: Clock
    per_second: int
    _throttle: Throttler = field(init=False)
    _closed_until_s: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self._throttle = Throttler(rate_limit=self.per_second)

    async def admit(self) -> None:
        """Return when a request may be sent."""
        while self.clock.now_s() < self._closed_until_s:
            await self.clock.wait_until(self._closed_until_s)
        await self._throttle.acquire()  # type: ignore[no-untyped-call]  # it has types only in part

    def close_for(self, seconds: float) -> None:
        """Send nothing for so long. The server refuses a caller, not a request: all of ours stay away."""
        self._closed_until_s = max(self._closed_until_s, self.clock.now_s() + seconds)
