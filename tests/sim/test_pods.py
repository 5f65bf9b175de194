"""Pods: who goes first, and what a crash does to a start that is under way."""

from scaler.core.model import Missing
from scaler.sim.nodes import Node
from scaler.sim.pods import Pod, first_to_go
from tests.builders import NAME, key
from tests.sim.clusters import cluster, phases, replicas, service, target
from tests.sim.traffic import trace_of

NODE = Node(name="h100-0", node_class="H100", gpus=8, free_gpus=8)
STEADY = trace_of([(0.1 * place, 500, 100) for place in range(1000)])


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


def test_a_drain_that_ends_between_seconds_is_seen_on_the_next_one() -> None:
    def gone_at_s(steps: int) -> float:
        model = cluster(service(target(), trace=trace_of([(0.0, 100, 230)])))  # 1.5 s of work
        model.advance(1.0)
        model.set_replicas(NAME, key(), 0)
        for step in range(1, steps + 1):
            model.advance(1.0 + 4.0 * step / steps)
        return model.tally(NAME).replica_s

    assert gone_at_s(1) == gone_at_s(40) == 2.0
