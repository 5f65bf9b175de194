"""What holds for every peer."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.peers import Bounds, Peer, peers
from scaler.sim.peers.static import Static
from tests.sim.peers.views import answers, replica, view

BOUNDS = Bounds(least=1, most=9)
ALL = peers(LLAMA_8B_H100, BOUNDS)
loads = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 4), st.floats(0.0, 256.0), st.floats(0.0, 900.0)), max_size=25
)


def test_names_are_unique_and_thresholds_as_documented() -> None:
    assert {peer.name: peer.threshold for peer in ALL} == {
        "hpa-running": 16.0,
        "keda-waiting": 5.0,
        "keda-epp": 16.0,
        "knative": 100.0,
        "wva-v2": 0.85,
        "dynamo-load": 0.5,
        "dynamo-throughput": 1.0,
        "ray-serve": 2.0,
        "static": 1.0,
    }


@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
def test_the_sweep_rises_and_holds_the_documented_threshold(peer: Peer) -> None:
    assert list(peer.sweep) == sorted(set(peer.sweep))
    assert peer.threshold in peer.sweep


@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
@given(loads=loads)
@settings(max_examples=40, deadline=None)
def test_whatever_is_seen_the_answer_is_what_there_is_or_within_bounds(
    peer: Peer, loads: list[tuple[int, int, float, float]]
) -> None:
    """Kills: a division by what may be 0, an answer from a service without replicas, a bound left out."""
    scaler = peer.autoscaler()
    for tick, (ready, starting, running, waiting) in enumerate(loads):
        busy = replica(running, waiting, kv_usage=running / 256.0, finished_per_s=running / 10.0)
        seen = view(*[busy] * ready, requested=ready + starting, at_s=15.0 * tick, gateway_waiting=waiting)
        asked = scaler.replicas(seen)

        assert asked == seen.requested or BOUNDS.least <= asked <= BOUNDS.most


@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
def test_the_same_views_give_the_same_answers_from_a_new_one(peer: Peer) -> None:
    views = [view(*[replica(20.0 * tick, 5.0 * tick, kv_usage=0.1 * tick)] * 3, at_s=15.0 * tick) for tick in range(9)]

    assert answers(peer.autoscaler(), views) == answers(peer.autoscaler(), views)


@pytest.mark.parametrize("peer", [peer for peer in ALL if peer.name != "static"], ids=lambda peer: peer.name)
def test_a_lower_threshold_never_asks_for_less(peer: Peer) -> None:
    busy = view(*[replica(40.0, 20.0, kv_usage=0.5, finished_per_s=10.0)] * 2)
    asked = [replace(peer, threshold=threshold).autoscaler().replicas(busy) for threshold in peer.sweep]

    assert asked == sorted(asked, reverse=True)


def test_a_static_number_is_the_number_whatever_happens() -> None:
    scaler = Static(threshold=4.0).autoscaler()

    assert answers(scaler, [view(), view(replica(900.0, 900.0))]) == [4, 4]
