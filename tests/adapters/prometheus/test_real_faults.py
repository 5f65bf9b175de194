"""A real Prometheus that loses what it scrapes, and is lost itself."""

from pathlib import Path

import pytest

from scaler.adapters.clock import SystemClock
from scaler.adapters.prometheus import Server
from scaler.core.model import Load, Missing
from testbed.waiting import now_s
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import asked
from tests.adapters.prometheus.real import Page, Pages, running, scraped, serving

pytestmark = pytest.mark.slow

SAMPLE = (Path(__file__).parents[1] / "engines/samples/vllm-0.32.0-queueing.prom").read_text(encoding="utf-8")


def two_pods() -> Pages:
    return Pages(
        [Page(labels={"namespace": "models", "pod": pod}, texts=[SAMPLE], ends_at_s=None) for pod in ("a", "b")]
    )


async def load_of(reader: Reader, pod: str) -> Load | Missing:
    answer = await reader.answer(asked("a", "b", model="tiny"), SystemClock().now_s())
    return answer.loads[pod]


async def until(reader: Reader, pod: str, kind: type[Load] | type[Missing]) -> Load | Missing:
    deadline_s = now_s() + 10.0
    while not isinstance(load := await load_of(reader, pod), kind):
        assert now_s() < deadline_s, load
    return load


async def test_half_of_the_series_gone_is_missing_at_once_and_recovers(real_prometheus: Path, tmp_path: Path) -> None:
    pages = two_pods()
    with scraped(pages, tmp_path, real_prometheus) as url:
        reader = Reader(Server(url=url))
        await until(reader, "b", Load)

        # The mean over a minute goes on for a minute; the staleness marker ends the sample's own time at once.
        pages.down = {1}
        missing = await until(reader, "b", Missing)
        other = await load_of(reader, "a")
        pages.down = set()
        again = await until(reader, "b", Load)

        reader.signals.close()
    assert isinstance(missing, Missing)
    assert missing.why.endswith("; other pods of this model have one")
    assert isinstance(other, Load)
    assert isinstance(again, Load)


async def test_a_prometheus_that_is_gone_is_not_an_empty_fleet(real_prometheus: Path, tmp_path: Path) -> None:
    pages = two_pods()
    with serving(pages) as port:
        with running(pages, tmp_path, real_prometheus, port) as url:
            reader = Reader(Server(url=url))
            await until(reader, "a", Load)

        gone = await load_of(reader, "a")

    reader.signals.close()
    assert gone == Missing(why=f"Prometheus at {url} did not answer: connection refused")
