"""The schedule that somebody would keep who knew every request beforehand: what replica-hours are measured against.

How many replicas each window needs is its work, times one factor found by bisection against the plant. Each replica is
kept through a dip when idling costs less than a stop and a start, and is asked for one load time ahead. Every start
takes the median: this foresight does not know the drawn times, it simply never meets a slow one. It is a schedule that
works, so the true optimum costs as much or less.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim.latency import Engine
from scaler.sim.plant import Plant
from scaler.sim.state import NOBODY, seconds
from scaler.sim.trace import Trace
from scaler.sim.workload import PIECE_S, Workload

WINDOWS_S: Final = (60.0, 15.0, 300.0)  # the likeliest first: the others stop where they would cost more
LOWEST: Final = 0.2
RISING: Final = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.8, 4.0)
CLOSE: Final = 1.01  # bisection ends when the factor is known to one in a hundred
LOOK_S: Final = 1.0
AHEAD_S: Final = 30.0
MOST_KEPT: Final = 10_000_000  # requests that are drawn once for all trials, in 160 MB; more are drawn for each
TAIL_S: Final = 120.0  # the last requests have this long after the end for their first token


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is to be served, on what, and how well. ``seed`` is the traffic's.

    A replica costs ``load_s`` before it is ready and ``drain_s`` after its last request was sent to it, both as they
    usually are. ``least`` replicas are kept throughout, as the policies that this is compared with keep them.
    """

    workload: Workload
    engine: Engine
    load_s: float
    drain_s: float
    seed: int = 0
    objective_s: float = 2.0
    share: float = 0.99
    least: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A replica's time of service. It was asked for one load time before ``ready_s``."""

    ready_s: float
    stopped_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A schedule and what came of it in the plant.

    ``attained`` is the share of all requests with a first token within the objective; ``factor`` is what the work had
    to be multiplied with, in windows of ``window_s``.
    """

    spans: tuple[Span, ...]
    attained: float
    replica_s: float
    factor: float
    window_s: float

    @property
    def replica_hours(self) -> float:
        """From creation to the end of drain, within the run."""
        return self.replica_s / 3600.0


def bound(case: Case, windows_s: Sequence[float] = WINDOWS_S) -> Bound:
    """The cheapest schedule over the windows that attains the share; when none does, the one that attains most."""
    kept_case = drawn_once(case)
    found: list[Bound] = []
    below_s = math.inf
    for window_s in windows_s:
        found.append(in_windows(kept_case, window_s, below_s))
        if found[-1].attained >= case.share:
            below_s = min(below_s, found[-1].replica_s)
    met = [one for one in found if one.attained >= case.share]
    return min(met, key=lambda one: one.replica_s) if met else max(found, key=lambda one: one.attained)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Traffic whose requests are drawn already; a seed changes nothing."""

    name: str
    span_s: float
    drawn: tuple[Trace, ...]

    def pieces(self, _seed: int) -> Iterator[Trace]:
        """The requests in order."""
        return iter(self.drawn)


def drawn_once(case: Case) -> Case:
    """``case`` with its requests drawn, unless they are too many to keep."""
    pieces: list[Trace] = []
    for piece in case.workload.pieces(case.seed):
        pieces.append(piece)
        if sum(map(len, pieces)) > MOST_KEPT:
            return case
    return replace(case, workload=Drawn(name=case.workload.name, span_s=case.workload.span_s, drawn=tuple(pieces)))


def in_windows(case: Case, window_s: float, below_s: float = math.inf) -> Bound:
    """The schedule of the smallest factor that attains the share, for one length of window.

    Only schedules that cost less than ``below_s`` are looked at; what comes back may fall short of the share.
    """
    work = work_of(case, window_s)
    low, factors = LOWEST, [factor for factor in RISING if planned_s(case, work, factor, window_s) < below_s]
    best = tried(case, work, low, window_s)
    for factor in () if best.attained >= case.share else factors:
        best = tried(case, work, factor, window_s)
        if best.attained >= case.share:
            break
        low = factor
    high = best.factor
    while best.attained >= case.share and high / low > CLOSE:
        middle = (low * high) ** 0.5
        found = tried(case, work, middle, window_s)
        if found.attained >= case.share:
            best, high = found, middle
        else:
            low = middle
    return best


def planned_s(case: Case, work: NDArray[np.float64], factor: float, window_s: float) -> float:
    """What the schedule for ``factor`` times the work costs before drains, which only the plant tells."""
    return sum(ready_cost_s(span, case.load_s) for span in spans_of(case, work, factor, window_s))


def spans_of(case: Case, work: NDArray[np.float64], factor: float, window_s: float) -> tuple[Span, ...]:
    """The schedule for ``factor`` times the work."""
    needs = np.maximum(np.ceil(np.round(work * factor, 9)), case.least).astype(np.int64)
    return scheduled(needs.tolist(), window_s, case.load_s + case.drain_s, case.workload.span_s)


def tried(case: Case, work: NDArray[np.float64], factor: float, window_s: float) -> Bound:
    """What comes of the schedule for ``factor`` times the work.

    It is broken off once the share is out of reach, with what could still have been attained; the largest factor is
    not, for what it attains is told when nothing attains the share.
    """
    spans = spans_of(case, work, factor, window_s)
    attained, drained_s = served(case, spans, 0.0 if factor == RISING[-1] else case.share)
    return Bound(
        spans=spans,
        attained=attained,
        replica_s=sum(ready_cost_s(span, case.load_s) for span in spans) + drained_s,
        factor=factor,
        window_s=window_s,
    )


def ready_cost_s(span: Span, load_s: float) -> float:
    """A replica's time until it stops. Of what was asked for before the run, only the part within it counts."""
    return span.stopped_s - max(0.0, span.ready_s - load_s)


# --- Need --------------------------------------------------------------------------------------------------------


def work_of(case: Case, window_s: float) -> NDArray[np.float64]:
    """The work that arrives in each window, in replicas that it keeps busy."""
    windows = max(1, int(np.ceil(case.workload.span_s / window_s)))
    work = np.zeros(windows)
    for piece in case.workload.pieces(case.seed):
        in_run = piece.arrival_s < case.workload.span_s
        prompts, outputs = piece.prompt_tokens[in_run], piece.output_tokens[in_run]
        taken_s = work_s(case.engine, prompts.astype(np.float64), outputs.astype(np.float64))
        place = (piece.arrival_s[in_run] // window_s).astype(np.int64)
        work += np.bincount(place, weights=taken_s, minlength=windows)
    return work / window_s


def work_s(engine: Engine, prompts: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of a replica at full batch that each request takes: its prompt, and its part of every step it is in.

    Example: Llama-3.1-8B on an H100, 1155 in and 211 out, 256 at once: 22.7 ms + 211 * (6.373 / 256 + 0.012 +
    0.04087 * 1.26) ms = 41.3 ms, so 24 a second; the plant keeps 99 % within 1 s up to 22.8.
    """
    if not len(prompts):
        return np.zeros(0)
    seated = min(float(engine.max_seqs), max(1.0, engine.kv_tokens / float(np.mean(prompts + outputs))))
    resident_k = (prompts + outputs / 2.0) / 1e3
    step_ms = engine.alpha_ms / seated + engine.beta_ms + engine.kappa_ms * resident_k
    return np.asarray((engine.delta_ms * prompts + outputs * step_ms) / 1e3, dtype=np.float64)


# --- Schedule ----------------------------------------------------------------------------------------------------


def scheduled(needs: Sequence[int], window_s: float, restart_s: float, until_s: float) -> tuple[Span, ...]:
    """The spans of replicas that cover ``needs``, the cheapest when a stop and a start cost ``restart_s``.

    The nth replica serves while n are needed. Its gaps lie within those of the next, so each is free to do what is
    cheapest for itself, and no other assignment costs less.
    """
    spans: list[Span] = []
    for level in range(1, max(needs, default=0) + 1):
        wanted = [Span(ready_s=a * window_s, stopped_s=min(b * window_s, until_s)) for a, b in runs(needs, level)]
        spans += kept(wanted, restart_s)
    return tuple(sorted(spans, key=lambda span: (span.ready_s, span.stopped_s)))


def runs(needs: Sequence[int], level: int) -> list[tuple[int, int]]:
    """Where ``needs`` is at ``level`` or above: begins, and ends (not included)."""
    above = [False, *(need >= level for need in needs), False]
    turns = [place for place, (was, is_now) in enumerate(pairwise(above)) if was is not is_now]
    return list(zip(turns[::2], turns[1::2], strict=True))


def kept(wanted: Sequence[Span], restart_s: float) -> list[Span]:
    """``wanted`` with those joined between which a replica idles for less than a restart costs."""
    spans = list(wanted[:1])
    for span in wanted[1:]:
        if span.ready_s - spans[-1].stopped_s <= restart_s:
            spans[-1] = Span(ready_s=spans[-1].ready_s, stopped_s=span.stopped_s)
        else:
            spans.append(span)
    return spans


# --- Proof -------------------------------------------------------------------------------------------------------


def served(case: Case, spans: Sequence[Span], share: float) -> tuple[float, float]:
    """The share of requests in time, and the seconds that replicas drained within the run.

    Broken off when less than ``share`` can be in time; the answer is then the most that could have been.
    """
    run = Run(case)
    requests = sum(len(piece) for piece in case.workload.pieces(case.seed))
    turns = [(span.ready_s, 0, number) for number, span in enumerate(spans)]
    turns += [(span.stopped_s, 1, number) for number, span in enumerate(spans) if span.stopped_s < run.span_s]
    turns += [(look_s, 2, 0) for look_s in np.arange(PIECE_S / 2.0, run.span_s, PIECE_S).tolist()]
    for at_s, kind, number in sorted(turns):
        run.advance(at_s)
        if kind == 0:
            run.start(number)
        elif kind == 1:
            run.stop(number)
        elif run.late() > (1.0 - share) * requests:
            return 1.0 - run.late() / requests, 0.0
    return run.ended()


class Run:
    """A plant under a schedule, fed piece by piece."""

    def __init__(self, case: Case) -> None:
        self.span_s = case.workload.span_s
        self._case = case
        self._now_s = 0.0
        self._pieces = case.workload.pieces(case.seed)
        self._known_s = float(PIECE_S)
        self._piece = next(self._pieces)
        self._plant = Plant(self._piece, seed=0, holds=True)
        self._slots: dict[int, int] = {}
        self._draining: list[tuple[float, float, int]] = []
        self._drained_s = 0.0
        self._requests = 0
        self._in_time = 0

    def start(self, number: int) -> None:
        """Let a replica serve from now on."""
        self._slots[number] = self._plant.add(self._case.engine)
        self._plant.open(self._slots[number])

    def stop(self, number: int) -> None:
        """Send a replica nothing more. It goes when it is empty, which is looked at every second."""
        slot = self._slots.pop(number)
        self._plant.close(slot)
        heappush(self._draining, (self._now_s, self._now_s, slot))

    def advance(self, until_s: float) -> None:
        """Let everything up to ``until_s`` happen, and those go that have drained."""
        while self._draining and self._draining[0][0] <= until_s:
            look_s, since_s, slot = heappop(self._draining)
            self._serve(look_s)
            if self._plant.outstanding(slot):
                heappush(self._draining, (look_s + LOOK_S, since_s, slot))
            else:
                self._plant.remove(slot)
                self._drained_s += look_s - since_s
        self._serve(until_s)

    def late(self) -> int:
        """At least so many requests are late by now: of those that wait, all but what may have just come.

        Right only in the middle of a piece, where what has just come is in it.
        """
        waiting = self._plant.held + sum(row[1] for row in self._plant.rows().values())
        just_now = np.searchsorted(self._piece.arrival_s, [self._now_s - self._case.objective_s, self._now_s])
        return self._requests - self._in_time + max(0, waiting - int(just_now[1] - just_now[0]) - 1)

    def ended(self) -> tuple[float, float]:
        """The share of all requests with their first token in time (1 when there are none), and the seconds drained."""
        self.advance(self.span_s)
        drained_s = self._drained_s + sum(self._now_s - since_s for _, since_s, _ in self._draining)
        self._plant.advance(self._now_s + TAIL_S)
        self._count(self._plant.outcomes().ttft_s)
        return self._in_time / self._requests if self._requests else 1.0, drained_s

    def _serve(self, until_s: float) -> None:
        """Let the plant go on. Before a piece of traffic ends, what is over is counted and the next piece comes."""
        while self._known_s - AHEAD_S <= until_s and (piece := next(self._pieces, None)) is not None:
            self._plant.advance(self._known_s - AHEAD_S)
            settled = self._plant.shed()
            ttft_s = seconds(settled["first_ps"] - settled["arrival_ps"])
            ttft_s[settled["first_ps"] == NOBODY] = np.nan
            self._count(ttft_s)
            self._plant.extend(piece)
            self._piece = piece
            self._known_s += PIECE_S
        self._plant.advance(until_s)
        self._now_s = until_s

    def _count(self, ttft_s: NDArray[np.float64]) -> None:
        self._requests += len(ttft_s)
        self._in_time += int(np.count_nonzero(ttft_s <= self._case.objective_s))  # NaN is not
