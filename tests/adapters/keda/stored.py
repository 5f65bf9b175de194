"""ScaledObjects and HPAs as the API server keeps them: what fits a policy, with the difference that a test is about."""

import json
from typing import Any, Final

from scaler.adapters.keda.scaled_object import connection_of, scaled_objects
from scaler.api.v1alpha1 import ScalingPolicy
from tests.adapters.differences import merged
from tests.api.builders import ONE_VERSION, policy

Json = dict[str, Any]

POLICY_UID: Final = "uid-policy-llama"


def one_version(**changes: object) -> ScalingPolicy:
    """A policy of one version for 1 to 21 replicas, which KEDA actuates."""
    wanted = {"spec__actuation": "KEDA", "spec__replicas": {"min": 1, "max": 21}, "metadata__uid": POLICY_UID}
    return policy(ONE_VERSION, **{**wanted, **changes})


def scaled_object(document: ScalingPolicy | None = None, **difference: Any) -> Json:
    """The ScaledObject of the first target of ``document``, as it is stored."""
    document = document or one_version()
    made = json.loads(json.dumps(scaled_objects(document, connection_of(document))[0]))
    made["metadata"] |= {"uid": "uid-so", "generation": 1}
    return merged(made, difference)


def behavior(side: str, **rules: Any) -> Json:
    """A difference in one side of a ScaledObject's behaviour."""
    return {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": {side: rules}}}}


def hpa(of: Json | None = None, **difference: Any) -> Json:
    """The HPA that KEDA makes of a ScaledObject."""
    of = scaled_object() if of is None else of
    name, spec = of["metadata"]["name"], of["spec"]
    target = {"type": spec["triggers"][0]["metricType"], "averageValue": "1"}
    metric = {"name": "s0-forebay-replicas", "selector": {"matchLabels": {"scaledobject.keda.sh/name": name}}}
    made = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": f"keda-hpa-{name}",
            "namespace": of["metadata"]["namespace"],
            "uid": "uid-hpa",
            "labels": {"app.kubernetes.io/version": "2.21.0"},
            "ownerReferences": [{"kind": "ScaledObject", "name": name, "uid": "uid-so", "controller": True}],
        },
        "spec": {
            "scaleTargetRef": spec["scaleTargetRef"],
            "minReplicas": max(spec.get("minReplicaCount", 0), 1),
            "maxReplicas": spec["maxReplicaCount"],
            "metrics": [{"type": "External", "external": {"metric": metric, "target": target}}],
            "behavior": spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior"),
        },
    }
    return merged(json.loads(json.dumps(made)), difference)


CPU: Final[Json] = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}
"""What Kubernetes fills in where an HPA has no metric."""
