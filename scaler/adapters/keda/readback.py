"""Whether KEDA can follow a policy: what its ScaledObjects and their HPAs say, against what they should say. Pure.

Each finding is a sentence that says what is wrong, what it costs and what to do. The API server, an older KEDA or a
person may each drop or change a field after it was written, so what is stored is what counts. Statements about KEDA are
of v2.21.0, those about the HPA of Kubernetes 1.36.3; the files are named.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor
from typing import Final

from scaler.adapters.keda.contract import METRIC_NAME, METRIC_TYPE
from scaler.adapters.keda.scaled_object import Bounds, bounds_of
from scaler.adapters.keda.seen import HpaSeen, MetricSeen, ScaledObjectSeen
from scaler.api.status import Status
from scaler.api.v1alpha1 import ModelVersion, ScalingPolicy, Target
from scaler.core.plan import Condition

CONDITION: Final = "KEDAReady"

CLUSTER_TOLERANCE: Final = Decimal("0.1")
"""What the HPA ignores where it is told nothing (--horizontal-pod-autoscaler-tolerance)."""

HOLDING: Final = frozenset({"currentReplicas", "currentReplicasIfHigher"})
"""The fallbacks by which an outage shrinks nothing (pkg/fallback/fallback.go, doFallback)."""


UNANSWERED: Final = "no metric specs returned from scalers"
"""KEDA's words where a ScaledObject got no specification, and no HPA of it (controllers/keda/hpa.go)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that keeps KEDA from following: a stable word, fit for a condition's reason, and its sentence."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What scales one target: the ScaledObjects and HPAs that name it."""

    scaled_objects: tuple[ScaledObjectSeen, ...] = ()
    hpas: tuple[HpaSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One target, and the policy by which it should be scaled."""

    policy: ScalingPolicy
    version: ModelVersion
    target: Target
    status: Status | None

    @property
    def place(self) -> str:
        """The target, as sentences call it."""
        return f"{self.target.target_ref.kind} {self.target.target_ref.name}"

    @property
    def is_managed(self) -> bool:
        """Whether the policy is to own the target's ScaledObject."""
        return self.policy.spec.keda is not None and self.policy.spec.keda.managed

    @property
    def bounds(self) -> Bounds:
        """The bounds that its ScaledObject should have."""
        return bounds_of(self.policy.spec, self.target)

    @property
    def load_told(self) -> str:
        """How long a start takes, as far as that is known: measured, or else as the policy expects it."""
        for learned in () if self.status is None else self.status.learned:
            load = learned.load_seconds
            if (learned.name, learned.role) == (self.version.name, self.target.role) and load is not None:
                return f"{load.p90:.0f} s in one of ten of {load.samples} measured starts"
        return f"about {self.policy.spec.loading.expected_seconds} s by loading.expectedSeconds, until it is measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked of a target, with the one ScaledObject that scales it, and its HPA (None while there is none)."""

    asked: Asked
    so: ScaledObjectSeen
    hpa: HpaSeen | None

    @property
    def metrics(self) -> tuple[MetricSeen, ...]:
        """What its HPA scales by."""
        return () if self.hpa is None else self.hpa.metrics

    @property
    def so_named(self) -> str:
        """The ScaledObject, as sentences call it."""
        return f"ScaledObject {self.so.name}"


def findings(
    policy: ScalingPolicy, scaling: Mapping[tuple[str, str], Scaling], status: Status | None = None
) -> tuple[Finding, ...]:
    """What keeps KEDA from following ``policy``, the worst of each target first; empty when nothing does.

    ``scaling`` is by kind and name of the target, ``status`` the policy's own, where its load times were learned.
    """
    return tuple(
        finding
        for version in policy.spec.versions
        for target in version.targets
        for finding in _of_target(Asked(policy=policy, version=version, target=target, status=status), scaling)
    )


def condition(found: Sequence[Finding]) -> Condition:
    """The condition KEDAReady: False with all that was found, whose reason is that of the first."""
    if not found:
        message = "each target's ScaledObject asks for its count, and its HPA obeys every step"
        return Condition(type=CONDITION, status=True, reason="Follows", message=message)
    message = "; ".join(finding.text for finding in found)
    return Condition(type=CONDITION, status=False, reason=found[0].reason, message=message)


def unknown(why: str) -> Condition:
    """The condition KEDAReady where the ScaledObjects or the HPAs cannot be seen."""
    return Condition(type=CONDITION, status=None, reason="NotSeen", message=why)


def not_installed() -> Condition:
    """The condition KEDAReady in a cluster that knows no ScaledObjects."""
    message = "KEDA is not installed, so nobody writes the counts: install it, or set spec.actuation to Scale or Advise"
    return Condition(type=CONDITION, status=False, reason="NoKEDA", message=message)


def _of_target(asked: Asked, scaling: Mapping[tuple[str, str], Scaling]) -> Iterator[Finding]:
    ref = asked.target.target_ref
    found = scaling.get((ref.kind, ref.name), Scaling())
    yield from _others(asked.place, found)
    if not found.scaled_objects:
        yield _no_scaled_object(asked)
    if len(found.scaled_objects) != 1:
        return
    (so,) = found.scaled_objects
    hpa = next((each for each in found.hpas if each.made_by == so.name), None)
    case = Case(asked=asked, so=so, hpa=hpa)
    for check in CHECKS:
        yield from check(case)


def _others(place: str, found: Scaling) -> Iterator[Finding]:
    """Who else scales the target. KEDA's webhook refuses a second ScaledObject, but not every cluster runs it."""
    if len(found.scaled_objects) > 1:
        names = " and ".join(sorted(each.name for each in found.scaled_objects))
        text = (
            f"{place} is scaled by the ScaledObjects {names}, whose HPAs undo each other's counts: delete all but one"
        )
        yield Finding(reason="TwoScaledObjects", text=text)
    known = {each.name for each in found.scaled_objects}
    for hpa in found.hpas:
        if hpa.made_by not in known:
            text = f"HorizontalPodAutoscaler {hpa.name} scales {place} and is not KEDA's for it: delete it"
            yield Finding(reason="OtherHPA", text=text)


def _no_scaled_object(asked: Asked) -> Finding:
    todo = "it is about to be written" if asked.is_managed else "apply the one that `forebay keda` prints"
    text = f"no ScaledObject scales {asked.place}, so nobody writes its count: {todo}"
    return Finding(reason="NoScaledObject", text=text)


# --- What a ScaledObject asks for --------------------------------------------------------------------------------


def _not_ours(case: Case) -> Iterator[Finding]:
    """A policy that is to own its ScaledObjects takes nobody else's over."""
    if case.asked.is_managed and case.so.owner != case.asked.policy.metadata.uid:
        text = (
            f"{case.so_named} is not this policy's own, and is not taken over: delete it, and it is written anew, or "
            "set spec.keda.managed to false"
        )
        yield Finding(reason="NotOurs", text=text)


def _asks_for_another(case: Case) -> Iterator[Finding]:
    asked = (case.asked.policy.metadata.name, case.asked.version.name, case.asked.target.role.value)
    ours = [each for each in case.so.triggers if (each.policy, each.version, each.role) == asked]
    wanted = f"policy {asked[0]}, version {asked[1]}, role {asked[2]}"
    if not ours:
        text = f"{case.so_named} does not ask for {wanted}: give its trigger this metadata"
        yield Finding(reason="AsksForAnother", text=text)
    elif len(case.so.triggers) > 1:
        others = len(case.so.triggers) - 1
        text = f"{case.so_named} has {others} more triggers, and the HPA takes the highest of all: remove them"
        yield Finding(reason="OtherTriggers", text=text)


def _metric_type(case: Case) -> Iterator[Finding]:
    """With Value the HPA multiplies by the ready pods only, and proposes 0 when none is (kubernetes#130130)."""
    asked = {each.metric_type for each in case.so.triggers if each.policy is not None}
    targets = {each.target_type for each in case.metrics if METRIC_NAME in each.name}
    wrong = sorted((asked | targets) - {METRIC_TYPE})
    if wrong:
        text = (
            f"{case.so_named} has metricType {wrong[0]}, by which pods that still load are left out of the count and a "
            f"target without a ready pod goes to its least: set it to {METRIC_TYPE}"
        )
        yield Finding(reason="MetricTypeValue", text=text)


# --- What KEDA made of it ----------------------------------------------------------------------------------------


def _paused(case: Case) -> Iterator[Finding]:
    if not case.so.pauses:
        return
    held = "KEDA writes no count, and Forebay holds its own meanwhile and keeps learning"
    how = held if case.so.is_held else "KEDA follows in one direction only"
    text = f"{case.so_named} is paused ({', '.join(case.so.pauses)}): {how}; remove the annotation to go on"
    yield Finding(reason="Paused", text=text)


def _unanswered(case: Case) -> Iterator[Finding]:
    """KEDA found nobody when it last tried, which says nothing of now: its waits between two tries double.

    They begin with 5 ms and end at 1000 s (controller-runtime 0.24.1, pkg/controller/controller.go), so the next try is
    as far away as the silence was long. It fails too where KEDA's connection, which waits for up to 2 min by itself
    (grpc 1.84.0, backoff/backoff.go), has not come back. So a changed spec, which is tried at once, may come too early
    and double the wait once more; a restarted operator begins anew with both.
    """
    if _is_unanswered(case):
        text = (
            f"nobody answered KEDA when it last tried {case.so_named}, so it writes no new count of it: see that "
            "Forebay is found at the trigger's scalerAddress; KEDA then tries again by itself, after about as long "
            "again as nobody answered and 20 min at most, or at once when its operator is restarted"
        )
        yield Finding(reason="NobodyAnswered", text=text)


def _is_unanswered(case: Case) -> bool:
    return case.so.trouble is not None and UNANSWERED in case.so.trouble


def _not_ready(case: Case) -> Iterator[Finding]:
    if case.so.trouble is not None and not _is_unanswered(case):
        text = f"KEDA calls {case.so_named} not ready ({case.so.trouble}): mend that, or no new count is obeyed"
        yield Finding(reason="NotReady", text=text)


def _not_by_our_metric(case: Case) -> Iterator[Finding]:
    """KEDA before 2.21 made an HPA even of a silent scaler, and Kubernetes filled in CPU at 80 % (#7729, #7777)."""
    if case.hpa is None:
        if not case.so.is_held and not _is_unanswered(case):
            text = f"KEDA has made no HPA of {case.so_named}, so nobody writes the count: see that its operator runs"
            yield Finding(reason="NoHPA", text=text)
    elif not any(METRIC_NAME in metric.name for metric in case.metrics):
        names = " and ".join(metric.name for metric in case.metrics) or "nothing"
        text = (
            f"HorizontalPodAutoscaler {case.hpa.name} scales by {names} and not by Forebay's count, as one that was "
            "made while Forebay did not answer: delete it, and KEDA makes it anew"
        )
        yield Finding(reason="WithoutOurMetric", text=text)


def _no_metric(case: Case) -> Iterator[Finding]:
    if case.hpa is not None and case.hpa.inactive is not None:
        text = (
            f"the HPA of {case.so_named} gets no count ({case.hpa.inactive}) and holds what there is: see that KEDA's "
            "metrics server runs, and that Forebay is found at the trigger's scalerAddress"
        )
        yield Finding(reason="NoMetric", text=text)


def _falling_back(case: Case) -> Iterator[Finding]:
    if case.so.is_falling_back:
        text = (
            f"{case.so_named} is on its fallback, since Forebay gives KEDA no count: see the condition SignalsHealthy"
        )
        yield Finding(reason="FallingBack", text=text)


# --- What would be obeyed, and what not --------------------------------------------------------------------------


def _to_zero(case: Case) -> Iterator[Finding]:
    """Nobody who has not asked for zero should find out by a first request what it costs."""
    so = case.so
    if case.asked.bounds.low == 0 or (so.low > 0 and so.idle != 0):
        return
    by = "minReplicaCount is 0" if so.low == 0 else "idleReplicaCount is 0"
    text = (
        f"{case.so_named} may go to zero, as its {by}, and the first request then waits for a whole start, "
        f"{case.asked.load_told}: set minReplicaCount to {case.asked.bounds.low} and leave idleReplicaCount out"
    )
    yield Finding(reason="MayGoToZero", text=text)


def _slow_to_wake(case: Case) -> Iterator[Finding]:
    """By a trigger that is not pushed, KEDA hears at its next poll that a model is to leave zero."""
    if case.asked.policy.spec.scale_to_zero is not None and any(each.kind == "external" for each in case.so.triggers):
        text = (
            f"{case.so_named} is asked again only every pollingInterval, and by that much later the first replica "
            "comes when the model is at zero: set the trigger's type to external-push"
        )
        yield Finding(reason="SlowToWake", text=text)


def _fallback(case: Case) -> Iterator[Finding]:
    """At minReplicaCount 0 an error scales to zero if the fallback's replicas are 0 (scale_scaledobjects.go)."""
    fallback = case.so.fallback
    if fallback is None:
        return
    todo = (
        f"set its behavior to currentReplicas and its replicas to {case.asked.bounds.high}, or leave the fallback out"
    )
    if fallback.replicas == 0 and case.so.low == 0:
        text = f"{case.so_named} falls back to zero, so that an outage of Forebay stops the model: {todo}"
        yield Finding(reason="FallbackToZero", text=text)
    elif fallback.behavior not in HOLDING and fallback.replicas < case.asked.bounds.high:
        text = (
            f"{case.so_named} falls back to {fallback.replicas} replicas ({fallback.behavior}), so that an outage of "
            f"Forebay shrinks what is larger: {todo}"
        )
        yield Finding(reason="FallbackShrinks", text=text)


def _bounds(case: Case) -> Iterator[Finding]:
    bounds, so = case.asked.bounds, case.so
    is_told = bounds.low > 0 and so.low == 0  # as going to zero
    if so.high != bounds.high or (so.low != bounds.low and not is_told):
        text = (
            f"{case.so_named} allows {so.low} to {so.high} replicas and the policy {bounds.low} to {bounds.high}, and "
            f"KEDA obeys its own: set minReplicaCount to {bounds.low} and maxReplicaCount to {bounds.high}"
        )
        yield Finding(reason="BoundsDiffer", text=text)


def _tolerance(case: Case) -> Iterator[Finding]:
    """Where a tolerance is lost: it was not written, KEDA dropped it, or Kubernetes did."""
    so, hpa = case.so, case.hpa
    up, down = (so.up, so.down) if hpa is None else (hpa.up, hpa.down)
    cost = lost_steps(case.asked.bounds.high, up.tolerance, down.tolerance)
    if cost is None:
        return
    if None not in {so.up.tolerance, so.down.tolerance}:
        is_dropped = hpa is not None and None in {up.tolerance, down.tolerance}
        yield _dropped(case, cost) if is_dropped else _too_wide(case, cost)
    elif so.owner is not None:
        text = (
            f"KEDA dropped the tolerance that {case.so_named} was written with, so {cost}: update KEDA to 2.18 or later"
        )
        yield Finding(reason="ToleranceDropped", text=text)
    else:
        text = (
            f'{case.so_named} has no tolerance, so {cost}: set tolerance: "0" beside the policies of scaleUp and of '
            "scaleDown, with KEDA 2.18 or later, as an older one drops it"
        )
        yield Finding(reason="ToleranceMissing", text=text)


def _dropped(case: Case, cost: str) -> Finding:
    by = "" if case.hpa is None or case.hpa.keda_version is None else f", which KEDA {case.hpa.keda_version} made"
    text = (
        f"the HPA of {case.so_named}{by}, has lost its tolerance, so {cost}: it takes KEDA 2.18 or later and "
        "Kubernetes 1.35 or later, or its feature gate HPAConfigurableTolerance"
    )
    return Finding(reason="ToleranceDropped", text=text)


def _too_wide(case: Case, cost: str) -> Finding:
    text = f'{case.so_named} has a tolerance above 0, so {cost}: set it to "0" for scaleUp and scaleDown'
    return Finding(reason="ToleranceTooWide", text=text)


def lost_steps(high: int, up: Decimal | None, down: Decimal | None) -> str | None:
    """What cannot be said with these tolerances (None: the cluster's) to a target of up to ``high`` replicas.

    None where every step can. The HPA keeps n replicas for every wish from n (1 - down) to n (1 + up), both included
    (pkg/controller/podautoscaler/replica_calculator.go), so it is from 1/tolerance replicas on that a step of one
    is lost: with 0.1, from ten on, and at 20 all from 18 to 22.
    """
    wide, deep = (CLUSTER_TOLERANCE if each is None else each for each in (up, down))
    if (high - 1) * wide >= 1:
        at, lost = high - 1, high
    elif high * deep >= 1:
        at, lost = high, high - 1
    else:
        return None
    least, most = ceil(at * (1 - deep)), floor(at * (1 + wide))
    return f"at {at} replicas a wish for {least} to {most} changes nothing, and {at} → {lost} cannot be said"


def _slowed(case: Case) -> Iterator[Finding]:
    up, down = (case.so.up, case.so.down) if case.hpa is None else (case.hpa.up, case.hpa.down)
    if up.window_s or down.window_s:
        text = (
            f"the HPA of {case.so_named} waits {up.window_s} s to grow and {down.window_s} s to shrink, after Forebay "
            "has waited already: set stabilizationWindowSeconds to 0 for both"
        )
        yield Finding(reason="SlowedDown", text=text)


CHECKS: Final[tuple[Callable[[Case], Iterator[Finding]], ...]] = (
    _not_ours,
    _asks_for_another,
    _metric_type,
    _paused,
    _unanswered,
    _not_ready,
    _not_by_our_metric,
    _no_metric,
    _falling_back,
    _to_zero,
    _slow_to_wake,
    _fallback,
    _bounds,
    _tolerance,
    _slowed,
)
"""What is looked for of a target that has one ScaledObject, the worst first."""
