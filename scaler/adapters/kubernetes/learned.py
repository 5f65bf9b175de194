"""What was learned, from a memory to the status of its policy, and after a restart back again. Pure.

Reading trusts nobody: what an older or newer version wrote, or somebody by hand, is as if it were not there where it
cannot have been learned.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import inf
from typing import Any, Final

from scaler.adapters.kubernetes.times import seconds, written
from scaler.api.status import (
    BusyShares,
    LearnedCalm,
    LearnedCapacity,
    LearnedDemand,
    LearnedLoad,
    LearnedRequest,
    LearnedTarget,
    LearnedTrend,
    Status,
)
from scaler.core.keeping import (
    CapacityKept,
    calm_told,
    capacity_from,
    capacity_kept,
    course_from,
    growth_from,
    growth_told,
    levels_told,
    trends_from,
    trends_told,
)
from scaler.core.memory import CapacityMemory, Course, LoadSample
from scaler.core.model import Fleet, Observation, Role, TargetKey, Tokens
from scaler.core.plan import LoadTime, Plan
from scaler.runtime.ports import Record

KINDS_MOST: Final = 8
"""Kinds of node told of one target: those with the most behind them."""

WEIGHT_LEAST: Final = 0.05
"""A weight that has faded to less is not told."""


def _digits(number: float, count: int) -> float:
    """``number`` to so many digits."""
    return float(f"{number:.{count}g}")


# --- To the status -----------------------------------------------------------------------------------------------


def learned_of(record: Record, before: Status) -> tuple[LearnedTarget, ...]:
    """What was measured; what the user only expects is in the spec. What this tick does not tell is kept."""
    known = {(each.name, each.role): each for each in before.learned}
    told = (_target(target.key, record, known) for target in record.policy.targets())
    return tuple(each for each in told if each is not None)


def _target(key: TargetKey, record: Record, known: Mapping[tuple[str, Role], LearnedTarget]) -> LearnedTarget | None:
    bare = LearnedTarget(name=key.version, role=Role(key.role))
    kept, plan = known.get((bare.name, bare.role), bare), record.plan
    told = LearnedTarget(
        name=bare.name,
        role=bare.role,
        load_seconds=_load_seconds(plan.load_times.get(str(key)), key, record) or kept.load_seconds,
        # While nothing is served there is no mix of tokens to tell a rate for.
        tokens_per_second_per_replica=_digits(plan.tokens_per_s.get(str(key), 0.0), 2)
        or kept.tokens_per_second_per_replica,
        capacity=_capacities(key, plan),
    )
    return None if told == bare else told


def _load_seconds(load_time: LoadTime | None, key: TargetKey, record: Record) -> LearnedLoad | None:
    if load_time is None or load_time.samples == 0:
        return None
    fleet, counted = record.observation.fleet(key), frozenset(record.plan.memory.counted)
    replicas = fleet.replicas if isinstance(fleet, Fleet) else ()
    last_s = max((each.ready_at_s for each in replicas if each.name in counted and each.ready_at_s), default=None)
    return LearnedLoad(
        p50=round(load_time.p50_s, 1),
        p90=round(load_time.p90_s, 1),
        samples=load_time.samples,
        until=None if last_s is None else written(last_s),
    )


def _capacities(key: TargetKey, plan: Plan) -> tuple[LearnedCapacity, ...]:
    kept = [
        (memory.node_class, each)
        for memory in plan.memory.capacities
        if memory.key == key and (each := capacity_kept(memory)) is not None
    ]
    most = sorted(kept, key=lambda pair: pair[1].lines, reverse=True)[:KINDS_MOST]
    return tuple(_capacity(*pair) for pair in sorted(most, key=lambda pair: pair[0] or ""))


def _capacity(node_class: str | None, kept: CapacityKept) -> LearnedCapacity:
    return LearnedCapacity(
        node_class=node_class,
        step_seconds=_digits(kept.step_s, 4),
        decode_seconds=_digits(kept.decode_s, 4),
        cache_seconds=_digits(kept.cache_s, 4),
        prefill_seconds=_digits(kept.prefill_s, 4),
        sequences=_digits(kept.sequences_most, 4),
        weight=_digits(kept.lines, 3),
        busy=BusyShares(
            decode=round(kept.decode_share, 3),
            cache=round(kept.cache_share, 3),
            prefill=round(kept.prefill_share, 3),
            spread=round(kept.spread, 3),
        ),
    )


def demand_of(courses: Iterable[Course]) -> tuple[LearnedDemand, ...]:
    """How the demand of each role went, of which anything was counted."""
    return tuple(_demand(course) for course in courses if course.highest_per_s > 0.0 or course.growth)


def _demand(course: Course) -> LearnedDemand:
    request = course.request
    return LearnedDemand(
        role=Role(course.role),
        growth=_weights(growth_told(course).items()),
        trends=tuple(
            LearnedTrend(above=edge, growth=growth)
            for edge, told in trends_told(course).items()
            if (growth := _weights(told)) is not None
        ),
        calm=_calm(course),
        coverage=None if course.coverage is None else round(course.coverage, 3),
        highest_tokens_per_second=_digits(course.highest_per_s, 3),
        request=None
        if request is None or request.requests_per_s <= 0.0
        else LearnedRequest(
            prefill_tokens=_digits(request.prefill_per_s, 4),
            decode_tokens=_digits(request.decode_per_s, 4),
            cache_share=_digits(request.cache_share, 4),
        ),
        seen_seconds=_digits(course.seen_s, 3) or None,
        work_replica_seconds=_digits(course.came_s, 3) or None,
        requests=_digits(course.requests, 3) or None,
        late_requests=_weights(levels_told(course)),
    )


def _calm(course: Course) -> LearnedCalm | None:
    growth = _weights(calm_told(course))
    if growth is None or course.highest_per_s <= 0.0:
        return None
    plain_s, calm_s = (_digits(loss / course.highest_per_s, 3) for loss in course.losses)
    return LearnedCalm(growth=growth, cost_seconds=calm_s, plain_cost_seconds=plain_s)


def _weights(weights: Iterable[tuple[float, float]]) -> str | None:
    """Such as 1=5400,1.02=30: three digits of each weight, and no exponent."""
    told = ((name, Decimal(f"{weight:.3g}")) for name, weight in weights if weight >= WEIGHT_LEAST)
    return ",".join(f"{name:g}={weight:f}" for name, weight in told) or None


# --- Back again --------------------------------------------------------------------------------------------------

SAMPLES_MADE: Final = 20
ONE_SLOW_IN: Final = 3
"""Of the samples that stand for two quantiles, every third is a slow one. By the estimate's weights (0.87 for each
step back) that is 20 to 29 % of four samples or more: above the tenth that p90 leaves, below the half that p50 does."""


def samples_of(learned: LearnedTarget) -> Iterable[LoadSample]:
    """Samples, oldest first, of which the same quantiles are learned again."""
    load = learned.load_seconds
    if load is None:
        return
    count = min(load.samples, SAMPLES_MADE)
    for age in reversed(range(count)):
        is_slow = age % ONE_SLOW_IN == ONE_SLOW_IN - 1
        yield LoadSample(key=_key(learned), node_class=None, total_s=load.p90 if is_slow else load.p50)


def _key(learned: LearnedTarget) -> TargetKey:
    return TargetKey(version=learned.name, role=learned.role.value)


def counted_of(learned: Iterable[LearnedTarget], observation: Observation, at_s: float) -> tuple[str, ...]:
    """The replicas whose start is in the load times already: those that were ready by when they were told."""
    names: list[str] = []
    for target in learned:
        fleet = observation.fleet(_key(target))
        until_s = _until_s(target.load_seconds, at_s)
        replicas = fleet.replicas if isinstance(fleet, Fleet) else ()
        names += [each.name for each in replicas if each.ready_at_s is not None and each.ready_at_s <= until_s]
    return tuple(sorted(names))


def _until_s(load: LearnedLoad | None, at_s: float) -> float:
    """The end of the starts that were counted; one that is still to come counts none."""
    try:
        until_s = seconds(None if load is None else load.until)
    except ValueError:
        return -inf
    return -inf if until_s is None or until_s > at_s else until_s


def capacities_of(learned: Iterable[LearnedTarget]) -> tuple[CapacityMemory, ...]:
    """What each target's replicas take for their work, by kind of node."""
    memories = (_memory(each, _key(target)) for target in learned for each in target.capacity)
    known = {(memory.key, memory.node_class): memory for memory in memories if memory is not None}
    return tuple(known.values())


def _memory(told: LearnedCapacity, key: TargetKey) -> CapacityMemory | None:
    busy = told.busy
    kept = CapacityKept(
        step_s=told.step_seconds,
        decode_s=told.decode_seconds,
        cache_s=told.cache_seconds,
        prefill_s=told.prefill_seconds,
        sequences_most=told.sequences,
        lines=told.weight,
        decode_share=busy.decode,
        cache_share=busy.cache,
        prefill_share=busy.prefill,
        spread=busy.spread,
    )
    return capacity_from(kept, key, told.node_class)


def courses_of(told: Iterable[LearnedDemand]) -> tuple[Course, ...]:
    """How the demand of each role went, as far as it can have gone so."""
    return tuple(course_from(_course(each)) for each in told)


def _course(told: LearnedDemand) -> Course:
    request = told.request
    return Course(
        role=told.role.value,
        growth=growth_from(_numbers(told.growth)),
        trends=trends_from({trend.above: _numbers(trend.growth) for trend in told.trends}),
        calm_growth=() if told.calm is None else growth_from(_numbers(told.calm.growth)),
        losses=_losses(told),
        coverage=told.coverage,
        highest_per_s=told.highest_tokens_per_second or 0.0,
        request=None
        if request is None
        else Tokens(
            prefill_per_s=request.prefill_tokens,
            decode_per_s=request.decode_tokens,
            requests_per_s=1.0,
            cache_share=request.cache_share,
        ),
        seen_s=told.seen_seconds or 0.0,
        came_s=told.work_replica_seconds or 0.0,
        requests=told.requests or 0.0,
        late=tuple(sorted((int(level), requests) for level, requests in _numbers(told.late_requests).items())),
    )


def _losses(told: LearnedDemand) -> tuple[float, float]:
    highest_per_s = told.highest_tokens_per_second or 0.0
    if told.calm is None:
        return (0.0, 0.0)
    return (told.calm.plain_cost_seconds * highest_per_s, told.calm.cost_seconds * highest_per_s)


def _numbers(weights: str | None) -> dict[float, float]:
    """The weights by what they are for; none where they cannot be read."""
    pairs = (pair.partition("=") for pair in (weights or "").split(",") if pair)
    try:
        return {float(name): float(weight) for name, _, weight in pairs}
    except ValueError:
        return {}


# --- What moved --------------------------------------------------------------------------------------------------

MOVED_SHARE: Final = 0.1
COUNTED_SHARE: Final = 0.25
COUNTS: Final = frozenset({"weight", "seenSeconds", "workReplicaSeconds", "requests", "growth", "lateRequests"})
"""What has moved is worth a write of its own: a value by a tenth, and how much stands behind it by a quarter. At rest
the values stand still, and what stands behind them grows by a quarter ever more seldom, until it fades as it grows."""

PASSENGERS: Final = frozenset({"busy", "until", "samples", "trends", "calm"})
"""What goes along, and is no reason to write."""


def moved(new: Any, old: Any, name: str = "") -> float:
    """How far two trees of what was learned are apart, 1 from where it is worth a write; inf where a part is new."""
    if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        return max((moved(new[key], old[key], key) for key in new if key not in PASSENGERS), default=0.0)
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return max((moved(*pair, name) for pair in zip(new, old, strict=True)), default=0.0)
    if isinstance(new, str) and isinstance(old, str) and name in COUNTS:
        return _moved_weights(_numbers(new), _numbers(old)) / COUNTED_SHARE
    if isinstance(new, float | int) and isinstance(old, float | int):
        share = COUNTED_SHARE if name in COUNTS else MOVED_SHARE
        return abs(new - old) / max(abs(new), abs(old), 1e-12) / share
    return 0.0 if new == old else inf


def _moved_weights(new: Mapping[float, float], old: Mapping[float, float]) -> float:
    """The weight that is elsewhere, in shares of the larger of both."""
    apart = sum(abs(new.get(each, 0.0) - old.get(each, 0.0)) for each in {*new, *old})
    return apart / max(sum(new.values()), sum(old.values()), 1e-12)
