"""What a person on call reads from the status without a trail."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from scaler.core.conditions import forecastable, replicas_alike
from scaler.core.model import Fleet, Missing, Observation, Policy, Refused
from scaler.core.plan import Condition, FloorAdvice
from tests.builders import fleet, plan_of, ready, releasing, seen, serving, starting, unschedulable

AWAY = Missing(why="the API server is away")
STEPS = releasing((5, 300.0), (100, 0.0))


def told(observation: Observation, asked: Policy | None = None) -> Mapping[str, Condition]:
    return {condition.type: condition for condition in plan_of(observation, asked).conditions}


def of(condition: Condition) -> tuple[bool | None, str, str]:
    return condition.status, condition.reason, condition.message


def two(v2: Fleet | Missing) -> Observation:
    return seen({"v1": fleet(*serving(2)), "v2": v2}, weights={"v1": 100, "v2": 0})


def test_a_healthy_policy_is_ready_and_releases_nothing() -> None:
    conditions = told(seen(fleet(*serving(2))))

    assert list(conditions) == [
        "Ready",
        "SignalsHealthy",
        "CapacityAvailable",
        "Releasing",
        "Forecastable",
        "ReplicasAlike",
    ]
    assert {name: condition.status for name, condition in conditions.items()} == {
        "Ready": True,
        "SignalsHealthy": True,
        "CapacityAvailable": True,
        "Releasing": False,
        "Forecastable": True,
        "ReplicasAlike": True,
    }


def test_a_silent_replica_is_named() -> None:
    conditions = told(seen(fleet(*serving(1), ready("mute", load=Missing(why="connection refused")))))

    assert of(conditions["SignalsHealthy"]) == (
        False,
        "DemandUnknown",
        "Serve: 1 of 2 ready replicas of v1 cannot be read; mute: connection refused; what is there is kept",
    )


def test_while_the_first_replicas_load_nobody_is_at_fault() -> None:
    condition = told(seen(fleet(starting())))["SignalsHealthy"]

    assert (condition.status, condition.reason) == (False, "NobodyReady")


def test_several_versions_without_a_readable_route_are_blind() -> None:
    observation = replace(two(fleet(*serving(2))), weights=AWAY)

    conditions = told(observation, STEPS)

    assert of(conditions["SignalsHealthy"]) == (
        False,
        "RouteUnknown",
        "the route's weights are not known: the API server is away; what is there is kept",
    )
    assert of(conditions["Releasing"]) == (
        None,
        "RouteUnknown",
        "no traffic is moved, since the route's weights are not known",
    )


def test_a_release_whose_replicas_cannot_be_seen_is_not_told() -> None:
    assert of(told(two(AWAY), STEPS)["Releasing"]) == (
        None,
        "NotSeen",
        "no traffic is moved, since the replicas of a version are not known",
    )


def test_one_version_needs_no_route() -> None:
    assert told(replace(seen(fleet(*serving(2))), weights=AWAY))["SignalsHealthy"].status is True


@pytest.mark.parametrize(
    ("stuck", "message"),
    [
        (fleet(unschedulable("u")), "1 replica of v2 cannot start, 1 GPU each; the first is u"),
        (
            replace(fleet(unschedulable("u"), starting("s", age_s=2000.0)), gpus_per_replica=8),
            "2 replicas of v2 cannot start, 8 GPUs each; the first is u",
        ),
    ],
)
def test_replicas_that_cannot_start_are_told_with_their_gpus(stuck: Fleet, message: str) -> None:
    assert of(told(two(stuck), STEPS)["CapacityAvailable"]) == (False, "ReplicasStuck", message)


def test_replicas_that_are_refused_are_told_in_the_platforms_words() -> None:
    refused = replace(fleet(*serving(2), requested=3), refused=Refused(replicas=1, why="exceeded quota: gpus"))

    assert of(told(seen(refused))["CapacityAvailable"]) == (
        False,
        "ReplicasRefused",
        "1 replica of v1 cannot be created, 1 GPU each: exceeded quota: gpus",
    )


def test_of_a_fleet_that_cannot_be_seen_capacity_cannot_be_told() -> None:
    assert of(told(two(AWAY), STEPS)["CapacityAvailable"]) == (
        None,
        "NotSeen",
        "the replicas of v2 are not known: the API server is away",
    )


def test_a_release_is_told_by_its_stage() -> None:
    assert of(told(two(fleet(starting())), STEPS)["Releasing"]) == (
        True,
        "Loading",
        "5 % wait for capacity: 0 ready replicas of v2 carry 0 %",
    )


def test_a_release_that_serves_is_settled() -> None:
    observation = replace(two(fleet(*serving(2))), weights={"v1": 0, "v2": 100})

    assert of(told(observation, STEPS)["Releasing"]) == (False, "Settled", "v2 serves")


ADVICE = FloorAdvice(role="Serve", floor=6, late_share=0.034, idle_replicas=3.8, growth=2.5)


def test_scaling_that_is_in_time_is_forecastable() -> None:
    assert of(forecastable(())) == (True, "InTime", "first tokens that were late are within the objective")


@pytest.mark.parametrize(("idle", "replicas"), [(3.8, "4 replicas"), (1.2, "1 replica")])
def test_demand_that_rises_faster_than_replicas_start_is_told_with_the_floor_and_its_cost(
    idle: float, replicas: str
) -> None:
    first = replace(ADVICE, idle_replicas=idle)

    assert of(forecastable((first, replace(ADVICE, role="Decode")))) == (
        False,
        "TooFast",
        (
            "Serve: 3.4% of the last day's first tokens were late, since demand may grow 2.5 times within one load "
            f"time; warmPool.floor: 6 would cover it, with {replicas} idle on average"
        ),
    )


def test_replicas_of_one_speed_are_alike() -> None:
    assert of(replicas_alike(())) == (True, "Alike", "no replica is much slower than its like")


@pytest.mark.parametrize(
    ("others", "rest"),
    [
        ((), ""),
        ((("b", 0.55),), ", nor what 1 other tell"),
        ((("b", 0.55), ("c", 0.5)), ", nor what 2 others tell"),
    ],
)
def test_the_slowest_replica_is_named(others: tuple[tuple[str, float], ...], rest: str) -> None:
    slow = tuple((ready(name), speed) for name, speed in (*others, ("ill", 0.31)))

    assert of(replicas_alike(slow)) == (
        False,
        "SlowReplica",
        f"ill works at 31% of the speed of its like; what it tells is not learned from{rest}",
    )


@pytest.mark.parametrize(
    ("observation", "status", "reason"),
    [
        (seen(fleet(*serving(1), unschedulable())), False, "ReplicasStuck"),
        (seen(fleet(ready(load=AWAY), unschedulable())), False, "DemandUnknown"),
        (seen(AWAY), False, "DemandUnknown"),
    ],
)
def test_ready_gives_the_first_thing_that_is_wrong(observation: Observation, *, status: bool, reason: str) -> None:
    assert of(told(observation)["Ready"])[:2] == (status, reason)
