"""What stands between a wish and a target: each rule is a function of the wish and the case, the last word wins.

A replica costs minutes to start and seconds to stop, so every rule but the operator's own bounds can only slow a
shrink or bound a growth. Nothing here knows of time but the case's own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Final

from scaler.core.capacity import MISFIT_MOST, SPEAKS_FOR_S
from scaler.core.memory import Shortage, TargetMemory, Wished
from scaler.core.model import WHOLE_PERCENT, Fleet, Phase, Policy, Replica, Target
from scaler.core.plan import LoadTime, Ruling, TargetPlan
from scaler.core.zero import start_told

HOLD_LOAD_TIMES: Final = 0.3
"""A dip must last this share of the p90 load time before replicas go.

Three quarters of a load time cost 1 to 2 % more on the public grid and attained no more: what a shrink must leave for
rises (`consolidate`) already keeps those dips apart that come back."""

HOLD_LEAST_S: Final = 120.0
"""Below eight scrapes of 15 s a dip and two late samples look the same, and a restart saw nothing yet."""

WATCHED_LEAST_S: Final = 60.0
"""What a new process has seen for four scrapes it knows, where the policy asks for a shorter hold than ours."""

UNSCHEDULABLE_PATIENCE_S: Final = 60.0
"""A replica that no node takes for this long has met a shortage; the scheduler retries within seconds."""

PROBE_WAIT_S: Final = 60.0
PROBE_WAIT_MOST_S: Final = 900.0
"""After a shortage room is tried again after one minute, then two, four, and so on up to a quarter of an hour."""

PROBE_MOST: Final = 16
"""A try of so many replicas that all found a node ends the caution: that is two nodes of eight GPUs."""

SHORTAGE_KEPT_S: Final = 3600.0
"""So long after it began a shortage that did not come back is forgotten."""

WISHES_KEPT_S: Final = 3600.0
"""A hold that follows the load time may grow up to this from one tick to the next; a longer one is kept whole."""

HOUR_S: Final = 3600.0
TURN_AND_BACK: Final = 2.0
TURNS_FIRST: Final = 1.0
TURNS_KEPT_HOURS: Final = 3.0
"""A flap budget is by the hour, and what is not used of it is kept for so long: a calm night pays for a restless
morning. Held strictly by the hour, half of it was never used, and replicas idled for a tenth of their cost."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One target as its rules see it.

    ``share_percent`` is the traffic it must carry, ``ceiling`` the most it may have beside the other versions,
    ``demand_known`` whether the wish rests on a demand at all, ``unheard`` the replicas of its role, of any version,
    whose work is not in that demand, ``steady`` what a shrink must leave. ``idle_for_s`` is for how long nothing has
    come, None while the last replica may not go; ``is_waking`` says that something comes and nobody is asked for.
    ``slowness`` is how many times as long as is believed the replicas took for their last steady minute, None while
    nothing since the start has spoken for or against the belief.
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
    unheard: tuple[Replica, ...] = ()
    steady: int = 0
    idle_for_s: float | None = None
    is_waking: bool = False
    slowness: float | None = 1.0

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
    """While replicas are refused, find no node or fail to start, more would only queue: stay at what is asked for."""
    if wish <= case.requested:
        return None
    refused = case.fleet.refused
    if refused is not None:
        because = f"{refused.replicas} of the {case.requested} asked for cannot be created ({refused.why})"
        facts = {"refused": refused.replicas}
        return Ruling(rule="room", before=wish, after=case.requested, because=because, facts=facts)
    stuck = stuck_replicas(case.fleet, case.policy, case.at_s)
    if not stuck:
        return None
    because = f"{len(stuck)} of the {case.requested} asked for cannot start ({stuck[0].name}: {_stuck_why(stuck[0])})"
    return Ruling(rule="room", before=wish, after=case.requested, because=because, facts={"stuck": len(stuck)})


def probe(wish: int, case: Case) -> Ruling | None:
    """After a shortage room is tried with one replica, and with twice as many whenever all of a try found a node."""
    shortage = case.memory.shortage
    if shortage is None or not shortage.is_over or wish <= case.requested:
        return None
    tried, ago_s = _unplaced(case.fleet), case.at_s - shortage.began_s
    facts = {"step": shortage.step, "wait_s": shortage.wait_s, "ago_s": ago_s}
    if tried > 0:
        because = f"after a shortage {_replicas(tried)} must find a node first"
        return _no_more_than(case.requested, wish, "probe", because, facts)
    if ago_s < shortage.wait_s:
        because = f"replicas found no node {ago_s:.0f} s ago, and the next try is {shortage.wait_s:.0f} s after that"
        return _no_more_than(case.requested, wish, "probe", because, facts)
    because = f"after a shortage room is tried with {_replicas(shortage.step)} more"
    return _no_more_than(case.requested + shortage.step, wish, "probe", because, facts)


def _unplaced(fleet: Fleet) -> int:
    """The replicas that are asked for and have no node yet."""
    return max(0, fleet.requested - len(fleet.placed()))


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
    # What was decided and is not carried out yet is said again: KEDA would take back and forth for two decisions.
    most = max(case.requested, case.memory.asked or 0) if resting else case.requested + step
    because = f"behavior.scaleUp allows {step} more every {period_s:.0f} s"
    return _no_more_than(most, wish, "step_up", because, {"step": step, "period_s": period_s})


def wake(wish: int, case: Case) -> Ruling | None:
    """From zero the first replica is asked for at once: neither a pace nor a former shortage may keep it away."""
    if not case.is_waking or wish > 0:
        return None
    because = "something comes, and there is no replica: neither a step nor a shortage holds the first one back"
    return Ruling(rule="wake", before=wish, after=1, because=because, facts={})


def full_window(wish: int, case: Case) -> Ruling | None:
    """After a start, a new leader or a gap, nothing shrinks before the demand has been seen for a whole hold."""
    seen_s = _since(case.memory.known_from_s, case.at_s)
    window_s = max(WATCHED_LEAST_S, case.hold_s)
    if wish >= case.requested or seen_s >= window_s:
        return None
    because = f"the demand has been seen for {seen_s:.0f} s without a gap, shrinking needs {window_s:.0f} s"
    return _no_less_than(case.requested, wish, "full_window", because, {"seen_s": seen_s, "window_s": window_s})


def checked(wish: int, case: Case) -> Ruling | None:
    """Nothing shrinks on a belief of what a replica carries that no minute has borne out yet, or the last has not."""
    if wish >= case.requested:
        return None
    seen_s = _since(case.memory.known_from_s, case.at_s)
    if case.slowness is None:
        if seen_s >= SPEAKS_FOR_S:
            return None
        because = f"no steady minute has told what a replica carries in the {seen_s:.0f} s since the start"
        return _no_less_than(case.requested, wish, "checked", because, {"seen_s": seen_s})
    if case.slowness <= 1.0 + MISFIT_MOST:
        return None
    because = f"the replicas took {case.slowness:.2f} times as long for their last minute as is believed"
    return _no_less_than(case.requested, wish, "checked", because, {"slowness": case.slowness})


def intact(wish: int, case: Case) -> Ruling | None:
    """Nothing shrinks while replicas, of any version, have work that is missing from what the others report."""
    if wish >= case.requested or not case.unheard:
        return None
    first = case.unheard[0]
    why = "was ready and is not now" if first.phase is Phase.LOST else "has only just become ready"
    because = f"the work of {_replicas(len(case.unheard))} is not in what was seen ({first.name} {why})"
    return _no_less_than(case.requested, wish, "intact", because, {"unheard": len(case.unheard)})


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def hold(wish: int, case: Case) -> Ruling | None:
    """Shrink only to what was wished throughout the hold: a dip must outlast what a restart would cost."""
    recent = [wished for wished in case.memory.wished if case.at_s - wished.at_s <= case.hold_s]
    if wish >= case.requested or not recent:
        return None
    highest = max(recent, key=lambda wished: wished.replicas)
    because = (
        f"{case.at_s - highest.at_s:.0f} s ago it took {_replicas(highest.replicas)}, and a start takes up to "
        f"{case.load_time.p90_s:.0f} s: a dip must last {case.hold_s:.0f} s"
    )
    facts = {"hold_s": case.hold_s, "highest": highest.replicas, "load_time_p90_s": case.load_time.p90_s}
    return _no_less_than(min(highest.replicas, case.requested), wish, "hold", because, facts)


def consolidate(wish: int, case: Case) -> Ruling | None:
    """Shrink only to what would carry a rise that is not rare, at any moment of the hold: growing back is a turn."""
    if wish >= case.requested:
        return None
    least = max([case.steady, *(each.replicas for each in case.memory.steady if case.at_s - each.at_s <= case.hold_s)])
    because = f"fewer than {_replicas(least)} would have to grow again at a rise that is not rare"
    return _no_less_than(min(least, case.requested), wish, "consolidate", because, {"steady": least})


def step_down(wish: int, case: Case) -> Ruling | None:
    """Shrink by at most the policy's share in each period, at least by one."""
    behavior = case.policy.behavior
    if wish >= case.requested:
        return None
    resting = case.memory.shrunk_at_s is not None and case.at_s - case.memory.shrunk_at_s < behavior.shrink_period_s
    step = max(1, case.requested * behavior.shrink_step_percent // WHOLE_PERCENT)
    because = f"at most {behavior.shrink_step_percent} % may go every {behavior.shrink_period_s:.0f} s"
    facts = {"step_percent": behavior.shrink_step_percent, "period_s": behavior.shrink_period_s}
    asked = case.requested if case.memory.asked is None else min(case.requested, case.memory.asked)
    least = asked if resting else case.requested - step
    return _no_less_than(least, wish, "step_down", because, facts)


def flaps(wish: int, case: Case) -> Ruling | None:
    """Turn from growing to shrinking only while two turns of the budget are left: this one, and the one back."""
    if wish >= case.requested or case.memory.direction <= 0:
        return None
    left, budget = turns_left(case), case.policy.behavior.flaps_per_hour
    if left >= TURN_AND_BACK:
        return None
    because = f"turning now, and back again, takes 2 turns: {left:.1f} are left, with {budget} more every hour"
    return _no_less_than(case.requested, wish, "flaps", because, {"turns_left": left, "budget": budget})


def rest(wish: int, case: Case) -> Ruling | None:
    """Let the last replica go where the policy asks for that, once nothing has come for as long as it says.

    It is the most expensive shrink there is, so it waits for a full window, the hold, the pace and the flap budget too.
    """
    zero = case.policy.scale_to_zero
    if zero is None or case.idle_for_s is None or (wish, case.requested) != (1, 1):
        return None
    is_early = case.idle_for_s < max(zero.idle_s, case.hold_s)
    is_kept = least(case.policy, case.target, case.share_percent, case.at_s) > 0
    if is_early or is_kept or any(rule(0, case) is not None for rule in (full_window, step_down, flaps)):
        return None
    because = f"nothing came for {case.idle_for_s:.0f} s; the next request waits {start_told(case.load_time)}"
    facts = {"idle_s": case.idle_for_s, "load_time_p90_s": case.load_time.p90_s}
    return Ruling(rule="rest", before=wish, after=0, because=because, facts=facts)


def turns_left(case: Case) -> float:
    """The turns that the flap budget has left, as of the case's time."""
    budget = case.policy.behavior.flaps_per_hour
    if case.memory.turns_left is None or case.memory.turns_at_s is None:
        return TURNS_FIRST
    hours = max(0.0, case.at_s - case.memory.turns_at_s) / HOUR_S
    return min(case.memory.turns_left + budget * hours, budget * TURNS_KEPT_HOURS)


def warm_floor(wish: int, case: Case) -> Ruling | None:
    """Keep the warm pool, whatever the demand, at the highest floor that is in force."""
    floor = _floor(case.policy, case.at_s)
    because = f"the warm pool keeps {floor}" + (" on schedule" if floor > case.policy.warm_floor else "")
    if case.share_percent < WHOLE_PERCENT:
        because += f", for {case.share_percent} % of the traffic"
    return _no_less_than(_part(floor, case.share_percent), wish, "warm_floor", because, {"floor": floor})


def _floor(policy: Policy, at_s: float) -> int:
    floors = [window.floor for window in policy.warm_windows if window.from_s <= at_s < window.until_s]
    return max((policy.warm_floor, *floors))


def _part(whole: int, share_percent: int) -> int:
    return ceil(whole * share_percent / WHOLE_PERCENT)


def bounds(wish: int, case: Case) -> Ruling | None:
    """The operator's bounds have the last word: the policy's over all versions, and the target's own."""
    low = _low(case.policy, case.target, case.share_percent)
    high = case.ceiling if case.target.max_replicas is None else min(case.ceiling, case.target.max_replicas)
    after = min(max(wish, low), high)
    because = "the operator allows " + (f"at most {high}" if high <= low else f"{low} to {high}")
    if high == case.ceiling < case.policy.max_replicas:
        because += " beside the other versions"
    return _changed(Ruling(rule="bounds", before=wish, after=after, because=because, facts={"low": low, "high": high}))


def _low(policy: Policy, target: Target, share_percent: int) -> int:
    """The operator's lower bound; a target without traffic may go, whatever its own is."""
    return max(_part(policy.min_replicas, share_percent), target.min_replicas if share_percent > 0 else 0)


def least(policy: Policy, target: Target, share_percent: int, at_s: float) -> int:
    """What the warm pool and the bounds make a target have at this share, were there no demand at all."""
    return max(_part(_floor(policy, at_s), share_percent), _low(policy, target, share_percent))


def paused(wish: int, case: Case) -> Ruling | None:
    """A paused policy holds what is there, and keeps learning."""
    if not case.policy.paused:
        return None
    because = "the policy is paused"
    return _changed(Ruling(rule="paused", before=wish, after=case.requested, because=because, facts={}))


SUPPLY: Final[tuple[Rule, ...]] = (room, probe)
"""The rules that speak of what there is to have; without them a target's number is what it wants."""

RULES: Final[tuple[Rule, ...]] = (
    *SUPPLY,
    step_up,
    wake,
    full_window,
    checked,
    intact,
    hold,
    consolidate,
    step_down,
    flaps,
    rest,
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


def wanted(plan: TargetPlan, case: Case) -> int:
    """What the target of ``plan`` would have, were there room for all of it."""
    if not any(ruling.rule in {rule.__name__ for rule in SUPPLY} for ruling in plan.trail):
        return plan.replicas
    wish = plan.trail[0].after
    for rule in RULES:
        ruling = None if rule in SUPPLY else rule(wish, case)
        wish = wish if ruling is None else ruling.after
    return wish


def remembered(wish: Ruling, planned: int, case: Case, *, knows_why: bool = False) -> TargetMemory:
    """What the next tick must know of this target after ``planned`` was decided on ``wish``.

    ``knows_why`` says that the GPUs that are free explain why replicas find no node: then nothing has to be tried.
    """
    left = turns_left(case)
    memory = replace(
        case.memory,
        wished=_recent(case.memory.wished, wish.after, case),
        steady=_recent(case.memory.steady, case.steady, case),
        turns_left=left,
        turns_at_s=case.at_s,
        shortage=_shortage(planned, case, knows_why=knows_why),
    )
    if not case.demand_known:
        memory = replace(memory, known_from_s=None)
    elif memory.known_from_s is None:
        memory = replace(memory, known_from_s=case.at_s)
    if planned == case.requested:
        return replace(memory, asked=None)
    direction = 1 if planned > case.requested else -1
    if (planned, direction) == (case.memory.asked, memory.direction):  # said again, since nobody has carried it out yet
        return memory
    turned = memory.direction == -direction
    moved = replace(memory, asked=planned, direction=direction, turns_left=left - 1.0 if turned else left)
    return replace(moved, grown_at_s=case.at_s) if direction > 0 else replace(moved, shrunk_at_s=case.at_s)


def _shortage(planned: int, case: Case, *, knows_why: bool) -> Shortage | None:
    """What is known of a shortage now: one that came back makes the next try wait twice as long."""
    before = case.memory.shortage
    if _is_short(case):
        return before if knows_why or (before is not None and not before.is_over) else _begun(before, case.at_s)
    if before is None or case.at_s - before.began_s > SHORTAGE_KEPT_S or before.step > PROBE_MOST:
        return None
    now = replace(before, is_over=True)
    if now.probed is not None and len(case.fleet.placed()) >= now.probed:
        now = replace(now, probed=None, step=2 * now.step)
    return replace(now, probed=planned) if planned > case.requested else now


def _is_short(case: Case) -> bool:
    waiting = (_since(each.unschedulable_since_s, case.at_s) for each in case.fleet.starting())
    return case.fleet.refused is not None or any(for_s > UNSCHEDULABLE_PATIENCE_S for for_s in waiting)


def _begun(before: Shortage | None, at_s: float) -> Shortage:
    wait_s = PROBE_WAIT_S if before is None else min(2.0 * before.wait_s, PROBE_WAIT_MOST_S)
    return Shortage(began_s=at_s, wait_s=wait_s)


def _recent(before: tuple[Wished, ...], count: int, case: Case) -> tuple[Wished, ...]:
    """``before`` with ``count``, without those that can never be the highest of a window again: older and smaller."""
    if not case.demand_known:
        return before
    kept = [
        wished
        for wished in before
        if case.at_s - wished.at_s <= max(WISHES_KEPT_S, case.hold_s) and wished.replicas > count
    ]
    return (*kept, Wished(at_s=case.at_s, replicas=count))


def _no_less_than(least: int, wish: int, rule: str, because: str, facts: dict[str, float]) -> Ruling | None:
    return _changed(Ruling(rule=rule, before=wish, after=max(wish, least), because=because, facts=facts))


def _no_more_than(most: int, wish: int, rule: str, because: str, facts: dict[str, float]) -> Ruling | None:
    return _changed(Ruling(rule=rule, before=wish, after=min(wish, most), because=because, facts=facts))


def _changed(ruling: Ruling) -> Ruling | None:
    return None if ruling.before == ruling.after else ruling
