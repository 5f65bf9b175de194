"""Knative's pod autoscaler: two windows over the requests in flight, the short one for panic.

Constants are Knative's defaults (reference/peers.md, 7; knative.dev on KPA-specific settings). Its tick of 2 s is the
simulator's here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from scaler.sim.peers.peer import Peer, in_flight
from scaler.sim.view import View

STABLE_WINDOW_S: Final = 60.0
PANIC_RATIO: Final = 2.0
UP_RATE: Final = 1000.0
DOWN_RATE: Final = 2.0
UTILISATION: Final = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Knative(Peer):
    """``threshold`` is the concurrency of a replica, of which 70 % is aimed at; 100 is the default."""

    name: ClassVar[str] = "knative"
    sweep: ClassVar[tuple[float, ...]] = (3, 6, 9, 12, 18, 24, 35, 50, 70, 100, 140, 200)

    threshold: float = 100.0

    def autoscaler(self) -> "KnativeScaler":
        """One that has seen nothing yet."""
        return KnativeScaler(self)


class KnativeScaler:
    """See `Knative`. It begins in panic at the count it finds, as Knative does after a restart."""

    def __init__(self, peer: Knative) -> None:
        self._peer = peer
        self._target = peer.threshold * UTILISATION
        self._panic_since_s: float | None = None
        self._panic_most = 0
        self._is_new = True

    def replicas(self, view: View) -> int:
        """How many to have from now on; what is asked for already when nobody has reported."""
        if not view.replicas and not view.gateway_waiting:
            return view.requested
        ready = max(len(view.replicas), 1)
        if self._is_new:
            self._is_new, self._panic_since_s, self._panic_most = False, view.at_s, ready
        wanted_now = math.ceil(in_flight(view) / self._target)
        if wanted_now >= PANIC_RATIO * ready:
            self._panic_since_s = view.at_s
        elif self._panic_since_s is not None and view.at_s - self._panic_since_s > STABLE_WINDOW_S:
            self._panic_since_s, self._panic_most = None, 0
        return self._peer.bounds.held(self._wanted(view, limited(wanted_now, ready), ready))

    def _wanted(self, view: View, wanted_now: int, ready: int) -> int:
        """The stable window's wish, or in panic the most that was wanted in it; a larger one prolongs it."""
        if self._panic_since_s is None:
            return limited(math.ceil(mean_in_flight(view) / self._target), ready)
        if wanted_now > self._panic_most:
            self._panic_since_s, self._panic_most = view.at_s, wanted_now
        return self._panic_most


def mean_in_flight(view: View) -> float:
    """The mean of the stable window, 60 s. The gateway's queue has no mean, and stands as it is."""
    return sum(replica.mean_running + replica.mean_waiting for replica in view.replicas) + view.gateway_waiting


def limited(wanted: int, ready: int) -> int:
    """``wanted``, but not below half of what is ready nor above a thousand times it."""
    return min(max(wanted, math.floor(ready / DOWN_RATE)), math.ceil(ready * UP_RATE))
