"""The controller's process: a candidate that follows the cluster, and the loop while it leads."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import numpy as np
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from structlog.typing import FilteringBoundLogger

from scaler.adapters.clock import SteadyClock, SystemClock
from scaler.adapters.journal import FileJournal
from scaler.adapters.kubernetes.budget import Budget
from scaler.adapters.kubernetes.client import Client
from scaler.adapters.kubernetes.cluster import KubernetesCluster, cluster_of
from scaler.adapters.kubernetes.election import Elector, LostLeaseError, Post, Terms
from scaler.adapters.kubernetes.errors import AccessError
from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.adapters.kubernetes.transport import Transport, from_kubeconfig, in_cluster
from scaler.adapters.logs import log_as_json
from scaler.adapters.prometheus import Account, PrometheusSignals, Reads, Server
from scaler.adapters.telemetry import Beat, Checks, Telemetry, pages, serve
from scaler.runtime.board import Board
from scaler.runtime.loop import Loop
from scaler.settings import Settings, SettingsFaults, settings_from
from scaler.wiring.answering import Answering, answering
from scaler.wiring.errors import UserError
from scaler.wiring.world import Accountant, Herald, World

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
LEASE_REQUESTS_PER_SECOND: Final = 5
"""The lease's own budget: two requests each two seconds, and room for a conflict; no rush of others may cost it."""

OVERDUE_S: Final = 5.0
"""A lost lease should have ended the work within this; then the kubelet should end the process."""


def controlled(words: Sequence[str]) -> int:
    """Run until SIGTERM or Ctrl-C (0), or until the lease is lost (1). Raises UserError before anything has begun."""
    try:
        settings = settings_from(words)
        servers = _servers(settings)
    except SettingsFaults as error:
        raise UserError(str(error)) from error
    except ValueError as error:
        raise UserError(f"--prometheus-urls: {error}") from error
    log = log_as_json(sys.stderr, LEVELS[settings.log_level])
    return asyncio.run(_until_stopped(settings, servers, log))


def _servers(settings: Settings) -> list[Server]:
    """The Prometheus servers. The first one is asked the users' own queries as well: nobody else's answer counts."""
    return [
        Server(
            url=url,
            reads=frozenset(Reads) if place == 0 else frozenset(Reads) - {Reads.QUERIES},
            matchers=settings.prometheus_matchers,
            token_file=settings.prometheus_bearer_token_file,
            username=settings.prometheus_username,
            password_file=settings.prometheus_password_file,
            ca_file=settings.prometheus_ca_file,
            certificate_file=settings.prometheus_client_certificate_file,
            key_file=settings.prometheus_client_key_file,
            tenant=settings.prometheus_tenant,
        )
        for place, url in enumerate(settings.prometheus_urls)
    ]


async def _until_stopped(settings: Settings, servers: Sequence[Server], log: FilteringBoundLogger) -> int:
    working = asyncio.create_task(_controller(settings, servers, log))
    events = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        events.add_signal_handler(number, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        log.info("stopped")
    except LostLeaseError as error:
        log.error("lease_lost", why=str(error))  # noqa: TRY400 - a sentence says it; the place in the code does not
        return 1
    return 0


async def _controller(settings: Settings, servers: Sequence[Server], log: FilteringBoundLogger) -> None:
    """Follow the cluster, wait for the lease, and decide while we have it."""
    registry, board, steady = CollectorRegistry(), Board(), SteadyClock()
    ProcessCollector(registry=registry)
    telemetry = Telemetry(registry, board)
    async with AsyncExitStack() as stack:
        transport = await _connected(settings)
        stack.push_async_callback(transport.close)
        elector = _elector(settings, transport, telemetry, log)
        cluster = _cluster(settings, transport, telemetry, elector.may_write, log)
        account = Accountant(telemetry=telemetry, clock=steady, log=log)
        signals = _signals(settings, servers, telemetry, account.told)
        stack.callback(signals.close)
        world = World(cluster=cluster, signals=signals, advises_only=settings.advise_only)
        herald = Herald(cluster=cluster, world=world, beat=elector.beat)
        loop = Loop(
            clock=SystemClock(),
            observer=world,
            actuator=world,
            journal=_journal(settings),
            board=board,
            log=log,
            period_s=settings.tick_seconds,
            listeners=(account, herald),
        )
        answers = answering(settings, cluster, elector, telemetry, log)
        checks = _checks(settings, account, elector, cluster, answers)
        runner = await _serving(settings, registry, board, checks)
        stack.push_async_callback(runner.cleanup)
        if answers is not None:
            stack.push_async_callback(answers.close)
            await answers.open()
        await _lead(elector, cluster, loop, account, answers)


async def _connected(settings: Settings) -> Transport:
    is_named = settings.kubeconfig is not None or settings.context is not None
    transport = from_kubeconfig(settings.kubeconfig, settings.context) if is_named else in_cluster()
    try:
        await transport.connect()
    except AccessError as error:
        raise UserError(f"--kubeconfig {settings.kubeconfig or 'left out'}: {error}") from error
    return transport


def _elector(settings: Settings, transport: Transport, telemetry: Telemetry, log: FilteringBoundLogger) -> Elector:
    steady = SteadyClock()
    budget = Budget(clock=steady, per_second=LEASE_REQUESTS_PER_SECOND)
    identity = settings.identity or f"{socket.gethostname()}_{os.getpid()}"
    return Elector(
        client=Client(transport=transport, budget=budget, counted=telemetry.requested, may_write=lambda: True),
        post=Post(namespace=settings.lease_namespace, name=settings.lease_name, identity=identity),
        wall=SystemClock(),
        steady=steady,
        chance=np.random.default_rng(),
        log=log,
        terms=_terms(settings.lease_seconds),
    )


def _terms(lease_s: float) -> Terms:
    """Kubernetes' own proportions, 15 to 10 to 2: two failed renewals in a row cost nothing."""
    return Terms(lease_s=lease_s, renew_within_s=lease_s * 2.0 / 3.0, retry_s=lease_s * 2.0 / 15.0, stop_within_s=3.0)


def _cluster(
    settings: Settings,
    transport: Transport,
    telemetry: Telemetry,
    may_write: Callable[[], bool],
    log: FilteringBoundLogger,
) -> KubernetesCluster:
    steady = SteadyClock()
    budget = Budget(clock=steady, per_second=settings.api_requests_per_second)
    client = Client(transport=transport, budget=budget, counted=telemetry.requested, may_write=may_write)
    events = Events(client=client, log=log, instance=settings.identity or socket.gethostname())
    means = Means(client=client, clock=steady, chance=np.random.default_rng(), log=log)
    return cluster_of(client, means, tuple(settings.namespaces), Reporter(client=client, events=events, log=log))


def _signals(
    settings: Settings, servers: Sequence[Server], telemetry: Telemetry, told: Callable[[Account], None]
) -> PrometheusSignals:
    timeout_s = settings.prometheus_timeout_seconds
    return PrometheusSignals(servers, timeout_s=timeout_s, counted=telemetry.queried, told=told)


def _journal(settings: Settings) -> FileJournal:
    return FileJournal(path=settings.journal, most_bytes=settings.journal_most_mib * 2**20, kept=settings.journal_kept)


def _checks(
    settings: Settings, account: Accountant, elector: Elector, cluster: KubernetesCluster, answers: Answering | None
) -> Checks:
    beat = Beat(last_s=account.last_tick_s, now_s=SteadyClock().now_s, period_s=settings.tick_seconds)

    def loop() -> str | None:
        return beat() if account.is_leading else None

    def lease() -> str | None:
        overdue_s = elector.overdue_s()
        return f"the lease was lost {overdue_s:.0f} s ago, and the work goes on" if overdue_s > OVERDUE_S else None

    def start() -> str | None:
        # Whoever answers nobody should not be asked: KEDA's Service sends it only to those that are ready.
        return cluster.unlisted or (None if answers is None else answers.trouble())

    return Checks(loop=loop, lease=lease, start=start)


async def _serving(settings: Settings, registry: CollectorRegistry, board: Board, checks: Checks) -> web.AppRunner:
    try:
        runner = await serve(pages(registry, board, checks), settings.listen_address, settings.listen_on)
    except OSError as error:
        raise UserError(f"--listen-on {settings.listen_on}: {error.strerror or error}") from error
    return runner


async def _lead(
    elector: Elector, cluster: KubernetesCluster, loop: Loop, account: Accountant, answers: Answering | None
) -> None:
    """Follow the cluster and answer KEDA all the time, and run the loop while we lead; the end of one ends all."""

    async def work() -> None:
        with account.leading():
            await loop.run()

    following: asyncio.Future[None] = asyncio.ensure_future(cluster.run())
    leading = asyncio.ensure_future(elector.lead(work))
    telling: list[asyncio.Future[None]] = [] if answers is None else [asyncio.ensure_future(answers.run())]
    # In this order at the end: the lease is given back through the API, and the cluster may be followed until then.
    tasks = [leading, following, *telling]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            await asyncio.wait({task})
    for task in tasks:
        if not task.cancelled():
            task.result()
