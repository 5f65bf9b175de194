"""The figures that scenarios are held to, on runs of a few requests and decisions."""

import math

import numpy as np
import pytest

from scaler.core.model import Fleet, FleetSeen, Load, Missing, Observation
from scaler.sim.replay import Change, Run
from scaler.sim.scenarios import measures
from scaler.sim.scenarios.measures import Must
from scaler.sim.scenarios.run import Decision, Played
from scaler.sim.state import Fate
from scaler.sim.trace import Trace
from tests.builders import key, load, plan_of, policy, ready


def played(
    *requests: tuple[float, float],
    changes: tuple[tuple[float, int], ...] = ((0.0, 1),),
    decisions: tuple[Decision, ...] = (),
) -> Played:
    """A run of ten minutes: (arrival, time to first token) of each request, the changes, and decisions."""
    arrival_s, ttft_s = np.array(requests or [(0.0, 0.0)], dtype=np.float64).T
    tokens = np.ones(len(arrival_s), dtype=np.int32)
    return Played(
        requests=Trace(name="r", arrival_s=arrival_s, prompt_tokens=tokens, output_tokens=tokens.copy()),
        decisions=decisions,
        run=Run(
            span_s=600.0,
            ttft_s=ttft_s.astype(np.float32),
            fates=dict.fromkeys(Fate, 0),
            replica_s=1800.0,
            changes=tuple(Change(at_s=at_s, replicas=replicas) for at_s, replicas in changes),
        ),
    )


def decision(at_s: float, said: Load | Missing) -> Decision:
    """A decision about one replica."""
    fleet = Fleet(requested=1, replicas=(ready("a", at_s=at_s, load=said),))
    seen = Observation(fleets=(FleetSeen(key=key(), fleet=fleet),))
    return Decision(observation=seen, plan=plan_of(seen, policy(), None, at_s))


def test_only_requests_of_the_stretch_count_and_one_without_a_first_token_is_late() -> None:
    run = played((10.0, 1.0), (20.0, 3.0), (30.0, math.nan), (40.0, 2.0))

    assert measures.in_time()(run) == 0.5
    assert measures.in_time(15.0, 40.0)(run) == 0.0
    assert measures.in_time(40.0)(run) == 1.0
    assert math.isnan(measures.in_time(50.0)(run))


def test_replicas_are_weighed_by_how_long_they_were_asked_for() -> None:
    run = played(changes=((0.0, 1), (300.0, 3), (900.0, 9)))

    assert measures.mean_replicas(600.0)(run) == 2.0
    assert measures.mean_replicas(300.0)(run) == 1.0


def test_turns_are_counted_and_told_by_the_hour() -> None:
    run = played(changes=((0.0, 1), (60.0, 2), (120.0, 1), (180.0, 2)))

    assert measures.turns(run) == 2.0
    assert measures.turns_per_hour(run) == 12.0


def test_first_tokens_after_the_end_are_no_answer() -> None:
    run = played((10.0, 5.0), (20.0, 90.0), (30.0, math.nan))

    assert measures.answered(100.0)(run) == pytest.approx(1 / 3)
    assert measures.p99_s(100.0)(run) == 5.0


def test_decisions_are_those_of_the_stretch() -> None:
    gone = Missing(why="it was not scraped")
    run = played(decisions=(decision(0.0, load(at_s=0.0)), decision(60.0, gone), decision(120.0, gone)))

    assert measures.most_replicas(60.0)(run) == 1.0
    assert measures.changes()(run) == measures.shrinks()(run) == 0.0
    assert measures.kept_unknown(60.0, 200.0)(run) == 1.0
    assert measures.kept_unknown(0.0, 100.0)(run) == 0.5


@pytest.mark.parametrize(
    ("must", "bar"),
    [
        (Must(claim="c", measure=measures.turns, most=2.0), "at most 2"),
        (Must(claim="c", measure=measures.turns, least=0.99, form=".0%"), "at least 99%"),
        (Must(claim="c", measure=measures.turns, least=1.0, most=2.0), "1 to 2"),
    ],
)
def test_a_bar_says_its_limits(must: Must, bar: str) -> None:
    assert must.bar == bar


def test_what_is_no_figure_reaches_no_bar() -> None:
    assert not Must(claim="c", measure=measures.turns).met(math.nan)
