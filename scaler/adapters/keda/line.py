"""The line between the process that decides and the one that answers KEDA, and what they say on it.

It is a pair of connected sockets, which the kernel closes with either process, however that ends. So neither outlives
the other unnoticed. What is said is pickled: both ends are one program, and nobody else has them.
"""

import asyncio
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client.metrics_core import Metric

from scaler.core.model import Missing
from scaler.runtime.board import Heard, Standing

LENGTH_BYTES: Final = 4

STREAM_SHARE: Final = 0.8
"""A stream lasts this share of what a connection does, so that it has ended by itself when its connection is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen (port 0: a free one), and the age in seconds at which a connection ends.

    gRPC itself ends each 10 % earlier or later, by chance (gRFC A9).
    """

    host: str
    port: int
    connection_s: float

    @property
    def stream_s(self) -> float:
        """How long a stream lasts at most."""
        return STREAM_SHARE * self.connection_s


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where they are, in PEM. With ``client_ca`` whoever connects must show a certificate of those authorities."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def transport(self) -> str:
        """What a connection is then called."""
        return "TLS" if self.client_ca is None else "mutual TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The first word to who answers: where and to whom, and how much to log.

    ``fresh_s`` is how long a heartbeat counts, ``patience_s`` how long the standings do when no news comes.
    """

    at: Address
    certificates: CertificateFiles | None
    fresh_s: float
    patience_s: float
    log_level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What there is to answer from, as of ``at_s`` on the steady clock, which is one for all processes of a machine.

    ``standings`` are those that are new; None is of a policy that is gone. ``unfollowed`` says why they are not to be
    relied on, None while they are.
    """

    at_s: float
    standings: Mapping[str, Standing | Missing | None]
    unfollowed: str | None
    heard: Heard | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The answer to an order: it is answered at ``port`` from now on."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unable:
    """The other answer to an order: why it cannot be carried out, in a sentence."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The metrics of who answers, each time as of now."""

    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One end of it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, word: Order | News | Opened | Unable | Counted) -> None:
        """Return when ``word`` is on its way, and there is room for another. Raises ConnectionError."""
        text = pickle.dumps(word)
        self.writer.write(len(text).to_bytes(LENGTH_BYTES, "big") + text)
        await self.writer.drain()

    async def hear(self) -> Any:
        """The next word of the other end, None when that has closed."""
        try:
            length = int.from_bytes(await self.reader.readexactly(LENGTH_BYTES), "big")
            return pickle.loads(await self.reader.readexactly(length))  # noqa: S301 - see above
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


async def line_over(end: socket.socket) -> Line:
    """The line of which ``end`` is one end."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    return Line(reader=reader, writer=writer)
