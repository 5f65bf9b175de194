"""What is made of pods as the API has them, and of a watch's events."""

from typing import Any

import pytest

from testbed.emulator.pods import Pods, WatchError, after, pod_of


def raw_pod(uid: str = "one", **status: Any) -> dict[str, Any]:
    metadata = {
        "uid": uid,
        "name": uid,
        "namespace": "models",
        "resourceVersion": "7",
        "labels": {"forebay.dev/emulates": "llama"},
    }
    return {"metadata": metadata, "status": status}


def container(*, started: bool, restarts: int = 0) -> list[dict[str, Any]]:
    return [{"started": started, "restartCount": restarts}]


def event(kind: str, raw: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": raw}


def test_a_pod_without_a_node_has_no_engine_and_no_address() -> None:
    pod = pod_of(raw_pod())

    assert (pod.engine, pod.address, pod.is_ready, pod.is_leaving) == (None, "", False, False)


def test_a_container_that_loads_has_no_engine_yet() -> None:
    assert pod_of(raw_pod(containerStatuses=container(started=False), podIP="10.244.0.1")).engine is None


def test_a_restart_is_another_engine() -> None:
    first = pod_of(raw_pod(containerStatuses=container(started=True)))
    second = pod_of(raw_pod(containerStatuses=container(started=True, restarts=1)))

    assert first.engine is not None
    assert first.engine != second.engine


def test_a_pod_that_is_asked_to_go_is_leaving_while_it_is_ready() -> None:
    raw = raw_pod(conditions=[{"type": "Ready", "status": "True"}])
    raw["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"

    pod = pod_of(raw)

    assert (pod.is_ready, pod.is_leaving) == (True, True)


def test_events_add_change_and_take_away() -> None:
    pods: Pods = {}

    pods, _ = after(pods, event("ADDED", raw_pod("one")))
    pods, _ = after(pods, event("ADDED", raw_pod("two")))
    pods, _ = after(pods, event("MODIFIED", raw_pod("one", podIP="10.244.0.1")))
    assert (list(pods), pods["one"].address) == (["two", "one"], "10.244.0.1")

    pods, version = after(pods, event("DELETED", raw_pod("two")))
    assert (list(pods), version) == (["one"], "7")


def test_a_bookmark_only_moves_the_place() -> None:
    mark = {"metadata": {"resourceVersion": "42"}}

    pods, version = after({}, event("BOOKMARK", mark))

    assert (pods, version) == ({}, "42")


def test_an_error_in_the_stream_ends_the_watch() -> None:
    with pytest.raises(WatchError, match="too old"):
        after({}, event("ERROR", {"message": "too old resource version"}))


def test_a_pod_that_lost_its_label_is_taken_away() -> None:
    raw = raw_pod("one")
    pods, _ = after({}, event("ADDED", raw))
    raw["metadata"]["labels"] = {}

    assert after(pods, event("DELETED", raw))[0] == {}
