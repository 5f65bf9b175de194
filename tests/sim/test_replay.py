"""A run: pods that load and drain, what an autoscaler sees of them, and what they cost."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.core.model import Fleet, Load, Missing
from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.loadtime import LoadTimes
from scaler.sim.ours import Ours, observation_of, only_target
from scaler.sim.rates import Rates
from scaler.sim.replay import PERIOD_S, FleetSpec, Run, replayed
from scaler.sim.state import Fate
from scaler.sim.trace import Trace, shipped
from scaler.sim.view import View
from scaler.sim.workload import Rated, Recorded
from tests.builders import key, policy
from tests.sim.clusters import cluster, pool, service, target
from tests.sim.traffic import poisson, trace_of

HOUR = shipped()


@dataclass
class Scripted:
    """Asks for what ``wanted`` says of the time, and keeps what it was shown."""

    wanted: Callable[[float], int]
    views: list[View] = field(default_factory=list)

    def replicas(self, view: View) -> int:
        self.views.append(view)
        return self.wanted(view.at_s)


def fleet(*, warm: int = 2, load_s: float = 100.0, grace_s: float = 120.0) -> FleetSpec:
    return FleetSpec(engine=LLAMA_8B_H100, load_times=LoadTimes(median_s=load_s), warm=warm, grace_s=grace_s)


def static(replicas: int) -> Scripted:
    return Scripted(lambda _: replicas)


def steady(rps: float = 10.0, span_s: float = 600.0) -> Recorded:
    trace = poisson(rps, span_s, HOUR, seed=1)
    return Recorded(trace=part(trace, span_s))


def part(trace: Trace, until_s: float) -> Trace:
    end = int(np.searchsorted(trace.arrival_s, until_s))
    return Trace(
        name=trace.name,
        arrival_s=trace.arrival_s[:end],
        prompt_tokens=trace.prompt_tokens[:end],
        output_tokens=trace.output_tokens[:end],
    )


def quiet(span_s: float) -> Recorded:
    return Recorded(trace=trace_of([(0.0, 10, 10), (span_s, 10, 10)]))


def same(one: Run, other: Run) -> bool:
    alike = np.array_equal(one.ttft_s, other.ttft_s, equal_nan=True) and one.fates == other.fates
    return alike and (one.replica_s, one.changes) == (other.replica_s, other.changes)


# --- What it costs -----------------------------------------------------------------------------------------------


@given(replicas=st.integers(1, 6), span_s=st.integers(1, 2000), rps=st.floats(0.1, 3.0))
@settings(deadline=None, max_examples=20)
def test_a_constant_fleet_costs_its_size_times_the_span(replicas: int, span_s: int, rps: float) -> None:
    """Kills a span that is cut to whole ticks, and time charged after the traffic has ended."""
    rated = Rated(rates=Rates(name="r", rps=np.full(span_s, rps), sd_rps=np.zeros(span_s)), lengths=HOUR)

    run = replayed(rated, fleet(warm=replicas), static(replicas), 1)

    assert run.replica_s == replicas * span_s
    assert len(run.changes) == 1


def test_every_request_is_counted_once() -> None:
    workload = steady(rps=40.0, span_s=2000.0)

    run = replayed(workload, fleet(), Scripted(lambda at_s: 1 + int(at_s // 200) % 4), 1)

    assert len(run.ttft_s) == sum(run.fates.values()) == len(workload.trace)
    assert run.fates[Fate.FINISHED] == len(workload.trace)
    assert not np.isnan(run.ttft_s).any()


def test_a_pod_costs_from_when_it_is_asked_for_until_it_goes() -> None:
    """Asked for at 7.5 s and given back, idle, at 307.5 s; the two warm ones stay."""
    run = replayed(quiet(600.0), fleet(), Scripted(lambda at_s: 3 if at_s < 300.0 else 2), 1)

    assert run.replica_s == 2 * 600.0 + 300.0


def test_a_pod_that_drains_costs_until_its_last_request_is_done() -> None:
    """One answer of 1000 tokens from 10 s on takes 6.4 s: asked to go at 15 + 7.5 s, seen to be idle at 23 s."""
    long = Recorded(trace=trace_of([(16.2, 100, 1000), (600.0, 10, 10)]))

    run = replayed(long, fleet(warm=1), Scripted(lambda at_s: 1 if at_s < 20.0 else 0), 1)

    assert run.replica_s == 23.0
    assert run.fates[Fate.FINISHED] == 1
    assert run.fates[Fate.HELD] == 1


def test_a_drain_ends_with_its_grace_and_what_was_under_way_fails() -> None:
    long = Recorded(trace=trace_of([(21.0, 100, 1000), (600.0, 10, 10)]))

    run = replayed(long, fleet(warm=1, grace_s=0.0), Scripted(lambda at_s: 1 if at_s < 20.0 else 0), 1)

    assert run.replica_s == 23.0
    assert run.fates[Fate.FAILED] == 1
    assert np.isnan(run.ttft_s[0])


def test_a_start_that_is_taken_back_never_serves() -> None:
    run = replayed(quiet(600.0), fleet(warm=1), Scripted(lambda at_s: 2 if at_s < 30.0 else 1), 1)

    assert run.replica_s == 600.0 + 30.0
    assert [change.replicas for change in run.changes] == [1, 2, 1]


# --- What it is like ---------------------------------------------------------------------------------------------


def test_one_seed_is_one_run() -> None:
    def run(seed: int) -> Run:
        return replayed(steady(), fleet(), Scripted(lambda at_s: 1 + int(at_s // 100) % 3), seed)

    assert same(run(1), run(1))
    assert not same(run(1), run(2))


@pytest.mark.parametrize("counts", [(4, 4, 4, 4), (2, 6, 3, 1), (0, 5, 0, 2)])
def test_the_lean_path_serves_as_the_cluster_does(counts: tuple[int, ...]) -> None:
    """Kills another draw of load times, another order of a scale-down, and another end of a drain."""
    trace = part(HOUR, 1200.0)
    script = Scripted(lambda at_s: counts[min(int(at_s // 300), 3)])
    model = cluster(service(target(replicas=2), trace=trace, name="service"), pools=(pool(nodes=8),), seed=5)

    run = replayed(Recorded(trace=trace), fleet(), script, 5)
    for tick in range(80):
        model.advance(tick * 15.0 + 7.5)
        model.set_replicas("service", key("v1"), counts[min(int(model.at_s // 300), 3)])
    model.advance(np.ceil(trace.duration_s))
    replica_s = model.tally("service").replica_s
    model.advance(np.ceil(trace.duration_s) + 120.0)

    ttft_s = model.outcomes("service").ttft_s.astype(np.float32)
    assert np.array_equal(run.ttft_s, ttft_s, equal_nan=True)
    assert run.replica_s == pytest.approx(replica_s)


# --- What is seen ------------------------------------------------------------------------------------------------


def test_a_decision_is_taken_half_a_period_after_each_scrape() -> None:
    script = static(2)

    replayed(steady(span_s=60.0), fleet(), script, 1)

    assert [view.at_s for view in script.views] == [7.5, 22.5, 37.5, 52.5]
    assert all(replica.at_s <= view.at_s - 7.5 for view in script.views for replica in view.replicas)


def test_what_is_seen_is_what_was_served_within_its_noise() -> None:
    script = static(2)

    replayed(steady(rps=20.0, span_s=1800.0), fleet(), script, 1)

    later = script.views[8:]
    assert np.mean([sum(r.finished_per_s for r in view.replicas) for view in later]) == pytest.approx(20.0, rel=0.05)
    tokens = np.mean([sum(r.prompt_tokens_per_s for r in view.replicas) for view in later])
    assert tokens == pytest.approx(20.0 * HOUR.prompt_tokens.mean(), rel=0.05)
    between_s = [replica.inter_token_latency_s for view in later for replica in view.replicas]
    assert all(itl_s is not None and 0.006 < itl_s < 0.02 for itl_s in between_s)
    assert all(view.ttft_s is not None and view.ttft_s < 0.5 for view in later)
    first_tokens = [view.first_tokens for view in later if view.first_tokens is not None]
    assert np.mean([told.per_s for told in first_tokens]) == pytest.approx(20.0, rel=0.05)
    assert max(told.late_per_s for told in first_tokens) == 0.0
    early = next(view.first_tokens for view in script.views if view.first_tokens is not None)
    assert early.per_s == pytest.approx(20.0, rel=0.25)  # of the time that was scraped, not of a whole minute


def test_first_tokens_that_are_late_are_seen_by_the_second_until_a_minute_after_the_last() -> None:
    """Two minutes of 2 a second wait for the first replica: that many are late, wherever its load time ends."""
    script = Scripted(lambda at_s: 0 if at_s < 100.0 else 1)

    run = replayed(steady(rps=2.0, span_s=900.0), fleet(warm=0, load_s=45.0), script, 1)

    late = [view.first_tokens.late_per_s for view in script.views if view.first_tokens is not None]
    true = np.count_nonzero(run.ttft_s > fleet().objective.limit_s)
    assert true > 200
    assert sum(late) * PERIOD_S == pytest.approx(true, rel=0.05)
    assert late[-1] == 0.0


def test_one_scrape_in_fifty_is_lost() -> None:
    script = static(4)

    replayed(steady(rps=1.0, span_s=6000.0), fleet(warm=4), script, 1)

    stale = [replica.at_s < view.at_s - 7.5 for view in script.views for replica in view.replicas]
    assert np.mean(stale) == pytest.approx(0.02, abs=0.01)


def test_a_replica_is_shown_as_a_pod_at_once_and_with_its_load_when_it_was_scraped() -> None:
    script = static(2)

    replayed(steady(rps=1.0, span_s=300.0), fleet(warm=1), script, 1)

    (before, after) = script.views[1], script.views[-1]
    assert (before.requested, before.starting, len(before.pods), len(before.replicas)) == (2, 1, 2, 1)
    assert before.pods[1].created_at_s == 7.5
    assert before.pods[1].ready_at_s is None
    assert (after.requested, after.starting, len(after.replicas)) == (2, 0, 2)
    assert after.pods[1].ready_at_s is not None
    assert 60.0 < after.pods[1].ready_at_s - after.pods[1].created_at_s < 250.0


def test_requests_that_nobody_has_are_seen_at_the_gateway() -> None:
    script = Scripted(lambda at_s: 0 if at_s < 100.0 else 1)

    run = replayed(steady(rps=2.0, span_s=600.0), fleet(warm=0, load_s=45.0), script, 1)

    assert script.views[5].gateway_waiting == pytest.approx(150.0, rel=0.2)
    assert (script.views[5].ttft_s, script.views[5].first_tokens) == (None, None)
    assert script.views[-1].gateway_waiting == 0.0
    assert run.fates[Fate.FINISHED] == len(run.ttft_s)


# --- Our own core ------------------------------------------------------------------------------------------------


def test_our_core_grows_with_the_traffic_and_says_why() -> None:
    ours = Ours(lambda _: policy(max_replicas=20))

    run = replayed(steady(rps=60.0, span_s=900.0), fleet(warm=1), ours, 1)

    assert run.changes[-1].replicas > 1
    assert ours.last is not None
    assert ours.last.target(key("v1")) is not None
    assert ours.last.load_times["v1"].samples > 0


def test_our_core_sees_what_the_controller_would() -> None:
    script = static(3)
    replayed(steady(rps=20.0, span_s=300.0), fleet(warm=2, load_s=600.0), script, 1)

    seen = observation_of(script.views[-1], only_target(policy())).fleets[0].fleet

    assert isinstance(seen, Fleet)
    assert [replica.phase.name for replica in seen.replicas] == ["READY", "READY", "INITIALISING"]
    assert [isinstance(replica.load, Load) for replica in seen.replicas] == [True, True, False]


def test_ours_is_told_of_first_tokens_what_is_seen_of_them() -> None:
    script = static(2)
    replayed(steady(rps=20.0, span_s=300.0), fleet(), script, 1)

    told = [observation_of(view, only_target(policy())) for view in (script.views[0], script.views[-1])]

    assert [isinstance(each.first_tokens, Missing) for each in told] == [True, False]
    assert (told[1].first_tokens, told[1].ttft_s) == (script.views[-1].first_tokens, script.views[-1].ttft_s)
