"""What emulated engines say of the fleet model, without a cluster."""

import re
from itertools import pairwise

import numpy as np
import pytest

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.state import Fate
from scaler.sim.trace import Trace, shipped
from testbed.emulator.arrivals import Arrivals, Poisson, Replay, steady, steps, waves
from testbed.emulator.fleet import AHEAD_S, Fleet, Replica, Service
from testbed.emulator.meters import Sleep

RUNNING = "vllm:num_requests_running"
SUCCESS = "vllm:request_success_total"


def service_of(arrivals: Arrivals, *, versions: tuple[str, ...] = ("",), holds: bool = True) -> Service:
    engines = dict.fromkeys(versions, LLAMA_8B_H100)
    return Service(name="llama", model="llama", engines=engines, arrivals=arrivals, holds=holds)


def fleet_at(rps: float, *, holds: bool = True) -> Fleet:
    return Fleet(service_of(Poisson(steady(rps), shipped(), seed=1), holds=holds), seed=1)


def added(fleet: Fleet, version: str = "") -> Replica:
    replica = fleet.add(version, born_s=1.7e9)
    fleet.set_ready(replica, is_ready=True)
    return replica


def run(fleet: Fleet, for_s: float) -> None:
    """As the emulator does it: in quarters of a second."""
    for at_s in fleet.at_s + np.arange(0.25, for_s + 0.1, 0.25):
        fleet.advance(float(at_s))


def value(fleet: Fleet, replica: Replica, name: str, label: str = "") -> float:
    found = re.search(rf"^{name}{{[^}}]*{label}[^}}]*}} (\S+)$", fleet.text(replica), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def counted(fleet: Fleet, replica: Replica, histogram: str) -> tuple[float, float]:
    return value(fleet, replica, f"{histogram}_count"), value(fleet, replica, f"{histogram}_sum")


def test_first_tokens_are_counted_like_the_fleet_model_counts_them() -> None:
    fleet = fleet_at(8.0)
    replica = added(fleet)

    run(fleet, 60.0)

    histogram = replica.meters.histograms["vllm:time_to_first_token_seconds"]
    assert tuple(histogram.counts.tolist()) == fleet._readings[replica.slot].ttft  # noqa: SLF001


def test_requests_that_have_finished_are_in_every_histogram_of_requests() -> None:
    fleet = fleet_at(8.0)
    replica = added(fleet)

    run(fleet, 60.0)

    finished = value(fleet, replica, SUCCESS, 'finished_reason="length"')
    assert finished > 400
    assert counted(fleet, replica, "vllm:e2e_request_latency_seconds")[0] == finished
    assert counted(fleet, replica, "vllm:request_prompt_tokens")[0] == finished


def test_the_phases_of_requests_add_up() -> None:
    fleet = fleet_at(20.0)
    replica = added(fleet)

    run(fleet, 60.0)

    sums = {
        phase: counted(fleet, replica, f"vllm:{phase}_seconds")[1]
        for phase in (
            "e2e_request_latency",
            "request_queue_time",
            "request_prefill_time",
            "request_decode_time",
            "request_inference_time",
        )
    }
    assert sums["request_inference_time"] == pytest.approx(sums["request_prefill_time"] + sums["request_decode_time"])
    assert sums["e2e_request_latency"] == pytest.approx(sums["request_queue_time"] + sums["request_inference_time"])
    assert sums["request_queue_time"] > 0


def test_there_is_a_gap_before_every_token_but_a_first_one() -> None:
    fleet = fleet_at(8.0)
    replica = added(fleet)

    run(fleet, 60.0)

    gaps, gaps_s = counted(fleet, replica, "vllm:inter_token_latency_seconds")
    first, _ = counted(fleet, replica, "vllm:time_to_first_token_seconds")
    assert gaps == value(fleet, replica, "vllm:generation_tokens_total") - first
    assert gaps_s == pytest.approx(fleet.reading(replica).token_s)
    answers, decode_s = counted(fleet, replica, "vllm:request_decode_time_seconds")
    written = counted(fleet, replica, "vllm:request_generation_tokens")[1]
    assert gaps_s / gaps == pytest.approx(decode_s / (written - answers), rel=0.02)


def test_a_replica_begins_at_zero_whatever_had_its_place_before() -> None:
    fleet = fleet_at(8.0)
    first = added(fleet)
    run(fleet, 20.0)
    fleet.remove(first)

    while (second := added(fleet)).slot != first.slot:
        fleet.remove(second)
    fleet.advance(fleet.at_s)

    assert value(fleet, second, "vllm:generation_tokens_total") == 0
    assert not any(histogram.counts.any() for histogram in second.meters.histograms.values())


def test_the_wait_at_the_gateway_is_not_the_engines() -> None:
    fleet = fleet_at(0.5)
    run(fleet, 30.0)
    assert fleet.sight().held > 5

    replica = added(fleet)
    run(fleet, 10.0)

    first, first_s = counted(fleet, replica, "vllm:time_to_first_token_seconds")
    assert first > 10
    assert first_s / first < 2.0


def test_without_a_gateway_requests_are_refused_while_nobody_is_ready() -> None:
    fleet = fleet_at(5.0, holds=False)

    run(fleet, 10.0)

    assert fleet.sight().fates[Fate.REFUSED] > 20


def test_a_sleeping_replica_ends_what_it_has_and_gets_nothing() -> None:
    fleet = fleet_at(20.0)
    sleeper, other = added(fleet), added(fleet)
    run(fleet, 20.0)
    running = value(fleet, sleeper, RUNNING)

    fleet.set_sleep(sleeper, Sleep.WEIGHTS_OFFLOADED)
    before = value(fleet, sleeper, "vllm:generation_tokens_total")
    run(fleet, 10.0)

    assert running > 0
    assert value(fleet, sleeper, RUNNING) == 0
    assert value(fleet, sleeper, "vllm:generation_tokens_total") == before
    assert value(fleet, sleeper, SUCCESS, 'finished_reason="abort"') >= running
    assert value(fleet, sleeper, "vllm:engine_sleep_state", 'sleep_state="awake"') == 0
    assert value(fleet, sleeper, "vllm:engine_sleep_state", 'sleep_state="weights_offloaded"') == 1
    assert value(fleet, other, RUNNING) > running


def test_a_replica_that_wakes_serves_again() -> None:
    fleet = fleet_at(20.0)
    replica = added(fleet)
    fleet.set_sleep(replica, Sleep.DISCARD_ALL)
    run(fleet, 5.0)

    fleet.set_sleep(replica, Sleep.AWAKE)
    run(fleet, 5.0)

    assert value(fleet, replica, "vllm:generation_tokens_total") > 0


def test_a_replica_that_is_not_ready_any_more_finishes_what_it_has() -> None:
    fleet = fleet_at(20.0)
    leaver, _ = added(fleet), added(fleet)
    run(fleet, 20.0)

    fleet.set_ready(leaver, is_ready=False)
    run(fleet, 60.0)

    assert value(fleet, leaver, RUNNING) == 0
    assert fleet.sight().fates[Fate.FAILED] == 0


def test_weights_split_the_traffic_between_versions() -> None:
    arrivals = Poisson(steady(20.0), shipped(), seed=1)
    fleet = Fleet(service_of(arrivals, versions=("v1", "v2"), holds=False), seed=1)
    stable, canary = added(fleet, "v1"), added(fleet, "v2")
    run(fleet, 20.0)
    assert value(fleet, canary, "vllm:prompt_tokens_total") == 0

    fleet.set_weights({"v1": 75, "v2": 25})
    before = [value(fleet, it, SUCCESS, 'finished_reason="length"') for it in (stable, canary)]
    run(fleet, 60.0)

    after = [value(fleet, it, SUCCESS, 'finished_reason="length"') for it in (stable, canary)]
    served = np.subtract(after, before)
    assert served[1] / served.sum() == pytest.approx(0.25, abs=0.05)


def test_weights_must_be_a_hundred_of_known_versions() -> None:
    fleet = fleet_at(1.0)

    with pytest.raises(ValueError, match="must be 100 in all"):
        fleet.set_weights({"": 90})
    with pytest.raises(ValueError, match="of known versions"):
        fleet.set_weights({"v9": 100})


def test_a_changed_rate_counts_soon() -> None:
    fleet = fleet_at(2.0)
    run(fleet, 20.0)

    fleet.set_rate(steady(40.0))
    run(fleet, AHEAD_S)
    before = sum(fleet.sight().fates.values())
    run(fleet, 20.0)

    assert sum(fleet.sight().fates.values()) - before == pytest.approx(40 * 20, rel=0.2)


def test_a_replayed_trace_has_no_rate_to_set() -> None:
    fleet = Fleet(service_of(Replay(shipped())), seed=1)

    with pytest.raises(TypeError, match="has no rate"):
        fleet.set_rate(steady(1.0))


def pieces(arrivals: Arrivals, cuts: list[float]) -> list[Trace]:
    return [arrivals.between(begin, end) for begin, end in pairwise(cuts)]


def test_a_replay_in_pieces_is_the_trace_and_then_the_trace_again() -> None:
    trace = shipped()
    span_s = trace.duration_s + 1.0

    times = [piece.arrival_s for piece in pieces(Replay(trace), [0.0, 7.3, 1000.0, span_s + 50.0, 2 * span_s])]

    expected = np.concatenate([trace.arrival_s, trace.arrival_s + span_s])
    np.testing.assert_array_equal(np.concatenate(times), expected)


def test_poisson_arrivals_are_in_order_and_in_their_piece() -> None:
    arrivals = Poisson(steps((0.0, 3.0), (4.5, 30.0)), shipped(), seed=1)

    first, second, empty = pieces(arrivals, [0.0, 4.5, 100.25, 100.25])

    assert len(empty) == 0
    for piece, begin_s, end_s in ((first, 0.0, 4.5), (second, 4.5, 100.25)):
        assert np.all(np.diff(piece.arrival_s) >= 0)
        assert begin_s <= piece.arrival_s[0] < piece.arrival_s[-1] < end_s
    assert len(second) == pytest.approx(30 * 95.75, rel=0.1)


def test_rates_are_what_their_names_say() -> None:
    assert [steps((0.0, 5.0), (60.0, 20.0))(at_s) for at_s in (-1.0, 0.0, 59.9, 60.0)] == [0.0, 5.0, 5.0, 20.0]
    assert [waves(2.0, 10.0, 100.0)(at_s) for at_s in (0.0, 50.0, 100.0)] == pytest.approx([2.0, 10.0, 2.0])
