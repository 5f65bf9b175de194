"""What every peer is: a frozen setting with one main threshold, from which an autoscaler is made for each run.

What a peer does is in its own module. `docs/design/0009-peers.md` says what of each was modelled and from which source.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from scaler.sim.view import Autoscaler, ReplicaView, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How few and how many replicas may be asked for; 1 and 100 are what the peers ship, or nearly."""

    least: int = 1
    most: int = 100

    def held(self, wanted: int) -> int:
        """``wanted`` within the bounds."""
        return max(self.least, min(self.most, wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer(ABC):
    """A setting of one autoscaler. ``threshold`` is what its users turn; ``sweep`` are the values to try it with."""

    name: ClassVar[str]
    sweep: ClassVar[tuple[float, ...]]

    threshold: float
    bounds: Bounds = Bounds()

    @abstractmethod
    def autoscaler(self) -> Autoscaler:
        """One that has seen nothing yet."""


def outstanding(replica: ReplicaView) -> float:
    """The requests that were on the replica at its last scrape."""
    return replica.running + replica.waiting


def in_flight(view: View) -> float:
    """All requests that have come and not ended: on the replicas, and at the gateway."""
    return sum(outstanding(replica) for replica in view.replicas) + view.gateway_waiting


def waiting(view: View) -> float:
    """The requests in the queues of the engines."""
    return sum(replica.waiting for replica in view.replicas)
