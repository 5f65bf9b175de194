"""Who else writes a replica count, and what the condition says of it."""

from dataclasses import replace
from typing import Any

import pytest

from scaler.adapters.kubernetes.ownership import (
    Claimed,
    Foreign,
    Told,
    answered,
    claims_by_target,
    foreign_of,
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
SCALED = Foreign(kind="ScaledObject", name="by-queue")


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
    (mine,) = claims_by_target([hpa()]).values()

    assert claims_by_target([hpa()]).keys() == {("models", "Deployment", "llama-v1")}
    assert foreign_of(mine) == (HPA,)


def test_of_kedas_hpa_the_scaled_object_is_named() -> None:
    claims = [hpa("keda-hpa-by-queue", made_by="by-queue"), scaled_object()]

    assert foreign_of(claims) == (Foreign(kind="ScaledObject", name="by-queue"),)


def test_kedas_hpa_is_named_itself_where_the_scaled_object_cannot_be_seen() -> None:
    claims = [hpa("keda-hpa-by-queue", made_by="by-queue")]

    assert foreign_of(claims) == (Foreign(kind="HorizontalPodAutoscaler", name="keda-hpa-by-queue"),)


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


def test_where_nobody_is_to_write_another_autoscaler_is_no_trouble() -> None:
    assert ownership(Actuation.ADVISE, [Claimed(target="Deployment llama", foreign=(HPA,))]).status is True


def test_the_one_scaled_object_is_no_trouble_to_keda() -> None:
    assert ownership(Actuation.KEDA, [Claimed(target="Deployment llama", foreign=(SCALED,))]).status is True


@pytest.mark.parametrize("foreign", [(HPA,), (SCALED, HPA), (SCALED, replace(SCALED, name="another"))])
def test_who_writes_beside_keda_is_named(foreign: tuple[Foreign, ...]) -> None:
    condition = ownership(Actuation.KEDA, [Claimed(target="Deployment llama", foreign=foreign)])

    assert (condition.status, condition.reason) == (False, "OtherAutoscaler")
    assert foreign[-1].name in condition.message
