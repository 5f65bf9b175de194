"""A plan in plain words, from demand to command. Every number here is read from the plan; none is computed anew."""

from collections.abc import Iterator
from typing import Final

from scaler.core.loading import phase_medians_s
from scaler.core.model import Missing, Observation
from scaler.core.plan import LoadTime, Plan, Ruling, SetReplicas, SetWeights, TargetPlan

RULE_WORDS: Final = {
    "wish": "Needed",
    "keep": "Kept, since the demand is not known",
    "room": "No room",
    "probe": "Trying for room",
    "step_up": "Growing in steps",
    "wake": "Woken",
    "full_window": "Watched too short",
    "checked": "Belief not borne out",
    "intact": "Work not seen",
    "hold": "Held",
    "consolidate": "Would have to grow again",
    "step_down": "Shrinking in steps",
    "flaps": "Turned too often",
    "rest": "To zero",
    "warm_floor": "Warm pool",
    "bounds": "Bounds",
    "paused": "Paused",
    "share": "GPUs are short",
    "give_way": "Giving way",
}
"""What each rule is called when it is told to people; the rule's own name is for metrics."""


def explain(plan: Plan, observation: Observation, at: str) -> str:
    """The chain from demand to command for one policy, as lines of text; ``at`` is its time as the reader writes it."""
    return "\n".join(_lines(plan, observation, at))


def summary(target: TargetPlan) -> str:
    """One target's decision in one sentence: the change, what was needed, and the last ruling that altered it."""
    first, last = target.trail[0], target.trail[-1]
    change = f"stay at {first.before}" if first.before == target.replicas else f"{first.before} to {target.replicas}"
    altered = "" if last is first else f"; {RULE_WORDS[last.rule].lower()}: {last.because}"
    return f"{target.key}: {change}. {RULE_WORDS[first.rule]}: {first.because}{altered}."


def _lines(plan: Plan, observation: Observation, at: str) -> Iterator[str]:
    yield f"{plan.policy} at {at}"
    for target in plan.targets:
        yield from _target_lines(target, plan, observation)
    for seen in observation.fleets:
        if plan.target(seen.key) is None and isinstance(seen.fleet, Missing):
            yield f"  {seen.key}: nothing is said of it, since its replicas are not known ({seen.fleet.why})."
    if plan.release is not None:
        yield from _release_lines(plan.release)
    yield from _told(plan)
    yield from _trouble(plan)


def _trouble(plan: Plan) -> Iterator[str]:
    for condition in plan.conditions:
        if condition.type in {"SignalsHealthy", "CapacityAvailable"} and condition.status is not True:
            yield f"  {condition.type} is {_status(condition.status)}: {condition.message}."


def _status(status: bool | None) -> str:  # noqa: FBT001 - a status is one of the three values of a condition
    return "Unknown" if status is None else str(status)


def _target_lines(target: TargetPlan, plan: Plan, observation: Observation) -> Iterator[str]:
    first = target.trail[0]
    yield f"  {target.key}: asked for {first.before}, {_seen(target, observation)}."
    for ruling in target.trail:
        yield f"    {RULE_WORDS[ruling.rule]}: {ruling.because}{_effect(ruling)}"
    learned = plan.load_times.get(str(target.key))
    if learned is not None:
        yield f"    Load time: {_load_time(learned, target, plan)}"
    yield f"    So {target.key} should have {target.replicas}."


def _seen(target: TargetPlan, observation: Observation) -> str:
    fleet = observation.fleet(target.key)
    if isinstance(fleet, Missing):
        return "not seen"
    return f"{len(fleet.ready())} ready, {len(fleet.starting())} starting"


def _effect(ruling: Ruling) -> str:
    return "." if ruling.before == ruling.after else f": {ruling.before} becomes {ruling.after}."


def _load_time(learned: LoadTime, target: TargetPlan, plan: Plan) -> str:
    quantiles = f"half of the starts within {learned.p50_s:.0f} s, 90 % within {learned.p90_s:.0f} s"
    if learned.samples == 0:
        return f"{quantiles}; expected, not measured yet."
    medians = phase_medians_s(target.key, plan.memory.load_samples)
    phases = ", ".join(f"{phase.value} {median_s:.0f} s" for phase, median_s in medians.items())
    starts = "1 start" if learned.samples == 1 else f"{learned.samples} starts"
    return f"{quantiles}, from {starts} measured" + (f" ({phases})." if phases else ".")


def _release_lines(ruling: Ruling) -> Iterator[str]:
    yield f"  Release: {ruling.before} % of the traffic, now {ruling.after} %: {ruling.because}."


def _told(plan: Plan) -> Iterator[str]:
    if not plan.commands:
        yield "  The policy leaves it to others to write this." if _moves(plan) else "  Nothing has to change."
    for command in plan.commands:
        match command:
            case SetReplicas(key=key, replicas=replicas):
                yield f"  Told: {key} has {replicas} {'replica' if replicas == 1 else 'replicas'}."
            case SetWeights(weights=weights):
                shares = ", ".join(f"{version} {percent} %" for version, percent in weights.items())
                yield f"  Told: the route sends {shares}."


def _moves(plan: Plan) -> bool:
    """Whether the plan differs from what is there, in a count or in the candidate's weight."""
    shifts = plan.release is not None and plan.release.before != plan.release.after
    return shifts or any(target.replicas != target.trail[0].before for target in plan.targets)
