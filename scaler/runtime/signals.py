"""What a tick asks of the engines of every policy, and what they answered: the seam between pods and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scaler.api.v1alpha1 import Signals
from scaler.core.model import FirstTokens, Load, Missing, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One policy's question. ``pods`` are the names of its ready pods, in ``namespace``, which all should answer.

    ``objective`` is that of the time to first token; without one the time is not asked for.
    ``demand_query`` is PromQL for what comes at the gateway, None where the policy has none.
    """

    policy: str
    namespace: str
    signals: Signals
    pods: tuple[str, ...]
    objective: Objective | None = None
    demand_query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What was read for one policy: the load of every pod that was asked for, and what the model says as a whole.

    ``ttft_s`` is the time to first token at the objective's percentile, ``first_tokens`` how many there were, and how
    many later than its limit. ``gateway_refused_per_s`` are the requests by the second that the endpoint picker
    refused, 0 where there is none. ``own_replicas`` is the work in hand in replicas, by the queries of an engine Custom
    (demand over capacity); it is None for the engines that are known, whose work the loads tell. ``asleep`` are the
    pods whose engines have been put to sleep: ready, and serving nothing. ``demand_at_gateway`` is what the demand
    query gave, None without one.
    """

    loads: Mapping[str, Load | Missing]
    ttft_s: float | Missing
    first_tokens: FirstTokens | Missing
    gateway_waiting: float | Missing
    gateway_refused_per_s: float = 0.0
    own_replicas: float | Missing | None = None
    asleep: frozenset[str] = frozenset()
    demand_at_gateway: float | Missing | None = None


class SignalSource(Protocol):
    """Reads the signals of all policies together."""

    async def read(self, asked: Sequence[Asked], at_s: float) -> Mapping[str, Answered]:
        """An answer for every policy asked for, by its name; what cannot be read is Missing in it, never an error."""
        ...
