"""How many replicas the demand needs, before any limit is applied.

The measure is deliberately plain: a safe number of requests and a safe share of the KV cache for each replica. What a
replica really carries is not learned here, and what demand will come is not forecast.
"""

from math import ceil
from typing import Final

from scaler.core.model import WHOLE_PERCENT, Demand, Fleet, Missing, Ruling

SAFE_REQUESTS: Final = 24.0
"""Requests in flight that one replica carries: chat held its objective at 24 to 90 in the trial on public traces, and
this is the safe end. Code completion needed 4 to 8, which this wish cannot know."""

SAFE_KV_USAGE: Final = 0.7
"""KV cache share that one replica may use: the gauge is a point in time, and misses what was preempted before it."""

OWN_MOST: Final = 1e6
"""More replicas' worth of work than this is a broken query: a policy may ask for 10,000 at most."""


def replicas_needed(demand: Demand) -> Ruling:
    """The replicas of one role, over all versions, that carry ``demand`` at a safe level; at least one.

    Waiting requests will want as much KV cache as the running ones use on average; less than one is no average.
    """
    in_flight = demand.running + demand.waiting
    kv_replicas = demand.kv_replicas * (in_flight / demand.running if demand.running >= 1.0 else 1.0)
    by_requests = in_flight / SAFE_REQUESTS
    by_kv = kv_replicas / SAFE_KV_USAGE
    needed = max(1, ceil(max(by_requests, by_kv)))
    if by_requests >= by_kv:
        requests = f"{demand.running:.0f} running and {demand.waiting:.0f} waiting requests"
        because = f"{requests} at {SAFE_REQUESTS:.0f} to a replica"
    else:
        because = (
            f"{kv_replicas:.2f} KV caches' worth of tokens, counting what waits, at {SAFE_KV_USAGE:.0%} of a cache"
        )
    return Ruling(
        rule="need",
        before=0,
        after=needed,
        because=because,
        facts={"running": demand.running, "waiting": demand.waiting, "kv_replicas": demand.kv_replicas},
    )


def replicas_told(own_replicas: float | Missing) -> Ruling | Missing:
    """The replicas that a policy's own queries ask for, at least one; Missing where their answer is absurd."""
    if isinstance(own_replicas, Missing):
        return own_replicas
    # Written so that NaN, which compares false with everything, is refused as well.
    if not 0.0 <= own_replicas <= OWN_MOST:
        return Missing(why=f"the policy's own queries give an absurd {own_replicas:g} replicas of work")
    return Ruling(
        rule="need",
        before=0,
        after=max(1, ceil(own_replicas)),
        because=f"{own_replicas:.2f} replicas' worth of work by the policy's own queries",
        facts={"own_replicas": own_replicas},
    )


def wish_of(need: Ruling | Missing, share_percent: int, fleet: Fleet) -> Ruling:
    """What a target should have for its share of the need, seen from what it has.

    On the way up, what is asked for counts, ready or not: a replica that is starting is not asked for twice. On the
    way down only ready ones count: one that is starting carries nothing yet, so nothing may leave in its favour.
    """
    if isinstance(need, Missing):
        return Ruling(rule="keep", before=fleet.requested, after=fleet.requested, because=need.why, facts={})
    wanted = ceil(need.after * share_percent / WHOLE_PERCENT)
    ready, starting, asleep = len(fleet.ready()), len(fleet.starting()), len(fleet.asleep())
    kept = wanted > 0 and ready <= wanted <= fleet.requested - asleep
    because = f"{wanted} {_replicas(wanted)} for {need.because}"
    if share_percent < WHOLE_PERCENT:
        because += f", for {share_percent} % of the traffic"
    if kept and wanted < fleet.requested:
        because += f"; of the {fleet.requested} asked for, {ready} {_are(ready)} ready, so none may go"
    if asleep:
        because += f"; {asleep} asleep, without work"
    # Sleepers are somebody's own: those that carry nothing are counted on top, and stay while the version serves.
    besides = asleep if wanted > 0 else 0
    return Ruling(
        rule="wish",
        before=fleet.requested,
        after=fleet.requested if kept else wanted + besides,
        because=because,
        facts={
            **need.facts,
            "wanted": wanted,
            "ready": ready,
            "starting": starting,
            "asleep": asleep,
            "share_percent": share_percent,
        },
    )


def _replicas(count: int) -> str:
    return "replica" if count == 1 else "replicas"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
