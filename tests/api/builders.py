"""A good document, and the ways to differ from it."""

import json
from typing import Any, Final

import yaml

from scaler.api.documents import check_object
from scaler.api.v1alpha1 import ScalingPolicy

REMOVED: Final = object()
"""In a difference: the field is left out."""

ONE_VERSION: Final = """
apiVersion: forebay.dev/v1alpha1
kind: ScalingPolicy
metadata: {name: llama, namespace: models}
spec:
  signals: {engine: VLLM}
  versions:
  - name: v1
    targets: [{targetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-v1}}]
  replicas: {max: 4}
"""

TWO_VERSIONS: Final = """
apiVersion: forebay.dev/v1alpha1
kind: ScalingPolicy
metadata: {name: llama, namespace: models}
spec:
  signals: {engine: VLLM, modelName: llama-3.1-8b, inferencePoolRef: {name: llama}, staleSeconds: 60}
  versions:
  - name: v1
    targets: [{role: Serve, targetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-v1}}]
    backendRef: {kind: Service, name: llama-v1, port: 8000}
  - name: v2
    targets:
    - {role: Prefill, targetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-v2-prefill}, replicas: {min: 1}}
    - {role: Decode, targetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-v2-decode}}
    backendRef: {kind: InferencePool, name: llama-v2}
  release:
    version: v2
    routeRef: {kind: HTTPRoute, name: llama, rule: chat}
    steps: [{weightPercent: 5, holdSeconds: 300}, {weightPercent: 100}]
    analysis: {minRequests: 200}
  replicas: {min: 1, max: 4}
  warmPool:
    floor: 2
    schedules:
    - {name: day, timeZone: Europe/Berlin, days: [Mon, Tue], start: "08:00", end: "18:00", floor: 3}
  objectives:
    timeToFirstToken: {percentile: 95, milliseconds: 2000}
    interTokenLatency: {percentile: 99.5, milliseconds: 60}
  loading: {expectedSeconds: 300, budgetSeconds: 1800}
  behavior:
    scaleUp: {stepReplicas: 4, periodSeconds: 60}
    scaleDown: {holdSeconds: 600, stepPercent: 25, periodSeconds: 60}
    flapsPerHour: 2
  capacity: {priority: 10}
  actuation: KEDA
  keda:
    managed: true
    scalerAddress: forebay-scaler.forebay.svc:9443
    tls: {authenticationRef: {kind: TriggerAuthentication, name: forebay-client}}
    pollingSeconds: 10
"""


def tree(text: str = TWO_VERSIONS, **changes: object) -> dict[str, Any]:
    """The document ``text`` with ``changes``: the way to a field with ``__`` between its parts, and its new value."""
    root = yaml.safe_load(text)
    for path, value in changes.items():
        *way, last = (int(part) if part.isdigit() else part for part in path.split("__"))
        holder = root
        for part in way:
            holder = holder[part] if isinstance(part, int) else holder.setdefault(part, {})
        if value is REMOVED:
            del holder[last]
        else:
            holder[last] = value
    # By way of JSON no part is shared, so that YAML has no anchors to make of it.
    whole: dict[str, Any] = json.loads(json.dumps(root))
    return whole


def policy(text: str = TWO_VERSIONS, **changes: object) -> ScalingPolicy:
    """The same, read; it must be sound."""
    read = check_object(tree(text, **changes), file="test.yaml")
    assert isinstance(read, ScalingPolicy), [str(fault) for fault in read]
    return read
