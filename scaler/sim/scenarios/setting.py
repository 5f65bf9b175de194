"""What a scenario is played on: traffic, a policy, nodes, and what befalls them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from scaler.core.memory import Memory
from scaler.core.model import Policy
from scaler.sim.cluster import Cluster
from scaler.sim.compare.cells import Cell
from scaler.sim.compare.contenders import policy_for
from scaler.sim.latency import Engine
from scaler.sim.nodes import NodePool
from scaler.sim.scenarios.traffic import ENGINE, Traffic

SERVICE: Final = "models/llama"
LOAD_S: Final = 120.0
MOST: Final = 32


def nodes(count: int = 128, *, speed: float = 1.0, load_factor: float = 1.0) -> NodePool:
    """Nodes of one GPU each, more than anybody asks for unless ``count`` says otherwise."""
    return NodePool(node_class=ENGINE.gpu, nodes=count, gpus_per_node=1, speed=speed, load_factor=load_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that befalls the cluster at ``at_s``."""

    at_s: float
    happens: Callable[[Cluster], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``warm`` replicas are ready as it begins, and a start takes ``load_s`` in the median, on the nodes of ``pools``.

    The policy allows up to ``most``, and expects a start to take ``expected_s``, or ``load_s`` where that is None.
    ``memory`` is what our core already knows, None for nothing.
    """

    traffic: Traffic
    warm: int
    load_s: float = LOAD_S
    expected_s: float | None = None
    most: int = MOST
    pools: tuple[NodePool, ...] = (nodes(),)
    events: tuple[Event, ...] = ()
    memory: Memory | None = None
    engine: Engine = ENGINE

    @property
    def policy(self) -> Policy:
        """Every default of the API, and first tokens of 99 % within 2 s."""
        expected_s = self.load_s if self.expected_s is None else self.expected_s
        usual = policy_for(Cell(workload=SERVICE, pool=1.0, load_s=expected_s))
        return replace(usual, name=SERVICE, max_replicas=self.most)
