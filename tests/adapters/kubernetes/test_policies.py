"""From stored objects to documents and policies; a bad one is a text."""

from typing import Any

import pytest
import yaml

from scaler.adapters.kubernetes.policies import Policies, PolicyObject, policy_object
from scaler.api.status import Status
from tests.adapters.differences import merged
from tests.adapters.kubernetes.recorded import CREATED_S
from tests.api.builders import ONE_VERSION, TWO_VERSIONS


def stored(text: str = ONE_VERSION, **difference: Any) -> dict[str, Any]:
    """As the API server stores it, with all that it adds."""
    metadata = {
        "uid": "uid-policy",
        "generation": 2,
        "resourceVersion": "77",
        "creationTimestamp": "2026-03-02T09:00:00Z",
        "generateName": "llama-",
        "selfLink": "/from/an/old/server",
        "managedFields": [{"manager": "kubectl", "operation": "Apply"}],
    }
    return merged(merged(yaml.safe_load(text), {"metadata": metadata}), difference)


def seen(before: PolicyObject | None = None, **difference: Any) -> PolicyObject:
    return policy_object(stored(**difference), before)


def test_a_stored_object_is_a_document() -> None:
    found = seen()

    assert found.document is not None
    assert not found.faults
    assert (found.full_name, found.generation, found.version) == ("models/llama", 2, 77)


def test_a_bad_object_is_a_text_that_names_field_and_limit() -> None:
    found = seen(spec={"replicas": {"min": 9, "max": 4}})

    assert found.document is None
    assert found.faults.startswith("spec.replicas.min: must be at most")


def test_many_faults_are_told_in_short() -> None:
    found = seen(spec={f"unknown{index}": 1 for index in range(9)})

    assert found.document is None
    assert found.faults.endswith("and 4 more")


def test_a_status_that_a_stranger_spoilt_costs_neither_the_policy_nor_the_rest_of_it() -> None:
    found = seen(status={"desired": "many", "actual": 3})

    assert found.document is not None
    assert found.status == Status(actual=3)


SOUND = {"name": "v1", "role": "Serve", "loadSeconds": {"p50": 60, "p90": 90, "samples": 4}}


@pytest.mark.parametrize(
    ("spoilt", "learned"),
    [
        ("much", []),
        ([SOUND | {"role": "Nobody"}, SOUND], [SOUND]),
        ([{"role": "Serve"}, SOUND], [SOUND]),
        ([SOUND, 7, {"name": "v2", "loadSeconds": {"p50": -1}}], [SOUND, {"name": "v2", "role": "Serve"}]),
        ([SOUND | {"capacity": [{"stepSeconds": 1}] * 3}], [SOUND]),
        ([SOUND | {"load_seconds": 3}], [SOUND]),
        ([SOUND] * 17, []),
    ],
    ids=["no list", "no such role", "no name", "a number", "half a capacity", "another spelling", "too many"],
)
def test_of_what_was_learned_the_sound_parts_are_read(spoilt: Any, learned: list[Any]) -> None:
    found = seen(status={"learned": spoilt, "actual": 3}).status

    assert found == Status.model_validate({"learned": learned, "actual": 3})


@pytest.mark.parametrize("raw", [[], "much", 7])
def test_a_status_that_is_no_object_is_none(raw: Any) -> None:
    assert policy_object(stored() | {"status": raw}, None).status is None


def test_an_object_is_not_checked_again_for_a_new_status() -> None:
    before = seen()

    after = seen(before, metadata={"resourceVersion": "78"}, status={"desired": 3})

    assert after.document is before.document
    assert after.status is not None


def test_a_new_spec_or_annotation_or_object_is_checked_again() -> None:
    before = seen()

    assert seen(before, metadata={"generation": 3}).document is not before.document
    assert seen(before, metadata={"annotations": {"forebay.dev/paused": "true"}}).document is not before.document
    assert seen(before, metadata={"uid": "another"}).document is not before.document


def test_a_policy_is_the_same_until_its_windows_have_to_be_laid_out_anew() -> None:
    document = seen(text=TWO_VERSIONS).document
    assert document is not None
    policies = Policies()

    first = policies.policy(document, CREATED_S)

    assert policies.policy(document, CREATED_S + 3600) is first
    assert policies.policy(document, CREATED_S + 86_400) is not first
    assert policies.policy(document, CREATED_S + 6 * 86_400).warm_windows != first.warm_windows


def test_the_annotation_pauses() -> None:
    document = seen(metadata={"annotations": {"forebay.dev/paused": "true"}}).document
    assert document is not None

    assert Policies().policy(document, CREATED_S).paused
