"""The demo: the real loop on accelerated time against the embedded cluster, watched, and told at the end."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from scaler.adapters.clock import AcceleratedClock
from scaler.adapters.journal import FileJournal
from scaler.core.model import Policy
from scaler.core.plan import Command
from scaler.embedded.cluster import EmbeddedCluster
from scaler.embedded.moments import Moment, moment_of
from scaler.embedded.picture import write_picture
from scaler.embedded.scenarios import (
    GPUS_PER_NODE,
    NAME,
    OBJECTIVE,
    SCENARIOS,
    TRAFFIC_FACTOR,
    Demo,
    Told,
    policy_for,
    serve_key,
)
from scaler.embedded.view import Frame, View, clock
from scaler.runtime.board import Board
from scaler.runtime.loop import Loop
from scaler.runtime.ports import Outcome, Record, Seen
from scaler.sim.cluster import Cluster
from scaler.sim.latency import LLAMA_70B_H100
from scaler.sim.loadtime import LoadTimes
from scaler.sim.nodes import NodePool
from scaler.sim.service import ServiceSpec, TargetSpec
from scaler.sim.state import Fate
from scaler.sim.trace import Trace, scaled, shipped

TICK_S: Final = 15.0
JOURNAL_FILE: Final = "decisions.jsonl"
PICTURE_FILE: Final = "run.html"
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(kw_only=True)
class _Stage:
    """The embedded cluster behind the loop's ports, with the nodes that come in the course of the scenario."""

    cluster: EmbeddedCluster
    coming_nodes: list[tuple[float, int]]

    async def observe(self, at_s: float) -> Seen:
        """What there is as of ``at_s``, after the nodes that came until then."""
        while self.coming_nodes and self.coming_nodes[0][0] <= at_s:
            came_at_s, nodes = self.coming_nodes.pop(0)
            self.cluster.advance(came_at_s)
            self.cluster.cluster.add_nodes(NodePool(node_class="H100", nodes=nodes, gpus_per_node=GPUS_PER_NODE))
        return await self.cluster.observe(at_s)

    async def act(self, policy: Policy, commands: Sequence[Command]) -> None:
        """Carry out ``commands``."""
        await self.cluster.act(policy, commands)


@dataclass(kw_only=True)
class _Watcher:
    """Shows every decision, and keeps it for the picture."""

    view: View
    title: str
    ends_s: float
    speed: float
    moments: list[Moment]

    async def decided(self, records: Sequence[Record], at_s: float) -> None:
        """Show ``records``."""
        for moment in (moment_of(record) for record in records):
            self.moments.append(moment)
            self.view.show(
                Frame(
                    title=self.title,
                    moment=moment,
                    done=min(1.0, at_s / self.ends_s),
                    left_s=max(0.0, self.ends_s - at_s) / self.speed,
                    objective_s=OBJECTIVE.limit_s,
                )
            )

    def ticked(self, at_s: float, took_s: float, outcome: Outcome) -> None:
        """Nothing is shown of a tick without a decision."""


async def run_demo(demo: Demo, view: View) -> Told:
    """Run until the hour is over or Ctrl-C, then tell. Raises OSError when the folder cannot be written."""
    moments: list[Moment] = []
    with _ended_by_signals():
        demo.folder.mkdir(parents=True, exist_ok=True)
        trace = scaled(shipped(), TRAFFIC_FACTOR, demo.seed)
        cluster = embedded_in(demo, trace)
        await _loop_over(demo, cluster, _watcher(demo, view, trace, moments)).run(trace.duration_s)
    view.close()
    return _told(demo, cluster, moments)


def _watcher(demo: Demo, view: View, trace: Trace, moments: list[Moment]) -> _Watcher:
    title = f"forebay demo: {SCENARIOS[demo.scenario].about}"
    return _Watcher(view=view, title=title, ends_s=trace.duration_s, speed=demo.speed, moments=moments)


def _loop_over(demo: Demo, cluster: EmbeddedCluster, watcher: _Watcher) -> Loop:
    stage = _Stage(cluster=cluster, coming_nodes=list(SCENARIOS[demo.scenario].later_nodes))
    return Loop(
        # The clock starts last: what was built before it is not part of the hour.
        clock=AcceleratedClock(start_s=0.0, speed=demo.speed),
        observer=stage,
        actuator=stage,
        journal=_fresh_journal(demo.folder),
        board=Board(),
        log=structlog.wrap_logger(structlog.ReturnLogger()),  # the view tells what a log would
        period_s=TICK_S,
        listeners=(watcher,),
    )


def _fresh_journal(folder: Path) -> FileJournal:
    """An empty journal: two runs in one file would both begin at zero."""
    path = folder / JOURNAL_FILE
    path.unlink(missing_ok=True)
    return FileJournal(path=path)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Until the end of the ``with``, Ctrl-C and SIGTERM end what is awaited in it; a second one has its usual effect.

    One that comes while the run is still being built ends it as soon as it begins.
    """
    task, events = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None  # noqa: S101 - a coroutine that runs is in a task
    for number in STOP_SIGNALS:
        events.add_signal_handler(number, task.cancel)
    try:
        yield
    except asyncio.CancelledError:
        task.uncancel()
    finally:
        for number in STOP_SIGNALS:
            events.remove_signal_handler(number)


def _told(demo: Demo, cluster: EmbeddedCluster, moments: Sequence[Moment]) -> Told:
    picture = demo.folder / PICTURE_FILE
    write_picture(picture, f"Forebay: {SCENARIOS[demo.scenario].about}", moments, OBJECTIVE.limit_s)
    rows = _rows(demo, cluster, moments) if moments else [("time", "it was ended before the first decision")]
    return Told(rows=rows, picture=picture, journal=demo.folder / JOURNAL_FILE)


def _rows(demo: Demo, cluster: EmbeddedCluster, moments: Sequence[Moment]) -> list[tuple[str, str]]:
    """The summary: what was asked, how fast it was answered, what it took."""
    tally, last = cluster.cluster.tally(NAME), moments[-1]
    failed = tally.fates[Fate.REFUSED] + tally.fates[Fate.FAILED]
    targets = [moment.target for moment in moments]
    changes = sum(moment.has_changed for moment in moments)
    return [
        ("time", f"{clock(last.at_s)} of traffic, {demo.speed:g} times as fast as it was"),
        ("requests", f"{tally.fates[Fate.FINISHED]:,} answered, {failed:,} failed"),
        ("TTFT", _ttft_words(cluster.cluster.outcomes(NAME).ttft_s)),
        ("GPU time", f"{tally.gpu_s / 3600.0:.1f} GPU-hours, {tally.replica_s / 3600.0:.1f} replica-hours"),
        ("replicas", f"between {min(targets)} and {max(targets)}"),
        (
            "load time",
            f"{last.load_p50_s:.0f} s learned from {last.starts_measured} starts, {demo.load_time_s:g} s emulated",
        ),
        ("decisions", f"{len(moments)}, of which {changes} changed something"),
    ]


def _ttft_words(ttft_s: NDArray[np.float64]) -> str:
    answered = ttft_s[~np.isnan(ttft_s)]
    if answered.size == 0:
        return "no request had its first token"
    p50, p95, p99 = np.percentile(answered, [50, 95, 99])
    within = float(np.mean(answered <= OBJECTIVE.limit_s))
    return f"{within:.2%} within {OBJECTIVE.limit_s:g} s; p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s"


def embedded_in(demo: Demo, trace: Trace) -> EmbeddedCluster:
    """The emulated cluster of the demo's scenario, with v1 serving ``trace`` on six warm replicas."""
    scenario = SCENARIOS[demo.scenario]
    load_times = LoadTimes(median_s=demo.load_time_s, pull_s=0.0, initialising_share=0.25)
    targets = tuple(
        TargetSpec(key=serve_key(name), engine=LLAMA_70B_H100, load_times=load_times, replicas=6 if name == "v1" else 0)
        for name in scenario.versions
    )
    weights = None if len(targets) == 1 else {"v1": 100, "v2": 0}
    service = ServiceSpec(name=NAME, trace=trace, targets=targets, weights=weights)
    pool = NodePool(node_class="H100", nodes=scenario.nodes, gpus_per_node=GPUS_PER_NODE)
    cluster = Cluster([service], [pool], seed=demo.seed)
    scenario.happens(cluster)
    return EmbeddedCluster(cluster=cluster, policies=(policy_for(scenario),))
