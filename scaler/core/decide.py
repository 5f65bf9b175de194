"""One tick: from what was seen, what is remembered and what is asked for, to plans. A function of its arguments.

This page is the order of a decision; each stage is explained in its own module.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

from scaler.core import release
from scaler.core.capacity import SICK_BELOW
from scaler.core.commands import commands_of
from scaler.core.conditions import at_zero, conditions_of, forecastable, replicas_alike
from scaler.core.demand import as_believed, unheard
from scaler.core.limits import Case, least, limited, remembered, wanted
from scaler.core.loading import late, learn, load_time, with_deadline
from scaler.core.memory import GAP_S, Memory, TargetMemory
from scaler.core.model import (
    WHOLE_PERCENT,
    Fleet,
    Missing,
    Observation,
    Policy,
    Pools,
    Replica,
    Role,
    Snapshot,
    Target,
    TargetKey,
    Version,
)
from scaler.core.need import Asked, learned_of, slow_of, slowness_of, work_of
from scaler.core.plan import FloorAdvice, LoadTime, Plan, Portion, Ruling, TargetPlan
from scaler.core.share import Claim, claim_of, portions_of, shared, with_portion
from scaler.core.wish import wish_of
from scaler.core.zero import idle_from, is_at_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """What the stages of one policy's decision share: the arguments, and what was learned and needed.

    ``late`` counts the starts of each target that may never end, ``needs`` are what it would need for all the work of
    its role; ``unheard``, the replicas whose work that does not count, are by role; ``slow`` are the replicas that are
    much slower than their like, ``slowness`` how many times slower than believed all of a target are.
    """

    policy: Policy
    observation: Observation
    memory: Memory
    at_s: float
    load_times: Mapping[TargetKey, LoadTime]
    late: Mapping[TargetKey, int]
    needs: Mapping[TargetKey, Ruling | Missing]
    advice: tuple[FloorAdvice, ...]
    tokens_per_s: Mapping[str, float]
    slow: tuple[tuple[Replica, float], ...]
    slowness: Mapping[TargetKey, float | None]
    unheard: Mapping[str, tuple[Replica, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traffic:
    """Where the release goes, and the most that each version may have of each role beside the others."""

    shift: release.Shift
    ceilings: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """One target's plan before anybody else's, and the wish that it began with."""

    case: Case
    wish: Ruling
    plan: TargetPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alone:
    """All that one policy comes to by itself; the others have their say in `share`."""

    sight: _Sight
    shift: release.Shift | None
    drafts: tuple[_Draft, ...]


def decide(world: Snapshot, memories: Mapping[str, Memory], policies: Iterable[Policy]) -> tuple[Plan, ...]:
    """A plan for every policy that the snapshot shows, in their order; one that was not seen gets none."""
    alone = [
        _alone(policy, world.models[policy.name], memories.get(policy.name), world.at_s)
        for policy in policies
        if policy.name in world.models
    ]
    portions = _portions(alone, world.pools)
    return tuple(_settled(each, portions.get(each.sight.policy.name, {})) for each in alone)


def decide_again(
    policy: Policy, observation: Observation, memory: Memory, portions: Sequence[Portion], at_s: float
) -> Plan:
    """The plan for one policy, given what the GPUs that are short were shared out to it."""
    return _settled(_alone(policy, observation, memory, at_s), {portion.key: portion for portion in portions})


def _portions(alone: Sequence[_Alone], pools: Pools) -> Mapping[str, Mapping[TargetKey, Portion]]:
    """What each policy's targets get of GPUs that are short, by policy; nothing is short that nobody has counted."""
    if isinstance(pools.products, Missing) and isinstance(pools.quotas, Missing):
        return {}
    found = [_claim(draft, each) for each in alone for draft in each.drafts]
    by_policy: dict[str, dict[TargetKey, Portion]] = {}
    for (policy, key), portion in portions_of([claim for claim in found if claim is not None], pools).items():
        by_policy.setdefault(policy, {})[key] = portion
    return by_policy


def _claim(draft: _Draft, alone: _Alone) -> Claim | None:
    return claim_of(wanted(draft.plan, draft.case), draft.case, alone.sight.memory)


def _alone(policy: Policy, observation: Observation, memory: Memory | None, at_s: float) -> _Alone:
    sight = _look(policy, observation, _entered(memory, at_s), at_s)
    traffic = _traffic(sight)
    cases = [case for target in policy.targets() if (case := _case(target, sight, traffic)) is not None]
    drafts = tuple(_drafted(case, sight) for case in cases)
    return _Alone(sight=sight, shift=None if traffic is None else traffic.shift, drafts=drafts)


def _settled(alone: _Alone, portions: Mapping[TargetKey, Portion]) -> Plan:
    sight, shift = alone.sight, alone.shift
    policy, observation = sight.policy, sight.observation
    planned = [_planned(draft, portions.get(draft.case.target.key)) for draft in alone.drafts]
    targets = tuple(plan for plan, _ in planned)
    weights = Missing(why="no route is moved") if shift is None else shift.weights
    return Plan(
        policy=policy.name,
        at_s=sight.at_s,
        targets=targets,
        release=None if shift is None else shift.ruling,
        weights=weights,
        conditions=(
            *conditions_of(policy, observation, sight.needs, shift, tuple(portions.values()), sight.at_s),
            forecastable(sight.advice),
            replicas_alike([(replica, speed) for replica, speed in sight.slow if speed < SICK_BELOW]),
            *at_zero(policy, observation, _slowest(sight), sight.at_s),
        ),
        commands=commands_of(policy, observation, targets, weights),
        load_times={str(key): learned for key, learned in sight.load_times.items()},
        memory=_next_memory(sight, tuple(kept for _, kept in planned), shift),
        advice=sight.advice,
        tokens_per_s=sight.tokens_per_s,
        portions=tuple(portions.values()),
    )


def _entered(memory: Memory | None, at_s: float) -> Memory:
    """The memory this tick begins with. After a gap, or a clock that went back, nothing counts as watched."""
    if memory is None:
        return Memory(at_s=at_s)
    if 0.0 <= at_s - memory.at_s <= GAP_S:
        return memory
    unwatched = tuple(_unwatched(target, at_s) for target in memory.targets)
    return replace(memory, targets=unwatched, idle_from_s=None)


def _unwatched(target: TargetMemory, at_s: float) -> TargetMemory:
    """What is left of a target's memory when nobody looked: what was done and met, but not what was seen throughout.

    What was done in a future that a clock took back was done now: it must neither free a pace nor hand a budget out.
    """
    shortage, pool = target.shortage, target.pool
    return replace(
        target,
        known_from_s=None,
        wished=(),
        steady=(),
        shared_from_s=None,
        kept=(),
        grown_at_s=_by(target.grown_at_s, at_s),
        shrunk_at_s=_by(target.shrunk_at_s, at_s),
        turns_at_s=_by(target.turns_at_s, at_s),
        shortage=None if shortage is None else replace(shortage, began_s=min(shortage.began_s, at_s)),
        pool=None if pool is None else replace(pool, since_s=min(pool.since_s, at_s)),
    )


def _by(mark_s: float | None, at_s: float) -> float | None:
    return None if mark_s is None else min(mark_s, at_s)


def _look(policy: Policy, observation: Observation, memory: Memory, at_s: float) -> _Sight:
    samples, counted = learn(memory.load_samples, memory.counted, observation)
    policy = with_deadline(policy, samples)
    fleets = {seen.key: seen.fleet for seen in observation.fleets if isinstance(seen.fleet, Fleet)}
    load_times = {key: load_time(key, policy, samples, fleet, at_s) for key, fleet in fleets.items()}
    believed = {key: as_believed(fleet, policy, at_s) for key, fleet in fleets.items()}
    capacities = learned_of(memory, believed, at_s)
    slow = slow_of(capacities, believed, at_s)
    work = work_of(
        Asked(
            policy=policy,
            observation=observation,
            memory=memory,
            capacities=capacities,
            load_times=load_times,
            slow={replica.name: speed for replica, speed in slow},
            at_s=at_s,
        )
    )
    return _Sight(
        policy=policy,
        observation=observation,
        memory=replace(
            memory,
            load_samples=samples,
            counted=counted,
            capacities=capacities,
            courses=work.courses,
            idle_from_s=idle_from(policy, observation, work.needs.values(), memory.idle_from_s, at_s),
        ),
        at_s=at_s,
        load_times=load_times,
        late={key: len(late(key, policy, samples, fleet, at_s)) for key, fleet in fleets.items()},
        needs=work.needs,
        advice=work.advice,
        tokens_per_s={str(key): carried for key, carried in work.tokens_per_s.items()},
        slow=slow,
        slowness=slowness_of(capacities, believed, at_s),
        unheard={role: unheard(Role(role), observation, policy, at_s) for role in _roles(policy)},
    )


def _roles(policy: Policy) -> list[str]:
    return sorted({target.key.role for target in policy.targets()})


def _traffic(sight: _Sight) -> _Traffic | None:
    """Where the release goes, None where there is none, or its route or its replicas cannot be seen."""
    asked, routed = sight.policy.release, sight.observation.weights
    if asked is None or isinstance(routed, Missing) or not sight.observation.shows_all_of(sight.policy):
        return None
    weights = {version.name: routed.get(version.name, 0) for version in sight.policy.versions}
    case = release.Case(
        release=asked,
        weights=weights,
        capacity={version.name: _capacity(version, sight) for version in sight.policy.versions},
        memory=release.entered(asked, weights, sight.memory.release, sight.at_s),
        load_time_p90_s=max((learned.p90_s for learned in sight.load_times.values()), default=0.0),
        at_s=sight.at_s,
    )
    shift = release.advance(case)
    ceilings = {role: _ceilings(role, case, shift, sight) for role in _roles(sight.policy)}
    return _Traffic(shift=shift, ceilings=ceilings)


def _ceilings(role: str, case: release.Case, shift: release.Shift, sight: _Sight) -> Mapping[str, int]:
    """The most that each version may have of ``role`` beside the others."""
    claims: dict[str, release.Claim] = {}
    for target in sight.policy.targets():
        fleet = sight.observation.fleet(target.key)
        if target.key.role == role and isinstance(fleet, Fleet):
            share = release.share_of(target.key.version, case, shift)
            low = least(sight.policy, target, share.share_percent, sight.at_s)
            claims[target.key.version] = release.claim(
                _counted(target.key, sight), share, fleet.requested, low, sight.policy.max_replicas
            )
    return release.ceilings(claims, case, sight.policy.max_replicas)


def _counted(key: TargetKey, sight: _Sight) -> int | Missing:
    """The need of a target where it counts all the work there is; on part of it, nobody gives anything up."""
    need = sight.needs[key]
    if isinstance(need, Missing):
        return need
    # At zero nobody has anything to give up, and the first replica waits for nobody.
    is_part = sight.unheard[key.role] and not is_at_zero(sight.policy, key.role, sight.observation)
    return Missing(why="not all work was seen") if is_part else need.after


def _capacity(version: Version, sight: _Sight) -> release.Capacity:
    """The ready replicas of the version's scarcest role, and the share of the need that they carry."""
    ready: list[int] = []
    carries: list[int] = []
    missing: Missing | None = None
    for target in version.targets:
        fleet, need = sight.observation.fleet(target.key), sight.needs[target.key]
        count = len(fleet.ready()) if isinstance(fleet, Fleet) else 0
        ready.append(count)
        if isinstance(need, Missing):
            missing = need
        else:
            carries.append(_carried_percent(count, need.after))
    return release.Capacity(ready=min(ready, default=0), carries_percent=missing or min(carries, default=0))


def _carried_percent(count: int, need: int) -> int:
    return WHOLE_PERCENT if need == 0 else min(WHOLE_PERCENT, floor(WHOLE_PERCENT * count / need))


def _slowest(sight: _Sight) -> LoadTime | None:
    return max(sight.load_times.values(), key=lambda learned: learned.p90_s, default=None)


def _case(target: Target, sight: _Sight, traffic: _Traffic | None) -> Case | None:
    """The target as its limits see it, None where its replicas are not known: then nothing is said of it."""
    key = target.key
    fleet = sight.observation.fleet(key)
    if isinstance(fleet, Missing):
        return None
    # Several versions share the traffic by the route: while that cannot be told, no version knows its part, nor that
    # of the warm pool and the bounds.
    is_blind = traffic is None and len(sight.policy.versions) > 1
    alone_percent = 0 if is_blind else WHOLE_PERCENT
    share_percent = alone_percent if traffic is None else traffic.shift.shares[key.version]
    return Case(
        policy=sight.policy,
        target=target,
        fleet=fleet,
        memory=sight.memory.target(key),
        load_time=sight.load_times[key],
        at_s=sight.at_s,
        share_percent=share_percent,
        ceiling=sight.policy.max_replicas if traffic is None else traffic.ceilings[key.role][key.version],
        demand_known=isinstance(sight.needs[key], Ruling) and not is_blind,
        unheard=sight.unheard[key.role],
        steady=_steady(sight.needs[key], share_percent),
        idle_for_s=_idle_for_s(key, sight, traffic),
        is_waking=share_percent > 0 and _is_waking(key, sight),
        slowness=sight.slowness[key],
    )


def _idle_for_s(key: TargetKey, sight: _Sight, traffic: _Traffic | None) -> float | None:
    """For how long nothing has come; None also where another version has replicas, or a release is under way.

    A release moves traffic to who is ready: with the last replica of a version gone, that is whatever is left.
    """
    others = [sight.observation.fleet(each.key) for each in sight.policy.targets() if each.key.version != key.version]
    is_alone = not any(isinstance(each, Missing) or each.requested or each.ready() for each in others)
    is_settled = len(sight.policy.versions) == 1 if traffic is None else traffic.shift.stage is release.Stage.SETTLED
    if sight.memory.idle_from_s is None or not is_alone or not is_settled:
        return None
    return sight.at_s - sight.memory.idle_from_s


def _is_waking(key: TargetKey, sight: _Sight) -> bool:
    need = sight.needs[key]
    return isinstance(need, Ruling) and need.after > 0 and is_at_zero(sight.policy, key.role, sight.observation)


def _steady(need: Ruling | Missing, share_percent: int) -> int:
    """What a shrink must leave of a target with this share of the traffic; nothing where nobody can tell."""
    steady = 0.0 if isinstance(need, Missing) else need.facts.get("steady_replicas", 0.0)
    return ceil(steady * share_percent / WHOLE_PERCENT)


def _drafted(case: Case, sight: _Sight) -> _Draft:
    need = sight.needs[case.target.key]
    if not case.demand_known and isinstance(need, Ruling):
        need = Missing(why="this version's share of the traffic is not known")
    wish = wish_of(need, case.share_percent, case.fleet, sight.late[case.target.key])
    return _Draft(case=case, wish=wish, plan=limited(wish, case))


def _planned(draft: _Draft, portion: Portion | None) -> tuple[TargetPlan, TargetMemory]:
    plan = shared(draft.plan, draft.case, portion)
    is_full = portion is not None and portion.fits == 0
    memory = remembered(draft.wish, plan.replicas, draft.case, knows_why=is_full)
    return plan, with_portion(memory, portion, draft.case)


def _next_memory(sight: _Sight, targets: tuple[TargetMemory, ...], shift: release.Shift | None) -> Memory:
    """What the next tick gets. A target that could not be seen keeps its memory, but counts as unwatched."""
    seen = {target.key for target in targets}
    unseen = tuple(
        _unwatched(sight.memory.target(target.key), sight.at_s)
        for target in sight.policy.targets()
        if target.key not in seen
    )
    kept = sight.memory.release if shift is None else shift.memory
    return replace(sight.memory, at_s=sight.at_s, targets=(*targets, *unseen), release=kept)
