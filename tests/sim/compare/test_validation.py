"""The fleet model against public points, and the step load against what others published of it."""

import pytest

from scaler.sim.compare.step import STEP_CELL, asked_on_average, stepped
from scaler.sim.compare.validation import (
    BEFORE,
    DECODE_MS,
    PREFILL_MS,
    RATES,
    closed_loop,
    decode_points,
    knee_share,
    mean_error,
    picture,
    prefill_points,
)
from scaler.sim.latency import LLAMA_8B_H100, Engine
from scaler.sim.replay import Change


@pytest.mark.parametrize("engine", DECODE_MS)
def test_a_decode_step_is_the_measured_one_within_3_per_cent_on_average(engine: Engine) -> None:
    assert mean_error(decode_points(), engine) < 0.03


@pytest.mark.parametrize("engine", PREFILL_MS)
def test_a_lone_prompt_takes_the_measured_time_within_13_per_cent_on_average(engine: Engine) -> None:
    assert mean_error(prefill_points(), engine) < 0.13


def test_a_closed_loop_of_64_is_the_measured_one_within_5_per_cent() -> None:
    rps, step_s = closed_loop(LLAMA_8B_H100, 64, 128, 128)

    assert rps == pytest.approx(56.7, rel=0.05)
    assert step_s == pytest.approx(0.0087, rel=0.05)


@pytest.mark.slow
def test_the_knee_lies_where_the_public_run_had_it() -> None:
    below, within, beyond = (knee_share(rps, range(8)) for rps in (1.3, 1.45, 1.7))

    assert below > 0.98
    assert 0.85 < within < below
    assert beyond < 0.15


def test_the_picture_has_every_public_point_and_the_knee() -> None:
    drawn = picture(dict.fromkeys(RATES, 0.5))

    marks = [trace for trace in drawn.data if trace.mode == "markers"]
    assert sum(len(trace.x) for trace in marks) == len(decode_points()) + len(prefill_points()) + len(BEFORE)


def test_replicas_are_counted_to_the_end_of_the_step() -> None:
    assert asked_on_average((Change(at_s=0.0, replicas=1), Change(at_s=300.0, replicas=3))) == 2.0
    assert asked_on_average((Change(at_s=0.0, replicas=1), Change(at_s=900.0, replicas=3))) == 1.0


@pytest.mark.slow
def test_two_replicas_under_the_step_load_wait_as_long_as_was_published() -> None:
    told = {each.policy: each for each in stepped()}

    assert told["static"].p99_s == pytest.approx(555.0, rel=0.05)
    assert told["keda-epp"].p99_s == pytest.approx(507.0, rel=0.05)
    assert told["keda-epp"].replicas == pytest.approx(7.4, rel=0.1)
    assert STEP_CELL.load_s == 110.0
