"""The ScaledObjects by which KEDA follows a policy: read back each tick, and written for a policy that owns its own.

Reading costs no request: ScaledObjects and HPAs are watched. Writing happens when what is stored is not what should be,
and once only for the same difference: a KEDA that was put back to one that knows less is told in the condition, and not
written to again and again.
"""

from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from structlog.typing import FilteringBoundLogger

from scaler.adapters.keda import readback
from scaler.adapters.keda.readback import Finding, Scaling
from scaler.adapters.keda.scaled_object import API_VERSION, scaled_objects
from scaler.adapters.keda.seen import HpaSeen, ScaledObjectSeen
from scaler.adapters.kubernetes.client import Client, Json, Patch
from scaler.adapters.kubernetes.errors import NotFoundError, RefusedError
from scaler.adapters.kubernetes.ownership import Claim, Place, foreign_of
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.policies import PolicyObject
from scaler.api import v1alpha1
from scaler.api.v1alpha1 import ScalingPolicy, TargetRef
from scaler.core.model import Actuation
from scaler.core.plan import Condition
from scaler.runtime.ports import Clock, TransientError

FIELD_MANAGER: Final = "forebay-keda"
"""The one who applies ScaledObjects; another than who writes /scale, as they are never written together."""

PLURAL: Final = "scaledobjects"

TRY_AGAIN_S: Final = 60.0
"""What was refused is tried again after so long."""


ADVICE: Final = {
    "is forbidden": "give the controller this right (deploy/components/keda-managed)",
    "not declared in schema": "KEDA is older than 2.18 here: update it",
}
"""What to do about a refusal, by what it says. An applied field that a kind does not know is refused, not pruned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look found of KEDA: the claims by target, and each policy's own ScaledObjects by its uid.

    ``lost`` is why they cannot be relied on now, ``unlisted`` why they never were known; ``is_installed`` says whether
    there are such things as ScaledObjects.
    """

    claims: Mapping[Place, tuple[Claim, ...]]
    owned: Mapping[str, tuple[ScaledObjectSeen, ...]]
    is_installed: bool
    lost: str | None
    unlisted: str | None

    def of(self, namespace: str, target: TargetRef) -> tuple[Claim, ...]:
        """Who scales a target."""
        return self.claims.get((namespace, target.kind, target.name), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How KEDA stands to one policy: what is told of it, and whether it holds the count of one of its targets.

    ``owned`` are the ScaledObjects that the policy owns, ``foreign`` the targets that others scale, by kind and name.
    ``is_known`` is False where ScaledObjects cannot be seen, and so must not be written.
    """

    condition: Condition | None
    is_held: bool
    owned: tuple[ScaledObjectSeen, ...]
    foreign: frozenset[tuple[str, str]]
    is_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What was tried last with one ScaledObject: the spec that was written (empty for a deletion), and what came of it.

    ``generation`` is what the write gave it, ``why`` the refusal.
    """

    name: str
    spec: Json
    at_s: float
    generation: int | None = None
    why: str = ""


@dataclass(slots=True, kw_only=True)
class ScaledObjects:
    """Reads what KEDA makes of policies, and writes the ScaledObjects that policies own. ``clock`` is a steady one."""

    client: Client
    clock: Clock
    log: FilteringBoundLogger
    _attempts: dict[tuple[str, str], _Attempt] = field(default_factory=dict)

    def following(self, policy: PolicyObject, document: ScalingPolicy, seen: Seen) -> Following:
        """How KEDA stands to ``policy``; with another actuation there is nothing to tell of it."""
        claims = {(ref.kind, ref.name): seen.of(policy.namespace, ref) for ref in _targets(document)}
        is_asked = document.spec.actuation is Actuation.KEDA
        scaling = {target: scaling_of(mine) for target, mine in claims.items()} if is_asked else {}
        return Following(
            condition=self._condition(policy, document, scaling, seen) if is_asked else None,
            is_held=any(so.is_held for each in scaling.values() for so in each.scaled_objects),
            owned=seen.owned.get(policy.uid, ()),
            foreign=frozenset(target for target, mine in claims.items() if foreign_of(mine)),
            is_known=seen.is_installed and seen.lost is None,
        )

    def _condition(
        self, policy: PolicyObject, document: ScalingPolicy, scaling: Mapping[tuple[str, str], Scaling], seen: Seen
    ) -> Condition:
        if not seen.is_installed:
            return readback.not_installed()
        if seen.lost is not None:
            return readback.unknown(seen.lost)
        refused = [each for (uid, _), each in self._attempts.items() if uid == policy.uid and each.why]
        told = [
            Finding(
                reason="NotWritten", text=f"ScaledObject {each.name} could not be written: {_with_advice(each.why)}"
            )
            for each in refused
        ]
        return readback.condition([*told, *readback.findings(document, scaling, policy.status)])

    # --- Writing -----------------------------------------------------------------------------------------------

    async def keep(self, policy: PolicyObject, document: ScalingPolicy, following: Following) -> None:
        """Write those of the policy's own ScaledObjects that are not as they should be, and delete what is too many."""
        if not following.is_known:
            return
        stored = {so.name: so for so in following.owned}
        wanted = {each["metadata"]["name"]: each for each in _wanted(document)}
        for name, thing in wanted.items():
            ref = thing["spec"]["scaleTargetRef"]
            is_free = name in stored or (ref["kind"], ref["name"]) not in following.foreign
            if is_free and self._is_due(policy.uid, name, thing["spec"], stored.get(name)):
                await self._tried(policy.uid, name, thing["spec"], self._applied(policy, thing, is_own=name in stored))
        for name in sorted(stored.keys() - wanted.keys()):
            if self._is_due(policy.uid, name, {}, stored[name]):
                await self._tried(policy.uid, name, {}, self._deleted(stored[name]))
        self._attempts = {
            key: each for key, each in self._attempts.items() if key[0] != policy.uid or key[1] in {*wanted, *stored}
        }

    def _is_due(self, uid: str, name: str, spec: Json, stored: ScaledObjectSeen | None) -> bool:
        """Whether what is stored differs, and not just because what was written last did not stay as it was written."""
        if stored is not None and stored.spec == spec:
            self._attempts.pop((uid, name), None)
            return False
        last = self._attempts.get((uid, name))
        if last is None or last.spec != spec:
            return True
        if last.why or stored is None or not spec:
            return self.clock.now_s() - last.at_s >= TRY_AGAIN_S
        return stored.generation != last.generation

    async def _tried(self, uid: str, name: str, spec: Json, writing: Awaitable[int | None]) -> None:
        attempt = _Attempt(name=name, spec=spec, at_s=self.clock.now_s())
        try:
            generation = await writing
        except (TransientError, RefusedError) as error:
            self.log.warning("scaled_object_not_written", name=name, why=str(error))
            self._attempts[uid, name] = replace(attempt, why=str(error))
        else:
            self._attempts[uid, name] = replace(attempt, generation=generation)

    async def _applied(self, policy: PolicyObject, thing: Json, *, is_own: bool) -> int | None:
        """The generation after the write. Fields that a person changed in our own are taken back, in no other."""
        owner = {"apiVersion": v1alpha1.API_VERSION, "kind": v1alpha1.KIND, "name": policy.name, "uid": policy.uid}
        metadata = {**thing["metadata"], "ownerReferences": [{**owner, "controller": True}]}
        path = path_to(API_VERSION, PLURAL, policy.namespace, metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if is_own else "false"}
        stored = await self.client.patch(path, Patch.APPLY, {**thing, "metadata": metadata}, query)
        return int((stored.get("metadata") or {}).get("generation") or 0)

    async def _deleted(self, stored: ScaledObjectSeen) -> None:
        """Delete one that is the policy's own still; KEDA leaves the count as it is."""
        path = path_to(API_VERSION, PLURAL, stored.namespace, stored.name)
        with suppress(NotFoundError):
            await self.client.delete(path, {"preconditions": {"uid": stored.uid}})

    def keep_only(self, uids: frozenset[str]) -> None:
        """Forget the policies that are gone; what they owned goes with them."""
        self._attempts = {key: each for key, each in self._attempts.items() if key[0] in uids}


def _with_advice(why: str) -> str:
    """What the API server said, and what to do where that is known."""
    return why + next((f"; {todo}" for said, todo in ADVICE.items() if said in why), "")


def _wanted(document: ScalingPolicy) -> tuple[Json, ...]:
    """The ScaledObjects that a policy should own."""
    keda = document.spec.keda  # which there is with the actuation KEDA only
    return () if keda is None or not keda.managed else scaled_objects(document, keda)


def _targets(document: ScalingPolicy) -> Iterator[TargetRef]:
    return (target.target_ref for version in document.spec.versions for target in version.targets)


def scaling_of(claims: Iterable[Claim]) -> Scaling:
    """The claims to one target, as they are read back."""
    seen = [claim.seen for claim in claims]
    return Scaling(
        scaled_objects=tuple(each for each in seen if isinstance(each, ScaledObjectSeen)),
        hpas=tuple(each for each in seen if isinstance(each, HpaSeen)),
    )


def owned_by_policy(claims: Iterable[Claim]) -> dict[str, tuple[ScaledObjectSeen, ...]]:
    """The ScaledObjects of each policy that owns some, by its uid."""
    owned: dict[str, tuple[ScaledObjectSeen, ...]] = {}
    for claim in claims:
        if isinstance(claim.seen, ScaledObjectSeen) and claim.seen.owner is not None:
            owned[claim.seen.owner] = (*owned.get(claim.seen.owner, ()), claim.seen)
    return owned
