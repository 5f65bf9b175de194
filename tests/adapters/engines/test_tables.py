"""The tables against what a real vLLM 0.32.0 serves; `samples/` is its verbatim exposition."""

import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scaler.adapters import engines
from scaler.adapters.engines import TABLES, VLLM, Kind, Metric, Signal
from scaler.api.v1alpha1 import Engine

SAMPLES = Path(__file__).parent / "samples"

FORMER = {
    "vllm:gpu_cache_usage_perc",
    "vllm:time_per_output_token_seconds",
    "vllm:gpu_prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_queries_total",
}

OF_THE_SERVER = {"vllm:admission_rejections_total"}
"""Counted before a request has an engine."""


def metrics(table: engines.Table) -> list[Metric]:
    return [metric for choices in table.values() for choice in choices for metric in choice]


def is_current(metric: Metric) -> bool:
    has_suffix = metric.kind is not Kind.COUNTER or metric.name.endswith("_total")
    return has_suffix and metric.name not in FORMER


CURRENT = [metric for metric in metrics(VLLM) if is_current(metric)]


def catalog() -> Mapping[str, tuple[str, set[str]]]:
    """Type and labels by declared name."""
    lines = (SAMPLES / "vllm-0.32.0-catalog.txt").read_text(encoding="utf-8").splitlines()
    found = (re.match(r"(\S+) \[(\w+)\] labels=(\[.*?\]|\d+)", line) for line in lines)
    return {match[1]: (match[2], set(re.findall(r"'(\w+)'", match[3]))) for match in found if match}


def samples(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels


@pytest.mark.parametrize("metric", CURRENT, ids=lambda metric: metric.name)
def test_a_name_of_the_table_is_one_of_vllms_with_its_type_and_labels(metric: Metric) -> None:
    kind, labels = catalog()[metric.name.removesuffix("_total")]

    assert kind == metric.kind.value
    assert {label for label, _ in metric.labels} | {"model_name"} <= labels
    assert ("engine" in labels) == (metric.name not in OF_THE_SERVER)


@pytest.mark.parametrize("metric", CURRENT, ids=lambda metric: metric.name)
@pytest.mark.parametrize("sample", ["vllm-0.32.0-queueing.prom", "vllm-0.32.0-kv-pressure.prom.gz"])
def test_a_name_of_the_table_is_served_as_it_is_asked_for(metric: Metric, sample: str) -> None:
    path = SAMPLES / sample
    text = gzip.decompress(path.read_bytes()).decode() if sample.endswith(".gz") else path.read_text(encoding="utf-8")
    exposed = f"{metric.name}_bucket" if metric.kind is Kind.HISTOGRAM else metric.name

    assert any(name == exposed and set(metric.labels) <= set(labels.items()) for name, labels in samples(text))


@pytest.mark.parametrize("name", sorted(FORMER))
def test_a_former_name_comes_after_its_successor(name: str) -> None:
    places = [place for choices in VLLM.values() for place, choice in enumerate(choices) if choice[0].name == name]

    assert places
    assert min(places) > 0
    assert name.removesuffix("_total") not in catalog()


def test_a_counter_is_asked_for_with_its_suffix_first() -> None:
    names = [[metric.name for metric in choice] for choice in VLLM[Signal.PROMPT_TOKENS]]

    assert names == [["vllm:prompt_tokens_total"], ["vllm:prompt_tokens"]]


def test_pitfall_13_tokens_are_counted_as_they_are_worked_on_and_not_when_a_request_ends() -> None:
    names = {metric.name for choice in VLLM[Signal.PROMPT_TOKENS] for metric in choice}

    assert not any(name.startswith("vllm:request_") for name in names)


def test_only_what_waits_for_capacity_counts_where_the_engine_tells_it_apart() -> None:
    first = VLLM[Signal.WAITING][0][0]

    assert (first.name, first.labels) == ("vllm:num_requests_waiting_by_reason", (("reason", "capacity"),))


@pytest.mark.parametrize("engine", list(Engine))
def test_every_engine_has_a_table_and_every_known_one_tells_its_work(engine: Engine) -> None:
    table = TABLES[engine]

    assert engine is Engine.CUSTOM or {Signal.RUNNING, Signal.WAITING} <= set(table)


def test_no_name_means_two_things() -> None:
    told = [(metric.name, metric.labels) for table in TABLES.values() for metric in metrics(table)]

    assert len(told) == len(set(told))


def test_pitfall_1_gpu_util_is_nowhere() -> None:
    names = {metric.name for table in TABLES.values() for metric in metrics(table)}
    names |= {engines.GPU_XID, engines.GPU_TENSOR_ACTIVE}

    assert not any("GPU_UTIL" in name for name in names)
