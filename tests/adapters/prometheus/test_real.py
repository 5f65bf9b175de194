"""A real Prometheus over real vLLM samples: that the questions mean what we think they mean."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from scaler.adapters.clock import SystemClock
from scaler.adapters.prometheus import Server
from scaler.api.v1alpha1 import Engine, Queries
from scaler.core.model import FirstTokens, Load, Missing, Work
from scaler.runtime.signals import Answered, Asked
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import WORK, asked, at
from tests.adapters.prometheus.real import STEP_S, Page, Pages, scraped, value_of
from tests.builders import work

pytestmark = pytest.mark.slow

# Of the last minutes: Prometheus takes no sample that is far from its own now. Whole seconds compare without rounding.
AT_S = float(int(SystemClock().now_s())) - 60.0
QUEUEING = (Path(__file__).parents[1] / "engines/samples/vllm-0.32.0-queueing.prom").read_text(encoding="utf-8")


def of_pod(name: str, namespace: str = "models") -> Mapping[str, str]:
    return {"namespace": namespace, "pod": name}


def vllm(running: float = 2.0, waiting: float = 26.0, awake: float = 1.0, kv_usage: float = 0.5) -> str:
    """The real exposition, with other values where a test wants them."""
    values = {
        r"num_requests_running\{[^}]*\}": running,
        r'num_requests_waiting_by_reason\{[^}]*reason="capacity"\}': waiting,
        r'engine_sleep_state\{[^}]*"awake"\}': awake,
        r"kv_cache_usage_perc\{[^}]*\}": kv_usage,
    }
    text = QUEUEING
    for pattern, value in values.items():
        text = re.sub(rf"(vllm:{pattern}) .*", rf"\g<1> {value}", text)
    return text


def grown(text: str, times: int) -> str:
    """The same engine after ``times`` as many requests."""
    return re.sub(
        r"(time_to_first_token_seconds_bucket\{[^}]*\}) (\S+)",
        lambda found: f"{found[1]} {float(found[2]) * times}",
        text,
    )


def lines(*texts: str) -> str:
    return "".join(f"{text}\n" for text in texts)


def worked(step: int, text: str = QUEUEING) -> str:
    """The same engine after so many steps of steady work: `WORK` by the second."""
    for_s = STEP_S * step
    counted = {
        r'prompt_tokens_by_source_total\{[^}]*"local_compute"\}': 900.0 * for_s,
        r'prompt_tokens_by_source_total\{[^}]*"local_cache_hit"\}': 100.0 * for_s,
        r"prompt_tokens_total\{[^}]*\}": 1000.0 * for_s,
        r"generation_tokens_total\{[^}]*\}": 200.0 * for_s,
        r"e2e_request_latency_seconds_count\{[^}]*\}": 2.0 * for_s,
        r"inter_token_latency_seconds_sum\{[^}]*\}": 3.96 * for_s,
        r"inter_token_latency_seconds_count\{[^}]*\}": 198.0 * for_s,
        r"request_prefill_time_seconds_sum\{[^}]*\}": 0.25 * for_s,
        r'admission_rejections_total\{[^}]*"max_num_queued_reqs"\}': 0.5 * for_s,
        r'admission_rejections_total\{[^}]*"max_num_queued_tokens"\}': 0.25 * for_s,
    }
    for pattern, value in counted.items():
        text = re.sub(rf"(vllm:{pattern}) .*", rf"\g<1> {1e6 + value}", text)
    return text


def counting(*series: tuple[str, float]) -> list[str]:
    """Four samples of counters that grow by so much in each second."""
    return [lines(*(f"{name} {rate * STEP_S * step}" for name, rate in series)) for step in range(4)]


def along(text: str, texts: list[str]) -> list[str]:
    """``text`` in each of ``texts``."""
    return [text + each for each in texts]


SECOND_ENGINE = QUEUEING.replace('engine="0"', 'engine="1"')
OLD = lines('vllm:num_requests_running{model_name="tiny"} 1', 'vllm:num_requests_waiting{model_name="tiny"} 4')
BOTH_KV = lines('vllm:gpu_cache_usage_perc{model_name="tiny"} 0.9', 'vllm:kv_cache_usage_perc{model_name="tiny"} 0.3')
SGLANG = lines(
    'sglang:num_running_reqs{model_name="tiny",tp_rank="0",dp_rank="0"} 3',
    'sglang:num_running_reqs{model_name="tiny",tp_rank="1",dp_rank="0"} 3',
    'sglang:num_running_reqs{model_name="tiny",tp_rank="0",dp_rank="1"} 4',
    'sglang:num_queue_reqs{model_name="tiny"} 5',
    'sglang:num_grammar_queue_reqs{model_name="tiny"} 2',
    'sglang:token_usage{model_name="tiny"} 0.25',
)
TRITON = lines(
    'nv_trt_llm_request_metrics{model="tiny",request_type="scheduled"} 6',
    'nv_trt_llm_request_metrics{model="tiny",request_type="active"} 9',
    'nv_trt_llm_request_metrics{model="tiny",request_type="waiting"} 1',
    'nv_trt_llm_kv_cache_block_metrics{model="tiny",kv_cache_block_type="fraction"} 0.75',
    'nv_trt_llm_kv_cache_block_metrics{model="tiny",kv_cache_block_type="used"} 750',
)
TEI = [lines("te_queue_size 2", f"te_request_inference_duration_sum {7.5 * step}") for step in range(9)]
DCGM = lines(
    'DCGM_FI_DEV_XID_ERRORS{gpu="0",exported_pod="a",exported_namespace="models"} 0',
    'DCGM_FI_DEV_XID_ERRORS{gpu="1",exported_pod="a",exported_namespace="models"} 79',
    'DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{gpu="0",exported_pod="a",exported_namespace="models"} 0.4',
)
REFUSALS = 'llm_d_epp_flow_control_requests_total{{inference_pool="pool",outcome="{}",priority="0"}}'
PICKER_WORK = counting(
    (REFUSALS.format("Dispatched"), 30.0),
    (REFUSALS.format("RejectedCapacity"), 2.0),
    (REFUSALS.format("EvictedTTL"), 1.0),
    (REFUSALS.format("RejectedOther"), 5.0),
)
PICKER = lines(
    'llm_d_epp_flow_control_pool_saturation{inference_pool="pool",stage="decode"} 0.5',
    'llm_d_epp_flow_control_queue_size{inference_pool="pool",model_name="tiny",fairness_id="x",priority="0"} 3',
    'llm_d_epp_flow_control_queue_size{inference_pool="pool",model_name="tiny",fairness_id="y",priority="0"} 4',
    'inference_extension_flow_control_queue_size{inference_pool="pool",fairness_id="x",priority="0"} 3',
    'inference_extension_flow_control_queue_size{inference_pool="pool",fairness_id="y",priority="0"} 4',
)
OLD_PICKER = lines(
    'inference_extension_flow_control_pool_saturation{inference_pool="old"} 0.5',
    'inference_extension_flow_control_queue_size{inference_pool="old",fairness_id="x",priority="0"} 5',
)

OLD_WORK = counting(
    ('vllm:prompt_tokens{model_name="tiny"}', 1200.0),
    ('vllm:gpu_prefix_cache_hits_total{model_name="tiny"}', 50.0),
    ('vllm:gpu_prefix_cache_queries_total{model_name="tiny"}', 200.0),
    ('vllm:generation_tokens{model_name="tiny"}', 200.0),
    ('vllm:e2e_request_latency_seconds_count{model_name="tiny"}', 2.0),
    ('vllm:time_per_output_token_seconds_sum{model_name="tiny"}', 3.96),
    ('vllm:time_per_output_token_seconds_count{model_name="tiny"}', 198.0),
)
SGLANG_REALTIME = 'sglang:realtime_tokens_total{{model_name="tiny",tp_rank="{}",dp_rank="{}",mode="{}"}}'
SGLANG_ANSWERED = (
    ('sglang:prompt_tokens_total{model_name="tiny",is_streaming="true"}', 600.0),
    ('sglang:prompt_tokens_total{model_name="tiny",is_streaming="false"}', 600.0),
    ('sglang:cached_tokens_total{model_name="tiny",cache_source="device"}', 200.0),
    ('sglang:cached_tokens_total{model_name="tiny",cache_source="host"}', 100.0),
    ('sglang:generation_tokens_total{model_name="tiny",is_streaming="true"}', 200.0),
    ('sglang:num_requests_total{model_name="tiny",is_streaming="true"}', 1.5),
    ('sglang:num_requests_total{model_name="tiny",is_streaming="false"}', 0.5),
    ('sglang:inter_token_latency_seconds_sum{model_name="tiny"}', 3.96),
    ('sglang:inter_token_latency_seconds_count{model_name="tiny"}', 198.0),
    ('sglang:per_stage_req_latency_seconds_sum{model_name="tiny",stage="prefill_forward"}', 0.25),
    ('sglang:per_stage_req_latency_seconds_sum{model_name="tiny",stage="decode_forward"}', 9.0),
)
SGLANG_WORK = counting(
    *((SGLANG_REALTIME.format(rank, rank // 2, "prefill_compute"), 450.0) for rank in range(4)),
    *((SGLANG_REALTIME.format(rank, rank // 2, "decode"), 110.0) for rank in range(4)),
    *SGLANG_ANSWERED,
)
SGLANG_OLD_WORK = counting(*SGLANG_ANSWERED)
TRTLLM = lines(
    'trtllm_num_requests_running{model_name="tiny"} 6',
    'trtllm_num_requests_waiting{model_name="tiny"} 1',
    'trtllm_kv_cache_utilization{model_name="tiny"} 0.75',
)
TRTLLM_WORK = counting(
    ('trtllm_prompt_tokens_total{model_name="tiny"}', 1200.0),
    ('trtllm_prompt_cached_tokens_total{model_name="tiny"}', 300.0),
    ('trtllm_generation_tokens_total{model_name="tiny"}', 200.0),
    ('trtllm_e2e_request_latency_seconds_count{model_name="tiny"}', 2.0),
    ('trtllm_time_per_output_token_seconds_sum{model_name="tiny"}', 0.04),
    ('trtllm_time_per_output_token_seconds_count{model_name="tiny"}', 2.0),
)
TGI = lines("tgi_batch_current_size 6", "tgi_queue_size 1")
TGI_WORK = counting(
    ("tgi_request_input_length_sum", 900.0),
    ("tgi_request_generated_tokens_sum", 200.0),
    ("tgi_request_success", 2.0),
    ("tgi_request_mean_time_per_token_duration_sum", 0.04),
    ("tgi_request_mean_time_per_token_duration_count", 2.0),
)
TIMED = replace(WORK, prefilling=0.25, refused_per_s=0.75)
"""What `worked` comes to. Refusals have no engine: of two in one server they are told once."""

TWICE = Work(
    prefill_tokens_per_s=1800.0,
    decode_tokens_per_s=400.0,
    finished_per_s=4.0,
    inter_token_latency_s=0.02,
    prefilling=0.5,
    refused_per_s=0.75,
)
WORKED = [worked(step) for step in range(4)]

PAGES = [
    Page(labels=of_pod("a"), texts=[vllm(running=n) for n in (100.0, 1.0, 2.0, 3.0, 6.0)], ends_at_s=AT_S - 5.0),
    Page(labels=of_pod("kv"), texts=[vllm(kv_usage=share) for share in (0.9, 0.2, 0.7, 0.4)], ends_at_s=AT_S - 5.0),
    Page(labels=of_pod("a"), texts=[vllm(running=3.0)], ends_at_s=AT_S - 4.0, job="again"),
    Page(labels=of_pod("two"), texts=[vllm() + SECOND_ENGINE], ends_at_s=AT_S - 1.0),
    Page(labels=of_pod("frozen"), texts=[vllm()], ends_at_s=AT_S - 240.0),
    Page(labels=of_pod("gone"), texts=[vllm()], ends_at_s=AT_S - 400.0),
    Page(labels=of_pod("asleep"), texts=[vllm(running=0.0, waiting=0.0, awake=0.0)], ends_at_s=AT_S),
    Page(labels=of_pod("nan"), texts=[vllm(running=float("nan"))], ends_at_s=AT_S),
    Page(labels=of_pod("busy"), texts=WORKED, ends_at_s=AT_S),
    Page(labels=of_pod("busy"), texts=WORKED, ends_at_s=AT_S, job="busy-again"),
    Page(labels=of_pod("young"), texts=WORKED[:2], ends_at_s=AT_S),
    Page(labels=of_pod("lost"), texts=["", *WORKED[1:]], ends_at_s=AT_S - 7.0),
    Page(labels=of_pod("anew"), texts=[worked(step) for step in (6, 7, 0, 1)], ends_at_s=AT_S),
    Page(labels=of_pod("engines"), texts=[worked(n) + worked(n, SECOND_ENGINE) for n in range(4)], ends_at_s=AT_S),
    Page(labels=of_pod("old"), texts=along(OLD + BOTH_KV, OLD_WORK), ends_at_s=AT_S),
    Page(labels=of_pod("sglang"), texts=along(SGLANG, SGLANG_WORK), ends_at_s=AT_S),
    Page(labels=of_pod("sglang-old"), texts=along(SGLANG, SGLANG_OLD_WORK), ends_at_s=AT_S),
    Page(labels=of_pod("trtllm"), texts=along(TRTLLM, TRTLLM_WORK), ends_at_s=AT_S),
    Page(labels=of_pod("triton"), texts=[TRITON], ends_at_s=AT_S),
    Page(labels=of_pod("tgi"), texts=along(TGI, TGI_WORK), ends_at_s=AT_S),
    Page(labels=of_pod("tei"), texts=TEI, ends_at_s=AT_S),
    Page(labels=of_pod("b1", "buckets"), texts=[grown(vllm(), n) for n in range(1, 10)], ends_at_s=AT_S),
    Page(labels=of_pod("b2", "buckets"), texts=[grown(vllm(), 2 * n) for n in range(1, 10)], ends_at_s=AT_S),
    Page(labels=of_pod("r", "restarted"), texts=[grown(vllm(), n) for n in (6, 7, 8, 1, 2, 3)], ends_at_s=AT_S),
    Page(labels=of_pod("dcgm", "monitoring"), texts=[DCGM], ends_at_s=AT_S, job="gpus"),
    Page(labels=of_pod("picker"), texts=along(PICKER, PICKER_WORK), ends_at_s=AT_S, job="picker"),
    Page(labels=of_pod("picker"), texts=along(PICKER, PICKER_WORK), ends_at_s=AT_S, job="picker-again"),
    Page(labels=of_pod("old-picker"), texts=[OLD_PICKER], ends_at_s=AT_S, job="picker"),
]


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages(PAGES)


@pytest.fixture(scope="module")
def url(pages: Pages, real_prometheus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scraped(pages, tmp_path_factory.mktemp("prometheus"), real_prometheus) as url:
        yield url


@pytest.fixture
def reader(url: str) -> Iterator[Reader]:
    reader = Reader(Server(url=url))
    yield reader
    reader.signals.close()


def tiny(*pods: str, engine: Engine = Engine.VLLM, pool: str | None = None) -> Asked:
    return asked(*pods, engine=engine, model="tiny", pool=pool)


async def told(reader: Reader, ask: Asked) -> Answered:
    return await reader.answer(ask, AT_S)


async def test_the_real_exposition_is_read_as_means_of_a_minute_and_the_last_queue(reader: Reader) -> None:
    answer = await told(reader, tiny("a"))

    # The mean of the four samples of the last minute, not of all five; scraped by two jobs, and counted once.
    assert answer.loads["a"] == Load(
        at_s=AT_S - 5.0, running=3.0, waiting=26.0, kv_usage=0.5, work=replace(work(), prefilling=0.0)
    )
    assert set(reader.outcomes) == {"answered"}


async def test_pitfall_3_the_use_of_the_cache_is_the_mean_of_a_minute_and_not_a_point_in_time(reader: Reader) -> None:
    answer = await told(reader, tiny("kv"))

    load = answer.loads["kv"]
    assert isinstance(load, Load)
    assert load.kv_usage == pytest.approx(0.55)


async def test_pitfall_9_requests_of_data_parallel_engines_add_up_and_their_cache_ratios_do_not(reader: Reader) -> None:
    answer = await told(reader, tiny("two"))

    load = answer.loads["two"]
    assert isinstance(load, Load)
    assert (load.running, load.waiting) == (4.0, 52.0)
    assert load.kv_usage == pytest.approx((0.5 + 8 / 15) / 2)


async def test_pitfall_4_a_frozen_series_has_the_time_of_its_sample_and_not_of_the_query(reader: Reader) -> None:
    answer = await told(reader, tiny("frozen", "gone"))

    assert isinstance(answer.loads["frozen"], Load)
    assert answer.loads["frozen"].at_s == AT_S - 240.0
    assert isinstance(answer.loads["gone"], Missing)


async def test_a_sleeping_engine_is_seen_among_others(reader: Reader) -> None:
    answer = await told(reader, tiny("a", "asleep"))

    assert answer.loads["asleep"] == Missing(why="its engine is asleep and serves nothing")
    assert isinstance(answer.loads["a"], Load)


async def test_not_a_number_stays_outside_and_hurts_nobody_else(reader: Reader) -> None:
    answer = await told(reader, tiny("nan", "two"))

    assert isinstance(answer.loads["nan"], Missing)
    assert answer.loads["nan"].why.endswith(" is nan")
    assert isinstance(answer.loads["two"], Load)


async def test_former_names_are_read_where_the_current_are_not_and_never_beside_them(reader: Reader) -> None:
    answer = await told(reader, tiny("old"))

    load = answer.loads["old"]
    assert isinstance(load, Load)
    assert (load.running, load.waiting) == (1.0, 4.0)
    assert load.kv_usage == pytest.approx(0.3)


async def test_sglangs_queues_and_ranks_add_up_and_its_tensor_parallel_copies_do_not(reader: Reader) -> None:
    answer = await told(reader, tiny("sglang", engine=Engine.SGLANG))

    load = answer.loads["sglang"]
    assert isinstance(load, Load)
    assert (load.running, load.waiting, load.kv_usage) == (7.0, 7.0, 0.25)


async def test_tensorrt_llm_behind_triton_is_read_too(reader: Reader) -> None:
    answer = await told(reader, tiny("triton", engine=Engine.TENSORRT_LLM))

    load = answer.loads["triton"]
    assert isinstance(load, Load)
    assert (load.running, load.waiting, load.kv_usage) == (6.0, 1.0, 0.75)
    assert isinstance(load.work, Missing)
    assert 'no series trtllm_prompt_tokens_total{namespace="models", pod="triton"' in load.work.why


# What a steady engine does, whoever scrapes it and however often: the rates of WORK.
@pytest.mark.parametrize(
    ("pod", "engine", "expected"),
    [
        ("busy", Engine.VLLM, TIMED),
        ("young", Engine.VLLM, TIMED),
        ("lost", Engine.VLLM, TIMED),
        ("engines", Engine.VLLM, TWICE),
        ("old", Engine.VLLM, WORK),
        ("sglang", Engine.SGLANG, replace(WORK, decode_tokens_per_s=220.0, prefilling=0.25)),
        ("sglang-old", Engine.SGLANG, replace(WORK, prefilling=0.25)),
        ("trtllm", Engine.TENSORRT_LLM, WORK),
        ("tgi", Engine.TGI, WORK),
    ],
)
async def test_work_is_what_the_counters_grew_by_in_each_second(
    reader: Reader, pod: str, engine: Engine, expected: Work
) -> None:
    answer = await told(reader, tiny(pod, engine=engine))

    load = answer.loads[pod]
    assert isinstance(load, Load)
    assert isinstance(load.work, Work), load.work
    assert rates(load.work) == pytest.approx(rates(expected), rel=1e-6)


def rates(told: Work) -> tuple[float | None, ...]:
    """All that is told, 0 where prefills are not timed: no number is near None."""
    return astuple(replace(told, prefilling=told.prefilling or 0.0))


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        ("two", "its engine was scraped only once in the last minute"),
        ("anew", "its engine has begun to count anew within the last minute"),
    ],
)
async def test_a_load_without_work_says_why(reader: Reader, pod: str, why: str) -> None:
    answer = await told(reader, tiny(pod))

    load = answer.loads[pod]
    assert isinstance(load, Load)
    assert load.work == Missing(why=why)


async def test_an_embedding_servers_running_requests_follow_from_its_seconds_of_work(reader: Reader) -> None:
    answer = await told(reader, tiny("tei", engine=Engine.TEI))

    # 7.5 s of inference in each 15 s.
    load = answer.loads["tei"]
    assert isinstance(load, Load)
    assert load.running == pytest.approx(0.5)
    assert (load.waiting, load.kv_usage) == (2.0, 0.0)


async def test_all_engines_together_are_asked_no_more_often(reader: Reader) -> None:
    engines = [engine for engine in Engine if engine is not Engine.CUSTOM]
    pods = {Engine.VLLM: "a", Engine.SGLANG: "sglang", Engine.TENSORRT_LLM: "triton", Engine.TEI: "tei"}
    policies = [
        asked(*([pods[engine]] if engine in pods else []), policy=f"models/{engine.value}", engine=engine, model="tiny")
        for engine in engines
    ]

    answers = await reader.signals.read(policies, AT_S)

    loads = [load for answer in answers.values() for load in answer.loads.values()]
    assert [type(load) for load in loads] == [Load] * 4
    assert len(reader.outcomes) == 8


async def test_pitfall_8_the_quantile_of_two_pods_is_that_of_prometheus_itself(url: str, reader: Reader) -> None:
    bucket = 'rate(vllm:time_to_first_token_seconds_bucket{namespace="buckets"}[2m])'

    answers = [
        (await told(reader, asked(policy="buckets/x", model="tiny", objective=at(percentile)))).ttft_s
        for percentile in (50.0, 95.0, 99.9)
    ]

    theirs = [value_of(url, f"histogram_quantile({q}, sum by (le) ({bucket}))", AT_S) for q in (0.5, 0.95, 0.999)]
    assert answers == pytest.approx(theirs)


@pytest.mark.parametrize("limit_s", [1.0, 2.5, 10.0])
async def test_what_is_later_than_a_bound_of_two_pods_is_that_of_prometheus_itself(
    url: str, reader: Reader, limit_s: float
) -> None:
    answer = await told(reader, asked(policy="buckets/x", model="tiny", objective=at(95.0, limit_s)))

    bucket = 'sum(rate(vllm:time_to_first_token_seconds_bucket{{namespace="buckets", le="{le}"}}[2m]))'
    per_s, in_time_per_s = (value_of(url, bucket.format(le=le), AT_S) for le in ("+Inf", limit_s))
    assert isinstance(answer.first_tokens, FirstTokens)
    assert astuple(answer.first_tokens) == pytest.approx((per_s, per_s - in_time_per_s))
    assert 0.0 < in_time_per_s < per_s


async def test_pitfall_11_a_restart_of_the_engine_is_no_negative_rate(url: str, reader: Reader) -> None:
    answer = await told(reader, asked(policy="restarted/x", model="tiny"))

    bucket = 'rate(vllm:time_to_first_token_seconds_bucket{namespace="restarted"}[2m])'
    theirs = value_of(url, f"histogram_quantile(0.95, sum by (le) ({bucket}))", AT_S)
    assert answer.ttft_s == pytest.approx(theirs)
    assert 5.0 < theirs < 20.0


async def test_the_guard_finds_the_pod_behind_the_exporters_own(reader: Reader) -> None:
    await told(reader, tiny("a"))

    assert reader.account.warnings == {"models/llama": {"a": ("a GPU of it reported the error XID 79",)}}


async def test_the_pickers_queue_is_counted_once_under_whatever_name(reader: Reader) -> None:
    current = await told(reader, tiny(pool="pool"))
    former = await told(reader, tiny(pool="old"))

    assert (current.gateway_waiting, former.gateway_waiting) == (7.0, 5.0)
    # Of two jobs once, and neither what was dispatched nor what made no sense.
    assert current.gateway_refused_per_s == pytest.approx(3.0)
    assert former.gateway_refused_per_s == 0.0


async def test_a_users_own_queries_may_be_scalars_or_vectors(reader: Reader) -> None:
    queries = Queries(demand='sum(vllm:num_requests_running{pod="two"})', capacity="vector(8)")
    scalar = queries.model_copy(update={"capacity": "scalar(vector(0))"})

    policies = [
        asked(policy="models/one", engine=Engine.CUSTOM, queries=queries),
        asked(policy="models/zero", engine=Engine.CUSTOM, queries=scalar),
    ]
    answers = await reader.signals.read(policies, AT_S)

    assert answers["models/one"].own_replicas == 0.5
    assert answers["models/zero"].own_replicas == Missing(why="the query capacity gave 0; it must be above 0")


async def test_a_users_own_query_that_is_no_promql_is_told_in_prometheus_words(reader: Reader) -> None:
    queries = Queries(demand="sum(", capacity="1")

    answer = await told(reader, asked(engine=Engine.CUSTOM, queries=queries))

    assert isinstance(answer.own_replicas, Missing)
    assert "cannot answer the query (HTTP status 400, invalid parameter" in answer.own_replicas.why
