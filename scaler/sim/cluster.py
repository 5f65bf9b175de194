"""A model of a cluster: nodes whose GPUs run out, pods that take minutes to load, and the fleets that serve traffic.

Pure: time is an argument, chance comes from the seed, and a run is the same however `advance` cuts it. Times are
seconds since the start of the traces and never go back.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from scaler.core.model import Observation, TargetKey
from scaler.sim.loadtime import Start, drawn, word
from scaler.sim.nodes import Node, NodePool, chosen, numbered, slowed
from scaler.sim.plant import Outcomes
from scaler.sim.pods import Pod, first_to_go
from scaler.sim.service import Blindness, Freeze, Service, ServiceSpec, TargetSpec
from scaler.sim.state import Fate

SCRAPE_S: Final = 15.0
LOOK_S: Final = 1.0  # how often a drain is looked at, as a kubelet does


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a service has come to so far.

    ``replica_s`` and ``gpu_s`` count from creation to the end of drain, GPUs only from when a node was found.
    """

    fates: Mapping[Fate, int]
    replica_s: float
    gpu_s: float


class Cluster:
    """Nodes, and services that share them."""

    def __init__(self, services: Iterable[ServiceSpec], pools: Iterable[NodePool], *, seed: int) -> None:
        self.at_s = 0.0
        self.nodes: list[Node] = []
        self._named: Counter[str] = Counter()  # nodes there have ever been, by class
        self._seed = seed
        self._services = {spec.name: Service(spec, seed) for spec in services}
        self._due: list[tuple[float, int, str, Pod]] = []  # when a pod is ready, a count against ties, its service
        self._count = 0
        self._scrapes = 0
        self._load_factors: list[tuple[float, float]] = [(0.0, 1.0)]
        for pool in pools:
            self.add_nodes(pool)
        for service in self._services.values():
            for target in service.spec.targets:
                for _ in range(target.replicas):
                    self._begin_warm(service, target)
            self._fill(service)

    # --- Time ---------------------------------------------------------------------------------------------------

    def advance(self, until_s: float) -> None:
        """Let everything up to ``until_s`` happen."""
        while self.at_s < until_s:
            self.at_s = min(self._next_s(), until_s)
            for service in self._services.values():
                service.plant.advance(self.at_s)
            self._end_drains()
            self._make_ready()
            self._scrape()

    def _next_s(self) -> float:
        """The next time at which anything but traffic happens."""
        times = [self._scrapes * SCRAPE_S]
        if self._due:
            times.append(self._due[0][0])
        if any(pod.deleted_at_s is not None for _, pod in self._pods()):
            times.append((self.at_s // LOOK_S + 1.0) * LOOK_S)
        return max(min(times), self.at_s)

    def _scrape(self) -> None:
        if self._scrapes * SCRAPE_S <= self.at_s:
            self._scrapes += 1
            for service in self._services.values():
                service.scrape(self.at_s)

    def _make_ready(self) -> None:
        while self._due and self._due[0][0] <= self.at_s:
            due_at_s, _, name, pod = heapq.heappop(self._due)
            if pod.deleted_at_s is None and pod.gone_at_s is None and pod.due_at_s == due_at_s:
                self._open(self._services[name], pod)

    def _open(self, service: Service, pod: Pod) -> None:
        if pod.slot is None:
            engine = service.target(pod.key).engine
            speed = 1.0 if pod.node is None else pod.node.speed
            pod.slot = service.plant.add(slowed(engine, speed), service.versions[pod.key.version])
        pod.is_ready = True
        pod.ready_at_s = self.at_s if pod.ready_at_s is None else pod.ready_at_s
        service.plant.open(pod.slot)

    def _end_drains(self) -> None:
        """Let go the draining pods that are empty or out of grace, as seen on whole seconds."""
        if self.at_s % LOOK_S != 0.0:
            return
        for service, pod in self._pods():
            if pod.deleted_at_s is None or pod.slot is None:
                continue
            is_late = self.at_s >= pod.deleted_at_s + service.spec.grace_s
            if is_late or service.plant.outstanding(pod.slot) == 0:
                self._let_go(service, pod)

    # --- Commands -----------------------------------------------------------------------------------------------

    def set_replicas(self, service: str, key: TargetKey, replicas: int) -> None:
        """The target has ``replicas`` from now on. Raises KeyError for a target that is not there."""
        owner = self._services[service]
        owner.target(key)
        owner.requested[key] = max(replicas, 0)
        self._fill(owner)

    def set_weights(self, service: str, weights: Mapping[str, int]) -> None:
        """The route splits the traffic by these percentages from now on. Raises KeyError for an unknown version."""
        owner = self._services[service]
        for version in weights:
            if version not in owner.versions:
                raise KeyError(version)
        owner.set_weights(weights)

    # --- What is there ------------------------------------------------------------------------------------------

    def observation(self, service: str) -> Observation:
        """What a tick would see of ``service`` now."""
        return self._services[service].observation(self.at_s)

    def outcomes(self, service: str) -> Outcomes:
        """What has become of the requests of ``service``."""
        return self._services[service].plant.outcomes()

    def tally(self, service: str) -> Tally:
        """What ``service`` has come to so far."""
        owner = self._services[service]
        replica_s, gpu_s = owner.replica_s, owner.gpu_s
        for pod in owner.pods:
            replica_s += self.at_s - pod.created_at_s
            gpu_s += self._gpu_s(owner, pod)
        return Tally(fates=owner.plant.fates(), replica_s=replica_s, gpu_s=gpu_s)

    # --- Faults -------------------------------------------------------------------------------------------------

    def add_nodes(self, pool: NodePool) -> None:
        """More nodes, from now on."""
        self.nodes.extend(numbered(pool, self._named[pool.node_class]))
        self._named[pool.node_class] += pool.nodes
        self._schedule()

    def remove_node(self, name: str) -> None:
        """The node goes, and with it the pods on it; their targets make new ones."""
        self.nodes = [node for node in self.nodes if node.name != name]
        for service, pod in self._pods():
            if pod.node is not None and pod.node.name == name:
                self._let_go(service, pod)
        for service in self._services.values():
            self._fill(service)

    def crash(self, service: str, pod_name: str) -> None:
        """The engine of a pod with a node dies under its requests, which fail, and starts again in place.

        Raises KeyError for a pod that is not there or has no node.
        """
        owner = self._services[service]
        pod = owner.pod(pod_name)
        if pod.slot is not None:
            owner.plant.fail(pod.slot)
        start = self._drawn(owner, pod, pod.node, restart=pod.restarts + 1, has_image=True)
        pod.again(self.at_s, start)
        self._expect(owner, pod)

    def blind(self, service: str, *, from_s: float, until_s: float, nth: int = 1) -> None:
        """From ``from_s`` to ``until_s`` every ``nth`` pod is not scraped: all with 1, half with 2."""
        self._services[service].blind.append(Blindness(from_s=from_s, until_s=until_s, nth=nth))

    def freeze(self, service: str, *, from_s: float, until_s: float) -> None:
        """From ``from_s`` to ``until_s`` the signals are answered from before, with the time of those samples."""
        self._services[service].frozen.append(Freeze(from_s=from_s, until_s=until_s))

    def slow_loading(self, *, from_s: float, factor: float) -> None:
        """Whatever starts from ``from_s`` on takes ``factor`` times as long."""
        self._load_factors = sorted([*self._load_factors, (from_s, factor)])

    # --- Pods ---------------------------------------------------------------------------------------------------

    def _pods(self) -> list[tuple[Service, Pod]]:
        return [(service, pod) for service in self._services.values() for pod in service.pods]

    def _fill(self, service: Service) -> None:
        """Create or delete pods until every target has as many as it is asked to have."""
        for key, requested in service.requested.items():
            kept = [pod for pod in service.pods_of(key) if pod.deleted_at_s is None]
            for _ in range(requested - len(kept)):
                self._create(service, key)
            kept.sort(key=lambda pod: first_to_go(pod, self._outstanding(service, pod)))
            for pod in kept[: max(len(kept) - requested, 0)]:
                self._delete(service, pod)
        self._schedule()

    def _outstanding(self, service: Service, pod: Pod) -> int:
        return 0 if pod.slot is None else service.plant.outstanding(pod.slot)

    def _create(self, service: Service, key: TargetKey) -> Pod:
        ordinal = service.created[key]
        service.created[key] += 1
        name = f"{service.spec.name.rsplit('/', 1)[-1]}-{key}-{ordinal}".replace("/", "-").lower()
        pod = Pod(name=name, key=key, ordinal=ordinal, created_at_s=self.at_s)
        service.pods.append(pod)
        return pod

    def _begin_warm(self, service: Service, target: TargetSpec) -> None:
        """A pod that is ready as the run begins; without a node it waits for one like any other."""
        pod = self._create(service, target.key)
        node = chosen(self.nodes, target.engine.gpu, target.engine.gpus)
        if node is None:
            return
        node.take(target.engine.gpus, self._image(service, target.key))
        pod.begin(self.at_s, node, Start(pulling_s=0.0, initialising_s=0.0, loading_s=0.0))
        self._open(service, pod)

    def _schedule(self) -> None:
        """Give GPUs to those that wait for them, in the order in which they were created."""
        waiting = [(pod.created_at_s, place, service, pod) for place, (service, pod) in enumerate(self._pods())]
        for _, _, service, pod in sorted(waiting, key=lambda entry: entry[:2]):
            if pod.node is None:
                self._try_to_begin(service, pod)

    def _try_to_begin(self, service: Service, pod: Pod) -> None:
        engine, image = service.target(pod.key).engine, self._image(service, pod.key)
        node = chosen(self.nodes, engine.gpu, engine.gpus)
        if node is None:
            return
        has_image = node.has_image(image)
        node.take(engine.gpus, image)
        pod.begin(self.at_s, node, self._drawn(service, pod, node, restart=0, has_image=has_image))
        self._expect(service, pod)

    def _expect(self, service: Service, pod: Pod) -> None:
        if pod.due_at_s is not None:
            self._count += 1
            heapq.heappush(self._due, (pod.due_at_s, self._count, service.spec.name, pod))

    def _drawn(self, service: Service, pod: Pod, node: Node | None, *, restart: int, has_image: bool) -> Start:
        factor = [factor for from_s, factor in self._load_factors if from_s <= self.at_s][-1]
        factor *= 1.0 if node is None else node.load_factor
        stream = (self._seed, word(f"{service.spec.name} {pod.key}"), pod.ordinal, restart)
        return drawn(service.target(pod.key).load_times, has_image=has_image, factor=factor, stream=stream)

    def _image(self, service: Service, key: TargetKey) -> str:
        return f"{service.spec.name} {key.version}"

    def _delete(self, service: Service, pod: Pod) -> None:
        """Drain a pod that serves; one that does not goes at once."""
        pod.deleted_at_s = self.at_s
        if pod.slot is None or not pod.is_ready or service.plant.outstanding(pod.slot) == 0:
            self._let_go(service, pod)
            return
        pod.is_ready = False
        service.plant.close(pod.slot)

    def _let_go(self, service: Service, pod: Pod) -> None:
        pod.gone_at_s = self.at_s
        pod.is_ready = False
        if pod.slot is not None:
            service.plant.remove(pod.slot)
        service.replica_s += self.at_s - pod.created_at_s
        service.gpu_s += self._gpu_s(service, pod)
        service.pods.remove(pod)
        if pod.node is not None:
            pod.node.free_gpus += service.target(pod.key).engine.gpus
        self._schedule()

    def _gpu_s(self, service: Service, pod: Pod) -> float:
        if pod.scheduled_at_s is None:
            return 0.0
        return (self.at_s - pod.scheduled_at_s) * service.target(pod.key).engine.gpus


__all__ = ["Cluster", "Node", "NodePool", "ServiceSpec", "Tally", "TargetSpec"]
