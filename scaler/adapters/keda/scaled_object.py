"""The ScaledObjects that fit a policy: one for each version and role, by which KEDA follows what we decide exactly.

Forebay has stabilised, stepped and bounded a count before KEDA hears of it. So everything by which the HPA would do the
same a second time is switched off here: its dead band, its windows, its steps. Statements about KEDA are of v2.21.0
(the files are named), those about the HPA of Kubernetes 1.36.3.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from scaler.adapters.keda.contract import METRIC_TYPE, POLICY, ROLE, VERSION
from scaler.api.keda import Keda
from scaler.api.v1alpha1 import ModelVersion, ScalingPolicy, ScalingPolicySpec, Target

Json: TypeAlias = dict[str, Any]

API_VERSION: Final = "keda.sh/v1alpha1"
KIND: Final = "ScaledObject"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "forebay"

LONGEST_NAME: Final = 54
"""KEDA calls the HPA keda-hpa-NAME and refuses one of more than 63 characters (scaledobject_webhook.go, verifyName)."""

STEP_S: Final = 15
"""The HPA looks every 15 s; a policy that allows any step in this time is no limit."""

FAILURES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least and the most replicas that KEDA may give one target."""

    low: int
    high: int


def connection_of(policy: ScalingPolicy) -> Keda:
    """How KEDA and we meet by the policy itself, which may leave it all to the defaults."""
    return policy.spec.keda or Keda()


def bounds_of(spec: ScalingPolicySpec, target: Target) -> Bounds:
    """What a target's ScaledObject bounds it by.

    A version beside others may be left without traffic, and then drains to zero; a model as a whole never does.
    """
    own_low = None if target.replicas is None else target.replicas.min
    own_high = None if target.replicas is None else target.replicas.max
    low = 0 if len(spec.versions) > 1 else max(spec.replicas.min, own_low or 0)
    return Bounds(low=low, high=own_high or spec.replicas.max)


def name_of(target: Target) -> str:
    """What the ScaledObject of a target is called: as its target, of which there may be one ScaledObject only.

    A name that KEDA would find too long is cut, and told from others by eight digits of its hash.
    """
    name = target.target_ref.name
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9].rstrip('-.')}-{digest}"


def scaled_objects(policy: ScalingPolicy, keda: Keda) -> tuple[Json, ...]:
    """The ScaledObjects of all targets of ``policy``, in its order, as objects for the API server.

    ``keda`` is the policy's own part, or what someone would rather have in its place.
    """
    return tuple(
        _scaled_object(policy, version, target, keda) for version in policy.spec.versions for target in version.targets
    )


def _scaled_object(policy: ScalingPolicy, version: ModelVersion, target: Target, keda: Keda) -> Json:
    metadata = {
        "name": name_of(target),
        "namespace": policy.metadata.namespace,
        "labels": {MANAGED_BY: MANAGER},
    }
    asked = {POLICY: policy.metadata.name, VERSION: version.name, ROLE: target.role.value}
    spec = _spec(target, bounds_of(policy.spec, target), keda, asked)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _spec(target: Target, bounds: Bounds, keda: Keda, asked: dict[str, str]) -> Json:
    ref = target.target_ref
    # Above zero KEDA leaves all to the HPA, and warns of a cooldown that would rule nothing.
    idle = {"cooldownPeriod": 0} if bounds.low == 0 else {}
    return {
        "scaleTargetRef": {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name},
        "pollingInterval": keda.polling_seconds,
        **idle,
        "minReplicaCount": bounds.low,
        "maxReplicaCount": bounds.high,
        "fallback": _fallback(bounds),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(bounds)}},
        "triggers": [_trigger(bounds, keda, asked)],
    }


def _fallback(bounds: Bounds) -> Json:
    """What holds when we have no fresh plan: the count that there is (pkg/fallback/fallback.go, doFallback).

    ``replicas`` is not read for this behaviour, and must not be 0: with that, an error at minReplicaCount 0 scales to
    zero (pkg/scaling/executor/scale_scaledobjects.go). A KEDA before 2.17 drops ``behavior`` and takes ``replicas``
    for the count, which may then be too high and must not be too low: nothing shrinks because something broke.
    """
    return {"failureThreshold": FAILURES, "replicas": bounds.high, "behavior": "currentReplicas"}


def _behavior(bounds: Bounds) -> Json:
    """No dead band, no window, and any step at once: a tolerance of 0 is what makes 20 -> 21 sayable."""
    up = {"type": "Pods", "value": bounds.high, "periodSeconds": STEP_S}
    down = {"type": "Percent", "value": 100, "periodSeconds": STEP_S}
    return {"scaleUp": _side(up), "scaleDown": _side(down)}


def _side(widest: Json) -> Json:
    return {"tolerance": "0", "stabilizationWindowSeconds": 0, "policies": [widest]}


def _trigger(bounds: Bounds, keda: Keda, asked: dict[str, str]) -> Json:
    """How KEDA asks us. It needs to be told at once only where it may itself have to leave zero.

    Elsewhere a stream for each ScaledObject would be open for nothing.
    """
    encrypted = {} if keda.tls is None else {"enableTLS": "true"}
    trigger = {
        "type": "external-push" if bounds.low == 0 else "external",
        "metricType": METRIC_TYPE,
        "metadata": {"scalerAddress": keda.scaler_address, **encrypted, **asked},
    }
    if keda.tls is None or keda.tls.authentication_ref is None:
        return trigger
    ref = keda.tls.authentication_ref
    return {**trigger, "authenticationRef": {"kind": ref.kind.value, "name": ref.name}}
