"""When no scaling can be in time: what was late while replicas were loading, and the floor that would have done.

Growth that is rare and larger than what it pays to be prepared for is met late, by a load time. The first tokens that
are late are counted, with the number of replicas that would have been in time then. When they are more than the
objective leaves room for, only replicas that are ready beforehand help: a warm floor, which the user pays for.
"""

from dataclasses import replace
from math import fsum
from typing import Final

from scaler.core.forecast import growth_covered
from scaler.core.memory import DAY_S, Course, Wished
from scaler.core.model import WHOLE_PERCENT, FirstTokens, Objective
from scaler.core.plan import FloorAdvice

ROOM: Final = 0.01
"""The share of the requests that may be late where the policy has no objective of its own."""

MISSED_MOST: Final = 0.95
"""So much of the room that the objective leaves may be missed before a floor is advised; the rest is for the error."""

LEFT_SHARE: Final = 0.5
"""So much of the room a floor may leave uncovered: growth still meets a part of it, and the highest levels are mostly
errors of a single scrape. Floors that leave a tenth of it cost a tenth more on the tuning services that are advised
one, where nearly every request is in time (docs/design/0022)."""

WATCHED_LEAST_S: Final = 1800.0
"""In the first half hour one late start is all there is."""

TOLD_AFTER_S: Final = 35.0
"""First tokens that are late come after the replicas were too few, and are told of a minute or two: they count by the
most that were needed within two scrapes of 15 s. By those of the tick alone bursts of seconds are advised too small a
floor, in three cells of the public grid; by those of the whole minute services cost 5 to 7 % more (design/0025)."""

DAY_SEEN_S: Final = 0.632 * DAY_S
"""What `Course.seen_s`, which fades from the first tick on, comes to when a day has been seen: 1 - 1/e of it."""

RARE: Final = 0.99


def reckoned(
    course: Course, work_replicas: float | None, instant: Wished, elapsed_s: float, first_tokens: FirstTokens
) -> Course:
    """``course`` with ``elapsed_s`` more, in which the replicas of ``instant`` would have had all that came in time.

    ``work_replicas`` is None while nobody knows what a replica carries: then requests are counted, and no work.
    In its first day requests do not fade. If they did, what is late in the first of twelve hours would weigh six tenths
    of what is late in the last, though a user's dashboard counts both alike. That day begins when a replica has been
    learned, for who waits to be learned may do so for days: until then requests fade, and no count is of more than one.
    """
    faded = max(0.0, 1.0 - elapsed_s / DAY_S)
    kept = faded if work_replicas is None or course.seen_s >= DAY_SEEN_S else 1.0
    instants = (*(each for each in course.instants if 0.0 < instant.at_s - each.at_s <= TOLD_AFTER_S), instant)
    level = max(each.replicas for each in instants)
    late = {level: requests * kept for level, requests in course.late}
    late[level] = late.get(level, 0.0) + first_tokens.late_per_s * elapsed_s
    if work_replicas is not None:
        came_s = course.came_s * faded + work_replicas * elapsed_s
        course = replace(course, seen_s=course.seen_s * faded + elapsed_s, came_s=came_s)
    return replace(
        course,
        requests=course.requests * kept + first_tokens.per_s * elapsed_s,
        late=tuple(sorted((level, requests) for level, requests in late.items() if requests > 0.0)),
        instants=instants,
    )


def advised(course: Course, objective: Objective | None) -> tuple[FloorAdvice, ...]:
    """The floor that a role needs to keep ``objective``, or nothing where scaling is in time."""
    room = course.requests * (ROOM if objective is None else 1.0 - objective.percentile / WHOLE_PERCENT)
    late = fsum(requests for _, requests in course.late)
    if course.seen_s < WATCHED_LEAST_S or late <= MISSED_MOST * room:
        return ()
    floor = _floor(course, LEFT_SHARE * room)
    return (
        FloorAdvice(
            role=course.role,
            floor=floor,
            late_share=late / course.requests,
            idle_replicas=max(0.0, floor - course.came_s / course.seen_s),
            growth=growth_covered(course, RARE),
        ),
    )


def _floor(course: Course, left: float) -> int:
    """The smallest number of replicas above which no more than ``left`` of the late requests came."""
    above = 0.0
    for level, requests in reversed(course.late):
        above += requests
        if above > left:
            return level
    return 0
