"""A pod's life as a list of marks, and the order in which a scale-down takes pods."""

from collections import deque
from dataclasses import dataclass, field
from math import fsum
from typing import Final

from scaler.core.model import Load, Missing, Replica, TargetKey
from scaler.sim.loadtime import Start
from scaler.sim.nodes import Node

MINUTE_S: Final = 60.0
NOT_SCRAPED: Final = Missing(why="its engine has not been scraped yet")


@dataclass(slots=True, kw_only=True)
class Pod:
    """One pod of a target. Marks are times in seconds; those of its start are known ahead once it is scheduled.

    ``slot`` is its replica in the plant, from its first ready on. ``load`` is what was last scraped from it.
    """

    name: str
    key: TargetKey
    ordinal: int
    created_at_s: float
    node: Node | None = None
    slot: int | None = None
    scheduled_at_s: float | None = None
    pulled_at_s: float | None = None
    initialised_at_s: float | None = None
    due_at_s: float | None = None  # when it will be ready
    ready_at_s: float | None = None
    is_ready: bool = False
    unready_since_s: float | None = None
    deleted_at_s: float | None = None
    gone_at_s: float | None = None
    restarts: int = 0
    load: Load | Missing = NOT_SCRAPED
    _samples: deque[Load] = field(default_factory=deque)

    def tell(self, sample: Load) -> None:
        """Take in a scrape: what is told is the mean of a minute, but for what waits, as Prometheus is asked for it."""
        self._samples.append(sample)
        while sample.at_s - self._samples[0].at_s >= MINUTE_S:
            self._samples.popleft()
        self.load = Load(
            at_s=sample.at_s,
            running=fsum(each.running for each in self._samples) / len(self._samples),
            waiting=sample.waiting,
            kv_usage=fsum(each.kv_usage for each in self._samples) / len(self._samples),
        )

    def begin(self, at_s: float, node: Node, start: Start) -> None:
        """Start on ``node`` now; the marks ahead follow from ``start``."""
        self.node = node
        self.scheduled_at_s = at_s
        self.pulled_at_s = at_s + start.pulling_s
        self.initialised_at_s = self.pulled_at_s + start.initialising_s
        self.due_at_s = self.initialised_at_s + start.loading_s

    def again(self, at_s: float, start: Start) -> None:
        """Start again in place after a crash; the marks of the first start stand."""
        self.unready_since_s = at_s if self.is_ready else self.unready_since_s
        self.is_ready = False
        self.restarts += 1
        self.due_at_s = at_s + start.initialising_s + start.loading_s

    def seen(self, at_s: float) -> Replica:
        """The pod as the core sees it: no mark that lies ahead."""
        return Replica(
            name=self.name,
            created_at_s=self.created_at_s,
            scheduled_at_s=self.scheduled_at_s,
            pulled_at_s=reached(self.pulled_at_s, at_s),
            initialised_at_s=reached(self.initialised_at_s, at_s),
            ready_at_s=self.ready_at_s,
            is_ready=self.is_ready,
            unready_since_s=None if self.is_ready else self.unready_since_s,
            deleted_at_s=self.deleted_at_s,
            unschedulable_since_s=self.created_at_s if self.node is None else None,
            node_class=None if self.node is None else self.node.node_class,
            restarts=self.restarts,
            load=self.load,
        )


def reached(mark_s: float | None, at_s: float) -> float | None:
    """``mark_s`` if that time has come."""
    return mark_s if mark_s is not None and mark_s <= at_s else None


def first_to_go(pod: Pod, outstanding: int) -> tuple[bool, bool, int, int]:
    """The key by which a scale-down takes pods, smallest first, as a ReplicaSet does.

    Without a node before those with one, not ready before ready, then by pod-deletion-cost, which here is the work
    they have; of equals the youngest.
    """
    return (pod.node is not None, pod.is_ready, outstanding, -pod.ordinal)
