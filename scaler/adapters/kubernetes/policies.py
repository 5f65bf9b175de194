"""ScalingPolicy objects as documents and as the core's policies. A bad one is a text for its Ready condition."""

import copy
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from scaler.adapters.kubernetes.client import Json
from scaler.adapters.kubernetes.targets import version_of
from scaler.api.documents import check_object
from scaler.api.policy import policy_of
from scaler.api.status import Status
from scaler.api.v1alpha1 import Metadata, ScalingPolicy
from scaler.core.model import Policy

MAKE_ANEW_S: Final = 6 * 3600.0
"""A policy is laid out in time for two days ahead; four times a day is often enough."""

FAULTS_TOLD: Final = 5

METADATA_READ: Final = frozenset(str(each.alias) for each in Metadata.model_fields.values())
"""What a document may say of itself; the API server keeps more there than we read, and may keep more yet."""

NAMES: Final = frozenset({"name", "role", "type"})
"""What names a part of a status. Of another version's role nothing may be taken for one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyObject:
    """A ScalingPolicy as it is stored. ``document`` is None where it is not sound, and ``faults`` says why."""

    uid: str
    namespace: str
    name: str
    generation: int
    version: int
    created: str
    annotations: dict[str, str]
    document: ScalingPolicy | None
    faults: str
    status: Status | None

    @property
    def full_name(self) -> str:
        """``namespace/name``, as the core's policies are called."""
        return f"{self.namespace}/{self.name}"


def policy_object(thing: Json, before: PolicyObject | None) -> PolicyObject:
    """What is used of a ScalingPolicy. It is checked when its spec or annotations change, not with every status."""
    metadata = thing["metadata"]
    generation = int(metadata.get("generation") or 0)
    annotations = metadata.get("annotations") or {}
    is_known = (
        before is not None
        and (before.uid, before.generation) == (metadata["uid"], generation)
        and before.annotations == annotations
    )
    document, faults = (before.document, before.faults) if before is not None and is_known else _checked(thing)
    return PolicyObject(
        uid=metadata["uid"],
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        generation=generation,
        version=version_of(metadata),
        created=metadata.get("creationTimestamp") or "",
        annotations=annotations,
        document=document,
        faults=faults,
        status=_status(thing.get("status")),
    )


def _checked(thing: Json) -> tuple[ScalingPolicy | None, str]:
    metadata = {key: value for key, value in thing["metadata"].items() if key in METADATA_READ}
    # The status is ours, and is read apart: a fault in it must not cost the policy.
    bare = {key: value for key, value in thing.items() if key != "status"} | {"metadata": metadata}
    checked = check_object(bare, "the stored object")
    if isinstance(checked, ScalingPolicy):
        return checked, ""
    told = [f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in checked[:FAULTS_TOLD]]
    more = len(checked) - len(told)
    return None, "; ".join(told) + (f"; and {more} more" if more else "")


def _status(raw: Any) -> Status | None:
    """The status as far as it can be read: what a stranger spoilt, or another version wrote otherwise, is not there."""
    if not isinstance(raw, dict):
        return None
    readable = copy.deepcopy(raw)
    while True:
        try:
            return Status.model_validate(readable, by_name=False)
        except ValidationError as error:
            _leave_out(readable, error)


def _leave_out(tree: Any, error: ValidationError) -> None:
    """Take the values with faults out of ``tree``; a part that lacks something, or has no sound name, goes as a whole.

    From the back and from within, so that the places of those that are left stay true.
    """
    faults = [(fault["type"] == "missing" or fault["loc"][-1] in NAMES, fault["loc"]) for fault in error.errors()]
    paths = {path[:-1] if is_whole else path for is_whole, path in faults}
    for path in sorted(paths, key=lambda path: [f"{place:>10}" for place in path], reverse=True):
        within = tree
        for place in path[:-1]:
            within = within[place]
        del within[path[-1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    document: ScalingPolicy
    at_s: float
    policy: Policy


@dataclass(slots=True)
class Policies:
    """Makes the core's policies of documents, and makes them anew when the time they are laid out for runs on."""

    _made: dict[str, _Made] = field(default_factory=dict)

    def policy(self, document: ScalingPolicy, at_s: float) -> Policy:
        """The policy of ``document`` as of ``at_s``."""
        name = f"{document.metadata.namespace}/{document.metadata.name}"
        made = self._made.get(name)
        if made is None or made.document is not document or not 0.0 <= at_s - made.at_s < MAKE_ANEW_S:
            made = _Made(document=document, at_s=at_s, policy=policy_of(document, at_s))
            self._made[name] = made
        return made.policy

    def keep_only(self, names: frozenset[str]) -> None:
        """Drop the policies that are gone."""
        self._made = {name: made for name, made in self._made.items() if name in names}
