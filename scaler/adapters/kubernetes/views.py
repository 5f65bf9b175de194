"""All that is watched: policies, pods, nodes, what stands between pods and targets, targets, and other autoscalers.

Deployments and StatefulSets are watched from the start, any other kind from when a policy first names it.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from scaler.adapters.kubernetes.client import Json
from scaler.adapters.kubernetes.discovery import Discovery, Resource
from scaler.adapters.kubernetes.fleet import parents_of, pods_by_target
from scaler.adapters.kubernetes.informer import Means, Watched, watched
from scaler.adapters.kubernetes.ownership import Claim, hpa_claim, scaled_object_claim
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.pods import PodSeen, node_class, pod_seen
from scaler.adapters.kubernetes.policies import PolicyObject, policy_object
from scaler.adapters.kubernetes.targets import Link, TargetSeen, link, target_seen
from scaler.api.v1alpha1 import API_VERSION
from scaler.core.model import Missing

T = TypeVar("T")

APPS: Final = "apps/v1"
KEDA: Final = "keda.sh/v1alpha1"

LOOK_FOR_KEDA_S: Final = 600.0
"""Where KEDA is not installed, it is looked for again after so long."""

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
    nodes: Watched[str] = field(init=False)
    replica_sets: Watched[Link] = field(init=False)
    autoscalers: Watched[Claim] = field(init=False)
    scaled_objects: Watched[Claim] | None = field(init=False, default=None)
    kinds: dict[tuple[str, str], Kind] = field(init=False, default_factory=dict)
    _waiting: asyncio.Queue[Watched[Any]] = field(init=False, default_factory=asyncio.Queue)
    _keda_asked_at_s: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self.policies = self._follow(API_VERSION, "scalingpolicies", policy_object)
        self.pods = self._follow("v1", "pods", pod_seen)
        self.nodes = self._follow("v1", "nodes", node_class, is_in_namespaces=False)
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

    @property
    def has_synced(self) -> bool:
        """Whether all that is watched was listed once."""
        return all(view.has_synced for view in self._all())

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
        now_s = self.means.clock.now_s()
        if self.scaled_objects is not None or now_s - self._keda_asked_at_s < LOOK_FOR_KEDA_S:
            return
        found = await self.discovery.resource(KEDA, "ScaledObject")
        self._keda_asked_at_s = now_s
        if isinstance(found, Resource):
            self.scaled_objects = self._follow(KEDA, found.plural, scaled_object_claim)

    def claims(self) -> list[Claim]:
        """What other autoscalers scale."""
        keda = [] if self.scaled_objects is None else list(self.scaled_objects.store.values())
        return [*self.autoscalers.store.values(), *keda]

    def class_of(self, node: str) -> str | None:
        """The class of a node, None where it is not known."""
        return self.nodes.store.get("", node) or None

    def pods_of(self, targets: frozenset[str]) -> dict[str, tuple[PodSeen, ...]]:
        """The pods of each of ``targets`` (uids)."""
        pods = list(self.pods.store.values())
        found = pods_by_target(pods, parents_of(self._links(), pods), targets)
        return {uid: tuple(mine) for uid, mine in found.items()}

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
    ) -> Watched[T]:
        path_in = partial(path_to, api_version, plural)
        view = watched(self.means, path_in, self.namespaces if is_in_namespaces else (), project)
        self._waiting.put_nowait(view)
        return view


def _target(thing: Json, _: TargetSeen | None, *, kind: str) -> TargetSeen:
    return target_seen(thing, kind)
