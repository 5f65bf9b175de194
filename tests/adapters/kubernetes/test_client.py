"""What the client promises: one budget, one deadline, few exceptions, and no write that may not be made."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from scaler.adapters.clock import SteadyClock
from scaler.adapters.kubernetes.client import Patch, WatchEvent
from scaler.adapters.kubernetes.errors import (
    AccessError,
    BusyError,
    ConflictError,
    GoneError,
    NotFoundError,
    NotLeadingError,
    RefusedError,
)
from scaler.adapters.kubernetes.paths import path_to, resource_of
from scaler.adapters.kubernetes.transport import from_kubeconfig
from scaler.runtime.ports import TransientError
from tests.adapters.kubernetes.conftest import Caller, LeapingClock, calling
from tests.adapters.kubernetes.fake_api import FakeApi, failure, numbered, write_kubeconfig

PODS = path_to("v1", "pods", "models")
POD = path_to("v1", "pods", "models", "p0000")


async def test_an_object_is_read_with_the_kubeconfigs_token(api: FakeApi, caller: Caller) -> None:
    seen: list[str | None] = []

    def look(request: web.Request) -> None:
        seen.append(request.headers.get("Authorization"))

    api.always = look
    await api.put("pods", next(numbered(1)))

    pod = await caller.client.get(POD)

    assert pod["metadata"]["name"] == "p0000"
    assert seen == ["Bearer a-token"]


async def test_a_list_comes_in_pages_of_500(api: FakeApi, caller: Caller) -> None:
    for pod in numbered(1203):
        await api.put("pods", pod)

    sizes = [len(page["items"]) async for page in caller.client.pages(PODS)]

    assert sizes == [500, 500, 203]


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFoundError), (409, ConflictError), (410, GoneError), (403, RefusedError), (422, RefusedError),
     (500, TransientError), (503, TransientError), (401, TransientError), (429, BusyError)],
)  # fmt: skip
async def test_each_refusal_is_one_exception_of_ours(
    api: FakeApi, caller: Caller, status: int, error: type[Exception]
) -> None:
    api.faults.append(lambda _: failure(status, "the reason why", retry_after="0"))

    with pytest.raises(error, match="the reason why"):
        await caller.client.get(POD)


async def test_a_page_that_is_no_status_object_is_quoted(api: FakeApi, caller: Caller) -> None:
    api.faults.append(lambda _: web.Response(status=502, text="<html>Bad Gateway</html>"))

    with pytest.raises(TransientError, match="Bad Gateway"):
        await caller.client.get(POD)


async def test_retry_after_keeps_every_request_away(api: FakeApi, server: str, tmp_path: Path) -> None:
    clock = LeapingClock()
    await api.put("pods", next(numbered(1)))
    async with calling(server, tmp_path, clock) as caller:
        api.faults.append(lambda _: failure(429, "too many requests", retry_after="20"))
        with pytest.raises(BusyError):
            await caller.client.get(POD)
        refused_s = clock.now_s()

        await caller.client.get(POD)

    assert clock.now_s() - refused_s >= 20.0


async def test_a_truncated_answer_is_transient(api: FakeApi, caller: Caller) -> None:
    api.faults.append(lambda _: web.Response(text='{"kind": "Pod", "meta', content_type="application/json"))

    with pytest.raises(TransientError, match="no whole JSON"):
        await caller.client.get(POD)


async def test_no_answer_in_time_is_transient(api: FakeApi, caller: Caller) -> None:
    api.is_hanging = True

    with pytest.raises(TransientError, match="did not answer in time"):
        await caller.hasty(0.05).get(POD)


async def test_nobody_at_the_address_is_transient(tmp_path: Path) -> None:
    async with calling("http://127.0.0.1:1", tmp_path) as caller:
        with pytest.raises(TransientError, match="cannot be reached"):
            await caller.client.get(POD)


async def test_a_kubeconfig_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="cannot be used"):
        await from_kubeconfig(tmp_path / "none").connect()


async def test_a_refused_token_is_read_anew(api: FakeApi, server: str, tmp_path: Path) -> None:
    await api.put("pods", next(numbered(1)))
    seen: list[str | None] = []

    def only_the_new_one(request: web.Request) -> web.Response | None:
        seen.append(request.headers.get("Authorization"))
        return None if seen[-1] == "Bearer new" else failure(401, "Unauthorized")

    api.always = only_the_new_one
    async with calling(server, tmp_path) as caller:
        with pytest.raises(TransientError):
            await caller.client.get(POD)
        write_kubeconfig(tmp_path / "kubeconfig", server, token="new")  # noqa: S106 - it opens nothing

        await caller.client.get(POD)

    assert seen == ["Bearer a-token", "Bearer new"]


async def test_a_write_is_held_back_from_who_may_not_write(api: FakeApi, caller: Caller) -> None:
    idle = replace(caller.client, may_write=lambda: False)

    with pytest.raises(NotLeadingError):
        await idle.patch(POD, Patch.MERGE, {"metadata": {"labels": {"a": "b"}}})

    assert not api.requests


async def test_reading_needs_no_lead(api: FakeApi, caller: Caller) -> None:
    await api.put("pods", next(numbered(1)))

    assert await replace(caller.client, may_write=lambda: False).get(POD)


async def test_requests_are_counted_by_verb_resource_and_status(api: FakeApi, caller: Caller) -> None:
    await api.put("pods", next(numbered(1)))

    await caller.client.get(POD)
    with pytest.raises(NotFoundError):
        await caller.client.get(path_to("apps/v1", "deployments", "models", "none", "scale"))

    assert caller.requests == {("get", "pods", "200"): 1, ("get", "deployments/scale", "404"): 1}


async def test_the_budget_bounds_the_rate(api: FakeApi, server: str, tmp_path: Path) -> None:
    await api.put("pods", next(numbered(1)))
    clock = SteadyClock()
    async with calling(server, tmp_path, per_second=5, timeout_s=60.0) as caller:
        begun_s = clock.now_s()
        for _ in range(6):
            await caller.client.get(POD)

    assert clock.now_s() - begun_s > 1.0


async def test_who_waits_for_the_budget_for_too_long_is_refused_in_time(
    api: FakeApi, server: str, tmp_path: Path
) -> None:
    await api.put("pods", next(numbered(1)))
    async with calling(server, tmp_path, per_second=1, timeout_s=0.1) as caller:
        ends = await asyncio.gather(*(caller.client.get(POD) for _ in range(50)), return_exceptions=True)

    refused = [end for end in ends if isinstance(end, TransientError)]
    assert refused
    assert all("in time" in str(end) for end in refused)
    assert len(api.requests) < len(ends)


async def events(caller: Caller, since: int, quiet_s: float = 0.5) -> list[WatchEvent | None]:
    query = {"resourceVersion": str(since)}
    return [event async for event in caller.client.watch(PODS, query, quiet_s)]


@pytest.mark.parametrize("as_event", [False, True])
async def test_a_410_is_the_same_over_http_and_in_the_stream(api: FakeApi, caller: Caller, as_event: bool) -> None:  # noqa: FBT001
    api.gone_as_event = as_event
    api.lose_history()

    with pytest.raises(GoneError, match="too old"):
        await events(caller, since=1)


async def test_an_event_that_is_cut_off_is_transient(api: FakeApi, caller: Caller) -> None:
    since = api.version
    await api.put("pods", next(numbered(1)))
    api.cut_next_event = True

    with pytest.raises(TransientError, match="cut off"):
        await events(caller, since)


async def test_a_watch_that_says_nothing_is_given_up(api: FakeApi, caller: Caller) -> None:
    api.silent_watches = True

    with pytest.raises(TransientError, match="did not answer in time"):
        await events(caller, api.version, quiet_s=0.05)


async def test_a_large_event_is_read_whole(api: FakeApi, caller: Caller) -> None:
    since = api.version
    pod: dict[str, Any] = next(numbered(1))
    pod["metadata"]["annotations"] = {"large": "x" * 3_000_000}
    await api.put("pods", pod)

    async with aclosing(caller.client.watch(PODS, {"resourceVersion": str(since)}, 2.0)) as stream:
        added = await anext(event async for event in stream if event is not None)

    assert len(added.object["metadata"]["annotations"]["large"]) == 3_000_000


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/nodes", "nodes"),
        ("/api/v1/namespaces/models/pods/p", "pods"),
        ("/api/v1/namespaces", "namespaces"),
        ("/apis/apps/v1", "discovery"),
        ("/apis/apps/v1/deployments", "deployments"),
        ("/apis/apps/v1/namespaces/models/deployments/llama/scale", "deployments/scale"),
        ("/apis/forebay.dev/v1alpha1/namespaces/models/scalingpolicies/llama/status", "scalingpolicies/status"),
    ],
)
def test_a_path_is_counted_as_its_resource(path: str, resource: str) -> None:
    assert resource_of(path) == resource
