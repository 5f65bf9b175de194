"""Which share of the traffic each version gets, and for which share each must have capacity.

Every move of weight is ruled here. Weight follows capacity, never the other way round: the candidate gets what its
ready replicas carry, one step at a time, and the stable version keeps what its own share needs until the candidate
has held all of it. A release is driven by one word (which version should serve), so changing it back rolls back.

    stage        when                                                         weight of the candidate
    SETTLED      it is the stable version, and has all the traffic            stays
    LOADING      the next weight needs more ready replicas than there are     up to what is ready
    HOLDING      the step's hold is not over                                  stays
    ANALYSING    an analysis is asked for and nobody has given a verdict      stays
    RETURNING    it is the stable version, and another one has traffic        all that is ready, without steps
    RETREATING   before it is stable, its ready replicas no longer carry      down to what is ready
                 the weight it has; or it has none, and another version has

Where the route's weights or the replicas of a version cannot be told there is no shift at all, and every target keeps
what it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import ceil
from typing import Final

from scaler.core.memory import ReleaseMemory
from scaler.core.model import WHOLE_PERCENT, Missing, Release, ReleaseStep
from scaler.core.plan import Ruling

RETREAT_BELOW: Final = 0.8
"""Weight is taken back when the ready replicas carry less than this share of it. Between 80 and 100 % the demand's own
noise (7 % a minute on the smoothest public trace) would make the weight follow every tick."""


class Stage(Enum):
    """Where a release stands; the module's table says when each holds."""

    SETTLED = "settled"
    LOADING = "loading"
    HOLDING = "holding"
    ANALYSING = "analysing"
    RETURNING = "returning"
    RETREATING = "retreating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a version can take now: ``ready`` replicas of its scarcest role, and the share of the traffic they carry.

    ``carries_percent`` is Missing while the demand is: then nothing says how much traffic a replica may get.
    """

    ready: int
    carries_percent: int | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A release as it stands: the weights of the route, the capacity of each version, what is remembered."""

    release: Release
    weights: Mapping[str, int]
    capacity: Mapping[str, Capacity]
    memory: ReleaseMemory
    load_time_p90_s: float
    at_s: float

    @property
    def candidate(self) -> str:
        """The version that should serve."""
        return self.release.version

    @property
    def current_percent(self) -> int:
        """The candidate's weight on the route."""
        return self.weights.get(self.candidate, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What a release wants: the weights, the traffic share that each version must have capacity for, and why."""

    stage: Stage
    ruling: Ruling
    weights: Mapping[str, int]
    shares: Mapping[str, int]
    memory: ReleaseMemory


def entered(release: Release, weights: Mapping[str, int], memory: ReleaseMemory | None, at_s: float) -> ReleaseMemory:
    """The memory with which this tick begins; without one, whoever else has traffic counts as the stable version.

    That is the careful reading after a lost memory: at worst a rollback takes its steps.
    """
    if memory is not None and memory.stable in weights:
        if memory.candidate == release.version:
            # A clock that went back must not make a step wait for the time it took away.
            return replace(memory, since_s=min(memory.since_s, at_s))
        stable = memory.stable
    else:
        stable = _heaviest_but(release.version, weights)
    return ReleaseMemory(stable=stable, candidate=release.version, weight_percent=0, since_s=at_s)


def _heaviest_but(candidate: str, weights: Mapping[str, int]) -> str:
    """The version with most traffic beside the candidate, or the candidate where it has all."""
    others = {version: weight for version, weight in weights.items() if version != candidate and weight > 0}
    return max(sorted(others), key=lambda version: others[version]) if others else candidate


def advance(case: Case) -> Shift:
    """The next weights and shares. Pure in the case; a move is repeated until the route shows it."""
    case = replace(case, memory=_reached(case))
    stage, aim_percent, because = _aim(case)
    percent = _onto_ready(aim_percent, case)
    if percent < case.current_percent:
        stage, because = Stage.RETREATING, _retreat_why(case)
    elif percent > aim_percent:
        because = f"nobody but {case.candidate} is ready"
    elif percent < aim_percent and stage is not Stage.RETURNING:
        stage, because = Stage.LOADING, _loading_why(aim_percent, case)
    weights = _weights(percent, case)
    ready = case.capacity[case.candidate].ready
    facts = {"ready": ready, "aim_percent": aim_percent, "held_s": case.at_s - case.memory.since_s}
    return Shift(
        stage=stage,
        ruling=Ruling(rule="release", before=case.current_percent, after=percent, because=because, facts=facts),
        weights=weights,
        shares=_shares(stage, aim_percent, weights, case),
        memory=replace(case.memory, stable=case.candidate) if _is_done(stage, case) else case.memory,
    )


def _reached(case: Case) -> ReleaseMemory:
    """Restart the step's clock when the route shows that the candidate's weight has reached a further step."""
    step = _step_at(case)
    step_percent = 0 if step is None else step.weight_percent
    if step_percent == case.memory.weight_percent:
        return case.memory
    return replace(case.memory, weight_percent=step_percent, since_s=case.at_s)


def _aim(case: Case) -> tuple[Stage, int, str]:
    """The stage, the weight that the candidate may have if its capacity allows, and why."""
    current_percent = case.current_percent
    if case.candidate == case.memory.stable:
        if current_percent == WHOLE_PERCENT:
            return Stage.SETTLED, WHOLE_PERCENT, f"{case.candidate} serves"
        return Stage.RETURNING, WHOLE_PERCENT, f"{case.candidate} has served before, and takes its traffic back"
    step = _step_at(case)
    if step is None:
        first = _next_step(case)
        return Stage.LOADING, first.weight_percent, f"the first step sends {first.weight_percent} % to {case.candidate}"
    held_s = case.at_s - case.memory.since_s
    if held_s < step.hold_s:
        because = f"{step.weight_percent} % have been held for {held_s:.0f} of {step.hold_s:.0f} s"
        return Stage.HOLDING, max(step.weight_percent, current_percent), because
    if case.release.has_analysis:
        because = f"{step.weight_percent} % wait for an analysis, and without a verdict nothing moves"
        return Stage.ANALYSING, max(step.weight_percent, current_percent), because
    aim_percent = _next_step(case).weight_percent
    done = f"{case.candidate} has held all of the traffic, and serves from now on"
    return (
        Stage.LOADING,
        aim_percent,
        done if current_percent == WHOLE_PERCENT else f"the next step sends {aim_percent} %",
    )


def _step_at(case: Case) -> ReleaseStep | None:
    """The furthest step whose weight the route has, None before the first."""
    reached = [step for step in case.release.steps if step.weight_percent <= case.current_percent]
    return reached[-1] if reached else None


def _next_step(case: Case) -> ReleaseStep:
    """The step after the weight that the route has; the last one when it has them all."""
    ahead = [step for step in case.release.steps if step.weight_percent > case.current_percent]
    return ahead[0] if ahead else case.release.steps[-1]


def _onto_ready(aim_percent: int, case: Case) -> int:
    """The aim, cut to what ready replicas carry; where nobody is ready, the weights stay as they are."""
    candidate, others = case.capacity[case.candidate], _others_ready(case)
    current_percent = case.current_percent
    if candidate.ready == 0:
        return 0 if others > 0 else current_percent
    if others == 0:
        return WHOLE_PERCENT
    if isinstance(candidate.carries_percent, Missing):
        return current_percent
    # A version that serves is not relieved by one on its way out, which drains while the demand grows.
    is_on_trial = case.candidate != case.memory.stable
    is_short = candidate.carries_percent < RETREAT_BELOW * current_percent
    if is_on_trial and is_short and _stable_takes(candidate.carries_percent, case):
        return candidate.carries_percent
    return max(current_percent, min(aim_percent, candidate.carries_percent))


def _others_ready(case: Case) -> int:
    return max((each.ready for version, each in case.capacity.items() if version != case.candidate), default=0)


def _stable_takes(candidate_percent: int, case: Case) -> bool:
    """Whether the stable version has ready replicas for the rest: a retreat onto nothing helps nobody."""
    carries = case.capacity[_fallback(case)].carries_percent
    return not isinstance(carries, Missing) and carries >= WHOLE_PERCENT - candidate_percent


def _fallback(case: Case) -> str:
    """The version that has what the candidate has not: the stable one, or else the one with most ready replicas."""
    stable = case.memory.stable
    if stable != case.candidate and case.capacity[stable].ready > 0:
        return stable
    others = sorted(version for version in case.capacity if version != case.candidate)
    return max(others, key=lambda version: (case.capacity[version].ready, case.weights.get(version, 0)))


def _weights(percent: int, case: Case) -> Mapping[str, int]:
    """The candidate's share, and the rest; unchanged where nothing has to move.

    The fallback takes of the rest what its ready replicas carry, the others keep what is left of it, as far as they
    are ready. What nobody carries goes to the fallback: its owner has no replica at all.
    """
    if percent == case.current_percent and not _any_unready_weight(case):
        return dict(case.weights)
    weights = dict.fromkeys(case.capacity, 0)
    weights[case.candidate] = percent
    if percent == WHOLE_PERCENT:
        return weights
    fallback, left_percent = _fallback(case), WHOLE_PERCENT - percent
    others = sorted(version for version in case.capacity if version not in {case.candidate, fallback})
    for version in (fallback, *others):
        weights[version] = min(left_percent, _bearable(version, fallback, case))
        left_percent -= weights[version]
    weights[fallback] += left_percent
    return weights


def _bearable(version: str, fallback: str, case: Case) -> int:
    """The weight that a version besides the candidate may have: no new one but for the fallback, none unready."""
    capacity, current_percent = case.capacity[version], case.weights.get(version, 0)
    if capacity.ready == 0:
        return 0
    if version != fallback or isinstance(capacity.carries_percent, Missing):
        return current_percent
    return max(current_percent, capacity.carries_percent)


def _any_unready_weight(case: Case) -> bool:
    """Whether a version has traffic and nobody to serve it, while another one is ready."""
    unready = any(case.weights.get(version, 0) > 0 and each.ready == 0 for version, each in case.capacity.items())
    return unready and any(each.ready > 0 for each in case.capacity.values())


def _shares(stage: Stage, aim_percent: int, weights: Mapping[str, int], case: Case) -> Mapping[str, int]:
    """The traffic that each version must have capacity for.

    The candidate prepares for its aim, and for the step after it once the hold left is no longer than a start takes.
    The stable version stays able to take everything back until the release is done; what has traffic keeps its own,
    and so does what is given some now.
    """
    shares = {version: max(case.weights.get(version, 0), weights.get(version, 0)) for version in case.capacity}
    shares[case.candidate] = max(shares[case.candidate], aim_percent, _prepared_percent(stage, case))
    if stage is not Stage.SETTLED:
        shares[case.memory.stable] = WHOLE_PERCENT
    return shares


def _prepared_percent(stage: Stage, case: Case) -> int:
    step = _step_at(case)
    if stage is not Stage.HOLDING or step is None:
        return 0
    left_s = step.hold_s - (case.at_s - case.memory.since_s)
    return _next_step(case).weight_percent if left_s <= case.load_time_p90_s else 0


def _is_done(stage: Stage, case: Case) -> bool:
    """Whether the candidate has held all of the traffic: it looks for a further step, and there is none."""
    return stage is Stage.LOADING and case.current_percent == WHOLE_PERCENT


def _retreat_why(case: Case) -> str:
    ready = case.capacity[case.candidate].ready
    verb = "carries" if ready == 1 else "carry"
    return f"{_ready_replicas(ready)} of {case.candidate} no longer {verb} {case.current_percent} %"


def _loading_why(aim_percent: int, case: Case) -> str:
    capacity = case.capacity[case.candidate]
    if isinstance(capacity.carries_percent, Missing):
        return f"{aim_percent} % wait: {capacity.carries_percent.why}"
    verb = "carries" if capacity.ready == 1 else "carry"
    return (
        f"{aim_percent} % wait for capacity: {_ready_replicas(capacity.ready)} of {case.candidate} {verb} "
        f"{capacity.carries_percent} %"
    )


def _ready_replicas(count: int) -> str:
    return "1 ready replica" if count == 1 else f"{count} ready replicas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The traffic that a version has or is given now, and the traffic that it must have capacity for."""

    traffic_percent: int
    share_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a version has of one role, and would have: asked for now, needed by its traffic, and at the very most."""

    requested: int
    needed: int
    most: int


def claim(need: int | Missing, share: Share, requested: int, least: int, most: int) -> Claim:
    """What a version claims of one role, which bounds and warm pool make have ``least``.

    Of an unknown need it is what the version has. A need of ``most`` or more cannot be met, and is rounded down, so
    that the parts of it do not add up to more.
    """
    if isinstance(need, Missing):
        return Claim(requested=requested, needed=requested, most=max(requested, least))
    needed = _carriers(need, share.traffic_percent)
    if need >= most:
        needed = max(min(1, needed), most * share.traffic_percent // WHOLE_PERCENT)
    return Claim(requested=requested, needed=needed, most=max(requested, _carriers(need, share.share_percent), least))


def share_of(version: str, case: Case, shift: Shift) -> Share:
    """The traffic of ``version``: what it has or is given now, and what it must have capacity for."""
    traffic_percent = max(case.weights.get(version, 0), shift.weights.get(version, 0))
    return Share(traffic_percent=traffic_percent, share_percent=shift.shares[version])


def ceilings(claims: Mapping[str, Claim], case: Case, most: int) -> dict[str, int]:
    """The most that each version may have of one role, so that all together stay within ``most``.

    Nobody gives up what its traffic needs. Of what is left, that need is served first, then the candidate's whole
    claim, and last what the stable version holds for a rollback: of a need of 8 with half the traffic moved and a
    most of 12, the stable one goes down to 4. A growth waits until those who give way have done so.
    """
    turn = sorted(claims, key=lambda version: (version == case.memory.stable, version != case.candidate, version))
    room = {version: min(most, each.requested, each.needed) for version, each in claims.items()}
    _hand_out(most - sum(room.values()), turn, room, {version: each.needed for version, each in claims.items()})
    _hand_out(most - sum(room.values()), turn, room, {version: each.most for version, each in claims.items()})
    now = {version: min(room[version], each.requested) for version, each in claims.items()}
    _hand_out(most - sum(each.requested for each in claims.values()), turn, now, room)
    return now


def _hand_out(left: int, turn: Sequence[str], room: dict[str, int], wanted: Mapping[str, int]) -> None:
    """Raise ``room`` towards what is ``wanted``, in turn, by no more than is ``left`` in all."""
    for version in turn:
        given = max(0, min(left, wanted[version] - room[version]))
        room[version] += given
        left -= given


def _carriers(need: int, percent: int) -> int:
    """The replicas, of a need for all the traffic, that carry ``percent`` of it."""
    return ceil(need * percent / WHOLE_PERCENT)
