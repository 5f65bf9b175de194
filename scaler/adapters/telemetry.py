"""What Forebay says of itself: metrics, logs as JSON, and the pages that a kubelet, a Prometheus and a person read.

Nothing here decides or waits. The pages hold names and numbers of workloads and no secrets, and ask nobody who they
are: whoever reaches the address may read them. Bind it to the pod's address for the kubelet and Prometheus, and let a
NetworkPolicy say who else comes; on a shared host bind it to 127.0.0.1.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import TypeAdapter

from scaler.core.model import Fleet
from scaler.core.plan import Plan, TargetPlan
from scaler.runtime.board import Board
from scaler.runtime.ports import Record

TICK_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DONE: Final = "done"
"""The outcome of a tick that was carried out."""

TARGET_LABELS: Final = ("policy", "version", "role")

Check = Callable[[], str | None]
"""What is wrong, in a sentence, or None."""


# --- Metrics -----------------------------------------------------------------------------------------------------


class Telemetry:
    """The metrics of one process in ``registry``. Names and labels are stable; label values are few.

    What describes a policy is read from ``board`` when somebody asks, so it goes when the policy goes.
    """

    def __init__(self, registry: CollectorRegistry, board: Board) -> None:
        self._tick_s = Histogram(
            "forebay_tick_duration_seconds", "How long a tick took.", buckets=TICK_BUCKETS_S, registry=registry
        )
        self._ticks = Counter("forebay_ticks", "Ticks, by how they ended.", ["outcome"], registry=registry)
        self._last_tick_s = Gauge(
            "forebay_last_tick_timestamp_seconds", "When the last tick that was carried out began.", registry=registry
        )
        self._decisions = Counter(
            "forebay_decisions",
            "Decisions on a target, by the rule that had the last word.",
            ["rule"],
            registry=registry,
        )
        self._changes = Counter(
            "forebay_replica_changes", "Replicas asked for and given up.", ["direction"], registry=registry
        )
        self._requests = Counter(
            "forebay_api_requests", "Requests to the Kubernetes API.", ["verb", "resource", "status"], registry=registry
        )
        self._queries = Counter(
            "forebay_prometheus_queries", "Queries to Prometheus, by how they ended.", ["outcome"], registry=registry
        )
        self._is_leader = Gauge("forebay_is_leader", "1 where this process acts.", registry=registry)
        self._of_policies = _OfPolicies(board)
        registry.register(self._of_policies)
        self._answers = _Answers()
        registry.register(self._answers)

    def ticked(self, at_s: float, took_s: float, outcome: str) -> None:
        """A tick that began at ``at_s`` has ended: ``done``, ``skipped`` or another of few words."""
        self._tick_s.observe(took_s)
        self._ticks.labels(outcome).inc()
        if outcome == DONE:
            self._last_tick_s.set(at_s)

    def decided(self, records: Iterable[Record]) -> None:
        """These decisions were taken."""
        for target in (target for record in records for target in record.plan.targets):
            self._decisions.labels(target.trail[-1].rule).inc()
            change = target.replicas - target.trail[0].before
            if change:
                self._changes.labels("up" if change > 0 else "down").inc(abs(change))

    def requested(self, verb: str, resource: str, status: str) -> None:
        """A request to the Kubernetes API has ended; ``resource`` is a plural such as ``pods``, never a name."""
        self._requests.labels(verb, resource, status).inc()

    def queried(self, outcome: str) -> None:
        """A query to Prometheus has ended."""
        self._queries.labels(outcome).inc()

    def answered(self, counts: Sequence[Metric]) -> None:
        """These are the metrics of the process that answers KEDA, as of now. They begin anew when it does."""
        self._answers.counts = counts

    def lacked(self, lacking: Mapping[str, Mapping[str, int]]) -> None:
        """How many signals were missing in this tick, by policy and reason; what is not named is not missing."""
        self._of_policies.lacking = lacking

    def led(self, *, is_leader: bool) -> None:
        """Whether this process acts, from now on."""
        self._is_leader.set(1.0 if is_leader else 0.0)


class _Answers(Collector):
    """What another process has counted, as it said last."""

    def __init__(self) -> None:
        self.counts: Sequence[Metric] = ()

    def describe(self) -> Iterator[Metric]:
        """No names: they are that process', and none before it has said any."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The families."""
        return iter(self.counts)


class _OfPolicies(Collector):
    """Reads the board at the time of the scrape."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.lacking: Mapping[str, Mapping[str, int]] = {}

    def describe(self) -> Iterator[Metric]:
        """The names, for the registry to see that nobody else has them."""
        yield from _families().each()

    def collect(self) -> Iterator[Metric]:
        """The families, with a sample for each target of each policy on the board."""
        families = _families()
        for plan in self._board.plans():
            record = self._board.latest(plan.policy)
            for target in plan.targets:
                families.add_target(plan, target)
                if record is not None:
                    families.add_fleet(plan.policy, target, record.observation.fleet(target.key))
            for reason, count in self.lacking.get(plan.policy, {}).items():
                families.missing.add_metric([plan.policy, reason], count)
        yield from families.each()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Families:
    desired: GaugeMetricFamily
    ready: GaugeMetricFamily
    starting: GaugeMetricFamily
    load_s: GaugeMetricFamily
    load_samples: GaugeMetricFamily
    missing: GaugeMetricFamily

    def each(self) -> Iterator[Metric]:
        yield from (self.desired, self.ready, self.starting, self.load_s, self.load_samples, self.missing)

    def add_target(self, plan: Plan, target: TargetPlan) -> None:
        labels = _labels(plan.policy, target)
        self.desired.add_metric(labels, target.replicas)
        learned = plan.load_times.get(str(target.key))
        if learned is not None:
            self.load_s.add_metric([*labels, "0.5"], learned.p50_s)
            self.load_s.add_metric([*labels, "0.9"], learned.p90_s)
            self.load_samples.add_metric(labels, learned.samples)

    def add_fleet(self, policy: str, target: TargetPlan, fleet: object) -> None:
        # A fleet that is not known has no sample: 0 ready would be an outage.
        if isinstance(fleet, Fleet):
            self.ready.add_metric(_labels(policy, target), len(fleet.ready()))
            self.starting.add_metric(_labels(policy, target), len(fleet.starting()))


def _labels(policy: str, target: TargetPlan) -> list[str]:
    return [policy, target.key.version, target.key.role]


def _families() -> _Families:
    return _Families(
        desired=_family("forebay_desired_replicas", "Replicas that a target should have."),
        ready=_family("forebay_ready_replicas", "Replicas that may be sent requests."),
        starting=_family("forebay_starting_replicas", "Replicas on their way to be ready for the first time."),
        load_s=_family("forebay_load_seconds", "Learned time from created to ready.", "quantile"),
        load_samples=_family("forebay_load_samples", "Measured starts that the load time rests on."),
        missing=GaugeMetricFamily(
            "forebay_signals_missing", "Signals that the last tick could not read.", labels=["policy", "reason"]
        ),
    )


def _family(name: str, text: str, *more: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=[*TARGET_LABELS, *more])


# --- Pages -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What /healthz and /readyz rest on.

    ``loop`` speaks when the loop has not ticked for too long, ``lease`` when one is lost and the work goes on: either
    makes /healthz fail, and the kubelet starts us anew. ``start`` speaks until there is something to answer from.
    """

    loop: Check
    lease: Check
    start: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A `Check` on the loop: it last ticked, or else began, at ``last_s``, and should once in each ``period_s``."""

    last_s: Callable[[], float]
    now_s: Callable[[], float]
    period_s: float
    periods: int = 4

    def __call__(self) -> str | None:
        """What is wrong when ``periods`` have gone by without a tick."""
        silent_s = self.now_s() - self.last_s()
        if silent_s <= self.periods * self.period_s:
            return None
        return f"the loop has not ticked for {silent_s:.0f} s; it should each {self.period_s:g} s"


def pages(registry: CollectorRegistry, board: Board, checks: Checks) -> web.Application:
    """The application with /metrics, /healthz, /readyz and /debug/plans."""
    behind = _Pages(registry=registry, board=board, checks=checks)
    app = web.Application()
    app.router.add_get("/metrics", behind.metrics)
    app.router.add_get("/healthz", behind.health)
    app.router.add_get("/readyz", behind.readiness)
    app.router.add_get("/debug/plans", behind.plans)
    return app


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Serve ``app`` at ``host`` and ``port`` (0 picks a free one) until the runner's ``cleanup()``."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


PLANS: Final = TypeAdapter(list[Plan])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pages:
    registry: CollectorRegistry
    board: Board
    checks: Checks

    async def metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})

    async def health(self, _: web.Request) -> web.Response:
        return _verdict(self.checks.loop, self.checks.lease)

    async def readiness(self, _: web.Request) -> web.Response:
        return _verdict(self.checks.start)

    async def plans(self, _: web.Request) -> web.Response:
        return web.Response(body=PLANS.dump_json(list(self.board.plans()), indent=2), content_type="application/json")


def _verdict(*checks: Check) -> web.Response:
    wrong = [said for check in checks if (said := check()) is not None]
    if wrong:
        return web.Response(text="\n".join(wrong) + "\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
    return web.Response(text="ok\n")
