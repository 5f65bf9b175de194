"""The contract: an emulated server's /metrics is a real vLLM 0.32's, but for the numbers."""

import functools
from typing import Any

import numpy as np
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.trace import shipped
from testbed.emulator.arrivals import Poisson, steady
from testbed.emulator.fleet import Fleet, Service
from testbed.emulator.page import SAMPLE, Page, bucket_keys, identity, page_of, steps_of_1_2_5

LONGEST_OF_THE_SAMPLE = 512
MODEL = "llama-3.1-8b"
IGNORED = {"model_name"}


def families(text: str) -> dict[str, Metric]:
    parse: Any = text_string_to_metric_families
    found: dict[str, Metric] = {family.name: family for family in parse(text)}
    return found


def sample() -> dict[str, Metric]:
    return families(SAMPLE.read_text())


@functools.cache
def emulated(longest_tokens: int = LONGEST_OF_THE_SAMPLE, until_s: float = 60.0) -> dict[str, Metric]:
    arrivals = Poisson(steady(5.0), shipped(), seed=1)
    service = Service(
        name="llama",
        model=MODEL,
        engines={"": LLAMA_8B_H100},
        arrivals=arrivals,
        holds=True,
        longest_tokens=longest_tokens,
    )
    fleet = Fleet(service, seed=1)
    replica = fleet.add("", born_s=1.0)
    fleet.set_ready(replica, is_ready=True)
    fleet.advance(until_s)
    return families(fleet.text(replica))


def shapes(family: Metric) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """The names of the samples, with the labels that are not the model's or the cache's own."""
    if family.name == "vllm:cache_config_info":
        return {(each.name, frozenset((label, "") for label in each.labels)) for each in family.samples}
    return {
        (each.name, frozenset((name, value) for name, value in each.labels.items() if name not in IGNORED))
        for each in family.samples
    }


def key_of(name: str, labels: dict[str, str]) -> str:
    kept = {label: text for label, text in labels.items() if label not in {"engine", "model_name"}}
    return name if name == "vllm:cache_config_info" else identity(name, kept)


def test_it_has_the_families_of_the_real_one_and_no_others() -> None:
    assert list(emulated()) == list(sample())


@pytest.mark.parametrize("name", list(sample()))
def test_a_family_has_the_type_help_labels_and_bounds_of_the_real_one(name: str) -> None:
    ours, real = emulated()[name], sample()[name]

    assert (ours.type, ours.documentation) == (real.type, real.documentation)
    assert shapes(ours) == shapes(real)


def test_every_sample_of_an_engine_names_its_model() -> None:
    models = {
        each.labels.get("model_name")
        for family in emulated().values()
        for each in family.samples
        if family.name.startswith("vllm:") and family.name != "vllm:cache_config_info"
    }

    assert models == {MODEL}


def test_with_the_numbers_of_the_real_one_it_is_the_real_text() -> None:
    page = page_of("tiny", LONGEST_OF_THE_SAMPLE, {})
    values = {key_of(each.name, each.labels): each.value for family in sample().values() for each in family.samples}

    ours = [line for line in page.text(values, 0.0).splitlines() if "_created" not in line]

    assert ours == [line for line in SAMPLE.read_text().splitlines() if "_created" not in line]


def test_a_server_that_has_answered_nothing_yet_shows_no_completions() -> None:
    silent = emulated(until_s=0.0)

    assert silent["http_requests"].samples == []
    assert silent["vllm:num_requests_running"].samples[0].value == 0


@pytest.mark.parametrize(
    ("longest", "bounds"),
    [(1, (1,)), (512, (1, 2, 5, 10, 20, 50, 100, 200, 500)), (1000, (*steps_of_1_2_5(512), 1000))],
)
def test_bounds_for_tokens_go_up_to_the_longest_sequence(longest: int, bounds: tuple[float, ...]) -> None:
    assert steps_of_1_2_5(longest) == bounds


def test_longer_sequences_give_more_buckets() -> None:
    prompts = emulated(longest_tokens=32768)["vllm:request_prompt_tokens"]

    bounds = [each.labels["le"] for each in prompts.samples if each.name.endswith("_bucket")]
    assert bounds[-3:] == ["10000.0", "20000.0", "+Inf"]


def test_no_value_is_written_that_the_page_has_no_line_for() -> None:
    page: Page = page_of(MODEL, LONGEST_OF_THE_SAMPLE, {})
    keys = {line.key for line in page.lines}

    assert all(key in keys for name, bounds in page.bounds.items() for key in bucket_keys(name, bounds))


def test_a_histogram_is_cumulated_up_to_its_count() -> None:
    for name, family in emulated().items():
        if family.type == "histogram":
            below = [each.value for each in family.samples if each.name == f"{name}_bucket"]
            (count,) = [each.value for each in family.samples if each.name == f"{name}_count"]
            assert np.all(np.diff(below) >= 0), name
            assert below[-1] == count, name
            assert count > 0, name
