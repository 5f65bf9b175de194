"""The users' own queries: those of an engine Custom, and what comes at a gateway."""

from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scaler.adapters.prometheus import Reads, Server
from scaler.adapters.prometheus.own import in_replicas, number_of
from scaler.adapters.prometheus.server import Lack
from scaler.api.v1alpha1 import Engine, Queries
from scaler.core.model import Missing
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import AT_S, FakePrometheus, asked, never

QUERIES = Queries(demand="sum(work)", waiting="sum(idle)", capacity="scalar(each)")
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}
CUSTOM = asked("a", engine=Engine.CUSTOM, queries=QUERIES)


def vector(*values: str) -> list[Any]:
    return [{"metric": {"n": str(n)}, "value": [AT_S, value]} for n, value in enumerate(values)]


async def test_demand_over_capacity_is_the_work_in_replicas(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.results = {"sum(work)": vector("120"), "scalar(each)": [AT_S, "40"]}

    answer = await reader.answer(CUSTOM)

    assert answer.own_replicas == 3.0


async def test_its_pods_are_not_asked_one_by_one(prometheus: FakePrometheus, reader: Reader) -> None:
    answer = await reader.answer(CUSTOM)

    assert isinstance(answer.loads["a"], Missing)
    assert isinstance(answer.own_replicas, Missing)
    assert {promql for promql, _ in prometheus.requests} == {"sum(work)", "scalar(each)"}
    # The one thing that is missing is the answer of the query; nobody asked the pods.
    assert reader.account.lacking == {"models/llama": {"no_series": 1}}


async def test_what_comes_at_the_gateway_is_asked_of_any_engine(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.results = {"sum(coming)": vector("0.5")}

    answer = await reader.answer(replace(asked("a"), demand_query="sum(coming)"))

    assert (answer.demand_at_gateway, answer.own_replicas) == (0.5, None)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ([], "the query demandQuery gave no result"),
        (vector("-1"), "the query demandQuery gave -1; it must be at least 0"),
        (vector("NaN"), "the query demandQuery gave NaN"),
    ],
)
async def test_what_is_no_demand_is_missing_and_counted(
    prometheus: FakePrometheus, reader: Reader, result: list[Any], sentence: str
) -> None:
    prometheus.results = {"sum(coming)": result}

    answer = await reader.answer(replace(asked(), demand_query="sum(coming)", objective=None))

    assert answer.demand_at_gateway == Missing(why=sentence)
    assert sum(reader.account.lacking["models/llama"].values()) == 1


async def test_a_demand_query_that_hangs_does_not_keep_the_tick(prometheus: FakePrometheus) -> None:
    prometheus.instead = never
    reader = Reader(Server(url=prometheus.url), timeout_s=0.2)

    answer = await reader.answer(replace(asked(), demand_query="sum(coming)"))

    reader.signals.close()
    assert isinstance(answer.demand_at_gateway, Missing)


async def test_a_known_engine_has_no_replicas_of_its_own(reader: Reader) -> None:
    answer = await reader.answer(asked("a"))

    assert answer.own_replicas is None


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ([], "the query demand gave no result"),
        (vector("NaN"), "the query demand gave NaN"),
        (vector("+Inf"), "the query demand gave +Inf"),
        (vector("1", "2"), "the query demand gave several series; one number is wanted, as sum(...) gives it"),
        (
            [{"metric": {}, "values": [[AT_S, "1"]]}],
            "the query demand gave samples over a time; one number is wanted",
        ),
        ([AT_S, "a text"], "the query demand gave a text"),
        ([7], "the query demand gave something else than samples"),
    ],
)
def test_what_is_not_one_number_is_told(result: list[Any], sentence: str) -> None:
    told = number_of("demand", result)

    assert isinstance(told, Lack)
    assert told.why == sentence


@pytest.mark.parametrize(
    ("demand", "capacity", "sentence"),
    [
        (1.0, 0.0, "the query capacity gave 0; it must be above 0"),
        (1.0, -1.0, "the query capacity gave -1; it must be above 0"),
        (-1.0, 1.0, "the query demand gave -1; it must be at least 0"),
    ],
)
def test_a_capacity_of_nothing_is_no_divisor(demand: float, capacity: float, sentence: str) -> None:
    told = in_replicas(demand, capacity)

    assert isinstance(told, Lack)
    assert told.why == sentence


async def test_a_user_whose_queries_hang_does_not_keep_the_tick(prometheus: FakePrometheus) -> None:
    prometheus.instead = never
    reader = Reader(Server(url=prometheus.url), timeout_s=0.2)
    many = [asked(policy=f"models/m{n}", engine=Engine.CUSTOM, queries=QUERIES) for n in range(20)]

    told = await reader.signals.read(many, AT_S)

    reader.signals.close()
    whys = {answer.own_replicas.why for answer in told.values() if isinstance(answer.own_replicas, Missing)}
    assert "the policies' own queries were not all answered within 0.2 s" in whys
    assert len(told) == 20


async def test_without_a_server_for_them_they_are_missing(prometheus: FakePrometheus) -> None:
    reader = Reader(Server(url=prometheus.url, reads=frozenset({Reads.ENGINES})))

    told = await reader.answer(replace(CUSTOM, demand_query="sum(coming)"))

    reader.signals.close()
    missing = Missing(why="no Prometheus server is configured to be asked the users' own queries")
    assert (told.own_replicas, told.demand_at_gateway) == (missing, missing)


def test_two_servers_for_them_would_be_a_guess() -> None:
    with pytest.raises(ValueError, match="2 servers read the users' own queries: must be one at most"):
        Reader(Server(url="http://a"), Server(url="http://b"))


async def test_a_users_query_that_hangs_does_not_keep_ours_from_being_asked(prometheus: FakePrometheus) -> None:
    async def only_ours(request: web.Request) -> web.StreamResponse:
        return await never(request) if request.query["query"] == "sum(work)" else web.json_response(EMPTY)

    prometheus.instead = only_ours
    reader = Reader(Server(url=prometheus.url), timeout_s=2.0)
    many = [asked(policy=f"models/m{n}", engine=Engine.CUSTOM, queries=QUERIES) for n in range(20)]

    await reader.signals.read([asked("a"), *many], AT_S)

    reader.signals.close()
    assert reader.outcomes.count("answered") == 8
