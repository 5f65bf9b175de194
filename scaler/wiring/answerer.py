"""The process that answers KEDA: `python -m scaler.wiring.answerer DESCRIPTOR`, which `answering.py` starts.

It has an interpreter of its own, so that no answer waits while the other one decides. It knows what it is told over
the line, decides nothing, and ends when the line does. Signals are the other one's: a Ctrl-C reaches both.
"""

import asyncio
import gc
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from scaler.adapters.clock import SteadyClock
from scaler.adapters.keda.answers import Known
from scaler.adapters.keda.certificates import CertificateError, Certificates
from scaler.adapters.keda.counts import Counts
from scaler.adapters.keda.line import Counted, Line, News, Opened, Order, Unable, line_over
from scaler.adapters.keda.listening import Listening, listen
from scaler.adapters.keda.service import ExternalScaler
from scaler.adapters.logs import log_as_json
from scaler.core.model import Missing
from scaler.runtime.board import Standings, fresh_as_of
from scaler.runtime.ports import Clock

COUNTS_EVERY_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Told:
    """What this process was told, and for how long that counts."""

    order: Order
    clock: Clock
    standings: Standings = field(default_factory=Standings)
    _last: News | None = None

    def take(self, news: News) -> None:
        """This is how things stand, from now on."""
        for name, standing in news.standings.items():
            self.standings.put(name, standing)
        self._last = news

    def known(self) -> Known:
        """What there is to answer from."""
        return Known(standings=self.standings, unfollowed=self._unfollowed, fresh_as_of=self._fresh_as_of)

    def _unfollowed(self) -> str | None:
        if self._last is None:
            return "nothing was told of them yet"
        silent_s = self.clock.now_s() - self._last.at_s
        if silent_s > self.order.patience_s:
            return f"the process that follows them has said nothing for {silent_s:.0f} s"
        return self._last.unfollowed

    def _fresh_as_of(self) -> float | Missing:
        heard = None if self._last is None else self._last.heard
        return fresh_as_of(heard, self.clock.now_s(), self.order.fresh_s)


async def _answer(descriptor: int) -> None:
    """Carry the order out that comes over the line, until the line ends."""
    line = await line_over(socket.socket(fileno=descriptor))
    order = await line.hear()
    if order is None:
        return
    told, registry = Told(order=order, clock=SteadyClock()), CollectorRegistry()
    try:
        listening = await _listening(told, Counts(registry), log_as_json(sys.stderr, order.log_level))
    except CertificateError as error:
        await line.say(Unable(why=f"--keda-certificate-file: {error}"))
        return
    except OSError as error:
        await line.say(Unable(why=f"--keda-listen-on {order.at.port}: {error}"))
        return
    counting = asyncio.ensure_future(_count(line, registry, told.clock))
    try:
        await _answer_from(told, line, listening)
    finally:
        counting.cancel()
        await asyncio.wait({counting})
        await listening.close()


async def _listening(told: Told, counts: Counts, log: FilteringBoundLogger) -> Listening:
    """A server that answers from what is told. Raises CertificateError and OSError."""
    at, files = told.order.at, told.order.certificates
    certificates = None if files is None else Certificates(files=files, log=log)
    scaler = ExternalScaler(
        known=told.known(),
        counted=counts.answered,
        clock=told.clock,
        chance=np.random.default_rng(),
        stream_s=at.stream_s,
    )
    return await listen(scaler, at, certificates)


async def _answer_from(told: Told, line: Line, listening: Listening) -> None:
    await line.say(Opened(port=listening.port))
    # All that there is now stays: no collection of garbage needs to look at it again, while an answer waits.
    gc.freeze()
    while (news := await line.hear()) is not None:
        told.take(news)


async def _count(line: Line, registry: CollectorRegistry, clock: Clock) -> None:
    """Say what was counted, now and again; whether the line has ended, whoever hears the news finds out."""
    while True:
        await clock.wait_until(clock.now_s() + COUNTS_EVERY_S)
        try:
            await line.say(Counted(metrics=tuple(registry.collect())))
        except ConnectionError:
            return


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_answer(int(sys.argv[1])))
