"""What answering KEDA costs, and how long an answer takes: figures in docs/figures.md."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from testbed.waiting import wait_for
from tests.bench.polling import poll, polled_apart
from tests.bench.resting import between, samples, value
from tests.bench.storing import filled
from tests.cluster.running import controlling

OBJECTS: Final = 5000
PERIOD_S: Final = 10.0
FOR_S: Final = 30.0

POLICIES: Final = 100
"""Of ten pods each, for the process as a whole."""

KEDA_PORT: Final = 18_082


@pytest.mark.bench
def test_five_thousand_scaled_objects_are_answered_on_one_core() -> None:
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "tests.bench.answering", str(cores[-1]), str(OBJECTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        os.sched_setaffinity(0, {cores[0]})
        try:
            polled = asyncio.run(poll(port, OBJECTS, PERIOD_S, FOR_S))
        finally:
            os.sched_setaffinity(0, cores)
        told = json.loads(server.communicate("")[0])

    inside = ", ".join(f"{name} {1e6 * told[f'{name}_s']:.0f} µs" for name in ("p50", "p99", "worst"))
    sys.stdout.write(f"\n{OBJECTS} ScaledObjects each {PERIOD_S:g} s: {polled}\n")
    sys.stdout.write(f"in the server: {told['answers']} answers, {inside}; {100.0 * told['cpu']:.0f} % of a core\n")
    assert set(polled.codes) == {"OK"}
    assert told["p99_s"] < 0.001


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_whoever_leads_answers_while_it_decides(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    settings = {
        "namespaces": "",
        "tick_seconds": "5",
        "api_requests_per_second": "100",
        "keda_listen_on": str(KEDA_PORT),
    }
    with (
        filled(path, POLICIES),
        controlling(path, "models", tmp_path / "answering", **settings) as controller,
    ):
        wait_for("some ticks", lambda: len(controller.decisions()) > 3 * POLICIES, within_s=120.0)
        before = controller.page("/metrics")
        polled = polled_apart(KEDA_PORT, POLICIES, PERIOD_S / 10.0, FOR_S)
        after = controller.page("/metrics")
        rest, shares = between(before, after, FOR_S), answered_within(before, after)

    inside = ", ".join(f"{100.0 * share:.2f} % within {1000.0 * bound_s:g} ms" for bound_s, share in shares.items())
    sys.stdout.write(f"\n{POLICIES} ScaledObjects each second, of whoever leads: {polled}\nin the server: {inside}\n")
    sys.stdout.write(f"{1000.0 * rest.tick_s:.0f} ms a tick, of {rest.ticks:.0f} ticks in {FOR_S:g} s\n")
    spent_s = value(after, "forebay_keda_process_cpu_seconds_total") - value(
        before, "forebay_keda_process_cpu_seconds_total"
    )
    resident_mib = value(after, "forebay_keda_process_resident_memory_bytes") / 2**20
    sys.stdout.write(
        f"who answers: {100.0 * spent_s / FOR_S:.1f} % of a core, {resident_mib:.0f} MiB; who decides: "
        f"{100.0 * rest.cpu_s / FOR_S:.1f} %, {rest.resident_mib:.0f} MiB\n"
    )
    assert set(polled.codes) == {"OK"}
    assert shares[0.001] > 0.99


def answered_within(before: str, after: str) -> dict[float, float]:
    """The share of the answers between two pages that took no longer than each of the histogram's bounds in seconds."""
    counts: Counter[float] = Counter()
    for page, sign in ((after, 1), (before, -1)):
        for sample in samples(page):
            if sample.name == "forebay_keda_answer_seconds_bucket":
                counts[float(sample.labels["le"])] += sign * int(sample.value)
    return {bound_s: count / counts[float("inf")] for bound_s, count in sorted(counts.items())}
