"""What travels between the two processes, and how each learns of the other's end."""

import socket
from collections.abc import AsyncIterator, Mapping

import pytest
from prometheus_client import CollectorRegistry

from scaler.adapters.keda.counts import Counts
from scaler.adapters.keda.line import Counted, Line, News, Opened, line_over
from scaler.core.model import Missing
from scaler.runtime.board import Heard, Standing
from tests.adapters.keda.asking import standing


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Line, Line]]:
    ends = [await line_over(end) for end in socket.socketpair()]
    yield ends[0], ends[1]
    for end in ends:
        end.close()
        await end.writer.wait_closed()


async def test_words_arrive_as_they_were_said_and_in_order(ends: tuple[Line, Line]) -> None:
    one, other = ends
    standings: Mapping[str, Standing | Missing | None] = {
        "models/a": standing(3),
        "models/b": Missing(why="spec: must be there"),
        "models/c": None,
    }
    news = News(at_s=1.0, standings=standings, unfollowed=None, heard=Heard(of_s=2.0, at_s=1.0))

    await one.say(news)
    await one.say(Opened(port=9443))

    assert await other.hear() == news
    assert await other.hear() == Opened(port=9443)


async def test_counts_arrive_with_their_labels(ends: tuple[Line, Line]) -> None:
    one, other = ends
    registry = CollectorRegistry()
    Counts(registry).answered("GetMetrics", "OK", 0.00002)

    await one.say(Counted(metrics=tuple(registry.collect())))

    counted = await other.hear()
    samples = {sample.name: sample for family in counted.metrics for sample in family.samples}
    assert samples["forebay_keda_answers_total"].labels == {"rpc": "GetMetrics", "code": "OK"}


async def test_the_end_of_one_is_heard_by_the_other(ends: tuple[Line, Line]) -> None:
    one, other = ends
    await one.say(Opened(port=1))

    one.close()

    assert await other.hear() == Opened(port=1)
    assert await other.hear() is None


async def test_a_word_that_is_cut_off_is_the_end(ends: tuple[Line, Line]) -> None:
    one, other = ends
    one.writer.write((1000).to_bytes(4, "big") + b"half a wo")

    one.close()

    assert await other.hear() is None
