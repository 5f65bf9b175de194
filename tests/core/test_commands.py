"""From a plan to commands: absolute, only what differs, grow before shift before shrink."""

from collections.abc import Mapping

import pytest

from scaler.core.commands import commands_of
from scaler.core.model import Actuation, Missing, Policy
from scaler.core.plan import Command, Ruling, SetReplicas, SetWeights, TargetPlan
from tests.builders import fleet, key, policy, releasing, seen, serving

NO_ROUTE = Missing(why="no route is moved")
RELEASING = releasing((5, 300.0), (100, 0.0))


def planned(**replicas: int) -> tuple[TargetPlan, ...]:
    """A plan for each version by name."""
    return tuple(
        TargetPlan(key=key(version), trail=(Ruling(rule="wish", before=0, after=count, because="the work", facts={}),))
        for version, count in replicas.items()
    )


def told(
    asked: Policy,
    targets: tuple[TargetPlan, ...],
    weights: Mapping[str, int] | Missing = NO_ROUTE,
    route: Mapping[str, int] | Missing | None = None,
) -> tuple[Command, ...]:
    """What is said where v1 and v2 have two replicas each."""
    observation = seen({"v1": fleet(*serving(2)), "v2": fleet(*serving(2))}, weights=route)
    return commands_of(asked, observation, targets, weights)


def test_what_grows_comes_first_then_the_weights_then_what_shrinks() -> None:
    commands = told(RELEASING, planned(v1=1, v2=5), {"v1": 95, "v2": 5}, {"v1": 100, "v2": 0})

    assert commands == (
        SetReplicas(key=key("v2"), replicas=5),
        SetWeights(weights={"v1": 95, "v2": 5}),
        SetReplicas(key=key("v1"), replicas=1),
    )


def test_where_nothing_differs_nothing_is_said() -> None:
    assert told(RELEASING, planned(v1=2, v2=2), {"v1": 95, "v2": 5}, {"v1": 95, "v2": 5}) == ()


def test_weights_that_a_route_does_not_name_are_zero() -> None:
    assert told(RELEASING, planned(v1=2), {"v1": 100, "v2": 0}, {"v1": 100}) == ()
    assert told(RELEASING, planned(v1=2), {"v1": 95, "v2": 5}, {"v1": 100}) == (
        SetWeights(weights={"v1": 95, "v2": 5}),
    )


def test_what_has_been_done_is_not_said_again() -> None:
    """Commands are absolute: told again from the world that they made, there are none left."""
    targets, weights = planned(v1=1, v2=5), {"v1": 95, "v2": 5}
    after = seen({"v1": fleet(*serving(1)), "v2": fleet(*serving(5))}, weights=weights)

    assert commands_of(RELEASING, after, targets, weights) == ()


@pytest.mark.parametrize("weights", [NO_ROUTE, {"v1": 95, "v2": 5}])
def test_an_unknown_route_is_not_written(weights: Mapping[str, int] | Missing) -> None:
    assert told(RELEASING, planned(v1=2), weights, Missing(why="the API server is away")) == ()


def test_a_target_that_was_not_seen_is_not_written() -> None:
    observation = seen({"v1": Missing(why="the API server is away"), "v2": fleet(*serving(2))})

    assert commands_of(RELEASING, observation, planned(v1=7, v2=3), NO_ROUTE) == (
        SetReplicas(key=key("v2"), replicas=3),
    )


@pytest.mark.parametrize(
    "asked",
    [
        policy(actuation=Actuation.ADVISE),
        policy(paused=True),
        policy(paused=True, actuation=Actuation.KEDA),
    ],
    ids=["advise", "paused", "paused under KEDA"],
)
def test_a_policy_that_only_advises_or_is_paused_writes_nothing(asked: Policy) -> None:
    assert told(asked, planned(v1=1, v2=5), {"v1": 95, "v2": 5}, {"v1": 100}) == ()


def test_under_keda_only_the_route_is_ours() -> None:
    commands = told(policy(actuation=Actuation.KEDA), planned(v1=1, v2=5), {"v1": 95, "v2": 5}, {"v1": 100})

    assert commands == (SetWeights(weights={"v1": 95, "v2": 5}),)
