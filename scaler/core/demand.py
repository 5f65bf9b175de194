"""What work a role of a model has before it, or why that cannot be told.

Every ready replica must have spoken, lately and sensibly; part of a sum looks like less work, and would shrink a
fleet because something broke.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Final

from scaler.core.model import (
    NO_PICKER,
    Demand,
    Fleet,
    FleetSeen,
    Load,
    Missing,
    Observation,
    Phase,
    Policy,
    Replica,
    Role,
    Tokens,
    Work,
)

SETTLING_S: Final = 60.0
"""A replica that became ready within this time may not have been scraped: four scrapes of 15 s."""

WINDOW_S: Final = 60.0
"""Rates are of a minute."""

TOKENS_MOST: Final = 1e9
"""More tokens a second on one replica than this is a broken counter: the fastest engines prefill some 100,000."""

REQUESTS_MOST: Final = 1e6
"""More running or waiting requests on one replica than this is a broken gauge: engines hold some hundreds."""

KV_USAGE_MOST: Final = 1.05
"""The KV share may pass 1 by rounding (fifteenths of 16 blocks, reference/metrics.md), not by more."""

NOBODY_READY: Final = "no replica is ready, so nobody can say how much work there is"
NOBODY_READ: Final = "the ready replicas have only just become so, and none was read yet"


_Told = tuple[Replica, Load]


def demand_of(role: Role, observation: Observation, policy: Policy, at_s: float) -> Demand | Missing:
    """The work of ``role`` over all versions that have it, or what is missing to tell it."""
    loads: list[_Told] = []
    for seen in _of_role(role, observation):
        told = _loads(seen, policy, at_s)
        if isinstance(told, Missing):
            return told
        loads.extend(told)
    if not loads:
        return Missing(why=NOBODY_READ if unheard(role, observation, policy, at_s) else NOBODY_READY)
    held_back = _held_back(observation)
    if isinstance(held_back, Missing):
        return held_back
    return _summed(loads, held_back, observation.gateway_refused_per_s, at_s)


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


def as_believed(fleet: Fleet, policy: Policy, at_s: float) -> Fleet:
    """``fleet`` without the loads that are too old, ahead of the clock or absurd: what may be learned from."""
    replicas = (replace(replica, load=_told(replica, policy, at_s)) for replica in fleet.replicas)
    return replace(fleet, replicas=tuple(replicas))


def _held_back(observation: Observation) -> float | Missing:
    """The requests that wait at the gateway, 0 where no policy asks for any to."""
    waiting = observation.gateway_waiting
    if waiting == NO_PICKER:
        return 0.0
    if isinstance(waiting, Missing):
        return Missing(why=f"the endpoint picker's queue cannot be read: {waiting.why}")
    refused_per_s = observation.gateway_refused_per_s
    if not 0.0 <= waiting <= REQUESTS_MOST:
        return Missing(why=f"the endpoint picker's queue cannot be read: absurd value, {waiting:g} waiting")
    if not 0.0 <= refused_per_s <= REQUESTS_MOST:
        return Missing(why=f"the endpoint picker's refusals cannot be read: absurd value, {refused_per_s:g} a second")
    return waiting


def _summed(told: Sequence[_Told], gateway_waiting: float, gateway_refused_per_s: float, at_s: float) -> Demand:
    loads = [load for _, load in told]
    return Demand(
        at_s=min(load.at_s for load in loads),
        # fsum rounds once: the builtin sum gives other bits from Python 3.12 on, and a replay must agree.
        running=fsum(load.running for load in loads),
        waiting=fsum(load.waiting for load in loads) + gateway_waiting,
        kv_replicas=fsum(load.kv_usage for load in loads),
        tokens=_tokens(told, at_s),
        refused_per_s=gateway_refused_per_s
        + fsum(load.work.refused_per_s for load in loads if isinstance(load.work, Work)),
    )


def _tokens(told: Sequence[_Told], at_s: float) -> Tokens | Missing:
    """What all of them served, Missing where one that has had the time to be read twice counts no tokens."""
    works: list[tuple[Work, float]] = []
    for replica, load in told:
        if isinstance(load.work, Work):
            works.append((load.work, _share_of_minute(replica, load)))
        elif not _is_settling(replica, at_s):
            return Missing(why=f"{replica.name}: {load.work.why}")
    if not works:
        return Missing(why="the replicas that are ready were scraped only once")
    running = fsum(load.running for _, load in told)
    cache = fsum(min(load.kv_usage, 1.0) for _, load in told)
    return Tokens(
        prefill_per_s=fsum(work.prefill_tokens_per_s * share for work, share in works),
        decode_per_s=fsum(work.decode_tokens_per_s * share for work, share in works),
        requests_per_s=fsum(work.finished_per_s * share for work, share in works),
        cache_share=min(1.0, cache / running) if running >= 1.0 else 0.0,
    )


def _share_of_minute(replica: Replica, load: Load) -> float:
    """The part of the last minute that a replica was ready in: its rates are of that part, the others' of all of it.

    Counted whole, one that takes over a third of the traffic after ten seconds adds that third to a minute in which the
    others served it.
    """
    if replica.ready_at_s is None:
        return 1.0
    return min(1.0, max(0.0, load.at_s - replica.ready_at_s) / WINDOW_S)


def _loads(seen: FleetSeen, policy: Policy, at_s: float) -> list[_Told] | Missing:
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
    return [(replica, load) for replica, load in told if isinstance(load, Load)]


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
        return replace(load, work=_believable(load.work))
    return Missing(
        why=f"absurd values: {load.running:g} running, {load.waiting:g} waiting, KV use {load.kv_usage:g} of 1"
    )


def _believable(work: Work | Missing) -> Work | Missing:
    if isinstance(work, Missing):
        return work
    tokens_per_s = (work.prefill_tokens_per_s, work.decode_tokens_per_s)
    requests = (work.finished_per_s, work.prefilling, work.refused_per_s)
    rates = (*tokens_per_s, *requests, work.inter_token_latency_s)
    if all(rate is None or 0.0 <= rate <= TOKENS_MOST for rate in rates):
        return work
    return Missing(
        why=f"absurd rates: {work.prefill_tokens_per_s:g} prefill and {work.decode_tokens_per_s:g} decode tokens a "
        f"second, {work.finished_per_s:g} requests a second"
    )
