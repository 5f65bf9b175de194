"""What a policy attains at each cost."""

from math import inf

from scaler.sim.compare.frontier import frontier, promptness, worth_at
from tests.sim.compare.outcomes import outcome

SWEPT = [(3.0, 0.99), (1.0, 0.9), (2.0, 0.98), (2.5, 0.95), (2.0, 0.97)]


def test_a_frontier_holds_what_no_cheaper_one_beats() -> None:
    assert frontier(SWEPT) == [(1.0, 0.9), (2.0, 0.98), (3.0, 0.99)]


def test_between_two_points_the_frontier_is_a_straight_line_and_beyond_the_last_it_is_level() -> None:
    line = frontier(SWEPT)

    assert round(worth_at(line, 1.5), 9) == 0.94
    assert worth_at(line, 2.0) == 0.98
    assert worth_at(line, 9.0) == 0.99


def test_below_its_cheapest_point_a_policy_has_nothing() -> None:
    assert worth_at(frontier(SWEPT), 0.9) == -inf
    assert worth_at([], 1.0) == -inf


def test_a_request_without_a_first_token_is_worse_than_any_wait() -> None:
    line = frontier([(1.0, promptness(outcome())), (2.0, promptness(outcome(p99_s=30.0)))])

    assert worth_at(line, 1.5) == -inf
    assert worth_at(line, 2.0) == -30.0
