"""KEDA: queries that reach an HPA as external metrics of type AverageValue.

Two settings: on the engines' queues alone, as most guides have it, and llm-d's on the endpoint picker's signals.
An empty answer counts as 0, as KEDA's Prometheus trigger has it by default (reference/keda.md, 7).
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from scaler.sim.peers.hpa import Hpa, average_value
from scaler.sim.peers.peer import Peer, waiting
from scaler.sim.view import View

QUEUE_TARGET: Final = 1.0  # of llm-d's guide for KEDA with the endpoint picker


@dataclass(frozen=True, slots=True, kw_only=True)
class KedaWaiting(Peer):
    """The sum of vLLM's waiting requests; 5 is what public guides set, and WVA's bound for a long queue."""

    name: ClassVar[str] = "keda-waiting"
    sweep: ClassVar[tuple[float, ...]] = (0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 100)

    threshold: float = 5.0

    def autoscaler(self) -> "KedaWaitingScaler":
        """One that has seen nothing yet."""
        return KedaWaitingScaler(self)


class KedaWaitingScaler:
    """See `KedaWaiting`."""

    def __init__(self, peer: KedaWaiting) -> None:
        self._peer = peer
        self._hpa = Hpa(peer.bounds)

    def replicas(self, view: View) -> int:
        """How many to have from now on."""
        if not self._hpa.is_due(view.at_s):
            return view.requested
        return self._hpa.replicas(average_value(waiting(view), self._peer.threshold, view.requested), view)


@dataclass(frozen=True, slots=True, kw_only=True)
class KedaEpp(Peer):
    """llm-d's guide: the picker's queue with a target of 1 behind the overshoot guard, and running requests."""

    name: ClassVar[str] = "keda-epp"
    sweep: ClassVar[tuple[float, ...]] = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 90, 128, 192)

    threshold: float = 16.0

    def autoscaler(self) -> "KedaEppScaler":
        """One that has seen nothing yet."""
        return KedaEppScaler(self)


class KedaEppScaler:
    """See `KedaEpp`. The larger of the two answers counts, as an HPA takes the largest of several metrics."""

    def __init__(self, peer: KedaEpp) -> None:
        self._peer = peer
        self._hpa = Hpa(peer.bounds)

    def replicas(self, view: View) -> int:
        """How many to have from now on."""
        if not self._hpa.is_due(view.at_s):
            return view.requested
        running = sum(replica.running for replica in view.replicas)
        by_running = average_value(running, self._peer.threshold, view.requested)
        by_queue = average_value(guarded(queue(view), view), QUEUE_TARGET, view.requested)
        return self._hpa.replicas(max(by_running, by_queue), view)


def queue(view: View) -> float:
    """The picker's queue. With flow control it holds what the engines' own queues hold in the model, so both count."""
    return waiting(view) + view.gateway_waiting


def guarded(demand: float, view: View) -> float:
    """``demand`` less what is starting already, but never below what is requested.

    It takes a demand of 1 for a replica, which is why it stands before the queue and not before running requests.
    """
    if demand <= view.requested:
        return demand
    return max(float(view.requested), demand - view.starting)
