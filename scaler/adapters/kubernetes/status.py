"""From a decision to the status of its policy, and after a restart from the status back to a memory. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from math import inf
from typing import Any, Final

from scaler.adapters.kubernetes.learned import (
    capacities_of,
    counted_of,
    courses_of,
    demand_of,
    learned_of,
    moved,
    samples_of,
)
from scaler.adapters.kubernetes.times import seconds, written
from scaler.api.status import (
    ConditionStatus,
    DecisionStatus,
    PastDecision,
    ReleaseStatus,
    RulingStatus,
    Status,
    StatusCondition,
    TargetStatus,
)
from scaler.core.explain import summary
from scaler.core.memory import Memory, ReleaseMemory
from scaler.core.model import Fleet, Missing, Observation, Role, TargetKey
from scaler.core.plan import Condition, Plan, TargetPlan
from scaler.runtime.ports import Record

LONGEST_SENTENCE: Final = 1024
LONGEST_TRAIL: Final = 64
LONGEST_HISTORY: Final = 10

STATUS_WORDS: Final[Mapping[bool | None, ConditionStatus]] = {
    True: ConditionStatus.TRUE,
    False: ConditionStatus.FALSE,
    None: ConditionStatus.UNKNOWN,
}


def status_of(record: Record, edge: Sequence[Condition], generation: int, before: Status | None) -> Status:
    """The status after a decision, given the one before it, from which all that did not change is kept.

    ``edge`` are the conditions that the decision could not know of.
    """
    plan = record.plan
    earlier = before or Status()
    versions = _versions(record, earlier)
    desired = sum(each.desired for each in versions)
    conditions = _conditions((*plan.conditions, *edge), generation, earlier, plan.at_s)
    decision, history = _decisions(plan, versions, earlier)
    return Status(
        observed_generation=generation,
        conditions=conditions,
        desired=desired,
        actual=_actual(record),
        weights=_weights(plan.weights),
        versions=versions,
        release=_release(plan.memory.release) if record.policy.release is not None else None,
        learned=learned_of(record, earlier),
        demand=demand_of(plan.memory.courses),
        decision=decision,
        history=history,
    )


def faulty_status(faults: str, generation: int, before: Status | None, at_s: float) -> Status:
    """The status of a policy that is not sound: what was known stays, and Ready says what is wrong."""
    earlier = before or Status()
    ready = Condition(type="Ready", status=False, reason="Invalid", message=f"the spec is not sound: {faults}")
    (condition,) = _conditions((ready,), generation, earlier, at_s)
    others = tuple(each for each in earlier.conditions if each.type != condition.type)
    return earlier.model_copy(update={"conditions": (condition, *others), "observed_generation": generation})


def _conditions(
    conditions: Iterable[Condition], generation: int, before: Status, at_s: float
) -> tuple[StatusCondition, ...]:
    known = {each.type: each for each in before.conditions}
    return tuple(_condition(each, generation, known.get(each.type), at_s) for each in conditions)


def _condition(condition: Condition, generation: int, before: StatusCondition | None, at_s: float) -> StatusCondition:
    status = STATUS_WORDS[condition.status]
    is_same = before is not None and before.status is status
    return StatusCondition(
        type=condition.type,
        status=status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None and is_same else written(at_s),
        reason=condition.reason,
        message=_cut(condition.message),
    )


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[: LONGEST_SENTENCE - 1]}…"


def _versions(record: Record, before: Status) -> tuple[TargetStatus, ...]:
    known = {(each.name, each.role): each.desired for each in before.versions}
    told = (
        _version(target.key, record, known.get((target.key.version, Role(target.key.role))))
        for target in record.policy.targets()
    )
    return tuple(each for each in told if each is not None)


def _version(key: TargetKey, record: Record, desired_before: int | None) -> TargetStatus | None:
    """The status of one target; of one that could not be seen, what was last desired of it."""
    plan, fleet = record.plan.target(key), record.observation.fleet(key)
    desired = desired_before if plan is None else plan.replicas
    if desired is None:
        return None
    weights = record.plan.weights
    is_seen = isinstance(fleet, Fleet)
    starting = fleet.starting() if isinstance(fleet, Fleet) else ()
    return TargetStatus(
        name=key.version,
        role=Role(key.role),
        weight_percent=None if isinstance(weights, Missing) else weights.get(key.version, 0),
        desired=desired,
        ready=len(fleet.ready()) if isinstance(fleet, Fleet) else None,
        starting=len(starting) if is_seen else None,
        unschedulable=sum(each.unschedulable_since_s is not None for each in starting) if is_seen else None,
    )


def _actual(record: Record) -> int | None:
    """The ready replicas of all targets, None where not all of them could be seen."""
    fleets = [seen.fleet for seen in record.observation.fleets]
    seen = [len(fleet.ready()) for fleet in fleets if isinstance(fleet, Fleet)]
    return sum(seen) if len(seen) == len(fleets) else None


def _weights(weights: Mapping[str, int] | Missing) -> str | None:
    return None if isinstance(weights, Missing) else ",".join(f"{name}={share}" for name, share in weights.items())


def _release(memory: ReleaseMemory | None) -> ReleaseStatus | None:
    if memory is None:
        return None
    return ReleaseStatus(
        stable=memory.stable,
        candidate=memory.candidate,
        weight_percent=memory.weight_percent,
        since=written(memory.since_s),
    )


def _decisions(
    plan: Plan, versions: Sequence[TargetStatus], before: Status
) -> tuple[DecisionStatus | None, tuple[PastDecision, ...]]:
    """The last decision that changed something, and those before it, which move down by one when it does."""
    # A command that is repeated, because its first writing failed or a stranger undid it, is no new decision.
    if before.decision is not None and _wanted(versions) == _wanted(before.versions):
        return before.decision, before.history
    return _decision(plan), _history(before)


def _wanted(versions: Iterable[TargetStatus]) -> dict[tuple[str, Role], tuple[int, int | None]]:
    return {(each.name, each.role): (each.desired, each.weight_percent) for each in versions}


def _history(before: Status) -> tuple[PastDecision, ...]:
    if before.decision is None:
        return before.history
    past = PastDecision(at=before.decision.at, desired=before.desired or 0, because=before.decision.because)
    return (past, *before.history)[:LONGEST_HISTORY]


def _decision(plan: Plan) -> DecisionStatus:
    changed = [target for target in plan.targets if target.replicas != target.trail[0].before]
    because = " ".join(summary(target) for target in changed or plan.targets)
    trail = tuple(step for target in plan.targets for step in _trail(target))
    return DecisionStatus(
        at=written(plan.at_s), because=_cut(because or "no target was seen"), trail=trail[:LONGEST_TRAIL]
    )


def _trail(target: TargetPlan) -> Iterable[RulingStatus]:
    return (
        RulingStatus(
            target=str(target.key),
            rule=ruling.rule,
            before=ruling.before,
            after=ruling.after,
            because=_cut(ruling.because),
        )
        for ruling in target.trail
    )


# --- What changed ------------------------------------------------------------------------------------------------


class Change(Enum):
    """How much one status differs from another."""

    NONE = "none, or only in what was learned, by so little that it can wait"
    LEARNED = "in what was learned, and by more than a little"
    WORDS = "only in messages, which may differ a little with every tick, or something was learned for the first time"
    FACTS = "in what someone may act on"


TIMES: Final = frozenset({"lastTransitionTime", "at", "since"})
WORDS: Final = frozenset({"message", "because", "trail"})
LEARNED: Final = ("learned", "demand")


def change(new: Status, old: Status | None) -> Change:
    """How much ``new`` differs from ``old``, timestamps apart."""
    if old is None:
        return Change.FACTS
    ours, theirs = body_of(new), body_of(old)
    far = max(moved(ours.pop(part, []), theirs.pop(part, [])) for part in LEARNED)
    if _without(ours, TIMES | WORDS) != _without(theirs, TIMES | WORDS):
        return Change.FACTS
    if far == inf or _without(ours, TIMES) != _without(theirs, TIMES):
        return Change.WORDS
    return Change.LEARNED if far >= 1.0 else Change.NONE


def body_of(status: Status) -> dict[str, Any]:
    """The status as JSON, without what is not known."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _without(tree: Any, keys: frozenset[str]) -> Any:
    if isinstance(tree, dict):
        return {key: _without(value, keys) for key, value in tree.items() if key not in keys}
    if isinstance(tree, list):
        return [_without(value, keys) for value in tree]
    return tree


# --- Back again --------------------------------------------------------------------------------------------------


def memory_of(status: Status, observation: Observation, at_s: float) -> Memory:
    """What a restarted controller can know: what the status says was learned, and where a release stands.

    When each target's demand was known is not in it, so nothing shrinks until a full window has been seen.
    ``observation`` shows the replicas, of which those that were counted are not counted again.
    """
    return Memory(
        at_s=at_s,
        load_samples=tuple(sample for learned in status.learned for sample in samples_of(learned)),
        counted=counted_of(status.learned, observation, at_s),
        release=_release_memory(status.release, at_s),
        capacities=capacities_of(status.learned),
        courses=courses_of(status.demand),
    )


def _release_memory(release: ReleaseStatus | None, at_s: float) -> ReleaseMemory | None:
    if release is None:
        return None
    return ReleaseMemory(
        stable=release.stable,
        candidate=release.candidate,
        weight_percent=release.weight_percent,
        since_s=_seconds_or(release.since, at_s),
    )


def _seconds_or(text: str, at_s: float) -> float:
    """The time of a step's beginning; one that cannot be read, or is still to come, begins now."""
    try:
        return min(seconds(text) or at_s, at_s)
    except ValueError:
        return at_s
