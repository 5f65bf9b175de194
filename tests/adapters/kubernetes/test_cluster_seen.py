"""What the loop sees of a cluster: fleets and GPUs from stored objects, and what is missing with its reason."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from scaler.adapters.kubernetes.cluster import KubernetesCluster, cluster_of
from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.gpus import devices_of
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.core.model import Fleet, Missing, Pool, Pools, Quota, Refused
from scaler.runtime.ports import TransientError
from tests.adapters.differences import merged
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.conftest import Caller, running, until
from tests.adapters.kubernetes.fake_api import FakeApi, failure
from tests.adapters.kubernetes.followed import AT_S, SCALE, fill, fleet, following, model, policy, sight
from tests.adapters.kubernetes.recorded import Json, owned
from tests.api.builders import TWO_VERSIONS


@pytest.fixture
async def cluster(caller: Caller, means: Means) -> AsyncIterator[KubernetesCluster]:
    async with following(caller, means) as made:
        yield made


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
