"""What a scenario is played on: traffic, policies, nodes, and what befalls them."""

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
class Beside:
    """Another model on the same nodes, with ``warm`` replicas ready; ``least`` is the floor of its policy."""

    name: str
    traffic: Traffic
    warm: int
    priority: int = 0
    least: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One of the models of a setting, by the name of its policy."""

    policy: Policy
    traffic: Traffic
    warm: int
    memory: Memory | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``warm`` replicas are ready as it begins, and a start takes ``load_s`` in the median, on the nodes of ``pools``.

    The policy allows up to ``most``, and expects a start to take ``expected_s``, or ``load_s`` where that is None.
    ``memory`` is what our core already knows, None for nothing. Others may be ``beside`` it, as long as it is there.
    """

    traffic: Traffic
    warm: int
    priority: int = 0
    beside: tuple[Beside, ...] = ()
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
        return replace(usual, name=SERVICE, max_replicas=self.most, priority=self.priority)

    @property
    def served(self) -> tuple[Served, ...]:
        """Every model, the scenario's own first."""
        own = Served(policy=self.policy, traffic=self.traffic, warm=self.warm, memory=self.memory)
        return (own, *(self._beside(other) for other in self.beside))

    def _beside(self, other: Beside) -> Served:
        policy = replace(self.policy, name=other.name, priority=other.priority, min_replicas=other.least)
        return Served(policy=policy, traffic=other.traffic, warm=other.warm, memory=None)
