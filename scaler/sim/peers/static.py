"""A number that somebody chose, whatever happens."""

from dataclasses import dataclass
from typing import ClassVar

from scaler.sim.peers.peer import Peer
from scaler.sim.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Static(Peer):
    """``threshold`` is the number; that of a mean or a peak is for the caller to know."""

    name: ClassVar[str] = "static"
    sweep: ClassVar[tuple[float, ...]] = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96)

    threshold: float = 1.0

    def autoscaler(self) -> "StaticScaler":
        """One that has seen nothing yet."""
        return StaticScaler(self)


class StaticScaler:
    """See `Static`."""

    def __init__(self, peer: Static) -> None:
        self._replicas = peer.bounds.held(round(peer.threshold))

    def replicas(self, _view: View) -> int:
        """The number."""
        return self._replicas
