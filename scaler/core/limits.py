"""What stands between a wish and a target: each rule is a function of the wish and the case, the last word wins.

A replica costs minutes to start and seconds to stop, so every rule but the operator's own bounds can only slow a
shrink or bound a growth. Nothing here knows of time but the case's own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Final

from scaler.core.model import (
    WHOLE_PERCENT,
    Fleet,
    LoadTime,
    Phase,
    Policy,
    Replica,
    Ruling,
    Target,
    TargetMemory,
    TargetPlan,
    Wished,
)

HOLD_LOAD_TIMES: Final = 0.75
"""A dip must last this share of the p90 load time before replicas go: in the trial on public traces a hold of three
quarters of a load time gave 4 direction flips an hour where Knative gave 35."""

HOLD_LEAST_S: Final = 60.0
"""Below four scrapes of 15 s a dip and a late sample look the same."""

UNSCHEDULABLE_PATIENCE_S: Final = 60.0
"""A replica that no node takes for this long has met a shortage; the scheduler retries within seconds."""

WISHES_KEPT_S: Final = 3600.0
FLIPS_KEPT_S: Final = 3600.0
"""The windows that may still bind: a hold follows a load time of at most an hour, a flap budget is by the hour."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One target as its rules see it.

    ``share_percent`` is the traffic it must carry, ``ceiling`` the most it may have beside the other versions,
    ``demand_known`` whether the wish rests on a demand at all.
    """

    policy: Policy
    target: Target
    fleet: Fleet
    memory: TargetMemory
    load_time: LoadTime
    at_s: float
    share_percent: int
    ceiling: int
    demand_known: bool

    @property
    def requested(self) -> int:
        """What the target is asked to have now."""
        return self.fleet.requested

    @cached_property
    def hold_s(self) -> float:
        """How long a dip must last: what the policy says, or what a restart is measured to cost."""
        configured_s = self.policy.behavior.hold_s
        if configured_s is not None:
            return configured_s
        return max(HOLD_LEAST_S, HOLD_LOAD_TIMES * self.load_time.p90_s)


Rule = Callable[[int, Case], Ruling | None]
"""A ruling that changes the wish, or None where the rule has nothing to say."""


def room(wish: int, case: Case) -> Ruling | None:
    """While replicas find no node, or fail to start, more of them would only queue: stay at what is asked for."""
    stuck = stuck_replicas(case.fleet, case.policy, case.at_s)
    if wish <= case.requested or not stuck:
        return None
    because = f"{len(stuck)} of the {case.requested} asked for cannot start ({stuck[0].name}: {_stuck_why(stuck[0])})"
    return Ruling(rule="room", before=wish, after=case.requested, because=because, facts={"stuck": len(stuck)})


def stuck_replicas(fleet: Fleet, policy: Policy, at_s: float) -> tuple[Replica, ...]:
    """The replicas that no node has taken for a while, and those whose start has outlived its budget."""
    return tuple(
        replica
        for replica in fleet.starting()
        if _since(replica.unschedulable_since_s, at_s) > UNSCHEDULABLE_PATIENCE_S
        or _since(replica.scheduled_at_s, at_s) > policy.loading.budget_s
    )


def _since(mark_s: float | None, at_s: float) -> float:
    return 0.0 if mark_s is None else at_s - mark_s


def _stuck_why(replica: Replica) -> str:
    return "no node takes it" if replica.unschedulable_since_s is not None else "its start has outlived its budget"


def step_up(wish: int, case: Case) -> Ruling | None:
    """Grow by at most the policy's step in each period; without one, at once: a load time is the delay already."""
    step = case.policy.behavior.grow_step
    if step is None or wish <= case.requested:
        return None
    period_s = case.policy.behavior.grow_period_s
    resting = case.memory.grown_at_s is not None and case.at_s - case.memory.grown_at_s < period_s
    most = case.requested if resting else case.requested + step
    because = f"behavior.scaleUp allows {step} more every {period_s:.0f} s"
    return _no_more_than(most, wish, "step_up", because, {"step": step, "period_s": period_s})


def full_window(wish: int, case: Case) -> Ruling | None:
    """After a start, a new leader or a gap, nothing shrinks before the demand has been seen for a whole hold."""
    known_from_s = case.memory.known_from_s
    seen_s = 0.0 if known_from_s is None else case.at_s - known_from_s
    if wish >= case.requested or seen_s >= case.hold_s:
        return None
    because = f"the demand has been seen for {seen_s:.0f} s without a gap, shrinking needs {case.hold_s:.0f} s"
    return _no_less_than(case.requested, wish, "full_window", because, {"seen_s": seen_s, "hold_s": case.hold_s})


def intact(wish: int, case: Case) -> Ruling | None:
    """Nothing shrinks while replicas that were ready are not: their work is missing from what the others report."""
    lost = [replica for replica in case.fleet.replicas if _is_lost(replica, case)]
    if wish >= case.requested or not lost:
        return None
    because = f"{len(lost)} that were ready are not now ({lost[0].name}), so the work seen is not all there is"
    return _no_less_than(case.requested, wish, "intact", because, {"lost": len(lost)})


def _is_lost(replica: Replica, case: Case) -> bool:
    # One that stays away for longer than a start may take has failed, and must not pin the others for ever.
    return replica.phase is Phase.LOST and _since(replica.unready_since_s, case.at_s) <= case.policy.loading.budget_s


def hold(wish: int, case: Case) -> Ruling | None:
    """Shrink only to what was wished throughout the hold: a dip must outlast what a restart would cost."""
    recent = [wished for wished in case.memory.wished if case.at_s - wished.at_s <= case.hold_s]
    if wish >= case.requested or not recent:
        return None
    highest = max(recent, key=lambda wished: wished.replicas)
    because = (
        f"{case.at_s - highest.at_s:.0f} s ago {highest.replicas} were needed, and a start takes up to "
        f"{case.load_time.p90_s:.0f} s: a dip must last {case.hold_s:.0f} s"
    )
    facts = {"hold_s": case.hold_s, "highest": highest.replicas, "load_time_p90_s": case.load_time.p90_s}
    return _no_less_than(min(highest.replicas, case.requested), wish, "hold", because, facts)


def step_down(wish: int, case: Case) -> Ruling | None:
    """Shrink by at most the policy's share in each period, at least by one."""
    behavior = case.policy.behavior
    if wish >= case.requested:
        return None
    resting = case.memory.shrunk_at_s is not None and case.at_s - case.memory.shrunk_at_s < behavior.shrink_period_s
    step = 0 if resting else max(1, case.requested * behavior.shrink_step_percent // WHOLE_PERCENT)
    because = f"at most {behavior.shrink_step_percent} % may go every {behavior.shrink_period_s:.0f} s"
    facts = {"step_percent": behavior.shrink_step_percent, "period_s": behavior.shrink_period_s}
    return _no_less_than(case.requested - step, wish, "step_down", because, facts)


def flaps(wish: int, case: Case) -> Ruling | None:
    """Turn from growing to shrinking only while the hour's budget has two turns left: this one, and the one back."""
    if wish >= case.requested or case.memory.direction <= 0:
        return None
    budget = case.policy.behavior.flaps_per_hour
    recent = [flip_s for flip_s in case.memory.flips_s if case.at_s - flip_s < FLIPS_KEPT_S]
    if len(recent) + 2 <= budget:
        return None
    because = f"it has turned {len(recent)} times within the hour, and {budget} are allowed"
    return _no_less_than(case.requested, wish, "flaps", because, {"flips": len(recent), "budget": budget})


def warm_floor(wish: int, case: Case) -> Ruling | None:
    """Keep the warm pool, whatever the demand, at the highest floor that is in force."""
    floors = [window.floor for window in case.policy.warm_windows if window.from_s <= case.at_s < window.until_s]
    floor = max((case.policy.warm_floor, *floors))
    least = ceil(floor * case.share_percent / WHOLE_PERCENT)
    because = f"the warm pool keeps {floor}" + (" on schedule" if floors and floor == max(floors) else "")
    return _no_less_than(least, wish, "warm_floor", because, {"floor": floor})


def bounds(wish: int, case: Case) -> Ruling | None:
    """The operator's bounds have the last word: the policy's over all versions, and the target's own."""
    low = ceil(case.policy.min_replicas * case.share_percent / WHOLE_PERCENT)
    low = max(low, case.target.min_replicas if case.share_percent > 0 else 0)
    high = case.ceiling if case.target.max_replicas is None else min(case.ceiling, case.target.max_replicas)
    after = min(max(wish, low), high)
    because = f"{low} to {high} are allowed" + (
        "" if high == case.policy.max_replicas else " beside the other versions"
    )
    return _changed(Ruling(rule="bounds", before=wish, after=after, because=because, facts={"low": low, "high": high}))


def paused(wish: int, case: Case) -> Ruling | None:
    """A paused policy holds what is there, and keeps learning."""
    if not case.policy.paused:
        return None
    because = "the policy is paused"
    return _changed(Ruling(rule="paused", before=wish, after=case.requested, because=because, facts={}))


RULES: Final[tuple[Rule, ...]] = (
    room,
    step_up,
    full_window,
    intact,
    hold,
    step_down,
    flaps,
    warm_floor,
    bounds,
    paused,
)


def limited(wish: Ruling, case: Case) -> TargetPlan:
    """The target's plan: the wish, and every ruling that changed it, in order."""
    trail = [wish]
    for rule in RULES:
        ruling = rule(trail[-1].after, case)
        if ruling is not None:
            trail.append(ruling)
    return TargetPlan(key=case.target.key, trail=tuple(trail))


def remembered(wish: Ruling, planned: int, case: Case) -> TargetMemory:
    """What the next tick must know of this target after ``planned`` was decided on ``wish``."""
    memory = replace(case.memory, wished=_wished(wish, case), flips_s=_recent_flips(case))
    if not case.demand_known:
        memory = replace(memory, known_from_s=None)
    elif memory.known_from_s is None:
        memory = replace(memory, known_from_s=case.at_s)
    if planned == case.requested:
        return memory
    direction = 1 if planned > case.requested else -1
    flips_s = (*memory.flips_s, case.at_s) if memory.direction == -direction else memory.flips_s
    moved = replace(memory, direction=direction, flips_s=flips_s)
    return replace(moved, grown_at_s=case.at_s) if direction > 0 else replace(moved, shrunk_at_s=case.at_s)


def _wished(wish: Ruling, case: Case) -> tuple[Wished, ...]:
    """The wishes that may still be the highest of a window: older and smaller ones never are again."""
    if not case.demand_known:
        return case.memory.wished
    kept = [
        wished
        for wished in case.memory.wished
        if case.at_s - wished.at_s <= WISHES_KEPT_S and wished.replicas > wish.after
    ]
    return (*kept, Wished(at_s=case.at_s, replicas=wish.after))


def _recent_flips(case: Case) -> tuple[float, ...]:
    return tuple(flip_s for flip_s in case.memory.flips_s if case.at_s - flip_s < FLIPS_KEPT_S)


def _no_less_than(least: int, wish: int, rule: str, because: str, facts: dict[str, float]) -> Ruling | None:
    return _changed(Ruling(rule=rule, before=wish, after=max(wish, least), because=because, facts=facts))


def _no_more_than(most: int, wish: int, rule: str, because: str, facts: dict[str, float]) -> Ruling | None:
    return _changed(Ruling(rule=rule, before=wish, after=min(wish, most), because=because, facts=facts))


def _changed(ruling: Ruling) -> Ruling | None:
    return None if ruling.before == ruling.after else ruling
