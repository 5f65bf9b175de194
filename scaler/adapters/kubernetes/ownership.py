"""Whether a target's replica count is ours alone to write, and if not, whose else it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from scaler.adapters.keda.seen import SCALED_OBJECT, HpaSeen, ScaledObjectSeen, hpa_seen, scaled_object_seen
from scaler.adapters.kubernetes.client import Json
from scaler.adapters.kubernetes.scale import FIELD_MANAGER
from scaler.adapters.kubernetes.targets import TargetSeen, Writer
from scaler.adapters.kubernetes.times import written
from scaler.core.model import Actuation
from scaler.core.plan import Condition
from scaler.runtime.ports import TransientError

HPA: Final = "HorizontalPodAutoscaler"

REMEMBER_S: Final = 600.0
"""A stranger's write is told of for so long: we answer within a tick or two, and nobody would see it otherwise."""

ANSWER_S: Final = 60.0
"""Strangers are answered this seldom: to write back each time is a war, in which every turn may cost replicas."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Foreign:
    """Another autoscaler that scales a target."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An autoscaler and the object that it scales. ``made_by`` is the ScaledObject behind an HPA of KEDA's."""

    foreign: Foreign
    namespace: str
    target_kind: str
    target_name: str
    seen: HpaSeen | ScaledObjectSeen
    made_by: str | None = None


def hpa_claim(thing: Json, _: Claim | None) -> Claim:
    """What a HorizontalPodAutoscaler scales."""
    seen = hpa_seen(thing)
    return _claim(thing, HPA, seen, seen.made_by)


def scaled_object_claim(thing: Json, _: Claim | None) -> Claim:
    """What a ScaledObject scales; it may leave out that it is a Deployment."""
    return _claim(thing, SCALED_OBJECT, scaled_object_seen(thing), None)


def _claim(thing: Json, kind: str, seen: HpaSeen | ScaledObjectSeen, made_by: str | None) -> Claim:
    target = (thing.get("spec") or {}).get("scaleTargetRef") or {}
    return Claim(
        foreign=Foreign(kind=kind, name=seen.name),
        namespace=seen.namespace,
        target_kind=target.get("kind") or "Deployment",
        target_name=target.get("name") or "",
        seen=seen,
        made_by=made_by,
    )


Place: TypeAlias = tuple[str, str, str]
"""Namespace, kind and name of a target."""


def claims_by_target(claims: Iterable[Claim]) -> dict[Place, tuple[Claim, ...]]:
    """Who lays claim to each target."""
    by_place: dict[Place, tuple[Claim, ...]] = {}
    for each in claims:
        place = (each.namespace, each.target_kind, each.target_name)
        by_place[place] = (*by_place.get(place, ()), each)
    return by_place


def foreign_of(mine: Sequence[Claim]) -> tuple[Foreign, ...]:
    """Who else scales a target; of a ScaledObject and the HPA that it made, the ScaledObject alone, and first."""
    known = {each.foreign.name for each in mine if each.foreign.kind == SCALED_OBJECT}
    found = {each.foreign for each in mine if each.made_by not in known}
    return tuple(sorted(found, key=lambda foreign: (foreign.kind != SCALED_OBJECT, foreign)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What we wrote last to a target, or found at first, as which version, and the stranger who wrote since.

    ``seen_at_s`` is when that was seen; ``answered_at_s``, on the steady clock, when we last wrote over a stranger.
    """

    replicas: int
    version: int
    stranger: Writer | None = None
    strange_replicas: int = 0
    seen_at_s: float = 0.0
    answered_at_s: float | None = None


def heard(told: Told, target: TargetSeen, requested: int, at_s: float) -> Told:
    """What is known of the target's writers after another look at it."""
    writer = target.writer
    is_news = (writer, requested) != (told.stranger, told.strange_replicas)
    if writer is not None and is_news and is_strange(told, target, requested):
        return replace(told, stranger=writer, strange_replicas=requested, seen_at_s=at_s)
    if told.stranger is not None and not 0.0 <= at_s - told.seen_at_s < REMEMBER_S:
        return replace(told, stranger=None, replicas=requested, version=target.version)
    return told


def is_strange(told: Told, target: TargetSeen, requested: int) -> bool:
    """Whether the count is another's: not what we wrote, nor one from before that is still on its way to us."""
    is_ours = target.writer is not None and target.writer.name == FIELD_MANAGER
    return target.version >= told.version and requested != told.replicas and not is_ours


def answered(told: Told, now_s: float) -> Told:
    """What is known after an answer to a stranger. Raises TransientError where the last one was too lately."""
    if told.answered_at_s is not None and now_s - told.answered_at_s < ANSWER_S:
        who = "someone" if told.stranger is None else told.stranger.name
        raise TransientError(f"{who} wrote another count again, which is answered once in {ANSWER_S:.0f} s")
    return replace(told, answered_at_s=now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One target of a policy with all who lay claim to it. ``elder`` is an older policy that names it too."""

    target: str
    foreign: tuple[Foreign, ...] = ()
    told: Told | None = None
    elder: str | None = None
    unknown: str | None = None


def ownership(actuation: Actuation, targets: Sequence[Claimed]) -> Condition:
    """The condition OwnershipClear: False names who else writes, or who does in our place."""
    for claimed in targets:
        trouble = _trouble(actuation, claimed)
        if trouble is not None:
            reason, message = trouble
            return Condition(type="OwnershipClear", status=False, reason=reason, message=message)
    unknown = next((each.unknown for each in targets if each.unknown is not None), None)
    if unknown is not None:
        return Condition(type="OwnershipClear", status=None, reason="NotSeen", message=unknown)
    message = "nobody else writes the replicas of these targets"
    return Condition(type="OwnershipClear", status=True, reason="Sole", message=message)


def _trouble(actuation: Actuation, claimed: Claimed) -> tuple[str, str] | None:
    target, told = claimed.target, claimed.told
    if claimed.elder is not None:
        return "SharedTarget", f"{target} is a target of the older policy {claimed.elder} too, which keeps it"
    if actuation is Actuation.KEDA:
        return _beside_keda(claimed)
    if actuation is Actuation.ADVISE:
        return None
    if claimed.foreign:
        other = claimed.foreign[0]
        return "OtherAutoscaler", (
            f"{other.kind} {other.name} scales {target} too, so Forebay does not: remove it, or set spec.actuation to "
            "KEDA or Advise"
        )
    if told is not None and told.stranger is not None:
        who, when = told.stranger.name, written(told.stranger.at_s)
        return "WrittenByOthers", (
            f"{who} set {target} to {told.strange_replicas} replicas at {when}, in place of {told.replicas}"
        )
    return None


def _beside_keda(claimed: Claimed) -> tuple[str, str] | None:
    """Who writes a count beside the one ScaledObject that should."""
    strangers = [each for place, each in enumerate(claimed.foreign) if place > 0 or each.kind != SCALED_OBJECT]
    if not strangers:
        return None
    other = strangers[0]
    return "OtherAutoscaler", (
        f"{other.kind} {other.name} scales {claimed.target} beside what KEDA writes for Forebay: remove it"
    )
