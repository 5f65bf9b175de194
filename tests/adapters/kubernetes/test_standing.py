"""From a policy as it is stored to how it stands, which is all that KEDA is answered from."""

from typing import Any

import pytest

from scaler.adapters.kubernetes.policies import policy_object
from scaler.adapters.kubernetes.standing import standing_of
from scaler.adapters.kubernetes.status import body_of, status_of
from scaler.core.memory import Memory
from scaler.core.model import Actuation, Missing, Replica, TargetKey
from scaler.core.plan import Condition
from scaler.runtime.board import Standing
from scaler.runtime.ports import Record
from tests import builders
from tests.adapters.kubernetes.test_policies import stored
from tests.api.builders import TWO_VERSIONS
from tests.builders import START_S, fleet, load, plan_of, ready, seen, starting

V1 = TargetKey(version="v1", role="Serve")
CLEAR = Condition(type="OwnershipClear", status=True, reason="Sole", message="nobody else writes")


def decided(*replicas: Replica, at_s: float = START_S) -> dict[str, Any]:
    """The status that whoever decides writes of a policy with these replicas."""
    observation = seen(fleet(*replicas))
    policy, plan = builders.policy(), plan_of(observation, builders.policy(), None, at_s)
    record = Record(policy=policy, observation=observation, memory=Memory(at_s=at_s), plan=plan)
    return body_of(status_of(record, (CLEAR,), 2, None))


def stands(status: dict[str, Any] | None = None, **difference: Any) -> Standing:
    thing = stored(spec={"actuation": "KEDA"}, **difference)
    found = standing_of(policy_object(thing if status is None else {**thing, "status": status}, None))
    assert isinstance(found, Standing)
    return found


def test_the_count_that_was_written_into_the_status_stands() -> None:
    replicas = [ready(name, load=load(running=1)) for name in "abc"]

    assert stands(decided(*replicas)) == Standing(actuation=Actuation.KEDA, desired={V1: 3}, stale_after_s=90.0)


def test_a_policy_without_a_status_has_its_targets_and_no_counts() -> None:
    assert stands().desired == {V1: None}


def test_targets_are_those_of_the_spec_whatever_the_status_says() -> None:
    found = standing_of(policy_object(stored(TWO_VERSIONS, status=decided(ready("a", load=load()))), None))

    assert isinstance(found, Standing)
    assert {str(key): count for key, count in found.desired.items()} == {
        "v1": 1,
        "v2/Prefill": None,
        "v2/Decode": None,
    }
    assert found.stale_after_s == 60.0


def test_a_policy_that_is_not_sound_does_not_stand() -> None:
    found = standing_of(policy_object(stored(spec={"replicas": {"min": 9, "max": 4}}), None))

    assert isinstance(found, Missing)
    assert found.why.startswith("spec.replicas.min")


def test_signals_that_are_missing_are_told_with_their_beginning() -> None:
    mute = ready("mute", load=Missing(why="connection refused"))

    lacking = stands(decided(mute)).lacking

    assert lacking is not None
    assert lacking.since_s == START_S
    assert "mute: connection refused" in lacking.why


def test_that_the_first_replicas_still_load_is_no_missing_signal() -> None:
    """A model takes minutes to load; KEDA must not take its fallback for each start."""
    assert stands(decided(starting("a"))).lacking is None


@pytest.mark.parametrize("text", ["", "yesterday"])
def test_a_beginning_that_cannot_be_read_was_long_ago(text: str) -> None:
    status = decided(ready("mute", load=Missing(why="connection refused")))
    for condition in status["conditions"]:
        condition["lastTransitionTime"] = text

    lacking = stands(status).lacking

    assert lacking is not None
    assert lacking.since_s == 0.0
