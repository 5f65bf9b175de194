"""What work a role of a model has before it, or why that cannot be told.

Every ready replica must have spoken, lately and sensibly; part of a sum looks like less work, and would shrink a
fleet because something broke.
"""

from collections.abc import Sequence
from math import fsum
from typing import Final

from scaler.core.model import Demand, FleetSeen, Load, Missing, Observation, Policy, Replica, Role

SETTLING_S: Final = 60.0
"""A replica that became ready within this time may not have been scraped: four scrapes of 15 s."""

REQUESTS_MOST: Final = 1e6
"""More running or waiting requests on one replica than this is a broken gauge: engines hold some hundreds."""

KV_USAGE_MOST: Final = 1.05
"""The KV share may pass 1 by rounding (fifteenths of 16 blocks, reference/metrics.md), not by more."""

NEVER_SCALED: Final = "no replica is ready, so nobody can say how much work there is"


def demand_of(role: Role, observation: Observation, policy: Policy, at_s: float) -> Demand | Missing:
    """The work of ``role`` over all versions that have it, or what is missing to tell it."""
    fleets = [seen for seen in observation.fleets if seen.key.role == role.value]
    loads: list[Load] = []
    for seen in fleets:
        told = _loads(seen, policy, at_s)
        if isinstance(told, Missing):
            return told
        loads.extend(told)
    if not loads:
        return Missing(why=NEVER_SCALED)
    return _summed(loads, 0.0 if isinstance(observation.gateway_waiting, Missing) else observation.gateway_waiting)


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
    if at_s - load.at_s > policy.stale_after_s:
        return Missing(
            why=f"its last sample is {at_s - load.at_s:.0f} s old, the limit is {policy.stale_after_s:.0f} s"
        )
    # Written so that NaN, which compares false with everything, is refused as well.
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
