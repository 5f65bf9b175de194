"""The five promises as plain functions of a drawn world: each holds, or an assert fails.

They say what must be true in their own words and numbers, and ask the code under test for its decision alone.
"""

from dataclasses import replace
from itertools import pairwise
from math import ceil

from scaler.core.limits import HOLD_LEAST_S, HOLD_LOAD_TIMES
from scaler.core.loading import load_time
from scaler.core.memory import TargetMemory
from scaler.core.model import NO_PICKER, WHOLE_PERCENT, Actuation, Fleet, Loading, Missing, Replica, Target, TargetKey
from scaler.core.plan import Plan, SetReplicas, SetWeights
from tests.builders import START_S, fleet, key, plan_of, policy, sample, seen, serving, starting, watched
from tests.core.closed_loop import Event, Site, Tick, ran
from tests.core.strategies import BROKEN, GAP_S, HEALTHY, World, kind

WATCHED_LEAST_S = 60.0
SAFE_REQUESTS = 24

# --- 1. Every number has a reason --------------------------------------------------------------------------------


def every_number_has_a_reason(world: World) -> None:
    """The trail is a chain from what is asked for to what is commanded, and deciding again gives the same.

    Kills: a rule begins from another number; a ruling is left out of the trail; a command is not the plan's
    number; a decision depends on more than its arguments.
    """
    plan = world.plan()

    assert world.plan() == plan
    told = {command.key: command.replicas for command in plan.commands if isinstance(command, SetReplicas)}
    for target in plan.targets:
        has = requested(target.key, world)
        assert target.trail[0].before == has
        assert all(earlier.after == later.before for earlier, later in pairwise(target.trail))
        assert all(ruling.because and ruling.before != ruling.after for ruling in target.trail[1:])
        assert told.get(target.key, target.replicas) == target.replicas == target.trail[-1].after
        if world.policy.actuation is Actuation.SCALE and not world.policy.paused:
            assert (target.key in told) == (target.replicas != has)
    for command in plan.commands:
        if isinstance(command, SetWeights):
            assert plan.release is not None
            assert world.policy.release is not None
            assert command.weights == plan.weights
            assert command.weights[world.policy.release.version] == plan.release.after


def requested(target: TargetKey, world: World) -> int:
    """What a target is asked to have."""
    seen_fleet = world.observation.fleet(target)
    assert isinstance(seen_fleet, Fleet)
    return seen_fleet.requested


# --- 2. Nothing shrinks because something broke ------------------------------------------------------------------


def nothing_shrinks_because_something_broke(world: World) -> None:
    """Whatever is missing, stale, partial, absurd, lost or forgotten: no target goes below what is asked for.

    Only the operator's own bounds may say so; of several versions, also the bound on all of them together, while the
    demand is known.

    Kills: silent replicas are idle; any sample counts; lost and unread replicas have no work; an unread queue
    is empty; no full window; nothing intact; a gap goes unnoticed; an unknown demand is none; replicas that are
    not seen are gone.
    """
    plan = world.plan()

    for target in world.policy.targets():
        planned = plan.target(target.key)
        if planned is None:
            assert isinstance(world.observation.fleet(target.key), Missing)
            continue
        if planned.trail[-1].rule == "rest" and set(kinds(target.key.role, world)) == {"starting"}:
            continue  # nobody has had work, so nobody's is missing: see the next promise
        broke = is_broken(target.key.role, world)
        shares_the_maximum = len(world.policy.versions) > 1 and planned.trail[-1].rule == "bounds"
        if broke or (is_unwatched(world.memory_of(target.key)) and not shares_the_maximum):
            assert planned.replicas >= min(requested(target.key, world), highest(target, world))
    if not all_seen(world) or isinstance(world.observation.weights, Missing):
        assert not any(isinstance(command, SetWeights) for command in plan.commands)


def the_last_replica_goes_only_when_asked(world: World) -> None:
    """Nobody is at zero with traffic who has not asked for it, or of whom it is not known that nothing has come.

    Not for long enough, by every signal there is. Only the operator's own maximum, or a pause, may say so besides; who
    is there already stays.

    Kills: anyone may go to zero; a query without an answer tells of nothing; idle time is not waited for; idle time
    goes on over a gap; nobody looks at the replicas.
    """
    plan = world.plan()

    for target in world.policy.targets():
        planned = plan.target(target.key)
        if planned is None or requested(target.key, world) == 0 or planned.replicas > 0:
            continue
        has_traffic = len(world.policy.versions) == 1
        if has_traffic and not world.policy.paused and highest(target, world) > 0:
            assert world.policy.scale_to_zero is not None
            assert not is_coming(world)
            assert has_been_idle_for_s(world) >= world.policy.scale_to_zero.idle_s
            assert not any(kind(replica) in {"busy", "full", *BROKEN} for replica in all_replicas(world))


def is_coming(world: World) -> bool:
    """Whether something comes, or that is not known, by the signals that need no replica."""
    query, queue = world.observation.demand_at_gateway, world.observation.gateway_waiting
    told = [each for each in (query, queue) if each is not None and each != NO_PICKER]
    return not told or not all(each == 0.0 for each in told)


def has_been_idle_for_s(world: World) -> float:
    """For how long nothing has come without a gap, as far as is remembered."""
    memory = world.memory
    if memory is None or memory.idle_from_s is None or not 0.0 <= START_S - memory.at_s <= GAP_S:
        return 0.0
    return START_S - memory.idle_from_s


def all_replicas(world: World) -> list[Replica]:
    """Every replica that was seen."""
    fleets = [each.fleet for each in world.observation.fleets]
    return [replica for fleet in fleets if isinstance(fleet, Fleet) for replica in fleet.replicas]


def what_comes_calls_for_a_replica(world: World) -> None:
    """A model that may be at zero is never left there while any signal tells of demand, whatever else is missing.

    Unless it is paused, or is one of several versions and it is not known which of them has the traffic.

    Kills: a pace holds the first replica back; a signal that is missing hides another; zero is never left.
    """
    if world.policy.scale_to_zero is None or world.policy.paused or len(world.policy.versions) > 1:
        return
    plan = world.plan()
    comes = [world.observation.demand_at_gateway, world.observation.gateway_waiting]
    if any(isinstance(each, float) and 0.0 < each < 1e6 for each in comes):
        assert all(target.replicas > 0 for target in plan.targets)


def is_broken(role: str, world: World) -> bool:
    """Whether the work of ``role`` cannot be told in full."""
    fleets, present = world.fleets(role), kinds(role, world)
    blind = len(world.policy.versions) > 1 and (isinstance(world.observation.weights, Missing) or not all_seen(world))
    nobody = not any(each in HEALTHY for each in present)
    gone = any(isinstance(each, Missing) for each in fleets)
    return blind or nobody or gone or has_lost_its_queue(world) or any(each in BROKEN for each in present)


def kinds(role: str, world: World) -> list[str]:
    """What is the matter with each replica of ``role`` that is seen."""
    return [kind(replica) for each in world.fleets(role) if isinstance(each, Fleet) for replica in each.replicas]


def has_lost_its_queue(world: World) -> bool:
    """Whether the gateway's queue is there and cannot be read."""
    waiting = world.observation.gateway_waiting
    return waiting != NO_PICKER and (isinstance(waiting, Missing) or not 0.0 <= waiting < 1e6)


def all_seen(world: World) -> bool:
    """Whether no list of replicas is missing."""
    return not any(isinstance(each.fleet, Missing) for each in world.observation.fleets)


def is_unwatched(remembered: TargetMemory | None) -> bool:
    """Whether the demand of a target has not been known without a gap for the least window."""
    if remembered is None or remembered.known_from_s is None:
        return True
    return START_S - remembered.known_from_s < WATCHED_LEAST_S


def highest(target: Target, world: World) -> int:
    """The operator's own upper bound of one target."""
    high = world.policy.max_replicas
    return high if target.max_replicas is None else min(high, target.max_replicas)


# --- 3. Load time is measured, not configured --------------------------------------------------------------------


def the_belief_is_what_was_measured(starts_s: list[float], expected_s: float) -> None:
    """After five starts the expectation has no say, however wrong it was.

    Kills: a prior that never fades.
    """
    asked = policy(loading=Loading(expected_s=expected_s, budget_s=9000.0))

    learned = load_time(key(), asked, [sample(total_s) for total_s in starts_s], fleet(), START_S)

    assert min(starts_s) <= learned.p50_s <= learned.p90_s <= max(starts_s)


def a_dip_must_outlast_three_tenths_of_a_start(start_s: float, dip_s: float) -> None:
    """Eight replicas were needed ``dip_s`` ago and starts took ``start_s``: they go when the dip has outlasted that.

    Kills: a hold that is configured; no hold.
    """
    has = serving(8)
    counted = tuple(replica.name for replica in has)
    memory = replace(watched((dip_s, 8)), load_samples=(sample(start_s),) * 5, counted=counted)

    plan = plan_of(seen(fleet(*has)), policy(), memory)

    assert (plan.targets[0].replicas < 8) == (dip_s > max(HOLD_LEAST_S, HOLD_LOAD_TIMES * start_s))


def starts_that_drag_on_are_believed(start_s: float, dragging_s: float) -> None:
    """Two of seven starts are still going on after ``dragging_s``: one in ten takes at least as long.

    Kills: only starts that ended are believed.
    """
    going_on = fleet(starting("a", age_s=dragging_s), starting("b", age_s=dragging_s))

    learned = load_time(key(), policy(), [sample(start_s)] * 5, going_on, START_S)

    assert learned.p90_s >= min(dragging_s, 1800.0)


def a_start_past_its_budget_stops_growth(age_s: float, budget_s: float) -> None:
    """Replicas that do not come up are not asked for again and again.

    Kills: starts that fail are asked for again.
    """
    asked = policy(loading=Loading(expected_s=30.0, budget_s=budget_s))
    busy = seen(fleet(*serving(1, running=240.0), starting(age_s=age_s)))

    assert (plan_of(busy, asked).targets[0].replicas == 2) == (age_s > budget_s)


# --- 4. No traffic without capacity ------------------------------------------------------------------------------


def traffic_goes_where_replicas_are_ready(story: tuple[Site, list[Event]]) -> None:
    """No version is given weight beyond what its ready replicas carry, and none keeps any without a ready replica.

    Unless there is no better place: where a version with traffic has nobody, the others take it as they are.

    Kills: weights are bounded by what is asked for; steps do not wait for capacity; weight never goes back; a
    third version keeps traffic that it cannot serve; the fallback takes what it does not carry.
    """
    for tick in ran(*story):
        site, weights = tick.site, tick.plan.weights
        assert not isinstance(weights, Missing)
        for version, weight in weights.items():
            others = [other for other in weights if other != version and site.ready(other) > 0]
            assert weight == 0 or site.ready(version) > 0 or not others
            emergency = not others or any(site.weights[each] > 0 and site.ready(each) == 0 for each in weights)
            assert weight <= max(site.weights[version], carried_percent(version, site)) or emergency


def carried_percent(version: str, site: Site) -> int:
    """The share of the traffic that the ready replicas of ``version`` carry; none while the need is not known."""
    need = need_of(site)
    if need == 0:
        return WHOLE_PERCENT
    return 0 if need is None else WHOLE_PERCENT * site.ready(version) // need


def need_of(site: Site) -> int | None:
    """The replicas that all the work that is seen needs; None while nobody tells it."""
    if site.running is None or not any(pod.is_ready for pod in site.pods):
        return None
    told = sum(site.running * weight for version, weight in site.weights.items() if site.ready(version))
    # Of a model that may go to zero, nothing is needed for nothing.
    least = 1 if site.policy.scale_to_zero is None or site.running > 0 else 0
    return max(least, ceil(told / WHOLE_PERCENT / SAFE_REQUESTS))


def traffic_keeps_its_replicas(story: tuple[Site, list[Event]]) -> None:
    """A version is never shrunk below what its traffic needs, while the need is known; then not at all.

    Kills: room is made of what traffic needs; traffic given now needs nothing yet.
    """
    for tick in ran(*story):
        need = need_of(tick.site)
        for command in tick.plan.commands:
            if isinstance(command, SetReplicas):
                has = tick.site.requested[command.key.version]
                needed = has if need is None else needed_by(command.key.version, need, tick)
                assert command.replicas >= min(has, needed)


def needed_by(version: str, need: int, tick: Tick) -> int:
    """What the traffic that ``version`` has or is given needs; of a need beyond the maximum, its part of that."""
    given = {} if isinstance(tick.plan.weights, Missing) else tick.plan.weights
    percent = max(tick.site.weights[version], given.get(version, 0))
    most = tick.site.policy.max_replicas
    if need >= most:
        return max(min(1, percent), most * percent // WHOLE_PERCENT)
    return ceil(need * percent / WHOLE_PERCENT)


def versions_stay_within_the_maximum(story: tuple[Site, list[Event]]) -> None:
    """All versions together stay within it, also while commands of the last tick are half done.

    Kills: each version has the whole maximum.
    """
    for tick in ran(*story):
        asked = sum(tick.site.requested.values())
        assert sum(target.replicas for target in tick.plan.targets) <= max(asked, tick.site.policy.max_replicas)


def an_interrupted_list_resumes(site: Site, running: int, cut: int, at_tick: int) -> None:
    """A controller that died after ``cut`` commands leads to the same end as one that did not.

    Kills: what is decided is taken for done.
    """
    calm = [Event(after_s=60.0, running=running)] * 60
    broken_off = [*calm[:at_tick], Event(after_s=60.0, running=running, cut=cut), *calm[at_tick + 1 :]]

    *_, whole = ran(site, calm)
    *_, resumed = ran(site, broken_off)

    assert whole.plan.commands == resumed.plan.commands == ()
    assert (resumed.site.requested, resumed.site.weights) == (whole.site.requested, whole.site.weights)


# --- 5. It keeps to its own --------------------------------------------------------------------------------------


def it_keeps_to_its_own(world: World) -> None:
    """Commands name the policy's own targets and versions; who may not write does not; bounds are kept.

    Kills: a paused policy writes; advice is written; weights that are not all; no bounds.
    """
    plan = world.plan()

    own = {target.key: target for target in world.policy.targets()}
    if world.policy.paused or world.policy.actuation is Actuation.ADVISE:
        assert plan.commands == ()
    for command in plan.commands:
        match command:
            case SetReplicas(key=target, replicas=replicas):
                assert world.policy.actuation is Actuation.SCALE
                assert 0 <= replicas <= highest(own[target], world)
            case SetWeights(weights=weights):
                assert weights.keys() == {version.name for version in world.policy.versions}
                assert sum(weights.values()) == WHOLE_PERCENT
                assert min(weights.values()) >= 0
    if not world.policy.paused:
        assert_within_bounds(plan, world)


def assert_within_bounds(plan: Plan, world: World) -> None:
    """What is planned keeps the operator's bounds, alone and together."""
    for target in world.policy.targets():
        planned = plan.target(target.key)
        if planned is not None and len(world.policy.versions) == 1:
            assert planned.replicas >= min(world.policy.min_replicas, highest(target, world))
    if all_seen(world):
        for role in {target.key.role for target in world.policy.targets()}:
            planned_in_all = [target.replicas for target in plan.targets if target.key.role == role]
            asked = [requested(target.key, world) for target in plan.targets if target.key.role == role]
            assert sum(planned_in_all) <= max(sum(asked), world.policy.max_replicas)
