"""What the rows say of each pod: its load, its work, and why either is missing.

The names of the pitfalls are those of the metrics page, section 6.
"""

from dataclasses import replace

import pytest

from scaler.adapters.prometheus import Reads, Server
from scaler.adapters.prometheus.answers import most_like
from scaler.adapters.prometheus.promql import TOLD_LABEL, Question, Told
from scaler.api.v1alpha1 import Engine
from scaler.core.model import Load, Missing, Work
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import AT_S, COUNTED, WORK, FakePrometheus, asked, serving
from tests.builders import work

# --- Loads -----------------------------------------------------------------------------------------------------------


async def test_a_load_is_what_the_pod_said_at_the_time_of_its_sample(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a", running=2.5, waiting=3.0, kv_usage=0.25, at_s=AT_S - 7.0)

    answer = await reader.answer(asked("a"))

    assert answer.loads == {"a": Load(at_s=AT_S - 7.0, running=2.5, waiting=3.0, kv_usage=0.25, work=WORK)}


async def test_pitfall_2_a_growing_queue_is_told_beside_a_cache_that_is_a_third_full(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a", waiting=900.0, kv_usage=0.32)

    answer = await reader.answer(asked("a"))

    assert answer.loads["a"] == Load(at_s=AT_S - 5.0, running=2.0, waiting=900.0, kv_usage=0.32, work=WORK)


async def test_pitfall_12_the_zeros_of_a_pod_that_still_loads_are_nobodys_load(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("ready")
    prometheus.pod("loading", running=0.0, waiting=0.0, kv_usage=0.0)

    answer = await reader.answer(asked("ready"))

    assert list(answer.loads) == ["ready"]


async def test_pitfall_4_the_frozen_series_of_a_pod_that_is_gone_is_dropped(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a")
    prometheus.pod("gone", running=100.0)

    answer = await reader.answer(asked("a"))

    assert list(answer.loads) == ["a"]


async def test_pitfall_4_a_frozen_series_keeps_the_time_of_its_last_sample(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a", at_s=AT_S - 240.0)

    answer = await reader.answer(asked("a"))

    assert answer.loads["a"] == Load(at_s=AT_S - 240.0, running=2.0, waiting=3.0, kv_usage=0.5, work=WORK)


async def test_pitfall_5_absent_is_not_zero(reader: Reader) -> None:
    answer = await reader.answer(asked("a"))

    load = answer.loads["a"]
    assert isinstance(load, Missing)
    assert "has no series of vllm:num_requests_waiting_by_reason at all: is VLLM the engine" in load.why
    assert isinstance(answer.ttft_s, Missing)


async def test_pitfall_6_a_wrong_model_name_is_told_with_the_nearest_that_exists(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a", model="llama-3.1-8b")
    prometheus.pod("b", model="qwen-3")

    answer = await reader.answer(asked("a", model="llama-8b"))

    load = answer.loads["a"]
    assert isinstance(load, Missing)
    assert load.why == (
        f"Prometheus at {prometheus.url} has no series vllm:num_requests_waiting_by_reason"
        '{namespace="models", pod="a", model_name="llama-8b"}; there is model_name="llama-3.1-8b"'
    )
    assert reader.account.lacking["models/llama"]["wrong_label"] == 1


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("llama-8b", "llama-3.1-8b"), ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"), ("qwen2.5", "qwen-2.5-7b")],
)
def test_the_nearest_name_is_the_one_with_most_in_common(wanted: str, nearest: str) -> None:
    there = {"llama-3.1-8b", "mistral-small", "qwen-2.5-7b", "gemma-3"}

    assert most_like(wanted, there)[0] == nearest


async def test_pitfall_6_the_label_may_be_called_model(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", model=None, labels={"namespace": "models", "pod": "a", "model": "llama"})

    answer = await reader.answer(asked("a"))

    assert isinstance(answer.loads["a"], Load)


async def test_pitfall_6_an_engine_without_a_model_label_has_only_one(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a", model=None, awake=None)

    answer = await reader.answer(asked("a", engine=Engine.TGI))

    # TGI does not tell the use of its cache, whatever else has told it.
    assert answer.loads["a"] == Load(at_s=AT_S - 5.0, running=2.0, waiting=3.0, kv_usage=0.0, work=WORK)


async def test_pitfall_7_half_of_the_pods_are_missing_by_name(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a")

    answer = await reader.answer(asked("a", "b"))

    assert isinstance(answer.loads["a"], Load)
    assert isinstance(answer.loads["b"], Missing)
    assert "other pods of this model have one" in answer.loads["b"].why


async def test_series_of_another_namespace_are_not_taken_for_ours(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", labels={"namespace": "other", "pod": "a"})

    answer = await reader.answer(asked("a"))

    assert isinstance(answer.loads["a"], Missing)


async def test_the_exported_pod_goes_before_the_exporters_own(prometheus: FakePrometheus, reader: Reader) -> None:
    labels = {"namespace": "monitoring", "pod": "exporter", "exported_namespace": "models", "exported_pod": "a"}
    prometheus.pod("a", labels=labels)

    answer = await reader.answer(asked("a"))

    assert isinstance(answer.loads["a"], Load)


async def test_series_that_name_no_pod_are_told(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", labels={"instance": "10.0.0.1:8000"})

    answer = await reader.answer(asked("a"))

    assert isinstance(answer.loads["a"], Missing)
    assert "names its namespace and pod (by exported_pod, pod, pod_name" in answer.loads["a"].why


async def test_not_a_number_never_passes(prometheus: FakePrometheus, reader: Reader) -> None:
    for number, value in enumerate(("NaN", "+Inf", "-Inf")):
        prometheus.pod(f"p{number}", running=float(value))

    answer = await reader.answer(asked("p0", "p1", "p2"))

    whys = [load.why for load in answer.loads.values() if isinstance(load, Missing)]
    assert [why.rpartition(" is ")[2] for why in whys] == ["nan", "inf", "-inf"]


async def test_a_sleeping_replica_is_no_supply_though_it_looks_idle(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", running=0.0, waiting=0.0, kv_usage=0.0, awake=0.0)
    prometheus.pod("b")

    answer = await reader.answer(asked("a", "b"))

    assert answer.loads["a"] == Missing(why="its engine is asleep and serves nothing")
    assert answer.asleep == {"a"}


async def test_an_engine_older_than_sleep_is_awake(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", awake=None)

    answer = await reader.answer(asked("a"))

    assert isinstance(answer.loads["a"], Load)


async def test_the_newer_sample_counts_where_two_servers_know_a_pod(prometheus: FakePrometheus) -> None:
    prometheus.pod("a", running=1.0, at_s=AT_S - 100.0)
    async with serving(FakePrometheus()) as second:
        second.pod("a", running=9.0, at_s=AT_S - 1.0)
        second.pod("b")
        reader = Reader(Server(url=prometheus.url), Server(url=second.url, reads=frozenset({Reads.ENGINES})))

        answer = await reader.answer(asked("a", "b"))

        reader.signals.close()

    assert answer.loads["a"] == Load(at_s=AT_S - 1.0, running=9.0, waiting=3.0, kv_usage=0.5, work=WORK)
    assert isinstance(answer.loads["b"], Load)


async def test_pitfall_1_the_gpus_only_warn(prometheus: FakePrometheus, reader: Reader) -> None:
    exporter = {"namespace": "gpu-operator", "pod": "dcgm", "exported_namespace": "models", "exported_pod": "a"}
    prometheus.pod("a", running=3.0)
    prometheus.pod("b", running=3.0)
    prometheus.row(Question.GPUS, exporter | {TOLD_LABEL: Told.XID.value}, 79.0)
    idle = {"namespace": "models", "pod": "b", TOLD_LABEL: Told.TENSOR_ACTIVITY.value}
    prometheus.row(Question.GPUS, idle, 0.0)

    answer = await reader.answer(asked("a", "b"))

    assert reader.account.warnings["models/llama"] == {
        "a": ("a GPU of it reported the error XID 79",),
        "b": ("it says that 3 requests run, and its tensor cores did nothing for 5 minutes",),
    }
    assert all(isinstance(load, Load) for load in answer.loads.values())


# --- Work ------------------------------------------------------------------------------------------------------------


def without(*gone: Told) -> dict[Told, float]:
    return {told: value for told, value in COUNTED.items() if told not in gone}


async def work_of(reader: Reader, engine: Engine = Engine.VLLM) -> Work | Missing:
    load = (await reader.answer(asked("a", engine=engine))).loads["a"]
    assert isinstance(load, Load)
    return load.work


async def test_a_replica_that_was_scraped_once_has_a_load_and_nobody_is_at_fault(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a", counted={Told.SCRAPES: 1.0})
    prometheus.first_tokens({"1": 1.0, "+Inf": 1.0})

    assert await work_of(reader) == Missing(why="its engine was scraped only once in the last minute")
    assert reader.account.lacking["models/llama"] == {}


async def test_an_engine_tells_what_it_prefills_and_what_it_refuses(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", counted=COUNTED | {Told.PREFILLING: 0.4, Told.REFUSED: 1.5})

    assert await work_of(reader) == replace(WORK, prefilling=0.4, refused_per_s=1.5)


async def test_without_a_token_there_is_no_time_between_them(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", counted=dict.fromkeys(COUNTED, 0.0))

    assert await work_of(reader) == work()


@pytest.mark.parametrize(
    ("more", "prefill"),
    [
        ({}, 1000.0),
        ({Told.CACHED: 400.0}, 600.0),
        ({Told.CACHED: 400.0, Told.QUERIED: 1600.0}, 750.0),  # each looked up again while it waited
        ({Told.CACHED: 5000.0}, 0.0),
        ({Told.CACHED: 0.0, Told.QUERIED: 0.0}, 1000.0),
    ],
)
async def test_an_engine_that_does_not_tell_what_it_computed_tells_what_its_cache_saved(
    prometheus: FakePrometheus, reader: Reader, more: dict[Told, float], prefill: float
) -> None:
    counted = without(Told.PREFILL, Told.GENERATED) | {Told.PROMPT: 1000.0, Told.ANSWERED: 100.0} | more
    prometheus.pod("a", counted=counted)

    assert await work_of(reader) == replace(WORK, prefill_tokens_per_s=prefill, decode_tokens_per_s=100.0)


@pytest.mark.parametrize(
    ("gone", "metric"),
    [
        (Told.PREFILL, "vllm:prompt_tokens_by_source_total"),
        (Told.GENERATED, "vllm:generation_tokens_total"),
        (Told.FINISHED, "vllm:e2e_request_latency_seconds"),
    ],
)
async def test_a_counter_that_is_not_there_is_named_and_the_load_is_there(
    prometheus: FakePrometheus, reader: Reader, gone: Told, metric: str
) -> None:
    prometheus.pod("a", counted=without(gone))
    prometheus.pod("b")

    missing = await work_of(reader)

    assert isinstance(missing, Missing)
    assert f'has no series {metric}{{namespace="models", pod="a", model_name="llama"}}' in missing.why
    assert reader.account.lacking["models/llama"]["no_series"] == 2  # the time to first token is the other one


async def test_counters_of_another_model_name_are_told_with_it(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", counted={})
    prometheus.pod("a", model="llama-8b")

    missing = await work_of(reader)

    assert isinstance(missing, Missing)
    assert missing.why.endswith('model_name="llama"}; there is model_name="llama-8b"')


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "what its engine counts (generated) is nan"),
        (-40.0, "its engine has begun to count anew within the last minute"),
    ],
)
async def test_pitfall_11_counters_that_went_back_are_no_work(
    prometheus: FakePrometheus, reader: Reader, value: float, why: str
) -> None:
    prometheus.pod("a", counted=COUNTED | {Told.GENERATED: value})

    assert await work_of(reader) == Missing(why=why)


async def test_an_embedding_server_counts_no_tokens_and_that_is_no_fault(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a", model=None, awake=None, counted={})

    assert await work_of(reader, Engine.TEI) == Missing(why="its engine counts no tokens")
    assert reader.account.lacking["models/llama"] == {"no_series": 1}  # the time to first token
