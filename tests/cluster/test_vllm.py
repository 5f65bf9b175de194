"""Real vLLM from end to end: real engines, a real Prometheus and a real gateway, and clients that stream."""

from itertools import groupby
from statistics import median

import pytest

from testbed.control_plane import ControlPlane
from tests.cluster.conftest import VLLM_PROGRAMS
from tests.cluster.vllm_running import HOLD_S, Agreement, Run, at_s_of, begun_in, fleet_of, played, quantile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def vllm_run(control_plane: ControlPlane, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run, played once for all tests of this file."""
    given = pytestconfig.stash[VLLM_PROGRAMS]
    if isinstance(given, str):
        pytest.skip(given)
    return played(control_plane, given, tmp_path_factory.mktemp("vllm"))


def counts(run: Run) -> list[int]:
    """What was planned, decision by decision, without repetitions."""
    planned = [line["record"]["plan"]["targets"] for line in run.decisions]
    return [count for count, _ in groupby(targets[0]["trail"][-1]["after"] for targets in planned if targets)]


def first_shrink_s(run: Run) -> float:
    """When the first decision for fewer replicas was taken."""
    shrinks = (
        at_s_of(line)
        for line in run.decisions
        if (targets := line["record"]["plan"]["targets"])
        and targets[0]["trail"][-1]["after"] < targets[0]["trail"][0]["before"]
    )
    return next(shrinks)


def ttft_p95_s(run: Run, from_s: float, to_s: float) -> float:
    """What the clients saw who asked in this time."""
    found = [each.first_token_s for each in begun_in(run.streams, from_s, to_s) if each.first_token_s is not None]
    return quantile(found, 0.95)


def test_it_grows_from_one_to_three_under_load_and_comes_back_to_one_after_the_hold(vllm_run: Run) -> None:
    planned = counts(vllm_run)

    assert planned[0] == 1
    assert max(planned) == 3
    assert 1 in planned[planned.index(3) :]
    assert first_shrink_s(vllm_run) >= vllm_run.fell_at_s + HOLD_S


def test_three_replicas_answer_sooner_than_one_that_is_full(vllm_run: Run) -> None:
    crowded_s = ttft_p95_s(vllm_run, vllm_run.rose_at_s, vllm_run.grown_at_s)

    assert ttft_p95_s(vllm_run, vllm_run.grown_at_s, vllm_run.fell_at_s) < crowded_s


def test_every_stream_ends_whole_though_replicas_go_in_the_middle_of_some(vllm_run: Run) -> None:
    assert len(vllm_run.in_flight_at_the_end) >= 2
    assert [name for name, running in vllm_run.in_flight_at_the_end.items() if running >= 1]
    assert [each.cut for each in vllm_run.streams if each.cut] == []


def test_the_learned_load_time_is_what_the_pods_conditions_say(vllm_run: Run) -> None:
    starts = [start.took_s for start in vllm_run.starts.values()][:3]

    assert vllm_run.learned["samples"] == len(starts) == 3
    assert vllm_run.learned["p50"] == pytest.approx(median(starts), rel=0.1)


def test_every_signal_of_the_table_is_served(vllm_run: Run) -> None:
    assert {signal.name: found for signal, found in vllm_run.present.items() if not found >= 1} == {}


def test_the_engine_says_what_the_clients_saw(vllm_run: Run) -> None:
    apart: list[Agreement] = [each for each in vllm_run.agreements if not each.holds]

    assert apart == []


def test_a_replica_that_sleeps_is_no_supply(vllm_run: Run) -> None:
    asked_for = [line["record"]["plan"]["targets"][0]["trail"][-1]["after"] for line in vllm_run.asleep]
    loads = [
        replica["load"]
        for line in vllm_run.asleep
        for replica in fleet_of(line)["replicas"]
        if replica["is_asleep"] and replica["deleted_at_s"] is None
    ]

    assert set(asked_for) == {2}, "one that serves beside the one that sleeps, though none has work"
    assert all("asleep" in load["why"] for load in loads)
