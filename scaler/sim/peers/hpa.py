"""Kubernetes' HorizontalPodAutoscaler: what it makes of a metric, and how it holds and limits its own steps.

KEDA and WVA act through it. Constants are the defaults of the controller and of autoscaling/v2 (reference/peers.md, 7;
keda.md, 3; the page on horizontal pod autoscaling at kubernetes.io).
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from scaler.sim.peers.peer import Bounds, Peer
from scaler.sim.view import View

SYNC_S: Final = 15.0
TOLERANCE: Final = 0.1
DOWN_WINDOW_S: Final = 300.0
UP_FACTOR: Final = 2.0  # 100 % in 15 s, and that is one sync
UP_PODS: Final = 4
EARLY_S: Final = 0.001  # a tick may be this early, by rounding, and still be a sync


def is_near(ratio: float) -> bool:
    """Whether the controller leaves a metric at ``ratio`` times its target alone."""
    return 1.0 - TOLERANCE <= ratio <= 1.0 + TOLERANCE


def average_value(total: float, target: float, current: int) -> int:
    """The answer to an external metric of type AverageValue, which does not ask who is ready."""
    if is_near(total / (target * max(current, 1))):
        return current
    return math.ceil(total / target)


def per_pod(values: Sequence[float], missing: int, target: float, current: int) -> int:
    """The answer to a metric of type Pods, when ``missing`` pods have none yet.

    These count as 0 on the way up and as at the target on the way down; if that turns the direction, nothing moves.
    Example: 30 and 30 for a target of 10 make 6; with two pods more that load, 60 over 4 pods is 1.5, and again 6.
    """
    if not values:
        return current
    ratio = sum(values) / (target * len(values))
    if not missing:
        return current if is_near(ratio) else math.ceil(ratio * len(values))
    pods = len(values) + missing
    careful = (sum(values) + (0.0 if ratio > 1.0 else target * missing)) / (target * pods)
    if is_near(careful) or (careful > 1.0) is not (ratio > 1.0):
        return current
    wanted = math.ceil(careful * pods)
    return current if (wanted > current) is not (careful > 1.0) else wanted


class Hpa:
    """The part that all metrics share: sync period, stabilisation of shrinking, and the limit on a step up."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._wishes: deque[tuple[float, int]] = deque()

    def is_due(self, at_s: float) -> bool:
        """Whether a sync period has passed since the last answer."""
        return not self._wishes or at_s - self._wishes[-1][0] >= SYNC_S - EARLY_S

    def replicas(self, wanted: int, view: View) -> int:
        """What it asks for when its metrics want ``wanted``.

        It shrinks to the most it wanted in the last 300 s, for which the count found at its start stands in.
        """
        current = view.requested
        if not self._wishes:
            self._wishes.append((view.at_s, current))
        self._wishes.append((view.at_s, wanted))
        while self._wishes[0][0] < view.at_s - DOWN_WINDOW_S:
            self._wishes.popleft()
        held = max(wish for _, wish in self._wishes)
        stabilised = wanted if wanted > current else min(current, held)
        limit = max(math.ceil(current * UP_FACTOR), current + UP_PODS)
        return self._bounds.held(min(stabilised, limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaRunning(Peer):
    """A plain HPA on the mean of running requests a pod (type Pods); 16 is llm-d's target for running requests."""

    name: ClassVar[str] = "hpa-running"
    sweep: ClassVar[tuple[float, ...]] = (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192)

    threshold: float = 16.0

    def autoscaler(self) -> "HpaRunningScaler":
        """One that has seen nothing yet."""
        return HpaRunningScaler(self)


class HpaRunningScaler:
    """See `HpaRunning`."""

    def __init__(self, peer: HpaRunning) -> None:
        self._peer = peer
        self._hpa = Hpa(peer.bounds)

    def replicas(self, view: View) -> int:
        """How many to have from now on."""
        if not self._hpa.is_due(view.at_s):
            return view.requested
        values = [replica.running for replica in view.replicas]
        return self._hpa.replicas(per_pod(values, view.starting, self._peer.threshold, view.requested), view)
