"""The service over a real connection: answers, streams, and how both end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc.aio import Channel
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from numpy.random import default_rng

from scaler.adapters.keda.contract import METRIC_NAME, SERVICE
from scaler.adapters.keda.external_scaler_pb2 import MetricSpec, ScaledObjectRef
from scaler.adapters.keda.line import Address
from scaler.adapters.keda.listening import Listening, listen
from scaler.adapters.keda.service import lasting_s
from scaler.core.model import Actuation, Missing
from tests.adapters.keda.asking import (
    WITHIN_S,
    World,
    answering,
    connected,
    heard,
    question,
    ref,
    refused,
    replicas,
    standing,
    stub,
)
from tests.adapters.kubernetes.conftest import until

SPEC = MetricSpec(metricName=METRIC_NAME, targetSize=1, targetSizeFloat=1.0)
AWAY = Missing(why="no heartbeat of a leader was read yet")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def listening(world: World) -> AsyncIterator[Listening]:
    async with answering(world) as listening:
        yield listening


@pytest.fixture
async def channel(listening: Listening) -> AsyncIterator[Channel]:
    async with connected(listening.port) as channel:
        yield channel


# --- Answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20, 21, 1000])
async def test_the_value_is_the_count_that_was_decided(world: World, channel: Channel, count: int) -> None:
    world.put(standing(count))

    answer = await stub(channel).GetMetrics(question())

    assert replicas(answer) == count
    assert (await stub(channel).IsActive(ref())).result is True


async def test_a_target_that_gave_up_its_last_replica_is_not_active(world: World, channel: Channel) -> None:
    world.put(standing(0))

    assert replicas(await stub(channel).GetMetrics(question())) == 0
    assert (await stub(channel).IsActive(ref())).result is False


@pytest.mark.parametrize("asked", [ref(), ref(policy="lama"), ref(version=""), ScaledObjectRef()])
async def test_the_specification_is_told_to_everybody_at_any_time(
    world: World, channel: Channel, asked: ScaledObjectRef
) -> None:
    world.fresh_as_of, world.unfollowed = AWAY, "nothing was listed yet"

    assert list((await stub(channel).GetMetricSpec(asked)).metricSpecs) == [SPEC]


async def test_value_and_activity_are_refused_alike(world: World, channel: Channel) -> None:
    world.fresh_as_of = AWAY

    value = await refused(lambda: stub(channel).GetMetrics(question()))

    assert value == await refused(lambda: stub(channel).IsActive(ref()))
    assert value[0] is StatusCode.UNAVAILABLE


async def test_asking_often_changes_nothing(world: World, channel: Channel) -> None:
    answers = [replicas(await stub(channel).GetMetrics(question())) for _ in range(50)]

    assert set(answers) == {21}
    assert world.standings.get("models/llama") == standing()


async def test_every_answer_is_counted_by_call_and_code(world: World, channel: Channel) -> None:
    await stub(channel).GetMetricSpec(ref())
    await stub(channel).GetMetrics(question())
    await refused(lambda: stub(channel).GetMetrics(question("cpu")))
    await refused(lambda: stub(channel).IsActive(ref(policy="lama")))

    assert world.counts == {
        ("GetMetricSpec", "OK"): 1,
        ("GetMetrics", "OK"): 1,
        ("GetMetrics", "INVALID_ARGUMENT"): 1,
        ("IsActive", "NOT_FOUND"): 1,
    }


async def test_a_question_beyond_any_measure_is_refused_and_the_next_answered(channel: Channel) -> None:
    code, _ = await refused(lambda: stub(channel).IsActive(ref(note="x" * 100_000)))

    assert code is StatusCode.RESOURCE_EXHAUSTED
    assert (await stub(channel).IsActive(ref())).result is True


# --- Streams -----------------------------------------------------------------------------------------------------


async def test_a_stream_tells_the_state_at_once_and_each_change_of_it(world: World, channel: Channel) -> None:
    stream = stub(channel).StreamIsActive(ref())
    assert (await heard(stream)).result is True

    world.put(standing(20))
    world.put(standing(0))
    assert (await heard(stream)).result is False

    world.put(standing(3))
    assert (await heard(stream)).result is True
    assert world.counts == {("StreamIsActive", "OK"): 3}


async def test_a_stream_says_nothing_while_it_cannot_be_told(world: World, channel: Channel) -> None:
    world.fresh_as_of = AWAY
    stream = stub(channel).StreamIsActive(ref())
    await until(lambda: world.standings.listeners == 1, "the question to have arrived")

    world.fresh_as_of = 1.0
    world.put(standing(2))

    assert (await heard(stream)).result is True


@pytest.mark.parametrize(
    ("asked", "code"), [(ref(policy="lama"), StatusCode.NOT_FOUND), (ref(version=""), StatusCode.INVALID_ARGUMENT)]
)
async def test_a_stream_that_means_nothing_is_refused(
    channel: Channel, asked: ScaledObjectRef, code: StatusCode
) -> None:
    stream = stub(channel).StreamIsActive(asked)

    assert (await refused(lambda: heard(stream)))[0] is code


async def test_a_stream_ends_when_its_policy_goes_or_is_carried_out_by_another(world: World, channel: Channel) -> None:
    gone, taken = stub(channel).StreamIsActive(ref()), stub(channel).StreamIsActive(ref(policy="other"))
    world.put(standing(), "models/other")
    await heard(gone)
    await heard(taken)

    world.put(None)
    world.put(standing(actuation=Actuation.SCALE), "models/other")

    assert (await refused(lambda: heard(gone)))[0] is StatusCode.NOT_FOUND
    assert (await refused(lambda: heard(taken)))[0] is StatusCode.FAILED_PRECONDITION


async def test_the_specification_is_streamed_once_and_the_stream_stays_open(channel: Channel) -> None:
    stream = stub(channel).StreamMetricSpec(ref())

    assert list((await heard(stream)).metricSpecs) == [SPEC]
    assert not stream.done()


async def test_a_stream_that_its_caller_leaves_is_forgotten(world: World, channel: Channel) -> None:
    stream = stub(channel).StreamIsActive(ref())
    await heard(stream)

    stream.cancel()

    await until(lambda: not world.standings.listeners, "nobody to tell")


# --- How connections end -----------------------------------------------------------------------------------------


async def test_all_streams_end_with_ok_when_the_server_stops(world: World) -> None:
    async with answering(world) as listening, connected(listening.port) as channel:
        world.fresh_as_of = AWAY
        silent = stub(channel).StreamIsActive(ref())
        streams: list[Any] = [silent, *(stub(channel).StreamMetricSpec(ref()) for _ in range(20))]
        for stream in streams[1:]:
            await heard(stream)
        await until(lambda: world.standings.listeners == 1, "the silent one")

        await listening.close()

        for stream in streams:
            assert await stream.code() is StatusCode.OK
        assert (await refused(lambda: stub(channel).IsActive(ref(), timeout=WITHIN_S)))[0] is StatusCode.UNAVAILABLE


async def test_a_stream_ends_with_ok_before_its_connection_is_cut(world: World) -> None:
    async with answering(world, connection_s=0.5) as listening, connected(listening.port) as channel:
        streams: list[Any] = [stub(channel).StreamIsActive(ref()), stub(channel).StreamMetricSpec(ref())]

        for stream in streams:
            assert await heard(stream)
            assert not await heard(stream)
            assert await stream.code() is StatusCode.OK


async def test_a_connection_ends_at_its_age_and_the_next_call_opens_another(world: World) -> None:
    async with answering(world, connection_s=0.3) as listening, connected(listening.port) as channel:
        await stub(channel).IsActive(ref())

        async with asyncio.timeout(WITHIN_S):
            while (state := channel.get_state()) is grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(state)

        assert (await stub(channel).IsActive(ref(), timeout=WITHIN_S)).result is True


def test_streams_that_began_together_do_not_end_together() -> None:
    chance = default_rng(7)

    ends_s = [lasting_s(100.0, chance) for _ in range(100)]

    assert 80.0 <= min(ends_s) < 85.0
    assert 95.0 < max(ends_s) <= 100.0


async def test_a_port_that_is_taken_is_not_shared(world: World, listening: Listening) -> None:
    at = Address(host="127.0.0.1", port=listening.port, connection_s=300.0)

    with pytest.raises(OSError, match=f"127.0.0.1:{listening.port} cannot be listened on"):
        await listen(world.scaler(1.0), at, None)


# --- Health and reflection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_the_health_service_says_serving(channel: Channel, service: str) -> None:
    answer = await HealthStub(channel).Check(HealthCheckRequest(service=service))

    assert answer.status == HealthCheckResponse.SERVING


async def test_reflection_lists_the_service(channel: Channel) -> None:
    call = ServerReflectionStub(channel).ServerReflectionInfo(iter([ServerReflectionRequest(list_services="")]))

    answers = [answer async for answer in call]

    assert SERVICE in {found.name for answer in answers for found in answer.list_services_response.service}
