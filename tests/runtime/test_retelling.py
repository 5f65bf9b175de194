"""A record of the past can be found, and decided again."""

from dataclasses import replace

from scaler.core.decide import decide
from scaler.core.memory import Memory
from scaler.runtime.ports import Record
from scaler.runtime.retelling import differences, in_force
from tests.builders import NAME, START_S, fleet, policy, seen, serving, world


def record_at(at_s: float, running: float = 60.0) -> Record:
    observation = seen(fleet(*serving(2, running=running, at_s=at_s)))
    memory = Memory(at_s=at_s)
    (plan,) = decide(world(observation, at_s), {NAME: memory}, (policy(),))
    return Record(policy=policy(), observation=observation, memory=memory, plan=plan)


def test_the_decision_in_force_is_the_last_one_at_or_before_the_time() -> None:
    records = [record_at(START_S), record_at(START_S + 15.0), record_at(START_S + 30.0)]

    assert in_force(records, START_S + 29.9) == records[1]
    assert in_force(records, START_S + 30.0) == records[2]
    assert in_force(records, START_S - 1.0) is None
    assert in_force(records, None) == records[2]


def test_a_record_decided_again_agrees_with_itself() -> None:
    assert differences(record_at(START_S)) == ()


def test_a_record_that_does_not_follow_from_its_arguments_is_found_out() -> None:
    told, other = record_at(START_S), record_at(START_S, running=300.0)

    parts = differences(replace(told, plan=other.plan))

    assert "targets" in parts
    assert "commands" in parts
