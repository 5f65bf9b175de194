"""The fleet model against the step-by-step reference, and what holds for any traffic."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sim.latency import LLAMA_8B_H100, QWEN_32B_H100, Engine
from scaler.sim.plant import Outcomes, Plant
from scaler.sim.state import BOUNDS_S, Fate
from scaler.sim.trace import Trace, scaled, shipped
from tests.sim.reference import Job, served
from tests.sim.traffic import engines, plant_of, tiny, trace_of, traces

LONG_S = 1e4
HOUR = "733e6b0c35ca0b4d0d46664610dd4895ef061f2c8cac4fc965c8b65fb075b4ab"
# Most traffic is over after half a second; before that, a reading falls into the middle of things.
moments = st.integers(1, 450) | st.integers(1, 3000)
thorough = settings(deadline=None, max_examples=150)


def digest(outcomes: Outcomes) -> str:
    arrays = (outcomes.ttft_s, outcomes.finish_s, outcomes.fate)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def times_of(jobs: list[Job]) -> list[tuple[float | None, float | None]]:
    return [
        (
            None if job.first_ps is None else (job.first_ps - job.arrival_ps) / 1e12,
            None if job.finish_ps is None else job.finish_ps / 1e12,
        )
        for job in jobs
    ]


def times_in(outcomes: Outcomes, requests: int) -> list[tuple[float | None, float | None]]:
    return [
        (None if np.isnan(ttft_s) else float(ttft_s), None if np.isnan(finish_s) else float(finish_s))
        for ttft_s, finish_s in zip(outcomes.ttft_s[:requests], outcomes.finish_s[:requests], strict=True)
    ]


@given(trace=traces, engine=engines, replicas=st.integers(1, 3), until_ms=moments)
@thorough
def test_it_agrees_to_the_picosecond_with_a_simulation_of_every_step(
    trace: Trace, engine: Engine, replicas: int, until_ms: int
) -> None:
    """Kills, among others: a stretch one step short, KV growth left out, a boundary that an arrival does not cut."""
    plant = plant_of(trace, engine, replicas)

    plant.advance(until_ms / 1000)

    jobs, servers = served(trace, engine, replicas, until_ms * 10**9)
    assert times_in(plant.outcomes(), len(jobs)) == times_of(jobs)
    for reading, server in zip(plant.readings().values(), servers, strict=True):
        assert reading.prompt_tokens == server.prompt_tokens
        assert reading.generation_tokens == server.generation_tokens
        assert reading.steps == server.steps
        assert reading.running == len(server.running) + server.admitted
        assert reading.waiting == len(server.queue) - server.admitted
        resident = sum(job.resident for job in [*server.running, *server.queue])
        assert reading.kv_usage == resident / engine.kv_tokens


@given(trace=traces, engine=engines, at_ms=st.lists(st.integers(1, 3000), max_size=10))
@thorough
def test_the_kv_cache_never_holds_more_than_fits(trace: Trace, engine: Engine, at_ms: list[int]) -> None:
    """Kills an admission that looks at the resident tokens of now alone."""
    plant = plant_of(trace, engine)

    for until_ms in sorted(at_ms):
        plant.advance(until_ms / 1000)
        assert all(0.0 <= reading.kv_usage <= 1.0 for reading in plant.readings().values())

    _, servers = served(trace, engine, 1, 10**16)
    assert servers[0].most_resident <= engine.kv_tokens


@given(trace=traces, engine=engines, replicas=st.integers(1, 3))
@thorough
def test_no_first_token_comes_before_a_lone_prefill_could_bring_it(trace: Trace, engine: Engine, replicas: int) -> None:
    plant = plant_of(trace, engine, replicas)

    plant.advance(LONG_S)

    ttft_s = plant.outcomes().ttft_s
    lone_s = [engine.delta_ms * int(prompt) / 1e3 + engine.gamma_ms / 1e3 for prompt in trace.prompt_tokens]
    assert (ttft_s >= np.array(lone_s) - 1e-9).all()


# Deeds on a fleet, each with the millisecond at which it is done.
deeds = st.lists(
    st.tuples(
        st.integers(1, 600), st.sampled_from(["add", "open", "close", "remove", "fail", "look"]), st.integers(0, 5)
    ),
    max_size=14,
).map(sorted)


def do(plant: Plant, slots: list[int], deed: str, which: int, engine: Engine) -> None:
    if deed == "add" or not slots:
        slots.append(plant.add(engine))
        return
    slot = slots[which % len(slots)]
    match deed:
        case "open":
            plant.open(slot)
        case "close":
            plant.close(slot)
        case "fail":
            plant.fail(slot)
        case "remove":
            plant.remove(slot)
            slots.remove(slot)
        case _:
            plant.readings()


def lived(trace: Trace, engine: Engine, story: list[tuple[int, str, int]], cuts_ms: list[int], *, holds: bool) -> Plant:
    """A fleet that goes through ``story``, its time cut at ``cuts_ms`` besides."""
    plant, slots = Plant(trace, seed=0, holds=holds), list[int]()
    for at_ms, deed, which in sorted([*story, *((cut_ms, "", 0) for cut_ms in cuts_ms)], key=lambda entry: entry[0]):
        plant.advance(at_ms / 1000)
        if deed:
            do(plant, slots, deed, which, engine)
    plant.advance(2.0)
    return plant


@given(trace=traces, engine=engines, story=deeds, cuts_ms=st.lists(st.integers(1, 2000), max_size=20))
@thorough
def test_how_the_time_is_cut_changes_nothing(
    trace: Trace, engine: Engine, story: list[tuple[int, str, int]], cuts_ms: list[int]
) -> None:
    """Kills a kernel that ends a step at the cut, or that lets a request in before its arrival."""
    whole = lived(trace, engine, story, [], holds=True)
    cut = lived(trace, engine, story, cuts_ms, holds=True)

    assert digest(cut.outcomes()) == digest(whole.outcomes())
    assert cut.readings() == whole.readings()
    assert (cut.ttft_counts() == whole.ttft_counts()).all()


@given(trace=traces, engine=engines, story=deeds, holds=st.booleans())
@thorough
def test_every_arrival_is_in_exactly_one_place(
    *, trace: Trace, engine: Engine, story: list[tuple[int, str, int]], holds: bool
) -> None:
    """Kills a queue that loses its tail, and a replica that goes without failing what it had."""
    plant = lived(trace, engine, story, [], holds=holds)

    fates, readings = plant.fates(), plant.readings().values()
    assert fates[Fate.AHEAD] == len(trace) - plant.arrived
    assert fates[Fate.HELD] == plant.held
    assert fates[Fate.PLACED] == sum(reading.running + reading.waiting for reading in readings)
    assert fates[Fate.FINISHED] == np.count_nonzero(~np.isnan(plant.outcomes().finish_s))
    assert sum(fates.values()) == len(trace)
    assert plant.ttft_counts().sum() == np.count_nonzero(~np.isnan(plant.outcomes().ttft_s))


def test_a_lone_request_takes_what_the_formula_says() -> None:
    engine = tiny(chunk_tokens=100, kv_tokens=1000)
    plant = plant_of(trace_of([(0.5, 30, 3)]), engine)

    plant.advance(LONG_S)

    outcomes = plant.outcomes()
    assert outcomes.ttft_s[0] == pytest.approx((7.0 + 1.0 * 30) / 1e3)
    # Two decode steps of alpha + beta + kappa * resident: 30 tokens, then 31.
    decode_s = (2 * (10.0 + 2.0) + 5.0 * (30 + 31) / 1e3) / 1e3
    assert outcomes.finish_s[0] == pytest.approx(0.5 + 0.037 + decode_s)


def test_several_short_prompts_share_a_step_and_a_long_one_spans_several() -> None:
    engine = tiny(chunk_tokens=10, kv_tokens=1000)
    short = plant_of(trace_of([(0.0, 5, 1), (0.0, 5, 1)]), engine)
    long = plant_of(trace_of([(0.0, 25, 1)]), engine)

    short.advance(LONG_S)
    long.advance(LONG_S)

    assert short.outcomes().ttft_s.tolist() == pytest.approx([0.017, 0.017])
    assert long.outcomes().ttft_s.tolist() == pytest.approx([3 * 0.007 + 0.025])


def test_what_arrives_as_a_step_begins_is_in_it() -> None:
    engine = tiny(chunk_tokens=100, kv_tokens=1000)
    plant = plant_of(trace_of([(0.0, 3, 1), (0.005, 5, 1), (0.010, 5, 1)]), engine)

    plant.advance(LONG_S)

    assert plant.outcomes().ttft_s.tolist() == pytest.approx([0.010, 0.022, 0.017])


def test_requests_wait_at_the_gateway_until_a_replica_is_ready() -> None:
    plant = Plant(trace_of([(0.1, 5, 1), (0.2, 5, 1)]), seed=0, holds=True)
    slot = plant.add(tiny())
    plant.advance(1.0)
    assert plant.held == 2

    plant.open(slot)
    plant.advance(2.0)

    assert plant.held == 0
    assert plant.outcomes().ttft_s.tolist() == pytest.approx([0.915, 0.824])  # the second needs another step


def test_without_a_queue_at_the_gateway_nobody_ready_means_refused() -> None:
    plant = Plant(trace_of([(0.1, 5, 1), (0.2, 5, 1)]), seed=0, holds=False)

    plant.advance(1.0)

    assert plant.fates()[Fate.REFUSED] == 2


def test_a_request_larger_than_the_kv_cache_is_refused() -> None:
    plant = plant_of(trace_of([(0.0, 50, 20), (0.0, 5, 5)]), tiny(kv_tokens=60))

    plant.advance(LONG_S)

    assert plant.outcomes().fate.tolist() == [Fate.REFUSED, Fate.FINISHED]


def test_a_closed_replica_finishes_what_it_has_and_takes_nothing_new() -> None:
    plant = plant_of(trace_of([(0.0, 5, 10), (0.05, 5, 1)]), tiny(), replicas=2)
    plant.advance(0.01)

    plant.close(0)
    plant.advance(LONG_S)

    assert plant.outstanding(0) == 0
    assert [reading.finished for reading in plant.readings().values()] == [1, 1]


def test_a_replica_that_is_removed_fails_its_requests() -> None:
    plant = plant_of(trace_of([(0.0, 5, 10), (0.0, 5, 10), (0.0, 30, 10), (0.0, 5, 10)]), tiny(max_seqs=2))
    plant.advance(0.05)

    failed = plant.remove(0)

    assert failed == 4
    assert plant.fates()[Fate.FAILED] == 4


def test_a_replica_that_failed_half_way_through_a_prompt_begins_anew() -> None:
    plant = plant_of(trace_of([(0.0, 30, 1), (1.0, 5, 1)]), tiny(chunk_tokens=10))
    plant.advance(0.02)

    plant.fail(0)
    plant.open(0)
    plant.advance(LONG_S)

    assert plant.outcomes().fate.tolist() == [Fate.FAILED, Fate.FINISHED]
    assert plant.outcomes().ttft_s[1] == pytest.approx(0.012)


def test_traffic_is_split_by_weight() -> None:
    plant = Plant(scaled(shipped(), 0.5, 1), seed=0, holds=False, versions=2)
    plant.set_weights((90, 10))
    for version in (0, 1):
        plant.open(plant.add(LLAMA_8B_H100, version))
    plant.advance(LONG_S)

    finished = [reading.finished for reading in plant.readings().values()]

    assert finished[1] / sum(finished) == pytest.approx(0.1, abs=0.01)


def test_more_replicas_than_there_was_room_for_change_nothing_for_those_before() -> None:
    trace = trace_of([(0.01 * place, 5, 5) for place in range(40)])
    few, many = plant_of(trace, tiny()), plant_of(trace, tiny())
    few.advance(0.2)
    many.advance(0.2)
    for _ in range(40):
        many.add(tiny())

    few.advance(LONG_S)
    many.advance(LONG_S)

    assert digest(few.outcomes()) == digest(many.outcomes())


def test_first_tokens_are_counted_in_the_bucket_whose_bound_they_reach() -> None:
    engine = tiny(chunk_tokens=1000, kv_tokens=1000)  # prefill of n tokens: 7 + n ms
    plant = plant_of(trace_of([(0.0, 1, 1), (1.0, 3, 1), (2.0, 4, 1), (10.0, 900, 1)]), engine)

    plant.advance(LONG_S)

    counts = dict(zip([*BOUNDS_S, None], plant.ttft_counts().tolist(), strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.01: 2, 0.02: 1, 1.0: 1}


def test_busy_time_and_steps_give_the_inter_token_latency() -> None:
    engine = QWEN_32B_H100
    plant = plant_of(trace_of([(0.0, 1000, 501)]), engine)
    plant.advance(2.0)
    before = plant.readings()[0]

    plant.advance(4.0)

    after = plant.readings()[0]
    itl_s = (after.busy_s - before.busy_s) / (after.steps - before.steps)
    assert itl_s == pytest.approx(engine.step_s(1, 1200), rel=0.01)


def test_the_time_between_tokens_counts_once_for_each_sequence() -> None:
    engine = QWEN_32B_H100
    plant = plant_of(trace_of([(0.0, 1000, 501), (0.0, 1000, 501), (0.0, 1000, 501)]), engine)
    plant.advance(2.0)
    before = plant.readings()[0]

    plant.advance(4.0)

    after = plant.readings()[0]
    token_s, tokens = after.token_s - before.token_s, after.generation_tokens - before.generation_tokens
    assert token_s / 2.0 == pytest.approx(3.0, rel=0.01)  # Little's law: three sequences all the time
    assert token_s / tokens == pytest.approx(engine.step_s(3, 3600), rel=0.01)


def test_the_shipped_hour_gives_the_same_bytes_on_every_machine() -> None:
    plant = plant_of(shipped(), LLAMA_8B_H100)

    for until_s in range(0, 3700, 15):
        plant.advance(float(until_s))

    assert digest(plant.outcomes()) == HOUR


def test_counters_never_go_back() -> None:
    plant = plant_of(shipped(), LLAMA_8B_H100)
    seen = []
    for tenth in range(200):
        plant.advance(tenth / 10 + 0.003)
        reading = plant.readings()[0]
        seen.append((reading.steps, reading.busy_s, reading.token_s, reading.prompt_tokens, reading.generation_tokens))

    assert all(before <= after for pair in pairwise(seen) for before, after in zip(*pair, strict=True))
