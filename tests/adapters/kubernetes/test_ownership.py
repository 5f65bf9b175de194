"""Who else writes a replica count, and what the condition says of it."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.adapters.kubernetes.ownership import (
    Claimed,
    Foreign,
    Told,
    answered,
    foreign_by_target,
    heard,
    hpa_claim,
    is_strange,
    ownership,
    scaled_object_claim,
)
from scaler.adapters.kubernetes.targets import TargetSeen, Writer, target_seen
from scaler.core.model import Actuation
from scaler.runtime.ports import TransientError
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.recorded import CREATED_S, owned, wrote

HPA = Foreign(kind="HorizontalPodAutoscaler", name="by-cpu")


def hpa(name: str = "by-cpu", made_by: str | None = None) -> Any:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama-v1"}
    thing = owned(name, f"uid-{name}", spec={"scaleTargetRef": target})
    if made_by is not None:
        thing["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": made_by, "uid": "x"}]
    return hpa_claim(thing, None)


def scaled_object(name: str = "by-queue") -> Any:
    return scaled_object_claim(owned(name, f"uid-{name}", spec={"scaleTargetRef": {"name": "llama-v1"}}), None)


def target(replicas: int, version: int, manager: str = "kubectl") -> TargetSeen:
    thing = recorded.deployment(replicas=replicas)
    thing["metadata"] |= {"resourceVersion": str(version), "managedFields": [wrote(manager, "2026-03-02T10:00:00Z")]}
    return target_seen(thing, "Deployment")


def test_an_hpa_is_found_by_its_target() -> None:
    assert foreign_by_target([hpa()]) == {("models", "Deployment", "llama-v1"): (HPA,)}


def test_of_kedas_hpa_the_scaled_object_is_named() -> None:
    claims = [hpa("keda-hpa-by-queue", made_by="by-queue"), scaled_object()]

    (found,) = foreign_by_target(claims).values()
    assert found == (Foreign(kind="ScaledObject", name="by-queue"),)


def test_kedas_hpa_is_named_itself_where_the_scaled_object_cannot_be_seen() -> None:
    (found,) = foreign_by_target([hpa("keda-hpa-by-queue", made_by="by-queue")]).values()

    assert found == (Foreign(kind="HorizontalPodAutoscaler", name="keda-hpa-by-queue"),)


def test_a_stranger_is_who_wrote_another_count_after_us() -> None:
    told = heard(Told(replicas=5, version=10), target(9, version=11), 9, CREATED_S)

    assert told.stranger == Writer(name="kubectl", at_s=CREATED_S + 3600)
    assert told.strange_replicas == 9


@pytest.mark.parametrize(
    ("replicas", "version", "manager"), [(9, 9, "kubectl"), (5, 11, "kubectl"), (9, 11, "forebay")]
)
def test_an_older_sight_the_same_count_or_our_own_name_is_no_stranger(
    replicas: int, version: int, manager: str
) -> None:
    told = heard(Told(replicas=5, version=10), target(replicas, version, manager), replicas, CREATED_S)

    assert told.stranger is None


def test_a_stranger_is_remembered_for_ten_minutes() -> None:
    told = heard(Told(replicas=5, version=10), target(9, version=11), 9, CREATED_S)
    ours_again = target(5, version=12, manager="forebay")

    assert heard(told, ours_again, 5, CREATED_S + 599).stranger is not None
    assert heard(told, ours_again, 5, CREATED_S + 601).stranger is None


def test_what_stands_after_ten_minutes_is_no_longer_strange() -> None:
    left = target(9, version=11)
    told = heard(Told(replicas=5, version=10), left, 9, CREATED_S)

    told = heard(told, left, 9, CREATED_S + 601)

    assert not is_strange(told, left, 9)
    assert heard(told, left, 9, CREATED_S + 700).stranger is None


def test_a_count_from_before_our_write_is_not_strange() -> None:
    told = Told(replicas=5, version=10)

    assert not is_strange(told, target(2, version=9), 2)
    assert not is_strange(told, target(2, version=11, manager="forebay"), 2)
    assert is_strange(told, target(2, version=11), 2)
    assert is_strange(told, replace(target(2, version=11), writer=None), 2)


def test_strangers_are_answered_once_a_minute() -> None:
    told = answered(Told(replicas=5, version=10), 100.0)

    with pytest.raises(TransientError, match="someone wrote another count again"):
        answered(told, 159.9)
    assert answered(told, 160.0).answered_at_s == 160.0


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [
        (Claimed(target="Deployment llama"), "Sole"),
        (Claimed(target="Deployment llama", foreign=(HPA,)), "OtherAutoscaler"),
        (Claimed(target="Deployment llama", elder="models/first"), "SharedTarget"),
        (Claimed(target="Deployment llama", unknown="the HPAs were not listed yet"), "NotSeen"),
    ],
)
def test_the_condition_names_the_trouble(claimed: Claimed, reason: str) -> None:
    assert ownership(Actuation.SCALE, [claimed]).reason == reason


@pytest.mark.parametrize("actuation", [Actuation.KEDA, Actuation.ADVISE])
def test_where_others_are_to_write_another_autoscaler_is_no_trouble(actuation: Actuation) -> None:
    assert ownership(actuation, [Claimed(target="Deployment llama", foreign=(HPA,))]).status is True
