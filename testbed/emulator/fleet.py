"""One model service: the fleet model that serves its traffic, and what each replica's engine says of itself.

It knows no pods and no network. Times are seconds since the emulator's start on the model's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from scaler.sim.latency import Engine
from scaler.sim.plant import Plant, Reading
from scaler.sim.state import NOBODY, Fate, Ints, Rows, ticks
from testbed.emulator.arrivals import Arrivals, Poisson, Rate
from testbed.emulator.meters import Meters, Sleep
from testbed.emulator.page import Page, page_of

AHEAD_S: Final = 2.0
"""For so long arrivals are known; a changed rate counts after it."""

BLOCK_TOKENS: Final = 16
"""What vLLM allots the KV cache in, on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A model service to emulate. Pods say by their labels which one and which version they are of.

    ``engines`` are the versions, each with the engine of its replicas; a pod without a version is of "". Until
    weights are set the first version has all traffic. ``holds`` says whether a gateway keeps requests while nobody is
    ready, or answers 503 as a route does. ``longest_tokens`` is vLLM's --max-model-len.
    """

    name: str
    model: str
    engines: Mapping[str, Engine]
    arrivals: Arrivals
    holds: bool
    longest_tokens: int = 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the fleet is at a moment, from the model itself. ``open`` are the replicas that are sent requests."""

    at_s: float
    open: int
    running: int
    waiting: int
    held: int
    fates: Mapping[Fate, int]


class Replica:
    """One replica's engine."""

    def __init__(self, slot: int, page: Page, born_s: float) -> None:
        self.slot = slot
        self.page = page
        self.born_s = born_s  # seconds since 1970
        self.meters = Meters(page.bounds)
        self.sleep = Sleep.AWAKE
        self.is_ready = False
        self.is_open = False


class Fleet:
    """The replicas of one service and their traffic."""

    def __init__(self, service: Service, *, seed: int) -> None:
        self.service = service
        self.at_s = 0.0
        self._known_s = 0.0
        nothing = service.arrivals.between(0.0, 0.0)
        self._plant = Plant(nothing, seed=seed, holds=service.holds, versions=len(service.engines))
        self._versions = list(service.engines)
        self._pages = {version: page_for(service, engine) for version, engine in service.engines.items()}
        self._replicas: dict[int, Replica] = {}
        self._readings: dict[int, Reading] = {}
        self._unsettled: Ints = np.zeros(0, dtype=np.int64)  # requests that may yet change
        self._unanswered: Ints = np.zeros(0, dtype=np.int64)  # those without a first token
        self._seen = 0

    # --- Time ---------------------------------------------------------------------------------------------------

    def advance(self, until_s: float) -> None:
        """Let everything up to ``until_s`` happen, and count it."""
        self.at_s = max(self.at_s, until_s)
        if self.at_s >= self._known_s:
            ahead_s = self.at_s + AHEAD_S
            self._plant.extend(self.service.arrivals.between(self._known_s, ahead_s))
            self._known_s = ahead_s
        self._plant.advance(self.at_s)
        self._count()

    def set_rate(self, rate: Rate) -> None:
        """Let Poisson traffic come at another rate, after what is known already."""
        if not isinstance(self.service.arrivals, Poisson):
            raise TypeError(f"{self.service.name}: a replayed trace has no rate to set")
        self.service.arrivals.rate = rate

    def set_weights(self, percents: Mapping[str, int]) -> None:
        """Split the traffic between the versions: a hundred in all, versions that are not named get none."""
        if sum(percents.values()) != 100 or not percents.keys() <= self.service.engines.keys():  # noqa: PLR2004 - per cent
            raise ValueError(f"{self.service.name}: weights {dict(percents)}: must be 100 in all, of known versions")
        self._plant.set_weights(tuple(percents.get(version, 0) for version in self._versions))

    # --- Replicas -----------------------------------------------------------------------------------------------

    def add(self, version: str, born_s: float) -> Replica:
        """A replica whose engine has come up at ``born_s`` and serves nothing yet. KeyError for an unknown version."""
        slot = self._plant.add(self.service.engines[version], self._versions.index(version))
        self._replicas[slot] = Replica(slot, self._pages[version], born_s)
        self._look()
        return self._replicas[slot]

    def set_ready(self, replica: Replica, *, is_ready: bool) -> None:
        """Say whether the replica's pod is one that requests are sent to."""
        replica.is_ready = is_ready
        self._route(replica)

    def set_sleep(self, replica: Replica, sleep: Sleep) -> None:
        """Put the engine to sleep, which ends what it serves, or wake it."""
        replica.sleep = sleep
        self._route(replica)
        if sleep is not Sleep.AWAKE:
            replica.meters.aborted += self._plant.fail(replica.slot)
            self._count()

    def remove(self, replica: Replica) -> None:
        """Take the replica away; what it served fails."""
        self._plant.remove(replica.slot)
        del self._replicas[replica.slot]
        self._count()

    # --- What it looks like -------------------------------------------------------------------------------------

    def text(self, replica: Replica) -> str:
        """The replica's /metrics, as of the last advance."""
        samples = replica.meters.samples(self._readings[replica.slot], replica.sleep)
        return replica.page.text(samples, replica.born_s)

    def reading(self, replica: Replica) -> Reading:
        """What the replica's engine is doing, as of the last advance."""
        return self._readings[replica.slot]

    def sight(self) -> Sight:
        """The whole fleet, as of the last advance."""
        return Sight(
            at_s=self.at_s,
            open=sum(replica.is_open for replica in self._replicas.values()),
            running=sum(reading.running for reading in self._readings.values()),
            waiting=sum(reading.waiting for reading in self._readings.values()),
            held=self._plant.held,
            fates=self._plant.fates(),
        )

    def _route(self, replica: Replica) -> None:
        should_open = replica.is_ready and replica.sleep is Sleep.AWAKE
        if should_open == replica.is_open:
            return
        replica.is_open = should_open
        if not should_open:
            self._plant.close(replica.slot)
            return
        if self._readings[replica.slot].running == 0:
            replica.meters.since_ps = ticks(self.at_s)
        self._plant.open(replica.slot)

    def _look(self) -> None:
        self._readings = self._plant.readings()

    def _count(self) -> None:
        """Have every replica's meters count what has happened since the last time."""
        arrived = np.arange(self._seen, self._plant.arrived)
        self._seen = self._plant.arrived
        self._unanswered = self._note_first_tokens(np.concatenate([self._unanswered, arrived]))
        self._unsettled = self._note_finished(np.concatenate([self._unsettled, arrived]))
        self._look()
        for slot, replica in self._replicas.items():
            replica.meters.stepped(self._readings[slot])

    def _note_first_tokens(self, numbers: Ints) -> Ints:
        """Count the first tokens among these requests; the answer are those that may yet have one."""
        rows = self._plant.requests(numbers)
        has_begun = rows["first_ps"] != NOBODY
        for slot, own in by_slot(rows[has_begun]):
            if slot in self._replicas:
                self._replicas[slot].meters.began(own)
        return np.asarray(numbers[~has_begun & (rows["fate"] <= Fate.PLACED)])

    def _note_finished(self, numbers: Ints) -> Ints:
        """Count those of these requests that have finished; the answer are those that may yet."""
        rows = self._plant.requests(numbers)
        for slot, own in by_slot(rows[rows["fate"] == Fate.FINISHED]):
            if slot in self._replicas:
                self._replicas[slot].meters.finished(own)
        return np.asarray(numbers[rows["fate"] <= Fate.PLACED])


def by_slot(rows: Rows) -> list[tuple[int, Rows]]:
    """The requests of each replica."""
    return [(slot, rows[rows["slot"] == slot]) for slot in np.unique(rows["slot"]).tolist()]


def page_for(service: Service, engine: Engine) -> Page:
    """The page of a service's servers with that engine."""
    blocks = engine.kv_tokens // BLOCK_TOKENS
    cache = {
        "block_size": str(BLOCK_TOKENS),
        "effective_attention_block_size": str(BLOCK_TOKENS),
        "kv_cache_max_concurrency": str(blocks * BLOCK_TOKENS / service.longest_tokens),
        "kv_cache_memory_bytes": "None",
        "kv_cache_size_tokens": str(blocks * BLOCK_TOKENS),
        "num_gpu_blocks": str(blocks),
        "num_gpu_blocks_override": "None",
    }
    return page_of(service.model, service.longest_tokens, cache)
