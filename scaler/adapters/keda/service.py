"""The external scaler that KEDA asks. It answers from memory, waits for nobody and decides nothing.

How often it is asked changes nothing: an answer reads, and leaves no trace but a count.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn, Protocol, TypeVar

from grpc import StatusCode
from grpc.aio import ServicerContext
from numpy.random import Generator

from scaler.adapters.keda.answers import Asked, Known, Refusal, asked_of, check_metric, specification, value
from scaler.adapters.keda.external_scaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    ScaledObjectRef,
)
from scaler.adapters.keda.external_scaler_pb2_grpc import ExternalScalerServicer
from scaler.runtime.ports import Clock

T = TypeVar("T")

Context = ServicerContext[Any, Any]

SHORTEST_STREAM: Final = 0.8
"""A stream ends within this share of ``stream_s`` and all of it, by chance: streams that KEDA opened together should
not come again together."""

ASKS_AGAIN_S: Final = 5.0
"""A stream that had nothing to say yet looks again after so long: of a heartbeat nobody is told."""


class Counted(Protocol):
    """Is told of each answer: the call's name, the status code's, and how long it took."""

    def __call__(self, rpc: str, code: str, took_s: float) -> None:
        """Count it."""
        ...


@dataclass(slots=True, kw_only=True)
class ExternalScaler(ExternalScalerServicer):
    """Answers from ``known``. A stream ends with OK within ``stream_s``, or at ``close()``; KEDA then opens another."""

    known: Known
    counted: Counted
    clock: Clock
    chance: Generator
    stream_s: float
    _open: set[asyncio.Event] = field(default_factory=set)
    _is_closing: bool = False

    # The calls' names are the protocol's.

    async def IsActive(self, request: ScaledObjectRef, context: Context) -> IsActiveResponse:  # noqa: N802
        """Whether any replica is wanted; as long as one is, KEDA may not go to zero."""
        return await self._answer("IsActive", context, lambda: self._is_active(request))

    async def GetMetricSpec(self, _: ScaledObjectRef, context: Context) -> GetMetricSpecResponse:  # noqa: N802
        """The one metric we have, whatever is asked for."""
        return await self._answer("GetMetricSpec", context, specification)

    async def GetMetrics(self, request: GetMetricsRequest, context: Context) -> GetMetricsResponse:  # noqa: N802
        """The replicas that were decided on."""
        return await self._answer("GetMetrics", context, lambda: self._metrics(request))

    async def StreamIsActive(  # noqa: N802
        self, request: ScaledObjectRef, context: Context
    ) -> AsyncIterator[IsActiveResponse]:
        """The same as IsActive, at once and whenever it changes. While it cannot be told, nothing is said.

        An error would only keep KEDA away for up to a minute.
        """
        ends_s, rpc = self._ends_s(), "StreamIsActive"
        said: IsActiveResponse | None = None
        asked = await self._asked(rpc, context, request)
        with self.known.standings.listening(asked.policy) as bell:
            while not self._has_ended(ends_s):
                now = await self._answer(rpc, context, partial(self._change, asked, said))
                if now is not None:
                    yield now
                    said = now
                await self._wait(bell, ends_s if said is not None else min(ends_s, self.clock.now_s() + ASKS_AGAIN_S))

    async def StreamMetricSpec(  # noqa: N802
        self, _: ScaledObjectRef, context: Context
    ) -> AsyncIterator[GetMetricSpecResponse]:
        """The same as GetMetricSpec, which never changes."""
        ends_s = self._ends_s()
        if not self._is_closing:
            yield await self._answer("StreamMetricSpec", context, specification)
        await self._wait(asyncio.Event(), ends_s)

    def close(self) -> None:
        """End all streams, with OK: after any other end KEDA stays away for longer each time."""
        self._is_closing = True
        for bell in self._open:
            bell.set()

    # --- Answers -----------------------------------------------------------------------------------------------

    def _is_active(self, ref: ScaledObjectRef) -> IsActiveResponse:
        return IsActiveResponse(result=self.known.desired(asked_of(ref)) > 0)

    def _change(self, asked: Asked, said: IsActiveResponse | None) -> IsActiveResponse | None:
        """What to say after ``said``, None where that is the same or not known now."""
        try:
            now = IsActiveResponse(result=self.known.desired(asked) > 0)
        except Refusal as refusal:
            if refusal.code is StatusCode.UNAVAILABLE:
                return None
            raise
        return None if now == said else now

    def _metrics(self, request: GetMetricsRequest) -> GetMetricsResponse:
        check_metric(request.metricName)
        return value(self.known.desired(asked_of(request.scaledObjectRef)))

    async def _answer(self, rpc: str, context: Context, made: Callable[[], T]) -> T:
        """What ``made`` makes, counted unless it is nothing; its Refusal is the end of the call."""
        begun_s = self.clock.now_s()
        try:
            answer = made()
        except Refusal as refusal:
            self.counted(rpc, refusal.code.name, self.clock.now_s() - begun_s)
            await _refuse(context, refusal)
        if answer is not None:
            self.counted(rpc, StatusCode.OK.name, self.clock.now_s() - begun_s)
        return answer

    async def _asked(self, rpc: str, context: Context, ref: ScaledObjectRef) -> Asked:
        """What a stream is about; that alone is no answer yet."""
        try:
            return asked_of(ref)
        except Refusal as refusal:
            self.counted(rpc, refusal.code.name, 0.0)
            await _refuse(context, refusal)

    # --- Streams -----------------------------------------------------------------------------------------------

    def _ends_s(self) -> float:
        return self.clock.now_s() + lasting_s(self.stream_s, self.chance)

    def _has_ended(self, ends_s: float) -> bool:
        return self._is_closing or self.clock.now_s() >= ends_s

    async def _wait(self, bell: asyncio.Event, until_s: float) -> None:
        """Return when ``bell`` rings, at ``until_s``, or when all streams should end."""
        if self._has_ended(until_s):
            return
        self._open.add(bell)
        try:
            async with asyncio.timeout(until_s - self.clock.now_s()):
                await bell.wait()
        except TimeoutError:
            return
        finally:
            self._open.discard(bell)
        bell.clear()


def lasting_s(stream_s: float, chance: Generator) -> float:
    """How long one stream lasts, ``stream_s`` at most."""
    return stream_s * chance.uniform(SHORTEST_STREAM, 1.0)


async def _refuse(context: Context, refusal: Refusal) -> NoReturn:
    await context.abort(refusal.code, str(refusal))
    raise AssertionError("abort() does not return")
