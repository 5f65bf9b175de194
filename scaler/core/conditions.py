"""The conditions of a policy's status: what a person on call should know without reading a trail."""

from collections.abc import Mapping, Sequence
from typing import Final

from scaler.core.demand import NOBODY_READ, NOBODY_READY
from scaler.core.limits import least, stuck_replicas
from scaler.core.model import WHOLE_PERCENT, Fleet, Missing, Observation, Policy, Replica, TargetKey
from scaler.core.plan import Condition, FloorAdvice, LoadTime, Portion, Ruling
from scaler.core.release import Shift, Stage
from scaler.core.zero import coming, is_at_zero, start_told

AT_ZERO: Final = "AtZero"

NOBODY_IS_READY: Final = "NobodyReady"
"""The reason of SignalsHealthy where no replica can give a signal yet, as while the first ones load."""


def conditions_of(
    policy: Policy,
    observation: Observation,
    needs: Mapping[TargetKey, Ruling | Missing],
    shift: Shift | None,
    portions: Sequence[Portion],
    at_s: float,
) -> tuple[Condition, ...]:
    """Ready, SignalsHealthy, CapacityAvailable and Releasing, in this order; the edge adds what only it can see."""
    signals = _signals_healthy(policy, observation, needs)
    capacity = _capacity_available(policy, observation, portions, at_s)
    return (_ready(signals, capacity), signals, capacity, _releasing(policy, observation, shift))


def forecastable(advice: Sequence[FloorAdvice]) -> Condition:
    """Whether scaling can be in time for what the demand does; where not, the floor that would be, and its cost."""
    if not advice:
        message = "first tokens that were late are within the objective"
        return Condition(type="Forecastable", status=True, reason="InTime", message=message)
    first = advice[0]
    message = (
        f"{first.role}: {first.late_share:.1%} of the last day's first tokens were late, since demand "
        f"may grow {first.growth:g} times within one load time; warmPool.floor: {first.floor} would cover it, with "
        f"{_count(round(first.idle_replicas), 'replica')} idle on average"
    )
    return Condition(type="Forecastable", status=False, reason="TooFast", message=message)


def replicas_alike(slow: Sequence[tuple[Replica, float]]) -> Condition:
    """Whether all replicas work at about the speed of their like; where not, the slowest by name."""
    if not slow:
        message = "no replica is much slower than its like"
        return Condition(type="ReplicasAlike", status=True, reason="Alike", message=message)
    replica, speed = min(slow, key=lambda pair: pair[1])
    message = f"{replica.name} works at {speed:.0%} of the speed of its like; what it tells is not learned from"
    if len(slow) > 1:
        message += f", nor what {_count(len(slow) - 1, 'other')} tell"
    return Condition(type="ReplicasAlike", status=False, reason="SlowReplica", message=message)


def at_zero(policy: Policy, observation: Observation, slowest: LoadTime | None, at_s: float) -> tuple[Condition, ...]:
    """The condition AtZero of a policy that may go there, with what it costs; none of any other.

    ``slowest`` is the longest load time of its targets, None while none was seen.
    """
    if policy.scale_to_zero is None:
        return ()
    cost = "a whole start" if slowest is None else start_told(slowest)
    come = coming(observation)
    if all(is_at_zero(policy, target.key.role, observation) for target in policy.targets()):
        return (_resting(come, cost),)
    kept = _kept(policy, observation, at_s)
    if kept > 0:
        message = f"the warm pool or a target's bound keeps {_count(kept, 'replica')}, whether or not anything comes"
        return (Condition(type=AT_ZERO, status=False, reason="Kept", message=message),)
    if isinstance(come, Missing):
        message = f"the last replica stays, since it is not known what comes: {come.why}"
        return (Condition(type=AT_ZERO, status=False, reason="DemandUnknown", message=message),)
    message = f"the last replica goes once nothing has come for {policy.scale_to_zero.idle_s:.0f} s; at zero the next"
    return (Condition(type=AT_ZERO, status=False, reason="Serving", message=f"{message} request waits {cost}"),)


def _kept(policy: Policy, observation: Observation, at_s: float) -> int:
    """What the warm pool and the bounds make those targets have that have any replicas."""
    targets = [(target, observation.fleet(target.key)) for target in policy.targets()]
    has_any = [target for target, fleet in targets if isinstance(fleet, Fleet) and fleet.requested > 0]
    return max((least(policy, target, WHOLE_PERCENT, at_s) for target in has_any), default=0)


def _resting(come: Ruling | Missing, cost: str) -> Condition:
    if isinstance(come, Missing):
        message = f"no replica is asked for, and it is not known what comes: {come.why}; at zero a request waits {cost}"
        return Condition(type=AT_ZERO, status=True, reason="DemandUnknown", message=message)
    if come.after > 0:
        message = f"a replica is asked for {come.because}; its start takes {cost}"
        return Condition(type=AT_ZERO, status=True, reason="Waking", message=message)
    message = f"no replica is asked for, since nothing comes; the next request waits {cost}"
    return Condition(type=AT_ZERO, status=True, reason="Resting", message=message)


def _signals_healthy(
    policy: Policy, observation: Observation, needs: Mapping[TargetKey, Ruling | Missing]
) -> Condition:
    for key, need in needs.items():
        if isinstance(need, Missing):
            message = f"{key.role}: {need.why}; what is there is kept"
            reason = NOBODY_IS_READY if need.why in {NOBODY_READ, NOBODY_READY} else "DemandUnknown"
            return Condition(type="SignalsHealthy", status=False, reason=reason, message=message)
    if isinstance(observation.weights, Missing) and len(policy.versions) > 1:
        message = f"the route's weights are not known: {observation.weights.why}; what is there is kept"
        return Condition(type="SignalsHealthy", status=False, reason="RouteUnknown", message=message)
    return Condition(type="SignalsHealthy", status=True, reason="Read", message="every ready replica was read")


def _capacity_available(
    policy: Policy, observation: Observation, portions: Sequence[Portion], at_s: float
) -> Condition:
    fleets = [(seen.key, seen.fleet) for seen in observation.fleets]
    unseen = [(key, fleet) for key, fleet in fleets if isinstance(fleet, Missing)]
    if unseen:
        key, missing = unseen[0]
        message = f"the replicas of {key} are not known: {missing.why}"
        return Condition(type="CapacityAvailable", status=None, reason="NotSeen", message=message)
    # What the API server itself refuses goes first: a policy's floor is asked for beyond its portion.
    found = [
        *(_refused(key, fleet) for key, fleet in fleets if isinstance(fleet, Fleet)),
        *(_short(portion) for portion in portions),
        *(_stuck(key, fleet, policy, at_s) for key, fleet in fleets if isinstance(fleet, Fleet)),
    ]
    message = "no replica is refused, or waits for a node beyond its patience"
    has_all = Condition(type="CapacityAvailable", status=True, reason="Scheduled", message=message)
    return next((condition for condition in found if condition is not None), has_all)


def _refused(key: TargetKey, fleet: Fleet) -> Condition | None:
    if fleet.refused is None:
        return None
    wanting = f"{_count(fleet.refused.replicas, 'replica')} of {key} cannot be created"
    message = f"{wanting}, {_gpus_each(fleet)}: {fleet.refused.why}"
    return Condition(type="CapacityAvailable", status=False, reason="ReplicasRefused", message=message)


def _short(portion: Portion) -> Condition | None:
    if portion.granted >= portion.want:
        return None
    message = f"{portion.key}: {portion.because}"
    return Condition(type="CapacityAvailable", status=False, reason="GpusShort", message=message)


def _stuck(key: TargetKey, fleet: Fleet, policy: Policy, at_s: float) -> Condition | None:
    stuck = stuck_replicas(fleet, policy, at_s)
    if not stuck:
        return None
    what = f"{_count(len(stuck), 'replica')} of {key} cannot start"
    message = f"{what}, {_gpus_each(fleet)}; the first is {stuck[0].name}"
    return Condition(type="CapacityAvailable", status=False, reason="ReplicasStuck", message=message)


def _gpus_each(fleet: Fleet) -> str:
    return f"{_count(fleet.gpus_per_replica, 'GPU')} each"


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _releasing(policy: Policy, observation: Observation, shift: Shift | None) -> Condition:
    if policy.release is None:
        message = "the policy asks for no release"
        return Condition(type="Releasing", status=False, reason="NoRelease", message=message)
    if shift is None:
        reason = "RouteUnknown" if isinstance(observation.weights, Missing) else "NotSeen"
        what = "the route's weights" if reason == "RouteUnknown" else "the replicas of a version"
        message = f"no traffic is moved, since {what} are not known"
        return Condition(type="Releasing", status=None, reason=reason, message=message)
    reason = shift.stage.value.capitalize()
    is_releasing = shift.stage is not Stage.SETTLED
    return Condition(type="Releasing", status=is_releasing, reason=reason, message=shift.ruling.because)


def _ready(signals: Condition, capacity: Condition) -> Condition:
    for condition in (signals, capacity):
        if condition.status is not True:
            return Condition(type="Ready", status=condition.status, reason=condition.reason, message=condition.message)
    return Condition(type="Ready", status=True, reason="Deciding", message="decides on fresh signals")
