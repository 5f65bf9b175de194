"""The five promises hold in any world, and beside each is an example.

`promises.py` has the properties, `promise_draws.py` what is drawn for them. `test_promises_mutants.py` shows that each
fails where the core has a wrong part.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings

from scaler.core.model import Actuation, Missing, Policy
from scaler.core.plan import SetReplicas
from tests.builders import START_S, fleet, key, plan_of, policy, ready, releasing, sample, seen, serving, watched
from tests.core import promises
from tests.core.closed_loop import Event, Site, ran, reconciled
from tests.core.promise_draws import PROPERTIES, holds

some = settings(max_examples=90)
many = settings(max_examples=800)


def fewer(how: settings, promise: Callable[..., None]) -> settings:
    """A story has many ticks, and the end of one that broke off has a hundred."""
    cost = {promises.an_interrupted_list_resumes: 5}
    stories_cost = 3 if PROPERTIES[promise] == PROPERTIES[promises.traffic_keeps_its_replicas] else 1
    return settings(how, max_examples=how.max_examples // cost.get(promise, stories_cost))


def named(promise: Callable[..., None]) -> str:
    return promise.__name__


@pytest.mark.parametrize("promise", PROPERTIES, ids=named)
def test_a_promise_holds(promise: Callable[..., None]) -> None:
    holds(promise, fewer(some, promise))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("promise", PROPERTIES, ids=named)
def test_a_promise_holds_in_many_worlds(promise: Callable[..., None]) -> None:
    holds(promise, fewer(many, promise))


# --- An example beside each --------------------------------------------------------------------------------------


def test_the_trail_leads_from_what_is_asked_for_to_what_is_commanded() -> None:
    plan = plan_of(seen(fleet(*serving(8))), policy(warm_floor=7), watched((30.0, 5)))

    assert [(ruling.rule, ruling.before, ruling.after) for ruling in plan.targets[0].trail] == [
        ("wish", 8, 1),
        ("hold", 1, 5),
        ("step_down", 5, 6),
        ("warm_floor", 6, 7),
    ]
    assert plan.commands == (SetReplicas(key=key(), replicas=7),)


def test_a_silent_replica_costs_nothing() -> None:
    mute = ready("mute", load=Missing(why="connection refused"))

    assert plan_of(seen(fleet(*serving(7), mute)), memory=watched()).targets[0].replicas == 8
    assert plan_of(seen(fleet(*serving(8))), memory=watched()).targets[0].replicas == 6


def test_a_restart_costs_nothing_but_the_operators_bound_does() -> None:
    assert plan_of(seen(fleet(*serving(8))), policy(max_replicas=5)).targets[0].replicas == 5
    assert plan_of(seen(fleet(*serving(8)))).targets[0].replicas == 8


@pytest.mark.parametrize(("start_s", "replicas"), [(300.0, 6), (1000.0, 8)])
def test_faster_starts_let_a_dip_be_believed_sooner(start_s: float, replicas: int) -> None:
    """Eight were needed 200 s ago: longer than three tenths of a start of 300 s, shorter than of one of 1000 s."""
    counted = tuple(f"r{index}" for index in range(8))
    memory = replace(watched((200.0, 8)), load_samples=(sample(start_s),) * 5, counted=counted)

    assert plan_of(seen(fleet(*serving(8))), memory=memory).targets[0].replicas == replicas


def test_three_of_ten_ready_replicas_get_three_tenths_of_the_traffic() -> None:
    v1, v2 = fleet(*serving(10, running=24.0)), fleet(*(ready(f"b{index}") for index in range(3)), requested=10)
    observation = seen({"v1": v1, "v2": v2}, weights={"v1": 100, "v2": 0})

    assert plan_of(observation, releasing((100, 0.0))).weights == {"v1": 70, "v2": 30}


def test_a_story_of_a_release_that_crashes() -> None:
    site = Site(
        policy=releasing((50, 0.0), (100, 0.0)),
        at_s=START_S,
        requested={"v1": 4, "v2": 0},
        weights={"v1": 100, "v2": 0},
        pods=(),
        running=96,
        memory=None,
    )
    events = [Event(running=96)] * 4 + [Event(running=96, crash="v2")] * 2

    told = [(dict(tick.site.weights), dict(tick.site.requested)) for tick in ran(reconciled(site), events)]

    assert told == [
        ({"v1": 100, "v2": 0}, {"v1": 4, "v2": 0}),
        ({"v1": 100, "v2": 0}, {"v1": 4, "v2": 2}),
        ({"v1": 50, "v2": 50}, {"v1": 4, "v2": 2}),
        ({"v1": 50, "v2": 50}, {"v1": 4, "v2": 4}),
        ({"v1": 0, "v2": 100}, {"v1": 4, "v2": 4}),
        ({"v1": 100, "v2": 0}, {"v1": 4, "v2": 4}),
    ]


@pytest.mark.parametrize(
    ("asked", "commanded"),
    [
        (policy(), [2]),
        (policy(max_replicas=1), []),
        (policy(paused=True), []),
        (policy(actuation=Actuation.ADVISE), []),
        (policy(actuation=Actuation.KEDA), []),
    ],
    ids=["scale", "bounded", "paused", "advise", "keda"],
)
def test_only_what_is_ours_is_written(asked: Policy, commanded: list[int]) -> None:
    plan = plan_of(seen(fleet(*serving(1, running=48.0))), asked)

    assert [each.replicas for each in plan.commands if isinstance(each, SetReplicas)] == commanded
