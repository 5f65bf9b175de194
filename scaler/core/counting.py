"""What came in time and what was late, tick by tick: what a warm floor is advised by.

First tokens say what was late; queues say that it was for want of replicas; and what would have been in time is told of
the demand and of what a replica carries.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

from scaler.core.advice import reckoned
from scaler.core.demand import REQUESTS_MOST
from scaler.core.memory import Course, Wished
from scaler.core.model import Demand, FirstTokens, Missing, Policy
from scaler.core.wish import Outlook

SEEN_MOST_S: Final = 90.0
"""A tick stands for no more time than this: what came in a gap was not seen."""

TOLD_OF_S: Final = 135.0
"""First tokens are told of the last two minutes, as of the last scrape."""

FLOOR_RAISED: Final = 1.1
"""A floor that was in force while first tokens were late is to be so many times as large at least: 14 are to be 16.
With 1.25 a floor of 46, on a day of servegen-m-large, came to 58: 1.99 times the bound's hours, where 51 took 1.77."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one tick tells of a role: its demand, how many replicas are ready, and what first tokens are ``told``."""

    demand: Demand
    elapsed_s: float
    ready: int
    told: FirstTokens | Missing
    policy: Policy


def elapsed_s(before: Course, demand: Demand) -> float:
    """The time that a tick stands for. The oldest sample may be older than it was; then it is 0."""
    since_s = demand.at_s - before.moments[-1].at_s if before.moments else 0.0
    return min(max(since_s, 0.0), SEEN_MOST_S)


def counted(course: Course, tick: Tick, outlook: Outlook | None) -> Course:
    """``course`` with what came in time and what was late; without an ``outlook`` nobody knows what a replica carries.

    Then one more than are ready would have been in time, as far as anybody knows. With a floor in force, it is not
    enough: it is to be raised by a tenth at least.
    """
    floor = tick.policy.warm_floor
    work, instant = (None, tick.ready + 1) if outlook is None else (outlook.work_now, outlook.instant)
    if 0 < floor <= tick.ready:
        instant = max(instant, ceil(FLOOR_RAISED * floor))
    in_time = Wished(at_s=tick.demand.at_s, replicas=max(1, min(instant, tick.policy.max_replicas)))
    return reckoned(course, work, in_time, tick.elapsed_s, first_tokens(course, tick, outlook))


def first_tokens(course: Course, tick: Tick, outlook: Outlook | None) -> FirstTokens:
    """The first tokens of late, with those that were late for want of replicas, and what was refused, which gets none.

    Those were so in whose time a queue was seen. Where nobody measures first tokens, all that is served is late while
    the queue is longer than the objective; before a replica was learned nobody can say that either, and nothing counts.
    """
    told, refused_per_s = believable(tick.told), tick.demand.refused_per_s
    if not isinstance(told, Missing):
        per_s = told.per_s
        late_per_s = told.late_per_s if _queued_of_late(course, tick, outlook) else 0.0
    elif outlook is not None:
        per_s = outlook.flow.requests_per_s
        late_per_s = per_s if outlook.queued_s > 0.0 else 0.0
    else:
        per_s = late_per_s = 0.0
    return FirstTokens(per_s=per_s + refused_per_s, late_per_s=late_per_s + refused_per_s)


def believable(told: FirstTokens | Missing) -> FirstTokens | Missing:
    """What is ``told``, Missing where it is absurd."""
    # Written so that NaN, which compares false with everything, is refused as well.
    if isinstance(told, Missing) or 0.0 <= told.late_per_s <= told.per_s <= REQUESTS_MOST:
        return told
    return Missing(why=f"absurd first tokens: {told.late_per_s:g} of {told.per_s:g} a second were late")


def _queued_of_late(course: Course, tick: Tick, outlook: Outlook | None) -> bool:
    """Whether requests of the role waited at a scrape of the time that first tokens are told of."""
    since_s = course.moments[-1].at_s - TOLD_OF_S if course.moments else 0.0
    waiting = max((moment.waiting for moment in course.moments if moment.at_s >= since_s), default=0.0)
    return waiting > tick.ready if outlook is None else outlook.is_queue(waiting)
