"""A scaler that answers, and whoever asks it as KEDA would."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import AioRpcError, Channel
from numpy.random import default_rng

from scaler.adapters.clock import SteadyClock
from scaler.adapters.keda.answers import Known
from scaler.adapters.keda.certificates import Certificates
from scaler.adapters.keda.contract import METRIC_NAME
from scaler.adapters.keda.external_scaler_pb2 import GetMetricsRequest, GetMetricsResponse, ScaledObjectRef
from scaler.adapters.keda.external_scaler_pb2_grpc import ExternalScalerStub
from scaler.adapters.keda.line import Address
from scaler.adapters.keda.listening import Listening, listen
from scaler.adapters.keda.service import ExternalScaler
from scaler.core.model import Actuation, Missing, TargetKey
from scaler.runtime.board import Lacking, Standing, Standings

if TYPE_CHECKING:
    # It is there for the types only.
    from scaler.adapters.keda.external_scaler_pb2_grpc import ExternalScalerAsyncStub

V1 = TargetKey(version="v1", role="Serve")
POLICY = "models/llama"
WITHIN_S = 5.0
AT_S = 1_772_442_000.0


def standing(replicas: int | None = 21, lacking: Lacking | None = None, **difference: Any) -> Standing:
    """A policy of one version under KEDA, whose signals may be missing for 90 s."""
    given: dict[str, Any] = {"actuation": Actuation.KEDA, "desired": {V1: replicas}, "stale_after_s": 90.0}
    return Standing(lacking=lacking, **{**given, **difference})


def ref(namespace: str = "models", **metadata: str) -> ScaledObjectRef:
    """What KEDA sends of a ScaledObject; ``metadata`` is what differs in its trigger's, empty: left out."""
    given = {"policy": "llama", "version": "v1", "scalerAddress": "forebay-scaler.forebay:8082", **metadata}
    return ScaledObjectRef(
        name="chat", namespace=namespace, scalerMetadata={key: value for key, value in given.items() if value}
    )


def question(metric: str = METRIC_NAME, **metadata: str) -> GetMetricsRequest:
    """What KEDA sends to have the value."""
    return GetMetricsRequest(scaledObjectRef=ref(**metadata), metricName=metric)


def replicas(answer: GetMetricsResponse) -> float:
    """The one value that an HPA would go by."""
    (told,) = answer.metricValues
    return told.metricValueFloat if told.metricValueFloat > 0 else float(told.metricValue)


class CountingStandings(Standings):
    """Standings that know how many listen."""

    listeners = 0

    @contextmanager
    def listening(self, name: str) -> Iterator[asyncio.Event]:
        self.listeners += 1
        try:
            with super().listening(name) as bell:
                yield bell
        finally:
            self.listeners -= 1


@dataclass
class World:
    """What a scaler knows, as a test sets it, and what it counted."""

    standings: CountingStandings = field(default_factory=CountingStandings)
    unfollowed: str | None = None
    fresh_as_of: float | Missing = AT_S
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.put(standing())

    def put(self, is_now: Standing | Missing | None, name: str = POLICY) -> None:
        self.standings.put(name, is_now)

    def count(self, rpc: str, code: str, took_s: float) -> None:
        assert took_s >= 0.0
        self.counts[rpc, code] += 1

    def known(self) -> Known:
        return Known(standings=self.standings, unfollowed=lambda: self.unfollowed, fresh_as_of=lambda: self.fresh_as_of)

    def scaler(self, stream_s: float) -> ExternalScaler:
        chance, clock = default_rng(7), SteadyClock()
        return ExternalScaler(known=self.known(), counted=self.count, clock=clock, chance=chance, stream_s=stream_s)


@asynccontextmanager
async def answering(
    world: World, certificates: Certificates | None = None, connection_s: float = 300.0
) -> AsyncIterator[Listening]:
    """A server on a port of its own, for the length of a ``with``."""
    at = Address(host="127.0.0.1", port=0, connection_s=connection_s)
    listening = await listen(world.scaler(at.stream_s), at, certificates)
    try:
        yield listening
    finally:
        await listening.close()


@asynccontextmanager
async def connected(port: int, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Channel]:
    """A connection that no other test shares."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 50)]
    address = f"localhost:{port}"
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=options)
    async with channel:
        yield channel


def stub(channel: Channel) -> "ExternalScalerAsyncStub":
    """KEDA's end of the line."""
    return ExternalScalerStub(channel)


async def heard(stream: Any) -> Any:
    """The next message of a stream, or grpc's mark of its end."""
    async with asyncio.timeout(WITHIN_S):
        return await stream.read()


async def refused(ask: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """The code and the sentence with which a call was refused."""
    try:
        await ask()
    except AioRpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError("it was answered")
