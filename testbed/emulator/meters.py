"""What one emulated engine has counted since it was born, and its samples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim.plant import Reading
from scaler.sim.state import Rows, seconds
from testbed.emulator.page import Bounds, bucket_keys

Floats = NDArray[np.float64]

COMPLETIONS: Final = 'handler="/v1/completions"'
FINISHED_PROMPT: Final = "vllm:request_prefill_kv_computed_tokens"


class Sleep(IntEnum):
    """How deep an engine sleeps; the levels are vLLM's."""

    AWAKE = 0
    WEIGHTS_OFFLOADED = 1
    DISCARD_ALL = 2


class Histogram:
    """Counts by bucket, and the sum of what was counted."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self.total = 0.0

    def add(self, values: Floats) -> None:
        """Count every one of ``values``."""
        places = np.searchsorted(self.bounds, values, side="left")  # a value at a bound is within it
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.total += float(values.sum())

    def add_alike(self, value: float, times: int) -> None:
        """Count ``value`` so many times."""
        self.counts[int(np.searchsorted(self.bounds, value, side="left"))] += times
        self.total += value * times

    def samples(self, name: str) -> Iterator[tuple[str, float]]:
        """Its samples by key, cumulated as the exposition has them."""
        below = np.cumsum(self.counts).tolist()
        return zip(bucket_keys(name, self.bounds), [*below, below[-1], self.total], strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The times of requests that have finished, in seconds, and their tokens; ``since_ps`` is when the engine opened.

    What a request spent at the gateway before is not the engine's to know.
    """

    rows: Rows
    since_ps: int

    def between(self, begin: str, end: str) -> Floats:
        """From one moment of each request to another."""
        begins = np.maximum(self.rows[begin], self.since_ps)
        return seconds(np.maximum(self.rows[end] - begins, 0))

    def tokens(self, name: str) -> Floats:
        """The tokens of one kind."""
        return np.asarray(self.rows[name], dtype=np.float64)

    def per_token(self) -> Floats:
        """The decode time by tokens after the first; 0 for an answer of one token, as vLLM has it."""
        gaps = np.maximum(self.tokens("output_tokens") - 1.0, 1.0)
        return self.between("first_ps", "finish_ps") / gaps


WHEN_FINISHED: Final[Mapping[str, Callable[[Spans], Floats]]] = {
    "vllm:e2e_request_latency_seconds": lambda it: it.between("arrival_ps", "finish_ps"),
    "vllm:request_queue_time_seconds": lambda it: it.between("arrival_ps", "start_ps"),
    "vllm:request_inference_time_seconds": lambda it: it.between("start_ps", "finish_ps"),
    "vllm:request_prefill_time_seconds": lambda it: it.between("start_ps", "first_ps"),
    "vllm:request_decode_time_seconds": lambda it: it.between("first_ps", "finish_ps"),
    "vllm:request_time_per_output_token_seconds": lambda it: it.per_token(),
    "vllm:request_prompt_tokens": lambda it: it.tokens("prompt_tokens"),
    FINISHED_PROMPT: lambda it: it.tokens("prompt_tokens"),
    "vllm:request_generation_tokens": lambda it: it.tokens("output_tokens"),
    "vllm:request_max_num_generation_tokens": lambda it: it.tokens("output_tokens"),
    # Clients ask for no more than they get, so every answer ends at its length.
    "vllm:request_params_max_tokens": lambda it: it.tokens("output_tokens"),
    "vllm:request_params_n": lambda it: np.ones(len(it.rows)),
    "vllm:request_num_preemptions": lambda it: np.zeros(len(it.rows)),
    "http_request_duration_highr_seconds": lambda it: it.between("arrival_ps", "finish_ps"),
    f'http_request_duration_seconds{{{COMPLETIONS},method="POST"}}': lambda it: it.between("arrival_ps", "finish_ps"),
}
"""What each histogram counts of a request when it has finished."""

FIRST_TOKENS: Final = "vllm:time_to_first_token_seconds"
BETWEEN_TOKENS: Final = "vllm:inter_token_latency_seconds"
STEPS: Final = "vllm:iteration_tokens_total"


class Meters:
    """The counters of one engine: they begin at 0 with it, whatever the fleet has done before."""

    def __init__(self, bounds: Mapping[str, Bounds]) -> None:
        names = (*WHEN_FINISHED, FIRST_TOKENS, BETWEEN_TOKENS, STEPS)
        self.histograms = {name: Histogram(bounds[name]) for name in names}
        self.since_ps = 0
        self.aborted = 0
        self._before: Reading | None = None

    def began(self, rows: Rows) -> None:
        """These requests have had their first token."""
        self.histograms[FIRST_TOKENS].add(self._spans(rows).between("arrival_ps", "first_ps"))

    def finished(self, rows: Rows) -> None:
        """These requests have had their last token."""
        spans = self._spans(rows)
        for name, of in WHEN_FINISHED.items():
            self.histograms[name].add(of(spans))

    def stepped(self, now: Reading) -> None:
        """The engine has come from the reading before to ``now``.

        The fleet model does many steps at once and does not keep how long each took, so all tokens and steps in
        between count with the mean of them. Between two looks, a quarter of a second apart, that blurs little.
        """
        gained = gain(self._before, now)
        self._before = now
        if gained.gaps > 0:
            self.histograms[BETWEEN_TOKENS].add_alike(gained.token_s / gained.gaps, gained.gaps)
        if gained.steps > 0:
            self.histograms[STEPS].add_alike(gained.tokens / gained.steps, gained.steps)

    def samples(self, now: Reading, sleep: Sleep) -> dict[str, float]:
        """All that is not 0 for ever, by key."""
        values: dict[str, float] = dict(self._scalars(now, sleep))
        for name, histogram in self.histograms.items():
            if histogram.counts.any():
                values.update(histogram.samples(name))
        return values

    def _spans(self, rows: Rows) -> Spans:
        return Spans(rows=rows, since_ps=self.since_ps)

    def _scalars(self, now: Reading, sleep: Sleep) -> Iterator[tuple[str, float]]:
        yield "vllm:num_requests_running", now.running
        yield "vllm:num_requests_waiting", now.waiting
        yield 'vllm:num_requests_waiting_by_reason{reason="capacity"}', now.waiting
        yield f'vllm:engine_sleep_state{{sleep_state="{sleep.name.lower()}"}}', 1
        yield "vllm:kv_cache_usage_perc", now.kv_usage
        yield "vllm:prefix_cache_queries_total", now.prompt_tokens
        yield "vllm:prompt_tokens_total", now.prompt_tokens
        yield 'vllm:prompt_tokens_by_source_total{source="local_compute"}', now.prompt_tokens
        yield "vllm:generation_tokens_total", now.generation_tokens
        yield 'vllm:request_success_total{finished_reason="length"}', now.finished
        yield 'vllm:request_success_total{finished_reason="abort"}', self.aborted
        yield "vllm:cache_config_info", 1
        if now.finished:
            yield from self._over_http(now.finished)

    def _over_http(self, finished: int) -> Iterator[tuple[str, float]]:
        """What the web server in front of the engine says; it reads no content length of a streamed answer."""
        yield f'http_requests_total{{{COMPLETIONS},method="POST",status="2xx"}}', finished
        yield f'http_requests_created{{{COMPLETIONS},method="POST",status="2xx"}}', 1
        for size in ("http_request_size_bytes", "http_response_size_bytes"):
            yield f"{size}_count{{{COMPLETIONS}}}", finished
            yield f"{size}_created{{{COMPLETIONS}}}", 1
        yield f"http_response_size_bytes_sum{{{COMPLETIONS}}}", 0
        # Four bytes a token of prompt, as English has it.
        yield f"http_request_size_bytes_sum{{{COMPLETIONS}}}", 4 * self.histograms[FINISHED_PROMPT].total
        yield f'http_request_duration_seconds_created{{{COMPLETIONS},method="POST"}}', 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What an engine did between two readings.

    ``gaps`` are the tokens that came after another one of their request, ``token_s`` the times between these added up;
    ``tokens`` are those of prompts and answers.
    """

    steps: int
    tokens: int
    gaps: int
    token_s: float


def gain(before: Reading | None, now: Reading) -> Gain:
    """What was done since ``before``, or since the engine began."""
    if before is None:
        return Gain(
            steps=now.steps,
            tokens=now.prompt_tokens + now.generation_tokens,
            gaps=now.generation_tokens - sum(now.ttft),
            token_s=now.token_s,
        )
    last, first = gain(None, now), gain(None, before)
    return Gain(
        steps=last.steps - first.steps,
        tokens=last.tokens - first.tokens,
        gaps=last.gaps - first.gaps,
        token_s=last.token_s - first.token_s,
    )
