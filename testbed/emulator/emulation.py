"""The emulated services as the pods come and go: which replica is behind which address, and what time it is.

All of it runs in one event loop; `emulator` gives it a thread.
"""

import time
from collections.abc import Iterable, Mapping

from scaler.sim.plant import Reading
from testbed.emulator.faults import Fault, spoiled
from testbed.emulator.fleet import Fleet, Replica, Service, Sight
from testbed.emulator.meters import Sleep
from testbed.emulator.pods import Pod, Pods
from testbed.emulator.server import Doors
from testbed.waiting import now_s

FRESH_S = 0.1
"""A page may be so old: many pods are scraped at once, and the fleet need not be looked at for each."""


class Timeline:
    """Seconds since its making, ``speed`` of them in each of the wall's."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._began_s = now_s()

    def at_s(self) -> float:
        """The time of now."""
        return (now_s() - self._began_s) * self.speed


class Running:
    """One replica of a pod, with its fleet: what `server.Doors` answers for."""

    def __init__(self, pod: Pod, fleet: Fleet, timeline: Timeline) -> None:
        self.name = pod.name
        self.address = pod.address
        self._fleet = fleet
        self._timeline = timeline
        self._replica: Replica = fleet.add(pod.version, wall_s())
        self._fault: Fault | None = None
        self._page_at_fault = ""

    @property
    def sleep(self) -> Sleep:
        """How deep its engine sleeps."""
        return self._replica.sleep

    def page(self) -> str:
        """Its /metrics of now, with its fault if it has one."""
        return spoiled(self._sound_page(), self._fault, self._page_at_fault)

    def set_fault(self, fault: Fault | None) -> None:
        """Let its page be wrong from now on, or right again."""
        self._page_at_fault = self._sound_page()
        self._fault = fault

    def reading(self) -> Reading:
        """What its engine is doing, as of the last advance."""
        return self._fleet.reading(self._replica)

    def set_sleep(self, sleep: Sleep) -> None:
        """Put its engine to sleep, or wake it."""
        self._fleet.advance(self._timeline.at_s())
        self._fleet.set_sleep(self._replica, sleep)

    def set_ready(self, *, is_ready: bool) -> None:
        """Say whether requests are sent to it."""
        self._fleet.set_ready(self._replica, is_ready=is_ready)

    def end(self) -> None:
        """Take it out of its fleet."""
        self._fleet.remove(self._replica)

    def _sound_page(self) -> str:
        at_s = self._timeline.at_s()
        if at_s - self._fleet.at_s > FRESH_S * self._timeline.speed:
            self._fleet.advance(at_s)
        return self._fleet.text(self._replica)


class Emulation:
    """All services, by the pods that there are."""

    def __init__(self, services: Iterable[Service], timeline: Timeline, *, seed: int) -> None:
        self.fleets = {service.name: Fleet(service, seed=seed) for service in services}
        self.running: dict[str, Running] = {}  # by engine
        self.doors = Doors(self.server_at)
        self._timeline = timeline

    def advance(self) -> None:
        """Let every fleet's time come up to now."""
        for fleet in self.fleets.values():
            fleet.advance(self._timeline.at_s())

    async def settle(self, pods: Pods) -> None:
        """Make the replicas those of ``pods``; pods of services and versions that nobody emulates stay dark."""
        self.advance()
        wanted = {pod.engine: pod for pod in pods.values() if pod.engine is not None and self._knows(pod)}
        for engine in [engine for engine in self.running if engine not in wanted]:
            await self._end(engine)
        for engine, pod in wanted.items():
            if engine not in self.running:
                await self._begin(engine, pod)
            self.running[engine].set_ready(is_ready=pod.is_ready and not pod.is_leaving)

    def server_at(self, address: str) -> Running:
        """The replica that has the address. Raises KeyError."""
        for running in self.running.values():
            if running.address == address:
                return running
        raise KeyError(address)

    def sight(self, service: str) -> Sight:
        """What the service's fleet is now."""
        self.advance()
        return self.fleets[service].sight()

    def set_fault(self, pods: Iterable[str], fault: Fault | None) -> None:
        """Let the pages of these pods ("namespace/name") be wrong. KeyError for one without an engine."""
        by_name = {running.name: running for running in self.running.values()}
        for pod in pods:
            by_name[pod].set_fault(fault)

    def readings(self) -> Mapping[str, Reading]:
        """What every engine is doing now, by its pod's "namespace/name"."""
        self.advance()
        return {running.name: running.reading() for running in self.running.values()}

    def _knows(self, pod: Pod) -> bool:
        fleet = self.fleets.get(pod.service)
        return fleet is not None and pod.version in fleet.service.engines

    async def _begin(self, engine: str, pod: Pod) -> None:
        self.running[engine] = Running(pod, self.fleets[pod.service], self._timeline)
        await self.doors.open(pod.address)

    async def _end(self, engine: str) -> None:
        running = self.running.pop(engine)
        running.end()
        await self.doors.close(running.address)


def wall_s() -> float:
    """Seconds since 1970, for a page's own timestamps."""
    return time.time()  # noqa: TID251 - what Prometheus compares them with is the real clock
