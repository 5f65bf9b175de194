"""What Forebay says of itself."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from scaler.adapters.keda.counts import Counts
from scaler.adapters.logs import log_as_json
from scaler.adapters.telemetry import DONE, Beat, Checks, Telemetry, pages, serve
from scaler.core.memory import Memory
from scaler.core.model import Missing
from scaler.runtime.board import Board
from scaler.runtime.ports import Record
from tests.builders import NAME, START_S, fleet, key, load, plan_of, policy, ready, seen, starting


@dataclass
class Process:
    """A process with telemetry, and what it would say if asked whether it is well."""

    board: Board = field(default_factory=Board)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    loop: str | None = None
    lease: str | None = None
    start: str | None = None
    url: str = ""

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(self.registry, self.board)

    def checks(self) -> Checks:
        return Checks(loop=lambda: self.loop, lease=lambda: self.lease, start=lambda: self.start)

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples called ``name``, by their label values."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name
        }


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = Process()
    runner = await serve(pages(process.registry, process.board, process.checks()), "127.0.0.1", 0)
    process.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield process
    await runner.cleanup()


@pytest.fixture
async def web_client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


def decided() -> Record:
    observation = seen(fleet(ready("a", load=load(running=300.0)), starting("b")))
    plan = plan_of(observation)
    return Record(policy=policy(), observation=observation, memory=Memory(at_s=START_S), plan=plan)


def unseen() -> Record:
    return replace(decided(), observation=seen(Missing(why="the API server is away")))


# --- Metrics -----------------------------------------------------------------------------------------------------


def test_answers_to_keda_are_counted_by_call_and_code_and_timed_by_call_where_they_are_given() -> None:
    process, answerer = Process(), CollectorRegistry()
    counts = Counts(answerer)

    counts.answered("GetMetrics", "OK", 0.00002)
    counts.answered("GetMetrics", "UNAVAILABLE", 0.00002)
    process.telemetry.answered(tuple(answerer.collect()))

    assert process.samples("forebay_keda_answers_total") == {("GetMetrics", "OK"): 1, ("GetMetrics", "UNAVAILABLE"): 1}
    assert process.samples("forebay_keda_answer_seconds_count") == {("GetMetrics",): 2}


def test_the_names_of_the_metrics_are_stable() -> None:
    process = Process()
    process.board.post([decided()])
    process.telemetry.lacked({NAME: {"stale": 1}})
    answerer = CollectorRegistry()
    Counts(answerer)
    process.telemetry.answered(tuple(answerer.collect()))

    names = {family.name: family.type for family in process.registry.collect()}

    assert names == {
        "forebay_tick_duration_seconds": "histogram",
        "forebay_ticks": "counter",
        "forebay_last_tick_timestamp_seconds": "gauge",
        "forebay_decisions": "counter",
        "forebay_replica_changes": "counter",
        "forebay_api_requests": "counter",
        "forebay_prometheus_queries": "counter",
        "forebay_is_leader": "gauge",
        "forebay_desired_replicas": "gauge",
        "forebay_ready_replicas": "gauge",
        "forebay_starting_replicas": "gauge",
        "forebay_load_seconds": "gauge",
        "forebay_load_samples": "gauge",
        "forebay_signals_missing": "gauge",
        "forebay_keda_answers": "counter",
        "forebay_keda_answer_seconds": "histogram",
        "forebay_keda_process_cpu_seconds": "counter",
        "forebay_keda_process_max_fds": "gauge",
        "forebay_keda_process_open_fds": "gauge",
        "forebay_keda_process_resident_memory_bytes": "gauge",
        "forebay_keda_process_start_time_seconds": "gauge",
        "forebay_keda_process_virtual_memory_bytes": "gauge",
    }


def test_the_board_is_read_at_the_time_of_the_scrape() -> None:
    process = Process()
    record = decided()

    process.board.post([record])

    labels = (NAME, "v1", "Serve")
    target = record.plan.targets[0]
    assert process.samples("forebay_desired_replicas") == {labels: target.replicas}
    assert process.samples("forebay_ready_replicas") == {labels: 1.0}
    assert process.samples("forebay_starting_replicas") == {labels: 1.0}
    assert process.samples("forebay_load_seconds") == {
        (*labels, "0.5"): record.plan.load_times[str(key())].p50_s,
        (*labels, "0.9"): record.plan.load_times[str(key())].p90_s,
    }


def test_a_policy_that_is_gone_takes_its_series_along() -> None:
    process = Process()
    process.board.post([decided()])
    process.telemetry.lacked({NAME: {"no_series": 2}})

    process.board.keep_only([])

    assert process.samples("forebay_desired_replicas") == {}
    assert process.samples("forebay_signals_missing") == {}


def test_a_fleet_that_is_not_known_is_not_told_as_none_ready() -> None:
    process = Process()

    process.board.post([unseen()])

    assert process.samples("forebay_ready_replicas") == {}
    assert process.samples("forebay_desired_replicas") != {}


def test_a_decision_counts_for_the_rule_that_had_the_last_word() -> None:
    process = Process()
    record = decided()
    target = record.plan.targets[0]

    process.telemetry.decided([record])

    assert process.samples("forebay_decisions_total") == {(target.trail[-1].rule,): 1.0}
    assert process.samples("forebay_replica_changes_total") == {("up",): target.replicas - target.trail[0].before}


def test_what_is_missing_is_told_by_reason_and_only_for_the_last_tick() -> None:
    process = Process()
    process.board.post([decided()])

    process.telemetry.lacked({NAME: {"unreachable": 3}})
    process.telemetry.lacked({NAME: {"stale": 1}})

    assert process.samples("forebay_signals_missing") == {(NAME, "stale"): 1.0}


def test_only_a_tick_that_was_carried_out_moves_the_timestamp() -> None:
    process = Process()

    process.telemetry.ticked(START_S, 0.2, DONE)
    process.telemetry.ticked(START_S + 15.0, 4.0, "skipped")

    assert process.samples("forebay_last_tick_timestamp_seconds") == {(): START_S}
    assert process.samples("forebay_ticks_total") == {("done",): 1.0, ("skipped",): 1.0}
    assert process.samples("forebay_tick_duration_seconds_count") == {(): 2.0}


def test_requests_queries_and_the_lease_are_counted() -> None:
    process = Process()

    process.telemetry.requested("PATCH", "deployments/scale", "200")
    process.telemetry.queried("answered")
    process.telemetry.queried("unreachable")
    process.telemetry.led(is_leader=True)

    assert process.samples("forebay_api_requests_total") == {("PATCH", "deployments/scale", "200"): 1.0}
    assert process.samples("forebay_prometheus_queries_total") == {("answered",): 1.0, ("unreachable",): 1.0}
    assert process.samples("forebay_is_leader") == {(): 1.0}


# --- Pages -------------------------------------------------------------------------------------------------------


async def test_metrics_are_served_in_a_form_that_parses(process: Process, web_client: ClientSession) -> None:
    process.board.post([decided()])

    async with web_client.get(f"{process.url}/metrics") as response:
        text = await response.text()

    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "forebay_desired_replicas" in {family.name for family in text_string_to_metric_families(text)}


async def test_open_metrics_are_served_to_who_asks_for_them(process: Process, web_client: ClientSession) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}

    async with web_client.get(f"{process.url}/metrics", headers=accept) as response:
        text = await response.text()

    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("what", ["loop", "lease"])
async def test_healthz_fails_with_the_sentence_of_what_is_wrong(
    process: Process, web_client: ClientSession, what: str
) -> None:
    async with web_client.get(f"{process.url}/healthz") as well:
        before = (well.status, await well.text())
    setattr(process, what, "it is stuck")
    async with web_client.get(f"{process.url}/healthz") as ill:
        after = (ill.status, await ill.text())

    assert (before, after) == ((200, "ok\n"), (503, "it is stuck\n"))


async def test_readyz_waits_for_the_start_and_asks_nothing_else(process: Process, web_client: ClientSession) -> None:
    process.start, process.loop = "no policies were listed yet", "the loop has not ticked"

    async with web_client.get(f"{process.url}/readyz") as before:
        first = (before.status, await before.text())
    process.start = None
    async with web_client.get(f"{process.url}/readyz") as after:
        second = after.status

    assert (first, second) == ((503, "no policies were listed yet\n"), 200)


async def test_the_last_plans_are_there_to_look_at(process: Process, web_client: ClientSession) -> None:
    process.board.post([decided()])

    async with web_client.get(f"{process.url}/debug/plans") as response:
        told = await response.json()

    assert [plan["policy"] for plan in told] == [NAME]
    assert {ruling["rule"] for ruling in told[0]["targets"][0]["trail"]} >= {"wish"}


async def test_a_taken_address_is_told_and_nothing_is_left_open(process: Process) -> None:
    port = int(process.url.rpartition(":")[2])

    with pytest.raises(OSError, match="address already in use"):
        await serve(web.Application(), "127.0.0.1", port)


def test_the_loop_may_be_late_by_some_periods_and_not_by_more() -> None:
    now_s = 100.0
    beat = Beat(last_s=lambda: 40.0, now_s=lambda: now_s, period_s=15.0, periods=4)

    at_the_limit = beat()
    now_s = 101.0

    assert at_the_limit is None
    assert beat() == "the loop has not ticked for 61 s; it should each 15 s"


# --- Logs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def test_each_event_is_a_line_of_json_with_its_time_and_level(lines: io.StringIO) -> None:
    log = log_as_json(lines)

    log.info("acted", policy=NAME, commands=2)
    log.debug("passed over")

    told = json.loads(lines.getvalue())
    assert told["timestamp"].endswith("Z")
    assert (told["event"], told["level"], told["policy"], told["commands"]) == ("acted", "info", NAME, 2)


def test_what_a_library_logs_is_a_line_of_json_too(lines: io.StringIO) -> None:
    log_as_json(lines)

    logging.getLogger("aiohttp.server").warning("it %s", "broke")

    told = json.loads(lines.getvalue())
    assert (told["event"], told["level"], told["logger"]) == ("it broke", "warning", "aiohttp.server")


def test_an_error_keeps_its_story_on_one_line(lines: io.StringIO, tmp_path: Path) -> None:
    log = log_as_json(lines)

    try:
        (tmp_path / "none").read_text(encoding="utf-8")
    except OSError:
        log.exception("crashed")

    told = json.loads(lines.getvalue())
    assert told["exception"][0]["exc_type"] == "FileNotFoundError"


def test_the_libraries_chatter_stays_out_even_where_we_debug(lines: io.StringIO) -> None:
    log = log_as_json(lines, logging.DEBUG)

    logging.getLogger("urllib3.connectionpool").debug("GET /api/v1/query?query=up")
    log.debug("looked")

    assert [json.loads(line)["event"] for line in lines.getvalue().splitlines()] == ["looked"]
