"""Requests one by one: where and when each was served, and those that come while the plant runs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sim.latency import LLAMA_8B_H100, LLAMA_8B_L40S, Engine
from scaler.sim.plant import Outcomes, Plant
from scaler.sim.state import NOBODY, Fate
from scaler.sim.trace import Trace, shipped
from tests.sim.reference import served
from tests.sim.traffic import engines, plant_of, tiny, trace_of, traces

LONG_S = 1e4
thorough = settings(deadline=None, max_examples=150)


def part(trace: Trace, first: int, end: int) -> Trace:
    return Trace(
        name=trace.name,
        arrival_s=trace.arrival_s[first:end],
        prompt_tokens=trace.prompt_tokens[first:end],
        output_tokens=trace.output_tokens[first:end],
    )


def same(one: Outcomes, other: Outcomes) -> bool:
    pairs = ((one.ttft_s, other.ttft_s), (one.finish_s, other.finish_s), (one.fate, other.fate))
    return all(np.array_equal(left, right, equal_nan=True) for left, right in pairs)


@given(trace=traces, engine=engines, replicas=st.integers(1, 3), until_ms=st.integers(1, 3000))
@thorough
def test_each_request_says_when_it_was_admitted(trace: Trace, engine: Engine, replicas: int, until_ms: int) -> None:
    """Kills a start that is taken again when a later step goes on with the same prompt."""
    plant = plant_of(trace, engine, replicas)

    plant.advance(until_ms / 1000)

    jobs, _ = served(trace, engine, replicas, until_ms * 10**9)
    starts_ps = plant.requests(np.arange(len(jobs)))["start_ps"].tolist()
    assert starts_ps == [NOBODY if job.start_ps is None else job.start_ps for job in jobs]


def test_each_request_says_which_replica_had_it() -> None:
    plant = plant_of(trace_of([(0.0, 5, 5), (0.0, 5, 5), (9.0, 5, 5)]), tiny(), replicas=2)

    plant.advance(1.0)

    assert plant.requests(np.arange(3))["slot"].tolist() == [0, 1, NOBODY]


def test_requests_that_come_in_parts_are_served_like_those_of_one_trace() -> None:
    trace = part(shipped(), 0, 3000)
    whole = plant_of(trace, LLAMA_8B_H100)
    parts = plant_of(part(trace, 0, 0), LLAMA_8B_H100)

    for first in range(0, 3000, 100):
        parts.extend(part(trace, first, first + 100))
        parts.advance(float(trace.arrival_s[first + 99]))
        whole.advance(float(trace.arrival_s[first + 99]))
    parts.advance(LONG_S)
    whole.advance(LONG_S)

    assert same(parts.outcomes(), whole.outcomes())


def test_a_plant_without_requests_serves_those_that_come_later() -> None:
    plant = Plant(trace_of([]), seed=0, holds=True)
    plant.open(plant.add(tiny()))
    plant.advance(5.0)

    plant.extend(trace_of([(6.0, 5, 5)]))
    plant.advance(LONG_S)

    assert plant.fates()[Fate.FINISHED] == 1


def test_a_plant_that_forgets_what_is_done_serves_the_same() -> None:
    """Kills a shed that leaves a queue's link, or a finish step, at the number from before."""
    trace = part(shipped(), 0, 4000)
    whole = plant_of(trace, LLAMA_8B_L40S)
    parts = plant_of(part(trace, 0, 0), LLAMA_8B_L40S)
    forgotten = []

    for first in range(0, 4000, 100):
        forgotten.append(parts.shed())
        parts.extend(part(trace, first, first + 100))
        parts.advance(float(trace.arrival_s[first + 99]))
    arrived = parts.arrived
    parts.advance(LONG_S)
    forgotten.append(parts.shed())
    whole.advance(LONG_S)

    assert (arrived, parts.fates()) == (4000, whole.fates())
    for name in ("first_ps", "finish_ps", "slot"):
        assert np.array_equal(np.concatenate([rows[name] for rows in forgotten]), whole.requests(np.arange(4000))[name])
    assert max(len(rows) for rows in forgotten[:-1]) < 400


@given(trace=traces, engine=engines, cut_ms=st.integers(0, 600))
@thorough
def test_forgetting_at_any_time_changes_nothing(trace: Trace, engine: Engine, cut_ms: int) -> None:
    """Kills a shed that renumbers the gateway's queue wrongly: the only replica opens after it."""
    plants = [Plant(trace, seed=0, holds=True) for _ in range(2)]
    for plant in plants:
        slot = plant.add(engine)
        plant.advance(0.2)
        plant.open(slot)
        plant.advance(0.2 + cut_ms / 1000)
    gone = plants[0].shed()
    for plant in plants:
        plant.advance(LONG_S)

    finish_s = plants[1].outcomes().finish_s
    assert np.array_equal(plants[0].outcomes().finish_s, finish_s[len(gone) :], equal_nan=True)
    assert plants[0].fates() == plants[1].fates()
