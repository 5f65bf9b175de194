"""How KEDA stands to a policy as the cluster is looked at: who writes which count, and who owns which ScaledObject."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import pytest
import yaml

from scaler.adapters.kubernetes.cluster import KubernetesCluster, Model, cluster_of
from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.pods import DELETION_COST
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.core.decide import decide
from scaler.core.memory import Memory
from scaler.core.model import Actuation, Fleet, Snapshot
from scaler.core.plan import Condition, SetReplicas
from scaler.runtime.ports import Record, TransientError
from tests.adapters.differences import merged
from tests.adapters.keda import stored
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.conftest import Caller, LeapingClock, running, until
from tests.adapters.kubernetes.fake_api import FakeApi, failure
from tests.adapters.kubernetes.recorded import CREATED_S, Json
from tests.api.builders import ONE_VERSION
from tests.builders import load

AT_S: Final = CREATED_S + 4 * 3600
SO: Final = "/apis/keda.sh/v1alpha1/namespaces/models/scaledobjects/llama-v1"
MANAGED: Final = {"managed": True}


def policy(**spec: Any) -> Json:
    """A policy of at least three replicas, so that without any signal it wants more than there are."""
    thing: Json = yaml.safe_load(ONE_VERSION)
    metadata = {"uid": stored.POLICY_UID, "generation": 3, "creationTimestamp": recorded.CREATED}
    bounds = {"min": 3, "max": 21}
    return merged(thing, {"metadata": metadata, "spec": {"replicas": bounds, "actuation": "KEDA", **spec}})


def scaled_object(**difference: Any) -> Json:
    """A ScaledObject for that policy."""
    return stored.scaled_object(stored.one_version(spec__replicas={"min": 3, "max": 21}), **difference)


def own(**difference: Any) -> Json:
    """The same, owned by the policy."""
    owner = {"kind": "ScalingPolicy", "name": "llama", "uid": stored.POLICY_UID, "controller": True}
    return merged(scaled_object(metadata={"ownerReferences": [owner]}), difference)


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


@pytest.fixture
async def cluster(api: FakeApi, caller: Caller, means: Means, clock: LeapingClock) -> AsyncIterator[KubernetesCluster]:
    api.objects["/apis/keda.sh/v1alpha1"] = {"resources": [{"name": "scaledobjects", "kind": "ScaledObject"}]}
    events = Events(client=caller.client, log=means.log, instance="forebay-0")
    reporter = Reporter(client=caller.client, events=events, log=means.log)
    made = cluster_of(caller.client, means, (), reporter)
    made.scaled_objects.clock = clock
    async with running(made.run()):
        yield made


async def model(cluster: KubernetesCluster) -> Model:
    """The one policy, once everything is listed and the views have what the fake API server has."""
    await until(lambda: cluster.unlisted is None, "all lists")
    await cluster.look(AT_S)  # the first look finds out that there is KEDA
    await until(lambda: cluster.unlisted is None, "the ScaledObjects")
    (seen,) = (await cluster.look(AT_S)).models
    return seen


def record(seen: Model) -> Record:
    snapshot = Snapshot(at_s=AT_S, models={seen.policy.name: seen.observation})
    (plan,) = decide(snapshot, {}, [seen.policy])
    return Record(policy=seen.policy, observation=seen.observation, memory=Memory(at_s=AT_S), plan=plan)


async def told(cluster: KubernetesCluster) -> Model:
    """One tick's end: what is to be told, or written, is."""
    seen = await model(cluster)
    await cluster.tell([record(seen)], AT_S)
    return seen


async def seen_again(api: FakeApi, cluster: KubernetesCluster) -> Condition:
    """KEDAReady once the views have caught up with what is stored."""
    view = cluster.views.scaled_objects
    assert view is not None
    version = api.objects.get(SO, {}).get("metadata", {}).get("generation")

    def caught_up() -> bool:
        found = view.store.get("models", "llama-v1")
        return bool((None if found is None else getattr(found.seen, "generation", None)) == version)

    await until(caught_up, "the views")
    condition = (await model(cluster)).following.condition
    assert condition is not None
    return condition


def writes(api: FakeApi, path: str) -> list[Json]:
    return [body for method, at, body in api.bodies if at == path and method != "GET"]


async def fill(api: FakeApi, *others: Json, **spec: Any) -> None:
    await api.put("scalingpolicies", policy(**spec))
    await api.put("deployments", recorded.deployment(replicas=1))
    for each in others:
        plural = "scaledobjects" if each["kind"] == "ScaledObject" else "horizontalpodautoscalers"
        await api.put(plural, each)


# --- Who writes the count ----------------------------------------------------------------------------------------

BY_CPU: Final = stored.hpa(scaled_object(), metadata={"name": "by-cpu", "ownerReferences": []})
AUTOSCALERS: Final = {
    "nobody": (),
    "an HPA": (BY_CPU,),
    "a ScaledObject": (scaled_object(),),
    "a ScaledObject and its HPA": (scaled_object(), stored.hpa(scaled_object())),
    "an HPA whose ScaledObject is gone": (stored.hpa(scaled_object()),),
}


@pytest.mark.parametrize("actuation", Actuation, ids=lambda each: str(each.value))
@pytest.mark.parametrize("others", AUTOSCALERS.values(), ids=AUTOSCALERS)
async def test_we_write_a_count_only_where_it_is_ours_and_nobody_else_writes_it(
    api: FakeApi, cluster: KubernetesCluster, actuation: Actuation, others: tuple[Json, ...]
) -> None:
    """Kills: to write under KEDA; to write, once a minute, against an HPA that is in place."""
    await fill(api, *json.loads(json.dumps(others)), actuation=actuation.value)
    seen = await model(cluster)
    plan = record(seen).plan

    refused = False
    try:
        await cluster.act(seen.policy, plan.commands)
    except TransientError:
        refused = True

    is_sole = actuation is Actuation.SCALE and not others
    assert plan.targets[0].replicas == 3
    assert len(writes(api, "/apis/apps/v1/namespaces/models/deployments/llama-v1/scale")) == is_sole
    assert refused == (actuation is Actuation.SCALE and bool(others))
    assert any(isinstance(each, SetReplicas) for each in plan.commands) == (actuation is Actuation.SCALE)


async def test_who_keeps_us_from_writing_is_named(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, scaled_object(), actuation="Scale")
    seen = await model(cluster)

    with pytest.raises(TransientError, match="ScaledObject llama-v1 scales Deployment llama-v1, so nothing is written"):
        await cluster.act(seen.policy, record(seen).plan.commands)

    assert (seen.ownership.status, seen.ownership.reason) == (False, "OtherAutoscaler")


async def test_until_it_is_known_who_else_writes_we_do_not(api: FakeApi, cluster: KubernetesCluster) -> None:
    refuse = "/apis/autoscaling/v2/horizontalpodautoscalers"
    api.always = lambda request: failure(403, "no right to list HPAs") if request.path == refuse else None
    await fill(api, actuation="Scale")
    deployments = cluster.views.kinds["apps/v1", "Deployment"].objects
    await until(lambda: deployments.has_synced and refuse.rsplit("/", 1)[-1] in (cluster.unlisted or ""), "the rest")
    (seen,) = (await cluster.look(AT_S)).models

    with pytest.raises(TransientError, match=r"no right to list HPAs.*so nothing is written to it"):
        await cluster.act(seen.policy, record(seen).plan.commands)

    assert seen.ownership.status is None


# --- What is read back -------------------------------------------------------------------------------------------


async def test_what_fits_is_said_to_follow(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, scaled_object(), stored.hpa(scaled_object()))

    seen = await told(cluster)

    assert seen.following.condition is not None
    assert seen.following.condition.status is True
    status = api.objects["/apis/forebay.dev/v1alpha1/namespaces/models/scalingpolicies/llama"]["status"]
    assert [each["type"] for each in status["conditions"]][-2:] == ["OwnershipClear", "KEDAReady"]


async def test_without_keda_the_condition_says_that_nobody_writes(api: FakeApi, cluster: KubernetesCluster) -> None:
    del api.objects["/apis/keda.sh/v1alpha1"]
    await fill(api)

    condition = (await model(cluster)).following.condition

    assert condition is not None
    assert (condition.status, condition.reason) == (False, "NoKEDA")


@pytest.mark.parametrize("actuation", ["Scale", "Advise"])
async def test_with_another_actuation_nothing_is_told_of_keda(
    api: FakeApi, cluster: KubernetesCluster, actuation: str
) -> None:
    await fill(api, scaled_object(), actuation=actuation)

    assert (await model(cluster)).following.condition is None


async def test_reading_back_takes_watches_and_nothing_else(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, scaled_object(), stored.hpa(scaled_object()))
    await told(cluster)
    before = len(api.requests)

    for _ in range(20):
        await cluster.look(AT_S)

    assert len(api.requests) == before


@pytest.mark.parametrize(("value", "is_paused"), [("true", True), ("false", False)])
async def test_a_pause_of_keda_holds_our_own_count_too(
    api: FakeApi, cluster: KubernetesCluster, value: str, *, is_paused: bool
) -> None:
    await fill(api, scaled_object(metadata={"annotations": {"autoscaling.keda.sh/paused": value}}))

    seen = await model(cluster)

    assert seen.policy.paused is is_paused
    assert record(seen).plan.targets[0].replicas == (1 if is_paused else 3)


# --- ScaledObjects of the policy's own ---------------------------------------------------------------------------


async def test_a_policy_that_owns_its_scaled_objects_gets_them_written_once(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, keda=MANAGED)
    await told(cluster)
    await seen_again(api, cluster)
    await told(cluster)

    (written,) = writes(api, SO)
    (owner,) = written["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ScalingPolicy", stored.POLICY_UID, True)
    assert written["spec"] == scaled_object()["spec"]
    assert [query for verb, path, query in api.requests if (verb, path) == ("PATCH", SO)] == [
        {"fieldManager": "forebay-keda", "force": "false"}
    ]


async def test_without_being_asked_to_own_them_none_is_written(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api)
    await told(cluster)

    assert writes(api, SO) == []


async def test_a_change_of_the_policy_is_a_change_of_its_scaled_object(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, own(), keda=MANAGED)
    await told(cluster)
    before = writes(api, SO)
    changed = policy(keda=MANAGED, replicas={"min": 3, "max": 30})
    changed["metadata"]["generation"] = 4
    await api.put("scalingpolicies", changed)
    await until(lambda: next(iter(cluster.views.policies.store.values())).generation == 4, "the new policy")

    await told(cluster)

    assert before == []
    assert [body["spec"]["maxReplicaCount"] for body in writes(api, SO)] == [30]


async def test_what_a_person_changed_in_our_own_is_taken_back(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, own(spec={"maxReplicaCount": 5}), keda=MANAGED)

    await told(cluster)

    assert [body["spec"]["maxReplicaCount"] for body in writes(api, SO)] == [21]
    assert [query["force"] for verb, path, query in api.requests if (verb, path) == ("PATCH", SO)] == ["true"]


async def test_what_keda_pruned_is_told_and_not_written_again_and_again(
    api: FakeApi, cluster: KubernetesCluster, clock: LeapingClock
) -> None:
    await fill(api, keda=MANAGED)
    await told(cluster)
    sides = {"scaleUp": {"tolerance": None}, "scaleDown": {"tolerance": None}}
    pruned = own(spec={"advanced": {"horizontalPodAutoscalerConfig": {"behavior": sides}}})
    await api.put("scaledobjects", pruned)
    await api.put("horizontalpodautoscalers", stored.hpa(pruned))
    await until(lambda: len(list(cluster.views.autoscalers.store.values())) == 1, "the HPA")

    condition = await seen_again(api, cluster)
    for _ in range(3):
        clock.at_s += 3600.0
        await told(cluster)

    assert condition.reason == "ToleranceDropped"
    assert len(writes(api, SO)) == 1


async def test_somebody_elses_scaled_object_is_not_taken_over(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, scaled_object(), stored.hpa(scaled_object()), keda=MANAGED)

    seen = await told(cluster)

    assert writes(api, SO) == []
    assert seen.following.condition is not None
    assert seen.following.condition.reason == "NotOurs"


async def test_beside_somebody_elses_hpa_none_is_written(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, json.loads(json.dumps(BY_CPU)), keda=MANAGED)

    await told(cluster)

    assert writes(api, SO) == []


async def test_a_name_that_somebody_else_has_is_left_to_them(api: FakeApi, cluster: KubernetesCluster) -> None:
    await fill(api, scaled_object(spec={"scaleTargetRef": {"name": "another"}}), keda=MANAGED)

    await told(cluster)

    assert api.objects[SO]["spec"]["scaleTargetRef"]["name"] == "another"
    assert "conflict" in (await seen_again(api, cluster)).message


@pytest.mark.parametrize("spec", [{"keda": {"managed": False}}, {"actuation": "Scale", "keda": None}])
async def test_what_it_should_own_no_more_is_deleted(
    api: FakeApi, cluster: KubernetesCluster, spec: dict[str, Any]
) -> None:
    await fill(api, own(), **spec)

    await told(cluster)

    assert SO not in api.objects


async def test_what_others_own_is_never_deleted(api: FakeApi, cluster: KubernetesCluster) -> None:
    theirs = scaled_object(metadata={"ownerReferences": [{"kind": "ScalingPolicy", "name": "x", "uid": "uid-other"}]})
    await fill(api, theirs, actuation="Scale")

    await told(cluster)

    assert SO in api.objects


async def test_a_refusal_is_told_and_tried_again_after_a_minute(
    api: FakeApi, cluster: KubernetesCluster, clock: LeapingClock
) -> None:
    await fill(api, keda=MANAGED)
    seen = await model(cluster)
    api.always = lambda request: failure(403, "forebay cannot patch scaledobjects") if request.path == SO else None
    for at_s in (0.0, 30.0, 59.0):
        clock.at_s = at_s
        await told(cluster)
    refused = [path for verb, path, _ in api.requests if (verb, path) == ("PATCH", SO)]

    condition = (await model(cluster)).following.condition
    api.always = None
    clock.at_s = 60.0
    await told(cluster)

    assert seen.following.is_known
    assert len(refused) == 1
    assert condition is not None
    assert condition.reason == "NotWritten"
    assert "forebay cannot patch scaledobjects" in condition.message
    assert SO in api.objects


async def test_a_process_that_only_advises_writes_none_and_deletes_none(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, own(spec={"maxReplicaCount": 5}), keda=MANAGED)
    seen = await model(cluster)
    advised = replace(seen, policy=replace(seen.policy, actuation=Actuation.ADVISE))

    await cluster.tell([record(advised)], AT_S)

    assert writes(api, SO) == []
    assert SO in api.objects


# --- Who goes first ----------------------------------------------------------------------------------------------

POD: Final = "/api/v1/namespaces/models/pods/"
STATUS: Final = "/apis/forebay.dev/v1alpha1/namespaces/models/scalingpolicies/llama/status"


async def serve(api: FakeApi, *names: str, most: int, actuation: str = "KEDA") -> None:
    """A policy of at most ``most`` replicas, and more pods than that."""
    await api.put("scalingpolicies", policy(replicas={"min": 1, "max": most}, actuation=actuation))
    await api.put("deployments", recorded.deployment(replicas=len(names)))
    await api.put("replicasets", recorded.owned("llama-v1-7c9f", "uid-rs", owner="uid-llama-v1"))
    await api.put("nodes", recorded.node())
    for name in names:
        await api.put("pods", recorded.ready(name))


def at_work(seen: Model, **running_by_pod: float) -> Model:
    """The same with so many requests at each pod."""
    (one,) = seen.observation.fleets
    assert isinstance(one.fleet, Fleet)
    replicas = tuple(replace(each, load=load(running=running_by_pod[each.name])) for each in one.fleet.replicas)
    fleets = (replace(one, fleet=replace(one.fleet, replicas=replicas)),)
    return replace(seen, observation=replace(seen.observation, fleets=fleets))


def written(api: FakeApi) -> list[str]:
    """The pods that were marked, and the status, in the order in which they were written."""
    return [path.removeprefix(POD) for _, path, _ in api.bodies if path.startswith(POD) or path == STATUS]


async def test_the_pods_with_the_least_work_are_marked_before_keda_is_told_of_a_shrink(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await serve(api, "a", "b", "c", most=1)
    seen = at_work(await model(cluster), a=9, b=0, c=3)

    await cluster.tell([record(seen)], AT_S)

    assert written(api) == ["b", "c", STATUS]


async def test_a_count_that_keda_was_told_before_marks_nobody_anew(api: FakeApi, cluster: KubernetesCluster) -> None:
    await serve(api, "a", "b", "c", most=1)
    seen = await model(cluster)
    await cluster.tell([record(at_work(seen, a=9, b=0, c=3))], AT_S)
    api.bodies.clear()

    await cluster.tell([record(at_work(seen, a=0, b=9, c=3))], AT_S)

    assert not [path for path in written(api) if path != STATUS]


async def test_a_shrink_that_is_taken_back_takes_its_marks_back(api: FakeApi, cluster: KubernetesCluster) -> None:
    await serve(api, "a", "b", most=1)
    await cluster.tell([record(at_work(await model(cluster), a=9, b=0))], AT_S)
    changed = policy(replicas={"min": 2, "max": 2})
    await api.put("scalingpolicies", merged(changed, {"metadata": {"generation": 4}}))
    await until(lambda: all_marked(cluster) == {"b"}, "the mark")
    await until(lambda: least(cluster) == 2, "the new bounds")

    await cluster.tell([record(at_work(await model(cluster), a=9, b=0))], AT_S)

    assert api.bodies[-2][2] == {"metadata": {"annotations": {DELETION_COST: None}}}
    await until(lambda: all_marked(cluster) == set(), "no mark")


async def test_a_mark_that_is_refused_keeps_no_count_from_keda(api: FakeApi, cluster: KubernetesCluster) -> None:
    await serve(api, "a", "b", most=1)
    seen = at_work(await model(cluster), a=9, b=0)
    api.always = lambda request: (
        failure(403, "no") if request.path.startswith(POD) and request.method != "GET" else None
    )

    await cluster.tell([record(seen)], AT_S)

    assert written(api)[-1] == STATUS


async def test_a_policy_that_only_advises_marks_nobody(api: FakeApi, cluster: KubernetesCluster) -> None:
    await serve(api, "a", "b", most=1, actuation="Advise")

    await cluster.tell([record(at_work(await model(cluster), a=9, b=0))], AT_S)

    assert written(api) == [STATUS]


def least(cluster: KubernetesCluster) -> int:
    (stored_policy,) = cluster.views.policies.store.values()
    assert stored_policy.document is not None
    return stored_policy.document.spec.replicas.min


def all_marked(cluster: KubernetesCluster) -> set[str]:
    pods = cluster.views.pods_of(frozenset({"uid-llama-v1"}))["uid-llama-v1"]
    return {pod.replica.name for pod in pods if pod.deletion_cost is not None}
