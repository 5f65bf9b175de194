"""WVA V2 by hand: 100,000 tokens of cache, so 80,000 may be used; 256 sequences; 8192 tokens a step."""

from dataclasses import replace

import pytest

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.peers.wva import Lengths, Wva, derived
from scaler.sim.view import View
from tests.sim.peers.views import replica, view

ENGINE = replace(LLAMA_8B_H100, kv_tokens=100_000)


def asked(seen: View, threshold: float = 0.85) -> int:
    """After the five minutes in which the HPA keeps what it finds."""
    scaler = Wva(threshold=threshold, engine=ENGINE).autoscaler()
    scaler.replicas(replace(seen, at_s=-400.0, requested=1))
    return scaler.replicas(seen)


@pytest.mark.parametrize(
    ("usage", "ready", "requested", "wanted"),
    [
        (0.60, 4, 4, 4),  # 240,000 tokens are 3 replicas' worth: 3 / 0.85 = 3.5, and 3 / 0.7 = 4.3
        (0.68, 4, 4, 4),  # 3.4 / 0.85 = 4 exactly
        (0.70, 4, 4, 5),  # 3.5 / 0.85 = 4.1
        (0.70, 4, 5, 5),  # the one that loads counts
        (0.95, 4, 5, 6),  # 4.75 / 0.85 = 5.6
        (0.40, 4, 4, 3),  # 2 / 0.7 = 2.9, so one may go
        (0.30, 4, 6, 5),  # 1.5 / 0.7 = 2.1: only of the ready ones is anything spare, and of these one
        (0.00, 4, 4, 1),
    ],
)
def test_tokens_in_use_against_what_the_cache_may_hold(usage: float, ready: int, requested: int, wanted: int) -> None:
    assert asked(view(*[replica(kv_usage=usage)] * ready, requested=requested)) == wanted


def test_queued_requests_count_with_all_their_tokens() -> None:
    busy = replica(kv_usage=0.60, waiting=4.0, finished_per_s=10.0, lengths=(5000.0, 1000.0))

    # 2 * (60,000 + 4 * 6000) + 2 * 6000 at the gateway = 180,000, or 2.25 replicas: 2.6 of them.
    assert asked(view(busy, busy, gateway_waiting=2.0)) == 3


def test_a_replica_with_a_long_queue_shows_what_it_can_do() -> None:
    stuck = replica(kv_usage=0.20, waiting=5.0, finished_per_s=10.0)

    # 20,000 + 5 * 1200 tokens against 20,000: 1.3 replicas, 1.5 of them.
    assert asked(view(stuck)) == 2


def test_what_a_replica_did_under_a_queue_is_remembered() -> None:
    scaler = Wva(engine=ENGINE).autoscaler()
    scaler.replicas(view(replica(kv_usage=0.20, waiting=5.0, finished_per_s=10.0)))

    assert scaler.replicas(view(replica(kv_usage=0.40, finished_per_s=10.0), at_s=15.0)) == 3  # 2 / 0.85


def test_a_lower_threshold_keeps_more() -> None:
    busy = view(*[replica(kv_usage=0.60)] * 4)

    assert asked(busy, threshold=0.5) == 6  # 3 / 0.5


def test_limits_alone_give_a_capacity_where_no_queue_was_seen() -> None:
    assert derived(ENGINE, Lengths(prompt=1000.0, output=200.0)) == 256 * 1100
    assert derived(ENGINE, Lengths(prompt=8000.0, output=80.0)) == pytest.approx(8192 * 80 / 8080 * 8040)


def test_without_reports_it_holds() -> None:
    assert Wva(engine=ENGINE).autoscaler().replicas(view(requested=3)) == 3
