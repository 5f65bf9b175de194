"""From a plan to the status of its policy, and from the status back to a memory."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.adapters.kubernetes.status import Change, body_of, change, faulty_status, memory_of, status_of
from scaler.adapters.kubernetes.times import written
from scaler.api.status import ConditionStatus, Status
from scaler.core.memory import Memory, ReleaseMemory
from scaler.core.model import Missing, Observation, Policy
from scaler.core.plan import Condition
from scaler.runtime.ports import Record
from tests import builders
from tests.builders import START_S, fleet, load, plan_of, ready, seen, starting, unschedulable

CLEAR = Condition(type="OwnershipClear", status=True, reason="Sole", message="nobody else writes")
NOBODY = seen(fleet())
WEIGHTS = {"v1": 95, "v2": 5}


def record(
    observation: Observation, policy: Policy | None = None, memory: Memory | None = None, at_s: float = START_S
) -> Record:
    policy = policy or builders.policy()
    plan = plan_of(observation, policy, memory, at_s)
    return Record(policy=policy, observation=observation, memory=memory or Memory(at_s=at_s), plan=plan)


def told(*replicas: Any, before: Status | None = None, at_s: float = START_S, **rest: Any) -> Status:
    observation = seen(fleet(*replicas, **rest))
    return status_of(record(observation, at_s=at_s), (CLEAR,), 4, before)


def busy(name: str = "a", at_s: float = START_S) -> Any:
    return ready(name, at_s=at_s, load=load(running=4, waiting=400, at_s=at_s))


def idle(name: str = "a", at_s: float = START_S) -> Any:
    return ready(name, at_s=at_s, load=load(running=1, at_s=at_s))


def condition(status: Status, kind: str) -> Any:
    return next(each for each in status.conditions if each.type == kind)


def test_each_target_tells_what_it_should_have_and_has() -> None:
    status = told(idle("a"), starting(), unschedulable())

    (target,) = status.versions
    assert (target.ready, target.starting, target.unschedulable) == (1, 2, 1)
    assert status.actual == 1
    assert status.desired == target.desired


def test_a_target_that_is_not_seen_keeps_what_was_desired_of_it() -> None:
    before = told(idle("a"), idle("b"))

    status = status_of(record(seen(Missing(why="the pods were lost"))), (CLEAR,), 4, before)

    assert status.versions[0].desired == before.versions[0].desired
    assert status.versions[0].ready is None
    assert status.actual is None


def test_all_seven_conditions_are_there_and_of_this_generation() -> None:
    status = told(idle())

    assert [each.type for each in status.conditions] == [
        "Ready",
        "SignalsHealthy",
        "CapacityAvailable",
        "Releasing",
        "Forecastable",
        "ReplicasAlike",
        "OwnershipClear",
    ]
    assert {each.observed_generation for each in status.conditions} == {4}


def test_a_transition_time_moves_only_with_the_status() -> None:
    before = told(idle())
    same = told(idle(at_s=START_S + 60), before=before, at_s=START_S + 60)
    broken = status_of(record(seen(Missing(why="lost")), at_s=START_S + 90), (CLEAR,), 4, same)

    assert condition(same, "CapacityAvailable").last_transition_time == written(START_S)
    assert condition(broken, "CapacityAvailable").status is ConditionStatus.UNKNOWN
    assert condition(broken, "CapacityAvailable").last_transition_time == written(START_S + 90)


def test_a_decision_stays_until_another_changes_something() -> None:
    before = told(idle())
    same = told(idle(at_s=START_S + 60), before=before, at_s=START_S + 60)

    assert same.decision == before.decision
    assert same.history == ()


def test_a_new_decision_moves_the_former_into_the_history() -> None:
    before = told(idle())

    grown = told(busy(at_s=START_S + 60), before=before, at_s=START_S + 60)

    assert grown.decision is not None
    assert before.decision is not None
    assert grown.decision.at == written(START_S + 60)
    assert (grown.history[0].at, grown.history[0].because) == (before.decision.at, before.decision.because)
    assert grown.decision.trail[0].rule == "wish"


def test_a_history_has_ten_entries_at_most() -> None:
    status = told(idle())
    for step in range(1, 40):
        at_s = START_S + 60.0 * step
        replica = busy(at_s=at_s) if step % 2 else idle(at_s=at_s)
        status = told(replica, before=status, at_s=at_s, requested=1 + step)

    assert len(status.history) == 10


def test_the_same_decision_is_no_change() -> None:
    before = told(idle())

    assert change(told(idle(at_s=START_S + 60), before=before, at_s=START_S + 60), before) is Change.NONE


def test_other_words_are_another_change_than_other_facts() -> None:
    before = told(idle())
    ready_now, *others = before.conditions
    reworded = before.model_copy(update={"conditions": (ready_now.model_copy(update={"message": "so"}), *others)})

    assert change(reworded, before) is Change.WORDS
    assert change(before.model_copy(update={"desired": 9}), before) is Change.FACTS
    assert change(before, None) is Change.FACTS


def test_weights_and_the_release_are_told() -> None:
    policy = builders.releasing((5, 300.0), (100, 0.0))
    observation = seen({"v1": fleet(idle("a")), "v2": fleet(idle("b"))}, weights=WEIGHTS)

    status = status_of(record(observation, policy), (CLEAR,), 1, None)

    assert status.weights == "v1=95,v2=5"
    assert [each.weight_percent for each in status.versions] == [95, 5]
    assert status.release is not None
    assert (status.release.stable, status.release.candidate) == ("v1", "v2")


def test_a_long_sentence_is_cut_to_what_the_api_takes() -> None:
    long = replace(CLEAR, message="x" * 3000)

    status = status_of(record(seen(fleet(idle()))), (long,), 1, None)

    assert len(condition(status, "OwnershipClear").message) == 1024
    assert Status.model_validate(body_of(status)) == status


def test_a_fault_is_told_and_all_else_is_kept() -> None:
    before = told(idle())

    status = faulty_status("spec.replicas.min: must be at most max", 5, before, START_S + 60)

    assert condition(status, "Ready").status is ConditionStatus.FALSE
    assert "spec.replicas.min" in condition(status, "Ready").message
    assert status.versions == before.versions
    assert status.observed_generation == 5


# --- Back again --------------------------------------------------------------------------------------------------


def test_a_restart_goes_on_with_the_release() -> None:
    policy = builders.releasing((5, 300.0), (100, 0.0))
    observation = seen({"v1": fleet(idle("a")), "v2": fleet(idle("b"))}, weights=WEIGHTS)
    memory = Memory(
        at_s=START_S - 15,
        release=ReleaseMemory(stable="v1", candidate="v2", weight_percent=5, since_s=START_S - 100),
    )

    status = status_of(record(observation, policy, memory), (CLEAR,), 1, None)

    assert memory_of(status, observation, START_S + 30).release == memory.release


@pytest.mark.parametrize("since", ["not a time", "2999-01-01T00:00:00Z"])
def test_a_step_whose_beginning_cannot_be_believed_begins_now(since: str) -> None:
    raw = {"release": {"stable": "v1", "candidate": "v2", "weightPercent": 5, "since": since}}

    release = memory_of(Status.model_validate(raw), NOBODY, START_S).release

    assert release is not None
    assert release.since_s == START_S


def test_an_empty_status_is_an_empty_memory() -> None:
    assert memory_of(Status(), NOBODY, START_S) == Memory(at_s=START_S)
