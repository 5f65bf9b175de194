"""Nodes with GPUs that run out, and who holds them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from scaler.sim.latency import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePool:
    """``nodes`` nodes of one class (GPU product); ``has_images`` says whether they hold every image from the start.

    What starts there takes ``load_factor`` times as long as elsewhere, and serves at ``speed`` times the usual one.
    """

    node_class: str
    nodes: int
    gpus_per_node: int
    has_images: bool = True
    load_factor: float = 1.0
    speed: float = 1.0


@dataclass(slots=True, kw_only=True)
class Node:
    """One node. ``images`` are the images it holds; None stands for all."""

    name: str
    node_class: str
    gpus: int
    free_gpus: int
    images: set[str] | None = field(default_factory=set)
    load_factor: float = 1.0
    speed: float = 1.0

    def has_image(self, image: str) -> bool:
        """Whether nothing has to be pulled for ``image``."""
        return self.images is None or image in self.images

    def take(self, gpus: int, image: str) -> None:
        """Give a replica its GPUs; from now on the node has its image."""
        self.free_gpus -= gpus
        if self.images is not None:
            self.images.add(image)


def numbered(pool: NodePool, first: int) -> list[Node]:
    """The nodes of one pool, named by class and number from ``first``."""
    return [
        Node(
            name=f"{pool.node_class.lower()}-{number}",
            node_class=pool.node_class,
            gpus=pool.gpus_per_node,
            free_gpus=pool.gpus_per_node,
            images=None if pool.has_images else set(),
            load_factor=pool.load_factor,
            speed=pool.speed,
        )
        for number in range(first, first + pool.nodes)
    ]


def chosen(nodes: Iterable[Node], node_class: str, gpus: int) -> Node | None:
    """The node for a replica of ``gpus``: the fullest that has room, the oldest of several; None where none has."""
    fitting = [node for node in nodes if node.node_class == node_class and node.free_gpus >= gpus]
    return min(fitting, key=lambda node: node.free_gpus, default=None)


def slowed(engine: Engine, speed: float) -> Engine:
    """``engine`` where all that it does takes ``1 / speed`` times as long; its cache and its limits are the same."""
    if speed == 1.0:
        return engine
    return replace(
        engine,
        gamma_ms=engine.gamma_ms / speed,
        delta_ms=engine.delta_ms / speed,
        alpha_ms=engine.alpha_ms / speed,
        beta_ms=engine.beta_ms / speed,
        kappa_ms=engine.kappa_ms / speed,
    )
