"""ScaledObjects and HorizontalPodAutoscalers as the few fields that decide whether KEDA can follow us. Pure.

What the API server or KEDA fills in where a field is left out is filled in here, so that a reader sees what holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from kubernetes.utils.quantity import parse_quantity

from scaler.adapters.keda.contract import POLICY, ROLE, VERSION

Json: TypeAlias = dict[str, Any]

SCALED_OBJECT: Final = "ScaledObject"
SCALING_POLICY: Final = "ScalingPolicy"

KEDA_MIN: Final = 0
KEDA_MAX: Final = 100
"""What KEDA takes where a ScaledObject leaves its bounds out (apis/keda/v1alpha1/scaledobject_types.go)."""

SHRINK_WINDOW_S: Final = 300
"""What the HPA takes where scaleDown names no window; where scaleUp names none, it is 0."""

PAUSED: Final = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS: Final = "autoscaling.keda.sh/paused-replicas"
PAUSED_IN: Final = "autoscaling.keda.sh/paused-scale-in"
PAUSED_OUT: Final = "autoscaling.keda.sh/paused-scale-out"

FALSE_WORDS: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""What Go's ParseBool takes for false; KEDA counts all else as true, even what is no boolean at all."""

AT_ZERO: Final = "ScalingDisabled"
"""Why an HPA rests at zero replicas, from where only KEDA lifts them."""

KEDA_VERSION: Final = "app.kubernetes.io/version"
"""The label by which KEDA says on an HPA what version made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """How the HPA treats one direction. ``tolerance`` is the share that it ignores, None for the cluster's own."""

    tolerance: Decimal | None
    window_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSeen:
    """One trigger of a ScaledObject. What it asks for is None where its metadata does not say."""

    kind: str
    metric_type: str
    policy: str | None
    version: str | None
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackSeen:
    """What a ScaledObject falls back to when nobody answers."""

    behavior: str
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledObjectSeen:
    """A ScaledObject. ``owner`` is the uid of the policy that owns it, whose ``spec`` is kept as a whole then.

    ``pauses`` are the annotations by which KEDA stops following, ``is_held`` says that it follows in no direction.
    ``trouble`` is why KEDA calls it not ready, ``is_falling_back`` that nobody has answered KEDA for a while.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    triggers: tuple[TriggerSeen, ...]
    low: int
    high: int
    idle: int | None
    up: Side
    down: Side
    fallback: FallbackSeen | None = None
    pauses: tuple[str, ...] = ()
    is_held: bool = False
    trouble: str | None = None
    is_falling_back: bool = False
    owner: str | None = None
    spec: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeen:
    """One metric of an HPA: its source (Resource, External), its name, and what its target is a measure of."""

    source: str
    name: str
    target_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaSeen:
    """An HPA. ``made_by`` is the ScaledObject behind it, ``keda_version`` the KEDA that made it, where it says so.

    ``inactive`` is why it cannot tell a count, None where it can, and where it rests because there is no replica.
    """

    namespace: str
    name: str
    made_by: str | None
    metrics: tuple[MetricSeen, ...]
    up: Side
    down: Side
    keda_version: str | None = None
    inactive: str | None = None


def scaled_object_seen(thing: Json) -> ScaledObjectSeen:
    """What is used of a ScaledObject."""
    metadata, spec = thing["metadata"], thing.get("spec") or {}
    config = (spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    up, down = _sides(config.get("behavior") or {})
    pauses = _pauses(metadata.get("annotations") or {})
    conditions = {each.get("type"): each for each in (thing.get("status") or {}).get("conditions") or ()}
    owner = _owner(metadata)
    return ScaledObjectSeen(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=_whole(metadata.get("generation"), 0),
        triggers=tuple(_trigger(each) for each in spec.get("triggers") or ()),
        low=_whole(spec.get("minReplicaCount"), KEDA_MIN),
        high=_whole(spec.get("maxReplicaCount"), KEDA_MAX),
        idle=spec.get("idleReplicaCount"),
        up=up,
        down=down,
        fallback=_fallback(spec.get("fallback")),
        pauses=pauses,
        is_held=bool({PAUSED, PAUSED_REPLICAS} & {pause.partition("=")[0] for pause in pauses}),
        trouble=_trouble(conditions.get("Ready")),
        is_falling_back=(conditions.get("Fallback") or {}).get("status") == "True",
        owner=owner,
        spec=spec if owner is not None else None,
    )


def hpa_seen(thing: Json) -> HpaSeen:
    """What is used of a HorizontalPodAutoscaler (autoscaling/v2)."""
    metadata, spec = thing["metadata"], thing.get("spec") or {}
    up, down = _sides(spec.get("behavior") or {})
    owners = metadata.get("ownerReferences") or ()
    return HpaSeen(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        made_by=next((each["name"] for each in owners if each.get("kind") == SCALED_OBJECT), None),
        metrics=tuple(_metric(each) for each in spec.get("metrics") or ()),
        up=up,
        down=down,
        keda_version=(metadata.get("labels") or {}).get(KEDA_VERSION),
        inactive=_inactive((thing.get("status") or {}).get("conditions") or ()),
    )


def _sides(behavior: Json) -> tuple[Side, Side]:
    return _side(behavior.get("scaleUp") or {}, 0), _side(behavior.get("scaleDown") or {}, SHRINK_WINDOW_S)


def _side(rules: Json, window_s: int) -> Side:
    tolerance, window = rules.get("tolerance"), rules.get("stabilizationWindowSeconds")
    return Side(
        tolerance=None if tolerance is None else _quantity(tolerance),
        window_s=_whole(window, window_s),
    )


def _quantity(text: Any) -> Decimal | None:
    """A quantity as its number. One that is none counts as left out: who scales a target must be known all the same."""
    try:
        return Decimal(parse_quantity(text))  # type: ignore[no-untyped-call]  # its package has no types
    except (ValueError, ArithmeticError):
        return None


def _whole(value: Any, default: int) -> int:
    """A whole number, or what holds where there is none."""
    return value if isinstance(value, int) else default


def _trigger(trigger: Json) -> TriggerSeen:
    metadata = trigger.get("metadata") or {}
    return TriggerSeen(
        kind=trigger.get("type") or "",
        metric_type=trigger.get("metricType") or "AverageValue",
        policy=metadata.get(POLICY),
        version=metadata.get(VERSION),
        role=metadata.get(ROLE) or "Serve",
    )


def _fallback(fallback: Json | None) -> FallbackSeen | None:
    if fallback is None:
        return None
    return FallbackSeen(behavior=fallback.get("behavior") or "static", replicas=_whole(fallback.get("replicas"), 0))


def _pauses(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The annotations in force, as ``name=value``. A count pauses whatever it is; the others unless they are false."""
    flags = (PAUSED, PAUSED_IN, PAUSED_OUT)
    found = [name for name in flags if name in annotations and annotations[name] not in FALSE_WORDS]
    counted = [PAUSED_REPLICAS] if PAUSED_REPLICAS in annotations else []
    return tuple(f"{name}={annotations[name]}" for name in (*counted, *found))


def _trouble(ready: Json | None) -> str | None:
    if ready is None or ready.get("status") != "False":
        return None
    return ready.get("message") or ready.get("reason") or "no reason given"


def _inactive(conditions: Iterable[Json]) -> str | None:
    told = (each for each in conditions if each.get("type") == "ScalingActive" and each.get("status") == "False")
    said = ((each.get("reason"), each.get("message")) for each in told)
    return next((message or reason or "no reason given" for reason, message in said if reason != AT_ZERO), None)


def _owner(metadata: Json) -> str | None:
    owners: Iterable[Json] = metadata.get("ownerReferences") or ()
    return next((each.get("uid") for each in owners if each.get("kind") == SCALING_POLICY), None)


def _metric(metric: Json) -> MetricSeen:
    """A metric; its details are under a name that is its source's, with a small letter."""
    source = metric.get("type") or ""
    details = metric.get(f"{source[:1].lower()}{source[1:]}") or {}
    return MetricSeen(
        source=source,
        name=(details.get("metric") or {}).get("name") or details.get("name") or "",
        target_type=(details.get("target") or {}).get("type") or "",
    )
