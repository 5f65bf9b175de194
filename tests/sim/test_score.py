"""The figures of a run, on runs that can be worked out by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sim.replay import Change, Run
from scaler.sim.score import flips, quantiles, scored
from scaler.sim.state import Fate

NAN = float("nan")


def run_of(*ttft_s: float, failed: int = 0, counts: tuple[int, ...] = (2,), span_s: float = 7200.0) -> Run:
    fates = dict.fromkeys(Fate, 0) | {Fate.FINISHED: len(ttft_s) - failed, Fate.FAILED: failed}
    changes = tuple(Change(at_s=15.0 * place, replicas=count) for place, count in enumerate(counts))
    return Run(span_s=span_s, ttft_s=np.array(ttft_s, dtype=np.float32), fates=fates, replica_s=7200.0, changes=changes)


def test_a_request_counts_when_its_first_token_came_within_the_objective() -> None:
    score = scored(run_of(0.5, 2.0, 2.5, 70.0, NAN), 2.0)

    assert (score.requests, score.attained) == (5, 0.4)
    assert (score.failed, score.timed_out) == (0, 2)
    assert score.replica_hours == 2.0


def test_one_that_failed_is_no_time_out_and_not_in_time() -> None:
    score = scored(run_of(0.5, NAN, NAN, failed=1), 2.0)

    assert (score.failed, score.timed_out) == (1, 1)
    assert score.attained == pytest.approx(1 / 3)


def test_quantiles_are_by_nearest_rank_of_all_requests() -> None:
    score = scored(run_of(*[place / 100 for place in range(1, 101)]), 2.0)

    assert score.ttft_p50_s == pytest.approx(0.50)
    assert score.ttft_p95_s == pytest.approx(0.95)
    assert score.ttft_p99_s == pytest.approx(0.99)


def test_a_quantile_among_those_without_a_first_token_is_not_known() -> None:
    score = scored(run_of(*[0.1] * 97, NAN, NAN, NAN), 2.0)

    assert score.ttft_p95_s == pytest.approx(0.1)
    assert score.ttft_p99_s is None


def test_no_traffic_is_all_in_time_and_has_no_quantiles() -> None:
    score = scored(run_of(), 2.0)

    assert (score.requests, score.attained, score.ttft_p50_s) == (0, 1.0, None)


@pytest.mark.parametrize(
    ("counts", "events", "turns"), [((2,), 0, 0), ((2, 4, 6, 5, 7), 4, 2), ((2, 1, 2, 1), 3, 2), ((5, 4, 3), 2, 0)]
)
def test_flips_are_the_changes_that_go_the_other_way(counts: tuple[int, ...], events: int, turns: int) -> None:
    score = scored(run_of(0.1, counts=counts), 2.0)

    assert (score.scale_events, score.flips, score.flips_per_hour) == (events, turns, turns / 2.0)


@given(st.lists(st.floats(0.0, 100.0, width=32) | st.just(NAN), min_size=1, max_size=60), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_a_quantile_is_not_exceeded_by_its_share(ttft_s: list[float], share: float) -> None:
    """Kills a rank that is one too low, and a NaN that is sorted away."""
    (value,) = quantiles(np.array(ttft_s, dtype=np.float32), (share,))

    within = len(ttft_s) if value is None else sum(1 for each in ttft_s if each <= value)
    assert within >= share * len(ttft_s)


def test_facts_are_plain_and_rounded() -> None:
    facts = scored(replace(run_of(0.1, 0.2, 0.3), replica_s=1.0), 0.15).facts()

    assert facts["attained"] == 0.333333
    assert facts["replica_hours"] == 0.000278
    assert json.loads(json.dumps(facts)) == facts


def test_equal_counts_are_no_turn() -> None:
    assert flips([Change(at_s=0.0, replicas=1)]) == 0
