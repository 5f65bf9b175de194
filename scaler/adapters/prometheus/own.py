"""The queries of an engine Custom: the user's own PromQL, two for each such policy, a few at once.

They are the one kind of query whose number grows with the policies.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from scaler.adapters.prometheus.server import Lack, Prometheus, Reason
from scaler.api.v1alpha1 import Queries
from scaler.runtime.signals import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQueries:
    """Asks ``server`` for the work in hand of services that are none of the known engines.

    ``at_once`` bounds the load on a Prometheus that others use too; ``timeout_s`` is for all of them together.
    """

    server: Prometheus
    at_once: int
    timeout_s: float

    async def replicas(self, asked: Sequence[Asked], at_s: float) -> list[float | Lack]:
        """The work in hand of each of ``asked``, in replicas."""
        places = asyncio.Semaphore(self.at_once)
        deadline_s = asyncio.get_running_loop().time() + self.timeout_s
        return await asyncio.gather(*(self._replicas(ask.signals.queries, at_s, places, deadline_s) for ask in asked))

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
            why = f"the policies' own queries were not all answered within {self.timeout_s:g} s"
            return Lack(reason=Reason.UNREACHABLE, why=why)
        return in_replicas(demand, capacity)

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
