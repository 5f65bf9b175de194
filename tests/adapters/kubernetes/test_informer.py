"""What an informer promises: it ends up with what the API server has, whatever the server does meanwhile."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from numpy.random import default_rng
from structlog.testing import CapturingLogger

from scaler.adapters.clock import SteadyClock
from scaler.adapters.kubernetes.informer import Informer, Means, watched
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.store import Store
from tests.adapters.kubernetes.conftest import LeapingClock, running, until
from tests.adapters.kubernetes.fake_api import FakeApi, failure, numbered

PODS = path_to("v1", "pods")


def node_of(pod: dict[str, Any], _: str | None) -> str:
    return str(pod.get("spec", {}).get("nodeName", ""))


def informer_of(means: Means) -> Informer[str]:
    return Informer(path=PODS, store=Store(), project=node_of, means=means)


def pod(name: str, node: str = "", namespace: str = "models") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"nodeName": node},
    }


def has(informer: Informer[str], count: int) -> bool:
    return informer.has_synced and len(list(informer.store.values())) == count


async def test_all_pages_are_in_the_store_when_it_has_synced(api: FakeApi, means: Means) -> None:
    for each in numbered(1100):
        await api.put("pods", each)
    informer = informer_of(means)

    async with running(informer.run()):
        await until(lambda: informer.has_synced, "a first list")

        assert has(informer, 1100)


async def test_changes_arrive_by_the_watch_alone(api: FakeApi, means: Means) -> None:
    path = await api.put("pods", pod("a"))
    informer = informer_of(means)
    async with running(informer.run()):
        await until(lambda: api.watches, "a watch")

        await api.put("pods", pod("a", node="n1"))
        await api.put("pods", pod("b"))
        await until(lambda: has(informer, 2), "a second pod")
        assert informer.store.get("models", "a") == "n1"
        await api.remove(path)
        await until(lambda: has(informer, 1), "one pod less")

    assert sum("watch" not in query for _, _, query in api.requests) == 1


async def test_nothing_is_known_before_the_first_list(api: FakeApi, means: Means) -> None:
    api.always = lambda _: failure(503, "starting")
    pods = watched(means, lambda namespace: path_to("v1", "pods", namespace), (), node_of)

    async with running(*(informer.run() for informer in pods.informers)):
        await until(lambda: len(api.requests) > 2, "some attempts")

        assert not pods.has_synced
        assert "not listed yet" in str(pods.lost(means.clock.now_s(), patience_s=60.0))


async def test_a_first_list_that_is_refused_is_logged_once(api: FakeApi, means: Means) -> None:
    api.always = lambda _: failure(403, "pods is forbidden")
    log: Any = CapturingLogger()
    informer = informer_of(replace(means, log=log))

    async with running(informer.run()):
        await until(lambda: len(api.requests) > 2, "some attempts")

    assert [call.kwargs["why"] for call in log.calls] == ["403: pods is forbidden"]


@pytest.mark.parametrize("as_event", [False, True])
async def test_a_410_lists_anew_and_tells_what_is_gone(api: FakeApi, means: Means, as_event: bool) -> None:  # noqa: FBT001
    path = await api.put("pods", pod("a"))
    await api.put("pods", pod("b"))
    informer = informer_of(means)
    async with running(informer.run()):
        await until(lambda: api.watches, "a watch")
        api.gone_as_event = as_event
        api.always = lambda request: web.Response(status=500) if "watch" in request.query else None
        await api.end()
        await until(lambda: informer.lost_since_s is not None, "a lost watch")
        api.ending.clear()
        del api.objects[path]
        api.lose_history()

        api.always = None
        await until(lambda: has(informer, 1), "the deleted pod gone")

    assert informer.store.get("models", "a") is None


async def test_a_list_that_got_too_old_between_pages_begins_anew(api: FakeApi, means: Means) -> None:
    for each in numbered(700):
        await api.put("pods", each)
    api.faults.extend([lambda _: None, lambda _: failure(410, "The provided continue parameter is too old")])
    informer = informer_of(means)

    async with running(informer.run()):
        await until(lambda: has(informer, 700), "all pods")


async def test_a_half_open_connection_is_noticed(api: FakeApi, means: Means) -> None:
    api.silent_watches = True
    informer = informer_of(means)
    async with running(informer.run()):
        await until(lambda: api.watches, "a watch")
        await api.put("pods", pod("a"))

        await until(lambda: api.watches > 1, "a second watch")
        api.silent_watches = False
        await until(lambda: has(informer, 1), "the pod that came while the connection was half open")


@pytest.mark.slow
async def test_bookmarks_alone_keep_a_watch_open(api: FakeApi, means: Means) -> None:
    informer = informer_of(replace(means, quiet_s=1.0))
    api.bookmark_every_s = 0.02
    clock = SteadyClock()
    async with running(informer.run()):
        await until(lambda: api.watches, "a watch")
        opened_s = clock.now_s()

        await until(lambda: clock.now_s() - opened_s > 1.3, "more than the silence that is allowed")

    assert api.watches == 1


async def test_a_watch_goes_on_from_the_version_of_the_last_bookmark(api: FakeApi, means: Means) -> None:
    informer = informer_of(means)
    async with running(informer.run()):
        await until(lambda: api.watches, "a watch")
        api.version += 500
        await until(lambda: informer.version == str(api.version), "a bookmark")
        api.silent_watches = True
        await until(lambda: api.watches > 1, "a second watch")

    versions = [query["resourceVersion"] for _, _, query in api.requests if "watch" in query]
    assert versions[1] == str(api.version)


async def test_a_server_that_closes_at_once_gets_less_than_a_request_a_second(api: FakeApi, means: Means) -> None:
    api.close_watches_at_once = True
    clock = LeapingClock()
    informer = informer_of(replace(means, clock=clock))
    async with running(informer.run()):
        await until(lambda: clock.at_s > 300.0, "five minutes of it")

    assert api.watches < 40


@dataclass
class Diary(LeapingClock):
    """Writes down until when it was waited for."""

    until_s: list[float] = field(default_factory=list)

    async def wait_until(self, at_s: float) -> None:
        self.until_s.append(at_s)
        await super().wait_until(at_s)


async def test_informers_that_lose_the_server_together_do_not_come_back_together(api: FakeApi, means: Means) -> None:
    api.always = lambda _: failure(500, "starting")
    clocks = [Diary() for _ in range(4)]
    for seed, clock in enumerate(clocks):
        informer = informer_of(replace(means, clock=clock, chance=default_rng(seed)))
        async with running(informer.run()):
            await until(lambda clock=clock: len(clock.until_s) >= 8, "eight attempts")  # type: ignore[misc]

    attempts = [at_s for clock in clocks for at_s in clock.until_s[:8]]
    assert len({round(at_s, 3) for at_s in attempts}) == len(attempts)
    assert max(later - at_s for clock in clocks for at_s, later in pairwise(clock.until_s)) <= 30.0


async def test_a_burst_of_500_is_survived(api: FakeApi, means: Means) -> None:
    await api.put("pods", pod("a"))
    api.faults.extend([lambda _: failure(500, "burst")] * 6)
    informer = informer_of(means)

    async with running(informer.run()):
        await until(lambda: has(informer, 1), "the pod")

    assert informer.lost_since_s is None


async def test_an_answer_that_is_no_list_is_asked_for_again(api: FakeApi, means: Means) -> None:
    await api.put("pods", pod("a"))
    api.faults.append(lambda _: web.json_response({"message": "the proxy says hello"}))
    informer = informer_of(means)

    async with running(informer.run()):
        await until(lambda: has(informer, 1), "the pod")


async def test_a_line_that_is_cut_off_costs_nothing(api: FakeApi, means: Means) -> None:
    informer = informer_of(means)
    async with running(informer.run()):
        await until(lambda: api.watches, "a watch")
        api.cut_next_event = True

        await api.put("pods", pod("a", node="n1"))

        await until(lambda: has(informer, 1), "the pod")


async def test_an_event_that_never_came_is_made_up_for_within_half_an_hour(api: FakeApi, means: Means) -> None:
    clock = LeapingClock()
    path = await api.put("pods", pod("a"))
    informer = informer_of(replace(means, clock=clock, quiet_s=0.1))
    async with running(informer.run()):
        await until(lambda: api.watches, "a watch")
        del api.objects[path]
        api.silent_watches = True
        await until(lambda: api.watches > 1, "a watch that began within ten minutes")
        assert has(informer, 1)

        clock.at_s += 1500.0

        await until(lambda: has(informer, 0), "the pod gone")


async def test_one_object_that_cannot_be_read_does_not_take_the_others_along(api: FakeApi, means: Means) -> None:
    await api.put("pods", pod("a"))
    await api.put("pods", {**pod("b"), "spec": "what is this"})
    informer = informer_of(means)

    async with running(informer.run()):
        await until(lambda: informer.has_synced, "a list")

    assert has(informer, 1)


async def test_only_the_named_namespaces_are_asked_for(api: FakeApi, means: Means) -> None:
    for namespace in ("a", "b", "c"):
        await api.put("pods", pod("p", namespace=namespace))
    pods = watched(means, lambda namespace: path_to("v1", "pods", namespace), ("a", "b"), node_of)

    async with running(*(informer.run() for informer in pods.informers)):
        await until(lambda: pods.has_synced, "both namespaces")

    assert {key for key, _ in pods.store.items()} == {("a", "p"), ("b", "p")}
    assert {path for _, path, _ in api.requests} == {"/api/v1/namespaces/a/pods", "/api/v1/namespaces/b/pods"}


async def test_a_lost_api_server_is_said_after_a_while_and_taken_back(api: FakeApi, means: Means) -> None:
    pods = watched(replace(means, quiet_s=0.05), lambda namespace: path_to("v1", "pods", namespace), (), node_of)
    async with running(*(informer.run() for informer in pods.informers)):
        await until(lambda: pods.has_synced, "a list")
        api.silent_watches = True
        api.always = lambda _: failure(503, "away")

        await until(lambda: pods.lost(means.clock.now_s(), patience_s=60.0), "its loss", within_s=10.0)
        assert "503" in str(pods.lost(means.clock.now_s(), patience_s=60.0))
        api.always, api.silent_watches = None, False
        await until(lambda: pods.lost(means.clock.now_s(), patience_s=60.0) is None, "its return")


def test_a_store_is_new_only_when_a_value_is() -> None:
    store: Store[str] = Store()
    store.put(("a", "p"), "n1")
    before = store.revision

    store.put(("a", "p"), "n1")
    store.settle("b", {})

    assert store.revision == before
