"""How growth is bounded: by the room that there is, after a shortage by small tries, and by the policy's steps."""

from dataclasses import replace

import pytest

from scaler.core import limits
from scaler.core.limits import Case, remembered, stuck_replicas
from scaler.core.memory import Shortage
from scaler.core.model import Loading, Refused, Replica
from scaler.core.plan import Ruling
from tests.builders import START_S, fleet, policy, serving, starting, unschedulable
from tests.core.cases import OVER, WATCHED, after, because, behaving, case

# --- Room --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stuck", "wish", "ruled"),
    [
        (unschedulable(for_s=60.0), 12, 12),
        (unschedulable(for_s=61.0), 12, 3),
        (unschedulable(for_s=61.0), 2, 2),
        (starting(age_s=1800.0), 12, 12),
        (starting(age_s=1801.0), 12, 3),
    ],
)
def test_what_cannot_start_caps_the_wish_at_what_is_asked_for(stuck: Replica, wish: int, ruled: int) -> None:
    assert after(limits.room, wish, case(fleet=fleet(*serving(2), stuck))) == ruled


def test_no_room_names_the_first_replica_and_its_trouble() -> None:
    homeless, slow = case(fleet=fleet(unschedulable("u"))), case(fleet=fleet(starting("s", age_s=2000.0)))

    assert because(limits.room, 9, homeless) == "1 of the 1 asked for cannot start (u: no node takes it)"
    assert because(limits.room, 9, slow) == "1 of the 1 asked for cannot start (s: its start has outlived its budget)"


def test_what_is_refused_is_not_asked_for_again() -> None:
    refused = replace(fleet(*serving(2), requested=4), refused=Refused(replicas=2, why="exceeded quota: gpus"))

    assert after(limits.room, 9, case(fleet=refused)) == 4
    assert after(limits.room, 3, case(fleet=refused)) == 3
    assert because(limits.room, 9, case(fleet=refused)) == (
        "2 of the 4 asked for cannot be created (exceeded quota: gpus)"
    )


# --- Trying for room ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago_s", "step", "tried"),
    [(59.0, 1, 8), (60.0, 1, 9), (60.0, 4, 12), (60.0, 16, 20)],
    ids=["too soon", "one at first", "four after two and one", "all that is wished for"],
)
def test_after_a_shortage_room_is_tried_in_growing_steps(ago_s: float, step: int, tried: int) -> None:
    shortage = replace(OVER, began_s=START_S - ago_s, step=step)

    assert after(limits.probe, 20, case(memory=replace(WATCHED, shortage=shortage))) == tried


def test_nothing_more_is_tried_while_the_last_try_has_no_node() -> None:
    shortage = replace(OVER, began_s=START_S - 900.0)
    waits = case(fleet=fleet(*serving(7), unschedulable(for_s=5.0)), memory=replace(WATCHED, shortage=shortage))

    assert after(limits.probe, 20, waits) == 8
    assert because(limits.probe, 20, waits) == "after a shortage 1 replica must find a node first"


def shortage_of(seen: Case, planned: int | None = None, *, knows_why: bool = False) -> Shortage | None:
    """What is remembered of a shortage after this case."""
    wish = Ruling(rule="wish", before=seen.requested, after=seen.requested, because="", facts={})
    return remembered(wish, planned or seen.requested, seen, knows_why=knows_why).shortage


def test_a_replica_that_finds_no_node_begins_a_shortage_and_one_that_comes_back_waits_twice_as_long() -> None:
    stuck = fleet(*serving(2), unschedulable(for_s=61.0))
    again = replace(OVER, wait_s=600.0)

    assert shortage_of(case(fleet=stuck)) == Shortage(began_s=START_S, wait_s=60.0)
    assert shortage_of(case(fleet=stuck, memory=replace(WATCHED, shortage=OVER))) == Shortage(
        began_s=START_S, wait_s=120.0
    )
    assert shortage_of(case(fleet=stuck, memory=replace(WATCHED, shortage=again))) == Shortage(
        began_s=START_S, wait_s=900.0
    )
    assert shortage_of(case(fleet=stuck), knows_why=True) is None


def test_a_try_that_found_a_node_doubles_the_next_one_until_there_is_no_doubt() -> None:
    tried = replace(OVER, probed=8)

    found = shortage_of(case(8, memory=replace(WATCHED, shortage=tried)))
    waiting = case(fleet=fleet(*serving(7), unschedulable(for_s=5.0)), memory=replace(WATCHED, shortage=tried))

    assert found == replace(OVER, step=2)
    assert shortage_of(waiting) == tried
    assert shortage_of(case(8, memory=replace(WATCHED, shortage=replace(OVER, step=32)))) is None
    assert shortage_of(case(8, memory=replace(WATCHED, shortage=replace(OVER, began_s=START_S - 3601.0)))) is None
    assert shortage_of(case(8, memory=replace(WATCHED, shortage=OVER)), planned=9) == replace(OVER, probed=9)


def test_the_deadline_of_a_start_is_the_policys_budget() -> None:
    slow = fleet(starting(age_s=700.0))

    assert stuck_replicas(slow, policy(loading=Loading(expected_s=60.0, budget_s=600.0)), START_S) == slow.replicas
    assert stuck_replicas(slow, policy(loading=Loading(expected_s=60.0, budget_s=700.0)), START_S) == ()


# --- Growing -----------------------------------------------------------------------------------------------------


def test_without_a_step_it_grows_at_once() -> None:
    assert limits.step_up(40, case()) is None


@pytest.mark.parametrize(("grown_s_ago", "ruled"), [(None, 11), (60.0, 11), (59.9, 8)])
def test_a_growth_by_steps_waits_for_its_period(grown_s_ago: float | None, ruled: int) -> None:
    stepping = behaving(grow_step=3, grow_period_s=60.0)
    memory = replace(WATCHED, grown_at_s=None if grown_s_ago is None else START_S - grown_s_ago)

    assert after(limits.step_up, 20, case(8, asked=stepping, memory=memory)) == ruled
    assert after(limits.step_up, 5, case(8, asked=stepping, memory=memory)) == 5


@pytest.mark.parametrize(("requested", "asked", "ruled"), [(8, 11, 11), (11, 11, 11), (12, 11, 12), (8, 6, 8)])
def test_a_growth_that_nobody_has_carried_out_is_said_again(requested: int, asked: int, ruled: int) -> None:
    stepping = behaving(grow_step=3, grow_period_s=60.0)
    memory = replace(WATCHED, grown_at_s=START_S - 15.0, asked=asked)

    assert after(limits.step_up, 20, case(requested, asked=stepping, memory=memory)) == ruled
