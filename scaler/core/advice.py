"""When no scaling can be in time: what was missed while replicas were loading, and the floor that would have done.

Growth that is rare and larger than what it pays to be prepared for is met late, by a load time. How much of the work
came in such moments is counted, with the number of replicas that would have carried it. When it is more than the
objective leaves room for, only replicas that are ready beforehand help: a warm floor, which the user pays for.
"""

from dataclasses import replace
from math import fsum
from typing import Final

from scaler.core.forecast import growth_covered
from scaler.core.memory import DAY_S, Course
from scaler.core.plan import FloorAdvice

MISSED_MOST: Final = 0.0095
"""The share of the work that may come while too few are ready. An objective for 99 in 100 requests leaves 0.01, of
which a twentieth is not counted: a queue is looked at every 15 s (three services were 98.8 % in time by 0.0096, 0.0100
and 0.0111)."""

LEFT_SHARE: Final = 0.005
"""What a floor may leave uncovered, half of what the objective leaves room for: growth still meets a part of it, and
the highest levels are mostly errors of a single scrape. Floors that leave a thousandth cost a tenth more on the tuning
services that are advised one, where nearly every request is in time (docs/design/0022)."""

WATCHED_LEAST_S: Final = 1800.0
"""In the first half hour one late start is all there is."""

RARE: Final = 0.99


def reckoned(course: Course, work_replicas: float, instant: int, elapsed_s: float, late_share: float) -> Course:
    """``course`` with ``elapsed_s`` more of work, which ``instant`` replicas would have carried in time.

    ``late_share`` of it was late.
    """
    kept = max(0.0, 1.0 - elapsed_s / DAY_S)
    work_s = work_replicas * elapsed_s
    levels = {level: late_s * kept for level, late_s in course.missed_s}
    if late_share > 0.0:
        levels[instant] = levels.get(instant, 0.0) + late_share * work_s
    return replace(
        course,
        came_s=course.came_s * kept + work_s,
        missed_s=tuple(sorted((level, late_s) for level, late_s in levels.items() if late_s > 0.0)),
        seen_s=course.seen_s * kept + elapsed_s,
    )


def advised(course: Course) -> tuple[FloorAdvice, ...]:
    """The floor that a role needs, or nothing where scaling is in time."""
    late_s = fsum(late_s for _, late_s in course.missed_s)
    if course.seen_s < WATCHED_LEAST_S or late_s <= MISSED_MOST * course.came_s:
        return ()
    floor = _floor(course, LEFT_SHARE * course.came_s)
    return (
        FloorAdvice(
            role=course.role,
            floor=floor,
            missed_share=late_s / course.came_s,
            idle_replicas=max(0.0, floor - course.came_s / course.seen_s),
            growth=growth_covered(course, RARE),
        ),
    )


def _floor(course: Course, left_s: float) -> int:
    """The smallest number of replicas above which no more than ``left_s`` of the missed work came."""
    above_s = 0.0
    for level, late_s in reversed(course.missed_s):
        above_s += late_s
        if above_s > left_s:
            return level
    return 0
