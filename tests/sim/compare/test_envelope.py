"""The least that a count of few turns can cost: by hand, and never more than any that somebody found."""

from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scaler.sim.compare.envelope import least_mean
from scaler.sim.replay import Change
from scaler.sim.score import flips


@pytest.mark.parametrize(
    ("needs", "turns", "mean"),
    [
        ([3, 3, 3], 0, 3.0),
        ([1, 2, 3, 4], 0, 2.5),
        ([4, 3, 2, 1], 0, 2.5),
        ([1, 2, 1, 2], 0, 7 / 4),
        ([1, 2, 1, 2], 2, 6 / 4),
        ([1, 5, 1, 1, 1, 5], 0, 26 / 6),
        ([1, 5, 1, 1, 1, 5], 1, 18 / 6),
    ],
)
def test_a_count_of_few_turns_costs_what_it_does_by_hand(needs: list[int], turns: int, mean: float) -> None:
    assert least_mean(needs, turns) == pytest.approx(mean, rel=1e-4)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=40))
@example([(2, 0), (1, 0), (1, 0), (2, 0)])
def test_no_count_that_covers_the_needs_with_as_few_turns_costs_less(run: list[tuple[int, int]]) -> None:
    """Mutant: a turn that is paid for twice."""
    needs, count = [need for need, _ in run], [need + idle for need, idle in run]
    turns = flips([Change(at_s=0.0, replicas=replicas) for replicas, _ in groupby(count)])

    assert least_mean(needs, turns) <= sum(count) / len(count) + 1e-6


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_more_turns_never_cost_more_and_with_all_of_them_the_needs_are_enough(needs: list[int]) -> None:
    few, more, all_of_them = (least_mean(needs, turns) for turns in (0, 2, len(needs)))

    assert few + 1e-6 >= more >= all_of_them - 1e-6
    assert all_of_them == pytest.approx(sum(needs) / len(needs), rel=1e-4)
