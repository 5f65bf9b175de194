"""Ray Serve: mean ongoing requests over 30 s, followed after 30 s up and 600 s down."""

from scaler.sim.peers.ray import RayServe
from tests.sim.peers.views import answers, followed, replica, view


def test_it_grows_once_the_wish_has_lasted_thirty_seconds() -> None:
    scaler = RayServe(threshold=10.0).autoscaler()
    loads = [(0.0, 10.0), (15.0, 40.0), (30.0, 40.0), (45.0, 40.0), (60.0, 40.0)]

    # Means of 30 s: 10, 25, 40, 40; the wish to grow begins at 15 s.
    assert followed(scaler, loads, ready=1) == [1, 1, 1, 4, 4]


def test_a_wish_that_lapses_begins_anew() -> None:
    scaler = RayServe(threshold=10.0).autoscaler()
    loads = [(0.0, 40.0), (15.0, 0.0), (30.0, 0.0), (45.0, 40.0), (60.0, 40.0), (75.0, 40.0)]

    # 40 | 20 | 0 | 20 | 40 | 40: up from 0 s, down at 30 s (held at one), up again from 45 s.
    assert followed(scaler, loads, ready=1) == [1, 1, 1, 1, 1, 4]


def test_it_shrinks_once_the_wish_has_lasted_ten_minutes() -> None:
    scaler = RayServe(threshold=10.0).autoscaler()
    loads = [(0.0, 40.0), *((600.0 + 15.0 * tick, 10.0) for tick in range(41))]
    asked = followed(scaler, loads, ready=4)

    assert asked[:41] == [4] * 41
    assert asked[41] == 1


def test_its_default_is_two_ongoing_requests_wherever_they_are() -> None:
    scaler = RayServe().autoscaler()
    seen = [view(replica(3.0, 2.0), at_s=at_s, gateway_waiting=2.0) for at_s in (0.0, 30.0)]

    assert answers(scaler, seen) == [1, 4]  # 7 / 2
