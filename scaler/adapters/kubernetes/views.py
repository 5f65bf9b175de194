"""All that is watched: policies, pods, nodes, quotas, what stands between pods and targets, targets, other autoscalers.

Deployments and StatefulSets are watched from the start, any other kind from when a policy first names it. Claims of
devices, and the events that tell of pods that were not created, are watched from when a target first needs them; they
only tell more of what is known, so nothing waits for them, nor for quotas.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from scaler.adapters.kubernetes.client import NO_QUERY, Json
from scaler.adapters.kubernetes.discovery import Discovery, Resource
from scaler.adapters.kubernetes.events import EVENTS
from scaler.adapters.kubernetes.fleet import parents_of, pods_by_target, target_above
from scaler.adapters.kubernetes.gpus import CLAIM, CLAIM_TEMPLATE, DRA, ClaimNamed, Devices, claimed_gpus
from scaler.adapters.kubernetes.informer import Means, Watched, watched
from scaler.adapters.kubernetes.ownership import Claim, hpa_claim, scaled_object_claim
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.pods import PodSeen, pod_seen
from scaler.adapters.kubernetes.policies import PolicyObject, policy_object
from scaler.adapters.kubernetes.pools import NodeSeen, QuotaSeen, node_seen, pools_of, quota_seen, quotas_of
from scaler.adapters.kubernetes.refusals import FAILED, Refusal, latest_refusals, refusal_told
from scaler.adapters.kubernetes.targets import Link, TargetSeen, link, target_seen
from scaler.api.v1alpha1 import API_VERSION
from scaler.core.model import Missing, Pools

T = TypeVar("T")

APPS: Final = "apps/v1"
KEDA: Final = "keda.sh/v1alpha1"

LOOK_AGAIN_S: Final = 600.0
"""Where KEDA is not installed, or claims of devices are not served, they are looked for again after so long."""

ONLY_OWN: Final = "only some namespaces are followed, so nobody knows who else holds GPUs"

PATIENCE_S: Final = 60.0
"""So long what was last seen counts while the API server cannot be followed; a restart of it takes less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of target, with all objects of it."""

    resource: Resource
    objects: Watched[TargetSeen]


@dataclass(slots=True, kw_only=True)
class Views:
    """The watched collections, in ``namespaces`` (none: in all)."""

    means: Means
    discovery: Discovery
    namespaces: tuple[str, ...]
    policies: Watched[PolicyObject] = field(init=False)
    pods: Watched[PodSeen] = field(init=False)
    nodes: Watched[NodeSeen] = field(init=False)
    quotas: Watched[QuotaSeen] = field(init=False)
    replica_sets: Watched[Link] = field(init=False)
    autoscalers: Watched[Claim] = field(init=False)
    scaled_objects: Watched[Claim] | None = field(init=False, default=None)
    kinds: dict[tuple[str, str], Kind] = field(init=False, default_factory=dict)
    claimed: dict[str, Watched[int]] = field(init=False, default_factory=dict)
    refusals: Watched[Refusal] | None = field(init=False, default=None)
    _waiting: asyncio.Queue[Watched[Any]] = field(init=False, default_factory=asyncio.Queue)
    _asked_at_s: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.policies = self._follow(API_VERSION, "scalingpolicies", policy_object)
        self.pods = self._follow("v1", "pods", pod_seen)
        self.nodes = self._follow("v1", "nodes", node_seen, is_in_namespaces=False)
        self.quotas = self._follow("v1", "resourcequotas", quota_seen)
        self.replica_sets = self._follow(APPS, "replicasets", link)
        self.autoscalers = self._follow("autoscaling/v2", "horizontalpodautoscalers", hpa_claim)
        for kind, plural in (("Deployment", "deployments"), ("StatefulSet", "statefulsets")):
            self._add(Resource(api_version=APPS, kind=kind, plural=plural, has_scale=True))

    async def run(self) -> NoReturn:
        """Follow all of it until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                view = await self._waiting.get()
                for informer in view.informers:
                    group.create_task(informer.run(), name=f"follow {informer.path}")

    async def kind(self, api_version: str, kind: str) -> Kind | Missing:
        """The objects of a kind of target, watched from now on. Raises TransientError and RefusedError."""
        known = self.kinds.get((api_version, kind))
        if known is not None:
            return known
        resource = await self.discovery.resource(api_version, kind)
        if isinstance(resource, Missing):
            return resource
        if not resource.has_scale:
            return Missing(why=f"{kind} in {api_version} has no /scale, so its replicas cannot be set")
        return self._add(resource)

    async def look_for_keda(self) -> None:
        """Watch ScaledObjects where there are such things. Raises TransientError and RefusedError."""
        found = None if self.scaled_objects is not None else await self._looked_for(KEDA, "ScaledObject")
        if found is not None:
            self.scaled_objects = self._follow(KEDA, found.plural, scaled_object_claim)

    async def look_for_claims(self) -> None:
        """Watch claims of devices, and their templates, where they are served. Raises as above."""
        for kind in (CLAIM, CLAIM_TEMPLATE):
            found = None if kind in self.claimed else await self._looked_for(DRA, kind)
            if found is not None:
                self.claimed[kind] = self._follow(DRA, found.plural, claimed_gpus)

    async def _looked_for(self, api_version: str, kind: str) -> Resource | None:
        """A kind that may not be there; it is asked for once in a while."""
        now_s = self.means.clock.now_s()
        if now_s - self._asked_at_s.get(kind, float("-inf")) < LOOK_AGAIN_S:
            return None
        found = await self.discovery.resource(api_version, kind)
        self._asked_at_s[kind] = now_s
        return found if isinstance(found, Resource) else None

    def look_for_refusals(self) -> None:
        """Watch the events that tell of pods that were not created."""
        if self.refusals is None:
            self.refusals = self._follow(EVENTS, "events", refusal_told, query=FAILED)

    def claims(self) -> list[Claim]:
        """What other autoscalers scale."""
        keda = [] if self.scaled_objects is None else list(self.scaled_objects.store.values())
        return [*self.autoscalers.store.values(), *keda]

    def class_of(self, node: str) -> str | None:
        """The class of a node, None where it is not known."""
        seen = self.nodes.store.get("", node)
        return None if seen is None else seen.node_class or None

    def pools(self) -> Pools:
        """The GPUs that there are, those that are free, and what quotas leave; Missing with the reason if not seen."""
        now_s = self.means.clock.now_s()
        quotas, nodes, pods = (each.lost(now_s, PATIENCE_S) for each in (self.quotas, self.nodes, self.pods))
        unseen = nodes or pods or (ONLY_OWN if self.namespaces else None)
        by_name = {name: node for (_, name), node in self.nodes.store.items()}
        running = self.pods.store.values()
        return Pools(
            products=pools_of(by_name, running) if unseen is None else Missing(why=unseen),
            quotas=quotas_of(self.quotas.store.values()) if quotas is None else Missing(why=quotas),
        )

    def pods_of(self, targets: frozenset[str]) -> dict[str, tuple[PodSeen, ...]]:
        """The pods of each of ``targets`` (uids)."""
        pods = list(self.pods.store.values())
        found = pods_by_target(pods, parents_of(self._links(), pods), targets)
        return {uid: tuple(mine) for uid, mine in found.items()}

    def gpus(self, namespace: str, devices: Devices) -> int:
        """The GPUs that ``devices`` are, of pods in ``namespace``."""
        return devices.counted(lambda claim: self._claimed(namespace, claim))

    def _claimed(self, namespace: str, claim: ClaimNamed) -> int | None:
        view = self.claimed.get(claim.kind)
        return None if view is None else view.store.get(namespace, claim.name)

    def refusals_of(self, targets: frozenset[str]) -> Mapping[str, Refusal]:
        """The last pod of each of ``targets`` (uids) that could not be created, where an event tells of one."""
        told = [] if self.refusals is None else list(self.refusals.store.values())
        if not told:
            return {}
        parents = parents_of(self._links(), ())
        return latest_refusals(told, lambda uid: uid if uid in targets else target_above(uid, parents, targets))

    @property
    def unlisted(self) -> str | None:
        """Which list has not been had yet, and why not; None when all have."""
        now_s = self.means.clock.now_s()
        return next((view.lost(now_s, math.inf) for view in self._all() if not view.has_synced), None)

    def blind(self) -> str | None:
        """Why no fleet can be told now, None where all can."""
        now_s = self.means.clock.now_s()
        views: tuple[Watched[Any], ...] = (self.pods, self.replica_sets, *self._target_views())
        reasons = (view.lost(now_s, PATIENCE_S) for view in views)
        return next((why for why in reasons if why is not None), None)

    def _links(self) -> Iterator[Link]:
        yield from self.replica_sets.store.values()
        for view in self._target_views():
            for target in view.store.values():
                yield Link(uid=target.uid, owner=target.owner)

    def _target_views(self) -> list[Watched[TargetSeen]]:
        return [kind.objects for kind in self.kinds.values() if kind.resource.api_version == APPS]

    def _all(self) -> list[Watched[Any]]:
        keda = () if self.scaled_objects is None else (self.scaled_objects,)
        targets = (kind.objects for kind in self.kinds.values())
        return [self.policies, self.pods, self.nodes, self.replica_sets, self.autoscalers, *targets, *keda]

    def _add(self, resource: Resource) -> Kind:
        project = partial(_target, kind=resource.kind)
        kind = Kind(resource=resource, objects=self._follow(resource.api_version, resource.plural, project))
        self.kinds[resource.api_version, resource.kind] = kind
        return kind

    def _follow(
        self,
        api_version: str,
        plural: str,
        project: Callable[[Json, T | None], T],
        *,
        is_in_namespaces: bool = True,
        query: Mapping[str, str] = NO_QUERY,
    ) -> Watched[T]:
        path_in = partial(path_to, api_version, plural)
        view = watched(self.means, path_in, self.namespaces if is_in_namespaces else (), project, query)
        self._waiting.put_nowait(view)
        return view


def _target(thing: Json, _: TargetSeen | None, *, kind: str) -> TargetSeen:
    return target_seen(thing, kind)
