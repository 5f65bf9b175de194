"""Other autoscalers, written from their documents, to be compared with ours. None of their code is here."""

from scaler.sim.latency import Engine
from scaler.sim.peers.dynamo import DynamoLoad, DynamoThroughput
from scaler.sim.peers.hpa import HpaRunning
from scaler.sim.peers.keda import KedaEpp, KedaWaiting
from scaler.sim.peers.knative import Knative
from scaler.sim.peers.peer import Bounds, Peer
from scaler.sim.peers.ray import RayServe
from scaler.sim.peers.static import Static
from scaler.sim.peers.wva import Wva

__all__ = ["Bounds", "Peer", "peers"]


def peers(engine: Engine, bounds: Bounds) -> tuple[Peer, ...]:
    """Every peer with the threshold that its documents ship; `dataclasses.replace` sets another."""
    return (
        HpaRunning(bounds=bounds),
        KedaWaiting(bounds=bounds),
        KedaEpp(bounds=bounds),
        Knative(bounds=bounds),
        Wva(bounds=bounds, engine=engine),
        DynamoLoad(bounds=bounds, engine=engine),
        DynamoThroughput(bounds=bounds, engine=engine),
        RayServe(bounds=bounds),
        Static(bounds=bounds),
    )
