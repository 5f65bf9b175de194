"""Nodes with GPUs that run out, and who holds them."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePool:
    """``nodes`` nodes of one class (GPU product); ``has_images`` says whether they hold every image from the start."""

    node_class: str
    nodes: int
    gpus_per_node: int
    has_images: bool = True


@dataclass(slots=True, kw_only=True)
class Node:
    """One node. ``images`` are the images it holds; None stands for all."""

    name: str
    node_class: str
    gpus: int
    free_gpus: int
    images: set[str] | None = field(default_factory=set)

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
        )
        for number in range(first, first + pool.nodes)
    ]


def chosen(nodes: Iterable[Node], node_class: str, gpus: int) -> Node | None:
    """The node for a replica of ``gpus``: the fullest that has room, the oldest of several; None where none has."""
    fitting = [node for node in nodes if node.node_class == node_class and node.free_gpus >= gpus]
    return min(fitting, key=lambda node: node.free_gpus, default=None)
