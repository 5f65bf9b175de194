"""What each tick counts for the advice: the requests, those that were late, and how many replicas they needed."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.core.memory import Course, Memory
from scaler.core.model import FirstTokens, Missing, Objective, Observation
from scaler.core.need import work_of
from tests.builders import START_S, fleet, key, policy, seen
from tests.core.conversing import CHAT, LOAD_TIME, SERVE, busy, capacity, question, refusing, work_seen
from tests.core.engines import TICK_S


def counted(observation: Observation, **question: Any) -> Course:
    """The course of four replicas' service after a tick of 15 s that saw this."""
    before = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0)), capacity()).courses
    return work_seen(observation, capacity(), courses=before, **question).courses[0]


def test_first_tokens_that_were_late_are_counted_by_the_replicas_that_would_have_been_in_time() -> None:
    well, late = FirstTokens(per_s=80.0, late_per_s=0.0), FirstTokens(per_s=80.0, late_per_s=2.0)

    told = counted(replace(seen(busy(4, 0.9)), first_tokens=well))
    assert (told.late, told.requests) == ((), 15.0 * 80.0)
    assert told.came_s == pytest.approx(3.6 * 15.0, rel=0.02)

    told = counted(replace(seen(busy(4, 0.99, waiting=1000.0)), first_tokens=late))
    ((level, requests),) = told.late
    assert level > 4
    assert requests == 15.0 * 2.0
    assert told.requests == 15.0 * 80.0


LATE = FirstTokens(per_s=80.0, late_per_s=2.0)


@pytest.mark.parametrize(("waiting", "is_counted"), [(0.0, False), (4.0, False), (6.0, True)])
def test_first_tokens_that_are_late_without_a_queue_are_so_for_their_prompts(waiting: float, is_counted: bool) -> None:  # noqa: FBT001
    """A full replica works off 24 requests a second: at four of them 16 that wait are 0.7 s, and a tenth of 2 s 0.8."""
    course = counted(replace(seen(busy(4, 0.9, waiting=waiting)), first_tokens=LATE))

    assert (course.late != ()) is is_counted
    assert course.requests == 15.0 * 80.0


@pytest.mark.parametrize(("ago_s", "is_counted"), [(15.0, True), (135.0, True), (150.0, False)])
def test_a_queue_counts_for_as_long_as_first_tokens_are_told_of_its_time(ago_s: float, is_counted: bool) -> None:  # noqa: FBT001
    course = Course(role=SERVE)
    for tick in range(11):
        at_s = START_S - 150.0 + 15.0 * tick
        waiting = 60.0 if at_s == START_S - ago_s else 0.0
        observation = replace(
            seen(busy(4, 0.9, waiting=waiting, at_s=at_s)), first_tokens=replace(LATE, late_per_s=0.0)
        )
        if at_s == START_S:
            observation = replace(observation, first_tokens=LATE)
        memory = Memory(at_s=at_s, courses=(course,), capacities=(capacity(),))
        (course,) = work_of(question(policy(), observation, memory, {key(): LOAD_TIME}, at_s)).courses

    assert (course.late != ()) is is_counted


@pytest.mark.parametrize(("waiting", "late"), [(1.0, ()), (1.25, ((5, 15.0 * 2.0),))])
def test_before_a_replica_is_learned_one_more_than_are_ready_would_have_been_in_time(
    waiting: float, late: tuple[tuple[int, float], ...]
) -> None:
    """More than one that waits for each of the four is a queue."""
    before = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0))).courses
    observation = replace(seen(busy(4, 0.9, waiting=waiting)), first_tokens=LATE)

    (course,) = work_seen(observation, courses=before).courses

    assert course.late == late
    assert (course.requests, course.seen_s, course.came_s) == (15.0 * 80.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("floor", "most", "level"),
    [(0, 100, 4), (4, 100, 5), (8, 100, 4), (4, 4, 4)],
    ids=["no floor", "a floor in force", "a floor that is not there yet", "no more than may be"],
)
def test_a_floor_that_was_in_force_is_to_be_raised_by_a_tenth(floor: int, most: int, level: int) -> None:
    """A queue of 0.9 s is no reason for more than the work, which is four replicas'."""
    course = counted(
        replace(seen(busy(4, 0.9, waiting=6.0)), first_tokens=LATE),
        asked=replace(policy(), warm_floor=floor, max_replicas=most),
    )

    assert course.late == ((level, 15.0 * 2.0),)


def test_a_queue_whose_first_tokens_are_in_time_is_not_late() -> None:
    observation = replace(seen(busy(4, 0.9, waiting=60.0)), first_tokens=FirstTokens(per_s=80.0, late_per_s=0.0))

    assert counted(observation).late == ()


NAN = float("nan")


@pytest.mark.parametrize(
    "told",
    [
        Missing(why="the policy has no objective for it"),
        FirstTokens(per_s=1.0, late_per_s=2.0),
        FirstTokens(per_s=1.0, late_per_s=-1.0),
        FirstTokens(per_s=NAN, late_per_s=0.0),
        FirstTokens(per_s=1e7, late_per_s=0.0),
    ],
)
@pytest.mark.parametrize(("waiting", "share"), [(0.0, 0.0), (20.0, 0.0), (60.0, 1.0)])
def test_where_nobody_measures_first_tokens_a_queue_longer_than_the_objective_is_late(
    told: FirstTokens | Missing, waiting: float, share: float
) -> None:
    """A full replica works off 24 requests a second: 60 in each queue are 2.5 s, 20 are 0.8 s."""
    observation = replace(seen(busy(4, 0.9, waiting=waiting)), first_tokens=told)

    course = counted(observation)

    assert course.requests == pytest.approx(15.0 * 4 * 0.9 * CHAT.most_per_s, rel=0.01)
    assert sum(requests for _, requests in course.late) == share * course.requests


def test_before_a_replica_is_learned_and_where_nobody_measures_nothing_is_counted_but_what_is_refused() -> None:
    """Mutant: what nobody measured counts as in time."""
    before = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0))).courses

    (unknown,) = work_seen(seen(busy(4, 0.9, waiting=60.0)), courses=before).courses
    (refused,) = work_seen(refusing(4, 0.9, 3.0), courses=before).courses

    assert (unknown.requests, unknown.late) == (0.0, ())
    assert (refused.requests, refused.late) == (45.0, ((5, 45.0),))


@pytest.mark.parametrize(
    ("since_s", "counted_s"), [(15.0, 15.0), (90.0, 90.0), (100.0, 90.0), (0.0, 0.0), (-15.0, 0.0)]
)
def test_a_tick_stands_for_the_time_since_the_last_but_not_for_a_gap(since_s: float, counted_s: float) -> None:
    course = Course(role=SERVE)
    for at_s in (START_S, START_S + since_s):
        observation = replace(seen(busy(4, 0.9, at_s=at_s)), first_tokens=LATE)
        memory = Memory(at_s=START_S, courses=(course,), capacities=(capacity(),))
        (course,) = work_of(question(policy(), observation, memory, {key(): LOAD_TIME}, at_s)).courses

    assert course.requests == counted_s * 80.0


def test_what_is_refused_is_late_beside_what_is_told() -> None:
    told = FirstTokens(per_s=80.0, late_per_s=2.0)

    refused = counted(replace(refusing(4, 0.95, 3.0), first_tokens=told))

    assert refused.requests == 15.0 * 83.0
    assert sum(requests for _, requests in refused.late) == 15.0 * 3.0


@pytest.mark.parametrize(("queued_before", "is_growing"), [(1900.0, True), (2060.0, False)])
def test_a_queue_that_is_worked_off_says_nothing_of_the_floor_that_arrivals_need(
    queued_before: float,
    is_growing: bool,  # noqa: FBT001
) -> None:
    """Ten replicas work off what one could not take: a floor of ten would be for the queue, not for what comes."""
    course = Course(role=SERVE)
    for at_s, waiting in ((START_S - TICK_S, queued_before), (START_S, 2000.0)):
        observed = seen(busy(10, 0.5, waiting=waiting / 10.0, at_s=at_s))
        memory = Memory(at_s=at_s, courses=(course,), capacities=(capacity(),))
        load_times = {key(): LOAD_TIME}
        (course,) = work_of(question(policy(), observed, memory, load_times, at_s)).courses

    highest = max(level for level, _ in course.late)

    assert (highest >= 10) == is_growing


@pytest.mark.parametrize(("ready_for_s", "level"), [(1000.0, 10), (15.0, 10), (6.0, 6), (0.0, 2)])
def test_who_became_ready_since_the_last_scrape_has_taken_what_came_since_then(ready_for_s: float, level: int) -> None:
    """Two replicas are there, and eight more for a part of the 15 s in which the queue grew by a little."""
    course = Course(role=SERVE)
    for at_s, waiting in ((START_S - TICK_S, 1990.0), (START_S, 2000.0)):
        old, new = busy(2, 0.5, waiting=waiting / 2.0, at_s=at_s), busy(8, 0.1, at_s=at_s)
        joined = [replace(each, name=f"new-{each.name}", ready_at_s=START_S - ready_for_s) for each in new.replicas]
        observed = seen(fleet(*old.replicas, *(each for each in joined if (each.ready_at_s or 0.0) <= at_s)))
        memory = Memory(at_s=at_s, courses=(course,), capacities=(capacity(),))
        (course,) = work_of(question(policy(), observed, memory, {key(): LOAD_TIME}, at_s)).courses

    assert max(each.replicas for each in course.instants) == level


def test_the_advice_is_by_the_objective_of_the_policy() -> None:
    """2 % are late: more than an objective for 99 % leaves room for, and less than one for 95 % does."""
    late = replace(seen(busy(4, 0.9)), first_tokens=FirstTokens(per_s=80.0, late_per_s=0.0))
    (known,) = work_seen(seen(busy(4, 0.9, at_s=START_S - 15.0)), capacity()).courses
    known = replace(known, seen_s=7200.0, came_s=7200.0, requests=1e5, late=((6, 2000.0),))

    floors = [
        [each.floor for each in work_seen(late, capacity(), asked=asked, courses=[known]).advice]
        for asked in (
            policy(time_to_first_token=Objective(percentile=percentile, limit_s=2.0)) for percentile in (99.0, 95.0)
        )
    ]

    assert floors == [[6], []]
