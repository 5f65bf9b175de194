"""The best threshold: found in few runs, and the one for everything."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.sim.compare.cells import SHARE
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.search import best_of, bisected, coarse, constants, refined, searched, single_of
from scaler.sim.compare.suites import Thoroughness
from tests.sim.compare.outcomes import CELL, outcome

VALUES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]


def bolder_is_cheaper(most: float) -> Callable[[float], Outcome]:
    """A policy that attains the share up to the threshold ``most``, and costs less the bolder it is."""

    def run(threshold: float) -> Outcome:
        attained = 0.995 if threshold <= most else 0.9 - threshold / 1000.0
        return outcome(policy="keda-epp", threshold=threshold, attained=attained, hours=10.0 / threshold)

    return run


@given(most=st.floats(0.5, 100.0))
def test_bisection_finds_the_boldest_value_that_attains_the_share(most: float) -> None:
    tried = bisected(VALUES, bolder_is_cheaper(most))

    met = [value for value in VALUES if value <= most]
    assert len(tried) <= 3
    assert best_of(tried.values()).job.contender.threshold == (max(met) if met else min(tried))


def test_a_refinement_tries_between_the_best_and_the_next_bolder() -> None:
    run = bolder_is_cheaper(most=11.0)
    tried = {value: run(value) for value in coarse(VALUES, documented=16.0)}

    found = refined(VALUES, tried, run)

    assert sorted(tried) == [1.0, 4.0, 16.0, 64.0]
    assert sorted(set(found) - set(tried)) == [8.0, pytest.approx(11.313708)]
    assert best_of(found.values()).job.contender.threshold == 8.0


def test_nothing_is_refined_where_no_threshold_attains_the_share() -> None:
    run = bolder_is_cheaper(most=0.1)
    tried = {value: run(value) for value in VALUES}

    assert refined(VALUES, tried, run) == tried


@pytest.mark.parametrize("enough", [2, 3, 7, 24])
def test_the_best_constant_is_the_smallest_that_attains_the_share(enough: int) -> None:
    def run(threshold: float) -> Outcome:
        attained = 0.999 if threshold >= enough else 0.5
        return outcome(policy="static", threshold=threshold, attained=attained, hours=threshold)

    assert best_of(constants(CELL, run).values()).job.contender.threshold == enough


def test_a_service_that_nobody_is_swept_on_has_no_runs() -> None:
    assert searched("keda-epp", CELL, Thoroughness.NONE, bolder_is_cheaper(8.0)) == {}


def test_the_cheapest_that_attains_the_share_is_the_best_and_else_the_one_that_attains_most() -> None:
    dear, cheap, late = outcome(hours=3.0), outcome(hours=2.5), outcome(hours=1.0, attained=SHARE - 0.01)

    assert best_of([dear, cheap, late]) is cheap
    assert best_of([late, outcome(attained=0.2)]) is late


def test_the_threshold_for_everything_meets_most_cells_and_is_then_the_cheapest() -> None:
    chat = {value: bolder_is_cheaper(16.0)(value) for value in VALUES}
    code = {value: bolder_is_cheaper(4.0)(value) for value in VALUES if value != 4.0}

    assert single_of([chat, chat]) == 16.0
    assert single_of([chat, code]) == 2.0  # 4 would do, but was not tried in both
    assert single_of([chat, {}]) == 16.0
    assert single_of([]) is None
