"""The ScaledObjects that a policy asks for."""

from typing import Any

import pytest

from scaler.adapters.keda.scaled_object import bounds_of, connection_of, name_of, scaled_objects
from scaler.api.v1alpha1 import ScalingPolicy
from tests.api.builders import ONE_VERSION, policy


def one(**changes: object) -> dict[str, Any]:
    """The only ScaledObject of a policy of one version."""
    document = policy(ONE_VERSION, spec__actuation="KEDA", **changes)
    (made,) = scaled_objects(document, connection_of(document))
    return made


def first_bounds(document: ScalingPolicy) -> tuple[int, int]:
    bounds = bounds_of(document.spec, document.spec.versions[0].targets[0])
    return bounds.low, bounds.high


def test_the_whole_scaled_object_of_a_short_policy() -> None:
    assert one() == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": "llama-v1",
            "namespace": "models",
            "labels": {"app.kubernetes.io/managed-by": "forebay"},
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama-v1"},
            "pollingInterval": 60,
            "minReplicaCount": 1,
            "maxReplicaCount": 4,
            "fallback": {"failureThreshold": 3, "replicas": 4, "behavior": "currentReplicas"},
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleUp": {
                            "tolerance": "0",
                            "stabilizationWindowSeconds": 0,
                            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
                        },
                        "scaleDown": {
                            "tolerance": "0",
                            "stabilizationWindowSeconds": 0,
                            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                        },
                    }
                }
            },
            "triggers": [
                {
                    "type": "external",
                    "metricType": "AverageValue",
                    "metadata": {
                        "scalerAddress": "forebay-scaler.forebay.svc:9443",
                        "policy": "llama",
                        "version": "v1",
                        "role": "Serve",
                    },
                }
            ],
        },
    }


def test_each_version_and_role_has_one_that_asks_for_it() -> None:
    made = scaled_objects(policy(), connection_of(policy()))

    asked = [thing["spec"]["triggers"][0]["metadata"] for thing in made]
    assert [thing["metadata"]["name"] for thing in made] == ["llama-v1", "llama-v2-prefill", "llama-v2-decode"]
    assert [(each["policy"], each["version"], each["role"]) for each in asked] == [
        ("llama", "v1", "Serve"),
        ("llama", "v2", "Prefill"),
        ("llama", "v2", "Decode"),
    ]


def test_one_version_is_bounded_as_the_policy_says() -> None:
    assert first_bounds(policy(ONE_VERSION, spec__replicas={"min": 2, "max": 9})) == (2, 9)


def test_a_targets_own_bounds_narrow_those_of_the_policy() -> None:
    narrowed = policy(
        ONE_VERSION, spec__replicas={"min": 2, "max": 9}, spec__versions__0__targets__0__replicas={"min": 3, "max": 5}
    )

    assert first_bounds(narrowed) == (3, 5)


def test_a_version_beside_others_may_drain_to_zero_at_once_and_hears_of_its_return_at_once() -> None:
    spec = scaled_objects(policy(), connection_of(policy()))[0]["spec"]

    assert (spec["minReplicaCount"], spec["cooldownPeriod"], spec["triggers"][0]["type"]) == (0, 0, "external-push")


def test_a_model_that_may_go_to_zero_is_taken_there_at_once_and_hears_of_its_return_at_once() -> None:
    asked = policy(
        ONE_VERSION,
        spec__actuation="KEDA",
        spec__replicas={"min": 0, "max": 9},
        spec__scaleToZero={"idleSeconds": 600, "demandQuery": "sum(requests)"},
    )

    spec = scaled_objects(asked, connection_of(asked))[0]["spec"]

    assert (spec["minReplicaCount"], spec["cooldownPeriod"], spec["triggers"][0]["type"]) == (0, 0, "external-push")
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 9, "behavior": "currentReplicas"}


def test_no_fallback_is_zero_whatever_the_bounds() -> None:
    """At minReplicaCount 0 KEDA takes an error for leave to scale to zero, if the fallback's replicas are 0."""
    replicas = [thing["spec"]["fallback"]["replicas"] for thing in scaled_objects(policy(), connection_of(policy()))]

    assert min(replicas) > 0


def test_without_tls_nothing_of_it_is_said() -> None:
    trigger = one()["spec"]["triggers"][0]

    assert "enableTLS" not in trigger["metadata"]
    assert "authenticationRef" not in trigger


def test_tls_alone_trusts_the_authorities_that_keda_knows() -> None:
    trigger = one(spec__keda={"tls": {}})["spec"]["triggers"][0]

    assert trigger["metadata"]["enableTLS"] == "true"
    assert "authenticationRef" not in trigger


@pytest.mark.parametrize("kind", ["TriggerAuthentication", "ClusterTriggerAuthentication"])
def test_certificates_come_by_an_authentication_only(kind: str) -> None:
    ref = {"kind": kind, "name": "forebay-client"}

    trigger = one(spec__keda={"tls": {"authenticationRef": ref}})["spec"]["triggers"][0]

    assert trigger["authenticationRef"] == ref
    assert trigger["metadata"].keys() == {"scalerAddress", "enableTLS", "policy", "version", "role"}


def test_where_and_how_often_keda_asks_is_the_policys_to_say() -> None:
    spec = one(spec__keda={"scalerAddress": "scaler.infra.svc:7000", "pollingSeconds": 30})["spec"]

    assert spec["pollingInterval"] == 30
    assert spec["triggers"][0]["metadata"]["scalerAddress"] == "scaler.infra.svc:7000"


def test_a_long_name_is_cut_to_what_keda_takes_and_stays_its_own() -> None:
    names = {
        name_of(
            policy(ONE_VERSION, spec__versions__0__targets__0__targetRef__name=f"{'a' * 80}{end}")
            .spec.versions[0]
            .targets[0]
        )
        for end in ("x", "y")
    }

    assert len(names) == 2
    assert all(len(f"keda-hpa-{name}") <= 63 for name in names)
