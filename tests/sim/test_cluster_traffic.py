"""Traffic through a simulated cluster: which version answers it, and what the signals tell of it."""

from dataclasses import replace

import numpy as np
import pytest

from scaler.core.model import FirstTokens, Load, Missing, Objective
from scaler.sim.service import quantile
from scaler.sim.state import BUCKETS, Fate
from tests.builders import NAME, key
from tests.sim.clusters import cluster, pool, replicas, service, target
from tests.sim.traffic import STEADY, trace_of

# --- Traffic between versions ----------------------------------------------------------------------------------------


def test_an_answer_takes_as_much_longer_as_the_node_is_slower() -> None:
    def finish_s(speed: float) -> float:
        model = cluster(service(trace=trace_of([(0.0, 100, 1000)])), pools=(pool(speed=speed),))
        model.advance(100.0)
        return float(model.outcomes(NAME).finish_s[0])

    assert finish_s(0.5) == pytest.approx(2.0 * finish_s(1.0), rel=1e-6)


def test_a_version_without_replicas_fails_exactly_its_share() -> None:
    split = service(target("v1"), target("v2", replicas=0), trace=STEADY, weights={"v1": 90, "v2": 10})
    model = cluster(split)

    model.advance(1300.0)

    fates = model.tally(NAME).fates
    assert fates[Fate.REFUSED] / len(STEADY) == pytest.approx(0.1, abs=0.01)
    assert fates[Fate.REFUSED] + fates[Fate.FINISHED] == len(STEADY)


def test_weights_can_move_traffic_to_another_version() -> None:
    split = service(target("v1"), target("v2"), trace=STEADY, weights={"v1": 100, "v2": 0})
    model = cluster(split)
    model.advance(600.0)

    model.set_weights(NAME, {"v1": 0, "v2": 100})
    model.advance(720.0)

    loads = [replicas(model, version)[0].load for version in ("v1", "v2")]
    assert isinstance(loads[0], Load)
    assert isinstance(loads[1], Load)
    assert loads[0].running == 0.0
    assert loads[1].running > 0.0
    assert model.observation(NAME).weights == {"v1": 0, "v2": 100}


def test_a_single_version_without_replicas_keeps_requests_at_the_gateway() -> None:
    model = cluster(service(target(replicas=0), trace=STEADY))
    model.advance(20.0)
    assert model.observation(NAME).gateway_waiting == 151.0  # as of the scrape at 15 s

    model.set_replicas(NAME, key(), 1)
    model.advance(1300.0)

    assert model.tally(NAME).fates[Fate.FINISHED] == len(STEADY)


def test_unknown_targets_and_versions_are_refused() -> None:
    model = cluster()

    with pytest.raises(KeyError):
        model.set_replicas(NAME, key("v9"), 1)
    with pytest.raises(KeyError):
        model.set_weights(NAME, {"v9": 100})


# --- What is seen ----------------------------------------------------------------------------------------------------


def test_loads_are_those_of_the_last_scrape() -> None:
    model = cluster(service(target(), trace=STEADY))

    ages_s = []
    for at_s in (16.0, 29.0, 31.0, 44.9):
        model.advance(at_s)
        load = replicas(model)[0].load
        assert isinstance(load, Load)
        ages_s.append(round(at_s - load.at_s, 3))

    assert ages_s == [1.0, 14.0, 1.0, 14.9]


def test_the_observed_ttft_is_the_quantile_of_the_last_minute() -> None:
    model = cluster(service(target(), trace=STEADY))
    model.advance(300.0)

    ttft_s = model.observation(NAME).ttft_s

    arrived = (STEADY.arrival_s > 240.0) & (STEADY.arrival_s <= 299.0)
    true_s = float(np.quantile(model.outcomes(NAME).ttft_s[arrived], 0.95))
    assert isinstance(ttft_s, float)
    assert 0.02 < true_s <= 0.04  # one bucket; where inside, the histogram cannot tell
    assert 0.02 < ttft_s <= 0.04


@pytest.mark.parametrize(("limit_s", "some"), [(2.0, False), (0.02, True)], ids=["none", "half"])
def test_first_tokens_of_the_last_minute_are_told_with_those_that_were_late(limit_s: float, some: bool) -> None:  # noqa: FBT001
    objective = Objective(percentile=95.0, limit_s=limit_s)
    model = cluster(replace(service(target(), trace=STEADY), objective=objective))
    model.advance(300.0)

    told = model.observation(NAME).first_tokens

    ttft_s = model.outcomes(NAME).ttft_s[(STEADY.arrival_s > 239.0) & (STEADY.arrival_s <= 299.0)]
    assert isinstance(told, FirstTokens)
    assert told.per_s == pytest.approx(len(ttft_s) / 60.0, rel=0.02)
    assert told.late_per_s == pytest.approx(np.count_nonzero(ttft_s > limit_s) / 60.0, rel=0.05)
    assert (told.late_per_s > 0.0) is some


def test_without_requests_there_is_no_ttft() -> None:
    model = cluster()
    model.advance(300.0)

    seen = model.observation(NAME)
    assert seen.ttft_s == seen.first_tokens == Missing(why="no request had its first token in the last minute")


def test_the_quantile_is_linear_within_its_bucket_as_in_prometheus() -> None:
    counts = np.zeros(BUCKETS, dtype=np.int64)
    counts[8], counts[9] = 90, 10  # (0.1, 0.25] and (0.25, 0.5]

    assert quantile(counts, 0.45) == pytest.approx(0.175)
    assert quantile(counts, 0.95) == pytest.approx(0.375)
    assert quantile(np.eye(1, BUCKETS, BUCKETS - 1, dtype=np.int64)[0], 0.5) == 2560.0


# --- What cannot be seen ---------------------------------------------------------------------------------------------


def test_signals_can_be_missing_for_all() -> None:
    model = cluster(service(target(replicas=3), trace=STEADY))
    model.blind(NAME, from_s=60.0, until_s=120.0)

    model.advance(70.0)
    during, dark = model.observation(NAME), replicas(model)
    model.advance(130.0)

    assert all(isinstance(replica.load, Missing) for replica in dark)
    assert isinstance(during.gateway_waiting, Missing)
    assert isinstance(during.ttft_s, Missing)
    assert all(isinstance(replica.load, Load) for replica in replicas(model))


def test_signals_can_be_missing_for_half() -> None:
    model = cluster(service(target(replicas=4), trace=STEADY))
    model.blind(NAME, from_s=60.0, until_s=120.0, nth=2)

    model.advance(70.0)

    assert [isinstance(replica.load, Missing) for replica in replicas(model)] == [True, False, True, False]


def test_frozen_signals_keep_their_values_and_their_age() -> None:
    model = cluster(service(target(), trace=STEADY))
    model.freeze(NAME, from_s=60.0, until_s=120.0)
    model.advance(50.0)
    before = replicas(model)[0].load

    model.advance(110.0)

    assert replicas(model)[0].load == before
    assert isinstance(before, Load)
    assert before.at_s == 45.0
