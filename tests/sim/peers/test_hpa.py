"""The HPA by the formulas of its documentation, and how it steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.sim.peers.hpa import Hpa, HpaRunning, average_value, per_pod
from scaler.sim.peers.peer import Bounds
from tests.sim.peers.views import answers, followed, replica, view


@pytest.mark.parametrize(
    ("total", "target", "current", "wanted"),
    [
        (20.0, 1.0, 20, 20),
        (22.0, 1.0, 20, 20),  # 10 % is within the tolerance
        (22.1, 1.0, 20, 23),
        (17.9, 1.0, 20, 18),
        (90.0, 16.0, 4, 6),  # 5.6
        (0.0, 5.0, 3, 0),
    ],
)
def test_an_external_average_is_the_total_by_the_target_rounded_up_outside_the_tolerance(
    total: float, target: float, current: int, wanted: int
) -> None:
    assert average_value(total, target, current) == wanted


@pytest.mark.parametrize(
    ("values", "missing", "current", "wanted"),
    [
        ([20.0, 20.0], 0, 2, 4),
        ([10.5, 10.5], 0, 2, 2),  # within the tolerance
        ([5.0, 5.0], 0, 2, 1),
        ([30.0, 30.0], 2, 4, 6),  # 60 over four pods
        ([20.0, 20.0], 2, 4, 4),  # the loading ones bring it to the target
        ([12.0, 12.0], 2, 4, 4),  # counted as 0 the direction would turn
        ([2.0, 2.0], 2, 4, 3),  # the loading ones count 10: 24 over four
        ([9.5], 3, 4, 4),
        ([], 3, 3, 3),  # nobody has reported
    ],
)
def test_pods_that_load_count_nothing_on_the_way_up_and_their_target_on_the_way_down(
    values: list[float], missing: int, current: int, wanted: int
) -> None:
    assert per_pod(values, missing, 10.0, current) == wanted


@given(
    values=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=8),
    missing=st.integers(0, 8),
)
def test_pods_that_load_never_make_it_move_further(values: list[float], missing: int) -> None:
    """Kills: a loading pod counted at its target on the way up, or at nothing on the way down."""
    current = len(values) + missing
    alone = per_pod(values, 0, 10.0, current)
    careful = per_pod(values, missing, 10.0, current)

    assert min(alone, current) <= careful <= max(alone, current)


def test_it_shrinks_only_to_the_most_it_wanted_in_five_minutes() -> None:
    scaler = HpaRunning(threshold=10.0).autoscaler()
    loads = [(0.0, 80.0), (15.0, 20.0), (150.0, 50.0), (300.0, 20.0), (315.0, 20.0), (450.0, 20.0), (465.0, 20.0)]

    assert followed(scaler, loads, ready=8) == [8, 8, 8, 8, 5, 5, 2]


def test_it_keeps_what_it_finds_for_its_first_five_minutes() -> None:
    scaler = HpaRunning(threshold=10.0).autoscaler()

    assert followed(scaler, [(0.0, 10.0), (300.0, 10.0), (315.0, 10.0)], ready=8) == [8, 8, 1]


def test_it_doubles_or_adds_four_whichever_is_more() -> None:
    scaler = HpaRunning(threshold=1.0).autoscaler()
    loads = [(15.0 * sync, 90.0) for sync in range(6)]

    assert followed(scaler, loads, ready=1) == [5, 10, 20, 40, 80, 90]


def test_it_answers_once_in_fifteen_seconds() -> None:
    scaler = HpaRunning(threshold=10.0).autoscaler()

    assert followed(scaler, [(0.0, 20.0), (5.0, 90.0), (15.0, 90.0)], ready=2) == [2, 2, 6]


def test_it_stays_within_its_bounds() -> None:
    hpa = Hpa(Bounds(least=2, most=6))

    assert hpa.replicas(9, view(replica(), replica(), replica(), replica())) == 6
    assert hpa.replicas(0, view(replica(), at_s=900.0)) == 2


def test_of_two_settings_made_from_one_neither_knows_what_the_other_saw() -> None:
    peer = HpaRunning(threshold=10.0)
    one, other = peer.autoscaler(), peer.autoscaler()

    answers(one, [view(replica(80.0), at_s=0.0)])

    assert other.replicas(view(replica(80.0), at_s=5.0)) == 5
