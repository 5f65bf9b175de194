"""Whatever Prometheus does, the answer is Missing, and the sentence tells its fault from a series that is not there."""

import asyncio
import socket

import pytest
from aiohttp import web

from scaler.adapters.prometheus import Reads, Server
from scaler.core.model import Load, Missing
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import Answer, FakePrometheus, asked, cut_off, never, serving, status

PARSE_ERROR = '{"status":"error","errorType":"bad_data","error":"parse error: unexpected end of input"}'
LOGIN_PAGE = "<html>Log in</html>"
WELL_FORMED = '{"status":"success","data":{"resultType":"vector","result":%s}}'


@pytest.mark.parametrize(
    ("answer", "sentence", "outcome"),
    [
        (status(401, LOGIN_PAGE), "refused us (HTTP status 401): its credentials or rights need a look", "refused"),
        (status(403, ""), "refused us (HTTP status 403): its credentials or rights need a look", "refused"),
        (status(429, ""), "refused us (HTTP status 429): too many queries for it", "refused"),
        (
            status(422, PARSE_ERROR),
            "cannot answer the query (HTTP status 422, parse error: unexpected end of input)",
            "bad_query",
        ),
        (status(503, LOGIN_PAGE), "failed (HTTP status 503)", "bad_answer"),
        (status(200, LOGIN_PAGE), "gave an answer that is not JSON", "bad_answer"),
        (status(200, '{"status":"success"}'), "gave an answer that is not that of a query", "bad_answer"),
        (status(200, "[]"), "gave an answer that is not that of a query", "bad_answer"),
        (status(200, WELL_FORMED % '{"a": 1}'), "gave an answer that is not that of a query", "bad_answer"),
        (cut_off, "broke off in the middle of its answer", "bad_answer"),
    ],
)
async def test_a_fault_of_the_server_is_told_as_such(
    prometheus: FakePrometheus, reader: Reader, answer: Answer, sentence: str, outcome: str
) -> None:
    prometheus.instead = answer

    told = await reader.answer(asked("a", pool="pool"))

    missing = Missing(why=f"Prometheus at {prometheus.url} {sentence}")
    assert told.loads == {"a": missing}
    assert (told.ttft_s, told.gateway_waiting) == (missing, missing)
    assert set(reader.outcomes) == {outcome}


@pytest.mark.parametrize("rows", ['[{"metric": {}}]', '[{"metric": {}, "value": [1, "many"]}]', "[7]"])
async def test_rows_that_are_no_samples_are_missing(prometheus: FakePrometheus, reader: Reader, rows: str) -> None:
    prometheus.instead = status(200, WELL_FORMED % rows)

    told = await reader.answer(asked("a"))

    assert told.loads["a"] == Missing(why="Prometheus gave an answer that is not a list of samples")


async def test_a_login_page_is_not_followed(prometheus: FakePrometheus, reader: Reader) -> None:
    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:9/login")

    prometheus.instead = elsewhere

    told = await reader.answer(asked("a"))

    assert told.loads["a"] == Missing(why=f"Prometheus at {prometheus.url} sent us elsewhere, perhaps to a login page")


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        reader = Reader(Server(url=url))

        told = await reader.answer(asked("a"))

        reader.signals.close()

    assert told.loads["a"] == Missing(why=f"Prometheus at {url} did not answer: connection refused")
    assert set(reader.outcomes) == {"unreachable"}


async def test_a_slow_server_does_not_keep_the_tick(prometheus: FakePrometheus) -> None:
    prometheus.instead = never
    reader = Reader(Server(url=prometheus.url), timeout_s=0.2)

    async with asyncio.timeout(20.0):
        told = await reader.answer(asked("a"))

    reader.signals.close()
    assert told.loads["a"] == Missing(why=f"Prometheus at {prometheus.url} did not answer within 0.2 s")


async def test_a_server_that_drips_does_not_keep_the_tick(prometheus: FakePrometheus) -> None:
    gone = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not gone.is_set():
            await response.write(b" ")
            try:
                await asyncio.wait_for(gone.wait(), 0.05)
            except TimeoutError:
                continue
        return response

    prometheus.instead = drip
    reader = Reader(Server(url=prometheus.url), timeout_s=0.2)

    async with asyncio.timeout(20.0):
        told = await reader.answer(asked("a"))

    gone.set()
    reader.signals.close()
    assert isinstance(told.loads["a"], Missing)


async def test_one_server_of_two_that_hangs_is_not_the_others_fault(prometheus: FakePrometheus) -> None:
    prometheus.pod("a")
    async with serving(FakePrometheus(instead=never)) as gpus:
        reader = Reader(
            Server(url=prometheus.url, reads=frozenset({Reads.ENGINES})),
            Server(url=gpus.url, reads=frozenset({Reads.GPUS})),
            timeout_s=2.0,
        )

        told = await reader.answer(asked("a"))

        reader.signals.close()

    assert isinstance(told.loads["a"], Load)


async def test_a_shard_that_does_not_answer_is_named_for_the_pods_that_no_other_has(
    prometheus: FakePrometheus,
) -> None:
    prometheus.pod("a")
    prometheus.first_tokens({"1": 1.0, "2": 2.0, "+Inf": 2.0})
    async with serving(FakePrometheus(instead=status(503, ""))) as shard:
        reader = Reader(Server(url=prometheus.url), Server(url=shard.url, reads=frozenset({Reads.ENGINES})))

        told = await reader.answer(asked("a", "b"))

        reader.signals.close()

    failed = Missing(why=f"Prometheus at {shard.url} failed (HTTP status 503)")
    assert isinstance(told.loads["a"], Load)
    assert told.loads["b"] == failed
    # Buckets of half the pods would be a latency of half the requests.
    assert told.ttft_s == failed


async def test_it_recovers_by_itself(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a")
    prometheus.instead = status(503, "")
    await reader.answer(asked("a"))
    prometheus.instead = None

    told = await reader.answer(asked("a"))

    assert isinstance(told.loads["a"], Load)


async def test_without_a_server_all_is_missing() -> None:
    reader = Reader()

    told = await reader.answer(asked("a", pool="pool"))

    assert told.loads["a"] == Missing(why="no Prometheus server is configured to be asked for engines")
    assert isinstance(told.gateway_waiting, Missing)
    assert isinstance(told.ttft_s, Missing)


async def test_what_was_missing_is_counted_by_policy_and_reason(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a")
    prometheus.pod("b", awake=0.0)

    await reader.answer(asked("a", "b", "c"))

    assert reader.account.lacking == {"models/llama": {"asleep": 1, "no_series": 2}}


async def test_a_timeout_of_parts_of_a_second_is_said_as_prometheus_reads_it(prometheus: FakePrometheus) -> None:
    prometheus.pod("a", running=2.0)
    reader = Reader(Server(url=prometheus.url), timeout_s=1.5)

    told = await reader.answer(asked("a"))

    reader.signals.close()
    assert isinstance(told.loads["a"], Load)
    assert {each["timeout"] for each in prometheus.parameters} == {"1500ms"}
