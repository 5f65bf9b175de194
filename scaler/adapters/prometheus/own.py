"""The users' own PromQL: two queries for each policy of the engine Custom, one for each that may go to zero by one.

They are the one kind of query whose number grows with the policies; only a few are asked at once.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Self

from scaler.adapters.prometheus.server import Lack, Prometheus, Reason
from scaler.api.v1alpha1 import Engine, Queries
from scaler.runtime.signals import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTold:
    """What one policy's own queries told: its work in hand, in replicas, and what comes at its gateway.

    Each is None where the policy has no query for it.
    """

    replicas: float | Lack | None
    demand_at_gateway: float | Lack | None

    @classmethod
    def lacking(cls, ask: Asked, lack: Lack) -> Self:
        """What is told where nothing can be asked."""
        is_custom = ask.signals.engine is Engine.CUSTOM
        return cls(replicas=lack if is_custom else None, demand_at_gateway=None if ask.demand_query is None else lack)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQueries:
    """Asks ``server`` what only the users know how to ask of their services.

    ``at_once`` bounds the load on a Prometheus that others use too; ``timeout_s`` is for all of them together.
    """

    server: Prometheus
    at_once: int
    timeout_s: float

    async def told(self, asked: Sequence[Asked], at_s: float) -> list[OwnTold]:
        """What the queries of each of ``asked`` give."""
        places = asyncio.Semaphore(self.at_once)
        deadline_s = asyncio.get_running_loop().time() + self.timeout_s
        return await asyncio.gather(*(self._told(ask, at_s, places, deadline_s) for ask in asked))

    async def _told(self, ask: Asked, at_s: float, places: asyncio.Semaphore, deadline_s: float) -> OwnTold:
        replicas: float | Lack | None = None
        if ask.signals.engine is Engine.CUSTOM:
            replicas = await self._replicas(ask.signals.queries, at_s, places, deadline_s)
        if ask.demand_query is None:
            return OwnTold(replicas=replicas, demand_at_gateway=None)
        at_gateway = await self._at_gateway(ask.demand_query, at_s, places, deadline_s)
        return OwnTold(replicas=replicas, demand_at_gateway=at_gateway)

    async def _at_gateway(
        self, demand_query: str, at_s: float, places: asyncio.Semaphore, deadline_s: float
    ) -> float | Lack:
        try:
            async with asyncio.timeout_at(deadline_s):
                demand = await self._number("demandQuery", demand_query, at_s, places)
        except TimeoutError:
            return self._late()
        if isinstance(demand, float) and demand < 0.0:
            return Lack(reason=Reason.NOT_A_NUMBER, why=f"the query demandQuery gave {demand:g}; it must be at least 0")
        return demand

    async def _replicas(
        self, queries: Queries | None, at_s: float, places: asyncio.Semaphore, deadline_s: float
    ) -> float | Lack:
        if queries is None:  # the schema refuses it; a policy that came by another way is not guessed at
            return Lack(reason=Reason.BAD_QUERY, why="the engine is Custom and the policy has no queries")
        try:
            async with asyncio.timeout_at(deadline_s):
                demand = await self._number("demand", queries.demand, at_s, places)
                capacity = await self._number("capacity", queries.capacity, at_s, places)
        except TimeoutError:
            return self._late()
        return in_replicas(demand, capacity)

    def _late(self) -> Lack:
        why = f"the policies' own queries were not all answered within {self.timeout_s:g} s"
        return Lack(reason=Reason.UNREACHABLE, why=why)

    async def _number(self, name: str, promql: str, at_s: float, places: asyncio.Semaphore) -> float | Lack:
        async with places:
            # Two series are enough to know that it is not one number.
            result = await self.server.query(promql, at_s, limit=2)
        return result if isinstance(result, Lack) else number_of(name, result)


def number_of(name: str, result: list[Any]) -> float | Lack:
    """The one number that query ``name`` gave: a scalar, or the value of the only series."""
    match result:
        case []:
            return Lack(reason=Reason.NO_SERIES, why=f"the query {name} gave no result")
        case [{"value": [_, str(text)]}] | [int() | float(), str(text)]:
            return _finite(name, text)
        case [{"values": _}, *_]:
            why = f"the query {name} gave samples over a time; one number is wanted"
            return Lack(reason=Reason.BAD_QUERY, why=why)
        case [{}, {}, *_]:
            why = f"the query {name} gave several series; one number is wanted, as sum(...) gives it"
            return Lack(reason=Reason.BAD_QUERY, why=why)
        case _:
            return Lack(reason=Reason.BAD_ANSWER, why=f"the query {name} gave something else than samples")


def _finite(name: str, text: str) -> float | Lack:
    try:
        value = float(text)
    except ValueError:
        return Lack(reason=Reason.NOT_A_NUMBER, why=f"the query {name} gave a text")
    return value if isfinite(value) else Lack(reason=Reason.NOT_A_NUMBER, why=f"the query {name} gave {text}")


def in_replicas(demand: float | Lack, capacity: float | Lack) -> float | Lack:
    """120 requests in hand, 40 for each replica: three replicas."""
    if isinstance(demand, Lack):
        return demand
    if isinstance(capacity, Lack):
        return capacity
    if demand < 0.0:
        return Lack(reason=Reason.NOT_A_NUMBER, why=f"the query demand gave {demand:g}; it must be at least 0")
    if capacity <= 0.0:
        return Lack(reason=Reason.NOT_A_NUMBER, why=f"the query capacity gave {capacity:g}; it must be above 0")
    return demand / capacity
