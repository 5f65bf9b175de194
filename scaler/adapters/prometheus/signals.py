"""The signals of all policies from Prometheus: a fixed number of queries a tick, whatever the number of policies."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from scaler.adapters.prometheus.answers import (
    NOT_ASKED,
    FirstTokensTold,
    Held,
    LoadTold,
    Pool,
    Reading,
    first_tokens,
    load_of,
    model_of,
    queue_of,
    warnings_of,
)
from scaler.adapters.prometheus.own import OwnQueries, OwnTold
from scaler.adapters.prometheus.promql import Question, engine_queries, gpu_queries, picker_queries
from scaler.adapters.prometheus.server import Lack, Prometheus, Reads, Reason, Server
from scaler.api.v1alpha1 import Engine
from scaler.core.model import NO_PICKER, Load, Missing
from scaler.runtime.signals import Answered, Asked

Value = TypeVar("Value")

ONLY_QUERIES: Final = Lack(reason=Reason.NO_SERIES, why="the engine is Custom: its queries tell the service's work")
NO_FAULT: Final = (ONLY_QUERIES, NOT_ASKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a tick's reading found besides its answers, each by policy.

    ``warnings`` is what the GPUs say against a pod; ``lacking`` counts the values that were missing by their `Reason`.
    """

    warnings: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    lacking: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the policies of this tick need at all: the only thing that the number of queries depends on."""

    engines: frozenset[Engine]
    has_objectives: bool
    has_pools: bool

    def queries(self, server: Server) -> dict[Question, str]:
        queries: dict[Question, str] = {}
        if Reads.ENGINES in server.reads:
            queries |= engine_queries(self.engines, server.matchers)
            if not self.has_objectives:
                queries.pop(Question.FIRST_TOKENS, None)
        if Reads.PICKER in server.reads and self.has_pools:
            queries |= picker_queries(server.matchers)
        if Reads.GPUS in server.reads and self.engines:
            queries |= gpu_queries(server.matchers)
        return queries


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What all servers answered, by what they are asked for, and who shares a pool with whom."""

    readings: Mapping[Reads, Sequence[Reading]]
    models_of_pools: Mapping[tuple[str, str], frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ToldOf:
    """All that was read for one policy, with the reasons that the seam has no room for."""

    ask: Asked
    loads: Mapping[str, LoadTold | Lack]
    first_tokens: FirstTokensTold | Lack
    gateway: Held | Lack | None
    own: OwnTold
    warnings: Mapping[str, tuple[str, ...]]

    def lacks(self) -> list[Lack]:
        works = [told.work_lack for told in self.loads.values() if isinstance(told, LoadTold)]
        own = [self.own.replicas, self.own.demand_at_gateway]
        values = [*self.loads.values(), *works, self.first_tokens, self.gateway, *own]
        return [value for value in values if isinstance(value, Lack) and value not in NO_FAULT]


class PrometheusSignals:
    """A `SignalSource` that asks ``servers``, each for what it reads; every query ends within ``timeout_s``.

    Servers that read the same are asked alike and their answers joined (shards); a pod that two of them know has the
    newer sample. ``counted`` is told the outcome of each query, ``told`` the account of each tick.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        timeout_s: float,
        own_queries_at_once: int = 4,
        counted: Callable[[str], None] = lambda _: None,
        told: Callable[[Account], None] = lambda _: None,
    ) -> None:
        own = [server for server in servers if Reads.QUERIES in server.reads]
        if len(own) > 1:
            raise ValueError(f"{len(own)} servers read the users' own queries: must be one at most")
        self._servers = [Prometheus(server, timeout_s, counted) for server in servers]
        # Threads and connections apart: users' queries that hang must not keep ours from being asked.
        self._own_server = Prometheus(own[0], timeout_s, counted) if own else None
        self._own_at_once = own_queries_at_once
        self._timeout_s = timeout_s
        self._told = told

    def close(self) -> None:
        """Give up all connections."""
        for server in (*self._servers, self._own_server):
            if server is not None:
                server.close()

    async def read(self, asked: Sequence[Asked], at_s: float) -> Mapping[str, Answered]:
        """An answer for every policy asked for, by its name; what cannot be read is Missing in it, never an error."""
        seen, own = await asyncio.gather(self._looked(asked, at_s), self._own_told(asked, at_s))
        # A second's work for 10 000 pods, in which the lease must still be renewed.
        told = await asyncio.to_thread(_all_told, asked, seen, own, at_s)
        self._told(_account(told))
        return {one.ask.policy: _answered(one) for one in told}

    async def _looked(self, asked: Sequence[Asked], at_s: float) -> _Seen:
        wanted = _wanted(asked)
        readings = await asyncio.gather(*(_reading(server, wanted, at_s) for server in self._servers))
        by_server = list(zip(self._servers, readings, strict=True))
        of = {reads: [got for server, got in by_server if reads in server.server.reads] for reads in Reads}
        return _Seen(readings=of, models_of_pools=_models_of_pools(asked))

    async def _own_told(self, asked: Sequence[Asked], at_s: float) -> Mapping[str, OwnTold]:
        """What the users' own queries told, by policy."""
        if self._own_server is None:
            why = "no Prometheus server is configured to be asked the users' own queries"
            unasked = Lack(reason=Reason.UNREACHABLE, why=why)
            return {ask.policy: OwnTold.lacking(ask, unasked) for ask in asked}
        own = OwnQueries(server=self._own_server, at_once=self._own_at_once, timeout_s=self._timeout_s)
        told = await own.told(asked, at_s)
        return dict(zip((ask.policy for ask in asked), told, strict=True))


async def _reading(server: Prometheus, wanted: _Wanted, at_s: float) -> Reading:
    queries = wanted.queries(server.server)
    results = await asyncio.gather(*(server.query(promql, at_s) for promql in queries.values()))
    return await asyncio.to_thread(Reading, server.server.url, dict(zip(queries, results, strict=True)))


def _wanted(asked: Sequence[Asked]) -> _Wanted:
    return _Wanted(
        engines=frozenset(ask.signals.engine for ask in asked) - {Engine.CUSTOM},
        has_objectives=any(ask.objective is not None for ask in asked),
        has_pools=any(ask.signals.inference_pool_ref is not None for ask in asked),
    )


def _models_of_pools(asked: Sequence[Asked]) -> dict[tuple[str, str], frozenset[str]]:
    models: dict[tuple[str, str], frozenset[str]] = {}
    for ask in asked:
        if (ref := ask.signals.inference_pool_ref) is not None:
            key = (ask.namespace, ref.name)
            models[key] = models.get(key, frozenset()) | {model_of(ask)}
    return models


def _all_told(asked: Sequence[Asked], seen: _Seen, own: Mapping[str, OwnTold], at_s: float) -> list[_ToldOf]:
    return [_told(ask, seen, own[ask.policy], at_s) for ask in asked]


def _told(ask: Asked, seen: _Seen, own: OwnTold, at_s: float) -> _ToldOf:
    engines = seen.readings[Reads.ENGINES]
    is_custom = ask.signals.engine is Engine.CUSTOM
    return _ToldOf(
        ask=ask,
        loads={pod: ONLY_QUERIES if is_custom else load_of(engines, ask, pod) for pod in ask.pods},
        first_tokens=ONLY_QUERIES if is_custom else first_tokens(engines, ask),
        gateway=_gateway(ask, seen, at_s),
        own=own,
        warnings=warnings_of(seen.readings[Reads.GPUS], engines, ask),
    )


def _gateway(ask: Asked, seen: _Seen, at_s: float) -> Held | Lack | None:
    if (ref := ask.signals.inference_pool_ref) is None:
        return None
    key = (ask.namespace, ref.name)
    others = seen.models_of_pools[key] - {model_of(ask)}
    pool = Pool(key=key, others=others, stale_after_s=ask.signals.stale_seconds)
    return queue_of(seen.readings[Reads.PICKER], pool, at_s)


def _answered(told: _ToldOf) -> Answered:
    first = _value(told.first_tokens)
    return Answered(
        loads={pod: _load(load) for pod, load in told.loads.items()},
        ttft_s=first if isinstance(first, Missing) else first.ttft_s,
        first_tokens=first if isinstance(first, Missing) else first.first_tokens,
        gateway_waiting=_waiting(told.gateway),
        gateway_refused_per_s=told.gateway.refused_per_s if isinstance(told.gateway, Held) else 0.0,
        own_replicas=None if told.own.replicas is None else _value(told.own.replicas),
        asleep=_asleep(told),
        demand_at_gateway=None if told.own.demand_at_gateway is None else _value(told.own.demand_at_gateway),
    )


def _waiting(gateway: Held | Lack | None) -> float | Missing:
    if gateway is None:
        return NO_PICKER
    return gateway.waiting if isinstance(gateway, Held) else _value(gateway)


def _load(told: LoadTold | Lack) -> Load | Missing:
    return told.load if isinstance(told, LoadTold) else _value(told)


def _value(told: Value | Lack) -> Value | Missing:
    return Missing(why=told.why) if isinstance(told, Lack) else told


def _account(told: Sequence[_ToldOf]) -> Account:
    return Account(
        warnings={one.ask.policy: one.warnings for one in told if one.warnings},
        lacking={one.ask.policy: dict(Counter(lack.reason.value for lack in one.lacks())) for one in told},
    )


def _asleep(told: _ToldOf) -> frozenset[str]:
    return frozenset(pod for pod, load in told.loads.items() if _sleeps(load))


def _sleeps(told: LoadTold | Lack) -> bool:
    return isinstance(told, Lack) and told.reason is Reason.ASLEEP
