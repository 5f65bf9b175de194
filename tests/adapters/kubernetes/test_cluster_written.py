"""What the loop writes to a cluster: replica counts, whoever else writes them, and the status of each policy."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from numpy.random import default_rng

from scaler.adapters.clock import SteadyClock
from scaler.adapters.kubernetes.cluster import KubernetesCluster, Model, cluster_of
from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.core.decide import decide
from scaler.core.memory import Memory
from scaler.core.model import Fleet, Snapshot
from scaler.core.plan import SetReplicas, SetWeights
from scaler.runtime.ports import Record, TransientError
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.conftest import Caller, LeapingClock, running, until
from tests.adapters.kubernetes.fake_api import FakeApi, failure
from tests.adapters.kubernetes.followed import AT_S, SCALE, V1, fill, fleet, following, model, policy, sight
from tests.adapters.kubernetes.recorded import Json, wrote
from tests.builders import load


@pytest.fixture
async def cluster(caller: Caller, means: Means) -> AsyncIterator[KubernetesCluster]:
    async with following(caller, means) as made:
        yield made


# --- Commands --------------------------------------------------------------------------------------------------------


def _requested(cluster: KubernetesCluster) -> int | None:
    target = cluster.views.kinds["apps/v1", "Deployment"].objects.store.get("models", "llama-v1")
    return None if target is None else target.requested


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


async def test_our_own_counts_are_written_as_often_as_they_are_decided(
    api: FakeApi, cluster: KubernetesCluster
) -> None:
    await fill(api, recorded.ready("a"))
    for count in (2, 3, 4):
        await cluster.act((await model(cluster)).policy, (SetReplicas(key=V1, replicas=count),))
        await until(lambda count=count: _requested(cluster) == count, "our own write")  # type: ignore[misc]

    assert (await model(cluster)).ownership.status is True
    assert [path for _, path, _ in api.bodies].count(SCALE) == 3


# --- Who else writes -------------------------------------------------------------------------------------------------


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


# --- Telling ---------------------------------------------------------------------------------------------------------


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
