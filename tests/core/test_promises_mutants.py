"""Each property of the five promises kills the mutants that are named here.

A property that holds against the core must fail against the core with one part exchanged for a wrong one; otherwise it
promises nothing. `promises.py` has the properties, `MUTANTS` the wrong parts.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, settings

from scaler.core import decide, demand, limits, loading, need, release, zero
from scaler.core.commands import commands_of
from scaler.core.decide import _capacity, _Sight
from scaler.core.demand import _told
from scaler.core.limits import RULES, Case, Rule
from scaler.core.memory import Memory
from scaler.core.model import (
    NO_PICKER,
    Actuation,
    Fleet,
    Load,
    Missing,
    Observation,
    Policy,
    Replica,
    ScaleToZero,
    Version,
)
from scaler.core.plan import Ruling, SetReplicas, SetWeights, TargetPlan
from scaler.core.release import _onto_ready, _shares
from scaler.core.release import claim as _claim
from scaler.core.wish import replicas_needed, wish_of
from scaler.core.zero import coming
from tests.builders import load
from tests.core import promises
from tests.core.promise_draws import PROPERTIES, holds

deadly = settings(
    max_examples=500,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
"""The same examples on every run, and none made smaller: that there is one is all that is asked."""


def without(rule: Rule) -> tuple[Rule, ...]:
    return tuple(each for each in RULES if each is not rule)


def instead_of(rule: Rule, other: Rule) -> tuple[Rule, ...]:
    return tuple(other if each is rule else each for each in RULES)


def rests_unasked(wish: int, case: Case) -> Ruling | None:
    """The last replica may go whoever asked."""
    asked = case.policy.scale_to_zero or ScaleToZero(idle_s=0.0)
    return limits.rest(wish, replace(case, policy=replace(case.policy, scale_to_zero=asked), idle_for_s=7200.0))


def rests_at_once(wish: int, case: Case) -> Ruling | None:
    """One tick without demand is enough."""
    return limits.rest(wish, case if case.idle_for_s is None else replace(case, idle_for_s=1e6))


def idle_as_the_gateway_says(
    asked: Policy, observation: Observation, _: object, idle_from_s: float | None, at_s: float
) -> float | None:
    """Whatever the replicas work on."""
    come = coming(observation)
    is_idle = asked.scale_to_zero is not None and isinstance(come, Ruling) and come.after == 0
    return (idle_from_s or at_s) if is_idle else None


def only_when_all_tell(observation: Observation) -> Ruling | Missing:
    """One signal that is missing is enough to know nothing."""
    for value in (observation.demand_at_gateway, observation.gateway_waiting):
        if isinstance(value, Missing) and value != NO_PICKER:
            return value
    return coming(observation)


def from_another_number(wish: int, case: Case) -> Ruling | None:
    """A rule that rules on a number nobody has told it."""
    return limits.bounds(wish + 1, case)


def first_ruling_left_out(wish: Ruling, case: Case) -> TargetPlan:
    """What the first rule changed is in the number, and not in the trail."""
    plan = limits.limited(wish, case)
    return replace(plan, trail=(wish, *plan.trail[2:]))


def one_too_many(*plan: object) -> tuple[object, ...]:
    """Commands that are not the plan's numbers."""
    told = commands_of(*plan)  # type: ignore[arg-type]  # passed on as they came
    return tuple(replace(each, replicas=each.replicas + 1) if isinstance(each, SetReplicas) else each for each in told)


calls = count()


def by_the_parity_of_calls(demand: object) -> Ruling:
    """A need that depends on more than the arguments."""
    need = replicas_needed(demand)  # type: ignore[arg-type]  # passed on as it came
    return replace(need, after=need.after + next(calls) % 2)


def silence_is_idleness(replica: Replica, asked: Policy, at_s: float) -> Load | Missing:
    """A load that was not read counts as none."""
    return load(at_s=at_s) if isinstance(replica.load, Missing) else _told(replica, asked, at_s)


def any_sample_counts(replica: Replica, asked: Policy, at_s: float) -> Load | Missing:
    """However old it is."""
    if isinstance(replica.load, Load):
        replica = replace(replica, load=replace(replica.load, at_s=at_s))
    return _told(replica, asked, at_s)


def as_it_was(memory: Memory | None, at_s: float) -> Memory:
    """A memory that does not notice that nobody has watched."""
    return memory or Memory(at_s=at_s)


def nothing_waits(observation: Observation) -> float:
    """A queue that cannot be read counts as empty."""
    waiting = observation.gateway_waiting
    return waiting if isinstance(waiting, float) and 0.0 <= waiting < 1e6 else 0.0


def nothing_known_is_nothing_needed(need: Ruling | Missing, share_percent: int, has: Fleet, late: int) -> Ruling:
    """A wish that reads an unknown demand as an empty night."""
    wish = wish_of(need, share_percent, has, late)
    return replace(wish, after=0) if isinstance(need, Missing) else wish


def asked_for_is_ready(version: Version, sight: _Sight) -> release.Capacity:
    """Weights bounded by what is asked for instead of by what is ready."""
    capacity = _capacity(version, sight)
    fleets = [sight.observation.fleet(target.key) for target in version.targets]
    asked = min(each.requested for each in fleets if isinstance(each, Fleet))
    carries = capacity.carries_percent
    if isinstance(carries, int) and capacity.ready > 0:
        carries = min(100, carries * asked // capacity.ready)
    return release.Capacity(ready=asked, carries_percent=100 if asked > capacity.ready == 0 else carries)


def straight_to_the_aim(aim_percent: int, _: release.Case) -> int:
    """Steps that do not wait for capacity."""
    return aim_percent


def never_back(aim_percent: int, case: release.Case) -> int:
    """Weight that stays where nobody is ready."""
    return max(case.current_percent, _onto_ready(aim_percent, case))


def nothing_is_needed(*how: object) -> release.Claim:
    """Ceilings that take what a version's traffic needs."""
    return replace(_claim(*how), needed=0)  # type: ignore[arg-type]  # passed on as they came


def shares_of_yesterday(
    stage: release.Stage, aim_percent: int, _: dict[str, int], case: release.Case
) -> dict[str, int]:
    """Capacity for the traffic that was, not for what is given now."""
    return dict(_shares(stage, aim_percent, case.weights, case))


def ceilings_alone(claims: dict[str, release.Claim], _: release.Case, most: int) -> dict[str, int]:
    """Each version may have the whole maximum."""
    return dict.fromkeys(claims, most)


def at_any_rate(asked: Policy, *rest: object) -> tuple[object, ...]:
    """Commands that ignore who may write."""
    return commands_of(replace(asked, paused=False, actuation=Actuation.SCALE), *rest)  # type: ignore[arg-type]


def paused_writes(asked: Policy, *rest: object) -> tuple[object, ...]:
    """Commands that ignore paused."""
    return commands_of(replace(asked, paused=False), *rest)  # type: ignore[arg-type]  # passed on as they came


def half_the_weights(*plan: object) -> tuple[object, ...]:
    """Weights that name the candidate alone."""
    told = commands_of(*plan)  # type: ignore[arg-type]  # passed on as they came
    return tuple(SetWeights(weights={"v2": 50}) if isinstance(each, SetWeights) else each for each in told)


def asked_for_once(wish: int, case: Case) -> Ruling | None:
    """What was decided once is taken for done."""
    if wish <= case.requested or case.memory.grown_at_s is None:
        return None
    return Ruling(rule="room", before=wish, after=case.requested, because="it was asked for", facts={})


MUTANTS: dict[str, tuple[Callable[..., None], object, str, object]] = {
    # 1
    "a rule begins from another number": (
        promises.every_number_has_a_reason,
        limits,
        "RULES",
        (*RULES, from_another_number),
    ),
    "a ruling is left out of the trail": (
        promises.every_number_has_a_reason,
        decide,
        "limited",
        first_ruling_left_out,
    ),
    "a command is not the plan's number": (promises.every_number_has_a_reason, decide, "commands_of", one_too_many),
    "a decision depends on more than its arguments": (
        promises.every_number_has_a_reason,
        need,
        "replicas_needed",
        by_the_parity_of_calls,
    ),
    # 2
    "silent replicas are idle": (
        promises.nothing_shrinks_because_something_broke,
        demand,
        "_told",
        silence_is_idleness,
    ),
    "any sample counts": (promises.nothing_shrinks_because_something_broke, demand, "_told", any_sample_counts),
    "lost and unread replicas have no work": (
        promises.nothing_shrinks_because_something_broke,
        decide,
        "unheard",
        lambda *_: (),
    ),
    "an unread queue is empty": (
        promises.nothing_shrinks_because_something_broke,
        demand,
        "_held_back",
        nothing_waits,
    ),
    "no full window": (
        promises.nothing_shrinks_because_something_broke,
        limits,
        "RULES",
        without(limits.full_window),
    ),
    "nothing intact": (promises.nothing_shrinks_because_something_broke, limits, "RULES", without(limits.intact)),
    "a gap goes unnoticed": (promises.nothing_shrinks_because_something_broke, decide, "_entered", as_it_was),
    "an unknown demand is none": (
        promises.nothing_shrinks_because_something_broke,
        decide,
        "wish_of",
        nothing_known_is_nothing_needed,
    ),
    "replicas that are not seen are gone": (
        promises.nothing_shrinks_because_something_broke,
        Observation,
        "shows_all_of",
        lambda *_: True,
    ),
    "anyone may go to zero": (
        promises.the_last_replica_goes_only_when_asked,
        limits,
        "RULES",
        instead_of(limits.rest, rests_unasked),
    ),
    "idle time is not waited for": (
        promises.the_last_replica_goes_only_when_asked,
        limits,
        "RULES",
        instead_of(limits.rest, rests_at_once),
    ),
    "a query without an answer tells of nothing": (
        promises.the_last_replica_goes_only_when_asked,
        zero,
        "_believed",
        lambda _, value: 0.0 if isinstance(value, Missing) or not 0.0 <= value < 1e6 else value,
    ),
    "idle time goes on over a gap": (promises.the_last_replica_goes_only_when_asked, decide, "_entered", as_it_was),
    "nobody looks at the replicas": (
        promises.the_last_replica_goes_only_when_asked,
        decide,
        "idle_from",
        idle_as_the_gateway_says,
    ),
    "a pace holds the first replica back": (
        promises.what_comes_calls_for_a_replica,
        limits,
        "RULES",
        without(limits.wake),
    ),
    "a signal that is missing hides another": (
        promises.what_comes_calls_for_a_replica,
        zero,
        "coming",
        only_when_all_tell,
    ),
    "zero is never left": (promises.what_comes_calls_for_a_replica, need, "need_at_zero", lambda *_: None),
    # 3
    "a prior that never fades": (promises.the_belief_is_what_was_measured, loading, "PRIOR_GONE_AT", 10**9),
    "a hold that is configured": (
        promises.a_dip_must_outlast_three_tenths_of_a_start,
        Case,
        "hold_s",
        property(lambda _: 300.0),
    ),
    "no hold": (
        promises.a_dip_must_outlast_three_tenths_of_a_start,
        limits,
        "RULES",
        without(limits.hold),
    ),
    "only starts that ended are believed": (
        promises.starts_that_drag_on_are_believed,
        loading,
        "_still_starting",
        lambda *_: [],
    ),
    "starts that fail are asked for again": (
        promises.a_start_past_its_budget_stops_growth,
        limits,
        "RULES",
        without(limits.room),
    ),
    # 4
    "weights are bounded by what is asked for": (
        promises.traffic_goes_where_replicas_are_ready,
        decide,
        "_capacity",
        asked_for_is_ready,
    ),
    "steps do not wait for capacity": (
        promises.traffic_goes_where_replicas_are_ready,
        release,
        "_onto_ready",
        straight_to_the_aim,
    ),
    "weight never goes back": (
        promises.traffic_goes_where_replicas_are_ready,
        release,
        "_onto_ready",
        never_back,
    ),
    "a third version keeps traffic that it cannot serve": (
        promises.traffic_goes_where_replicas_are_ready,
        release,
        "_any_unready_weight",
        lambda _: False,
    ),
    "the fallback takes what it does not carry": (
        promises.traffic_goes_where_replicas_are_ready,
        release,
        "_bearable",
        lambda version, fallback, _: 100 if version == fallback else 0,
    ),
    "room is made of what traffic needs": (promises.traffic_keeps_its_replicas, release, "claim", nothing_is_needed),
    "traffic given now needs nothing yet": (
        promises.traffic_keeps_its_replicas,
        release,
        "_shares",
        shares_of_yesterday,
    ),
    "each version has the whole maximum": (
        promises.versions_stay_within_the_maximum,
        release,
        "ceilings",
        ceilings_alone,
    ),
    "what is decided is taken for done": (
        promises.an_interrupted_list_resumes,
        limits,
        "RULES",
        (*RULES, asked_for_once),
    ),
    # 5
    "a paused policy writes": (promises.it_keeps_to_its_own, decide, "commands_of", paused_writes),
    "advice is written": (promises.it_keeps_to_its_own, decide, "commands_of", at_any_rate),
    "weights that are not all": (promises.it_keeps_to_its_own, decide, "commands_of", half_the_weights),
    "no bounds": (promises.it_keeps_to_its_own, limits, "RULES", without(limits.bounds)),
}
"""Each wrong part with the promise that must notice it, and where it is put: a module or class, and the name there."""


RARE = {"traffic given now needs nothing yet", "the fallback takes what it does not carry", "a paused policy writes"}
"""Mutants that are wrong in few worlds, so that finding one takes seconds."""


@pytest.mark.parametrize(
    "mutant", [pytest.param(each, marks=pytest.mark.slow) if each in RARE else each for each in MUTANTS]
)
def test_a_mutant_is_killed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    promise, where, name, part = MUTANTS[mutant]
    assert mutant in " ".join((promise.__doc__ or "").split()), "the promise's docstring names the mutants it kills"
    monkeypatch.setattr(where, name, part)

    with pytest.raises(AssertionError):
        holds(promise, deadly)


def test_every_promise_kills_a_mutant() -> None:
    assert {promise for promise, *_ in MUTANTS.values()} == set(PROPERTIES)
