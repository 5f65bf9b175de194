"""The cluster as the loop sees it, from stored objects to fleets, and from commands to what is stored."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from aiohttp import web
from numpy.random import default_rng

from scaler.adapters.clock import SteadyClock
from scaler.adapters.kubernetes.cluster import KubernetesCluster, Model, Sight, cluster_of
from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.gpus import devices_of
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.core.decide import decide
from scaler.core.memory import Memory
from scaler.core.model import Fleet, Missing, Pool, Pools, Quota, Refused, Snapshot, TargetKey
from scaler.core.plan import SetReplicas, SetWeights
from scaler.runtime.ports import Record, TransientError
from tests.adapters.differences import merged
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.conftest import Caller, LeapingClock, running, until
from tests.adapters.kubernetes.fake_api import FakeApi, failure
from tests.adapters.kubernetes.recorded import CREATED_S, Json, owned, wrote
from tests.api.builders import ONE_VERSION, TWO_VERSIONS
from tests.builders import load

AT_S = CREATED_S + 4 * 3600
V1 = TargetKey(version="v1", role="Serve")
SCALE = "/apis/apps/v1/namespaces/models/deployments/llama-v1/scale"


def policy(name: str = "llama", text: str = ONE_VERSION, **difference: Any) -> Json:
    thing: Json = yaml.safe_load(text)
    metadata = {"name": name, "uid": f"uid-policy-{name}", "generation": 3, "creationTimestamp": recorded.CREATED}
    return merged(merged(thing, {"metadata": metadata}), difference)


def replica_set(name: str = "llama-v1-7c9f", owner: str = "uid-llama-v1") -> Json:
    return owned(name, "uid-rs", owner=owner)


async def fill(api: FakeApi, *pods: Json, deployment: Json | None = None, **policy_difference: Any) -> None:
    await api.put("scalingpolicies", policy(**policy_difference))
    await api.put("deployments", deployment or recorded.deployment(replicas=len(pods)))
    await api.put("replicasets", replica_set())
    await api.put("nodes", recorded.node())
    for pod in pods:
        await api.put("pods", pod)


@pytest.fixture
async def cluster(caller: Caller, means: Means) -> AsyncIterator[KubernetesCluster]:
    events = Events(client=caller.client, log=means.log, instance="forebay-0")
    reporter = Reporter(client=caller.client, events=events, log=means.log)
    made = cluster_of(caller.client, means, (), reporter)
    async with running(made.run()):
        yield made


async def sight(cluster: KubernetesCluster) -> Sight:
    await until(lambda: cluster.unlisted is None, "all lists")
    return await cluster.look(AT_S)


async def model(cluster: KubernetesCluster) -> Model:
    (seen,) = (await sight(cluster)).models
    return seen


def fleet(seen: Model) -> Fleet | Missing:
    return seen.observation.fleet(V1)


async def test_a_policys_fleet_is_seen(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"), recorded.loading("b"))

    seen = await model(cluster)

    found = fleet(seen)
    assert isinstance(found, Fleet)
    assert seen.policy.name == "models/llama"
    assert (found.requested, found.gpus_per_replica) == (2, 2)
    assert [replica.name for replica in found.ready()] == ["a"]
    assert [replica.name for replica in found.starting()] == ["b"]


async def test_the_devices_of_a_claim_are_counted_from_its_template(api: FakeApi, cluster: KubernetesCluster) -> None:
    claims = [{"name": "gpus", "resourceClaimTemplateName": "four-gpus"}]
    spec: Json = {"containers": [{}], "resourceClaims": claims}
    claiming = merged(recorded.deployment(), {"spec": {"template": {"spec": spec}}})
    await fill(api, recorded.ready("a"), deployment=claiming)
    api.objects["/apis/resource.k8s.io/v1"] = {
        "resources": [
            {"name": "resourceclaims", "kind": "ResourceClaim"},
            {"name": "resourceclaimtemplates", "kind": "ResourceClaimTemplate"},
        ]
    }
    before = fleet(await model(cluster))
    assert isinstance(before, Fleet)

    asked = {"name": "gpu", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 4}}
    template: Json = {"spec": {"spec": {"devices": {"requests": [asked]}}}}
    await api.put("resourceclaimtemplates", owned("four-gpus", "uid-t", apiVersion="resource.k8s.io/v1", **template))
    await until(lambda: cluster.views.gpus("models", devices_of(spec)) == 4, "the template")

    after = fleet(await model(cluster))
    assert isinstance(after, Fleet)
    assert (before.gpus_per_replica, after.gpus_per_replica) == (1, 4)


def h100_node(name: str = "gpu-1") -> Json:
    status = {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}
    node = merged(recorded.node(name), {"status": status})
    node["metadata"]["labels"]["nvidia.com/gpu.product"] = "H100"
    return node


def gpu_quota(used: int = 2) -> Json:
    counted = {"hard": {"requests.nvidia.com/gpu": "6"}, "used": {"requests.nvidia.com/gpu": str(used)}}
    return {"metadata": {"name": "gpus", "namespace": "models", "uid": "uid-q"}, "spec": {}, "status": counted}


async def test_the_gpus_of_the_cluster_are_counted_with_the_pods_of_all_namespaces(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    theirs = recorded.pod("theirs", metadata={"namespace": "elsewhere"}, spec={"nodeName": "gpu-1"})
    await fill(api, recorded.pod(spec={"nodeName": "gpu-1"}))
    await api.put("nodes", h100_node())
    await api.put("pods", theirs)
    await api.put("resourcequotas", gpu_quota())
    await until(lambda: len(list(cluster.views.pods.store.values())) == 2, "both pods")
    await until(lambda: list(cluster.views.quotas.store.values()), "the quota")
    await until(lambda: cluster.views.class_of("gpu-1") == "H100", "the node")

    seen = await sight(cluster)

    assert seen.pools == Pools(
        products=(Pool(product="H100", allocatable_gpus=8, free_gpus=4),),
        quotas=(Quota(namespace="models", hard_gpus=6, left_gpus=4),),
    )


async def test_who_follows_some_namespaces_only_does_not_know_who_else_holds_gpus(
    api: FakeApi, caller: Caller, means: Means
) -> None:
    events = Events(client=caller.client, log=means.log, instance="forebay-0")
    cluster = cluster_of(
        caller.client, means, ("models",), Reporter(client=caller.client, events=events, log=means.log)
    )
    async with running(cluster.run()):
        await fill(api)
        pools = (await sight(cluster)).pools

    assert pools.products == Missing(why="only some namespaces are followed, so nobody knows who else holds GPUs")


async def test_without_the_right_to_quotas_all_else_goes_on(api: FakeApi, cluster: KubernetesCluster) -> None:
    said = "resourcequotas is forbidden"
    api.always = lambda request: failure(403, said) if request.path.endswith("/resourcequotas") else None
    (informer,) = cluster.views.quotas.informers
    await fill(api)
    await until(lambda: said in informer.lost_why, "an answer")

    seen = await sight(cluster)

    assert isinstance(seen.pools.products, tuple)
    assert seen.pools.quotas == Missing(why=f"the resourcequotas were not listed yet: 403: {said}")


async def test_an_event_says_why_pods_of_a_stateful_set_were_not_created(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    ref = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "llama-v1"}
    target = {"versions": [{"name": "v1", "targets": [{"role": "Serve", "targetRef": ref}]}]}
    await api.put("scalingpolicies", policy(spec=target))
    await api.put("statefulsets", recorded.deployment(replicas=2))
    assert fleet(await model(cluster)) == Fleet(requested=2, replicas=(), gpus_per_replica=2)

    said: Json = {"regarding": {"uid": "uid-llama-v1"}, "reason": "FailedCreate", "note": "exceeded quota"}
    await api.put("events", owned("llama-v1.1", "uid-e", apiVersion="events.k8s.io/v1", **said))
    await until(lambda: cluster.views.refusals_of(frozenset({"uid-llama-v1"})), "the event")

    seen = fleet(await model(cluster))
    assert isinstance(seen, Fleet)
    assert seen.refused == Refused(replicas=2, why="exceeded quota")
    assert {"fieldSelector": "reason=FailedCreate", "limit": "500"} in [
        query for _, path, query in api.requests if path.endswith("/events")
    ]


async def test_before_the_policies_are_listed_nothing_is_told(api: FakeApi, cluster: KubernetesCluster) -> None:
    api.always = lambda _: failure(503, "starting")

    with pytest.raises(TransientError, match="not listed yet"):
        await cluster.look(AT_S)


async def test_a_list_that_is_still_missing_is_named_with_the_reason(api: FakeApi, cluster: KubernetesCluster) -> None:
    def refused(request: web.Request) -> web.Response | None:
        return failure(403, "nodes is forbidden") if request.path.endswith("/nodes") else None

    api.always = refused
    (informer,) = cluster.views.nodes.informers

    await until(lambda: "forbidden" in informer.lost_why, "an answer")
    await until(lambda: cluster.views.pods.has_synced and cluster.views.policies.has_synced, "the other lists")
    await until(lambda: "nodes" in str(cluster.unlisted), "the one list alone")

    assert cluster.unlisted == "the nodes were not listed yet: 403: nodes is forbidden"


async def test_without_the_right_to_list_policies_the_refusal_is_told(api: FakeApi, cluster: KubernetesCluster) -> None:
    said = "scalingpolicies.forebay.dev is forbidden"
    api.always = lambda _: failure(403, said)
    (informer,) = cluster.views.policies.informers

    await until(lambda: said in informer.lost_why, "an answer")

    with pytest.raises(TransientError, match=said):
        await cluster.look(AT_S)


async def test_a_target_that_is_not_there_is_missing(api: FakeApi, cluster: KubernetesCluster) -> None:
    await api.put("scalingpolicies", policy())

    assert fleet(await model(cluster)) == Missing(why="there is no Deployment llama-v1 in models")


async def test_a_target_on_its_way_out_is_missing(api: FakeApi, cluster: KubernetesCluster) -> None:
    leaving = recorded.deployment(replicas=1, metadata={"deletionTimestamp": "2026-03-02T13:00:00Z"})
    await fill(api, recorded.ready("a"), deployment=leaving)

    assert fleet(await model(cluster)) == Missing(why="Deployment llama-v1 is being deleted")


async def test_a_target_that_is_made_again_is_seen_again(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    before = fleet(await model(cluster))
    await api.remove(SCALE.removesuffix("/scale"))
    await until(lambda: cluster.views.kinds["apps/v1", "Deployment"].objects.store.revision > 1, "its end")
    gone = fleet(await model(cluster))

    again = recorded.deployment(replicas=1)
    again["metadata"]["uid"] = "uid-llama-v1-again"
    await api.put("deployments", again)
    await until(lambda: cluster.views.kinds["apps/v1", "Deployment"].objects.store.revision > 2, "its return")

    assert isinstance(before, Fleet)
    assert isinstance(gone, Missing)
    assert fleet(await model(cluster)) == Fleet(requested=1, replicas=(), gpus_per_replica=2)


async def test_a_kind_of_any_name_is_read_through_its_scale(api: FakeApi, cluster: KubernetesCluster) -> None:
    ref = {"apiVersion": "example.com/v1", "kind": "InferenceGraph", "name": "llama-v1"}
    await fill(api, spec={"versions": [{"name": "v1", "targets": [{"targetRef": ref}]}]})
    api.objects["/apis/example.com/v1"] = {
        "resources": [
            {"name": "inferencegraphs", "kind": "InferenceGraph"},
            {"name": "inferencegraphs/scale", "kind": "Scale"},
        ]
    }
    graph = owned("llama-v1", "uid-graph", apiVersion="example.com/v1", spec={"replicas": 4})
    await api.put("inferencegraphs", graph)
    assert isinstance(fleet(await model(cluster)), Missing)

    found = fleet(await model(cluster))
    await model(cluster)

    assert isinstance(found, Fleet)
    assert found.requested == 4
    assert sum(path.endswith("/scale") for _, path, _ in api.requests) == 1


async def test_a_kind_without_a_scale_says_so(api: FakeApi, cluster: KubernetesCluster) -> None:
    ref = {"apiVersion": "example.com/v1", "kind": "Notebook", "name": "llama-v1"}
    await fill(api, spec={"versions": [{"name": "v1", "targets": [{"targetRef": ref}]}]})
    api.objects["/apis/example.com/v1"] = {"resources": [{"name": "notebooks", "kind": "Notebook"}]}

    found = fleet(await model(cluster))

    assert found == Missing(why="Notebook in example.com/v1 has no /scale, so its replicas cannot be set")


async def test_a_policy_that_is_not_sound_is_told_apart(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    await api.put("scalingpolicies", policy("bad", spec={"replicas": {"min": 9, "max": 4}}))

    seen = await sight(cluster)
    await cluster.tell_faults(seen.faulty, AT_S)

    assert [each.policy.name for each in seen.models] == ["models/llama"]
    stored = api.objects["/apis/forebay.dev/v1alpha1/namespaces/models/scalingpolicies/bad"]
    (condition,) = stored["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "False", "Invalid")
    assert "must be at most" in condition["message"]


async def test_a_second_policy_on_a_target_leaves_it_to_the_older(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    younger = policy("later", metadata={"creationTimestamp": "2026-03-03T00:00:00Z"})
    await api.put("scalingpolicies", younger)

    by_name = {each.policy.name: each for each in (await sight(cluster)).models}

    assert isinstance(fleet(by_name["models/llama"]), Fleet)
    assert fleet(by_name["models/later"]) == Missing(
        why="Deployment llama-v1 is a target of the older policy models/llama"
    )
    assert by_name["models/later"].ownership.reason == "SharedTarget"


async def test_a_command_is_an_absolute_count_guarded_by_the_one_seen(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"), recorded.ready("b"))
    seen = await model(cluster)

    await cluster.act(seen.policy, (SetReplicas(key=V1, replicas=5),))

    assert api.objects[SCALE.removesuffix("/scale")]["spec"]["replicas"] == 5
    assert api.bodies[-1] == (
        "PATCH",
        SCALE,
        [
            {"op": "test", "path": "/spec/replicas", "value": 2},
            {"op": "add", "path": "/spec/replicas", "value": 5},
        ],
    )


async def test_a_count_that_someone_wrote_meanwhile_is_not_overwritten(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, recorded.ready("a"), recorded.ready("b"))
    seen = await model(cluster)
    api.objects[SCALE.removesuffix("/scale")]["spec"]["replicas"] = 7

    with pytest.raises(TransientError, match="no longer has 2"):
        await cluster.act(seen.policy, (SetReplicas(key=V1, replicas=1),))

    assert api.objects[SCALE.removesuffix("/scale")]["spec"]["replicas"] == 7


async def test_writes_that_fail_now_and_then_end_at_the_count_and_never_at_another(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, recorded.ready("a"), recorded.ready("b"))
    chance = default_rng(3)

    def fail_some(request: web.Request) -> web.Response | None:
        if request.method == "GET" or chance.random() > 0.3:
            return None
        return failure(int(chance.choice([409, 500, 429])), "not now", retry_after="0")

    api.always = fail_some
    for count in (5, 3, 8, 1) * 3:
        await _insist(cluster, count)

    steps = [body for _, path, body in api.bodies if path == SCALE]
    assert [step[-1]["value"] for step in steps] == [5, 3, 8, 1] * 3


async def _insist(cluster: KubernetesCluster, count: int) -> None:
    """What the loop does: look, and say it again until it is so."""
    for _ in range(40):
        seen = await model(cluster)
        found = fleet(seen)
        assert isinstance(found, Fleet)
        if found.requested == count:
            return
        with contextlib.suppress(TransientError):
            await cluster.act(seen.policy, (SetReplicas(key=V1, replicas=count),))
            await until(lambda: _requested(cluster) == count, "our own write")
    raise AssertionError(f"never {count}")


async def test_the_pods_with_the_least_work_are_marked_before_a_shrink(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, recorded.ready("a"), recorded.ready("b"), recorded.ready("c"))
    seen = await model(cluster)
    loads = {"a": load(running=9), "b": load(running=0), "c": load(running=3)}

    await cluster.act(seen.policy, (SetReplicas(key=V1, replicas=1),), loads)

    written = [path.rsplit("/", 1)[-1] for method, path, _ in api.bodies if method == "PATCH"]
    assert written == ["b", "c", "scale"]


async def test_weights_are_not_served_yet(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    seen = await model(cluster)

    with pytest.raises(TransientError):
        await cluster.act(seen.policy, (SetWeights(weights={"v1": 100}),))


async def test_without_a_route_the_weights_are_missing(api: FakeApi, cluster: KubernetesCluster) -> None:
    await api.put("scalingpolicies", policy(text=TWO_VERSIONS))

    assert isinstance((await model(cluster)).observation.weights, Missing)


async def test_an_hpa_on_the_target_is_named(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama-v1"}
    hpa = owned("by-cpu", "uid-hpa", apiVersion="autoscaling/v2", spec={"scaleTargetRef": target})
    await api.put("horizontalpodautoscalers", hpa)

    condition = (await model(cluster)).ownership

    assert (condition.status, condition.reason) == (False, "OtherAutoscaler")
    assert "HorizontalPodAutoscaler by-cpu" in condition.message


async def test_a_scaled_object_is_named_where_keda_is_installed(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    api.objects["/apis/keda.sh/v1alpha1"] = {"resources": [{"name": "scaledobjects", "kind": "ScaledObject"}]}
    spec = {"scaleTargetRef": {"name": "llama-v1"}}
    await api.put("scaledobjects", owned("by-queue", "uid-so", apiVersion="keda.sh/v1alpha1", spec=spec))
    await model(cluster)

    condition = (await model(cluster)).ownership

    assert "ScaledObject by-queue" in condition.message


async def test_who_wrote_another_count_after_us_is_named(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"), recorded.ready("b"))
    seen = await model(cluster)
    await cluster.act(seen.policy, (SetReplicas(key=V1, replicas=5),))
    ours = (await model(cluster)).ownership
    by_hand = recorded.deployment(replicas=9)
    by_hand["metadata"]["managedFields"] = [wrote("kubectl", "2026-03-02T13:00:00Z")]
    await api.put("deployments", by_hand)
    await until(lambda: _requested(cluster) == 9, "the new count")

    condition = (await model(cluster)).ownership

    assert ours.status is True
    assert (condition.status, condition.reason) == (False, "WrittenByOthers")
    assert condition.message == ("kubectl set Deployment llama-v1 to 9 replicas at 2026-03-02T13:00:00Z, in place of 5")


async def set_by_hand(api: FakeApi, cluster: KubernetesCluster, replicas: int, at: str) -> Model:
    """The model after a person has written another count; a fake API server keeps no managedFields by itself."""
    by_hand = recorded.deployment(replicas=replicas)
    by_hand["metadata"]["managedFields"] = [wrote("kubectl", at)]
    await api.put("deployments", by_hand)
    await until(lambda: _requested(cluster) == replicas, "the new count")
    return await model(cluster)


async def test_who_wrote_before_we_ever_did_is_named_too(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    before = (await model(cluster)).ownership

    condition = (await set_by_hand(api, cluster, 4, "2026-03-02T13:00:00Z")).ownership

    assert before.status is True
    assert condition.message == "kubectl set Deployment llama-v1 to 4 replicas at 2026-03-02T13:00:00Z, in place of 1"


async def test_a_stranger_is_answered_once_a_minute_and_still_named(
    api: FakeApi, cluster: KubernetesCluster, means: Means
) -> None:
    cluster.views.means = replace(means, clock=SteadyClock())
    await fill(api, recorded.ready("a"))
    await model(cluster)
    first = await set_by_hand(api, cluster, 4, "2026-03-02T13:00:00Z")
    await cluster.act(first.policy, (SetReplicas(key=V1, replicas=1),))
    second = await set_by_hand(api, cluster, 5, "2026-03-02T13:00:02Z")

    with pytest.raises(TransientError, match="kubectl wrote another count again, which is answered once in 60 s"):
        await cluster.act(second.policy, (SetReplicas(key=V1, replicas=1),))

    assert [path for _, path, _ in api.bodies].count(SCALE) == 1
    assert second.ownership.reason == "WrittenByOthers"


async def test_our_own_counts_are_written_as_often_as_they_are_decided(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, recorded.ready("a"))
    for count in (2, 3, 4):
        await cluster.act((await model(cluster)).policy, (SetReplicas(key=V1, replicas=count),))
        await until(lambda count=count: _requested(cluster) == count, "our own write")  # type: ignore[misc]

    assert (await model(cluster)).ownership.status is True
    assert [path for _, path, _ in api.bodies].count(SCALE) == 3


def _requested(cluster: KubernetesCluster) -> int | None:
    target = cluster.views.kinds["apps/v1", "Deployment"].objects.store.get("models", "llama-v1")
    return None if target is None else target.requested


# --- Telling -----------------------------------------------------------------------------------------------------


def record(seen: Model, at_s: float = AT_S) -> Record:
    memory = Memory(at_s=at_s)
    snapshot = Snapshot(at_s=at_s, models={seen.policy.name: seen.observation})
    (plan,) = decide(snapshot, {}, [seen.policy])
    return Record(policy=seen.policy, observation=seen.observation, memory=memory, plan=plan)


def status(api: FakeApi) -> Json:
    stored = api.objects["/apis/forebay.dev/v1alpha1/namespaces/models/scalingpolicies/llama"]
    return json.loads(json.dumps(stored.get("status", {})))  # type: ignore[no-any-return]  # it is JSON


async def test_a_decision_is_written_once(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    seen = await model(cluster)
    await cluster.tell([record(seen)], AT_S)
    writes = len([path for _, path, _ in api.bodies if path.endswith("/status")])

    for tick in range(1, 20):
        seen = (await cluster.look(AT_S + 15 * tick)).models[0]
        await cluster.tell([record(seen, AT_S + 15 * tick)], AT_S + 15 * tick)

    assert writes == 1
    assert len([path for _, path, _ in api.bodies if path.endswith("/status")]) == 1
    assert status(api)["versions"] == [
        {"name": "v1", "role": "Serve", "desired": 1, "ready": 1, "starting": 0, "unschedulable": 0}
    ]


async def test_the_conditions_are_those_of_the_api(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))

    await cluster.tell([record(await model(cluster))], AT_S)

    conditions = {each["type"]: each for each in status(api)["conditions"]}
    assert set(conditions) == {
        "Ready",
        "SignalsHealthy",
        "CapacityAvailable",
        "Releasing",
        "Forecastable",
        "ReplicasAlike",
        "OwnershipClear",
    }
    assert {each["observedGeneration"] for each in conditions.values()} == {3}
    assert status(api)["observedGeneration"] == 3


async def test_what_turned_is_an_event(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))

    await cluster.tell([record(await model(cluster))], AT_S)

    events = [body for method, path, body in api.bodies if method == "POST" and path.endswith("/events")]
    assert {"DemandUnknown"} == {event["reason"] for event in events}
    assert all(event["type"] == "Warning" for event in events)


async def test_a_status_that_cannot_be_written_is_written_next_time(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    seen = await model(cluster)
    api.always = lambda request: failure(500, "no") if request.method == "PATCH" else None
    await cluster.tell([record(seen)], AT_S)
    api.always = None

    await cluster.tell([record(seen)], AT_S)

    assert status(api)["desired"] == 1


async def test_who_was_not_told_of_in_time_comes_first_the_next_time(
    api: FakeApi, caller: Caller, means: Means
) -> None:
    clock = LeapingClock()
    events = Events(client=caller.client, log=means.log, instance="forebay-0")
    reporter = Reporter(client=caller.client, events=events, log=means.log)
    cluster = cluster_of(caller.client, replace(means, clock=clock), (), reporter)
    for name in ("a", "b", "c"):
        await api.put("scalingpolicies", policy(name))
    order: list[str] = []

    def take_three_seconds(request: web.Request) -> None:
        if request.path.endswith("/status"):
            order.append(request.path.split("/")[-2])
            clock.at_s += 3.0

    api.always = take_three_seconds
    async with running(cluster.run()):
        records = [record(seen) for seen in (await sight(cluster)).models]
        for _ in range(3):
            await cluster.tell(records, AT_S)

    assert order == ["a", "b", "c"]


async def test_at_rest_there_are_watches_and_nothing_else(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, recorded.ready("a"))
    await cluster.tell([record(await model(cluster))], AT_S)
    await model(cluster)
    before = len(api.requests)

    for tick in range(1, 40):
        seen = (await cluster.look(AT_S + 15 * tick)).models[0]
        await cluster.tell([record(seen, AT_S + 15 * tick)], AT_S + 15 * tick)

    assert len(api.requests) == before
