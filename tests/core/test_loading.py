"""How long a start takes: learned from starts that ended and from those that go on, in spite of a few absurd ones."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.loading import (
    DEADLINE_LEAST_S,
    LATE_FACTOR,
    LOAD_TIME_LEAST_S,
    SAMPLES_KEPT,
    Lifetime,
    believable,
    chance,
    late,
    learn,
    load_time,
    phase_medians_s,
    quantile,
    sample_of,
    with_deadline,
)
from scaler.core.memory import LoadSample
from scaler.core.model import Fleet, Loading, Missing, Phase, Replica
from scaler.core.plan import LoadTime
from tests.builders import (
    START_S,
    fleet,
    key,
    lost,
    policy,
    ready,
    sample,
    seen,
    serving,
    starting,
    unschedulable,
    version,
)

EMPTY = fleet()


def believed(*totals_s: float, starts: Fleet = EMPTY, expected_s: float = 300.0) -> LoadTime:
    """The belief after these starts, the oldest first."""
    asked = policy(loading=Loading(expected_s=expected_s, budget_s=1800.0))
    return load_time(key(), asked, [sample(total_s) for total_s in totals_s], starts, START_S)


def restarted(replica: Replica) -> Replica:
    return replace(replica, restarts=1)


# --- What is believed --------------------------------------------------------------------------------------------


def test_with_nothing_measured_a_start_takes_what_the_user_expects() -> None:
    assert believed() == LoadTime(p50_s=300.0, p90_s=420.0, samples=0)


@pytest.mark.parametrize(
    ("starts", "p50_s", "p90_s"),
    [
        # 40 % of the weight at 100 s, 6 % at each decile of the prior: the second (270 s) passes 50, the ninth 90.
        ([100.0], 270.0, 420.0),
        # 84 % at 100 s: what was measured owns the median, the prior still has the p90.
        ([100.0, 100.0, 100.0], 100.0, 300.0),
        ([100.0, 100.0, 100.0, 100.0, 100.0], 100.0, 100.0),
    ],
    ids=["one", "three", "five"],
)
def test_measured_starts_replace_the_prior(starts: list[float], p50_s: float, p90_s: float) -> None:
    learned = believed(*starts)

    assert learned == LoadTime(p50_s=p50_s, p90_s=p90_s, samples=len(starts))


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_prior_wrong_by_four_is_right_after_five_starts(factor: float) -> None:
    learned = believed(280.0, 310.0, 300.0, 290.0, 320.0, expected_s=300.0 * factor)

    assert 280.0 <= learned.p50_s <= 320.0
    assert 280.0 <= learned.p90_s <= 320.0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_new_regime_at_noon_is_believed_after_five_starts(factor: float) -> None:
    morning, noon = [300.0] * SAMPLES_KEPT, [300.0 * factor] * 5

    assert believed(*morning, *noon[:4]).p50_s == 300.0
    assert believed(*morning, *noon).p50_s == 300.0 * factor


def test_starts_that_drag_on_raise_the_belief_before_any_of_them_ends() -> None:
    measured = [300.0] * 5
    dragging = fleet(starting("a", age_s=900.0), starting("b", age_s=900.0))

    assert believed(*measured).p90_s == 300.0
    assert believed(*measured, starts=dragging).p90_s == 900.0


def test_starts_that_have_just_begun_say_nothing() -> None:
    measured = [290.0, 300.0, 310.0, 300.0, 320.0]

    assert believed(*measured, starts=fleet(starting(age_s=10.0))) == believed(*measured)


def test_a_wait_for_a_node_that_does_not_come_is_not_a_slow_start() -> None:
    measured = [300.0] * 5

    assert believed(*measured, starts=fleet(unschedulable(for_s=1500.0))) == believed(*measured)


def test_a_start_that_crashed_is_not_a_slow_start() -> None:
    measured = [300.0] * 5

    assert believed(*measured, starts=fleet(restarted(starting(age_s=1500.0)))) == believed(*measured)


def test_a_wait_for_a_node_counts_for_as_long_as_a_new_node_takes() -> None:
    """A new GPU node takes 600 s; a wait of 3000 s was a shortage, which the next start need not meet."""
    asked = policy(loading=Loading(expected_s=300.0, budget_s=7200.0))
    provisioned = [replace(sample(900.0), waiting_s=600.0)] * 5
    short = [replace(sample(3300.0), waiting_s=3000.0)] * 5
    still_waiting = Replica(name="w", created_at_s=START_S - 3000.0)

    meanwhile = load_time(key(), asked, [sample(300.0)] * 5, fleet(still_waiting, still_waiting), START_S)

    assert load_time(key(), asked, provisioned, EMPTY, START_S).p90_s == 900.0
    assert load_time(key(), asked, short, EMPTY, START_S).p90_s == 300.0
    assert meanwhile.p90_s == 300.0


def test_one_absurd_start_changes_nothing() -> None:
    measured = [290.0, 300.0, 310.0, 300.0]

    assert believed(*measured, 300.0, 90_000.0).p90_s <= 310.0
    assert believed(*measured, 300.0, 0.5).p50_s == 300.0


def test_what_a_quarter_of_the_starts_do_is_not_absurd() -> None:
    assert believable([300.0, 300.0, 300.0, 300.0, 3000.0]) == [300.0] * 4
    assert believable([300.0, 300.0, 3000.0]) == [300.0, 300.0, 3000.0]


def test_the_belief_stays_within_a_second_and_the_budget() -> None:
    assert believed(*[0.01] * 5).p50_s == LOAD_TIME_LEAST_S
    assert believed(*[90_000.0] * 5).p90_s == 1800.0


# --- The deadline of a start -------------------------------------------------------------------------------------


def deadline_s(*totals_s: float, expected_s: float = 300.0, version: str = "v1") -> float:
    """When a start has failed that nobody gave a budget, after these."""
    asked = policy(loading=Loading(expected_s=expected_s, budget_s=1800.0, learns_budget=True))
    return with_deadline(asked, [sample(total_s, version) for total_s in totals_s]).loading.budget_s


def test_the_users_word_is_the_deadline_whatever_was_measured() -> None:
    asked = policy(loading=Loading(expected_s=300.0, budget_s=700.0))

    assert with_deadline(asked, [sample(900.0)] * 20) == asked


@pytest.mark.parametrize(
    ("starts", "expected_s", "told_s"),
    [
        ([], 300.0, 1800.0),
        ([], 1500.0, 3000.0),  # as long as the longest of its prior
        ([900.0] * 3, 300.0, 1800.0),
        ([900.0] * 4, 300.0, 4500.0),
        ([240.0] * 19 + [480.0], 300.0, 2400.0),
        ([240.0] * 19 + [4000.0], 300.0, 1200.0),  # absurd, and says nothing
        ([45.0] * 20, 300.0, DEADLINE_LEAST_S),
    ],
)
def test_without_it_the_deadline_is_five_times_the_slowest_of_the_measured_starts(
    starts: list[float], expected_s: float, told_s: float
) -> None:
    assert deadline_s(*starts, expected_s=expected_s) == told_s


def test_the_slowest_target_sets_the_deadline_of_the_policy() -> None:
    asked = policy(
        versions=(version("v1"), version("v2")),
        loading=Loading(expected_s=300.0, budget_s=1800.0, learns_budget=True),
    )
    starts = [*[sample(240.0, "v1")] * 5, *[sample(900.0, "v2")] * 5]

    assert with_deadline(asked, starts).loading.budget_s == 4500.0


# --- Starts that are late ----------------------------------------------------------------------------------------

MEASURED = [sample(120.0)] * 10


def late_of(*starts: Replica, samples: Sequence[LoadSample] = MEASURED) -> list[str]:
    return [replica.name for replica in late(key(), policy(), samples, fleet(*starts), START_S)]


def test_a_start_is_late_when_it_has_taken_two_and_a_half_times_the_p90() -> None:
    assert late_of(starting("s", age_s=LATE_FACTOR * 120.0)) == []
    assert late_of(starting("s", age_s=LATE_FACTOR * 120.0 + 1.0)) == ["s"]


@pytest.mark.parametrize(("age_s", "names"), [(350.0, ["s"]), (400.0, []), (501.0, ["s"])])
def test_a_start_is_not_late_that_will_likely_end_before_one_that_replaces_it(age_s: float, names: list[str]) -> None:
    """One start took 500 s long ago: what has lasted 400 s is ready within the 120 s that a replacement takes."""
    assert late_of(starting("s", age_s=age_s), samples=[sample(500.0), *[sample(120.0)] * 19]) == names


def test_before_the_first_start_has_ended_nobody_knows_which_one_is_late() -> None:
    assert late_of(starting("s", age_s=5000.0), samples=[]) == []


def test_a_replica_that_waits_for_a_node_is_not_late() -> None:
    homeless = replace(unschedulable("u", for_s=5000.0), scheduled_at_s=None)
    provisioned = replace(starting("s", age_s=5000.0), scheduled_at_s=START_S - 100.0)

    assert late_of(homeless, provisioned) == []


def test_the_wait_for_a_node_is_no_part_of_what_a_start_takes_with_one() -> None:
    provisioned = [replace(sample(720.0), waiting_s=600.0)] * 10

    assert late_of(starting("s", age_s=301.0), samples=provisioned) == ["s"]


def test_a_start_that_crashes_again_and_again_is_late_like_one_that_hangs() -> None:
    assert late_of(restarted(starting("s", age_s=301.0))) == ["s"]


def test_the_chance_of_an_end_is_that_of_the_starts_that_lasted_as_long() -> None:
    """Of four that lasted 100 s, two ended by 200 and one by 300; the last goes on at 400."""
    lifetimes = [
        Lifetime(50.0, ended=True, weight=1.0),
        Lifetime(200.0, ended=True, weight=1.0),
        Lifetime(200.0, ended=True, weight=1.0),
        Lifetime(300.0, ended=True, weight=1.0),
        Lifetime(400.0, ended=False, weight=1.0),
    ]

    assert chance(lifetimes, 100.0, 99.0) == 0.0
    assert chance(lifetimes, 100.0, 100.0) == pytest.approx(0.5)
    assert chance(lifetimes, 100.0, 1000.0) == pytest.approx(0.75)
    assert chance(lifetimes, 250.0, 50.0) == pytest.approx(0.5)
    assert chance(lifetimes, 300.0, 1000.0) == 0.0


@given(st.lists(st.integers(60, 300).map(float), min_size=4, max_size=20), st.data())
def test_no_start_is_late_that_takes_no_longer_than_one_before_it(starts: list[float], data: st.DataObject) -> None:
    age_s = data.draw(st.floats(0.0, min(max(believable(starts)), LATE_FACTOR * min(starts))))

    assert late_of(starting("s", age_s=age_s), samples=[sample(total_s) for total_s in starts]) == []


# --- What is learned ---------------------------------------------------------------------------------------------


def test_a_replica_that_became_ready_is_a_sample_with_its_phases() -> None:
    learned = sample_of(key(), ready())

    assert learned == LoadSample(
        key=key(),
        node_class="H100",
        total_s=300.0,
        waiting_s=1.0,
        pulling_s=99.0,
        initialising_s=10.0,
        loading_s=190.0,
    )


def test_a_phase_without_its_mark_counts_into_the_next_that_has_one() -> None:
    learned = sample_of(key(), replace(ready(), pulled_at_s=None, initialised_at_s=None))

    assert learned == LoadSample(key=key(), node_class="H100", total_s=300.0, waiting_s=1.0, loading_s=299.0)


def test_the_middle_of_each_phase_leaves_out_phases_that_were_never_marked() -> None:
    samples = [replace(sample(300.0), pulling_s=pulling_s, loading_s=None) for pulling_s in (90.0, 10.0, 50.0)]

    assert phase_medians_s(key(), samples) == {Phase.PULLING: 50.0}


@pytest.mark.parametrize(
    "replica",
    [
        restarted(ready()),
        starting(),
        replace(ready(), created_at_s=START_S - 1000.0),
        replace(ready(), created_at_s=START_S),
        replace(ready(), initialised_at_s=START_S),
        replace(ready(), scheduled_at_s=START_S),
    ],
    ids=["restarted", "not ready yet", "ready when created", "ready before created", "initialised later", "late node"],
)
def test_marks_that_cannot_be_believed_are_not_learned(replica: Replica) -> None:
    assert sample_of(key(), replica) is None


def test_marks_a_second_out_of_order_are_two_clocks_and_harmless() -> None:
    """The scheduler's clock is behind the API server's: the node was found before the replica was created."""
    learned = sample_of(key(), replace(ready(), scheduled_at_s=START_S - 1301.0))

    assert learned is not None
    assert learned.waiting_s == 0.0
    assert learned.pulling_s == 100.0


def test_a_replica_that_was_ready_once_is_learned_even_when_it_is_lost_now() -> None:
    samples, counted = learn((), (), seen(fleet(lost("l"))))

    assert [each.total_s for each in samples] == [300.0]
    assert counted == ("l",)


def test_the_newest_twenty_starts_of_each_target_are_kept() -> None:
    many = tuple(ready(f"r{index:02}", age_s=1000.0 - index) for index in range(SAMPLES_KEPT + 5))
    observation = seen({"v1": fleet(*many), "v2": fleet(ready("b"))})

    samples, _ = learn([sample(77.0, "v2")], (), observation)

    assert len([each for each in samples if each.key == key("v1")]) == SAMPLES_KEPT
    assert [each.total_s for each in samples if each.key == key("v2")] == [77.0, 300.0]


def test_starts_are_learned_in_the_order_in_which_they_ended() -> None:
    later, earlier = ready("a", age_s=100.0), replace(ready("b", age_s=900.0), created_at_s=START_S - 1000.0)

    samples, _ = learn((), (), seen(fleet(later, earlier)))

    assert [each.total_s for each in samples] == [100.0, 300.0]


def test_what_is_gone_is_forgotten_but_not_while_a_fleet_cannot_be_seen() -> None:
    _, counted = learn((), ("gone", "r0"), seen(fleet(*serving(2))))
    _, kept = learn((), ("gone", "r0"), seen({"v1": fleet(*serving(2)), "v2": Missing(why="the API server is away")}))

    assert counted == ("r0", "r1")
    assert kept == ("gone", "r0")


# --- The estimate ------------------------------------------------------------------------------------------------


def test_the_quantiles_are_those_of_kaplan_and_meier() -> None:
    """Freireich's leukaemia trial, as in Kaplan-Meier textbooks (6-MP arm; Kalbfleisch and Prentice, table 1.1).

    Remissions of 21 patients in weeks, + still going on: 6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+
    34+ 35+. By hand, the surviving share S after each end among those still at risk:
    6: 18/21 = 0.857; 7: x 16/17 = 0.807; 10: x 14/15 = 0.753; 13: x 11/12 = 0.690; 16: x 10/11 = 0.627;
    22: x 6/7 = 0.538; 23: x 5/6 = 0.448. So a quarter has ended at 13 and half at 23; 0.6 is never reached: 35.
    """
    ends = [6.0, 6.0, 6.0, 7.0, 10.0, 13.0, 16.0, 22.0, 23.0]
    goes_on = [6.0, 9.0, 10.0, 11.0, 17.0, 19.0, 20.0, 25.0, 32.0, 32.0, 34.0, 35.0]
    lifetimes = [
        *(Lifetime(weeks, ended=True, weight=1.0) for weeks in ends),
        *(Lifetime(weeks, ended=False, weight=1.0) for weeks in goes_on),
    ]

    assert [quantile(lifetimes, share) for share in (0.1, 0.19, 0.25, 0.37, 0.5, 0.6)] == [6, 7, 13, 16, 23, 35]


def test_a_weight_of_two_is_two_starts() -> None:
    once = [Lifetime(100.0, ended=True, weight=2.0), Lifetime(200.0, ended=True, weight=1.0)]
    twice = [*once[:1], *once[:1], *once[1:], *once[1:]]

    assert [quantile(once, share) for share in (0.5, 0.7)] == [quantile(twice, share) for share in (0.5, 0.7)]


ages_s = st.integers(1, 2000).map(float)
ended = st.builds(
    lambda age_s, weight: Lifetime(age_s, ended=True, weight=weight), ages_s, st.sampled_from([0.2, 0.5, 1.0])
)
going_on = ages_s.map(lambda age_s: Lifetime(age_s, ended=False, weight=1.0))
lifetimes_ = st.lists(ended | going_on, min_size=1, max_size=25)
shares = st.integers(1, 99).map(lambda percent: percent / 100)


@given(lifetimes_)
def test_a_larger_share_takes_longer_and_never_longer_than_the_longest(lifetimes: list[Lifetime]) -> None:
    quantiles_s = [quantile(lifetimes, percent / 100) for percent in range(5, 100, 5)]

    assert all(earlier_s <= later_s for earlier_s, later_s in pairwise(quantiles_s))
    assert min(each.age_s for each in lifetimes) <= quantiles_s[0]
    assert quantiles_s[-1] <= max(each.age_s for each in lifetimes)


@given(lifetimes_, going_on, shares)
def test_one_more_start_that_goes_on_never_lowers_a_quantile(
    lifetimes: list[Lifetime], another: Lifetime, share: float
) -> None:
    assert quantile([*lifetimes, another], share) >= quantile(lifetimes, share)


@given(lifetimes_, st.data(), shares)
def test_a_start_that_goes_on_for_longer_never_lowers_a_quantile(
    lifetimes: list[Lifetime], data: st.DataObject, share: float
) -> None:
    shorter_s, longer_s = sorted(data.draw(st.tuples(ages_s, ages_s)))
    shorter, longer = (Lifetime(age_s, ended=False, weight=1.0) for age_s in (shorter_s, longer_s))

    assert quantile([*lifetimes, longer], share) >= quantile([*lifetimes, shorter], share)


def same_moment(total_s: float) -> float:
    """Ready at one moment, created at different ones: the order in which they are learned is that of the names."""
    return START_S - 100.0 - total_s


replicas_ = st.lists(
    st.builds(
        lambda index, total_s: replace(ready(f"r{index}", age_s=100.0), created_at_s=same_moment(total_s)),
        st.integers(0, 40),
        st.integers(200, 900).map(float),
    ),
    max_size=8,
    unique_by=lambda replica: replica.name,
)


@given(replicas_, st.randoms(use_true_random=False))
def test_the_order_of_replicas_does_not_matter(replicas: list[Replica], shuffler: object) -> None:
    shuffled = list(replicas)
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its Random as object

    assert learn((), (), seen(fleet(*shuffled))) == learn((), (), seen(fleet(*replicas)))


@given(replicas_)
def test_seeing_the_same_again_teaches_nothing(replicas: Sequence[Replica]) -> None:
    observation = seen(fleet(*replicas))

    once = learn((), (), observation)

    assert learn(*once, observation) == once
