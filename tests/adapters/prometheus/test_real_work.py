"""The whole way: a modelled engine, its page as vLLM writes it, a real Prometheus, and the work that we read there."""

from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from scaler.adapters.clock import SystemClock
from scaler.adapters.prometheus import Server
from scaler.core.capacity import busy_share
from scaler.core.model import Load, Work
from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.plant import Reading
from scaler.sim.trace import Trace, shipped
from testbed.emulator.arrivals import Poisson, steady
from testbed.emulator.fleet import Fleet, Service
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import asked
from tests.adapters.prometheus.real import STEP_S, Page, Pages, scraped

pytestmark = pytest.mark.slow

AT_S = float(int(SystemClock().now_s())) - 60.0
WITHIN = 0.05
"""A slope through four samples weighs the middle of the minute more than a difference does."""

SCRAPES = 4
CHAT = shipped()
PROMPTS = replace(CHAT, output_tokens=np.ones_like(CHAT.output_tokens))
"""What a replica gets that only prefills: each answer is its first token."""


def life(rps: float, lengths: Trace = CHAT) -> tuple[list[str], list[Reading]]:
    """A minute of a replica that has served for another one, a scrape every 15 s: what it says, and what is true."""
    arrivals = Poisson(steady(rps), lengths, seed=1)
    fleet = Fleet(Service(name="x", model="tiny", engines={"": LLAMA_8B_H100}, arrivals=arrivals, holds=True), seed=1)
    replica = fleet.add("", born_s=AT_S - 120.0)
    fleet.set_ready(replica, is_ready=True)
    texts, readings = [], []
    for at_s in np.arange(0.25, 60.0 + SCRAPES * STEP_S + 0.1, 0.25):
        fleet.advance(float(at_s))
        if at_s > 60.0 and at_s % STEP_S == 0.0:
            texts.append(fleet.text(replica))
            readings.append(fleet.reading(replica))
    return texts, readings


def between(first: Reading, last: Reading) -> Work:
    span_s = (SCRAPES - 1) * STEP_S
    written = last.generation_tokens - first.generation_tokens
    return Work(
        prefill_tokens_per_s=(last.prompt_tokens - first.prompt_tokens) / span_s,
        decode_tokens_per_s=written / span_s,
        finished_per_s=(last.finished - first.finished) / span_s,
        inter_token_latency_s=(last.token_s - first.token_s) / (written - sum(last.ttft) + sum(first.ttft)),
    )


async def read(lives: Mapping[str, tuple[list[str], list[Reading]]], program: Path, folder: Path) -> Mapping[str, Load]:
    """What is read of the pods of ``lives``."""
    pages = [
        Page(labels={"namespace": "models", "pod": pod}, texts=texts, ends_at_s=AT_S)
        for pod, (texts, _) in lives.items()
    ]
    with scraped(Pages(pages), folder, program) as url:
        reader = Reader(Server(url=url))
        answer = await reader.answer(asked(*lives, model="tiny"), AT_S)
        reader.signals.close()
    return {pod: load for pod, load in answer.loads.items() if isinstance(load, Load)}


async def test_the_work_that_is_read_is_the_work_that_was_done(real_prometheus: Path, tmp_path: Path) -> None:
    lives = {f"rps-{rps:g}": life(rps) for rps in (4.0, 8.0, 25.0)}
    loads = await read(lives, real_prometheus, tmp_path)

    for pod, (_, readings) in lives.items():
        told, true = loads[pod].work, between(readings[0], readings[-1])
        assert isinstance(told, Work), told
        rates = astuple(replace(told, prefilling=0.0))
        assert rates == pytest.approx(astuple(replace(true, prefilling=0.0)), rel=WITHIN)


async def test_how_busy_a_replica_is_that_only_prefills_is_told_by_its_prefills(
    real_prometheus: Path, tmp_path: Path
) -> None:
    lives = {f"rps-{rps:g}": life(rps, PROMPTS) for rps in (5.0, 15.0, 30.0)}
    loads = await read(lives, real_prometheus, tmp_path)

    for pod, (_, readings) in lives.items():
        told = loads[pod].work
        assert isinstance(told, Work), told
        assert told.prefilling is not None
        busy = (readings[-1].busy_s - readings[0].busy_s) / ((SCRAPES - 1) * STEP_S)
        assert busy_share(told.prefilling) == pytest.approx(busy, rel=0.15)
