"""A pod's life as a list of marks, what its engine says, and the order in which a scale-down takes pods."""

from collections import deque
from dataclasses import dataclass, field
from math import fsum
from typing import Final

from scaler.core.model import Load, Missing, Replica, TargetKey, Work
from scaler.sim.loadtime import Start
from scaler.sim.nodes import Node
from scaler.sim.plant import Reading

MINUTE_S: Final = 60.0
NOT_SCRAPED: Final = Missing(why="its engine has not been scraped yet")
SCRAPED_ONCE: Final = Missing(why="its engine was scraped only once in the last minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What the engine of a pod said at ``at_s``."""

    at_s: float
    reading: Reading


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
    _scrapes: deque[Scrape] = field(default_factory=deque)

    def tell(self, scrape: Scrape) -> None:
        """Take in a scrape: what is told is the mean of a minute, but for what waits, as Prometheus is asked for it."""
        self._scrapes.append(scrape)
        while scrape.at_s - self._scrapes[0].at_s >= MINUTE_S:
            self._scrapes.popleft()
        said = [each.reading for each in self._scrapes]
        self.load = Load(
            at_s=scrape.at_s,
            running=fsum(each.running for each in said) / len(said),
            waiting=float(scrape.reading.waiting),
            kv_usage=fsum(each.kv_usage for each in said) / len(said),
            work=work_between(self._scrapes[0], scrape),
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


def work_between(first: Scrape, last: Scrape) -> Work | Missing:
    """The work by the second from ``first`` to ``last``, as Prometheus has the rates of counters."""
    span_s = last.at_s - first.at_s
    if span_s <= 0.0:
        return SCRAPED_ONCE
    before, now = first.reading, last.reading
    generated = now.generation_tokens - before.generation_tokens
    # Every request's first token comes with its prompt; only those after it have a time between.
    gaps = generated - (sum(now.ttft) - sum(before.ttft))
    return Work(
        prefill_tokens_per_s=(now.prompt_tokens - before.prompt_tokens) / span_s,
        decode_tokens_per_s=generated / span_s,
        finished_per_s=(now.finished - before.finished) / span_s,
        inter_token_latency_s=(now.token_s - before.token_s) / gaps if gaps > 0 else None,
    )


def first_to_go(pod: Pod, outstanding: int) -> tuple[bool, bool, int, int]:
    """The key by which a scale-down takes pods, smallest first, as a ReplicaSet does.

    Without a node before those with one, not ready before ready, then by pod-deletion-cost, which here is the work
    they have; of equals the youngest.
    """
    return (pod.node is not None, pod.is_ready, outstanding, -pod.ordinal)
