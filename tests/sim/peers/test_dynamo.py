"""Dynamo's two loops with the true numbers of Llama-3.1-8B on an H100."""

import pytest

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.peers.dynamo import DynamoLoad, DynamoThroughput, LoadLoop, busy
from scaler.sim.peers.peer import Bounds
from scaler.sim.view import ReplicaView
from tests.sim.peers.views import answers, replica, view

CALM = replica(10.0, finished_per_s=5.0)
LATE = replica(10.0, 30.0, finished_per_s=5.0)  # 31,000 tokens ahead of the next: over 608 ms
FULL = replica(60.0, kv_usage=0.7, finished_per_s=5.0)


def load_loop() -> LoadLoop:
    return DynamoLoad(engine=LLAMA_8B_H100).autoscaler()


def test_the_next_request_waits_for_the_prompts_before_it_and_the_steps_that_take_them() -> None:
    loop = LoadLoop(LLAMA_8B_H100, 0.5, Bounds())
    loop.replicas(view(replica(finished_per_s=1.0)))

    assert loop.predicted(replica(0.0, 10.0), 1.0).ttft_s == pytest.approx((2 * 3.96 + 11_000 * 0.01962) / 1e3)
    assert loop.predicted(replica(100.0), 1.0).itl_s == pytest.approx((6.373 + 100 * 0.0120) / 1e3)
    assert loop.predicted(replica(100.0), 2.0).itl_s == pytest.approx((6.373 + 200 * 0.0120) / 1e3)


@pytest.mark.parametrize(
    ("replicas", "wanted"),
    [
        ([LATE, LATE], 3),
        ([LATE, CALM], 2),  # not all of them
        ([CALM, CALM], 1),
        ([FULL, FULL], 2),  # one cache would not hold both
        ([CALM], 1),
        ([LATE], 2),
    ],
)
def test_it_grows_when_all_are_late_and_shrinks_when_the_rest_would_not_be(
    replicas: list[ReplicaView], wanted: int
) -> None:
    assert load_loop().replicas(view(*replicas)) == wanted


def test_it_asks_what_the_rest_would_see_with_the_load_of_the_one_that_goes() -> None:
    # 15 waiting are 318 ms; with twice as many 620 ms, more than four fifths of the target.
    queued = replica(0.0, 15.0, finished_per_s=5.0)

    assert load_loop().replicas(view(queued, queued)) == 2
    assert load_loop().replicas(view(*[queued] * 6)) == 5  # 18 waiting: 385 ms


def test_it_waits_while_anything_starts_or_is_not_seen() -> None:
    assert load_loop().replicas(view(LATE, LATE, requested=3)) == 3
    assert load_loop().replicas(view(requested=2)) == 2


def test_both_loops_hold_until_a_request_has_finished() -> None:
    both = DynamoThroughput(engine=LLAMA_8B_H100)

    assert load_loop().replicas(view(*[replica(10.0)] * 3)) == 3
    assert answers(both.autoscaler(), [view(*[replica(10.0)] * 3, at_s=at_s) for at_s in (0.0, 15.0)]) == [3, 3]


def test_the_throughput_loop_counts_replicas_by_arrivals() -> None:
    # 1000 in and 200 out: 19.6 ms and 200 * (6.373 / 256 + 0.012 + 0.04087 * 1.1) = 36.0 ms.
    one = replica(finished_per_s=20.0)

    assert busy(view(one, one), LLAMA_8B_H100, 0.0) == pytest.approx(40.0 * 0.0360, rel=0.01)
    assert busy(view(one, one), LLAMA_8B_H100, 10.0) == pytest.approx(50.0 * 0.0360, rel=0.01)
    assert busy(view(replica()), LLAMA_8B_H100, 0.0) == 0.0


def test_the_floor_is_computed_every_three_minutes_and_the_load_loop_stays_above_it() -> None:
    scaler = DynamoThroughput(threshold=0.5, engine=LLAMA_8B_H100).autoscaler()
    much, little = replica(finished_per_s=40.0), replica(finished_per_s=5.0)
    views = [
        view(much, at_s=0.0),  # 1.44 / 0.5
        view(*[little] * 3, at_s=15.0),
        view(*[little] * 3, at_s=165.0),
        view(*[little] * 3, at_s=180.0),  # 0.54 / 0.5; the load loop takes one
    ]

    assert answers(scaler, views) == [3, 3, 3, 2]


def test_the_floor_sees_that_more_come_than_go() -> None:
    scaler = DynamoThroughput(engine=LLAMA_8B_H100).autoscaler()
    views = [
        view(replica(20.0, finished_per_s=20.0), at_s=120.0),
        view(replica(20.0, finished_per_s=20.0), at_s=240.0),
        view(replica(256.0, 2764.0, finished_per_s=20.0), at_s=300.0),  # 3000 more in a minute: 70 a second, 2.5
    ]

    assert answers(scaler, views) == [1, 1, 3]
