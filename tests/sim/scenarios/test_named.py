"""The hard cases by name: each test is a claim, with the bar that a user may expect.

What is not reached today is marked so, with the figure in docs/scenarios.md, and fails once it is.
"""

from functools import lru_cache

import pytest

from scaler.sim.scenarios.named import SCENARIOS
from scaler.sim.scenarios.run import played
from scaler.sim.scenarios.telling import Verdict, verdicts

SEEDS = (1, 2)
CONSTANT_LOAD_SEEDS = (1, 2, 3)


def not_reached(figure: str) -> pytest.MarkDecorator:
    return pytest.mark.xfail(strict=True, reason=f"seen: {figure} (docs/scenarios.md)")


@lru_cache(maxsize=64)
def judged(name: str, seed: int) -> tuple[Verdict, ...]:
    scenario = SCENARIOS[name]
    return verdicts(scenario, played(scenario.setting(), seed))


def missed(name: str, seed: int, *, but: str | None = None) -> dict[str, str]:
    """The claims of a scenario that do not hold, all of them or all but one, with the figures seen."""
    return {each.must.claim: each.written for each in judged(name, seed) if not each.is_met and each.must.claim != but}


def seen(name: str, seed: int, claim: str) -> Verdict:
    """One claim of a scenario."""
    (verdict,) = (each for each in judged(name, seed) if each.must.claim == claim)
    return verdict


# --- Traffic -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_to_ten_times_is_met_two_and_a_half_load_times_later_and_not_overshot(seed: int) -> None:
    assert missed("step-to-ten", seed) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_on_off_traffic_turns_the_count_twice_an_hour_at_most(seed: int) -> None:
    assert seen("on-off", seed, "turns of the count, by the hour").is_met


@pytest.mark.slow
@not_reached("100 % at 50 to 52 replica-hours")
def test_on_off_traffic_is_in_time_from_the_third_hour_on_at_the_cost_of_a_constant() -> None:
    assert [missed("on-off", seed) for seed in SEEDS] == [{}, {}]


PROMPTS_STAY = "changes in the last hour and a half, in which nothing grows"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEEDS[0], pytest.param(SEEDS[1], marks=not_reached("98.97 %"))])
def test_prompts_that_grow_tenfold_within_an_hour_are_in_time_while_they_do(seed: int) -> None:
    assert missed("prompts-tenfold", seed, but=PROMPTS_STAY) == {}


@pytest.mark.slow
@not_reached("up to 1 change")
def test_the_count_stays_once_the_prompts_do() -> None:
    assert [seen("prompts-tenfold", seed, PROMPTS_STAY).figure for seed in SEEDS] == [0.0, 0.0]


AFTER_THE_DAY = "in time, in the hour after the day"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_without_traffic_is_one_replica_that_nobody_touches(seed: int) -> None:
    assert missed("idle-day", seed, but=AFTER_THE_DAY) == {}


@pytest.mark.slow
def test_traffic_that_comes_back_within_half_an_hour_after_a_day_is_in_time() -> None:
    assert [seen("idle-day", seed, AFTER_THE_DAY).is_met for seed in SEEDS] == [True, True]


ANSWERED = "had their first token within the 600 s, as KEDA with the endpoint picker in the same model"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_published_step_has_its_tail_within_a_twentieth_of_the_best_published(seed: int) -> None:
    assert missed("published-step", seed, but=ANSWERED) == {}


@not_reached("44.4 to 46.5 %")
def test_the_published_step_is_answered_as_far_as_by_keda() -> None:
    assert [seen("published-step", seed, ANSWERED).is_met for seed in SEEDS] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("seed", CONSTANT_LOAD_SEEDS)
@pytest.mark.parametrize("pool", [1, 2, 4, 8, 16, 32])
def test_constant_load_with_noise_is_in_time(pool: int, seed: int) -> None:
    assert missed(f"steady-{pool}", seed, but="turns") == {}


@pytest.mark.slow
@pytest.mark.parametrize("pool", [1, 2, 4, 8, 16, 32])
def test_constant_load_with_noise_never_turns_the_count_in_six_hours(pool: int) -> None:
    assert [seen(f"steady-{pool}", seed, "turns").figure for seed in CONSTANT_LOAD_SEEDS] == [0.0, 0.0, 0.0]


# --- Faults ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_slow_leak_of_capacity_is_followed_in_time() -> None:
    assert [missed("capacity-leak", seed) for seed in SEEDS] == [{}, {}]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_pool_that_takes_twice_as_long_is_reckoned_with(seed: int) -> None:
    assert missed("slow-pool", seed) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_load_time_that_doubles_at_noon_is_learned_before_the_peak(seed: int) -> None:
    assert missed("slower-at-noon", seed) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_ten_minutes_without_metrics_at_the_peak_take_nothing_away(seed: int) -> None:
    assert missed("blind-at-peak", seed) == {}


# --- GPUs that are short -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_half_of_the_gpus_are_all_used_one_replica_waits_and_all_come_once_there_are_nodes(seed: int) -> None:
    """Killed by a core that neither counts GPUs nor has the rule `room`; either alone does."""
    assert missed("half-of-gpus", seed) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_of_three_models_on_one_pool_the_one_that_matters_least_gives_way_and_comes_back(seed: int) -> None:
    """Killed by a core that hands nothing out (`share.portions_of` gives nothing): chat has 90 to 97 % in time."""
    assert missed("three-priorities", seed) == {}


# --- Beliefs -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["capacity-true", "capacity-half"])
def test_a_belief_of_half_of_what_a_replica_carries_is_right_within_a_quarter_of_an_hour(name: str, seed: int) -> None:
    assert missed(name, seed) == {}


FIRST_HOUR = "in time, in the first hour"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_belief_of_twice_what_a_replica_carries_is_right_within_a_quarter_of_an_hour(seed: int) -> None:
    assert missed("capacity-twice", seed, but=FIRST_HOUR) == {}


@pytest.mark.slow
def test_a_belief_of_twice_what_a_replica_carries_leaves_97_per_cent_in_time_in_the_first_hour() -> None:
    assert [seen("capacity-twice", seed, FIRST_HOUR).is_met for seed in SEEDS] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["waves-true", "waves-twice"])
def test_a_belief_of_twice_what_a_replica_carries_takes_none_away_before_it_is_borne_out(name: str, seed: int) -> None:
    """Killed by a core without the rule `checked`: 87 to 92 % in time."""
    assert missed(name, seed) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["starts-true", "starts-quarter", "starts-fourfold"])
def test_a_load_time_that_is_expected_wrong_by_four_is_right_after_five_starts(name: str, seed: int) -> None:
    assert missed(name, seed) == {}
