"""The Kubernetes adapter on a real control plane, with no more rights than deploy/base gives it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from numpy.random import default_rng
from structlog.testing import CapturingLogger

from scaler.adapters.clock import SteadyClock, SystemClock
from scaler.adapters.kubernetes.budget import Budget
from scaler.adapters.kubernetes.client import Client
from scaler.adapters.kubernetes.cluster import KubernetesCluster, Model, cluster_of
from scaler.adapters.kubernetes.election import Elector, Post, Terms
from scaler.adapters.kubernetes.errors import ConflictError
from scaler.adapters.kubernetes.events import Events, Happening, Regarding
from scaler.adapters.kubernetes.informer import QUIET_S, Means
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.adapters.kubernetes.targets import count_writer
from scaler.adapters.kubernetes.transport import from_kubeconfig
from scaler.core.decide import decide
from scaler.core.memory import Memory
from scaler.core.model import Fleet, Load, Missing, Phase, Snapshot, TargetKey
from scaler.core.plan import SetReplicas
from scaler.runtime.ports import Record, TransientError
from testbed.control_plane import ControlPlane
from testbed.objects import H100, Life, is_true
from testbed.rest import Rest
from testbed.tenant import Tenant
from testbed.waiting import wait_for

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
V1 = TargetKey(version="v1", role="Serve")
POLICIES = "forebay.dev/v1alpha1"
CLOCK, STEADY = SystemClock(), SteadyClock()

T = TypeVar("T")


class Controller:
    """One process' adapter, and what it asked for."""

    def __init__(self, kubeconfig: Path, namespace: str, quiet_s: float = QUIET_S) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.transport = from_kubeconfig(kubeconfig)
        log: Any = CapturingLogger()
        self.client = Client(
            transport=self.transport,
            budget=Budget(clock=STEADY, per_second=50),
            counted=lambda verb, resource, status: self.requests.update([(verb, resource, status)]),
            may_write=lambda: True,
        )
        self.events = Events(client=self.client, log=log, instance="forebay-0")
        reporter = Reporter(client=self.client, events=self.events, log=log)
        means = Means(client=self.client, clock=STEADY, chance=default_rng(1), log=log, quiet_s=quiet_s)
        self.means, self.log = means, log
        self.cluster: KubernetesCluster = cluster_of(self.client, means, (namespace,), reporter)

    async def model(self) -> Model:
        (model,) = (await self.cluster.look(CLOCK.now_s())).models
        return model

    async def fleet(self) -> Fleet | Missing:
        try:
            return (await self.model()).observation.fleet(V1)
        except TransientError as error:
            return Missing(why=str(error))

    async def fleet_when(self, claim: Callable[[Fleet], bool], within_s: float = 60.0) -> Fleet:
        found = await eventually(self.fleet, lambda fleet: isinstance(fleet, Fleet) and claim(fleet), within_s)
        assert isinstance(found, Fleet)
        return found

    async def blind(self) -> str | None:
        return self.cluster.views.pods.lost(STEADY.now_s(), patience_s=0.0)

    async def tell(self, at_s: float) -> None:
        model = await self.model()
        snapshot = Snapshot(at_s=at_s, models={model.policy.name: model.observation})
        (plan,) = decide(snapshot, {}, [model.policy])
        memory = Memory(at_s=at_s)
        record = Record(policy=model.policy, observation=model.observation, memory=memory, plan=plan)
        await self.cluster.tell([record], at_s)


async def eventually(look: Callable[[], Awaitable[T]], claim: Callable[[T], bool], within_s: float = 60.0) -> T:
    deadline_s = STEADY.now_s() + within_s
    while not claim(seen := await look()):
        assert STEADY.now_s() < deadline_s, f"not within {within_s:g} s; last seen: {seen!r}"
        await STEADY.wait_until(STEADY.now_s() + 0.1)
    return seen


@asynccontextmanager
async def at_work(kubeconfig: Path, tenant: Tenant, quiet_s: float = QUIET_S) -> AsyncIterator[Controller]:
    controller = Controller(kubeconfig, tenant.namespace, quiet_s)
    following = asyncio.ensure_future(controller.cluster.run())
    try:
        yield controller
        assert not following.done()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await controller.transport.close()


@pytest.fixture
async def controller(kubeconfig: Path, tenant: Tenant) -> AsyncIterator[Controller]:
    async with at_work(kubeconfig, tenant) as controller:
        yield controller


def add_policy(tenant: Tenant, **target: str) -> None:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama", **target}
    spec = {
        "signals": {"engine": "VLLM"},
        "versions": [{"name": "v1", "targets": [{"role": "Serve", "targetRef": ref}]}],
        "replicas": {"min": 1, "max": 8},
    }
    body = {"apiVersion": POLICIES, "kind": "ScalingPolicy", "metadata": {"name": "llama"}, "spec": spec}
    tenant.api.create(tenant.path(POLICIES, "scalingpolicies"), body)


def deployment(tenant: Tenant) -> Any:
    return tenant.api.get(tenant.path("apps/v1", "deployments", "llama"))


async def test_pods_are_seen_on_their_way_with_marks_in_order(tenant: Tenant, controller: Controller) -> None:
    tenant.add_nodes(1)
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=2, gpus=4, life=Life(pull_s=2, load_s=4))
    phases: list[Phase] = []

    async def look() -> Fleet | Missing:
        fleet = await controller.fleet()
        if isinstance(fleet, Fleet):
            phases.extend(each.phase for each in fleet.replicas[:1] if [each.phase] != phases[-1:])
        return fleet

    fleet = await eventually(look, lambda seen: isinstance(seen, Fleet) and len(seen.ready()) == 2)

    assert isinstance(fleet, Fleet)
    assert phases[-3:] == [Phase.PULLING, Phase.LOADING, Phase.READY]
    assert (fleet.requested, fleet.gpus_per_replica) == (2, 4)
    for each in fleet.replicas:
        assert each.node_class == H100
        assert each.scheduled_at_s is not None
        assert each.initialised_at_s is not None
        assert each.ready_at_s is not None
        assert each.created_at_s <= each.scheduled_at_s <= each.initialised_at_s <= each.ready_at_s


async def test_a_pod_that_finds_no_room_says_since_when(tenant: Tenant, controller: Controller) -> None:
    tenant.add_nodes(1, gpus=1)
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=2)

    fleet = await controller.fleet_when(
        lambda seen: any(each.unschedulable_since_s is not None for each in seen.replicas) and len(seen.placed()) == 1
    )

    assert sum(each.phase is Phase.WAITING for each in fleet.replicas) == 1


async def test_a_count_is_read_and_written_from_zero_and_back(tenant: Tenant, controller: Controller) -> None:
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=0)
    await controller.fleet_when(lambda seen: seen.requested == 0)
    policy = (await controller.model()).policy

    seen: list[int] = []
    for count in (3, 1, 0):
        await controller.cluster.act(policy, (SetReplicas(key=V1, replicas=count),))
        seen.append((await controller.fleet_when(lambda fleet, count=count: fleet.requested == count)).requested)  # type: ignore[misc]

    assert seen == [3, 1, 0]
    assert deployment(tenant)["spec"]["replicas"] == 0


async def test_what_we_wrote_is_noted_under_our_name(tenant: Tenant, controller: Controller) -> None:
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=1)
    await controller.fleet_when(lambda seen: seen.requested == 1)

    await controller.cluster.act((await controller.model()).policy, (SetReplicas(key=V1, replicas=2),))

    writer = count_writer(deployment(tenant)["metadata"]["managedFields"])
    assert writer is not None
    assert writer.name == "forebay"


async def test_a_count_that_someone_else_wrote_is_left_and_told_of(tenant: Tenant, controller: Controller) -> None:
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=2)
    await controller.fleet_when(lambda seen: seen.requested == 2)
    policy = (await controller.model()).policy
    await controller.cluster.act(policy, (SetReplicas(key=V1, replicas=3),))
    await controller.fleet_when(lambda seen: seen.requested == 3)

    tenant.scale("llama", 7)

    with pytest.raises(ConflictError):
        await controller.cluster.act(policy, (SetReplicas(key=V1, replicas=1),))
    await controller.fleet_when(lambda seen: seen.requested == 7)
    condition = (await controller.model()).ownership
    assert deployment(tenant)["spec"]["replicas"] == 7
    assert (condition.status, condition.reason) == (False, "WrittenByOthers")
    assert "to 7 replicas" in condition.message


async def test_the_pod_with_the_least_work_goes_first(tenant: Tenant, controller: Controller) -> None:
    tenant.add_nodes(1)
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=4)
    fleet = await controller.fleet_when(lambda seen: len(seen.ready()) == 4)
    names = sorted(each.name for each in fleet.replicas)
    at_s = CLOCK.now_s()
    loads = {name: Load(at_s=at_s, running=running, waiting=0, kv_usage=0) for running, name in enumerate(names)}
    policy = (await controller.model()).policy

    await controller.cluster.act(policy, (SetReplicas(key=V1, replicas=2),), loads)

    left = await controller.fleet_when(lambda seen: len(seen.ready()) == 2)
    assert sorted(each.name for each in left.ready()) == names[2:]


async def test_the_status_is_accepted_and_read_back(tenant: Tenant, controller: Controller) -> None:
    tenant.add_nodes(1)
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=1)
    await controller.fleet_when(lambda seen: len(seen.ready()) == 1)

    await controller.tell(CLOCK.now_s())

    stored = tenant.api.get(tenant.path(POLICIES, "scalingpolicies", "llama"))
    assert stored["status"]["desired"] == 1
    assert {each["type"] for each in stored["status"]["conditions"]} == {
        "Ready", "SignalsHealthy", "CapacityAvailable", "OwnershipClear", "Releasing", "Forecastable", "ReplicasAlike",
    }  # fmt: skip
    seen = await eventually(controller.model, lambda model: model.object.status is not None)
    assert seen.object.status == controller.cluster.reporter.current(seen.object)
    written = controller.requests["patch", "scalingpolicies/status", "200"]
    await controller.tell(CLOCK.now_s())
    assert controller.requests["patch", "scalingpolicies/status", "200"] == written == 1


async def test_events_and_their_series_are_accepted(tenant: Tenant, controller: Controller) -> None:
    add_policy(tenant)
    stored = tenant.api.get(tenant.path(POLICIES, "scalingpolicies", "llama"))
    about = Regarding(namespace=tenant.namespace, name="llama", uid=stored["metadata"]["uid"])
    at_s = CLOCK.now_s()
    happening = Happening(reason="DemandUnknown", action="SignalsHealthy", note="é" * 2000, is_warning=True)

    for after_s in (0.0, 70.0, 140.0):
        await controller.events.tell(about, happening, at_s + after_s)

    (event,) = tenant.api.items(tenant.path("events.k8s.io/v1", "events"), fieldSelector="reason=DemandUnknown")
    assert event["series"]["count"] == 3
    assert len(event["note"].encode()) <= 1024


async def test_an_hpa_on_the_target_is_named(tenant: Tenant, controller: Controller) -> None:
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=1)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3}
    path = tenant.path("autoscaling/v2", "horizontalpodautoscalers")
    tenant.api.create(path, {"metadata": {"name": "by-cpu"}, "spec": spec})
    await controller.fleet_when(lambda _: True)

    model = await eventually(controller.model, lambda seen: seen.ownership.status is False)

    assert model.ownership.reason == "OtherAutoscaler"
    assert "HorizontalPodAutoscaler by-cpu" in model.ownership.message


GRAPH = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "inferencegraphs.test.forebay.dev"},
    "spec": {
        "group": "test.forebay.dev",
        "names": {"kind": "InferenceGraph", "plural": "inferencegraphs"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.workers", "statusReplicasPath": ".status.workers"},
                },
            }
        ],
    },
}
GRAPH_ROLE = [
    {"apiGroups": ["test.forebay.dev"], "resources": ["inferencegraphs"], "verbs": ["list", "watch"]},
    {"apiGroups": ["test.forebay.dev"], "resources": ["inferencegraphs/scale"], "verbs": ["get", "patch"]},
]


def add_graph_kind(api: Rest) -> None:
    """A kind of the user's own, and the rights on it that deploy/base says to add."""
    api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", GRAPH)
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{'inferencegraphs.test.forebay.dev'}"
    wait_for("the kind", lambda: is_true(api.get(path), "Established"))
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    api.create(f"{rbac}/clusterroles", {"metadata": {"name": "graphs"}, "rules": GRAPH_ROLE})
    subject = {"kind": "ServiceAccount", "name": "forebay", "namespace": "forebay"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "graphs"}
    body = {"metadata": {"name": "graphs"}, "roleRef": role, "subjects": [subject]}
    api.create(f"{rbac}/clusterrolebindings", body)


async def test_any_kind_with_a_scale_is_read_and_written(tenant: Tenant, controller: Controller) -> None:
    add_graph_kind(tenant.api)
    add_policy(tenant, apiVersion="test.forebay.dev/v1", kind="InferenceGraph")
    path = tenant.path("test.forebay.dev/v1", "inferencegraphs")
    body = {"apiVersion": "test.forebay.dev/v1", "kind": "InferenceGraph", "metadata": {"name": "llama"}}
    tenant.api.create(path, {**body, "spec": {"workers": 2}})
    await controller.fleet_when(lambda seen: seen.requested == 2)
    policy = (await controller.model()).policy

    await controller.cluster.act(policy, (SetReplicas(key=V1, replicas=5),))

    assert tenant.api.get(f"{path}/llama")["spec"]["workers"] == 5
    await controller.fleet_when(lambda seen: seen.requested == 5)
    tenant.api.patch(f"{path}/llama", {"spec": {"workers": 6}})
    with pytest.raises(ConflictError):
        await controller.cluster.act(policy, (SetReplicas(key=V1, replicas=1),))


def elector(controller: Controller, identity: str) -> Elector:
    return Elector(
        client=replace(controller.client, budget=Budget(clock=STEADY, per_second=10)),
        post=Post(namespace="forebay", name="forebay", identity=identity),
        wall=CLOCK,
        steady=STEADY,
        chance=default_rng(len(identity)),
        log=controller.log,
        terms=Terms(lease_s=3.0, renew_within_s=2.0, retry_s=0.4),
    )


async def test_of_two_one_leads_and_the_other_follows(controller: Controller) -> None:
    leading: list[str] = []

    async def work(identity: str) -> None:
        leading.append(identity)
        await asyncio.Event().wait()

    async def begun(count: int) -> None:
        await eventually(lambda: asyncio.sleep(0, leading), lambda seen: len(seen) == count)  # noqa: TID251

    one, two = elector(controller, "a"), elector(controller, "bb")
    first = asyncio.ensure_future(one.lead(lambda: work("a")))
    await begun(1)
    second = asyncio.ensure_future(two.lead(lambda: work("bb")))
    begun_s = STEADY.now_s()
    await STEADY.wait_until(begun_s + 4.0)

    assert leading == ["a"]
    assert one.may_write()
    assert not two.may_write()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await begun(2)
    assert two.may_write()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_restarted_api_server_is_followed_again(
    tenant: Tenant, controller: Controller, cluster: ControlPlane
) -> None:
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=1)
    await controller.fleet_when(lambda seen: len(seen.replicas) == 1)

    cluster.kill_part("kube-apiserver")
    await eventually(controller.blind, lambda pods: pods is not None)
    # Not in a thread of its own: the part would end with the thread that started it.
    cluster.start_part("kube-apiserver")
    tenant.scale("llama", 3)

    await controller.fleet_when(lambda seen: seen.requested == 3 and len(seen.replicas) == 3, within_s=90.0)
    assert sum(count for (verb, _, _), count in controller.requests.items() if verb in {"list", "watch"}) < 150


async def test_nothing_that_was_asked_for_was_forbidden(tenant: Tenant, controller: Controller) -> None:
    tenant.add_nodes(1)
    add_policy(tenant)
    tenant.add_deployment("llama", replicas=1)
    await controller.fleet_when(lambda seen: len(seen.ready()) == 1)
    await controller.tell(CLOCK.now_s())

    await eventually(controller.fleet, lambda _: controller.cluster.unlisted is None)

    assert not [asked for asked in controller.requests if asked[2] == "403"]
