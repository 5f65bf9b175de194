"""A Prometheus that answers our own questions from rows it was given, and can fail in the ways that real ones do."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import combinations
from ssl import SSLContext
from typing import Any

from aiohttp import web

from scaler.adapters.prometheus.promql import TOLD_LABEL, Question, Told, engine_queries, gpu_queries, picker_queries
from scaler.api.v1alpha1 import Engine, InferencePoolRef, Queries, Signals
from scaler.core.model import Objective
from scaler.runtime.signals import Asked
from tests.builders import work

AT_S = 1_795_321_800.0
NAMESPACE = "models"

COUNTED = {Told.PREFILL: 900.0, Told.GENERATED: 200.0, Told.FINISHED: 2.0, Told.BETWEEN: 3.96, Told.GAPS: 198.0}
WORK = work(prefill=900.0, decode=200.0, finished=2.0, inter_token_latency_s=0.02)
"""What COUNTED comes to."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Labels = dict[str, str]


def at(percentile: float, limit_s: float = 2.0) -> Objective:
    """An objective for the first token."""
    return Objective(percentile=percentile, limit_s=limit_s)


OF_95 = at(95.0)


def asked(
    *pods: str,
    policy: str = "models/llama",
    engine: Engine = Engine.VLLM,
    model: str | None = None,
    pool: str | None = None,
    queries: Queries | None = None,
    objective: Objective | None = OF_95,
) -> Asked:
    signals = Signals(
        engine=engine,
        model_name=model,
        inference_pool_ref=None if pool is None else InferencePoolRef(name=pool),
        queries=queries,
    )
    namespace = policy.partition("/")[0]
    return Asked(policy=policy, namespace=namespace, signals=signals, pods=pods, objective=objective)


@dataclass
class FakePrometheus:
    """``instead`` takes the place of every answer; ``requests`` are those that came, with their headers."""

    rows: dict[Question, list[tuple[Labels, float | str]]] = field(default_factory=dict)
    results: dict[str, list[Any]] = field(default_factory=dict)
    instead: Answer | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    parameters: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def pod(
        self,
        name: str,
        *,
        running: float = 2.0,
        waiting: float = 3.0,
        kv_usage: float = 0.5,
        awake: float | None = 1.0,
        at_s: float = AT_S - 5.0,
        model: str | None = "llama",
        labels: Labels | None = None,
        counted: Mapping[Told, float] = COUNTED,
    ) -> None:
        every = of_pod(name, model, labels)
        values = {
            Question.TIMES: at_s,
            Question.RUNNING: running,
            Question.WAITING: waiting,
            Question.KV_USAGE: kv_usage,
        }
        for question, value in values.items():
            self.row(question, every, value)
        if awake is not None:
            self.row(Question.STATE, every | {TOLD_LABEL: Told.AWAKE.value}, awake)
        for told, value in counted.items():
            question = Question.STATE if told in {Told.PREFILLING, Told.REFUSED} else Question.WORK
            self.row(question, every | {TOLD_LABEL: told.value}, value)

    def row(self, question: Question, labels: Labels, value: float | str) -> None:
        self.rows.setdefault(question, []).append((labels, value))

    def first_tokens(self, rates: dict[str, float], *, model: str = "llama", namespace: str = NAMESPACE) -> None:
        for le, rate in rates.items():
            self.row(Question.FIRST_TOKENS, {"namespace": namespace, "model_name": model, "le": le}, rate)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        promql = request.query["query"]
        self.requests.append((promql, dict(request.headers)))
        self.parameters.append(dict(request.query))
        if not DURATION.fullmatch(request.query["timeout"]):
            return web.json_response({"status": "error", "errorType": "bad_data", "error": "no duration"}, status=400)
        if self.instead is not None:
            return await self.instead(request)
        question = QUESTIONS.get(promql)
        result = self.results.get(promql, []) if question is None else _vector(self.rows.get(question, []))
        return _success(result)


def of_pod(name: str, model: str | None, labels: Labels | None) -> Labels:
    place = {"namespace": NAMESPACE, "pod": name} if labels is None else labels
    return place | ({} if model is None else {"model_name": model})


DURATION = re.compile(r"\d+(ms|s|m|h)")
"""What Prometheus reads as a duration: no decimal point."""


def _vector(rows: Iterable[tuple[Labels, float | str]]) -> list[Any]:
    return [{"metric": labels, "value": [AT_S, str(value)]} for labels, value in rows]


def _success(result: list[Any]) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


def _questions() -> dict[str, Question]:
    known = sorted(set(Engine) - {Engine.CUSTOM}, key=lambda engine: engine.value)
    found: dict[str, Question] = {}
    for size in range(1, len(known) + 1):
        for engines in combinations(known, size):
            found |= {text: question for question, text in engine_queries(frozenset(engines), "").items()}
    for queries in (picker_queries(""), gpu_queries("")):
        found |= {text: question for question, text in queries.items()}
    return found


QUESTIONS = _questions()


@asynccontextmanager
async def serving(fake: FakePrometheus, ssl: SSLContext | None = None) -> AsyncIterator[FakePrometheus]:
    app = web.Application()
    app.router.add_get("/api/v1/query", fake.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
    await site.start()
    scheme = "http" if ssl is None else "https"
    fake.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def status(code: int, body: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, text=body)

    return answer


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"status":"success","data":')
    assert request.transport is not None
    request.transport.close()
    return response
