"""Replicas of a simulated cluster: how they start and go, GPUs that run out, and pods and nodes that are lost."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.core.model import Phase, Replica
from scaler.sim.cluster import Cluster
from scaler.sim.latency import QWEN_32B_H100
from scaler.sim.loadtime import LoadTimes, Start, drawn, word
from scaler.sim.state import Fate
from scaler.sim.trace import shipped
from tests.builders import NAME, key
from tests.sim.clusters import cluster, fleet, phases, pool, replicas, service, target
from tests.sim.traffic import STEADY, trace_of

BUSY = shipped()


def marks(replica: Replica) -> list[float]:
    named = (
        replica.created_at_s,
        replica.scheduled_at_s,
        replica.pulled_at_s,
        replica.initialised_at_s,
        replica.ready_at_s,
    )
    return [mark for mark in named if mark is not None]


# --- Starting --------------------------------------------------------------------------------------------------------


def test_a_replica_passes_its_phases_in_order() -> None:
    model = cluster(service(target(replicas=0, pull_s=60.0)), pools=(pool(has_images=False),))
    model.set_replicas(NAME, key(), 1)
    seen = []
    for at_s in range(300):
        model.advance(float(at_s))
        seen.append(phases(model)[0])

    assert list(dict.fromkeys(seen)) == ["PULLING", "INITIALISING", "LOADING", "READY"]
    assert marks(replicas(model)[0]) == sorted(marks(replicas(model)[0]))
    assert len(marks(replicas(model)[0])) == 5


def test_no_mark_is_seen_before_its_time() -> None:
    model = cluster(service(target(replicas=0)))
    model.set_replicas(NAME, key(), 1)

    for at_s in range(0, 200, 5):
        model.advance(float(at_s))
        assert all(mark <= at_s for mark in marks(replicas(model)[0]))


def test_the_image_is_pulled_once_on_a_node() -> None:
    model = cluster(service(target(replicas=0, pull_s=60.0)), pools=(pool(nodes=1, has_images=False),))
    model.set_replicas(NAME, key(), 1)
    model.advance(400.0)
    model.set_replicas(NAME, key(), 2)
    model.advance(800.0)

    pulls_s = [
        replica.pulled_at_s - replica.scheduled_at_s
        for replica in replicas(model)
        if replica.pulled_at_s is not None and replica.scheduled_at_s is not None
    ]

    assert pulls_s[0] == pytest.approx(60.0, rel=0.5)
    assert pulls_s[1] == 0.0


def test_load_times_have_the_median_and_the_slow_tail_that_were_asked_for() -> None:
    times = LoadTimes(median_s=100.0)
    starts = [drawn(times, has_image=True, factor=1.0, stream=(1, 2, n, 0)) for n in range(4000)]

    totals_s = np.array([start.initialising_s + start.loading_s for start in starts])

    assert np.median(totals_s) == pytest.approx(101.0, rel=0.02)
    assert np.mean(totals_s > 160.0) == pytest.approx(0.05, abs=0.01)


def test_a_stream_gives_the_same_start_on_every_machine() -> None:
    times = LoadTimes(median_s=100.0, pull_s=60.0)

    starts = [drawn(times, has_image=False, factor=1.0, stream=(1, word("models/llama v1"), n, 0)) for n in range(2)]

    assert starts == [
        Start(pulling_s=52.047, initialising_s=27.98, loading_s=83.939),
        Start(pulling_s=53.77, initialising_s=20.373, loading_s=61.119),
    ]


def test_another_seed_gives_another_run() -> None:
    def ready_at_s(seed: int) -> float | None:
        model = cluster(service(target(replicas=0)), seed=seed)
        model.set_replicas(NAME, key(), 1)
        model.advance(500.0)
        return replicas(model)[0].ready_at_s

    assert ready_at_s(1) == ready_at_s(1) != ready_at_s(2)


def test_the_nth_pod_starts_the_same_whatever_was_done_before() -> None:
    def third(steps: list[tuple[float, int]]) -> float:
        model = cluster(service(target(replicas=0)))
        for at_s, wanted in steps:
            model.advance(at_s)
            model.set_replicas(NAME, key(), wanted)
        model.advance(2000.0)
        replica = next(replica for replica in replicas(model) if replica.name.endswith("-2"))
        assert replica.ready_at_s is not None
        return round(replica.ready_at_s - replica.created_at_s, 6)

    assert third([(0.0, 3)]) == third([(10.0, 1), (40.0, 2), (700.0, 3)]) == third([(5.0, 2), (9.0, 8)])


def test_a_replica_without_a_gpu_waits_and_says_since_when() -> None:
    model = cluster(service(target(replicas=2)), pools=(pool(nodes=1, gpus=2),))
    model.advance(50.0)
    model.set_replicas(NAME, key(), 3)
    model.advance(400.0)

    assert phases(model) == ["READY", "READY", "WAITING"]
    assert replicas(model)[2].unschedulable_since_s == 50.0
    assert replicas(model)[2].node_class is None


@pytest.mark.parametrize(
    "make_room",
    [
        lambda model: model.add_nodes(pool(nodes=1)),
        lambda model: model.set_replicas("models/other", key(), 0),
    ],
)
def test_room_is_taken_by_whoever_waits_for_it(make_room: Callable[[Cluster], None]) -> None:
    other = service(target(), name="models/other")
    model = cluster(service(target(replicas=1)), other, pools=(pool(nodes=1, gpus=2),))
    model.set_replicas(NAME, key(), 2)
    model.advance(30.0)

    make_room(model)
    model.advance(500.0)

    assert phases(model) == ["READY", "READY"]
    assert replicas(model)[1].scheduled_at_s == 30.0
    assert replicas(model)[1].unschedulable_since_s is None


def test_a_replica_needs_all_its_gpus_on_one_node() -> None:
    model = cluster(service(target(replicas=3, engine=QWEN_32B_H100)), pools=(pool(nodes=3, gpus=3),))
    model.advance(10.0)
    model.set_replicas(NAME, key(), 4)
    model.advance(500.0)

    assert phases(model) == ["READY", "READY", "READY", "WAITING"]
    assert fleet(model).gpus_per_replica == 2


def test_loading_can_become_slower_from_a_time_on() -> None:
    def took_s(factor: float) -> float:
        model = cluster(service(target(replicas=0)))
        model.slow_loading(from_s=100.0, factor=factor)
        model.advance(100.0)
        model.set_replicas(NAME, key(), 1)
        model.advance(1000.0)
        ready_at_s = replicas(model)[0].ready_at_s
        assert ready_at_s is not None
        return ready_at_s - 100.0

    assert took_s(3.0) == pytest.approx(3.0 * took_s(1.0), abs=0.01)


def test_what_starts_on_a_slow_pool_takes_its_factor_longer_than_elsewhere() -> None:
    def took_s(load_factor: float) -> float:
        model = cluster(service(target(replicas=0)), pools=(pool(load_factor=load_factor),))
        model.set_replicas(NAME, key(), 1)
        model.advance(1000.0)
        ready_at_s = replicas(model)[0].ready_at_s
        assert ready_at_s is not None
        return ready_at_s

    assert took_s(2.0) == pytest.approx(2.0 * took_s(1.0), abs=0.01)


# --- Going -----------------------------------------------------------------------------------------------------------


def test_those_without_a_node_go_first_then_those_not_ready_then_the_least_busy() -> None:
    model = cluster(service(target(replicas=2), trace=STEADY), pools=(pool(nodes=1, gpus=3),))
    model.advance(20.0)
    model.set_replicas(NAME, key(), 4)
    model.advance(25.0)

    names = []
    for wanted in (3, 2, 1):
        before = {replica.name for replica in replicas(model)}
        model.set_replicas(NAME, key(), wanted)
        gone = {replica.name for replica in replicas(model) if replica.deleted_at_s is None}
        names.append(next(iter(before - gone)))

    assert names[:2] == ["llama-v1-3", "llama-v1-2"]
    assert names[2] in {"llama-v1-0", "llama-v1-1"}


def test_a_replica_that_goes_finishes_its_requests_first() -> None:
    model = cluster(service(target(replicas=2), trace=STEADY))
    model.advance(30.0)
    model.set_replicas(NAME, key(), 1)
    assert sorted(phases(model)) == ["DRAINING", "READY"]

    model.advance(60.0)

    assert phases(model) == ["READY"]
    assert model.tally(NAME).fates[Fate.FAILED] == 0


def test_what_has_not_finished_within_the_grace_fails() -> None:
    endless = trace_of([(0.0, 100, 100_000), (0.0, 100, 100_000)])
    model = cluster(service(target(replicas=2), trace=endless, grace_s=30.0))
    model.advance(10.5)
    model.set_replicas(NAME, key(), 1)

    model.advance(40.0)
    assert "DRAINING" in phases(model)
    model.advance(41.0)

    assert phases(model) == ["READY"]
    assert model.tally(NAME).fates[Fate.FAILED] == 1


@pytest.mark.parametrize("tokens", [230, 300])  # 1.5 s of work, and 1.9 s
def test_a_drain_ends_on_the_next_second_whoever_looks_when(tokens: int) -> None:
    def gone_at_s(steps: int) -> float:
        model = cluster(service(target(), trace=trace_of([(0.0, 100, tokens)])))
        model.advance(1.0)
        model.set_replicas(NAME, key(), 0)
        for step in range(1, steps + 1):
            model.advance(1.0 + 4.0 * step / steps)
        return model.tally(NAME).replica_s

    assert gone_at_s(1) == gone_at_s(40) == 2.0


def test_gpus_of_a_draining_replica_are_free_only_when_it_is_gone() -> None:
    endless = trace_of([(0.0, 100, 100_000)])
    model = cluster(service(target(), trace=endless, grace_s=30.0), pools=(pool(nodes=1, gpus=1),))
    model.advance(10.0)
    model.set_replicas(NAME, key(), 0)
    model.set_replicas(NAME, key(), 1)
    model.advance(39.0)
    assert phases(model) == ["DRAINING", "WAITING"]

    model.advance(41.0)

    assert replicas(model)[0].scheduled_at_s == 40.0


def test_replica_time_counts_from_creation_to_the_end_of_drain() -> None:
    endless = trace_of([(0.0, 100, 100_000)])
    model = cluster(service(target(engine=QWEN_32B_H100), trace=endless, grace_s=30.0))
    model.advance(100.0)
    model.set_replicas(NAME, key(), 0)
    model.advance(1000.0)

    assert model.tally(NAME).replica_s == 130.0
    assert model.tally(NAME).gpu_s == 260.0


# --- Faults ----------------------------------------------------------------------------------------------------------


def test_a_crash_fails_requests_and_the_replica_is_lost_until_it_has_loaded_again() -> None:
    model = cluster(service(target(replicas=2), trace=STEADY))
    model.advance(60.0)
    name = replicas(model)[0].name

    model.crash(NAME, name)

    assert replicas(model)[0].phase is Phase.LOST
    assert replicas(model)[0].restarts == 1
    assert model.tally(NAME).fates[Fate.FAILED] > 0
    model.advance(500.0)
    assert phases(model) == ["READY", "READY"]
    assert replicas(model)[0].ready_at_s == 0.0


def test_a_crashed_pod_says_since_when_it_is_not_ready() -> None:
    model = cluster(service(target("v1")))
    model.advance(100.0)

    model.crash(NAME, replicas(model)[0].name)

    assert replicas(model)[0].phase is Phase.LOST
    assert replicas(model)[0].unready_since_s == 100.0


def test_a_node_that_goes_takes_its_replicas_and_they_are_made_anew_elsewhere() -> None:
    model = cluster(service(target(replicas=2), trace=STEADY), pools=(pool(nodes=2, gpus=2),))
    model.advance(60.0)

    model.remove_node("h100-0")

    assert phases(model) == ["INITIALISING", "INITIALISING"]
    model.advance(400.0)
    assert phases(model) == ["READY", "READY"]
    assert sum(node.free_gpus for node in model.nodes) == 0


def test_a_node_that_comes_never_has_the_name_of_another() -> None:
    model = cluster(pools=(pool(nodes=2),))

    model.remove_node("h100-0")
    model.add_nodes(pool(nodes=1))

    assert [node.name for node in model.nodes] == ["h100-1", "h100-2"]


# --- Whatever is done ------------------------------------------------------------------------------------------------

Deed = tuple[int, str, int]
deeds = st.lists(
    st.tuples(st.integers(1, 600), st.sampled_from(["scale", "crash", "lose", "gain", "other"]), st.integers(0, 9)),
    max_size=12,
).map(sorted)


def do(model: Cluster, deed: str, number: int) -> None:
    with_a_node = [replica.name for replica in replicas(model) if replica.scheduled_at_s is not None]
    match deed:
        case "scale":
            model.set_replicas(NAME, key(), number)
        case "other":
            model.set_replicas("models/other", key(), number)
        case "crash" if with_a_node:
            model.crash(NAME, with_a_node[number % len(with_a_node)])
        case "lose" if model.nodes:
            model.remove_node(model.nodes[number % len(model.nodes)].name)
        case "gain":
            model.add_nodes(pool(nodes=1, gpus=2, has_images=False))
        case _:
            pass


def lived(story: list[Deed], cuts_s: list[float]) -> Cluster:
    one = service(target(replicas=2, load_s=45.0, pull_s=30.0), trace=BUSY, grace_s=20.0)
    other = service(target(replicas=1, load_s=45.0, engine=QWEN_32B_H100), name="models/other")
    model = cluster(one, other, pools=(pool(nodes=2, gpus=3),))
    for at_s, deed, number in sorted([*story, *((cut_s, "", 0) for cut_s in cuts_s)], key=lambda entry: entry[0]):
        model.advance(float(at_s))
        do(model, deed, number)
        check_gpus(model)
    model.advance(700.0)
    check_gpus(model)
    return model


def check_gpus(model: Cluster) -> None:
    held = sum(
        fleet(model, name=name).gpus_per_replica * sum(r.scheduled_at_s is not None for r in replicas(model, name=name))
        for name in (NAME, "models/other")
    )
    assert all(0 <= node.free_gpus <= node.gpus for node in model.nodes)
    assert held == sum(node.gpus - node.free_gpus for node in model.nodes)


@given(story=deeds, cuts_s=st.lists(st.integers(1, 7000).map(lambda tenths: tenths / 10), max_size=12))
@settings(deadline=None, max_examples=40)
def test_gpus_are_never_given_twice_and_cuts_in_time_change_nothing(story: list[Deed], cuts_s: list[float]) -> None:
    """Kills a node that gives out what it has not, and a drain whose end is seen when somebody happens to look."""
    whole, cut = lived(story, []), lived(story, cuts_s)

    assert whole.observation(NAME) == cut.observation(NAME)
    assert whole.tally(NAME) == cut.tally(NAME)
    assert whole.outcomes(NAME).finish_s.tobytes() == cut.outcomes(NAME).finish_s.tobytes()


@given(story=deeds)
@settings(deadline=None, max_examples=25)
def test_every_request_that_came_is_in_exactly_one_place(story: list[Deed]) -> None:
    """Kills a crash that forgets its requests."""
    model = lived(story, [])

    fates = model.tally(NAME).fates
    arrived = int(np.count_nonzero(BUSY.arrival_s <= 700.0))
    assert sum(fates.values()) - fates[Fate.AHEAD] == arrived
    assert fates[Fate.FINISHED] == np.count_nonzero(~np.isnan(model.outcomes(NAME).finish_s))
