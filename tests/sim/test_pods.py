"""Pods: who goes first, what a crash does to a start that is under way, and what is told of their engines."""

from dataclasses import replace

import numpy as np
import pytest

from scaler.core.model import Load, Missing, Work
from scaler.sim.nodes import Node
from scaler.sim.plant import Reading
from scaler.sim.pods import Pod, Scrape, first_to_go
from scaler.sim.state import BUCKETS
from tests.builders import NAME, key
from tests.sim.clusters import cluster, phases, replicas, service, target
from tests.sim.traffic import trace_of

NODE = Node(name="h100-0", node_class="H100", gpus=8, free_gpus=8)
STEADY = trace_of([(0.1 * place, 500, 100) for place in range(4000)])
SILENT = Reading(
    running=0,
    waiting=0,
    kv_usage=0.0,
    prompt_tokens=0,
    generation_tokens=0,
    finished=0,
    steps=0,
    busy_s=0.0,
    token_s=0.0,
    ttft=(0,) * BUCKETS,
)


def pod(name: str, *, ordinal: int = 0, node: Node | None = NODE, is_ready: bool = True) -> Pod:
    return Pod(name=name, key=key(), ordinal=ordinal, created_at_s=0.0, node=node, is_ready=is_ready)


def test_a_scale_down_takes_those_first_that_cost_least() -> None:
    work = {"unplaced": 0, "loading": 0, "idle": 0, "youngest": 7, "elder": 7, "busy": 9}
    pods = [
        pod("busy", ordinal=1),
        pod("elder", ordinal=2),
        pod("youngest", ordinal=5),
        pod("idle", ordinal=6),
        pod("loading", ordinal=3, is_ready=False),
        pod("unplaced", ordinal=4, node=None, is_ready=False),
    ]

    order = sorted(pods, key=lambda each: first_to_go(each, work[each.name]))

    assert [each.name for each in order] == ["unplaced", "loading", "idle", "youngest", "elder", "busy"]


def test_a_replica_that_crashes_while_it_loads_is_not_ready_when_it_would_have_been() -> None:
    untroubled, troubled = (cluster(service(target(replicas=0))) for _ in range(2))
    for model in (untroubled, troubled):
        model.set_replicas(NAME, key(), 1)
        model.advance(50.0)
    troubled.crash(NAME, replicas(troubled)[0].name)

    untroubled.advance(300.0)
    first_due_at_s = replicas(untroubled)[0].ready_at_s
    assert first_due_at_s is not None
    troubled.advance(first_due_at_s + 1.0)

    assert phases(untroubled) == ["READY"]
    assert phases(troubled) == ["LOADING"]


def test_the_ttft_is_told_when_a_whole_minute_has_been_scraped() -> None:
    model = cluster(service(target(), trace=STEADY))

    model.advance(59.0)
    assert model.observation(NAME).ttft_s == Missing(why="first tokens have not been scraped for a minute yet")
    model.advance(61.0)
    assert isinstance(model.observation(NAME).ttft_s, float)


def test_what_runs_is_told_as_the_mean_of_a_minute_and_what_waits_as_it_was_scraped() -> None:
    pod = Pod(name="a", key=key(), ordinal=0, created_at_s=0.0)

    for at_s, running, waiting in ((0.0, 100, 9), (15.0, 10, 0), (30.0, 20, 0), (60.0, 30, 4)):
        pod.tell(Scrape(at_s=at_s, reading=replace(SILENT, running=running, waiting=waiting, kv_usage=running / 100.0)))

    assert isinstance(pod.load, Load)
    assert (pod.load.at_s, pod.load.running, pod.load.waiting) == (60.0, 20.0, 4.0)
    assert pod.load.kv_usage == pytest.approx(0.2)


def test_work_is_told_by_the_second_over_the_last_minute() -> None:
    model = cluster(service(target(), trace=STEADY))
    model.advance(300.0)

    load = replicas(model)[0].load

    outcomes = model.outcomes(NAME)
    ended = (outcomes.finish_s > 255.0) & (outcomes.finish_s <= 300.0)
    between_s = np.mean((outcomes.finish_s - STEADY.arrival_s - outcomes.ttft_s)[ended]) / 99.0
    assert isinstance(load, Load)
    assert isinstance(load.work, Work)
    assert load.work.prefill_tokens_per_s == pytest.approx(5000.0, rel=0.01)
    assert load.work.decode_tokens_per_s == pytest.approx(1000.0, rel=0.01)
    assert load.work.finished_per_s == pytest.approx(10.0, rel=0.01)
    assert load.work.inter_token_latency_s == pytest.approx(between_s, rel=0.01)


def test_a_pod_that_was_scraped_once_has_a_load_and_no_work_yet() -> None:
    model = cluster(service(target(), trace=STEADY))
    model.advance(14.0)

    load = replicas(model)[0].load

    assert isinstance(load, Load)
    assert load.work == Missing(why="its engine was scraped only once in the last minute")


def test_without_tokens_there_is_no_time_between_them() -> None:
    model = cluster()
    model.advance(100.0)

    load = replicas(model)[0].load

    assert isinstance(load, Load)
    assert load.work == Work(
        prefill_tokens_per_s=0.0, decode_tokens_per_s=0.0, finished_per_s=0.0, inter_token_latency_s=None
    )
