"""Who is compared: ours with its defaults, each peer at a threshold, and two constants that a planner might choose.

A contender is made anew for each run. Nobody is told anything of the traffic to come, except for the constants, which
are there to say what knowing its mean or its peak is worth.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Final

from scaler.api.policy import policy_of
from scaler.api.v1alpha1 import ScalingPolicy
from scaler.core.model import Policy
from scaler.core.plan import Plan
from scaler.sim.compare.cells import OBJECTIVE_S, SHARE, STEP, Cell, case_of, engine_of
from scaler.sim.latency import ENGINES
from scaler.sim.oracle import work_of
from scaler.sim.ours import Ours
from scaler.sim.peers import Bounds, Peer, peers
from scaler.sim.peers.static import Static
from scaler.sim.view import Autoscaler, View

OURS: Final = "forebay"
STATIC: Final = Static.name
STATIC_MEAN: Final = "static-mean"
STATIC_PEAK: Final = "static-peak"
MINUTE_S: Final = 60.0
STEP_MOST: Final = 8
"""llm-d's guide to KEDA with the endpoint picker, one of those that the step was published for, allows 1 to 8."""

PEERS: Final = tuple(peer.name for peer in peers(ENGINES[0], Bounds()) if peer.name != STATIC)
"""Everybody else who scales, in the order of the tables."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Contender:
    """A policy by name, with its threshold where it has one, and the warm floor that it was advised to be given."""

    name: str
    threshold: float | None = None
    floor: int | None = None

    def facts(self) -> dict[str, str | float | int | None]:
        """The fields, for a file."""
        return {"policy": self.name, "threshold": self.threshold, "floor": self.floor}


def scaler_of(contender: Contender, cell: Cell, seed: int) -> Autoscaler:
    """An autoscaler that has seen nothing yet. Raises KeyError for a name that nobody has."""
    if contender.name == OURS:
        policy = policy_for(cell, contender.floor)
        return Advised(Ours(lambda _: policy))
    if contender.name in CONSTANTS:
        return Static(threshold=CONSTANTS[contender.name](cell, seed), bounds=bounds_of(cell)).autoscaler()
    peer = peer_of(contender.name, cell)
    return (peer if contender.threshold is None else replace(peer, threshold=contender.threshold)).autoscaler()


def peer_of(name: str, cell: Cell) -> Peer:
    """The peer called ``name``, at the threshold that its documents ship, on the engine of ``cell``."""
    return {peer.name: peer for peer in peers(engine_of(cell), bounds_of(cell))}[name]


def bounds_of(cell: Cell) -> Bounds:
    """What anybody may ask for."""
    return Bounds(least=1, most=most_of(cell))


def most_of(cell: Cell) -> int:
    """The most replicas that anybody may ask for."""
    return STEP_MOST if cell.workload == STEP else cell.most


def _mean(cell: Cell, _seed: int) -> float:
    return float(ceil(cell.pool))


@lru_cache(maxsize=64)
def _peak(cell: Cell, seed: int) -> float:
    """What the busiest minute needs."""
    return float(ceil(work_of(case_of(cell, seed), MINUTE_S).max()))


CONSTANTS: Final[dict[str, Callable[[Cell, int], float]]] = {STATIC_MEAN: _mean, STATIC_PEAK: _peak}


# --- Ours --------------------------------------------------------------------------------------------------------


def policy_for(cell: Cell, floor: int | None = None) -> Policy:
    """Our policy for ``cell``: every default of the API, the objective, and the load time as it usually is.

    ``floor`` is the warm floor that a user who followed our advice would have set.
    """
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "compared-v1"}
    limit = {"percentile": 100.0 * SHARE, "milliseconds": round(1000 * OBJECTIVE_S)}
    document = ScalingPolicy.model_validate(
        {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "ScalingPolicy",
            "metadata": {"name": "compared", "namespace": "models"},
            "spec": {
                "signals": {"engine": "VLLM", "modelName": "compared"},
                "versions": [{"name": "v1", "targets": [{"targetRef": target}]}],
                "replicas": {"min": 1, "max": most_of(cell)},
                "objectives": {"timeToFirstToken": limit},
                "loading": {"expectedSeconds": round(cell.load_s)},
            },
        }
    )
    policy = policy_of(document, 0.0)
    return policy if floor is None else replace(policy, warm_floor=floor)


def advised_floor(plan: Plan) -> int | None:
    """The warm floor that ``plan`` says would cover what no scaling can be in time for, None where it says nothing."""
    return max((advice.floor for advice in plan.advice), default=None)


class Advised:
    """Ours, with the floor that it advises at the end in ``floor``."""

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self.floor: int | None = None

    def replicas(self, view: View) -> int:
        """What ours says."""
        answer = self._ours.replicas(view)
        self.floor = None if self._ours.last is None else advised_floor(self._ours.last)
        return answer
