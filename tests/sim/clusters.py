"""Small clusters for tests: each builder takes only what matters."""

from collections.abc import Mapping

from scaler.core.model import Fleet, Replica, TargetKey
from scaler.sim.cluster import Cluster, NodePool, ServiceSpec, TargetSpec
from scaler.sim.latency import LLAMA_8B_H100, Engine
from scaler.sim.loadtime import LoadTimes
from scaler.sim.trace import Trace
from tests.builders import NAME, key
from tests.sim.traffic import trace_of

QUIET = trace_of([(1e6, 1, 1)])


def target(
    version: str = "v1",
    *,
    replicas: int = 1,
    load_s: float = 100.0,
    pull_s: float = 0.0,
    engine: Engine = LLAMA_8B_H100,
) -> TargetSpec:
    times = LoadTimes(median_s=load_s, pull_s=pull_s)
    return TargetSpec(key=key(version), engine=engine, load_times=times, replicas=replicas)


def service(
    *targets: TargetSpec,
    trace: Trace = QUIET,
    name: str = NAME,
    weights: Mapping[str, int] | None = None,
    grace_s: float = 120.0,
) -> ServiceSpec:
    return ServiceSpec(name=name, trace=trace, targets=targets or (target(),), weights=weights, grace_s=grace_s)


def pool(
    nodes: int = 4,
    gpus: int = 8,
    *,
    has_images: bool = True,
    node_class: str = "H100",
    load_factor: float = 1.0,
    speed: float = 1.0,
) -> NodePool:
    return NodePool(
        node_class=node_class,
        nodes=nodes,
        gpus_per_node=gpus,
        has_images=has_images,
        load_factor=load_factor,
        speed=speed,
    )


def cluster(*services: ServiceSpec, pools: tuple[NodePool, ...] = (pool(),), seed: int = 1) -> Cluster:
    return Cluster(services or (service(),), pools, seed=seed)


def fleet(model: Cluster, version: str = "v1", name: str = NAME) -> Fleet:
    seen = model.observation(name).fleet(TargetKey(version=version, role="Serve"))
    assert isinstance(seen, Fleet)
    return seen


def replicas(model: Cluster, version: str = "v1", name: str = NAME) -> tuple[Replica, ...]:
    return fleet(model, version, name).replicas


def phases(model: Cluster, version: str = "v1", name: str = NAME) -> list[str]:
    return [replica.phase.name for replica in replicas(model, version, name)]
