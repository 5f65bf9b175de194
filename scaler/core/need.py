"""What each target would need for all the work of its role: demand, forecast and capacity put together.

The demand belongs to a role, since all versions share it; what a replica carries belongs to a target, since versions
and GPUs differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Final

from scaler.core.advice import advised
from scaler.core.arrivals import is_steady, queue_stood, tokens_of
from scaler.core.capacity import QUEUE_LEAST, QUEUE_SHARE, SPEAKS_FOR_S, Belief, belief_of, is_timed, learned, slower
from scaler.core.counting import Tick, counted, elapsed_s
from scaler.core.demand import demand_of
from scaler.core.forecast import SIGNALS_AGE_S, adapted, forecast, watched
from scaler.core.memory import CapacityMemory, Course, Memory, Moment
from scaler.core.model import Demand, Fleet, Missing, Observation, Policy, Replica, Role, TargetKey
from scaler.core.plan import FloorAdvice, LoadTime, Ruling
from scaler.core.wish import TTFT_S, Outlook, replicas_ahead, replicas_needed, replicas_told
from scaler.core.zero import coming, is_at_zero, need_at_zero

SETTLED_S: Final = 90.0
"""A replica that is ready for this long has had its first minute, and the scrape after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSeen:
    """What the work of all roles comes to: the needs by target, how each role's demand went, and what was learned."""

    needs: Mapping[TargetKey, Ruling | Missing]
    courses: tuple[Course, ...]
    advice: tuple[FloorAdvice, ...]
    tokens_per_s: Mapping[TargetKey, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the needs of one policy are told from, as of ``at_s``; ``slow`` are replicas' speeds by name (`slow_of`)."""

    policy: Policy
    observation: Observation
    memory: Memory
    capacities: Sequence[CapacityMemory]
    load_times: Mapping[TargetKey, LoadTime]
    slow: Mapping[str, float]
    at_s: float

    @property
    def is_late(self) -> bool:
        """Whether requests of the last minute had their first token too late."""
        objective, ttft_s = self.policy.time_to_first_token, self.observation.ttft_s
        return not isinstance(ttft_s, Missing) and ttft_s > (TTFT_S if objective is None else objective.limit_s)


def learned_of(memory: Memory, fleets: Mapping[TargetKey, Fleet], at_s: float) -> tuple[CapacityMemory, ...]:
    """What was known of every target's replicas by kind of node, with what this tick tells of a steady minute."""
    known = {(capacity.key, capacity.node_class): capacity for capacity in memory.capacities}
    for key, fleet in fleets.items():
        if not is_steady(memory.course(key.role)):
            continue
        for node_class in sorted({replica.node_class or "" for replica in fleet.ready()}):
            place = (key, node_class or None)
            capacity = known.get(place, CapacityMemory(key=key, node_class=node_class or None))
            own = _of_class(fleet, node_class, at_s)
            known[place] = learned(capacity, own, queue_stood=queue_stood(memory.course(key.role)))
    return tuple(known.values())


def slow_of(
    capacities: Sequence[CapacityMemory], fleets: Mapping[TargetKey, Fleet], at_s: float
) -> tuple[tuple[Replica, float], ...]:
    """The replicas that are slower than their like by more than noise, each with its share of their speed."""
    return tuple(
        pair
        for capacity in capacities
        if capacity.key in fleets
        for pair in slower(capacity, _of_class(fleets[capacity.key], capacity.node_class or "", at_s))
    )


def slowness_of(
    capacities: Sequence[CapacityMemory], fleets: Mapping[TargetKey, Fleet], at_s: float
) -> Mapping[TargetKey, float | None]:
    """How many times as long as is believed each target's replicas took for their last steady minute.

    The largest of its kinds of node; None where one of them has work, and has not taught anything since the start.
    """
    known = {(capacity.key, capacity.node_class or ""): capacity for capacity in capacities}
    found: dict[TargetKey, float | None] = {}
    for key, fleet in fleets.items():
        classes = sorted({replica.node_class or "" for replica in fleet.ready()})
        told = [
            _slowness(
                known.get((key, each), CapacityMemory(key=key, node_class=each)), _of_class(fleet, each, at_s), at_s
            )
            for each in classes
        ]
        found[key] = None if None in told else max((each for each in told if each is not None), default=1.0)
    return found


def _slowness(capacity: CapacityMemory, fleet: Fleet, at_s: float) -> float | None:
    """As `slowness_of`, on one kind of node; of replicas without work, or of long ago, nothing speaks against them."""
    if not is_timed(capacity, fleet):
        return 1.0
    if capacity.at_s is None or capacity.slowness is None:
        return None
    return capacity.slowness if at_s - capacity.at_s <= SPEAKS_FOR_S else 1.0


def _of_class(fleet: Fleet, node_class: str, at_s: float) -> Fleet:
    """The replicas on one kind of node of which a whole minute was scraped."""
    own = tuple(
        replica for replica in fleet.replicas if (replica.node_class or "") == node_class and _is_settled(replica, at_s)
    )
    return Fleet(requested=len(own), replicas=own)


def _is_settled(replica: Replica, at_s: float) -> bool:
    """Whether a whole minute of its work has been scraped."""
    return replica.ready_at_s is not None and at_s - replica.ready_at_s > SETTLED_S


def work_of(asked: Asked) -> WorkSeen:
    """The needs of all targets."""
    roles = [_role(role, asked) for role in sorted({target.key.role for target in asked.policy.targets()})]
    return WorkSeen(
        needs={key: need for seen in roles for key, need in seen.needs.items()},
        courses=tuple(course for seen in roles for course in seen.courses),
        advice=tuple(advice for seen in roles for advice in seen.advice),
        tokens_per_s={key: carried for seen in roles for key, carried in seen.tokens_per_s.items()},
    )


def _role(role: str, asked: Asked) -> WorkSeen:
    keys = [target.key for target in asked.policy.targets() if target.key.role == role]
    course = asked.memory.course(role)
    at_zero = need_at_zero(asked.policy, role, asked.observation, asked.at_s)
    if at_zero is not None:
        return _alike(keys, at_zero, course, asked)
    if asked.observation.own_replicas is not None:
        return _alike(keys, replicas_told(asked.observation.own_replicas), course, asked)
    demand = demand_of(Role(role), asked.observation, asked.policy, asked.at_s)
    if isinstance(demand, Missing):
        return _alike(keys, demand, course, asked)
    beliefs = {key: belief for key in keys if (belief := believed(key, asked.capacities)) is not None}
    if isinstance(demand.tokens, Missing):
        # Requests in flight are another measure, by which the same work may need fewer. Engines that have counted
        # tokens and do not any more are broken, and nothing shrinks for that.
        told = _kept(demand.tokens, role, asked) if course.moments else replicas_needed(demand)
        return _alike(keys, told, course, asked)
    if not beliefs:
        watching = watched(course, demand, _ahead_s(keys, asked), 0.0)
        watching = counted(watching, _tick(demand, course, asked), None)
        return _alike(keys, _unlearned(replicas_needed(demand), demand, keys, asked.observation), watching, asked)
    return _foreseen(keys, demand, course, beliefs, asked)


def _kept(why: Missing, role: str, asked: Asked) -> Ruling | Missing:
    """What is there is kept, except at zero, where one signal that something comes is enough to leave it."""
    come = coming(asked.observation) if is_at_zero(asked.policy, role, asked.observation) else why
    return come if isinstance(come, Ruling) and come.after > 0 else why


def _alike(keys: Sequence[TargetKey], need: Ruling | Missing, course: Course, asked: Asked) -> WorkSeen:
    advice = advised(course, asked.policy.time_to_first_token)
    return WorkSeen(needs=dict.fromkeys(keys, need), courses=(course,), advice=advice, tokens_per_s={})


def _ahead_s(keys: Sequence[TargetKey], asked: Asked) -> float:
    """From a rise to the replicas for it: until it is seen, and until most that are asked for then are ready."""
    return max((asked.load_times[key].p90_s for key in keys if key in asked.load_times), default=0.0) + SIGNALS_AGE_S


def _unlearned(need: Ruling, demand: Demand, keys: Sequence[TargetKey], observation: Observation) -> Ruling:
    """A need that is bounded until the first steady minute has told what a replica carries.

    Requests in flight say little of work: 1000 that wait for one replica may be fifty replicas' worth, or five. So what
    is ready does while no queue forms, and twice as many when one does.
    """
    fleets = [fleet for key in keys if isinstance(fleet := observation.fleet(key), Fleet)]
    ready = len([replica for fleet in fleets for replica in fleet.ready()])  # the need is of all versions together
    is_queueing = demand.waiting > max(QUEUE_LEAST * ready, QUEUE_SHARE * demand.running)
    most = max(1, 2 * ready if is_queueing or demand.refused_per_s > 0.0 else ready)
    if need.after <= most:
        return need
    because = f"{need.because}, but at most {most} until it is learned what one carries"
    return replace(need, after=most, because=because)


def _foreseen(
    keys: Sequence[TargetKey], demand: Demand, before: Course, beliefs: Mapping[TargetKey, Belief], asked: Asked
) -> WorkSeen:
    """The needs where the engines count tokens and somebody's replicas have been timed."""
    ahead_s = _ahead_s(keys, asked)
    unit_per_s = min(_unit_per_s(demand, belief) for belief in beliefs.values())
    tick, missed = _tick(demand, before, asked), _is_missed(demand, before.role, asked)
    course = adapted(watched(before, demand, ahead_s, unit_per_s), ahead_s, tick.elapsed_s, missed=missed)
    outlooks = {key: outlook for key in keys if (outlook := _outlook(key, demand, course, beliefs, asked)) is not None}
    if outlooks:
        widest = max(outlooks.values(), key=lambda outlook: outlook.ready)
        course = counted(course, tick, widest)
    flow = demand.tokens
    return WorkSeen(
        needs={key: replicas_ahead(outlooks[key]) if key in outlooks else replicas_needed(demand) for key in keys},
        courses=(course,),
        advice=advised(course, asked.policy.time_to_first_token),
        tokens_per_s={}
        if isinstance(flow, Missing)
        else {key: belief.tokens_per_s(flow) for key, belief in beliefs.items()},
    )


def _is_missed(demand: Demand, role: str, asked: Asked) -> bool:
    """Whether too few replicas of ``role`` were ready in the last minute.

    What is late for want of GPUs no forecast would have met.
    """
    if any(target.shared_from_s is not None for target in asked.memory.targets if target.key.role == role):
        return False
    return demand.refused_per_s > 0.0 or (asked.is_late and _waits(demand, role, asked))


def _waits(demand: Demand, role: str, asked: Asked) -> bool:
    """Whether first tokens that are late are so for want of replicas of ``role``.

    They are told of all roles together. Where prefill and decode are apart, the role in which requests wait is late.
    """
    return role == Role.SERVE.value or demand.waiting > _ready(role, asked)


def _ready(role: str, asked: Asked) -> int:
    return len([replica for fleet in _fleets_of(role, asked) for replica in fleet.ready()])


def _tick(demand: Demand, before: Course, asked: Asked) -> Tick:
    return Tick(
        demand=demand,
        elapsed_s=elapsed_s(before, demand),
        ready=_ready(before.role, asked),
        told=asked.observation.first_tokens,
        policy=asked.policy,
    )


def _fleets_of(role: str, asked: Asked) -> list[Fleet]:
    """The fleets of ``role``, of all versions: its demand and its queue are theirs together."""
    seen = [asked.observation.fleet(target.key) for target in asked.policy.targets() if target.key.role == role]
    return [fleet for fleet in seen if isinstance(fleet, Fleet)]


def _outlook(
    key: TargetKey, demand: Demand, course: Course, beliefs: Mapping[TargetKey, Belief], asked: Asked
) -> Outlook | None:
    fleet = asked.observation.fleet(key)
    if isinstance(fleet, Missing) or isinstance(demand.tokens, Missing) or key not in beliefs:
        return None
    load_time = asked.load_times[key]
    fleets, gateway = _fleets_of(key.role, asked), asked.observation.gateway_waiting
    ready = [replica for each in fleets for replica in each.ready()]
    ahead = forecast(course, demand, load_time.p90_s + SIGNALS_AGE_S, _unit_per_s(demand, beliefs[key]))
    if isinstance(ahead, Missing):
        return None
    return Outlook(
        demand=demand,
        flow=demand.tokens,
        ahead=ahead,
        belief=beliefs[key],
        load_time=load_time,
        policy=asked.policy,
        ready=len(ready),
        slow=fsum(1.0 - asked.slow.get(replica.name, 1.0) for replica in ready),
        queue_moves=not isinstance(gateway, Missing) and gateway > 0.0,
        starting=len([replica for each in fleets for replica in each.starting()]),
        served=fsum(_served(replica, course.moments) for replica in ready),
    )


def _served(replica: Replica, moments: Sequence[Moment]) -> float:
    """The part of the time since the scrape before the last in which ``replica`` was ready; all of it if nobody knows.

    Whoever became ready 3 s ago, of 15 s, has taken a fifth of what one takes.
    """
    if replica.ready_at_s is None or len(moments) < 2:  # noqa: PLR2004 - a difference takes two
        return 1.0
    before, now = moments[-2:]
    return min(1.0, max(0.0, now.at_s - replica.ready_at_s) / (now.at_s - before.at_s))


def believed(key: TargetKey, capacities: Sequence[CapacityMemory]) -> Belief | None:
    """What is believed of ``key``: its own lines, or while there are none, those of another version in its role."""
    own = [memory for memory in capacities if memory.key == key and memory.lines > 0.0]
    others = [memory for memory in capacities if memory.key.role == key.role and memory.lines > 0.0]
    known = own or others
    return belief_of(max(known, key=lambda memory: memory.lines)) if known else None


def _unit_per_s(demand: Demand, belief: Belief) -> float:
    """What one replica carries, in the tokens of `forecast`; 0 while nothing is served."""
    if isinstance(demand.tokens, Missing):
        return 0.0
    busy = belief.replicas(demand.tokens)
    return tokens_of(demand.tokens) / busy if busy > 0.0 else 0.0
