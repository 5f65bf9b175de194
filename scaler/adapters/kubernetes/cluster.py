"""The cluster as the loop needs it: look at the policies and their fleets, act on commands, tell of decisions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NoReturn

from structlog.typing import FilteringBoundLogger

from scaler.adapters.kubernetes.client import Client, Patch
from scaler.adapters.kubernetes.deletion_cost import marks
from scaler.adapters.kubernetes.discovery import Discovery, Resource
from scaler.adapters.kubernetes.errors import RefusedError
from scaler.adapters.kubernetes.fleet import Around, fleet_of
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.ownership import (
    Claimed,
    Told,
    answered,
    claims_by_target,
    foreign_of,
    heard,
    is_strange,
    ownership,
)
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.pods import DELETION_COST, PodSeen
from scaler.adapters.kubernetes.policies import Policies, PolicyObject
from scaler.adapters.kubernetes.refusals import Refusal
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.adapters.kubernetes.scale import FIELD_MANAGER, Scales
from scaler.adapters.kubernetes.scaled_objects import Following, ScaledObjects, Seen, owned_by_policy
from scaler.adapters.kubernetes.status import faulty_status, status_of
from scaler.adapters.kubernetes.targets import DEPLOYMENT, TargetSeen
from scaler.adapters.kubernetes.views import PATIENCE_S, Kind, Views
from scaler.api.status import Status
from scaler.api.v1alpha1 import ScalingPolicy, TargetRef
from scaler.core.model import Actuation, Fleet, FleetSeen, Load, Missing, Observation, Policy, Pools, TargetKey
from scaler.core.plan import Command, Condition, SetReplicas, SetWeights
from scaler.runtime.ports import Record, TransientError

NO_LOADS: Final[Mapping[str, Load | Missing]] = {}

NOT_COUNTED: Final = Pools()

TELL_MOST_S: Final = 5.0
"""A third of a tick of 15 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A target that exists, as it was seen last. ``barred`` is why nothing may be written to it, None where it may."""

    resource: Resource
    namespace: str
    target: TargetSeen
    requested: int
    barred: str | None = None
    pods: tuple[PodSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One policy with what was seen of it. No replica of ``observation`` has a load yet: the engines tell those."""

    object: PolicyObject
    document: ScalingPolicy
    policy: Policy
    observation: Observation
    ownership: Condition
    following: Following

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What only the edge can tell of it."""
        keda = self.following.condition
        return (self.ownership,) if keda is None else (self.ownership, keda)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look gave: the sound policies by name, the objects that are none, and the GPUs for all of them."""

    models: tuple[Model, ...]
    faulty: tuple[PolicyObject, ...]
    pools: Pools = NOT_COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look found for all policies; ``elders`` grows by who has named each target first."""

    found: Mapping[tuple[str, TargetRef], Found | Missing]
    pods: Mapping[str, tuple[PodSeen, ...]]
    refusals: Mapping[str, Refusal]
    keda: Seen
    blind: str | None
    at_s: float
    elders: dict[tuple[str, TargetRef], str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class KubernetesCluster:
    """Reads from the views, writes through the client. One caller at a time."""

    client: Client
    views: Views
    scales: Scales
    reporter: Reporter
    scaled_objects: ScaledObjects
    log: FilteringBoundLogger
    _policies: Policies = field(default_factory=Policies)
    _found: dict[tuple[str, TargetKey], Found] = field(default_factory=dict)
    _told: dict[str, Told] = field(default_factory=dict)
    _models: dict[str, Model] = field(default_factory=dict)
    _reached: str = ""

    async def run(self) -> NoReturn:
        """Follow the API server until cancelled; all else here needs this to be under way."""
        await self.views.run()

    @property
    def unlisted(self) -> str | None:
        """Which list is missing still, None when all were had once; until then a look says Missing of what it lacks."""
        return self.views.unlisted

    # --- Looking -----------------------------------------------------------------------------------------------

    async def look(self, at_s: float) -> Sight:
        """The policies and their fleets. Raises TransientError when the policies themselves are not known yet."""
        unlisted = self.views.policies.lost(self.views.means.clock.now_s(), math.inf)
        if unlisted is not None:
            raise TransientError(unlisted)
        await self._look_for_keda()
        objects = sorted(self.views.policies.store.values(), key=lambda each: (each.created, each.full_name))
        look = await self._look(objects, at_s)
        models = [self._model(each, each.document, look) for each in objects if each.document is not None]
        self._remember(objects, models, look)
        faulty = tuple(each for each in objects if each.document is None)
        models.sort(key=lambda model: model.policy.name)
        return Sight(models=tuple(models), faulty=faulty, pools=self.views.pools())

    async def _look(self, objects: Sequence[PolicyObject], at_s: float) -> _Look:
        found = await self._find_all(objects)
        targets = [each.target for each in found.values() if isinstance(each, Found)]
        uids = frozenset(target.uid for target in targets)
        pods = self.views.pods_of(uids)
        await self._look_further(targets, pods)
        return _Look(
            found=found,
            pods=pods,
            refusals=self.views.refusals_of(uids),
            keda=self._keda_seen(),
            blind=self.views.blind(),
            at_s=at_s,
        )

    def _keda_seen(self) -> Seen:
        claims, keda, now_s = self.views.claims(), self.views.scaled_objects, self.views.means.clock.now_s()
        views = (self.views.autoscalers,) if keda is None else (self.views.autoscalers, keda)
        return Seen(
            claims=claims_by_target(claims),
            owned=owned_by_policy(claims),
            is_installed=keda is not None,
            lost=_first(view.lost(now_s, PATIENCE_S) for view in views),
            unlisted=_first(view.lost(now_s, math.inf) for view in views),
        )

    async def _look_for_keda(self) -> None:
        try:
            await self.views.look_for_keda()
        except (TransientError, RefusedError) as error:
            self.log.info("keda_not_looked_for", why=str(error))

    async def _look_further(self, targets: Iterable[TargetSeen], pods: Mapping[str, tuple[PodSeen, ...]]) -> None:
        """Begin to watch what only some targets need."""
        if any(target.kind != DEPLOYMENT for target in targets):
            self.views.look_for_refusals()
        held = [target.devices for target in targets if target.devices is not None]
        held += [pod.devices for each in pods.values() for pod in each]
        if not any(devices.claims for devices in held):
            return
        try:
            await self.views.look_for_claims()
        except (TransientError, RefusedError) as error:
            self.log.info("claims_not_looked_for", why=str(error))

    async def _find_all(self, objects: Sequence[PolicyObject]) -> dict[tuple[str, TargetRef], Found | Missing]:
        found: dict[tuple[str, TargetRef], Found | Missing] = {}
        for each in objects:
            for _, ref in _targets(each.document):
                if (each.namespace, ref) not in found:
                    found[each.namespace, ref] = await self._find(each.namespace, ref)
        return found

    async def _find(self, namespace: str, ref: TargetRef) -> Found | Missing:
        try:
            kind = await self.views.kind(ref.api_version, ref.kind)
            if isinstance(kind, Missing):
                return kind
            target = self._existing(kind, namespace, ref.name)
            if isinstance(target, Missing):
                return target
            requested = await self.scales.requested(kind.resource, namespace, target)
        except (TransientError, RefusedError) as error:
            return Missing(why=f"{ref.kind} {ref.name} cannot be read: {error}")
        if isinstance(requested, Missing):
            return requested
        return Found(resource=kind.resource, namespace=namespace, target=target, requested=requested)

    def _existing(self, kind: Kind, namespace: str, name: str) -> TargetSeen | Missing:
        lost = kind.objects.lost(self.views.means.clock.now_s(), PATIENCE_S)
        if lost is not None:
            return Missing(why=lost)
        target = kind.objects.store.get(namespace, name)
        if target is None:
            return Missing(why=f"there is no {kind.resource.kind} {name} in {namespace}")
        if target.is_leaving:
            return Missing(why=f"{kind.resource.kind} {name} is being deleted")
        return target

    def _model(self, thing: PolicyObject, document: ScalingPolicy, look: _Look) -> Model:
        following = self.scaled_objects.following(thing, document, look.keda)
        policy = self._policies.policy(document, look.at_s)
        if following.is_held:
            # KEDA was told to pause: what we decide meanwhile would only be a leap when it goes on.
            policy = replace(policy, paused=True)
        claims = [self._claim(policy.name, thing.namespace, ref, look) for _, ref in _targets(document)]
        fleets = tuple(
            FleetSeen(key=key, fleet=self._fleet(policy.name, key, look.found[thing.namespace, ref], claim, look))
            for (key, ref), claim in zip(_targets(document), claims, strict=True)
        )
        return Model(
            object=thing,
            document=document,
            policy=policy,
            observation=Observation(fleets=fleets, weights=_weights(document)),
            ownership=ownership(policy.actuation, claims),
            following=following,
        )

    def _fleet(
        self, policy: str, key: TargetKey, found: Found | Missing, claim: Claimed, look: _Look
    ) -> Fleet | Missing:
        self._found.pop((policy, key), None)
        if isinstance(found, Missing):
            return found
        if claim.elder is not None:
            return Missing(why=f"{claim.target} is a target of the older policy {claim.elder}")
        if look.blind is not None:
            return Missing(why=look.blind)
        seen = replace(found, barred=_barred(claim, look.keda), pods=look.pods[found.target.uid])
        self._found[policy, key] = seen
        around = Around(
            class_of=self.views.class_of,
            gpus_of=partial(self.views.gpus, seen.namespace),
            refusal=look.refusals.get(seen.target.uid),
        )
        return fleet_of(seen.target, seen.requested, seen.pods, around)

    def _claim(self, policy: str, namespace: str, ref: TargetRef, look: _Look) -> Claimed:
        found, elder = look.found[namespace, ref], look.elders.setdefault((namespace, ref), policy)
        told: Told | None = None
        if isinstance(found, Found):
            first = Told(replicas=found.requested, version=found.target.version)
            told = heard(self._told.get(found.target.uid, first), found.target, found.requested, look.at_s)
            self._told[found.target.uid] = told
        return Claimed(
            target=f"{ref.kind} {ref.name}",
            foreign=foreign_of(look.keda.of(namespace, ref)),
            told=told,
            elder=None if elder == policy else elder,
            unknown=look.keda.lost,
        )

    def _remember(self, objects: Sequence[PolicyObject], models: Sequence[Model], look: _Look) -> None:
        """Keep what acting and telling need, and let go of all that belongs to nobody any more."""
        self._models = {model.policy.name: model for model in models}
        self._policies.keep_only(frozenset(each.full_name for each in objects))
        self.reporter.keep_only(frozenset(each.uid for each in objects))
        self.scaled_objects.keep_only(frozenset(each.uid for each in objects))
        self._found = {key: found for key, found in self._found.items() if key[0] in self._models}
        named = frozenset(each.target.uid for each in look.found.values() if isinstance(each, Found))
        if all(isinstance(each, Found) for each in look.found.values()):
            self._told = {uid: told for uid, told in self._told.items() if uid in named}
            self.scales.forget_all_but(named)

    # --- Acting ------------------------------------------------------------------------------------------------

    async def act(
        self, policy: Policy, commands: Sequence[Command], loads: Mapping[str, Load | Missing] = NO_LOADS
    ) -> None:
        """Carry out ``commands`` in their order. Raises TransientError at the first that fails.

        ``loads`` by pod say who has the least work and should go first.
        """
        for command in commands:
            match command:
                case SetReplicas(key=key, replicas=replicas):
                    await self._set_replicas(policy.name, key, replicas, loads)
                case SetWeights():
                    raise TransientError("the weights of routes are not served by this release")

    async def _set_replicas(
        self, policy: str, key: TargetKey, replicas: int, loads: Mapping[str, Load | Missing]
    ) -> None:
        found = self._found.get((policy, key))
        if found is None:
            raise TransientError(f"{key} of {policy} was not seen, so nothing is written to it")
        if found.barred is not None:
            raise TransientError(f"{found.barred}, so nothing is written to it")
        told = self._told[found.target.uid]
        if is_strange(told, found.target, found.requested):
            told = answered(told, self.views.means.clock.now_s())
        if replicas < found.requested:
            await self._mark(found, replicas, loads)
        path = found.resource.path(found.namespace, found.target.name, "scale")
        try:
            version = await self.scales.write(path, found.requested, replicas)
        except RefusedError as error:
            raise TransientError(f"{found.target.kind} {found.target.name} cannot be scaled: {error}") from error
        self._told[found.target.uid] = replace(told, replicas=replicas, version=version)

    async def _mark(self, found: Found, left: int, loads: Mapping[str, Load | Missing]) -> None:
        """Have the pods with the least work go first; without that the shrink is as good, only less kind."""
        if found.resource.kind != DEPLOYMENT:
            return
        for mark in marks(found.pods, loads, left):
            cost = None if mark.cost is None else str(mark.cost)
            path = path_to("v1", "pods", found.namespace, mark.pod)
            body = {"metadata": {"annotations": {DELETION_COST: cost}}}
            try:
                await self.client.patch(path, Patch.MERGE, body, {"fieldManager": FIELD_MANAGER})
            except (TransientError, RefusedError) as error:
                self.log.info("cost_not_written", pod=mark.pod, why=str(error))
                return

    # --- Telling -----------------------------------------------------------------------------------------------

    async def tell(self, records: Sequence[Record], at_s: float) -> None:
        """Write what was decided into the statuses of its policies, where that is news, for ``TELL_MOST_S`` at most.

        The loop waits for this. Who was not reached comes first the next time: a thousand first statuses are spread
        over some ticks rather than holding one up.
        """
        clock = self.views.means.clock
        until_s = clock.now_s() + TELL_MOST_S
        for record in _from(self._reached, records):
            if clock.now_s() >= until_s:
                return
            await self._tell(record, at_s)
            self._reached = record.policy.name

    async def _tell(self, record: Record, at_s: float) -> None:
        model = self._models.get(record.policy.name)
        if model is not None:
            before = self.reporter.current(model.object)
            if record.policy.actuation is Actuation.KEDA:
                await self._mark_for_keda(record, before)
            if record.policy.actuation is model.policy.actuation:  # otherwise the process may only advise
                await self.scaled_objects.keep(model.object, model.document, model.following)
            status = status_of(record, model.conditions, model.object.generation, before)
            await self.reporter.report(model.object, status, at_s)

    async def _mark_for_keda(self, record: Record, before: Status | None) -> None:
        """Mark who goes first where KEDA is about to be told another count: once told, its HPA may act at once.

        A count that is not news marks nobody anew, however long KEDA takes: a ScaledObject that nobody obeys would
        cost requests in each tick.
        """
        told = {} if before is None else {(each.name, each.role.value): each.desired for each in before.versions}
        for target in record.plan.targets:
            found, fleet = self._found.get((record.policy.name, target.key)), record.observation.fleet(target.key)
            is_news = told.get((target.key.version, target.key.role)) != target.replicas
            if is_news and found is not None and isinstance(fleet, Fleet):
                loads = {replica.name: replica.load for replica in fleet.replicas}
                await self._mark(found, target.replicas, loads)

    async def tell_faults(self, faulty: Sequence[PolicyObject], at_s: float) -> None:
        """Write what is wrong into the statuses of policies that are not sound."""
        for each in faulty:
            status = faulty_status(each.faults, each.generation, self.reporter.current(each), at_s)
            await self.reporter.report(each, status, at_s)


def _barred(claim: Claimed, keda: Seen) -> str | None:
    """Why we must not write a target's count: another does, or nobody could tell yet whether another does."""
    if claim.foreign:
        return f"{claim.foreign[0].kind} {claim.foreign[0].name} scales {claim.target}"
    return keda.unlisted


def _first(reasons: Iterable[str | None]) -> str | None:
    return next((why for why in reasons if why is not None), None)


def _from(name: str, records: Sequence[Record]) -> list[Record]:
    """The records by their policies' names, beginning after ``name`` and going round."""
    return sorted(records, key=lambda record: (record.policy.name <= name, record.policy.name))


def _targets(document: ScalingPolicy | None) -> list[tuple[TargetKey, TargetRef]]:
    if document is None:
        return []
    return [
        (TargetKey(version=version.name, role=target.role.value), target.target_ref)
        for version in document.spec.versions
        for target in version.targets
    ]


def _weights(document: ScalingPolicy) -> Missing:
    release = document.spec.release
    if release is None or release.route_ref is None:
        return Missing(why="the policy names no route")
    return Missing(why="routes are not read by this release")


def cluster_of(client: Client, means: Means, namespaces: tuple[str, ...], reporter: Reporter) -> KubernetesCluster:
    """The cluster behind ``client``, in ``namespaces`` (none: in all)."""
    discovery = Discovery(client=client, clock=means.clock)
    views = Views(means=means, discovery=discovery, namespaces=namespaces)
    return KubernetesCluster(
        client=client,
        views=views,
        scales=Scales(client=client),
        reporter=reporter,
        scaled_objects=ScaledObjects(client=client, clock=means.clock, log=means.log),
        log=means.log,
    )
