"""What is told of ScaledObjects and HPAs that KEDA could not follow a policy by."""

from decimal import Decimal
from typing import Any

import pytest

from scaler.adapters.keda.readback import Finding, Scaling, condition, findings, lost_steps
from scaler.adapters.keda.seen import hpa_seen, scaled_object_seen
from scaler.api.v1alpha1 import ScalingPolicy
from tests.adapters.keda.stored import CPU, Json, behavior, hpa, one_version, scaled_object

TARGET = ("Deployment", "llama-v1")
LEARNED = {"learned": [{"name": "v1", "loadSeconds": {"p50": 200.0, "p90": 240.0, "samples": 12}}]}


def found(*things: Json, document: ScalingPolicy | None = None) -> tuple[Finding, ...]:
    """The findings on one target that all of ``things`` scale."""
    scaling = Scaling(
        scaled_objects=tuple(scaled_object_seen(each) for each in things if each["kind"] == "ScaledObject"),
        hpas=tuple(hpa_seen(each) for each in things if each["kind"] != "ScaledObject"),
    )
    document = document or one_version()
    return findings(document, {TARGET: scaling}, document.status)


def told(*things: Json, document: ScalingPolicy | None = None) -> dict[str, str]:
    """The same, by reason."""
    return {each.reason: each.text for each in found(*things, document=document)}


def differing(document: ScalingPolicy | None = None, **difference: Any) -> dict[str, str]:
    """What is told of a ScaledObject with ``difference``, and of the HPA that KEDA makes of it."""
    so = scaled_object(document, **difference)
    return told(so, hpa(so), document=document)


def test_of_what_forebay_prints_nothing_is_told() -> None:
    so = scaled_object()

    assert found(so, hpa(so)) == ()
    assert condition(()).status is True


def test_no_scaled_object_at_all() -> None:
    assert told() == {
        "NoScaledObject": "no ScaledObject scales Deployment llama-v1, so nobody writes its count: "
        "apply the one that `forebay keda` prints"
    }


def test_two_scaled_objects_on_one_target_are_both_named() -> None:
    text = told(scaled_object(), scaled_object(metadata={"name": "by-queue"}))["TwoScaledObjects"]

    assert text.startswith("Deployment llama-v1 is scaled by the ScaledObjects by-queue and llama-v1")


def test_an_hpa_that_is_not_kedas() -> None:
    so = scaled_object()
    by_cpu = hpa(so, metadata={"name": "by-cpu", "ownerReferences": []})

    assert told(so, hpa(so), by_cpu).keys() == {"OtherHPA"}


@pytest.mark.parametrize("field", ["policy", "version", "role"])
def test_a_scaled_object_that_asks_for_another_count(field: str) -> None:
    so = scaled_object()
    so["spec"]["triggers"][0]["metadata"][field] = "another"

    assert told(so, hpa(so))["AsksForAnother"] == (
        "ScaledObject llama-v1 does not ask for policy llama, version v1, role Serve: give its trigger this metadata"
    )


def test_a_second_trigger_would_outbid_us() -> None:
    so = scaled_object()
    so["spec"]["triggers"].append({"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}})

    assert told(so, hpa(so)).keys() == {"OtherTriggers"}


def test_a_tolerance_that_is_missing_is_told_with_the_steps_that_it_costs() -> None:
    sides = {"scaleUp": {"tolerance": None}, "scaleDown": {"tolerance": None}}
    difference = {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": sides}}}

    text = differing(spec=difference)["ToleranceMissing"]

    assert "at 20 replicas a wish for 18 to 22 changes nothing, and 20 → 21 cannot be said" in text
    assert 'set tolerance: "0"' in text


def test_a_tolerance_that_an_older_keda_pruned_from_our_own_scaled_object_is_told_as_that() -> None:
    owner = [{"kind": "ScalingPolicy", "name": "llama", "uid": "uid-policy-llama", "controller": True}]

    texts = differing(spec=behavior("scaleUp", tolerance=None), metadata={"ownerReferences": owner})

    assert texts.keys() == {"ToleranceDropped"}
    assert texts["ToleranceDropped"].startswith(
        "KEDA dropped the tolerance that ScaledObject llama-v1 was written with"
    )


def test_a_tolerance_that_is_lost_on_the_way_to_the_hpa_names_the_keda_that_made_it() -> None:
    sides = {"scaleUp": {"tolerance": None}, "scaleDown": {"tolerance": None}}
    old = hpa(metadata={"labels": {"app.kubernetes.io/version": "2.17.2"}}, spec={"behavior": sides})

    text = told(scaled_object(), old)["ToleranceDropped"]

    assert "which KEDA 2.17.2 made, has lost its tolerance, so at 20 replicas" in text


def test_a_tolerance_that_costs_no_step_is_not_told() -> None:
    small = one_version(spec__replicas={"min": 1, "max": 9})

    assert differing(small, spec=behavior("scaleUp", tolerance=None)) == {}


def test_a_tolerance_that_is_too_wide() -> None:
    assert differing(spec=behavior("scaleDown", tolerance="50m")).keys() == {"ToleranceTooWide"}


@pytest.mark.parametrize(
    ("high", "up", "down", "says"),
    [
        (21, None, None, "at 20 replicas a wish for 18 to 22 changes nothing, and 20 → 21 cannot be said"),
        (11, None, None, "at 10 replicas a wish for 9 to 11 changes nothing, and 10 → 11 cannot be said"),
        (10, None, None, "at 10 replicas a wish for 9 to 11 changes nothing, and 10 → 9 cannot be said"),
        (9, None, None, None),
        (1000, "0", "0", None),
        (100, "0", "0.05", "at 100 replicas a wish for 95 to 100 changes nothing, and 100 → 99 cannot be said"),
    ],
)
def test_the_dead_band_is_that_of_the_hpa(high: int, up: str | None, down: str | None, says: str | None) -> None:
    wide, deep = (None if each is None else Decimal(each) for each in (up, down))

    assert lost_steps(high, wide, deep) == says


def test_metric_type_value_in_the_trigger() -> None:
    so = scaled_object()
    so["spec"]["triggers"][0]["metricType"] = "Value"

    assert "set it to AverageValue" in told(so, hpa(so))["MetricTypeValue"]


def test_metric_type_value_in_the_hpa_alone() -> None:
    stale = hpa()
    stale["spec"]["metrics"][0]["external"]["target"] = {"type": "Value", "value": "1"}

    assert told(scaled_object(), stale).keys() == {"MetricTypeValue"}


def test_an_hpa_by_cpu_since_the_scaler_was_down() -> None:
    text = told(scaled_object(), hpa(spec={"metrics": [CPU]}))["WithoutOurMetric"]

    assert text.startswith("HorizontalPodAutoscaler keda-hpa-llama-v1 scales by cpu and not by Forebay's count")
    assert text.endswith("delete it, and KEDA makes it anew")


def test_no_hpa_yet() -> None:
    assert told(scaled_object()).keys() == {"NoHPA"}


def test_a_scaled_object_that_keda_calls_not_ready_says_why() -> None:
    refused = {"type": "Ready", "status": "False", "reason": "ScaledObjectCheckFailed", "message": "no scale target"}

    assert "(no scale target)" in differing(status={"conditions": [refused]})["NotReady"]


def test_a_scaled_object_made_while_nobody_answered_says_when_keda_tries_again_and_how_to_have_it_at_once() -> None:
    said = (
        "failed to ensure HPA is correctly created for ScaledObject: "
        "no metric specs returned from scalers for ScaledObject models/llama-v1"
    )
    refused = {"type": "Ready", "status": "False", "reason": "ScaledObjectCheckFailed", "message": said}

    texts = told(scaled_object(status={"conditions": [refused]}))

    assert texts.keys() == {"NobodyAnswered"}
    assert "after about as long again as nobody answered and 20 min at most" in texts["NobodyAnswered"]
    assert texts["NobodyAnswered"].endswith("at once when its operator is restarted")


@pytest.mark.parametrize(("reason", "is_told"), [("FailedGetExternalMetric", True), ("ScalingDisabled", False)])
def test_an_hpa_that_gets_no_count_is_told_unless_it_rests_at_zero(reason: str, *, is_told: bool) -> None:
    active = {"type": "ScalingActive", "status": "False", "reason": reason, "message": "unable to get external metric"}

    texts = told(scaled_object(), hpa(status={"conditions": [active]}))

    assert texts.keys() == ({"NoMetric"} if is_told else set())
    assert not is_told or "(unable to get external metric)" in texts["NoMetric"]


def test_a_fallback_that_holds_is_told_as_such() -> None:
    falling = {"type": "Fallback", "status": "True", "reason": "FallbackExists"}

    assert differing(status={"conditions": [falling]}).keys() == {"FallingBack"}


def test_a_fallback_to_zero() -> None:
    texts = differing(spec={"minReplicaCount": 0, "fallback": {"replicas": 0}})

    assert texts.keys() == {"MayGoToZero", "FallbackToZero"}


def test_a_fallback_that_shrinks() -> None:
    assert differing(spec={"fallback": {"behavior": "static", "replicas": 2}})["FallbackShrinks"].startswith(
        "ScaledObject llama-v1 falls back to 2 replicas (static), so that an outage of Forebay shrinks what is larger"
    )


@pytest.mark.parametrize(
    "fallback",
    [None, {"behavior": "static", "replicas": 21}, {"behavior": "currentReplicasIfHigher", "replicas": 1}],
)
def test_a_fallback_that_shrinks_nothing_is_fine(fallback: Json | None) -> None:
    assert differing(spec={"fallback": fallback}) == {}


def test_a_way_to_zero_is_told_with_what_a_start_was_measured_to_take() -> None:
    text = differing(one_version(status=LEARNED), spec={"minReplicaCount": 0})["MayGoToZero"]

    assert "as its minReplicaCount is 0" in text
    assert "waits for a whole start, 240 s in one of ten of 12 measured starts" in text


def test_a_way_to_zero_is_told_with_what_is_expected_until_then() -> None:
    text = differing(spec={"minReplicaCount": 1, "idleReplicaCount": 0})["MayGoToZero"]

    assert "as its idleReplicaCount is 0" in text
    assert "about 300 s by loading.expectedSeconds" in text


TO_ZERO = {
    "spec__replicas": {"min": 0, "max": 21},
    "spec__scaleToZero": {"idleSeconds": 600, "demandQuery": "sum(requests)"},
}


def test_of_a_way_to_zero_that_the_policy_asks_for_nothing_is_told() -> None:
    assert differing(one_version(**TO_ZERO)) == {}


def test_a_model_that_keda_keeps_from_zero() -> None:
    texts = differing(one_version(**TO_ZERO), spec={"minReplicaCount": 1})

    assert texts["BoundsDiffer"].startswith("ScaledObject llama-v1 allows 1 to 21 replicas and the policy 0 to 21")


def test_a_return_from_zero_that_waits_for_the_next_poll() -> None:
    so = scaled_object(one_version(**TO_ZERO))
    so["spec"]["triggers"][0]["type"] = "external"

    assert told(so, hpa(so), document=one_version(**TO_ZERO)) == {
        "SlowToWake": "ScaledObject llama-v1 is asked again only every pollingInterval, and by that much later the "
        "first replica comes when the model is at zero: set the trigger's type to external-push"
    }


@pytest.mark.parametrize(("low", "high"), [(2, 21), (1, 20), (1, None)])
def test_bounds_that_disagree_with_the_policy(low: int, high: int | None) -> None:
    so = scaled_object(spec={"minReplicaCount": low, "maxReplicaCount": high})

    (text,) = told(so, hpa(scaled_object())).values()

    assert text.startswith(f"ScaledObject llama-v1 allows {low} to {high or 100} replicas and the policy 1 to 21")


def test_a_window_after_our_own() -> None:
    texts = differing(spec=behavior("scaleDown", stabilizationWindowSeconds=None))

    assert "waits 0 s to grow and 300 s to shrink" in texts["SlowedDown"]


@pytest.mark.parametrize(
    ("annotations", "is_held"),
    [
        ({"autoscaling.keda.sh/paused": "true"}, True),
        ({"autoscaling.keda.sh/paused": "yes, please"}, True),
        ({"autoscaling.keda.sh/paused-replicas": "0"}, True),
        ({"autoscaling.keda.sh/paused-scale-in": "true"}, False),
        ({"autoscaling.keda.sh/paused-scale-out": ""}, False),
    ],
)
def test_a_pause_is_told(annotations: dict[str, str], *, is_held: bool) -> None:
    so = scaled_object(metadata={"annotations": annotations})
    things = [so] if is_held else [so, hpa(so)]

    texts = told(*things)

    assert texts.keys() == {"Paused"}
    assert ("keeps learning" in texts["Paused"]) is is_held
    assert scaled_object_seen(so).is_held is is_held


@pytest.mark.parametrize("value", ["false", "0", "F"])
def test_what_keda_takes_for_no_pause_is_none(value: str) -> None:
    assert differing(metadata={"annotations": {"autoscaling.keda.sh/paused": value}}) == {}


def test_somebody_elses_scaled_object_is_not_taken_over_by_a_policy_that_owns_its_own() -> None:
    managed = one_version(spec__keda={"managed": True})

    assert differing(managed).keys() == {"NotOurs"}


def test_a_policys_own_scaled_object_is_fine() -> None:
    managed = one_version(spec__keda={"managed": True})
    owner = [{"kind": "ScalingPolicy", "name": "llama", "uid": "uid-policy-llama"}]

    assert differing(managed, metadata={"ownerReferences": owner}) == {}


@pytest.mark.parametrize(
    "spec",
    [
        {"minReplicaCount": "none", "maxReplicaCount": None},
        {"advanced": None, "fallback": None},
        behavior("scaleUp", tolerance="a bit", stabilizationWindowSeconds=None),
    ],
)
def test_a_scaled_object_that_no_keda_would_take_is_still_seen(spec: Json) -> None:
    """Kills: to leave out what cannot be read, and so to write a count beside whoever scales the target."""
    assert scaled_object_seen(scaled_object(spec=spec)).name == "llama-v1"


def test_the_condition_has_the_first_reason_and_every_sentence() -> None:
    so = scaled_object(spec={"maxReplicaCount": 20})

    said = condition(found(so))

    assert (said.type, said.status, said.reason) == ("KEDAReady", False, "NoHPA")
    assert "see that its operator runs; ScaledObject llama-v1 allows 1 to 20" in said.message
