"""What is made of the rows; the names of the pitfalls are those of the metrics page, section 6."""

import json
from dataclasses import replace
from time import process_time

import pytest

from scaler.adapters.prometheus import Reads, Server
from scaler.adapters.prometheus.answers import most_like
from scaler.adapters.prometheus.promql import TOLD_LABEL, Question, Told
from scaler.api.v1alpha1 import Engine
from scaler.core.model import NO_PICKER, FirstTokens, Load, Missing, Work
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import AT_S, COUNTED, WORK, FakePrometheus, asked, at, serving
from tests.builders import work

POOL = {"namespace": "models", "inference_pool": "pool"}
QUEUED = POOL | {TOLD_LABEL: Told.QUEUED.value}
REFUSED = POOL | {TOLD_LABEL: Told.REFUSED.value}


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


async def test_pitfall_8_a_quantile_is_taken_of_the_summed_buckets_at_each_policys_percentile(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.first_tokens({"1": 90.0, "2": 100.0, "+Inf": 100.0})

    told = await reader.signals.read([asked(objective=at(90.0)), asked(policy="models/b", model="llama")], AT_S)

    assert [told[name].ttft_s for name in ("models/llama", "models/b")] == [1.0, 1.5]


async def test_first_tokens_that_were_late_are_told_of_the_same_buckets_at_each_policys_limit(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.first_tokens({"1": 90.0, "2": 95.0, "4": 99.0, "+Inf": 100.0})

    told = await reader.signals.read(
        [asked(), asked(policy="models/b", model="llama", objective=at(95.0, limit_s=1.0))], AT_S
    )

    assert [told[name].first_tokens for name in ("models/llama", "models/b")] == [
        FirstTokens(per_s=100.0, late_per_s=5.0),
        FirstTokens(per_s=100.0, late_per_s=10.0),
    ]


async def test_pitfall_10_no_traffic_is_not_a_latency_of_zero(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.first_tokens({"1": 0.0, "+Inf": 0.0})

    answer = await reader.answer(asked())

    assert answer.ttft_s == answer.first_tokens == Missing(why="no request got its first token in the last 2 minutes")


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


async def test_without_a_pool_there_is_no_picker(reader: Reader) -> None:
    answer = await reader.answer(asked())

    assert answer.gateway_waiting == NO_PICKER


async def test_the_queue_of_the_pool_is_summed_over_its_models(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 3.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "llama"}, 4.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "adapter-7"}, 3.0)

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == 7.0


async def test_a_queue_that_was_never_used_is_empty_where_the_picker_is_read(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 3.0)

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == 0.0


async def test_pitfall_5_a_picker_that_is_not_read_is_not_an_empty_queue(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 3.0)

    answer = await reader.answer(asked(pool="poll"))

    assert isinstance(answer.gateway_waiting, Missing)
    assert answer.gateway_waiting.why.endswith('inference_pool="poll"}; there is inference_pool="pool"')


async def test_pitfall_4_a_picker_that_was_last_seen_long_ago_is_missing(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 120.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED, 4.0)

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == Missing(why="its last sample is 120 s old, the limit is 90 s")


async def test_two_models_of_one_pool_do_not_count_each_others_requests(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "chat", "target_model_name": "llama"}, 4.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "qwen", "target_model_name": ""}, 2.0)
    policies = [asked(pool="pool"), asked(policy="models/qwen", pool="pool")]

    told = await reader.signals.read(policies, AT_S)

    assert [answer.gateway_waiting for answer in told.values()] == [4.0, 2.0]


async def test_what_the_picker_refuses_is_told_by_the_second(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, REFUSED, 2.5)

    answer = await reader.answer(asked(pool="pool"))

    assert (answer.gateway_waiting, answer.gateway_refused_per_s) == (0.0, 2.5)


@pytest.mark.parametrize(("llama", "qwen", "refused"), [(6.0, 2.0, [3.0, 1.0]), (0.0, 0.0, [2.0, 2.0])])
async def test_refusals_of_a_pool_belong_to_those_whose_requests_wait_in_it(
    prometheus: FakePrometheus, reader: Reader, llama: float, qwen: float, refused: list[float]
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "llama"}, llama)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "qwen"}, qwen)
    prometheus.row(Question.PICKER_QUEUE, REFUSED, 4.0)
    policies = [asked(pool="pool"), asked(policy="models/qwen", pool="pool")]

    told = await reader.signals.read(policies, AT_S)

    assert [answer.gateway_refused_per_s for answer in told.values()] == refused


async def test_refusals_that_are_no_number_are_missing(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, REFUSED, "NaN")

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == Missing(why="the endpoint picker has 0 waiting and refuses nan a second")
    assert answer.gateway_refused_per_s == 0.0


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


async def test_the_same_number_of_queries_for_one_policy_and_for_two_hundred(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    many = [asked(f"p{n}", policy=f"models/m{n}", pool=f"pool{n}", objective=at(50.0 + n % 49)) for n in range(200)]

    await reader.signals.read(many[:1], AT_S)
    for_one = len(prometheus.requests)
    await reader.signals.read(many, AT_S)

    assert (for_one, len(prometheus.requests)) == (10, 20)


async def test_nothing_is_asked_where_no_policy_asks(prometheus: FakePrometheus, reader: Reader) -> None:
    await reader.signals.read([], AT_S)

    assert prometheus.requests == []


async def test_every_query_of_a_tick_is_of_the_same_moment(prometheus: FakePrometheus, reader: Reader) -> None:
    await reader.answer(asked("a"), at_s=AT_S + 0.25)

    assert {parameters["time"] for parameters in prometheus.parameters} == {f"{AT_S + 0.25:.3f}"}


async def test_a_store_that_is_down_must_fail_the_query_rather_than_halve_it(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    await reader.answer(asked("a"))

    assert {parameters["partial_response"] for parameters in prometheus.parameters} == {"false"}


async def test_answers_hold_no_number_that_json_lacks(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", running=float("nan"))
    prometheus.first_tokens({"1": float("nan"), "+Inf": float("inf")})

    answer = await reader.answer(asked("a"))

    json.dumps([str(answer.loads), str(answer.ttft_s)], allow_nan=False)
    assert isinstance(answer.ttft_s, Missing)


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


async def test_the_time_to_first_token_is_asked_for_only_where_there_is_an_objective(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a")
    prometheus.first_tokens({"1": 90.0, "2": 100.0, "+Inf": 100.0})

    without_objective = await reader.answer(asked("a", objective=None))
    queries = len(prometheus.requests)
    both = await reader.signals.read([asked(objective=None), asked(policy="models/b", model="llama")], AT_S)

    missing = Missing(why="the policy has no objective for it")
    assert (without_objective.ttft_s, without_objective.first_tokens) == (missing, missing)
    assert reader.account.lacking["models/llama"] == {}
    assert (queries, len(prometheus.requests)) == (7, 15)
    assert [isinstance(told.ttft_s, Missing) for told in both.values()] == [True, False]


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("llama-8b", "llama-3.1-8b"), ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"), ("qwen2.5", "qwen-2.5-7b")],
)
def test_the_nearest_name_is_the_one_with_most_in_common(wanted: str, nearest: str) -> None:
    there = {"llama-3.1-8b", "mistral-small", "qwen-2.5-7b", "gemma-3"}

    assert most_like(wanted, there)[0] == nearest


@pytest.mark.bench
async def test_a_tick_of_a_thousand_policies(
    prometheus: FakePrometheus, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"m{number}" for number in range(1000)]
    for name in names:
        for pod in range(10):
            prometheus.pod(f"{name}-{pod}", model=name)
        prometheus.first_tokens({str(bound): 1.0 * bound for bound in range(22)} | {"+Inf": 22.0}, model=name)
    policies = {
        label: [asked(*(f"{name}-{pod}" for pod in range(10)), policy=f"models/{name}{label}") for name in names]
        for label in ("", "-wrong")
    }

    for label, asks in policies.items():
        begun_s = process_time()
        await reader.signals.read(asks, AT_S)
        worked_s = process_time() - begun_s

        with capsys.disabled():
            print(f"\nsignals of 1000 policies of 10 pods{label}: {worked_s:.2f} s of CPU")  # noqa: T201  # a bench prints
        assert worked_s < 10.0  # the fake's own share is half of it
