"""KEDA on queues, and on the endpoint picker's signals with its overshoot guard."""

import pytest

from scaler.sim.peers.keda import KedaEpp, KedaWaiting, guarded
from scaler.sim.view import View
from tests.sim.peers.views import followed, replica, view


def test_the_queues_of_all_engines_by_the_threshold() -> None:
    scaler = KedaWaiting(threshold=5.0).autoscaler()

    assert scaler.replicas(view(replica(90.0, 12.0), replica(90.0, 9.0))) == 5  # 21 / 5


def test_without_queues_it_falls_to_the_least_however_busy_the_engines_are() -> None:
    scaler = KedaWaiting().autoscaler()

    assert followed(scaler, [(0.0, 900.0), (315.0, 900.0)], ready=4) == [4, 1]


def test_requests_at_the_gateway_are_not_seen_by_a_query_on_engines() -> None:
    scaler = KedaWaiting().autoscaler()

    assert scaler.replicas(view(replica(), gateway_waiting=50.0)) == 1


@pytest.mark.parametrize(
    ("queue", "requested", "ready", "left"),
    [
        (10.0, 4, 4, 10.0),
        (10.0, 8, 4, 8.0),  # 10 less the four that load is 6, but never below what is there
        (20.0, 8, 4, 16.0),
        (3.0, 8, 4, 3.0),  # falling demand lets the loading ones go
    ],
)
def test_the_guard_takes_what_loads_off_the_demand_but_never_below_what_is_there(
    queue: float, requested: int, ready: int, left: float
) -> None:
    assert guarded(queue, view(*[replica()] * ready, requested=requested)) == left


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (view(replica(40.0), replica(40.0)), 5),  # 80 / 16
        (view(replica(16.0, 6.0)), 5),  # a queue of six, and four at most in one step
        (view(replica(16.0), gateway_waiting=4.0), 4),
        (view(replica(30.0, 3.0), requested=4), 4),
    ],
)
def test_the_larger_of_running_requests_and_the_guarded_queue_counts(seen: View, wanted: int) -> None:
    assert KedaEpp().autoscaler().replicas(seen) == wanted
