"""KEDA's questions, answered by every replica from what the policies' statuses and the Lease say.

They are answered in a process of their own (`answerer.py`), which is started, told and watched here.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

from structlog.typing import FilteringBoundLogger

from scaler.adapters.clock import SteadyClock
from scaler.adapters.keda.line import Address, CertificateFiles, Counted, Line, News, Opened, Order, Unable, line_over
from scaler.adapters.kubernetes.cluster import KubernetesCluster
from scaler.adapters.kubernetes.election import Elector
from scaler.adapters.kubernetes.informer import Watched
from scaler.adapters.kubernetes.policies import PolicyObject
from scaler.adapters.kubernetes.standing import standing_of
from scaler.adapters.kubernetes.store import Key
from scaler.adapters.kubernetes.views import PATIENCE_S
from scaler.adapters.telemetry import Telemetry
from scaler.core.model import Actuation, Missing
from scaler.runtime.board import Standing
from scaler.runtime.ports import Clock
from scaler.settings import Settings
from scaler.wiring.errors import UserError

MODULE: Final = "scaler.wiring.answerer"

FRESH_TICKS: Final = 4
FRESH_LEASES: Final = 2
"""Plans count for so many ticks without a heartbeat, as the loop's health check bears, and on top of that for a change
of leaders: one lease to run out, and another for the first tick of the next."""

NEWS_EVERY_S: Final = 1.0
"""Of a changed policy at once; of the heartbeat, and that all is well, so often."""

ENDS_WITHIN_S: Final = 2.0
"""Twice what its calls get to end in; a process that has not ended by then is killed."""

SILENT_S: Final = 30.0
"""It says what it counted once a second; one that is silent for so long hangs, and is killed."""

PAUSE_S: Final = 1.0
"""Between the end of one that was not told to end, and the start of the next."""


@dataclass(slots=True, kw_only=True)
class Gatherer:
    """Gathers what there is to answer from: policies as they are stored, and the heartbeat."""

    policies: Watched[PolicyObject]
    elector: Elector
    clock: Clock
    advises_only: bool
    _changed: dict[str, Standing | Missing | None] = field(default_factory=dict)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """For the length of a ``with``, changes of policies are gathered, beginning with all that there are."""
        self._changed = {"/".join(key): self._standing(policy) for key, policy in self.policies.store.items()}
        self.policies.store.changed = self._change
        try:
            yield
        finally:
            self.policies.store.changed = None

    async def news(self) -> News:
        """What is new since the last time, once something is, or ``NEWS_EVERY_S`` have passed."""
        try:
            async with asyncio.timeout(NEWS_EVERY_S):
                await self._bell.wait()
        except TimeoutError:
            pass
        self._bell.clear()
        changed, self._changed = self._changed, {}
        now_s = self.clock.now_s()
        unfollowed = self.policies.lost(now_s, PATIENCE_S)
        return News(at_s=now_s, standings=changed, unfollowed=unfollowed, heard=self.elector.heard)

    def _change(self, key: Key, policy: PolicyObject | None) -> None:
        """The policy at ``key`` is now this one; None: there is none any more."""
        self._changed["/".join(key)] = None if policy is None else self._standing(policy)
        self._bell.set()

    def _standing(self, policy: PolicyObject) -> Standing | Missing:
        standing = standing_of(policy)
        if isinstance(standing, Missing) or not self.advises_only:
            return standing
        return replace(standing, actuation=Actuation.ADVISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """The process, once it answers at ``port``."""

    process: asyncio.subprocess.Process
    line: Line
    port: int

    async def close(self) -> int:
        """Have it end all streams with OK and then itself; its exit code."""
        self.line.close()
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


@dataclass(slots=True, kw_only=True)
class Answering:
    """Keeps a process that answers KEDA. One that ends, though nobody told it to, has a successor at the same port."""

    order: Order
    gatherer: Gatherer
    telemetry: Telemetry
    log: FilteringBoundLogger
    silent_s: float = SILENT_S
    _answerer: Answerer | None = None

    @property
    def port(self) -> int:
        """Where it is answered."""
        return self.order.at.port

    @property
    def pid(self) -> int | None:
        """The process' number, None while there is none."""
        return None if self._answerer is None else self._answerer.process.pid

    def trouble(self) -> str | None:
        """Why nobody answers KEDA now, None while somebody does."""
        return "the process that answers KEDA has not started, or has ended" if self._answerer is None else None

    async def open(self) -> None:
        """Return when it is answered. Raises UserError."""
        self._answerer = await _started(self.order)
        self.order = replace(self.order, at=replace(self.order.at, port=self._answerer.port))
        transport = "plaintext" if self.order.certificates is None else self.order.certificates.transport
        self.log.info("answering_keda", port=self.port, transport=transport)

    async def run(self) -> NoReturn:
        """Tell the process what there is to answer from, and start another when it ends, until cancelled."""
        while True:
            if self._answerer is None:
                self._answerer = await self._succeeded()
            ended = self._answerer
            await self._tell_and_hear(ended.line)
            self._answerer = None
            self.log.error("answerer_ended", exit_code=await ended.close())

    async def close(self) -> None:
        """End all streams with OK, and then the process."""
        if self._answerer is not None:
            await self._answerer.close()

    async def _succeeded(self) -> Answerer:
        clock = self.gatherer.clock
        while True:
            await clock.wait_until(clock.now_s() + PAUSE_S)
            try:
                answerer = await _started(self.order)
            except UserError as error:
                self.log.error("answerer_not_started", why=str(error))  # noqa: TRY400 - the sentence says it all
                continue
            self.log.info("answering_keda_again", port=answerer.port)
            return answerer

    async def _tell_and_hear(self, line: Line) -> None:
        """Return when the other process has ended, or hangs."""
        both = {asyncio.ensure_future(self._tell(line)), asyncio.ensure_future(self._hear(line))}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.wait(both)
        for each in both:
            if not each.cancelled():
                each.result()  # a bug of ours ends this process, and not the other one again and again

    async def _tell(self, line: Line) -> None:
        """Return when nobody takes the news any more."""
        with self.gatherer.gathering():
            while True:
                news = await self.gatherer.news()
                try:
                    await line.say(news)
                except ConnectionError:
                    return

    async def _hear(self, line: Line) -> None:
        """Return when no counts come any more."""
        while True:
            try:
                async with asyncio.timeout(self.silent_s):
                    counted: Counted | None = await line.hear()
            except TimeoutError:
                self.log.error("answerer_hangs", silent_s=self.silent_s)  # noqa: TRY400 - the place says nothing more
                return
            if counted is None:
                return
            self.telemetry.answered(counted.metrics)


def answering(
    settings: Settings, cluster: KubernetesCluster, elector: Elector, telemetry: Telemetry, log: FilteringBoundLogger
) -> Answering | None:
    """Who answers KEDA once it is opened; None where no port was given for it."""
    if settings.keda_listen_on is None:
        return None
    gatherer = Gatherer(
        policies=cluster.views.policies, elector=elector, clock=SteadyClock(), advises_only=settings.advise_only
    )
    return Answering(order=_order(settings, settings.keda_listen_on), gatherer=gatherer, telemetry=telemetry, log=log)


async def _started(order: Order) -> Answerer:
    """A process that answers by ``order``. Raises UserError when it says that it cannot."""
    ours, theirs = socket.socketpair()
    with theirs:
        end = theirs.fileno()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", MODULE, str(end), pass_fds=(end,))
    line = await line_over(ours)
    try:
        await line.say(order)
        answer: Opened | Unable | None = await line.hear()
    except ConnectionError:
        answer = None
    except BaseException:
        await Answerer(process=process, line=line, port=0).close()
        raise
    if isinstance(answer, Opened):
        return Answerer(process=process, line=line, port=answer.port)
    code = await Answerer(process=process, line=line, port=0).close()
    if answer is None:
        raise UserError(f"--keda-listen-on {order.at.port}: the process that answers there ended at once ({code})")
    raise UserError(answer.why)


def _order(settings: Settings, port: int) -> Order:
    at = Address(host=settings.keda_listen_address, port=port, connection_s=settings.keda_connection_seconds)
    return Order(
        at=at,
        certificates=_certificates(settings),
        fresh_s=FRESH_TICKS * settings.tick_seconds + FRESH_LEASES * settings.lease_seconds,
        patience_s=PATIENCE_S,
        log_level=logging.getLevelNamesMapping()[settings.log_level.upper()],
    )


def _certificates(settings: Settings) -> CertificateFiles | None:
    certificate, key = settings.keda_certificate_file, settings.keda_key_file
    if certificate is None or key is None:
        return None
    return CertificateFiles(certificate=certificate, key=key, client_ca=settings.keda_client_ca_file)
