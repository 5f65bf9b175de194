"""How a pod's process is led: state in, state and orders out."""

from dataclasses import replace
from typing import Any

import pytest

from testbed.node_agent.life import (
    BACK_OFF_FIRST_S,
    EXTENSION_S,
    Act,
    Ask,
    Life,
    Stage,
    answered,
    asked_to_go,
    born,
    ended,
    passed,
    pre_stop_ended,
)
from testbed.node_agent.status import status_of
from testbed.node_agent.workload import Hook, Kind, NotRunnableError, Probe, Request, Workload, workload_of

ADDRESS = "10.244.200.2"
BOUND_AT_S = 1_000.0
HEALTH = Request(port=8000, path="/health")
READINESS = Probe(request=HEALTH, initial_delay_s=0, period_s=5, timeout_s=1, successes_needed=1, failures_allowed=2)
STARTUP = replace(READINESS, period_s=1, failures_allowed=100)
WORKLOAD = Workload(
    container="server",
    image="vllm",
    command=("serve",),
    environment={},
    probes={Kind.STARTUP: STARTUP, Kind.READINESS: READINESS},
    pre_stop=Hook(sleep_s=10.0),
    grace_s=90.0,
)


def started(workload: Workload = WORKLOAD) -> Life:
    life, orders = passed(workload, born(BOUND_AT_S), BOUND_AT_S)
    assert orders == (Act.START,)
    return life


def serving(workload: Workload = WORKLOAD, at_s: float = BOUND_AT_S + 30.0) -> Life:
    life = started(workload)
    for kind in (Kind.STARTUP, Kind.READINESS):
        life, _ = passed(workload, life, at_s)
        life, _ = answered(workload, life, kind, at_s, is_good=True)
    return life


def pod(**container: Any) -> dict[str, Any]:
    given = {"name": "server", "image": "vllm", "command": ["serve"], **container}
    return {
        "metadata": {"name": "llama-1", "namespace": "models", "uid": "one"},
        "spec": {"nodeName": "node", "containers": [given], "terminationGracePeriodSeconds": 90},
    }


def test_readiness_is_asked_only_after_the_startup_probe_has_succeeded() -> None:
    life, orders = passed(WORKLOAD, started(), BOUND_AT_S)
    assert orders == (Ask(Kind.STARTUP),)

    life, orders = answered(WORKLOAD, life, Kind.STARTUP, BOUND_AT_S + 30.0, is_good=True)
    assert (life.is_started, life.is_ready, orders) == (True, False, ())

    life, orders = passed(WORKLOAD, life, BOUND_AT_S + 30.0)
    assert orders == (Ask(Kind.READINESS),)

    life, _ = answered(WORKLOAD, life, Kind.READINESS, BOUND_AT_S + 31.0, is_good=True)
    assert life.is_ready


def test_a_probe_is_not_asked_again_before_it_was_answered_and_its_period_has_passed() -> None:
    life, _ = passed(WORKLOAD, started(), BOUND_AT_S)
    life, orders = passed(WORKLOAD, life, BOUND_AT_S + 60.0)
    assert orders == ()

    life, _ = answered(WORKLOAD, life, Kind.STARTUP, BOUND_AT_S + 60.0, is_good=False)
    life, orders = passed(WORKLOAD, life, BOUND_AT_S + 60.9)
    assert orders == ()

    _, orders = passed(WORKLOAD, life, BOUND_AT_S + 61.0)
    assert orders == (Ask(Kind.STARTUP),)


def test_one_bad_answer_does_not_take_a_replica_out_of_service_and_two_in_a_row_do() -> None:
    life, orders = answered(WORKLOAD, serving(), Kind.READINESS, BOUND_AT_S + 40.0, is_good=False)
    assert (life.is_ready, orders) == (True, ())

    life, orders = answered(WORKLOAD, life, Kind.READINESS, BOUND_AT_S + 45.0, is_good=False)
    assert (life.is_ready, orders) == (False, ())

    life, _ = answered(WORKLOAD, life, Kind.READINESS, BOUND_AT_S + 50.0, is_good=True)
    assert life.is_ready


@pytest.mark.parametrize("kind", [Kind.STARTUP, Kind.LIVENESS])
def test_a_process_that_fails_its_startup_or_liveness_probe_is_ended_and_starts_again(kind: Kind) -> None:
    impatient = replace(WORKLOAD, probes={kind: replace(READINESS, failures_allowed=1)})
    life, _ = passed(impatient, started(impatient), BOUND_AT_S)

    life, orders = answered(impatient, life, kind, BOUND_AT_S + 1.0, is_good=False)
    assert (life.is_ready, orders) == (False, (Act.KILL,))

    life, _ = ended(life, -9, BOUND_AT_S + 2.0)
    _, orders = passed(impatient, life, BOUND_AT_S + 2.0 + BACK_OFF_FIRST_S)
    assert orders == (Act.START,)


def test_a_process_that_ends_of_itself_starts_again_after_ever_longer_waits() -> None:
    life, at_s, waits_s = started(), BOUND_AT_S, []
    for _ in range(7):
        life, orders = ended(life, 1, at_s)
        assert orders == ()
        assert life.due_s is not None
        waits_s.append(life.due_s - at_s)
        at_s = life.due_s
        life, _ = passed(WORKLOAD, life, at_s)

    assert waits_s == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert life.restarts == 7


def test_a_pod_without_probes_is_ready_when_its_process_runs() -> None:
    life = started(replace(WORKLOAD, probes={}))

    assert (life.is_started, life.is_ready) == (True, True)


def test_sigterm_waits_for_the_hook_and_both_share_the_grace_period() -> None:
    life, orders = asked_to_go(WORKLOAD, serving(), 90.0, 2_000.0)
    assert (life.stage, orders) == (Stage.IN_PRE_STOP, (Act.PRE_STOP,))

    life, orders = pre_stop_ended(life)
    assert (life.stage, orders) == (Stage.TERMINATING, (Act.TERMINATE,))

    life, orders = passed(WORKLOAD, life, 2_089.9)
    assert orders == ()
    life, orders = passed(WORKLOAD, life, 2_090.0)
    assert orders == (Act.KILL,)
    life, orders = passed(WORKLOAD, life, 2_091.0)
    assert orders == ()

    life, orders = ended(life, -9, 2_091.0)
    assert (life.stage, orders) == (Stage.ENDED, (Act.DELETE,))


def test_a_hook_that_outlasts_the_grace_period_leaves_the_process_two_seconds() -> None:
    life, _ = asked_to_go(WORKLOAD, serving(), 90.0, 2_000.0)

    life, orders = passed(WORKLOAD, life, 2_090.0)
    assert orders == (Act.TERMINATE,)
    _, orders = passed(WORKLOAD, life, 2_090.0 + EXTENSION_S)
    assert orders == (Act.KILL,)


def test_a_process_that_ends_in_its_hook_takes_the_pod_with_it() -> None:
    life, _ = asked_to_go(WORKLOAD, serving(), 90.0, 2_000.0)

    life, orders = ended(life, 0, 2_001.0)
    assert (life.stage, orders) == (Stage.ENDED, (Act.DELETE,))
    assert pre_stop_ended(life) == (life, ())


def test_a_pod_that_is_asked_to_go_before_its_process_runs_goes_at_once() -> None:
    _, orders = asked_to_go(WORKLOAD, born(BOUND_AT_S), 90.0, BOUND_AT_S)

    assert orders == (Act.DELETE,)


def test_being_asked_again_changes_nothing() -> None:
    life, _ = asked_to_go(WORKLOAD, serving(), 90.0, 2_000.0)

    assert asked_to_go(WORKLOAD, life, 90.0, 2_050.0) == (life, ())


def test_an_answer_that_comes_after_the_end_has_begun_changes_nothing() -> None:
    life, _ = asked_to_go(WORKLOAD, serving(), 90.0, 2_000.0)

    assert answered(WORKLOAD, life, Kind.READINESS, 2_001.0, is_good=False) == (life, ())


def test_a_status_has_the_times_at_which_its_conditions_changed() -> None:
    raw = pod()
    loading = status_of(raw, WORKLOAD, started(), ADDRESS, BOUND_AT_S)
    ready = status_of({**raw, "status": loading}, WORKLOAD, serving(), ADDRESS, BOUND_AT_S + 30.0)

    since = {each["type"]: (each["status"], each["lastTransitionTime"]) for each in ready["conditions"]}
    assert since["Initialized"] == ("True", "1970-01-01T00:16:40Z")
    assert since["Ready"] == since["ContainersReady"] == ("True", "1970-01-01T00:17:10Z")
    assert ready["containerStatuses"][0]["state"] == {"running": {"startedAt": "1970-01-01T00:16:40Z"}}
    assert (loading["containerStatuses"][0]["started"], ready["containerStatuses"][0]["started"]) == (False, True)


def test_a_command_speaks_of_the_pods_address_and_of_variables_before_it() -> None:
    environment = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "PLACE", "value": "$(POD_IP):8000"},
    ]
    found = workload_of(pod(args=["--at", "$(PLACE)", "$$(PLACE)", "$(NOBODY)"], env=environment), ADDRESS)

    assert found.command == ("serve", "--at", f"{ADDRESS}:8000", "$(PLACE)", "$(NOBODY)")


def test_a_probe_names_a_port_and_has_the_apis_defaults() -> None:
    ports = [{"name": "http", "containerPort": 8000}]
    found = workload_of(pod(ports=ports, readinessProbe={"httpGet": {"port": "http", "path": "/health"}}), ADDRESS)

    expected = replace(READINESS, period_s=10, failures_allowed=3)
    assert found.probes == {Kind.READINESS: expected}


@pytest.mark.parametrize(
    ("container", "why"),
    [
        ({"command": []}, "must have a command"),
        ({"readinessProbe": {"tcpSocket": {"port": 8000}}}, "must be httpGet"),
        ({"readinessProbe": {"httpGet": {"port": "http"}}}, "no port 'http'"),
        ({"lifecycle": {"preStop": {"tcpSocket": {}}}}, "sleep, exec or httpGet"),
        ({"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {}}}]}, "variable KEY: only a fieldRef"),
    ],
)
def test_what_it_cannot_run_it_refuses(container: dict[str, Any], why: str) -> None:
    with pytest.raises(NotRunnableError, match=why):
        workload_of(pod(**container), ADDRESS)


def test_a_pod_of_two_containers_is_refused() -> None:
    raw = pod()
    raw["spec"]["containers"] *= 2

    with pytest.raises(NotRunnableError, match="llama-1: must have one container"):
        workload_of(raw, ADDRESS)
