"""What one replica carries, learned from what the engines say of each minute.

A step of an engine with B running sequences takes a + b*B + k*U + d*p seconds (reference/latency-model.md, 1): U is the
used share of its KV cache, p the prompt tokens that the step takes. The time between two tokens of a request is such a
step, and over a minute B is the decode rate times it, by Little's law. Divided by it, every replica gives in every
minute one line

    1 = a*(1/L) + b*(G + 1/L) + k*(U/L) + d*P          L inter-token latency, G decode and P prefill tokens a second

for four unknowns that are positive. The line is fitted by least squares with a prior on the shape alone (what b, k and
d are to a is alike on all GPUs), so no scale has to be known beforehand. On top of the shape, learned over hours, a
scale follows the last minutes.

A replica that only prefills has no tokens in a row to time. What it tells is R, the requests in prefill on average
(the seconds that prefills took, by the second: Little's law). All that arrive during a step share the next one, so R is
rho*(1 + rho*R) for a replica that is busy for a share rho of its time, and a minute gives

    1 = a*(F/R) + d*(P/rho)          F requests and P prompt tokens a second, a and d as above without decoding

The same fit does for both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import fsum, sqrt
from typing import Final

from scaler.core.memory import CapacityMemory
from scaler.core.model import Fleet, Load, Missing, Replica, Role, TargetKey, Tokens, Work

SHAPE: Final = (1.0, 0.0022, 1.4, 0.0040)
"""Seconds of a step's overhead, a decoded token, a read of the whole cache and a prefilled token, in overheads.

Medians of the fits in reference/latency-model.md, 2, whose rows spread by a factor of 1.5 around them (b 0.0013 to
0.0040, d 0.0018 to 0.0059), and k by 2 (0.8 to 2.9).
"""

SHAPE_SPREAD: Final = (0.3, 0.6, 0.6, 0.5)
"""How far each may be from that, as a share: the spread of the same rows."""

LINE_ERROR: Final = 0.03
"""What one line is off by: a mean of four scrapes of 15 s stands for a minute."""

KEPT: Final = 0.998
"""What a line still weighs when the next round of them comes: after 15 s each, half of it after an hour and a half."""

WEIGHT_MOST: Final = 400.0
"""Lines that count at most. Their errors have a common part, which a thousand of them do not average away."""

SCALE_STEP_SLOWER: Final = 0.25
SCALE_STEP_FASTER: Final = 0.10
"""How much of the difference a minute's lines make up for: belief falls within minutes, and rises more slowly."""

MISFIT_MOST: Final = 0.05
"""Up to this far from what is believed at the scale of late, a line teaches the shape.

At 0.10 a young belief of the wrong speed came out half as much again too high, at 0.05 from 26 % below to 17 % above.
"""

SEQUENCES_FEW: Final = 0.2
"""With fewer than this running on average, a minute holds a handful of tokens, and their time says little."""

PREFILLING_FEW: Final = 0.05
"""With less than this in prefill on average, a minute holds three seconds of work, and its mean says little."""

PREFILL_STEP_TOKENS: Final = 4096.0
"""Prompt tokens in a full step of a replica that only prefills: vLLM and SGLang fill it up to 2048 or 8192, by the GPU.

On the rows of reference/latency-model.md its overhead is then 2 to 5 % of a step, so to be wrong by two costs 5 %.
"""

SPEAKS_FOR_S: Final = 900.0
"""For so long a steady minute speaks for or against the belief, and for so long after a start one is waited for:
traffic that is never steady for a minute teaches nothing."""

SICK_BELOW: Final = 0.6
"""A replica that has this share of the speed of the middle one is sick: noise of a minute stays within a fifth."""

SLOW_BELOW: Final = 0.75
"""Below this share of the speed of the middle one a replica counts for less than a whole one."""

ALIKE_LEAST: Final = 3
"""Of two replicas nobody can say which one is odd."""

SEQUENCES_MOST: Final = 256.0
"""Sequences in one step until more, or a queue at fewer, are seen: the default of vLLM before 0.8 and of SGLang."""

CACHE_USED: Final = 0.95
"""The share of the cache that can be in use before requests are preempted: reference/metrics.md has 1/15 in blocks."""

QUEUE_LEAST: Final = 2.0
QUEUE_SHARE: Final = 0.25
"""A queue is one from two requests and a quarter of the running on: fewer wait for the step that is under way."""

CACHE_SHORT: Final = 0.85
OVERHEAD_LEAST: Final = 0.25
"""Below this share of overhead a step is full of work, and above that use of the cache requests wait for its blocks."""

CLOCK_BACK_S: Final = 300.0
"""Samples this much older than those learned from are of a clock that went back: a late scrape is not so late."""

Line = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What a replica is believed to take for its work, in seconds.

    For a step, a decoded token, a prefilled token, and to read its whole cache once. ``sequences_most`` run at once.
    ``lines`` is the weight of the measurements that it rests on. Where a replica only prefills, the prefilled token has
    its part of a full step, and nothing else takes time.
    """

    step_s: float
    decode_s: float
    cache_s: float
    prefill_s: float
    sequences_most: float
    lines: float

    def replicas(self, flow: Tokens, inter_token_latency_s: float | None = None) -> float:
        """How many replicas the work of ``flow`` keeps busy, when each runs as many sequences as it may.

        Worked: 8B on an H100, 1155 tokens in and 211 out, 10 requests a second: 2110·(6.37/256 + 0.012 + 0.051) ms +
        11550·0.0196 ms = 0.41.
        """
        batch = self.batch(flow, inter_token_latency_s)
        decode_s = self.step_s / batch + self.decode_s + self.cache_s * flow.cache_share
        return flow.decode_per_s * decode_s + flow.prefill_per_s * self.prefill_s

    def batch(self, flow: Tokens, inter_token_latency_s: float | None = None) -> float:
        """The most sequences in one step: by the engine's own limit, its cache, and the time between tokens."""
        most = self.sequences_most
        if flow.cache_share > 0.0:
            most = min(most, CACHE_USED / flow.cache_share)
        if inter_token_latency_s is not None and flow.decode_per_s > 0.0 and self.step_s > 0.0:
            prefill_s = self.prefill_s * flow.prefill_per_s / flow.decode_per_s
            sequence_s = self.decode_s + self.cache_s * flow.cache_share + prefill_s
            most = min(most, (inter_token_latency_s - self.step_s) / sequence_s)
        return max(most, 1.0)

    def tokens_per_s(self, flow: Tokens) -> float:
        """Prefill and decode tokens a second of one replica at its limit, in the mix of ``flow``; 0 without any."""
        busy = self.replicas(flow)
        return (flow.prefill_per_s + flow.decode_per_s) / busy if busy > 0.0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    replica: Replica
    line: Line
    load: Load


def belief_of(memory: CapacityMemory) -> Belief | None:
    """What the lines kept in ``memory`` say, None where there are none."""
    thetas = thetas_of(memory)
    if thetas is None:
        return None
    step_s, decode_s, cache_s, prefill_s = thetas
    if _only_prefills(memory.key):
        step_s, decode_s, cache_s, prefill_s = 0.0, 0.0, 0.0, prefill_s + step_s / PREFILL_STEP_TOKENS
    return Belief(
        step_s=step_s,
        decode_s=decode_s,
        cache_s=cache_s,
        prefill_s=prefill_s,
        sequences_most=memory.sequences_most,
        lines=memory.lines,
    )


def thetas_of(memory: CapacityMemory) -> Line | None:
    """The four unknowns at the scale of late, None where nothing was learned."""
    if memory.lines <= 0.0:
        return None
    step_s, decode_s, cache_s, prefill_s = (value * memory.scale for value in fitted(memory.moments, memory.lines))
    return step_s, decode_s, cache_s, prefill_s


def _only_prefills(key: TargetKey) -> bool:
    return key.role == Role.PREFILL.value


def learned(memory: CapacityMemory, fleet: Fleet, *, queue_stood: bool = True) -> CapacityMemory:
    """``memory`` with the lines of the ready replicas that have a sample newer than it.

    ``queue_stood`` says whether requests waited throughout the minute: only then is what runs all that can.
    """
    seen = _newer(_all_seen(memory, fleet), memory.at_s)
    if not seen:
        return memory
    speeds = speeds_of(memory, seen)
    alike = [one for one, speed in zip(seen, speeds, strict=True) if speed is None or speed >= SICK_BELOW]
    after = _with(memory, alike or seen, queue_stood=queue_stood)
    return replace(after, slowness=_slowness(after, alike or seen))


def slower(memory: CapacityMemory, fleet: Fleet) -> tuple[tuple[Replica, float], ...]:
    """The ready replicas that are slower than their like by more than noise, each with its share of their speed."""
    seen = _all_seen(memory, fleet)
    pairs = zip(seen, speeds_of(memory, seen), strict=True)
    return tuple((one.replica, speed) for one, speed in pairs if speed is not None and speed < SLOW_BELOW)


def is_timed(memory: CapacityMemory, fleet: Fleet) -> bool:
    """Whether the last minute of a ready replica can be timed."""
    return bool(_all_seen(memory, fleet))


def speeds_of(memory: CapacityMemory, seen: Sequence[_Seen]) -> list[float | None]:
    """How fast each is beside the middle one, None where they are too few to tell."""
    thetas = thetas_of(memory)
    if thetas is None or len(seen) < ALIKE_LEAST:
        return [None for _ in seen]
    told = [_told(one.line, thetas) for one in seen]
    middle = sorted(told)[len(told) // 2]
    return [each / middle for each in told]


def _slowness(memory: CapacityMemory, seen: Sequence[_Seen]) -> float | None:
    """How many times as long as is believed the middle one took; None where nothing is believed."""
    thetas = thetas_of(memory)
    told = sorted(_told(one.line, thetas) for one in seen) if thetas is not None else []
    middle = told[len(told) // 2] if told else 0.0
    return 1.0 / middle if middle > 0.0 else None


def _told(line: Line, thetas: Line) -> float:
    """The time that the belief has for the work of a line; 1 where it is right, less for a replica that is slower."""
    return fsum(theta * value for theta, value in zip(thetas, line, strict=True))


def _all_seen(memory: CapacityMemory, fleet: Fleet) -> list[_Seen]:
    """The ready replicas whose minute can be timed."""
    line_told_by = prefill_line_of if _only_prefills(memory.key) else line_of
    seen: list[_Seen] = []
    for replica in fleet.ready():
        load = replica.load
        if isinstance(load, Missing) or isinstance(load.work, Missing):
            continue
        line = line_told_by(load, load.work)
        if line is not None:
            seen.append(_Seen(replica=replica, line=line, load=load))
    return seen


def _newer(seen: Sequence[_Seen], after_s: float | None) -> Sequence[_Seen]:
    """Those that were not learned from yet; after a clock went back, all of them, or nobody would learn until then."""
    if after_s is None or max((one.load.at_s for one in seen), default=after_s) < after_s - CLOCK_BACK_S:
        return seen
    return [one for one in seen if one.load.at_s > after_s]


def line_of(load: Load, work: Work) -> Line | None:
    """The four factors of one replica's minute (see above), None where it decoded too little to be timed."""
    latency_s = work.inter_token_latency_s
    if latency_s is None or latency_s <= 0.0:
        return None
    sequences = work.decode_tokens_per_s * latency_s
    if sequences < SEQUENCES_FEW:
        return None
    steps_per_s = 1.0 / latency_s
    # A token meets the step that it is in: on average one sequence more than there are, as at a bus stop.
    met = (sequences + 1.0) / sequences
    cache = min(load.kv_usage, 1.0) * met * steps_per_s
    return (steps_per_s, work.decode_tokens_per_s * met, cache, work.prefill_tokens_per_s)


def prefill_line_of(_: Load, work: Work) -> Line | None:
    """The four factors of a minute of a replica that only prefills, None where it had too little to be timed."""
    prefilling = work.prefilling
    if prefilling is None or prefilling < PREFILLING_FEW:
        return None
    return (work.finished_per_s / prefilling, 0.0, 0.0, work.prefill_tokens_per_s / busy_share(prefilling))


def busy_share(prefilling: float) -> float:
    """The share of its time that a replica is busy which has so many requests in prefill on average.

    All who arrive while a step is under way share the next one. By Little's law that is R others, for those who do not
    find the replica idle. So R = rho*(1 + rho*R): 0.25 in prefill are 0.24 of its time, 1 is 0.62, 3 are 0.85.
    """
    # The larger root without its difference of near equals: 2R / (1 + sqrt(1 + 4R^2)).
    return 2.0 * prefilling / (1.0 + sqrt(1.0 + 4.0 * prefilling * prefilling))


def _with(memory: CapacityMemory, seen: Sequence[_Seen], *, queue_stood: bool) -> CapacityMemory:
    """``memory`` with these lines, each of them as it would be at scale 1.

    Lines that do not fit move the scale alone: two speeds at two levels of load, read as one, make an impossible shape.
    """
    share = min(1.0, 4.0 / len(seen))  # ten replicas of one moment share its errors: they count as four
    scale = 1.0 if memory.lines <= 0.0 else _scale(memory, [one.line for one in seen])
    thetas = thetas_of(replace(memory, scale=scale))
    lines = [(one.line, share) for one in seen if thetas is None or abs(1.0 - _told(one.line, thetas)) <= MISFIT_MOST]
    kept = min(KEPT, max(0.0, 1.0 - share * len(lines) / WEIGHT_MOST)) if lines else 1.0
    moments = _moments(memory.moments, kept, lines, scale)
    return replace(
        memory,
        at_s=max(one.load.at_s for one in seen),
        moments=moments,
        lines=memory.lines * kept + fsum(weight for _, weight in lines),
        scale=scale,
        sequences_most=_sequences_most(memory, seen, queue_stood=queue_stood),
    )


def _scale(memory: CapacityMemory, lines: Sequence[Line]) -> float:
    """How much slower (above 1) replicas are than the shape says, of late."""
    thetas = thetas_of(memory)
    if thetas is None:
        return memory.scale
    told = sorted(_told(line, thetas) for line in lines)
    middle = told[len(told) // 2]
    if middle <= 0.0:
        return memory.scale
    # The belief times 1 / middle would be right for the middle replica of this minute.
    wanted = memory.scale / middle
    step = SCALE_STEP_SLOWER if wanted > memory.scale else SCALE_STEP_FASTER
    return memory.scale + step * (wanted - memory.scale)


def _moments(
    before: tuple[float, ...], kept: float, lines: Iterable[tuple[Line, float]], scale: float
) -> tuple[float, ...]:
    """The upper triangle of the sum of squares, row by row, and the sums: ten numbers and four."""
    moments = [value * kept for value in before]
    for line, weight in lines:
        row = [value * scale for value in line]
        place = 0
        for first in range(4):
            for second in range(first, 4):
                moments[place] += weight * row[first] * row[second]
                place += 1
        for first in range(4):
            moments[10 + first] += weight * row[first]
    return tuple(moments)


@lru_cache(maxsize=16)  # a tick asks six times for each target, and it is a quarter of what a decision takes
def fitted(moments: tuple[float, ...], lines: float) -> tuple[float, ...]:
    """The four unknowns at scale 1 that fit best, between a fifth and five times what the prior's shape says."""
    sums = moments[10:]
    squares = square_of(moments)
    # How much overhead the shape itself would need: the least squares of one unknown.
    top = fsum(ratio * value for ratio, value in zip(SHAPE, sums, strict=True))
    bottom = fsum(SHAPE[i] * SHAPE[j] * squares[i][j] for i in range(4) for j in range(4))
    prior = [ratio * top / bottom for ratio in SHAPE]
    weight = precision_of(lines)
    matrix = [[weight * squares[i][j] * prior[i] * prior[j] for j in range(4)] for i in range(4)]
    right = [weight * sums[i] * prior[i] for i in range(4)]
    for i, spread in enumerate(SHAPE_SPREAD):
        matrix[i][i] += 1.0 / (spread * spread)
        right[i] += 1.0 / (spread * spread)
    shares = solved(matrix, right)
    return tuple(min(max(share, 0.2), 5.0) * value for share, value in zip(shares, prior, strict=True))


def precision_of(lines: float) -> float:
    """What one of so many lines weighs beside the prior: the common part of their errors leaves forty in all."""
    return 1.0 / (LINE_ERROR * LINE_ERROR * max(1.0, lines / 40.0))


def square_of(moments: Sequence[float]) -> list[list[float]]:
    """The whole sum of squares, four by four."""
    square = [[0.0] * 4 for _ in range(4)]
    place = 0
    for first in range(4):
        for second in range(first, 4):
            square[first][second] = square[second][first] = moments[place]
            place += 1
    return square


def solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The solution of a symmetric, positive definite system, by elimination: such a one needs no pivots."""
    size = len(right)
    rows = [[*matrix[i], right[i]] for i in range(size)]
    for i in range(size):
        for j in range(i + 1, size):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [below - factor * above for below, above in zip(rows[j], rows[i], strict=True)]
    answer = [0.0] * size
    for i in reversed(range(size)):
        known = fsum(rows[i][j] * answer[j] for j in range(i + 1, size))
        answer[i] = (rows[i][size] - known) / rows[i][i]
    return answer


def _sequences_most(memory: CapacityMemory, seen: Sequence[_Seen], *, queue_stood: bool) -> float:
    """The engine's own limit: more were seen to run, or some waited although neither time nor cache was short."""
    most = max(memory.sequences_most, *(one.load.running for one in seen))
    belief = belief_of(memory)
    # Where nothing is decoded no sequences run beside each other: what waits is for the step that is under way.
    if belief is None or not queue_stood or _only_prefills(memory.key):
        return most
    limited = [one.load.running for one in seen if _is_limited(one, belief)]
    return min(limited) if len(limited) * 2 > len(seen) else most


def _is_limited(one: _Seen, belief: Belief) -> bool:
    """Whether requests wait at an engine that could step faster, and has room in its cache."""
    overhead = belief.step_s * one.line[0]  # the share of its time that is not work
    queues = one.load.waiting >= max(QUEUE_LEAST, QUEUE_SHARE * one.load.running) and one.load.running >= 1.0
    return queues and one.load.kv_usage < CACHE_SHORT and overhead > OVERHEAD_LEAST
