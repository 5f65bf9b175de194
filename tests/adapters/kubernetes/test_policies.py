"""From stored objects to documents and policies; a bad one is a text."""

from typing import Any

import yaml

from scaler.adapters.kubernetes.policies import Policies, PolicyObject, policy_object
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


def test_a_status_that_a_stranger_spoilt_does_not_cost_the_policy() -> None:
    found = seen(status={"desired": "many"})

    assert found.document is not None
    assert found.status is None


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
