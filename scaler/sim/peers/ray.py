"""Ray Serve's default policy: ongoing requests over a look-back, and a wish that must last before it is followed.

Constants are the defaults of AutoscalingConfig (reference/peers.md, 7).
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Final

from scaler.sim.peers.peer import Peer, in_flight
from scaler.sim.view import View

LOOK_BACK_S: Final = 30.0
UP_DELAY_S: Final = 30.0
DOWN_DELAY_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RayServe(Peer):
    """``threshold`` is target_ongoing_requests, 2 by default."""

    name: ClassVar[str] = "ray-serve"
    sweep: ClassVar[tuple[float, ...]] = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 90, 128)

    threshold: float = 2.0

    def autoscaler(self) -> "RayServeScaler":
        """One that has seen nothing yet."""
        return RayServeScaler(self)


class RayServeScaler:
    """See `RayServe`. The delays are of time, where Ray counts its ticks of 0.1 s."""

    def __init__(self, peer: RayServe) -> None:
        self._peer = peer
        self._seen: deque[tuple[float, float]] = deque()
        self._direction = 0
        self._since_s = 0.0

    def replicas(self, view: View) -> int:
        """How many to have from now on."""
        wanted = self._peer.bounds.held(math.ceil(self._ongoing(view) / self._peer.threshold))
        direction = (wanted > view.requested) - (wanted < view.requested)
        if direction != self._direction:
            self._direction, self._since_s = direction, view.at_s
        delay_s = UP_DELAY_S if direction > 0 else DOWN_DELAY_S
        if not direction or view.at_s - self._since_s < delay_s:
            return view.requested
        self._direction = 0
        return wanted

    def _ongoing(self, view: View) -> float:
        """The mean over the look-back of all requests in flight."""
        self._seen.append((view.at_s, in_flight(view)))
        while self._seen[0][0] <= view.at_s - LOOK_BACK_S:
            self._seen.popleft()
        return sum(count for _, count in self._seen) / len(self._seen)
