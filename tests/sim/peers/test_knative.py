"""Knative's two windows: (time, ready, in flight now, in the minute) to a count."""

import pytest

from scaler.sim.peers.knative import Knative, KnativeScaler, limited
from tests.sim.peers.views import followed, replica, view


def calm(ready: int = 4) -> KnativeScaler:
    """One past the panic that it begins in, with a target of 7 of 10."""
    scaler = Knative(threshold=10.0).autoscaler()
    for at_s in (-100.0, -30.0):
        scaler.replicas(view(*[replica(7.0)] * ready, at_s=at_s))
    return scaler


@pytest.mark.parametrize(
    ("ready", "now", "minute", "wanted"),
    [
        (4, 7.0, 7.0, 4),
        (4, 10.0, 7.0, 4),  # what is wanted now, 6, is no panic: the minute counts
        (4, 7.0, 10.0, 6),  # 40 / 7
        (4, 12.25, 7.0, 4),  # 7 of 4
        (4, 12.3, 7.0, 8),  # 49.2 / 7 makes 8, twice what is ready
        (4, 0.0, 0.0, 2),  # by half at most
        (1, 140.0, 7.0, 20),
    ],
)
def test_the_minute_counts_unless_the_moment_wants_twice_what_is_ready(
    ready: int, now: float, minute: float, wanted: int
) -> None:
    seen = view(*[replica(now, mean_running=minute)] * ready)

    assert calm(ready).replicas(seen) == wanted


def test_waiting_requests_and_those_at_the_gateway_are_in_flight() -> None:
    seen = view(*[replica(7.0, 3.0)] * 4, gateway_waiting=9.0)

    assert calm().replicas(seen) == 7  # 49 / 7


def test_panic_keeps_the_most_it_wanted_until_a_minute_has_been_calm() -> None:
    loads = [(0.0, 56.0), (15.0, 70.0), (30.0, 7.0), (60.0, 7.0), (75.0, 7.0), (76.0, 7.0), (91.0, 7.0)]

    assert followed(calm(), loads, ready=4) == [8, 10, 10, 10, 10, 5, 2]


def test_a_restart_begins_in_panic_at_what_is_ready() -> None:
    scaler = Knative(threshold=10.0).autoscaler()

    assert followed(scaler, [(0.0, 7.0), (60.0, 7.0), (61.0, 7.0)], ready=7) == [7, 7, 3]


def test_without_reports_it_has_no_opinion() -> None:
    assert calm().replicas(view(requested=3)) == 3


def test_its_default_aims_at_seventy_requests_a_replica() -> None:
    scaler = Knative().autoscaler()
    scaler.replicas(view(replica(1.0), at_s=-100.0))

    assert scaler.replicas(view(replica(141.0))) == 3


def test_it_never_goes_beyond_half_or_a_thousand_times_what_is_ready() -> None:
    assert limited(0, 5) == 2
    assert limited(9_999, 5) == 5_000
