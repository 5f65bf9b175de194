"""What work a role of a model has before it, or why that cannot be told.

Every ready replica must have spoken, lately and sensibly; part of a sum looks like less work, and would shrink a
fleet because something broke.
"""

from collections.abc import Sequence
from math import fsum
from typing import Final

from scaler.core.model import NO_PICKER, Demand, FleetSeen, Load, Missing, Observation, Phase, Policy, Replica, Role

SETTLING_S: Final = 60.0
"""A replica that became ready within this time may not have been scraped: four scrapes of 15 s."""

REQUESTS_MOST: Final = 1e6
"""More running or waiting requests on one replica than this is a broken gauge: engines hold some hundreds."""

KV_USAGE_MOST: Final = 1.05
"""The KV share may pass 1 by rounding (fifteenths of 16 blocks, reference/metrics.md), not by more."""

NOBODY_READY: Final = "no replica is ready, so nobody can say how much work there is"
NOBODY_READ: Final = "the ready replicas have only just become so, and none was read yet"


def demand_of(role: Role, observation: Observation, policy: Policy, at_s: float) -> Demand | Missing:
    """The work of ``role`` over all versions that have it, or what is missing to tell it."""
    loads: list[Load] = []
    for seen in _of_role(role, observation):
        told = _loads(seen, policy, at_s)
        if isinstance(told, Missing):
            return told
        loads.extend(told)
    if not loads:
        return Missing(why=NOBODY_READ if unheard(role, observation, policy, at_s) else NOBODY_READY)
    held_back = _held_back(observation)
    return held_back if isinstance(held_back, Missing) else _summed(loads, held_back)


def unheard(role: Role, observation: Observation, policy: Policy, at_s: float) -> tuple[Replica, ...]:
    """The replicas of ``role`` whose work a known demand does not count.

    They are ready too lately to have been read, or were ready and are not now. One that stays away for longer than a
    start may take has failed, and must not pin the others for ever.
    """
    replicas = (
        replica
        for seen in _of_role(role, observation)
        if not isinstance(seen.fleet, Missing)
        for replica in seen.fleet.replicas
    )
    told_by_loads = observation.own_replicas is None
    return tuple(replica for replica in replicas if _is_unheard(replica, policy, at_s, told_by_loads=told_by_loads))


def _is_unheard(replica: Replica, policy: Policy, at_s: float, *, told_by_loads: bool) -> bool:
    if replica.phase is Phase.READY:
        return told_by_loads and isinstance(_told(replica, policy, at_s), Missing)
    lost_since_s = at_s if replica.unready_since_s is None else replica.unready_since_s
    return replica.phase is Phase.LOST and at_s - lost_since_s <= policy.loading.budget_s


def _of_role(role: Role, observation: Observation) -> list[FleetSeen]:
    return [seen for seen in observation.fleets if seen.key.role == role.value]


def _held_back(observation: Observation) -> float | Missing:
    """The requests that wait at the gateway, 0 where no policy asks for any to."""
    waiting = observation.gateway_waiting
    if waiting == NO_PICKER:
        return 0.0
    if isinstance(waiting, Missing):
        return Missing(why=f"the endpoint picker's queue cannot be read: {waiting.why}")
    if 0.0 <= waiting <= REQUESTS_MOST:
        return waiting
    return Missing(why=f"the endpoint picker's queue cannot be read: absurd value, {waiting:g} waiting")


def _summed(loads: Sequence[Load], gateway_waiting: float) -> Demand:
    return Demand(
        at_s=min(load.at_s for load in loads),
        # fsum rounds once: the builtin sum gives other bits from Python 3.12 on, and a replay must agree.
        running=fsum(load.running for load in loads),
        waiting=fsum(load.waiting for load in loads) + gateway_waiting,
        kv_replicas=fsum(load.kv_usage for load in loads),
    )


def _loads(seen: FleetSeen, policy: Policy, at_s: float) -> list[Load] | Missing:
    """What the ready replicas of one target said, or what is wrong with it."""
    if isinstance(seen.fleet, Missing):
        return Missing(why=f"the replicas of {seen.key} are not known: {seen.fleet.why}")
    told = [(replica, _told(replica, policy, at_s)) for replica in seen.fleet.ready()]
    silent = [(replica, load) for replica, load in told if isinstance(load, Missing)]
    unexcused = [(replica, load) for replica, load in silent if not _is_settling(replica, at_s)]
    if unexcused:
        first, load = unexcused[0]
        return Missing(
            why=f"{len(unexcused)} of {len(told)} ready replicas of {seen.key} cannot be read; {first.name}: {load.why}"
        )
    return [load for _, load in told if isinstance(load, Load)]


def _is_settling(replica: Replica, at_s: float) -> bool:
    return replica.ready_at_s is not None and at_s - replica.ready_at_s <= SETTLING_S


def _told(replica: Replica, policy: Policy, at_s: float) -> Load | Missing:
    load = replica.load
    if isinstance(load, Missing):
        return load
    # Both written so that NaN, which compares false with everything, is refused as well.
    age_s = at_s - load.at_s
    if not -policy.stale_after_s <= age_s <= policy.stale_after_s:
        age = f"{age_s:.0f} s old" if age_s > 0.0 else f"{-age_s:.0f} s ahead of the clock"
        return Missing(why=f"its last sample is {age}, the limit is {policy.stale_after_s:.0f} s")
    believable = (
        0.0 <= load.running <= REQUESTS_MOST
        and 0.0 <= load.waiting <= REQUESTS_MOST
        and 0.0 <= load.kv_usage <= KV_USAGE_MOST
    )
    if believable:
        return load
    return Missing(
        why=f"absurd values: {load.running:g} running, {load.waiting:g} waiting, KV use {load.kv_usage:g} of 1"
    )
