"""Which metric tells what, engine by engine: one table each, and nothing of how it is asked for.

A signal has choices, best first: of those that exist only the first counts, for a former name is often served beside
its successor and both together would be twice the work. The metrics of one choice are added up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from scaler.api.v1alpha1 import Engine


class Signal(Enum):
    """What an engine may tell of its work."""

    RUNNING = "requests under way"
    WAITING = "requests that wait for capacity"
    KV_USAGE = "used share of the KV cache"
    AWAKE = "1 awake, 0 asleep"
    TTFT = "time to first token"
    ITL = "time between tokens"
    PREFILL_TOKENS = "prompt tokens computed, without those found in a cache"
    PROMPT_TOKENS = "prompt tokens, with those found in a cache"
    CACHED_TOKENS = "prompt tokens found in the prefix cache"
    QUERIED_TOKENS = "prompt tokens looked for in the prefix cache, where that is not every prompt token once"
    GENERATION_TOKENS = "tokens generated"
    ANSWER_TOKENS = "tokens of the answers that have ended"
    FINISHED = "requests that have ended, however they did (of a histogram, how often it was observed)"
    PREFILL_TIME = "time that the prefill of a request takes"
    REFUSED = "requests turned away because the queue was full"


class Kind(Enum):
    """What kind of metric a name is."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric, named as it is exposed (a histogram without ``_bucket``), and the label values that pick its series."""

    name: str
    kind: Kind
    labels: tuple[tuple[str, str], ...] = ()


Choice = tuple[Metric, ...]
Table = Mapping[Signal, tuple[Choice, ...]]

MODEL_LABELS: Final = ("model_name", "model")
POD_LABELS: Final = ("exported_pod", "pod", "pod_name", "kubernetes_pod_name")
"""Best first: with honorLabels off, an exporter's own ``pod`` becomes ``exported_pod`` and ``pod`` is the exporter."""

NAMESPACE_LABELS: Final = ("exported_namespace", "namespace", "pod_namespace", "kubernetes_namespace")
SUMMED_LABELS: Final = ("engine", "dp_rank")
"""The data-parallel engines of one server, each with its own requests and its own cache."""

PARTED_LABELS: Final = ("is_streaming", "cache_source")
"""What some engines count apart; the parts make one number."""


def _gauges(*names: str, labels: tuple[tuple[str, str], ...] = ()) -> Choice:
    return tuple(Metric(name=name, kind=Kind.GAUGE, labels=labels) for name in names)


def _histogram(name: str) -> Choice:
    return (Metric(name=name, kind=Kind.HISTOGRAM),)


def _counter(name: str, labels: tuple[tuple[str, str], ...] = ()) -> tuple[Choice, ...]:
    """A counter as OpenMetrics exposes it, then as older clients and some relays do."""
    return tuple((Metric(name=exposed, kind=Kind.COUNTER, labels=labels),) for exposed in (f"{name}_total", name))


VLLM: Final[Table] = {
    Signal.RUNNING: (_gauges("vllm:num_requests_running"),),
    # What is deferred waits for a LoRA slot or a KV transfer, which no replica more would cure.
    Signal.WAITING: (
        _gauges("vllm:num_requests_waiting_by_reason", labels=(("reason", "capacity"),)),
        _gauges("vllm:num_requests_waiting"),
    ),
    Signal.KV_USAGE: (_gauges("vllm:kv_cache_usage_perc"), _gauges("vllm:gpu_cache_usage_perc")),
    Signal.AWAKE: (_gauges("vllm:engine_sleep_state", labels=(("sleep_state", "awake"),)),),
    Signal.TTFT: (_histogram("vllm:time_to_first_token_seconds"),),
    Signal.ITL: (
        _histogram("vllm:inter_token_latency_seconds"),
        _histogram("vllm:time_per_output_token_seconds"),
    ),
    Signal.PREFILL_TOKENS: _counter("vllm:prompt_tokens_by_source", (("source", "local_compute"),)),
    # Of a vLLM that does not tell the source. It looks a request up again in every step that it has to wait, so hits
    # alone may exceed the prompts; their share of the queries stays a share. (They were once counted in blocks.)
    Signal.PROMPT_TOKENS: _counter("vllm:prompt_tokens"),
    Signal.CACHED_TOKENS: (*_counter("vllm:prefix_cache_hits"), _counter("vllm:gpu_prefix_cache_hits")[0]),
    Signal.QUERIED_TOKENS: (*_counter("vllm:prefix_cache_queries"), _counter("vllm:gpu_prefix_cache_queries")[0]),
    Signal.GENERATION_TOKENS: _counter("vllm:generation_tokens"),
    # Every request that ended, once; request_success has the same by reason, in five series.
    Signal.FINISHED: (_histogram("vllm:e2e_request_latency_seconds"),),
    # From its place in a batch to its first token. What runs is told after each step, without those that it ended: on a
    # replica that only prefills that gauge is 0 most of the time, however busy it is.
    Signal.PREFILL_TIME: (_histogram("vllm:request_prefill_time_seconds"),),
    Signal.REFUSED: _counter("vllm:admission_rejections"),
}

SGLANG: Final[Table] = {
    Signal.RUNNING: (_gauges("sglang:num_running_reqs"),),
    # Queues apart from each other. The two of a KV transfer under way (inflight, transfer) wait for the network.
    Signal.WAITING: (
        _gauges(
            "sglang:num_queue_reqs",
            "sglang:num_grammar_queue_reqs",
            "sglang:num_prefill_bootstrap_queue_reqs",
            "sglang:num_decode_prealloc_queue_reqs",
        ),
    ),
    Signal.KV_USAGE: (_gauges("sglang:token_usage"),),
    Signal.TTFT: (_histogram("sglang:time_to_first_token_seconds"),),
    Signal.ITL: (
        _histogram("sglang:inter_token_latency_seconds"),
        _histogram("sglang:time_per_output_token_seconds"),
    ),
    # The scheduler's own counters go on while requests run. The others, of older versions, jump when a request ends.
    Signal.PREFILL_TOKENS: _counter("sglang:realtime_tokens", (("mode", "prefill_compute"),)),
    Signal.PROMPT_TOKENS: _counter("sglang:prompt_tokens"),
    Signal.CACHED_TOKENS: _counter("sglang:cached_tokens"),
    Signal.GENERATION_TOKENS: _counter("sglang:realtime_tokens", (("mode", "decode"),)),
    Signal.ANSWER_TOKENS: _counter("sglang:generation_tokens"),
    Signal.FINISHED: _counter("sglang:num_requests"),
    Signal.PREFILL_TIME: (
        (
            Metric(
                name="sglang:per_stage_req_latency_seconds",
                kind=Kind.HISTOGRAM,
                labels=(("stage", "prefill_forward"),),
            ),
        ),
    ),
}

# trtllm-serve's own names, then those of Triton with the TensorRT-LLM backend, which counts no tokens. Tokens are
# counted when a request ends, and the time between them is a mean for each request.
TENSORRT_LLM: Final[Table] = {
    Signal.RUNNING: (
        _gauges("trtllm_num_requests_running"),
        _gauges("nv_trt_llm_request_metrics", labels=(("request_type", "scheduled"),)),
    ),
    Signal.WAITING: (
        _gauges("trtllm_num_requests_waiting"),
        _gauges("nv_trt_llm_request_metrics", labels=(("request_type", "waiting"),)),
    ),
    Signal.KV_USAGE: (
        _gauges("trtllm_kv_cache_utilization"),
        _gauges("nv_trt_llm_kv_cache_block_metrics", labels=(("kv_cache_block_type", "fraction"),)),
    ),
    Signal.TTFT: (_histogram("trtllm_time_to_first_token_seconds"),),
    Signal.ITL: (_histogram("trtllm_time_per_output_token_seconds"),),
    Signal.PROMPT_TOKENS: _counter("trtllm_prompt_tokens"),
    Signal.CACHED_TOKENS: _counter("trtllm_prompt_cached_tokens"),
    Signal.ANSWER_TOKENS: _counter("trtllm_generation_tokens"),
    Signal.FINISHED: (_histogram("trtllm_e2e_request_latency_seconds"),),
}

# No share of the cache in use and no time to first token; token counts are the sums of two histograms, of requests that
# have ended. What its prefix cache saves is told nowhere, so all of a prompt counts.
TGI: Final[Table] = {
    Signal.RUNNING: (_gauges("tgi_batch_current_size"),),
    Signal.WAITING: (_gauges("tgi_queue_size"),),
    Signal.ITL: (_histogram("tgi_request_mean_time_per_token_duration"),),
    Signal.PROMPT_TOKENS: ((Metric(name="tgi_request_input_length_sum", kind=Kind.COUNTER),),),
    Signal.ANSWER_TOKENS: ((Metric(name="tgi_request_generated_tokens_sum", kind=Kind.COUNTER),),),
    Signal.FINISHED: tuple(reversed(_counter("tgi_request_success"))),
}

# An embedding server has no tokens to time and no KV cache. It does not say how many requests it works on either; the
# seconds of inference finished in each second are that number in the mean (Little's law), so a histogram stands here.
TEI: Final[Table] = {
    Signal.RUNNING: (_histogram("te_request_inference_duration"),),
    Signal.WAITING: (_gauges("te_queue_size"),),
}

TABLES: Final[Mapping[Engine, Table]] = {
    Engine.VLLM: VLLM,
    Engine.SGLANG: SGLANG,
    Engine.TENSORRT_LLM: TENSORRT_LLM,
    Engine.TGI: TGI,
    Engine.TEI: TEI,
    Engine.CUSTOM: {},
}

# The endpoint picker of llm-d, whose metrics were those of the Gateway API inference extension.
PICKER_QUEUE: Final = (
    _gauges("llm_d_epp_flow_control_queue_size"),
    _gauges("inference_extension_flow_control_queue_size"),
)
PICKER_REFUSED: Final = Metric(name="llm_d_epp_flow_control_requests_total", kind=Kind.COUNTER)
REFUSED_OUTCOMES: Final = (
    "RejectedCapacity",
    "RejectedNoEndpoints",
    "EvictedTTL",
    "EvictedNoEndpoints",
    "EvictedContextCancelled",
)
"""Requests that came and found no room, or waited until they or their clients gave up (llm-d-router, docs/metrics.md).

Left out are Dispatched, and the two Others, which are requests that make no sense and a picker that shuts down.
"""

PICKER_SATURATION: Final = (
    _gauges("llm_d_epp_flow_control_pool_saturation"),
    _gauges("inference_extension_flow_control_pool_saturation"),
)
"""Served by every picker that queues at all, so it tells an empty queue from a picker that is not read.

Its value drives nothing: it is 1 for an empty pool, and grows when the picker itself loses sight of the engines.
"""

POOL_LABEL: Final = "inference_pool"

# The DCGM exporter, as a guard only. DCGM_FI_DEV_GPU_UTIL is left out on purpose: it is the share of time in which any
# kernel ran, about 100 for an engine at any load.
GPU_XID: Final = "DCGM_FI_DEV_XID_ERRORS"
GPU_TENSOR_ACTIVE: Final = "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"
