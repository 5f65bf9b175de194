"""Views for tests of peers: each builder takes only what matters."""

from collections.abc import Sequence

from scaler.sim.view import Autoscaler, ReplicaView, View

Advance = tuple[float, View]


def replica(
    running: float = 0.0,
    waiting: float = 0.0,
    *,
    kv_usage: float = 0.0,
    mean_running: float | None = None,
    mean_waiting: float | None = None,
    finished_per_s: float = 0.0,
    lengths: tuple[float, float] = (1000.0, 200.0),
) -> ReplicaView:
    """A replica whose last minute was like its last scrape, unless said otherwise."""
    return ReplicaView(
        name="one",
        at_s=0.0,
        running=running,
        waiting=waiting,
        kv_usage=kv_usage,
        mean_running=running if mean_running is None else mean_running,
        mean_waiting=waiting if mean_waiting is None else mean_waiting,
        mean_kv_usage=kv_usage,
        prompt_tokens_per_s=finished_per_s * lengths[0],
        generation_tokens_per_s=finished_per_s * lengths[1],
        finished_per_s=finished_per_s,
        inter_token_latency_s=None,
    )


def view(
    *replicas: ReplicaView,
    at_s: float = 0.0,
    requested: int | None = None,
    gateway_waiting: float = 0.0,
) -> View:
    """A service all of whose replicas are ready, unless more are ``requested``."""
    wanted = len(replicas) if requested is None else requested
    return View(
        at_s=at_s,
        requested=wanted,
        starting=wanted - len(replicas),
        replicas=replicas,
        gateway_waiting=gateway_waiting,
        ttft_s=None,
    )


def followed(scaler: Autoscaler, loads: Sequence[tuple[float, float]], ready: int) -> list[int]:
    """What it asks for when each of (time, running in all) is seen and every wish comes true at once."""
    asked: list[int] = []
    for at_s, running in loads:
        seen = view(*(replica(running / ready) for _ in range(ready)), at_s=at_s)
        ready = scaler.replicas(seen)
        asked.append(ready)
    return asked


def answers(scaler: Autoscaler, views: Sequence[View]) -> list[int]:
    return [scaler.replicas(seen) for seen in views]
