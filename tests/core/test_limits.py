"""The order of the rules, the last of which are the operator's words, and what no rule may do."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.core import limits
from scaler.core.limits import RULES, Case, Rule, least, limited
from scaler.core.memory import TargetMemory, Wished
from scaler.core.model import Behavior, Policy, ScaleToZero, Target, WarmWindow
from scaler.core.plan import Ruling
from tests.builders import BEHAVIOR, START_S, fleet, key, lost, policy, serving, starting, unschedulable
from tests.core.cases import OVER, after, because, case, wished

TO_ZERO = policy(min_replicas=0, scale_to_zero=ScaleToZero(idle_s=600.0))


# --- The order ---------------------------------------------------------------------------------------------------


def test_the_order_of_the_rules() -> None:
    """Growth is bounded first, then shrinking is slowed, and whoever owns the cluster has the last words."""
    assert [rule.__name__ for rule in RULES] == [
        "room",
        "probe",
        "step_up",
        "wake",
        "full_window",
        "checked",
        "intact",
        "hold",
        "consolidate",
        "step_down",
        "flaps",
        "rest",
        "warm_floor",
        "bounds",
        "paused",
    ]


def test_a_ruling_bears_the_name_of_its_rule() -> None:
    shrinking = case(
        asked=policy(paused=True, warm_floor=3, min_replicas=4, behavior=replace(BEHAVIOR, grow_step=1)),
        fleet=fleet(*serving(7), unschedulable()),
        memory=replace(wished((10.0, 7)), known_from_s=None, direction=1, shortage=OVER),
        unheard=(lost(),),
        steady=2,
        slowness=None,
    )

    at_zero = case(0, asked=TO_ZERO, fleet=fleet(requested=0), is_waking=True)
    idle = case(1, asked=TO_ZERO, idle_for_s=900.0)

    told = {
        rule.__name__: ruling.rule
        for rule in RULES
        for seen, wish in ((shrinking, 0), (shrinking, 20), (at_zero, 0), (idle, 1))
        if (ruling := rule(wish, seen)) is not None
    }

    assert [*told] == [*told.values()] == [rule.__name__ for rule in RULES]


# --- The operator's words ----------------------------------------------------------------------------------------

NIGHT = WarmWindow(from_s=START_S, until_s=START_S + 100.0, floor=6)


@pytest.mark.parametrize(
    ("at_s", "ruled"), [(START_S - 0.1, 2), (START_S, 6), (START_S + 99.9, 6), (START_S + 100.0, 2)]
)
def test_a_schedule_raises_the_floor_from_its_start_until_just_before_its_end(at_s: float, ruled: int) -> None:
    warm = policy(warm_floor=2, warm_windows=(NIGHT,))

    assert after(limits.warm_floor, 0, case(asked=warm, at_s=at_s)) == ruled


def test_the_highest_floor_in_force_counts() -> None:
    lower = replace(NIGHT, floor=4)

    assert after(limits.warm_floor, 0, case(asked=policy(warm_floor=5, warm_windows=(lower, NIGHT)))) == 6
    assert after(limits.warm_floor, 0, case(asked=policy(warm_floor=5, warm_windows=(lower,)))) == 5
    assert after(limits.warm_floor, 7, case(asked=policy(warm_floor=5))) == 7


@pytest.mark.parametrize(
    ("warm", "share_percent", "reason"),
    [
        (policy(warm_floor=6), 100, "the warm pool keeps 6"),
        (policy(warm_floor=2, warm_windows=(NIGHT,)), 100, "the warm pool keeps 6 on schedule"),
        (policy(warm_floor=6, warm_windows=(NIGHT,)), 50, "the warm pool keeps 6, for 50 % of the traffic"),
    ],
)
def test_the_floor_says_where_it_comes_from(warm: Policy, share_percent: int, reason: str) -> None:
    assert because(limits.warm_floor, 0, case(asked=warm, share_percent=share_percent)) == reason


@pytest.mark.parametrize(("share_percent", "low"), [(100, 4), (26, 2), (25, 1), (1, 1), (0, 0)])
def test_the_lower_bound_and_the_floor_go_by_the_traffic_rounded_up(share_percent: int, low: int) -> None:
    sharing = case(asked=policy(min_replicas=4, warm_floor=4), share_percent=share_percent)

    assert after(limits.bounds, 0, sharing) == low
    assert after(limits.warm_floor, 0, sharing) == low
    assert least(sharing.policy, sharing.target, share_percent, START_S) == low


@pytest.mark.parametrize(("floor", "low", "expected"), [(6, 1, 6), (1, 6, 6), (0, 0, 0)])
def test_the_least_is_the_higher_of_floor_and_lower_bound(floor: int, low: int, expected: int) -> None:
    assert least(policy(warm_floor=floor, min_replicas=low), target(), 100, START_S) == expected


def target(low: int = 0, high: int | None = None) -> Target:
    return Target(key=key(), min_replicas=low, max_replicas=high)


@pytest.mark.parametrize(
    ("wish", "seen", "ruled", "reason"),
    [
        (0, case(), 1, "the operator allows 1 to 40"),
        (50, case(), 40, "the operator allows 1 to 40"),
        (50, case(target=target(high=30)), 30, "the operator allows 1 to 30"),
        (50, case(ceiling=12), 12, "the operator allows 1 to 12 beside the other versions"),
        (50, case(ceiling=12, target=target(high=9)), 9, "the operator allows 1 to 9"),
        (1, case(target=target(low=3)), 3, "the operator allows 3 to 40"),
        (9, case(ceiling=2, target=target(low=3)), 2, "the operator allows at most 2 beside the other versions"),
    ],
    ids=["low", "high", "target's high", "beside", "target beside", "target's low", "high over low"],
)
def test_the_bounds_are_the_policys_the_targets_and_what_other_versions_leave(
    wish: int, seen: Case, ruled: int, reason: str
) -> None:
    assert after(limits.bounds, wish, seen) == ruled
    assert because(limits.bounds, wish, seen) == reason


def test_a_target_without_traffic_may_go_whatever_its_own_lower_bound() -> None:
    assert after(limits.bounds, 0, case(target=target(low=3), share_percent=0)) == 0


def test_a_paused_policy_keeps_what_is_there() -> None:
    pausing = case(8, asked=policy(paused=True))

    assert [after(limits.paused, wish, pausing) for wish in (2, 8, 30)] == [8, 8, 8]
    assert limits.paused(2, case()) is None


# --- What holds for any case -------------------------------------------------------------------------------------

maybe_s = st.none() | st.integers(-4000, 0).map(lambda age_s: START_S + age_s)
behaviors = st.builds(
    Behavior,
    hold_s=st.none() | st.sampled_from([0.0, 60.0, 900.0]),
    shrink_step_percent=st.integers(1, 100),
    shrink_period_s=st.sampled_from([1.0, 60.0, 600.0]),
    grow_step=st.none() | st.integers(1, 10),
    grow_period_s=st.sampled_from([1.0, 60.0]),
    flaps_per_hour=st.integers(1, 6),
)
policies = st.builds(
    lambda bounds, floor, behavior, *, paused: policy(
        min_replicas=min(bounds), max_replicas=max(1, *bounds), warm_floor=floor, behavior=behavior, paused=paused
    ),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.integers(0, 20),
    behaviors,
    paused=st.booleans(),
)
memories = st.builds(
    TargetMemory,
    key=st.just(key()),
    known_from_s=maybe_s,
    asked=st.none() | st.integers(0, 40),
    wished=st.lists(
        st.builds(Wished, at_s=st.integers(-4000, -1).map(lambda age_s: START_S + age_s), replicas=st.integers(0, 40)),
        max_size=4,
    ).map(tuple),
    grown_at_s=maybe_s,
    shrunk_at_s=maybe_s,
    direction=st.sampled_from([-1, 0, 1]),
    turns_left=st.none() | st.floats(-1.0, 20.0),
    turns_at_s=maybe_s,
)
fleets = st.builds(
    lambda count, others, requested: fleet(*serving(count), *others, requested=requested),
    st.integers(0, 12),
    st.lists(st.sampled_from([starting(), starting(age_s=2000.0), unschedulable(), lost()]), max_size=3),
    st.integers(0, 40),
)
cases = st.builds(
    lambda asked, has, memory, share_percent, ceiling, unheard, steady, idle_for_s, is_waking: case(
        asked=asked,
        fleet=has,
        memory=memory,
        share_percent=share_percent,
        ceiling=ceiling,
        unheard=unheard,
        steady=steady,
        idle_for_s=idle_for_s,
        is_waking=is_waking,
    ),
    policies,
    fleets,
    memories,
    st.integers(0, 100),
    st.integers(0, 40),
    st.sampled_from([(), (lost(),)]),
    st.integers(0, 40),
    st.sampled_from([None, 100.0, 5000.0]),
    st.booleans(),
)
wishes = st.integers(0, 60)

UPWARDS: tuple[Rule, ...] = (limits.room, limits.probe, limits.step_up)
DOWNWARDS: tuple[Rule, ...] = (
    limits.full_window,
    limits.checked,
    limits.intact,
    limits.hold,
    limits.consolidate,
    limits.step_down,
    limits.flaps,
)


some = settings(max_examples=50)


@some
@given(cases, wishes)
def test_a_rule_on_growth_only_bounds_it_and_never_below_what_is_asked_for(seen: Case, wish: int) -> None:
    for rule in UPWARDS:
        assert min(wish, seen.requested) <= after(rule, wish, seen) <= wish


@some
@given(cases, wishes)
def test_a_rule_on_shrinking_only_slows_it_and_never_raises_above_what_is_asked_for(seen: Case, wish: int) -> None:
    for rule in DOWNWARDS:
        assert wish <= after(rule, wish, seen) <= max(wish, seen.requested)


@some
@given(cases, wishes)
def test_a_ruling_begins_with_the_wish_and_changes_it(seen: Case, wish: int) -> None:
    """Killed by a rule that returns a ruling whether or not it changes the number."""
    for rule in RULES:
        ruling = rule(wish, seen)

        assert ruling is None or (ruling.before == wish and ruling.after != wish and bool(ruling.because))


@some
@given(cases, wishes, wishes)
def test_a_higher_wish_never_leads_to_fewer(seen: Case, one: int, other: int) -> None:
    for rule in RULES:
        assert after(rule, min(one, other), seen) <= after(rule, max(one, other), seen)


@some
@given(cases, wishes)
def test_the_rules_of_zero_move_between_zero_and_one_alone(seen: Case, wish: int) -> None:
    assert after(limits.wake, wish, seen) in {wish, 1}
    assert after(limits.rest, wish, seen) in {wish, 0}
    assert wish == 0 or after(limits.wake, wish, seen) == wish
    assert wish == 1 or after(limits.rest, wish, seen) == wish


@some
@given(cases, wishes)
def test_the_floor_only_raises(seen: Case, wish: int) -> None:
    assert after(limits.warm_floor, wish, seen) >= wish


@some
@given(cases, wishes)
def test_the_plan_is_within_the_ceiling_unless_it_is_paused(seen: Case, wish: int) -> None:
    plan = limited(Ruling(rule="wish", before=seen.requested, after=wish, because="", facts={}), seen)

    assert plan.replicas == seen.requested if seen.policy.paused else plan.replicas <= seen.ceiling


def test_every_rule_of_the_properties_is_in_the_order() -> None:
    last: tuple[Rule, ...] = (limits.warm_floor, limits.bounds, limits.paused)

    assert (*UPWARDS, limits.wake, *DOWNWARDS, limits.rest, *last) == RULES
