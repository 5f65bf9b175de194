"""What a replica is believed to carry: whose minutes are learned from, and whether the last one has borne it out."""

from dataclasses import replace

import pytest

from scaler.core.capacity import learned
from scaler.core.memory import CapacityMemory, Course, Memory
from scaler.core.model import Fleet, Replica
from scaler.core.need import believed, learned_of, slow_of, slowness_of
from tests.builders import START_S, fleet, key, ready, seen, starting
from tests.core.conversing import CHAT, SERVE, SLOW, busy, capacity, work_seen
from tests.core.engines import TICK_S

# --- Whose lines are believed ------------------------------------------------------------------------------------


def test_its_own_lines_count_for_more_than_any_number_of_anothers() -> None:
    known = (capacity(CHAT, "v1", ticks=100), capacity(SLOW, "v2", ticks=4))
    slow, fast = believed(key("v2"), known), believed(key("v1"), known)

    assert slow is not None
    assert fast is not None
    assert slow.replicas(CHAT.flow()) == pytest.approx(2.0 * fast.replicas(CHAT.flow()), rel=0.05)


def test_nobodys_lines_are_no_belief() -> None:
    assert believed(key(), [CapacityMemory(key=key(), node_class=None)]) is None


# --- Who is learned from -----------------------------------------------------------------------------------------


def steady() -> Memory:
    """A memory in which the last minutes were alike."""
    course = Course(role=SERVE)
    for tick in range(6):
        at_s = START_S + (tick - 6) * TICK_S
        (course,) = work_seen(seen(busy(4, 0.5, at_s=at_s)), courses=[course]).courses
    return Memory(at_s=START_S - TICK_S, courses=(course,))


def learned_from(*replicas: Replica, memory: Memory | None = None) -> tuple[CapacityMemory, ...]:
    return learned_of(memory or steady(), {key(): fleet(*replicas)}, START_S)


def test_a_steady_minute_is_learned_from() -> None:
    (known,) = learned_from(*busy(4, 0.5).replicas)

    assert (known.key, known.node_class, known.lines) == (key(), "H100", 4.0)


def test_a_minute_that_was_not_steady_teaches_nothing() -> None:
    assert learned_from(*busy(4, 0.5).replicas, memory=Memory(at_s=START_S - TICK_S)) == ()


def test_a_replica_is_learned_from_when_a_whole_minute_of_it_was_scraped() -> None:
    young = ready("young", age_s=90.0, load=CHAT.minute(0.5))
    old = ready("old", age_s=91.0, load=CHAT.minute(0.5))

    assert [known.lines for known in learned_from(young, old)] == [1.0]


def test_each_kind_of_node_is_learned_by_itself() -> None:
    there = replace(ready("l", load=SLOW.minute(0.5)), node_class="L40S")
    nowhere = replace(ready("n", load=SLOW.minute(0.5)), node_class=None)

    known = learned_from(*busy(4, 0.5).replicas, there, nowhere)

    assert {each.node_class: each.lines for each in known} == {"H100": 4.0, "L40S": 1.0, None: 1.0}


def test_what_was_known_of_a_version_that_is_gone_stays() -> None:
    gone = capacity(SLOW, "v0")
    memory = replace(steady(), capacities=(gone,))

    assert gone in learned_from(*busy(4, 0.5).replicas, memory=memory)


def test_slow_replicas_are_named_among_their_like() -> None:
    ill = replace(ready("ill", load=replace(CHAT, slow=3.0).minute(0.5)), name="ill")
    other = replace(ready("other", load=SLOW.minute(0.5)), node_class="L40S")
    fleets = {key(): fleet(*busy(4, 0.5).replicas, ill, other)}

    told = slow_of([capacity()], fleets, START_S)

    assert [(replica.name, round(share, 1)) for replica, share in told] == [("ill", 0.3)]


# --- Whether a minute has borne the belief out -------------------------------------------------------------------


def test_a_belief_from_before_the_start_is_not_borne_out_until_a_minute_was_learned() -> None:
    """What `capacity` gives is remembered: nothing was learned since the start."""
    now = busy(4, 0.5)
    remembered = replace(capacity(), slowness=None)

    assert slowness_of([], {key(): now}, START_S) == {key(): None}
    assert slowness_of([remembered], {key(): now}, START_S) == {key(): None}
    assert slowness_of([learned(remembered, now)], {key(): now}, START_S) == {key(): pytest.approx(1.0, rel=0.05)}


@pytest.mark.parametrize(("age_s", "told"), [(900.0, 1.5), (900.1, 1.0)])
def test_a_minute_of_long_ago_speaks_against_nobody(age_s: float, told: float) -> None:
    slow = replace(capacity(), at_s=START_S - age_s, slowness=1.5)

    assert slowness_of([slow], {key(): busy(4, 0.5)}, START_S) == {key(): told}


@pytest.mark.parametrize("idle", [fleet(ready()), fleet(), fleet(starting())], ids=["no work", "none", "not ready"])
def test_replicas_without_work_bear_nothing_out_and_need_not(idle: Fleet) -> None:
    slow = replace(capacity(), at_s=START_S, slowness=1.5)

    assert slowness_of([slow], {key(): idle}, START_S) == {key(): 1.0}


def test_the_slowest_kind_of_node_counts() -> None:
    others = [replace(ready(f"l{index}", load=CHAT.minute(0.5)), node_class="L40S") for index in range(3)]
    both = fleet(*busy(4, 0.5).replicas, *others)
    known = [
        replace(capacity(node_class=each), at_s=START_S, slowness=slowness)
        for each, slowness in (("H100", 1.0), ("L40S", 1.3))
    ]

    assert slowness_of(known, {key(): both}, START_S) == {key(): 1.3}
    assert slowness_of(known[:1], {key(): both}, START_S) == {key(): None}
