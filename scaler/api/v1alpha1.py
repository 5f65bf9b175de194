"""ScalingPolicy, forebay.dev/v1alpha1: the one source of its schema, its defaults and its limits.

The CRD is generated from these models (crd.py) and files are read into them (documents.py). Each rule across fields
stands below the fields it binds, in CEL and in Python. The status, which the controller writes, is in status.py.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from scaler.api.fields import (
    ApiVersion,
    Count,
    DnsLabel,
    DnsName,
    Kind,
    LabelValue,
    Port,
    PromQL,
    SomeReplicas,
    keyed_by,
)
from scaler.api.keda import Keda
from scaler.api.release import Release
from scaler.api.rules import HERE, Breach, Spec, at_most, once, rule
from scaler.api.sizing import Behavior, Capacity, Loading, Objectives, Replicas, ScaleToZero, WarmPool
from scaler.api.status import Status
from scaler.core.model import Actuation, Role

GROUP: Final = "forebay.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "ScalingPolicy"
API_VERSION: Final = "forebay.dev/v1alpha1"
PAUSED: Final = "forebay.dev/paused"
"""The annotation that makes the controller hold: present with any value but "false", it pauses."""

MAX_VERSIONS: Final = 8


class Engine(Enum):
    """Whose metrics tell the demand."""

    VLLM = "VLLM"
    SGLANG = "SGLang"
    TENSORRT_LLM = "TensorRTLLM"
    TGI = "TGI"
    TEI = "TEI"
    CUSTOM = "Custom"


class BackendKind(Enum):
    """What a route may send a version's traffic to."""

    SERVICE = "Service"
    INFERENCE_POOL = "InferencePool"


# --- Signals -----------------------------------------------------------------------------------------------------


class Queries(Spec):
    """PromQL for a worker that is none of the known engines; each gives one number for the whole service."""

    demand: PromQL
    """All work in hand, under way and waiting, in any unit."""
    waiting: PromQL | None = None
    """The part of the demand that nobody works on yet, in the same unit."""
    capacity: PromQL
    """The demand that one replica carries within the objectives, in the same unit."""


class InferencePoolRef(Spec):
    """An InferencePool in the policy's namespace."""

    name: DnsName
    """Its name."""


class Signals(Spec):
    """Where demand is read from."""

    engine: Engine
    """The engine whose metrics the replicas serve; Custom brings its own queries."""
    model_name: LabelValue | None = None
    """The value of the engine's model label; left out, it is metadata.name."""
    inference_pool_ref: InferencePoolRef | None = None
    """The pool whose endpoint picker's queue and saturation count too."""
    stale_seconds: Annotated[int, Field(strict=True, ge=10, le=3600)] = 90
    """The age at which a sample no longer counts."""
    queries: Queries | None = None
    """The queries of the engine Custom."""

    @rule(
        cel="self.engine == 'Custom' || !has(self.queries)",
        at="queries",
        says="must be left out unless the engine is Custom",
    )
    def only_custom_has_queries(self) -> Iterator[Breach]:
        """A known engine's metrics are known; queries beside them would be silently unused."""
        if self.queries is not None and self.engine is not Engine.CUSTOM:
            text = f"must be left out unless {HERE}engine is Custom, and it is {self.engine.value}"
            yield Breach(at=("queries",), value=None, text=text)

    @rule(cel="self.engine != 'Custom' || has(self.queries)", at="queries", says="is required with the engine Custom")
    def custom_has_queries(self) -> Iterator[Breach]:
        """Without queries nothing would be known of a custom worker."""
        if self.queries is None and self.engine is Engine.CUSTOM:
            yield Breach(at=("queries",), value=None, text=f"is required, because {HERE}engine is Custom")


# --- Versions ----------------------------------------------------------------------------------------------------


class TargetRef(Spec):
    """An object with a /scale subresource in the policy's namespace."""

    api_version: ApiVersion
    """Its API group and version, such as apps/v1."""
    kind: Kind
    """Its kind, such as Deployment."""
    name: DnsName
    """Its name."""


class TargetReplicas(Spec):
    """Bounds that narrow spec.replicas for one target."""

    min: Count | None = None
    """The least this target may have."""
    max: SomeReplicas | None = None
    """The most this target may have."""

    @rule(
        cel="!has(self.min) || !has(self.max) || self.min <= self.max",
        at="min",
        says="must be at most max",
    )
    def min_within_max(self) -> Iterator[Breach]:
        """The range must not be empty."""
        if self.min is not None and self.max is not None:
            yield from at_most(("min",), self.min, "max", self.max)


class Target(Spec):
    """A scalable object that does one role's work for a version."""

    role: Role = Role.SERVE
    """Serve does both halves; Prefill and Decode are the two halves apart."""
    target_ref: TargetRef
    """The object that is scaled."""
    replicas: TargetReplicas | None = None
    """Narrows spec.replicas for this target."""


class BackendRef(Spec):
    """What the route sends this version's traffic to, in the policy's namespace."""

    kind: BackendKind = BackendKind.SERVICE
    """Service or InferencePool."""
    name: DnsName
    """Its name."""
    port: Port | None = None
    """The Service's port; an InferencePool has none."""

    @rule(cel="self.kind != 'Service' || has(self.port)", at="port", says="is required for a Service")
    def a_service_has_a_port(self) -> Iterator[Breach]:
        """A route cannot name a Service without its port."""
        if self.kind is BackendKind.SERVICE and self.port is None:
            yield Breach(at=("port",), value=None, text="is required for a Service")

    @rule(
        cel="self.kind != 'InferencePool' || !has(self.port)",
        at="port",
        says="must be left out for an InferencePool, which knows its own ports",
    )
    def a_pool_has_none(self) -> Iterator[Breach]:
        """The pool's own targetPorts are what counts."""
        if self.kind is BackendKind.INFERENCE_POOL and self.port is not None:
            text = "must be left out for an InferencePool, which knows its own ports"
            yield Breach(at=("port",), value=self.port, text=text)


class ModelVersion(Spec):
    """One version of the model and what serves it."""

    name: DnsLabel
    """The name by which release.version calls it."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=2), keyed_by("role")]
    """One Serve target, or one Prefill and one Decode."""
    backend_ref: BackendRef | None = None
    """Where the route sends this version's traffic; required with a release."""

    @rule(cel=None, at="targets", says="must have each role once only")
    def each_role_once(self) -> Iterator[Breach]:
        """The API server keeps this by the list's key."""
        yield from once(("targets",), "role", [target.role.value for target in self.targets])

    @rule(
        cel="self.targets.exists(t, t.role == 'Serve') ? self.targets.size() == 1 : self.targets.size() == 2",
        at="targets",
        says="must be one Serve target, or one Prefill and one Decode",
    )
    def whole_or_two_halves(self) -> Iterator[Breach]:
        """Half a version cannot answer a request."""
        roles = {target.role for target in self.targets}
        if roles not in ({Role.SERVE}, {Role.PREFILL, Role.DECODE}):
            names = ", ".join(target.role.value for target in self.targets)
            text = f"must be one Serve target, or one Prefill and one Decode, and has {names}"
            yield Breach(at=("targets",), value=None, text=text)


# --- The whole ---------------------------------------------------------------------------------------------------


class ScalingPolicySpec(Spec):
    """What should be; the user's alone to edit."""

    signals: Signals
    """Where demand is read from."""
    versions: Annotated[tuple[ModelVersion, ...], Field(min_length=1, max_length=MAX_VERSIONS), keyed_by("name")]
    """The versions of the model that may serve."""
    release: Release | None = None
    """Which of them should serve; required with more than one."""
    replicas: Replicas
    """The bounds of one role's replicas over all versions."""
    scale_to_zero: ScaleToZero | None = None
    """Lets the last replica go while nothing comes; only with replicas.min 0."""
    warm_pool: WarmPool = Field(default_factory=WarmPool)
    """Ready replicas that are kept whatever the demand."""
    objectives: Objectives = Field(default_factory=Objectives)
    """What the users of the model should notice."""
    loading: Loading = Field(default_factory=Loading)
    """What a start is expected to take."""
    behavior: Behavior = Field(default_factory=Behavior)
    """How fast the target may move."""
    capacity: Capacity = Field(default_factory=Capacity)
    """This model's standing where GPUs are short."""
    actuation: Actuation = Actuation.SCALE
    """Scale: we write /scale. KEDA: KEDA and the HPA write what we answer. Advise: we only say."""
    keda: Keda | None = None
    """How KEDA and we meet; only with the actuation KEDA."""

    @rule(
        cel="self.replicas.min > 0 || has(self.scaleToZero)",
        at="replicas.min",
        says="must be at least 1, or have a scaleToZero beside it: at 0 the first request waits for a whole start",
    )
    def zero_is_asked_for(self) -> Iterator[Breach]:
        """Who asks for zero should know what it costs: a 0 alone is as easily a slip."""
        if self.replicas.min == 0 and self.scale_to_zero is None:
            seconds = self.loading.expected_seconds
            text = (
                f"must be at least 1: at 0 the first request waits for a whole start ({seconds} s by {HERE}loading."
                f"expectedSeconds, until it is measured); if that is wanted, add {HERE}scaleToZero with its "
                "idleSeconds and, for the way back, a demandQuery"
            )
            yield Breach(at=("replicas", "min"), value=0, text=text)

    @rule(
        cel="!has(self.scaleToZero) || self.replicas.min == 0",
        at="scaleToZero",
        says="must be left out unless replicas.min is 0",
    )
    def only_zero_is_gone_to(self) -> Iterator[Breach]:
        """Above zero it would be silently unused."""
        if self.scale_to_zero is not None and self.replicas.min > 0:
            text = f"must be left out unless {HERE}replicas.min is 0, and it is {self.replicas.min}"
            yield Breach(at=("scaleToZero",), value=None, text=text)

    @rule(
        cel="!has(self.scaleToZero) || has(self.scaleToZero.demandQuery) || has(self.signals.inferencePoolRef) || "
        "self.signals.engine == 'Custom'",
        at="scaleToZero.demandQuery",
        says="is required, because no replica is left to say that requests come: or name signals.inferencePoolRef",
    )
    def zero_is_left_again(self) -> Iterator[Breach]:
        """Of a model without a replica, its engines say nothing."""
        told = self.signals.inference_pool_ref is not None or self.signals.engine is Engine.CUSTOM
        if self.scale_to_zero is not None and self.scale_to_zero.demand_query is None and not told:
            text = (
                "is required, because no replica is left to say that requests come: give PromQL of what your gateway "
                f"sees, or name {HERE}signals.inferencePoolRef"
            )
            yield Breach(at=("scaleToZero", "demandQuery"), value=None, text=text)

    @rule(
        cel="!has(self.scaleToZero) || self.versions.all(v, v.targets.all(t, t.role == 'Serve'))",
        at="scaleToZero",
        says="must be left out with the roles Prefill and Decode, which are not taken to zero and back together",
    )
    def halves_stay(self) -> Iterator[Breach]:
        """Two roles would have to go, and to come back, as one."""
        if self.scale_to_zero is not None and any(
            target.role is not Role.SERVE for version in self.versions for target in version.targets
        ):
            text = "must be left out with the roles Prefill and Decode, which are not taken to zero and back together"
            yield Breach(at=("scaleToZero",), value=None, text=text)

    @rule(
        cel="self.actuation == 'KEDA' || !has(self.keda)",
        at="keda",
        says="must be left out unless the actuation is KEDA",
    )
    def only_keda_has_keda(self) -> Iterator[Breach]:
        """Where KEDA is not to write, a ScaledObject would be a second writer."""
        if self.keda is not None and self.actuation is not Actuation.KEDA:
            text = f"must be left out unless {HERE}actuation is KEDA, and it is {self.actuation.value}"
            yield Breach(at=("keda",), value=None, text=text)

    @rule(cel=None, at="versions", says="must have each name once only")
    def each_name_once(self) -> Iterator[Breach]:
        """The API server keeps this by the list's key."""
        yield from once(("versions",), "name", [version.name for version in self.versions])

    @rule(
        cel="self.versions.size() == 1 || has(self.release)",
        at="release",
        says="is required with more than one version",
    )
    def several_versions_need_a_release(self) -> Iterator[Breach]:
        """Nothing else says which of them should serve."""
        if len(self.versions) > 1 and self.release is None:
            text = (
                f"is required, because {HERE}versions has {len(self.versions)} entries: name the one that should serve"
            )
            yield Breach(at=("release",), value=None, text=text)

    @rule(
        cel="!has(self.release) || self.versions.exists(v, v.name == self.release.version)",
        at="release.version",
        says="must be the name of one of the versions",
    )
    def the_release_names_a_version(self) -> Iterator[Breach]:
        """A release to nothing would drain what serves."""
        names = [version.name for version in self.versions]
        if self.release is not None and self.release.version not in names:
            text = f"must be the name of one of {HERE}versions ({', '.join(names)})"
            yield Breach(at=("release", "version"), value=self.release.version, text=text)

    @rule(
        cel="!has(self.release) || self.versions.all(v, has(v.backendRef))",
        at="versions",
        says="must each have a backendRef, because a release is given",
    )
    def a_routed_version_has_a_backend(self) -> Iterator[Breach]:
        """A weight needs something in the route that it belongs to."""
        if self.release is None:
            return
        for index, version in enumerate(self.versions):
            if version.backend_ref is None:
                text = f"is required, because {HERE}release is given"
                yield Breach(at=("versions", index, "backendRef"), value=None, text=text)

    @rule(
        cel="self.versions.all(v, !has(v.backendRef) || self.versions.all(w, w.name == v.name || "
        "!has(w.backendRef) || w.backendRef.kind != v.backendRef.kind || w.backendRef.name != v.backendRef.name))",
        at="versions",
        says="must each have a backendRef of its own",
    )
    def each_backend_once(self) -> Iterator[Breach]:
        """Two versions behind one Service cannot be told apart by weights."""
        seen: dict[tuple[str, str], int] = {}
        for index, version in enumerate(self.versions):
            if (ref := version.backend_ref) is None:
                continue
            first = seen.setdefault((ref.kind.value, ref.name), index)
            if first != index:
                text = f"must be another one than {HERE}versions[{first}].backendRef"
                yield Breach(at=("versions", index, "backendRef", "name"), value=ref.name, text=text)

    @rule(
        cel="self.versions.all(v, v.targets.all(t, "
        "self.versions.exists_one(w, w.targets.exists_one(u, u.targetRef == t.targetRef))))",
        at="versions",
        says="must each have a targetRef of their own",
    )
    def each_target_once(self) -> Iterator[Breach]:
        """One object cannot follow two counts."""
        seen: dict[TargetRef, str] = {}
        for index, version in enumerate(self.versions):
            for place, target in enumerate(version.targets):
                here = f"versions[{index}].targets[{place}].targetRef"
                first = seen.setdefault(target.target_ref, here)
                if first != here:
                    at = ("versions", index, "targets", place, "targetRef", "name")
                    text = f"must be another object than {HERE}{first}"
                    yield Breach(at=at, value=target.target_ref.name, text=text)

    @rule(
        cel="self.versions.all(v, v.targets.all(t, !has(t.replicas) || "
        "((!has(t.replicas.min) || t.replicas.min <= self.replicas.max) && "
        "(!has(t.replicas.max) || t.replicas.max <= self.replicas.max))))",
        at="versions",
        says="must not have a target with replicas above replicas.max",
    )
    def targets_only_narrow(self) -> Iterator[Breach]:
        """A bound of one target above that of all would never be reached."""
        for index, version in enumerate(self.versions):
            for place, target in enumerate(version.targets):
                bounds = {} if target.replicas is None else {"min": target.replicas.min, "max": target.replicas.max}
                for bound, value in bounds.items():
                    at = ("versions", index, "targets", place, "replicas", bound)
                    yield from at_most(at, value or 0, "replicas.max", self.replicas.max)

    @rule(
        cel="self.warmPool.floor <= self.replicas.max",
        at="warmPool.floor",
        says="must be at most replicas.max",
    )
    def floor_within_max(self) -> Iterator[Breach]:
        """A floor above the ceiling can never be kept."""
        yield from at_most(("warmPool", "floor"), self.warm_pool.floor, "replicas.max", self.replicas.max)

    @rule(
        cel="self.warmPool.schedules.all(s, s.floor <= self.replicas.max)",
        at="warmPool.schedules",
        says="must not have a floor above replicas.max",
    )
    def scheduled_floors_within_max(self) -> Iterator[Breach]:
        """The same, for its hours."""
        for index, schedule in enumerate(self.warm_pool.schedules):
            at = ("warmPool", "schedules", index, "floor")
            yield from at_most(at, schedule.floor, "replicas.max", self.replicas.max)


class Metadata(Spec):
    """The object's name and what the API server keeps beside it; of these we read only the first five."""

    name: DnsName
    """The policy's name."""
    namespace: DnsLabel = "default"
    """Its namespace; a file that names none means "default"."""
    labels: dict[str, str] = Field(default_factory=dict)
    """The user's labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """The user's annotations."""
    generation: int | None = None
    """Counts the changes of the spec."""
    uid: str | None = None
    """Tells this object from an earlier one of the same name."""
    resource_version: str | None = None
    """Tells this state of it from an earlier one."""
    creation_timestamp: str | None = None
    """When it was created."""
    deletion_timestamp: str | None = None
    """When it is to be gone."""
    deletion_grace_period_seconds: int | None = None
    """How long that may take."""
    finalizers: tuple[str, ...] = ()
    """Who must still let it go."""
    owner_references: tuple[dict[str, Any], ...] = ()
    """Whose child it is."""
    managed_fields: tuple[dict[str, Any], ...] = ()
    """Who wrote which field."""


class ScalingPolicy(Spec):
    """Keeps the replicas of one model, over all its versions, where its demand and its load time want them."""

    api_version: Literal["forebay.dev/v1alpha1"] = API_VERSION
    """forebay.dev/v1alpha1."""
    kind: Literal["ScalingPolicy"] = KIND
    """ScalingPolicy."""
    metadata: Metadata
    """Its name, and what the API server keeps beside it."""
    spec: ScalingPolicySpec
    """What should be."""
    status: Status | None = None
    """What the controller says of it."""
