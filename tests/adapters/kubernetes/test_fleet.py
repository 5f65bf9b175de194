"""From pods, owners and nodes as a cluster stores them to the core's Fleet."""

from collections.abc import Sequence
from typing import Any, Final

import pytest

from scaler.adapters.kubernetes.fleet import Around, fleet_of, parents_of, pods_by_target
from scaler.adapters.kubernetes.gpus import ClaimNamed, Devices, claimed_gpus, devices_of
from scaler.adapters.kubernetes.pods import PodSeen, node_class, pod_seen
from scaler.adapters.kubernetes.refusals import Refusal, latest_refusals, refusal_told
from scaler.adapters.kubernetes.targets import Link, TargetSeen, Writer, count_writer, link, target_seen
from scaler.core.loading import sample_of
from scaler.core.model import Fleet, Phase, Refused, Replica, TargetKey
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.recorded import CREATED_S, Json, node, owned, restarted, set_ready, worker

LINKS = (Link(uid="uid-rs", owner="uid-llama-v1"),)


def seen(pod: Json, before: PodSeen | None = None) -> Replica:
    return pod_seen(pod, before).replica


def fleet(
    target: TargetSeen, pods: Sequence[PodSeen], links: Sequence[Link] = LINKS, refusal: Refusal | None = None
) -> Fleet:
    uid = target.uid
    mine = pods_by_target(pods, parents_of(links, pods), frozenset({uid}))[uid]
    return fleet_of(target, target.requested or 0, mine, around(refusal))


def around(refusal: Refusal | None = None) -> Around:
    return Around(
        class_of={"gpu-1": "H100"}.get, gpus_of=lambda devices: devices.counted(lambda _: None), refusal=refusal
    )


@pytest.mark.parametrize(
    ("pod", "phase"),
    [
        (recorded.pod(), Phase.WAITING),
        (recorded.unschedulable(), Phase.WAITING),
        (recorded.pulling(), Phase.PULLING),
        (recorded.loading(), Phase.LOADING),
        (recorded.ready(), Phase.READY),
        (recorded.lost(), Phase.LOST),
        (recorded.draining(), Phase.DRAINING),
    ],
)
def test_a_recorded_pod_is_in_its_phase(pod: Json, phase: Phase) -> None:
    assert seen(pod).phase is phase


def test_the_marks_are_the_conditions_and_the_containers_times() -> None:
    replica = seen(recorded.ready())

    assert replica.created_at_s == CREATED_S
    assert replica.scheduled_at_s == CREATED_S + 2
    assert replica.pulled_at_s == replica.initialised_at_s == CREATED_S + 100
    assert replica.ready_at_s == CREATED_S + 310


def test_a_load_time_is_learned_by_phase() -> None:
    sample = sample_of(TargetKey(version="v1", role="Serve"), seen(recorded.ready()))

    assert sample is not None
    assert (sample.total_s, sample.waiting_s, sample.pulling_s, sample.loading_s) == (310, 2, 98, 210)


def test_with_init_containers_nobody_knows_when_the_image_was_pulled() -> None:
    replica = seen(recorded.loading(spec={"initContainers": [{"name": "weights"}]}))

    assert replica.pulled_at_s is None
    assert replica.phase is Phase.LOADING


def test_the_last_container_to_start_begins_the_loading() -> None:
    pod = recorded.loading()
    pod["status"]["containerStatuses"].append({"state": {"running": {"startedAt": "2026-03-02T09:02:00Z"}}})

    assert seen(pod).initialised_at_s == CREATED_S + 120


def test_a_pod_that_waits_for_a_node_says_since_when() -> None:
    assert seen(recorded.unschedulable()).unschedulable_since_s == CREATED_S + 2


def test_a_pod_that_is_gated_is_not_unschedulable() -> None:
    gated = recorded.condition("PodScheduled", "False", recorded.SCHEDULED, "SchedulingGated")

    assert seen(recorded.pod(status={"conditions": [gated]})).unschedulable_since_s is None


def test_a_draining_pod_was_asked_to_go_before_its_grace_began() -> None:
    assert seen(recorded.draining()).deleted_at_s == CREATED_S + 3 * 3600


def test_a_pod_that_lost_its_readiness_keeps_when_it_was_ready_first() -> None:
    before = pod_seen(recorded.ready(), None)

    replica = seen(recorded.lost(), before)

    assert replica.ready_at_s == CREATED_S + 310
    assert replica.unready_since_s == CREATED_S + 7200


def test_a_pod_that_is_ready_again_keeps_when_it_was_ready_first() -> None:
    before = pod_seen(recorded.lost(), pod_seen(recorded.ready(), None))
    again = recorded.ready()
    set_ready(again, "True", "2026-03-02T12:00:00Z")

    assert seen(again, before).ready_at_s == CREATED_S + 310


def test_of_a_pod_that_was_found_lost_no_load_time_is_learned() -> None:
    replica = seen(recorded.lost())

    assert replica.phase is Phase.LOST
    assert sample_of(TargetKey(version="v1", role="Serve"), replica) is None


def test_a_pod_of_the_same_name_starts_anew() -> None:
    before = pod_seen(recorded.ready(), None)
    successor = recorded.loading(metadata={"uid": "another"})

    assert seen(successor, before).phase is Phase.LOADING


def test_a_container_that_crashed_while_loading_is_still_on_its_way() -> None:
    replica = seen(restarted(recorded.loading(), "2026-03-02T09:04:00Z"))

    assert replica.phase is Phase.LOADING
    assert replica.restarts == 1


def test_a_ready_pod_whose_container_crashed_is_lost() -> None:
    before = pod_seen(recorded.ready(), None)
    crashed = restarted(recorded.lost(), "2026-03-02T11:00:05Z")

    assert seen(crashed, before).phase is Phase.LOST


def test_pods_are_found_through_their_replica_set() -> None:
    pods = [pod_seen(recorded.ready("a"), None), pod_seen(recorded.loading("b"), None)]
    pods.append(pod_seen(recorded.ready("nobodys", metadata={"ownerReferences": []}), None))

    found = fleet(target_seen(recorded.deployment(replicas=3), "Deployment"), pods)

    assert [replica.name for replica in found.replicas] == ["a", "b"]
    assert found.requested == 3
    assert found.gpus_per_replica == 2
    assert {replica.node_class for replica in found.replicas} == {"H100"}


def test_a_pod_that_has_ended_is_no_replica() -> None:
    evicted = pod_seen(recorded.ready("a", status={"phase": "Failed", "reason": "Evicted"}), None)

    assert fleet(target_seen(recorded.deployment(), "Deployment"), [evicted]).replicas == ()


def test_a_loop_of_owners_ends() -> None:
    links = (Link(uid="a", owner="b"), Link(uid="b", owner="a"), Link(uid="uid-rs", owner="a"))

    assert not fleet(
        target_seen(recorded.deployment(), "Deployment"), [pod_seen(recorded.ready(), None)], links
    ).replicas


GROUP_LINKS = (
    Link(uid="uid-sts-llama", owner="uid-llama"),
    Link(uid="uid-sts-llama-0", owner="uid-llama-0"),
    Link(uid="uid-sts-llama-1", owner="uid-llama-1"),
)


def groups(*pods: Json) -> Fleet:
    target = target_seen(recorded.leader_worker_set(), "LeaderWorkerSet")
    return fleet(target, [pod_seen(pod, None) for pod in pods], GROUP_LINKS)


def test_a_group_is_one_replica_named_for_its_leader() -> None:
    found = groups(*(worker(group, index) for group in (0, 1) for index in (2, 0, 1)))

    assert [replica.name for replica in found.replicas] == ["llama-0", "llama-1"]
    assert found.gpus_per_replica == 6


def test_a_group_is_ready_when_all_of_it_is() -> None:
    late = worker(0, 2)
    set_ready(late, "False", recorded.SCHEDULED)
    two_of_three = groups(worker(0, 0), worker(0, 1))

    assert groups(worker(0, 0), worker(0, 1), late).replicas[0].phase is Phase.LOADING
    assert two_of_three.replicas[0].phase is Phase.WAITING


def test_a_group_that_loses_a_worker_is_lost() -> None:
    gone = worker(0, 1)
    set_ready(gone, "False", "2026-03-02T11:00:00Z")
    (replica,) = groups(worker(0, 0), gone, worker(0, 2)).replicas

    assert replica.phase is Phase.LOST
    assert replica.unready_since_s == CREATED_S + 7200


@pytest.mark.parametrize(
    ("spec", "gpus"),
    [
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]}, 2),
        ({"containers": [{"resources": {"requests": {"amd.com/gpu": "1"}}}, {"resources": {}}]}, 1),
        ({"containers": [{"resources": {"limits": {"habana.ai/gpu": 4}}}, {}]}, 4),
        ({"containers": [{"resources": {"limits": {"nvidia.com/mig-1g.5gb": "1", "cpu": "8"}}}]}, 0),
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}] * 2}, 2),
        (
            {
                "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}],
                "initContainers": [{"resources": {"limits": {"nvidia.com/gpu": "4"}}}],
            },
            4,
        ),
        (
            {
                "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}],
                "initContainers": [
                    {"restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": "1"}}},
                    {"resources": {"limits": {"nvidia.com/gpu": "1"}}},
                ],
            },
            2,
        ),
        ({}, 0),
    ],
)
def test_gpus_are_counted_as_the_scheduler_does(spec: dict[str, Any], gpus: int) -> None:
    assert devices_of(spec) == Devices(gpus=gpus)


FOUR: Json = {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": 4}
ONE: Json = {"deviceClassName": "gpu.nvidia.com"}
NIC: Json = {"deviceClassName": "dranet", "count": 2}


def test_what_a_claim_asks_for_is_in_another_object_and_counts_as_often_as_it_is_named() -> None:
    claims = [
        {"name": "gpus", "resourceClaimTemplateName": "four"},
        {"name": "shared", "resourceClaimName": "one"},
        {"name": "unknown", "resourceClaimTemplateName": "later"},
    ]
    held = devices_of({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}], "resourceClaims": claims})
    asked = {
        ClaimNamed(kind="ResourceClaimTemplate", name="four"): claimed_gpus(claim([FOUR], is_template=True), None),
        ClaimNamed(kind="ResourceClaim", name="one"): claimed_gpus(claim([ONE]), None),
    }

    assert held.counted(asked.get) == 2 + 4 + 1 + 1
    assert (held + held.times(2)).counted(asked.get) == 3 * 8


def claim(exactly: list[Json], *, is_template: bool = False, **difference: Any) -> Json:
    """A claim with a request for each of ``exactly``, or a template of such claims."""
    requests = [{"name": f"r{place}", "exactly": each} for place, each in enumerate(exactly)]
    spec: Json = {"devices": {"requests": requests}} | difference
    return {"metadata": {"name": "a"}, "spec": {"spec": spec} if is_template else spec}


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [
        (claim([FOUR, ONE]), 5),
        (claim([FOUR, NIC]), 4),
        (claim([{**FOUR, "adminAccess": True}]), 0),
        (claim([{**ONE, "allocationMode": "All"}]), 1),
        (claim([{"deviceClassName": "mig.nvidia.com"}]), 0),
        (claim([], devices={"requests": [{"name": "any", "firstAvailable": [ONE, FOUR, NIC]}]}), 4),
        (claim([]), 0),
        ({"metadata": {"name": "a"}}, 0),
    ],
)
def test_a_claims_gpus_are_the_devices_of_gpu_classes(asked: Json, gpus: int) -> None:
    assert claimed_gpus(asked, None) == gpus


def test_the_class_of_a_node_is_its_gpu_or_else_its_instance_type() -> None:
    h100 = node()
    h100["metadata"]["labels"] |= {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "node.kubernetes.io/instance-type": "p5.48xlarge",
    }
    plain = node()
    plain["metadata"]["labels"]["node.kubernetes.io/instance-type"] = "g6.xlarge"

    assert node_class(h100) == "NVIDIA-H100-80GB-HBM3"
    assert node_class(plain) == "g6.xlarge"
    assert not node_class(node())


def test_the_last_who_wrote_the_count_is_named() -> None:
    status_writer = {**recorded.wrote("kube-controller-manager", "2026-03-02T11:00:00Z"), "fieldsV1": {"f:status": {}}}
    fields = [
        recorded.wrote("forebay", "2026-03-02T09:00:00Z"),
        recorded.wrote("kubectl", "2026-03-02T10:00:00Z"),
        status_writer,
    ]

    assert count_writer(fields) == Writer(name="kubectl", at_s=CREATED_S + 3600)
    assert count_writer([status_writer]) is None


def test_the_count_of_an_unknown_kind_is_left_to_its_scale() -> None:
    seen_graph = target_seen(owned("graph", "uid-graph", spec={"replicas": 3}), "InferenceGraph")

    assert seen_graph.requested is None
    assert seen_graph.devices is None


def test_a_link_is_whom_a_replica_set_belongs_to() -> None:
    assert link(owned("llama-v1-7c9f", "uid-rs", owner="uid-llama-v1"), None) == LINKS[0]


def failing(replicas: int, status: str = "True") -> TargetSeen:
    said = {**recorded.condition("ReplicaFailure", status, recorded.READY, "FailedCreate"), "message": "over quota"}
    return target_seen(recorded.deployment(replicas=replicas, status={"conditions": [said]}), "Deployment")


def test_pods_that_were_not_created_are_counted_with_the_reason() -> None:
    pods = [pod_seen(pod, None) for pod in (recorded.ready("a"), recorded.loading("b"), recorded.draining("c"))]

    assert fleet(failing(5), pods).refused == Refused(replicas=3, why="over quota")


@pytest.mark.parametrize("target", [failing(1), failing(5, "False")])
def test_nothing_is_refused_where_all_are_there_or_nobody_says_so(target: TargetSeen) -> None:
    assert fleet(target, [pod_seen(recorded.ready("a"), None)]).refused is None


AFTER: Final = "2026-03-02T09:00:01Z"


def told(owner: str = "uid-llama-v1", why: str = "over quota", **times: Any) -> Refusal:
    """What an event says of a pod of ``owner`` that could not be created."""
    event = {"metadata": {"creationTimestamp": AFTER}, "reason": "FailedCreate", "regarding": {"uid": owner}}
    return refusal_told({**event, "note": why, **times}, None)


def test_a_refusal_that_an_event_tells_of_stands_until_a_pod_was_created_since() -> None:
    target = target_seen(recorded.deployment(replicas=3), "StatefulSet")
    pods = [pod_seen(recorded.ready("a"), None)]  # created a second before
    later = pod_seen(recorded.loading("b", metadata={"creationTimestamp": "2026-03-02T09:00:02Z"}), None)

    assert fleet(target, pods, refusal=told()).refused == Refused(replicas=2, why="over quota")
    assert fleet(target, [], refusal=told()).refused == Refused(replicas=3, why="over quota")
    assert fleet(target, [*pods, later], refusal=told()).refused is None


@pytest.mark.parametrize(
    "times",
    [
        {"series": {"count": 3, "lastObservedTime": "2026-03-02T09:10:00.000000Z"}, "eventTime": AFTER},
        {"deprecatedLastTimestamp": "2026-03-02T09:10:00Z", "deprecatedFirstTimestamp": AFTER, "eventTime": None},
        {"eventTime": "2026-03-02T09:10:00.000000Z"},
        {"metadata": {"creationTimestamp": "2026-03-02T09:10:00Z"}, "eventTime": None},
    ],
)
def test_an_event_is_as_old_as_its_last_repetition(times: Json) -> None:
    assert told(**times).at_s == CREATED_S + 600


def test_the_last_refusal_counts_for_the_target_that_the_owner_belongs_to() -> None:
    first, last = told("uid-rs", "the first"), told("uid-rs", "the last", eventTime="2026-03-02T09:10:00Z")
    strange = told("uid-someone")

    latest = latest_refusals([last, strange, first], {"uid-rs": "uid-llama-v1"}.get)

    assert latest == {"uid-llama-v1": last}
