"""Generated services: the same for the same seed, and each family what its name says."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from scaler.sim.generated import (
    DAY_S,
    FAMILIES,
    HOUR_S,
    Family,
    Generated,
    GeneratedService,
    TuningSeedError,
    filled,
    jump,
    reported,
    service,
)
from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.oracle import Case, work_of
from scaler.sim.trace import Trace
from scaler.sim.workload import PIECE_S, Workload

SEEDS = range(24)  # each family three times
FIRST_EIGHT = "8b63be3f392d995b6a79275c851f982a6ea4211db96a07db601a5e237db1f018"


def of_family(family: Family) -> list[GeneratedService]:
    return [service(seed) for seed in range(40) if service(seed).family is family]


def all_of(service_seed: int, mean_rps: float, seed: int) -> Trace:
    pieces = list(Generated(service=service(service_seed), mean_rps=mean_rps).pieces(seed))
    return Trace(
        name="all",
        arrival_s=np.concatenate([piece.arrival_s for piece in pieces]),
        prompt_tokens=np.concatenate([piece.prompt_tokens for piece in pieces]),
        output_tokens=np.concatenate([piece.output_tokens for piece in pieces]),
    )


def by_minute(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(shape.reshape(-1, 60).mean(axis=1))


def longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int(np.max(edges[1::2] - edges[::2], initial=0))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_service_has_a_rate_for_every_second_never_negative_with_a_mean_of_one(seed: int) -> None:
    made = service(seed)

    assert len(made.shape) == DAY_S
    assert (made.shape >= 0.0).all()
    assert made.shape.mean() == pytest.approx(1.0, abs=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    assert service(104).shape.tobytes() == service(104).shape.tobytes()
    assert service(104).shape.tobytes() != service(112).shape.tobytes()  # the next of its family
    assert all_of(104, 0.1, 1).arrival_s.tobytes() == all_of(104, 0.1, 1).arrival_s.tobytes()
    assert all_of(104, 0.1, 1).arrival_s.tobytes() != all_of(104, 0.1, 2).arrival_s.tobytes()


def test_the_first_of_each_family_is_what_it_was_when_it_was_written() -> None:
    digest = hashlib.sha256()
    for seed in range(len(Family)):
        digest.update(service(seed).shape.tobytes())

    assert digest.hexdigest() == FIRST_EIGHT


def test_families_take_turns_so_that_a_hundred_seeds_hold_as_many_of_each() -> None:
    counts = {family: sum(service(seed, 6).family is family for seed in range(100, 196)) for family in Family}

    assert set(counts.values()) == {12}
    assert set(FAMILIES) == set(Family)


def test_a_report_takes_no_seed_that_rules_were_tuned_on() -> None:
    assert reported([100, 250]) == (100, 250)
    with pytest.raises(TuningSeedError, match="seed = 99: is for tuning"):
        reported([100, 99])


def test_a_span_too_short_for_a_family_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="hours = 5: must be at least 6"):
        service(1, 5)


@pytest.mark.parametrize("seed", range(20))
def test_a_jump_is_one_and_a_half_to_five_times_all_that_was_before(seed: int) -> None:
    level = jump(np.random.Generator(np.random.PCG64(seed)), DAY_S)
    steepest = int(np.argmax(np.diff(level)))  # somewhere on the rise, which lasts two minutes at most

    before, after = level[: steepest - 120].max(), level.max()

    assert 0.3 * DAY_S <= steepest <= 0.7 * DAY_S + 120
    assert 1.49 <= after / before <= 5.05


def test_on_off_is_on_for_no_more_than_its_share_and_off_in_between() -> None:
    for made in of_family(Family.ON_OFF):
        is_on = by_minute(made.shape) > 0.4 * made.shape.max()

        assert 0.05 < is_on.mean() < 0.95
        assert np.count_nonzero(np.diff(is_on.astype(int))) >= 4


def test_bursts_are_short_and_far_above_the_level_around_them() -> None:
    for made in of_family(Family.BURSTS):
        is_high = made.shape > 2.5 * np.median(made.shape)

        assert is_high.any()
        assert longest_run(is_high) < 15 * 60


def test_a_launch_has_nothing_before_and_traffic_to_the_end() -> None:
    for made in of_family(Family.LAUNCH):
        assert (made.shape[: DAY_S // 10] == 0.0).all()
        assert (made.shape[-HOUR_S:] > 0.0).all()


def test_a_decay_leaves_less_on_the_second_half_than_on_the_first() -> None:
    for made in of_family(Family.DECAY):
        shape = service(made.seed, 48).shape  # whole days, so that days and nights weigh the same

        assert shape[DAY_S:].mean() < 0.8 * shape[:DAY_S].mean()


def test_drifting_lengths_drift_and_others_do_not() -> None:
    assert all(made.prompt.drift != 1.0 and made.output.drift != 1.0 for made in of_family(Family.DRIFT))
    assert all(service(seed).prompt.drift == 1.0 for seed in SEEDS if service(seed).family is not Family.DRIFT)


def test_a_gap_is_at_least_two_minutes_without_anything() -> None:
    for made in of_family(Family.GAPS):
        assert longest_run(made.shape == 0.0) >= 120


def test_a_week_has_a_weekend_of_its_own_level() -> None:
    days = service(8, 7 * 24).shape.reshape(7, -1).mean(axis=1)

    assert days.min() < 0.8 * np.median(days)


def test_requests_come_at_the_rate_of_the_shape_in_order_within_the_span() -> None:
    made = service(0)
    trace = all_of(0, 2.0, 7)

    by_hour = np.bincount((trace.arrival_s // HOUR_S).astype(int), minlength=24) / HOUR_S
    wanted = made.shape.reshape(24, -1).mean(axis=1) * 2.0

    assert by_hour == pytest.approx(wanted, rel=0.1)
    assert (np.diff(trace.arrival_s) >= 0.0).all()
    assert trace.arrival_s.max() < DAY_S


def test_lengths_move_from_their_median_to_the_drift_times_it() -> None:
    made = service(6)
    trace = all_of(6, 2.0, 7)
    tenth = len(trace) // 10

    first, last = np.median(trace.prompt_tokens[:tenth]), np.median(trace.prompt_tokens[-tenth:])

    assert first == pytest.approx(made.prompt.median_tokens, rel=0.1)
    assert last == pytest.approx(made.prompt.median_tokens * made.prompt.drift, rel=0.1)
    assert trace.prompt_tokens.min() >= 1
    assert trace.prompt_tokens.max() <= made.prompt.most_tokens


def test_a_piece_holds_the_requests_of_its_quarter_of_an_hour() -> None:
    traffic: Workload = Generated(service=service(4), mean_rps=0.5)  # a launch: its first pieces are empty

    for number, piece in enumerate(traffic.pieces(3)):
        assert ((piece.arrival_s >= number * PIECE_S) & (piece.arrival_s < (number + 1) * PIECE_S)).all()


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_a_service_fills_the_pool_that_it_is_sized_for(seed: int) -> None:
    traffic = filled(service(seed), LLAMA_8B_H100, 0.25)
    case = Case(workload=traffic, engine=LLAMA_8B_H100, load_s=60.0, drain_s=10.0)

    assert work_of(case, 3600.0).mean() == pytest.approx(0.25, rel=0.05)


def test_twice_the_traffic_is_twice_the_mean() -> None:
    assert Generated(service=service(0), mean_rps=2.0).times(2.0).mean_rps == 4.0
