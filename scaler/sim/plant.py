"""The fleet model: replicas that serve a trace by continuous batching, advanced in slices of any length.

It knows replicas and requests, and nothing of pods, nodes or why a replica comes and goes (that is `cluster`). How a
replica serves is in `kernel`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim import kernel
from scaler.sim.latency import Engine
from scaler.sim.state import (
    BUCKETS,
    GATE,
    MOST_SEQS,
    NOBODY,
    REPLICA,
    REQUEST,
    TICKS_PER_S,
    Fate,
    Ints,
    Rows,
    World,
    seconds,
    ticks,
)
from scaler.sim.trace import Trace

SLOTS: Final = 16
MS: Final = TICKS_PER_S // 1000
READINGS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a replica's engine would say of itself; counters count from when it was added.

    ``busy_s`` is the sum of the durations of its ``steps``, ``token_s`` the times between tokens added up over all
    sequences (over the decoded tokens it is the mean inter-token latency). ``ttft`` are the counts of its first tokens
    by bucket of `state.BOUNDS_S`, not cumulated.
    """

    running: int
    waiting: int
    kv_usage: float
    prompt_tokens: int
    generation_tokens: int
    finished: int
    steps: int
    busy_s: float
    token_s: float
    ttft: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """What became of every request, in the order of arrival; NaN where it has not come to that.

    ``fate`` is a `state.Fate`.
    """

    ttft_s: NDArray[np.float64]
    finish_s: NDArray[np.float64]
    fate: NDArray[np.int8]


class Plant:
    """A fleet that serves one trace. All times are seconds since the trace's start and must not go back.

    ``shares`` says of each request to which hundredth of the traffic (0 to 99) it belongs, for `set_weights`.
    """

    def __init__(self, trace: Trace, *, seed: int, holds: bool, versions: int = 1) -> None:
        """``holds`` says whether the gateway keeps requests while nobody is ready, or refuses them.

        Until `set_weights` is called, the first of the ``versions`` has all traffic.
        """
        self._slots: list[int] = []
        self._free = list(range(SLOTS))
        self._now_ps = 0
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._requests = requests_of(trace, self._generator)
        self._replicas = np.zeros(SLOTS, dtype=REPLICA)
        self._gates = np.zeros(1, dtype=GATE)
        self._gates["holds"] = int(holds)
        self._bounds = np.array([100], dtype=np.int64)
        self._departed = np.zeros((versions, BUCKETS), dtype=np.int64)
        self._shed = np.zeros(len(Fate), dtype=np.int64)  # by fate, of requests that are no longer known
        self._world = self._bound()

    def advance(self, until_s: float) -> None:
        """Let everything up to ``until_s`` happen."""
        until_ps = ticks(until_s)
        if until_ps > self._now_ps:
            kernel.advance(self._world, until_ps)
            self._now_ps = until_ps

    def extend(self, trace: Trace) -> None:
        """Let the requests of ``trace`` come as well. None may be before the last that is known, or before now."""
        self._requests = np.concatenate([self._requests, requests_of(trace, self._generator)])
        self._world = self._bound()

    def shed(self) -> Rows:
        """Forget the requests before the first that is still ahead or under way, and what they came to.

        For traces that are too long to keep: with `extend`, memory holds a piece and what is under way. From now on
        `outcomes` and `requests` count from the first that is left; `arrived` and `fates` still count them all.
        """
        under_way = np.flatnonzero(self._requests["fate"] < Fate.FINISHED)
        count = int(under_way[0]) if len(under_way) else len(self._requests)
        settled, self._requests = self._requests[:count], self._requests[count:].copy()
        self._shed += np.bincount(settled["fate"], minlength=len(Fate))
        self._renumber(count)
        self._world = self._bound()
        return settled

    def add(self, engine: Engine, version: int = 0) -> int:
        """Add a replica that is not sent requests yet; the answer names it."""
        if not self._free:
            self._grow()
        slot = self._free.pop(0)
        self._replicas[slot] = row_of(engine, version)
        self._use([*self._slots, slot])
        return slot

    def open(self, slot: int) -> None:
        """Send the replica requests from now on, those first that the gateway holds."""
        self._replicas[slot]["is_open"] = 1
        if self.held:
            kernel.release_held(self._world, self._now_ps)

    def close(self, slot: int) -> None:
        """Send the replica no new requests (it drains)."""
        self._replicas[slot]["is_open"] = 0

    def fail(self, slot: int) -> int:
        """Fail all requests of the replica, which closes and stays, and their number (its engine has crashed)."""
        self.close(slot)
        return int(kernel.drop(self._world.requests, self._world.replicas[slot]))

    def remove(self, slot: int) -> int:
        """Take the replica away, and the number of requests that failed with it."""
        failed = self.fail(slot)
        self._departed[self._replicas[slot]["version"]] += self._replicas[slot]["ttft"]
        self._use([other for other in self._slots if other != slot])
        self._free.append(slot)
        return failed

    def set_weights(self, percents: tuple[int, ...]) -> None:
        """Split the requests that come from now on between the versions; one of ``percents`` for each, 100 in all."""
        self._bounds = np.cumsum(np.array(percents, dtype=np.int64))
        self._world = self._bound()

    @property
    def held(self) -> int:
        """The requests that the gateway keeps back."""
        return int(self._gates["held"][0])

    @property
    def arrived(self) -> int:
        """The requests that have arrived."""
        return int(self._gates["next"][0] + self._shed.sum())

    def outstanding(self, slot: int) -> int:
        """The requests that wait or run on the replica."""
        return int(self._replicas[slot]["running"] + self._replicas[slot]["queued"])

    def readings(self) -> dict[int, Reading]:
        """What every replica's engine would say now, by slot."""
        return {slot: self._reading(slot, row) for slot, row in self.rows().items()}

    def rows(self) -> dict[int, list[int]]:
        """`readings` without their histograms, as the kernel writes them: a twentieth of the time.

        Running, waiting, KV tokens, then the counters: prompt tokens, generation tokens, finished, steps, busy time in
        picoseconds, the time between tokens in nanoseconds, first tokens.
        """
        seen = np.zeros((len(self._slots), READINGS), dtype=np.int64)
        kernel.look_at_all(self._world, self._now_ps, seen)
        return dict(zip(self._slots, seen.tolist(), strict=True))

    def ttft_counts(self, version: int | None = None) -> Ints:
        """The first tokens so far by bucket, of one version or all, with those of replicas that are gone."""
        counts, versions = self._replicas["ttft"][self._slots], self._replicas["version"][self._slots]
        if version is None:
            return np.asarray(self._departed.sum(axis=0) + counts.sum(axis=0), dtype=np.int64)
        own = counts[versions == version]
        return np.asarray(self._departed[version] + own.sum(axis=0), dtype=np.int64)

    def outcomes(self) -> Outcomes:
        """What has become of every request so far."""
        requests = self._requests
        ttft_s, finish_s = seconds(requests["first_ps"] - requests["arrival_ps"]), seconds(requests["finish_ps"])
        ttft_s[requests["first_ps"] == NOBODY] = np.nan
        finish_s[requests["finish_ps"] == NOBODY] = np.nan
        return Outcomes(ttft_s=ttft_s, finish_s=finish_s, fate=requests["fate"].copy())

    def requests(self, numbers: Ints) -> Rows:
        """A copy of the requests of these numbers, which count from 0 in the order of arrival; see `state.Request`."""
        return self._requests[numbers]

    def fates(self) -> dict[Fate, int]:
        """How many requests there are of each fate."""
        counts = self._shed + np.bincount(self._requests["fate"], minlength=len(Fate))
        return {fate: int(counts[fate]) for fate in Fate}

    def _reading(self, slot: int, row: list[int]) -> Reading:
        running, waiting, kv_tokens, prompt, generation, finished, steps, busy_ps, token_ns, _ = row
        return Reading(
            running=running,
            waiting=waiting,
            kv_usage=kv_tokens / int(self._replicas[slot]["kv_limit_tokens"]),
            prompt_tokens=prompt,
            generation_tokens=generation,
            finished=finished,
            steps=steps,
            busy_s=busy_ps / TICKS_PER_S,
            token_s=token_ns / 1e9,
            ttft=tuple(self._replicas[slot]["ttft"].tolist()),
        )

    def _renumber(self, count: int) -> None:
        """Every number of a request is less by ``count``: those of queues, and those packed into finish steps."""
        self._gates["next"] -= count
        for rows, name in ((self._requests, "link"), (self._gates, "head"), (self._gates, "tail")):
            rows[name] = np.maximum(rows[name] - count, NOBODY)
        for name in ("head", "tail"):
            self._replicas[name] = np.maximum(self._replicas[name] - count, NOBODY)
        self._replicas["finish"] -= count

    def _use(self, slots: list[int]) -> None:
        self._slots = slots
        self._world = self._bound()

    def _grow(self) -> None:
        """Twice the slots, those in use unchanged."""
        slots = len(self._replicas)
        self._replicas = np.concatenate([self._replicas, np.zeros(slots, dtype=REPLICA)])
        self._free = list(range(slots, 2 * slots))

    def _bound(self) -> World:
        """The arrays as the kernel takes them."""
        active = np.array(self._slots, dtype=np.int64)
        arrays: tuple[Any, ...] = (self._requests, self._replicas, self._gates, active, self._bounds)
        return World(*arrays)


def requests_of(trace: Trace, generator: np.random.Generator) -> Rows:
    """The trace's requests, none of which has arrived."""
    requests = np.zeros(len(trace), dtype=REQUEST)
    requests["arrival_ps"] = np.rint(trace.arrival_s * 1e9).astype(np.int64) * 1000
    requests["prompt_tokens"] = trace.prompt_tokens
    requests["output_tokens"] = trace.output_tokens
    requests["share"] = generator.integers(0, 100, size=len(trace))
    requests["fate"] = Fate.AHEAD
    for name in ("link", "slot", "start_ps", "first_ps", "finish_ps"):
        requests[name] = NOBODY
    return requests


def row_of(engine: Engine, version: int) -> Rows:
    """A replica without work."""
    row = np.zeros(1, dtype=REPLICA)
    row["version"] = version
    row["alpha_ps"] = round(engine.alpha_ms * MS)
    row["beta_ps"] = round(engine.beta_ms * MS)
    row["kappa_ps"] = round(engine.kappa_ms * MS / 1000)  # a thousand tokens to one
    row["gamma_ps"] = round(engine.gamma_ms * MS)
    row["delta_ps"] = round(engine.delta_ms * MS)
    row["kv_limit_tokens"] = engine.kv_tokens
    row["max_seqs"] = min(engine.max_seqs, MOST_SEQS)
    row["chunk_tokens"] = engine.chunk_tokens
    kernel.clear(row[0])
    return row
