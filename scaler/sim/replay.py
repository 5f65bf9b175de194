"""An autoscaler against the fleet model: traffic comes, pods load and drain, scrapes get lost, decisions are taken.

One service that gets every replica it asks for. Where nodes run out, several services share, or things break, that is
`cluster`; the plant, the load times and the order of a scale-down are the same, and a test holds the two together.
"""

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from scaler.core.lateness import first_tokens_of
from scaler.core.model import Missing, Objective
from scaler.sim.latency import Engine
from scaler.sim.loadtime import LoadTimes, drawn, word
from scaler.sim.plant import Plant
from scaler.sim.service import USUAL, quantile, rates_of
from scaler.sim.state import NOBODY, Fate, Ints, Rows, seconds
from scaler.sim.view import Autoscaler, PodView, ReplicaView, View
from scaler.sim.workload import PIECE_S, Workload

PERIOD_S: Final = 15.0
DECISION_AFTER_S: Final = 7.5
"""A decision is this much later than the scrape before it: on average, with both every 15 s."""

LOOK_S: Final = 1.0  # how often a drain is looked at, as a kubelet does
WINDOW_S: Final = 60.0
AFTER_S: Final = 120.0
"""The fleet serves on for so long after the traffic has ended, so that the last requests get their answer."""

LOST_SHARE: Final = 0.02
GAUGE_NOISE: Final = 0.01
LANES: Final = 256
"""Luck is drawn for this many replicas at each scrape, whoever is there: two policies meet the same losses."""

SCRAPES: Final = 3  # the stream of a seed; `workload` has the others
SERVICE: Final = "service"

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """The replicas that a service may have, of which ``warm`` are ready when the run begins.

    One that is to go may finish its requests for ``grace_s``. ``objective`` says of what percentile times to first
    token are told, and what is late.
    """

    engine: Engine
    load_times: LoadTimes
    warm: int
    grace_s: float = 120.0
    objective: Objective = USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From ``at_s`` on ``replicas`` are asked for."""

    at_s: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What a run came to.

    ``ttft_s`` has every request in order of arrival, NaN without a first token and for one that failed. ``replica_s``
    counts from creation to the end of drain, within the span. ``changes`` are those of the count asked for, the first
    one at 0.
    """

    span_s: float
    ttft_s: NDArray[np.float32]
    fates: Mapping[Fate, int]
    replica_s: float
    changes: tuple[Change, ...]


def replayed(workload: Workload, fleet: FleetSpec, autoscaler: Autoscaler, seed: int) -> Run:
    """The run of ``workload`` under ``autoscaler``; the same arguments give the same bytes."""
    replay = _Replay(workload, fleet, seed)
    ticks = int(np.ceil(workload.span_s / PERIOD_S))
    for tick in range(ticks):
        replay.advance(min(tick * PERIOD_S, workload.span_s))
        replay.scrape()
        decided_at_s = tick * PERIOD_S + DECISION_AFTER_S
        if decided_at_s < workload.span_s:
            replay.advance(decided_at_s)
            replay.ask(autoscaler.replicas(replay.view()))
    return replay.ended()


# --- Pods --------------------------------------------------------------------------------------------------------


class _Sample(NamedTuple):
    """One scrape of a replica; the counters are since it was ready. There are millions, so it is no dataclass."""

    at_s: float
    running: float
    waiting: float
    kv_usage: float
    prompt_tokens: int
    generation_tokens: int
    finished: int
    steps: int
    busy_ps: int
    token_ns: int
    first_tokens: int


@dataclass(slots=True, kw_only=True, eq=False)
class _Pod:
    ordinal: int
    due_at_s: float
    told: PodView
    slot: int = NOBODY
    deleted_at_s: float | None = None
    samples: deque[_Sample] = field(default_factory=deque)

    @property
    def is_ready(self) -> bool:
        """Whether it is sent requests."""
        return self.slot != NOBODY and self.deleted_at_s is None

    def opened(self, slot: int, at_s: float) -> None:
        """It serves from now on."""
        self.slot = slot
        self.told = PodView(name=self.told.name, created_at_s=self.told.created_at_s, ready_at_s=at_s)

    def tell(self, sample: _Sample) -> None:
        """Keep the samples of the minute that ends with this one."""
        self.samples.append(sample)
        while self.samples[0].at_s <= sample.at_s - WINDOW_S:
            self.samples.popleft()

    def seen(self) -> ReplicaView:
        """What its samples say; it has at least one."""
        last = self.samples[-1]
        since = self._before()
        span_s = max(last.at_s - since.at_s, 1.0)
        decoded = last.generation_tokens - since.generation_tokens - (last.first_tokens - since.first_tokens)
        count = len(self.samples)
        _, running, waiting, kv_usage, *_ = zip(*self.samples, strict=True)
        return ReplicaView(
            name=self.told.name,
            at_s=last.at_s,
            running=last.running,
            waiting=last.waiting,
            kv_usage=last.kv_usage,
            mean_running=sum(running) / count,
            mean_waiting=sum(waiting) / count,
            mean_kv_usage=sum(kv_usage) / count,
            prompt_tokens_per_s=(last.prompt_tokens - since.prompt_tokens) / span_s,
            generation_tokens_per_s=(last.generation_tokens - since.generation_tokens) / span_s,
            finished_per_s=(last.finished - since.finished) / span_s,
            inter_token_latency_s=(last.token_ns - since.token_ns) / decoded / 1e9 if decoded else None,
        )

    def _before(self) -> _Sample:
        """What rates are measured from: the first sample of the minute, or with one only, the zeros it began with.

        Prometheus knows those from the engine's `_created` series.
        """
        if len(self.samples) > 1:
            return self.samples[0]
        born_at_s = self.samples[0].at_s if self.told.ready_at_s is None else self.told.ready_at_s
        return _Sample(born_at_s, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0)


class _Replay:
    """One run as it goes. Times are seconds since the traffic began."""

    def __init__(self, workload: Workload, fleet: FleetSpec, seed: int) -> None:
        self.at_s = 0.0
        self._fleet, self._seed, self._span_s = fleet, seed, workload.span_s
        self._pieces = workload.pieces(seed)
        self._known_s = float(PIECE_S)
        self._plant = Plant(next(self._pieces), seed=seed, holds=True)
        self._luck = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, SCRAPES))))
        self._pods: list[_Pod] = []  # not gone, oldest first
        self._created = 0
        self._due: list[tuple[float, int, _Pod]] = []
        self._draining: list[_Pod] = []
        self._gone_s = 0.0  # of pods that are gone
        self._requested = fleet.warm
        self._changes = [Change(at_s=0.0, replicas=fleet.warm)]
        self._held = 0
        self._counts: deque[Ints] = deque(maxlen=int(WINDOW_S / PERIOD_S) + 1)
        self._ttft_s: list[NDArray[np.float32]] = []
        for _ in range(fleet.warm):
            self._open(self._create(0.0))

    # --- Time ---------------------------------------------------------------------------------------------------

    def advance(self, until_s: float) -> None:
        """Let everything up to ``until_s`` happen."""
        while self.at_s < until_s:
            self.at_s = min(self._next_s(), until_s)
            self._plant.advance(self.at_s)
            self._end_drains()
            while self._due and self._due[0][0] <= self.at_s:
                pod = heapq.heappop(self._due)[2]
                if pod.deleted_at_s is None:
                    self._open(pod)

    def _next_s(self) -> float:
        """The next time at which a pod may become ready or go."""
        due_s = self._due[0][0] if self._due else np.inf
        look_s = (self.at_s // LOOK_S + 1.0) * LOOK_S if self._draining else np.inf
        return max(min(due_s, look_s), self.at_s)

    def _end_drains(self) -> None:
        """Let go the draining pods that are empty or out of grace, as seen on whole seconds."""
        if not self._draining or self.at_s % LOOK_S != 0.0:
            return
        for pod in list(self._draining):
            is_late = pod.deleted_at_s is not None and self.at_s >= pod.deleted_at_s + self._fleet.grace_s
            if is_late or self._plant.outstanding(pod.slot) == 0:
                self._draining.remove(pod)
                self._let_go(pod)

    # --- What an autoscaler does --------------------------------------------------------------------------------

    def ask(self, replicas: int) -> None:
        """The service is to have ``replicas`` from now on."""
        wanted = max(replicas, 0)
        if wanted == self._requested:
            return
        self._requested = wanted
        self._changes.append(Change(at_s=self.at_s, replicas=wanted))
        kept = [pod for pod in self._pods if pod.deleted_at_s is None]
        for _ in range(wanted - len(kept)):
            self._start()
        kept.sort(key=self._turn)
        for pod in kept[: max(len(kept) - wanted, 0)]:
            self._delete(pod)

    def _turn(self, pod: _Pod) -> tuple[bool, int, int]:
        """The order in which a scale-down takes pods, as `pods.first_to_go` has it."""
        outstanding = self._plant.outstanding(pod.slot) if pod.is_ready else 0
        return pod.is_ready, outstanding, -pod.ordinal

    def _start(self) -> None:
        stream = (self._seed, word(f"{SERVICE} v1"), self._created, 0)
        start = drawn(self._fleet.load_times, has_image=True, factor=1.0, stream=stream)
        pod = self._create(self.at_s + start.initialising_s + start.loading_s)
        heapq.heappush(self._due, (pod.due_at_s, pod.ordinal, pod))

    def _create(self, due_at_s: float) -> _Pod:
        told = PodView(name=f"{SERVICE}-v1-{self._created}", created_at_s=self.at_s, ready_at_s=None)
        pod = _Pod(ordinal=self._created, due_at_s=due_at_s, told=told)
        self._created += 1
        self._pods.append(pod)
        return pod

    def _open(self, pod: _Pod) -> None:
        pod.opened(self._plant.add(self._fleet.engine), self.at_s)
        self._plant.open(pod.slot)

    def _delete(self, pod: _Pod) -> None:
        """Drain a pod that serves; one that does not goes at once."""
        is_busy = pod.is_ready and self._plant.outstanding(pod.slot) > 0
        pod.deleted_at_s = self.at_s
        if is_busy:
            self._plant.close(pod.slot)
            self._draining.append(pod)
        else:
            self._let_go(pod)

    def _let_go(self, pod: _Pod) -> None:
        if pod.slot != NOBODY:
            self._plant.remove(pod.slot)
        self._gone_s += self._charged_s(pod)
        self._pods.remove(pod)

    def _charged_s(self, pod: _Pod) -> float:
        """The time it has been there, as far as the traffic lasts."""
        return max(min(self.at_s, self._span_s) - pod.told.created_at_s, 0.0)

    # --- What an autoscaler sees --------------------------------------------------------------------------------

    def scrape(self) -> None:
        """Read engines, gateway and histogram, and let the next piece of traffic come in time."""
        if self.at_s + 2.0 * PERIOD_S > self._known_s and (piece := next(self._pieces, None)) is not None:
            self._ttft_s.append(_ttft_s(self._plant.shed()))
            self._plant.extend(piece)
            self._known_s += PIECE_S
        rows = self._plant.rows()
        is_lost = (self._luck.random(LANES) < LOST_SHARE).tolist()
        noise = (1.0 + GAUGE_NOISE * self._luck.standard_normal(LANES)).tolist()
        for pod in self._pods:
            if pod.is_ready and not is_lost[pod.ordinal % LANES]:
                pod.tell(self._sample(rows[pod.slot], noise[pod.ordinal % LANES]))
        self._held = self._plant.held
        self._counts.append(self._plant.ttft_counts())

    def _sample(self, row: list[int], noise: float) -> _Sample:
        running, waiting, kv_tokens, *counters = row
        kv_usage = min(kv_tokens / self._fleet.engine.kv_tokens * noise, 1.0)
        return _Sample(self.at_s, running * noise, waiting * noise, kv_usage, *counters)

    def view(self) -> View:
        """The service now: pods as they are, signals as last scraped."""
        kept = [pod for pod in self._pods if pod.deleted_at_s is None]
        return View(
            at_s=self.at_s,
            requested=self._requested,
            starting=sum(1 for pod in kept if not pod.is_ready),
            replicas=tuple(pod.seen() for pod in kept if pod.is_ready and pod.samples),
            gateway_waiting=float(self._held),
            ttft_s=_known(quantile(self._minute(), self._fleet.objective.percentile / 100.0)),
            first_tokens=_known(first_tokens_of(self._rates(), self._fleet.objective.limit_s)),
            pods=tuple(pod.told for pod in kept),
        )

    def _minute(self) -> Ints:
        """First tokens of the last minute by bucket."""
        return self._counts[-1] - self._counts[0]

    def _rates(self) -> dict[float, float]:
        """The same by the second, as far as they were scraped."""
        return rates_of(self._minute(), PERIOD_S * max(len(self._counts) - 1, 1))

    # --- The end ------------------------------------------------------------------------------------------------

    def ended(self) -> Run:
        """What it came to, once the last requests have had their time."""
        self.advance(self._span_s)
        replica_s = self._gone_s + sum(self._charged_s(pod) for pod in self._pods)
        self.advance(self._span_s + AFTER_S)
        fates = self._plant.fates()
        left = sum(fates.values()) - sum(len(part) for part in self._ttft_s)
        self._ttft_s.append(_ttft_s(self._plant.requests(np.arange(left))))
        return Run(
            span_s=self._span_s,
            ttft_s=np.concatenate(self._ttft_s),
            fates=fates,
            replica_s=replica_s,
            changes=tuple(self._changes),
        )


def _known(told: Value | Missing) -> Value | None:
    return None if isinstance(told, Missing) else told


def _ttft_s(requests: Rows) -> NDArray[np.float32]:
    """The time to first token of each, NaN without one, and for one that failed later."""
    ttft_s = seconds(requests["first_ps"] - requests["arrival_ps"]).astype(np.float32)
    ttft_s[(requests["first_ps"] == NOBODY) | (requests["fate"] == Fate.FAILED)] = np.nan
    return ttft_s
