"""Several targets decided at once: the roles of one version, and the versions of a release."""

from collections.abc import Mapping
from dataclasses import replace

from scaler.core.model import Fleet, FleetSeen, Missing, Observation, Policy, Role, Target, Version
from scaler.core.plan import SetReplicas, SetWeights
from tests.builders import START_S, fleet, key, plan_of, policy, ready, releasing, seen, serving, starting, watched
from tests.core.strategies import AWAY

# --- Roles -------------------------------------------------------------------------------------------------------


def disaggregated(prefill: Fleet, decoding: Fleet) -> Observation:
    return Observation(
        fleets=(
            FleetSeen(key=key(role=Role.PREFILL), fleet=prefill),
            FleetSeen(key=key(role=Role.DECODE), fleet=decoding),
        )
    )


ROLES = policy(
    versions=[
        Version(name="v1", targets=(Target(key=key(role=Role.PREFILL)), Target(key=key(role=Role.DECODE)))),
    ]
)


def test_each_role_is_sized_for_its_own_work() -> None:
    plan = plan_of(disaggregated(fleet(*serving(1, running=48)), fleet(*serving(2, running=48))), ROLES)

    assert [(str(target.key), target.replicas) for target in plan.targets] == [("v1/Prefill", 2), ("v1/Decode", 4)]


def test_a_role_that_is_silent_keeps_what_it_has_and_the_other_is_sized() -> None:
    plan = plan_of(disaggregated(fleet(*serving(1, running=48)), fleet(ready(load=AWAY))), ROLES)

    assert [target.trail[-1].rule for target in plan.targets] == ["wish", "keep"]


def two_versions_of_two_roles(**asked: object) -> Policy:
    """A release from v1 to v2, each with prefill and decoding."""
    pairs = [
        (name, tuple(Target(key=key(name, role)) for role in (Role.PREFILL, Role.DECODE))) for name in ("v1", "v2")
    ]
    versions = tuple(Version(name=name, targets=targets) for name, targets in pairs)
    return replace(releasing((100, 0.0)), versions=versions, **asked)  # type: ignore[arg-type]  # named by the test


def both_roles(work: Mapping[tuple[str, Role], Fleet]) -> Observation:
    told = tuple(FleetSeen(key=key(name, role), fleet=each) for (name, role), each in work.items())
    return Observation(fleets=told, weights={"v1": 100, "v2": 0})


def test_a_version_carries_what_its_scarcest_role_does() -> None:
    """v2 has prefill for all of the traffic, and decoding for a quarter of it."""
    observation = both_roles(
        {
            ("v1", Role.PREFILL): fleet(*serving(1, running=24.0)),
            ("v1", Role.DECODE): fleet(*serving(4, running=24.0)),
            ("v2", Role.PREFILL): fleet(*serving(1)),
            ("v2", Role.DECODE): fleet(*serving(1)),
        }
    )

    assert plan_of(observation, two_versions_of_two_roles()).weights == {"v1": 75, "v2": 25}


def test_the_maximum_is_of_each_role_by_itself() -> None:
    """Of 6 allowed, v1 has 4 for prefill, which leaves v2 two, and 1 for decoding, which leaves it all it wants."""
    observation = both_roles(
        {
            ("v1", Role.PREFILL): fleet(*serving(4, running=24.0)),
            ("v1", Role.DECODE): fleet(*serving(1, running=72.0)),
            ("v2", Role.PREFILL): fleet(),
            ("v2", Role.DECODE): fleet(),
        }
    )

    plan = plan_of(observation, two_versions_of_two_roles(max_replicas=6))

    assert {str(target.key): target.replicas for target in plan.targets} == {
        "v1/Prefill": 4,
        "v1/Decode": 3,
        "v2/Prefill": 2,
        "v2/Decode": 3,
    }


# --- Releases ----------------------------------------------------------------------------------------------------

STEPS = releasing((5, 300.0), (100, 300.0))
TWO: Mapping[str, Fleet | Missing] = {"v1": fleet(*serving(4, running=12)), "v2": fleet(requested=0)}


def test_a_release_first_grows_then_shifts_then_shrinks() -> None:
    grown: Mapping[str, Fleet | Missing] = {"v1": fleet(*serving(4, running=12)), "v2": fleet(ready("b"))}

    assert plan_of(seen(TWO, weights={"v1": 100, "v2": 0}), STEPS).commands == (SetReplicas(key=key("v2"), replicas=1),)
    assert plan_of(seen(grown, weights={"v1": 100, "v2": 0}), STEPS).commands == (
        SetWeights(weights={"v1": 95, "v2": 5}),
    )


def test_a_route_that_cannot_be_read_moves_nothing_and_grows_nothing() -> None:
    """Not even to the lower bound: while its share is not known, no version knows its part of the bounds."""
    observation = seen(TWO, weights=AWAY)
    asked = replace(STEPS, min_replicas=3, warm_floor=6)

    plan = plan_of(observation, asked, watched((240.0, 1)))

    assert [(str(target.key), target.replicas, len(target.trail)) for target in plan.targets] == [
        ("v1", 4, 1),
        ("v2", 0, 1),
    ]
    assert plan.weights == Missing(why="no route is moved")
    assert plan.commands == ()


def test_replicas_that_cannot_be_seen_lose_no_traffic() -> None:
    """The list of v2's pods did not come; that they are gone is not known."""
    observation = seen({"v1": fleet(*serving(4)), "v2": AWAY}, weights={"v1": 50, "v2": 50})

    assert plan_of(observation, STEPS, watched((240.0, 1))).commands == ()


def test_a_route_that_cannot_be_read_keeps_the_memory_of_the_release() -> None:
    before = plan_of(seen(TWO, weights={"v1": 100, "v2": 0}), STEPS).memory

    after = plan_of(seen(TWO, weights=AWAY), STEPS, before).memory

    assert before.release is not None
    assert after.release == before.release


def test_a_route_may_name_versions_that_the_policy_does_not() -> None:
    """v0 has been taken from the list of versions, and the route is still to be cleaned."""
    observation = seen(TWO, weights={"v0": 40, "v1": 60})

    plan = plan_of(observation, STEPS)

    assert plan.memory.release is not None
    assert plan.memory.release.stable == "v1"
    assert plan.weights == {"v1": 60, "v2": 0}
    assert [command for command in plan.commands if isinstance(command, SetWeights)] == []


def test_two_warm_versions_settle_within_the_maximum_and_stay() -> None:
    """A floor of 30 for each of two versions, with 40 allowed: it used to swing between 60 and 20 from tick to tick."""
    asked = releasing((5, 300.0), (100, 9e9), warm_floor=30)
    has, memory = {"v1": 5, "v2": 2}, None
    told = []
    for tick in range(6):
        at_s = START_S + 15.0 * tick
        observation = seen(
            {version: fleet(*serving(count, running=1.0, at_s=at_s)) for version, count in has.items()},
            weights={"v1": 10, "v2": 90},
        )
        plan = plan_of(observation, asked, memory, at_s)
        memory, has = plan.memory, {target.key.version: target.replicas for target in plan.targets}
        told.append((has["v1"], has["v2"]))

    assert all(v1 + v2 <= 40 for v1, v2 in told)
    assert len(set(told[1:])) == 1


def test_the_work_of_a_version_that_starts_is_not_lost_on_the_other() -> None:
    observation = seen({"v1": fleet(*serving(4, running=24)), "v2": fleet(starting())}, weights={"v1": 100, "v2": 0})

    plan = plan_of(observation, STEPS, watched((240.0, 4)))

    assert [target.replicas for target in plan.targets] == [4, 1]
