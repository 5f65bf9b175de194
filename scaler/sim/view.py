"""What an autoscaler sees of one service at a tick, as Prometheus would show it, and what it answers with.

Ours and its peers see the same: samples of the last scrape, means and rates of the minute before it. Nothing here is
known to the model only.
"""

from dataclasses import dataclass
from typing import Protocol

from scaler.core.model import FirstTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """One ready replica as of its last scrape, at ``at_s``.

    ``running``, ``waiting`` and ``kv_usage`` are that sample, the ``mean_`` ones the mean of the minute before it;
    rates are of that minute, as is the mean ``inter_token_latency_s``, None without a token after a first one.
    """

    name: str
    at_s: float
    running: float
    waiting: float
    kv_usage: float
    mean_running: float
    mean_waiting: float
    mean_kv_usage: float
    prompt_tokens_per_s: float
    generation_tokens_per_s: float
    finished_per_s: float
    inter_token_latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One replica that is asked for, ready or not, as a watch of Kubernetes shows it at the tick."""

    name: str
    created_at_s: float
    ready_at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One service at a tick. ``requested`` is what is asked for, ``starting`` how many of them are not ready yet.

    ``replicas`` are those of the ready ones that have been scraped, ``pods`` all that are asked for, oldest first.
    ``gateway_waiting`` are requests that no replica has. ``ttft_s`` is the objective's percentile over the last minute,
    ``first_tokens`` how many came in it and how many of them too late; both are None without one.
    """

    at_s: float
    requested: int
    starting: int
    replicas: tuple[ReplicaView, ...]
    gateway_waiting: float
    ttft_s: float | None
    first_tokens: FirstTokens | None = None
    pods: tuple[PodView, ...] = ()


class Autoscaler(Protocol):
    """A policy under test; it may keep what it likes between calls, and is made anew for each run."""

    def replicas(self, view: View) -> int:
        """How many the service should be asked to have from now on."""
        ...
