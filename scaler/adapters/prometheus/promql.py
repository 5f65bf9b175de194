"""The questions as PromQL: how many they are depends on the engines in use, never on how many policies use them.

Every answer is grouped to the pod (or pool, or model) before it leaves Prometheus. Of the series of one engine the
largest counts, for a pod that two jobs scrape, or two Prometheus of a pair, counts once; then the data-parallel engines
of a server are summed.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final

from scaler.adapters.engines import (
    GPU_TENSOR_ACTIVE,
    GPU_XID,
    MODEL_LABELS,
    NAMESPACE_LABELS,
    PARTED_LABELS,
    PICKER_QUEUE,
    PICKER_REFUSED,
    PICKER_SATURATION,
    POD_LABELS,
    POOL_LABEL,
    REFUSED_OUTCOMES,
    SUMMED_LABELS,
    TABLES,
    Choice,
    Kind,
    Metric,
    Signal,
)
from scaler.api.v1alpha1 import Engine

MEAN_OVER: Final = "1m"
"""What `Load` promises of running and kv_usage."""

WORK_OVER: Final = "1m"
"""What `Work` promises: two scrapes a minute at least, or there is none."""

RATE_OVER: Final = "2m"
"""Of other rates: two samples at least, even where the engines are scraped only once a minute."""

GUARD_OVER: Final = "5m"


class Question(Enum):
    """One query of a tick."""

    TIMES = "sample times"
    RUNNING = "running"
    WAITING = "waiting"
    KV_USAGE = "KV usage"
    STATE = "sleep state, prefills and refusals"
    WORK = "tokens and requests by the second"
    FIRST_TOKENS = "time to first token"
    PICKER_TIMES = "endpoint picker's sample times"
    PICKER_QUEUE = "endpoint picker's queue and refusals"
    GPUS = "GPU errors and tensor activity"


class Told(Enum):
    """What a row of a question about several things tells, by its label `TOLD_LABEL`; of work, by the second."""

    PREFILL = "prefill"
    PROMPT = "prompt"  # this and the next three only of an engine that does not tell PREFILL
    CACHED = "cached"
    QUERIED = "queried"
    ANSWERED = "answered"
    GENERATED = "generated"
    FINISHED = "finished"
    BETWEEN = "between"  # the seconds between tokens added up; over the next one it is their mean
    GAPS = "gaps"
    SCRAPES = "scrapes"  # in that minute, where there was only one
    AWAKE = "awake"  # 1 awake, 0 asleep
    PREFILLING = "prefilling"  # the seconds of prefill added up: how many are in prefill, on average
    REFUSED = "refused"  # by an engine, or by an endpoint picker
    QUEUED = "queued"  # at an endpoint picker
    XID = "xid"  # the code of a GPU's error, where there is one
    TENSOR_ACTIVITY = "tensor_activity"  # share of time


TOLD_LABEL: Final = "told"

_POD: Final = ", ".join((*NAMESPACE_LABELS, *POD_LABELS, *MODEL_LABELS))
_BY_POD: Final = f"by ({_POD})"
_BY_ENGINE: Final = f"by ({_POD}, {', '.join(SUMMED_LABELS)})"
_BY_PART: Final = f"by ({_POD}, {', '.join((*SUMMED_LABELS, *PARTED_LABELS))})"
_BY_MODEL: Final = f"by ({', '.join((*NAMESPACE_LABELS, *MODEL_LABELS, 'le'))})"
_POOL: Final = ", ".join((*NAMESPACE_LABELS, POOL_LABEL))
_POOL_MODELS: Final = f"{_POOL}, model_name, target_model_name"

_LATER_PARTS: Final = frozenset(
    metric.name for table in TABLES.values() for choice in table.get(Signal.WAITING, ()) for metric in choice[1:]
)

Wrap = Callable[[Iterable[Metric], str], str]


@cache
def engine_queries(engines: frozenset[Engine], matchers: str) -> Mapping[Question, str]:
    """What to ask of ``engines`` together; ``matchers`` are the user's own, kept to in every selector."""
    texts = {
        Question.TIMES: _by_choice(engines, Signal.WAITING, matchers, _oldest),
        Question.RUNNING: _by_choice(engines, Signal.RUNNING, matchers, _mean_running),
        Question.WAITING: _by_choice(engines, Signal.WAITING, matchers, _last_sum),
        Question.KV_USAGE: _by_choice(engines, Signal.KV_USAGE, matchers, _mean_share),
        Question.STATE: _state(engines, matchers),
        Question.WORK: _work(engines, matchers),
        Question.FIRST_TOKENS: _by_choice(engines, Signal.TTFT, matchers, _bucket_rates),
    }
    return MappingProxyType({question: text for question, text in texts.items() if text})


@cache
def picker_queries(matchers: str) -> Mapping[Question, str]:
    """What to ask of the endpoint pickers."""
    witnesses = [metric for choice in (*PICKER_SATURATION, *PICKER_QUEUE) for metric in choice]
    times = " or ".join(f"min by ({_POOL}) (timestamp({selector([one], matchers)}))" for one in witnesses)
    current, former = (_queue(choice, matchers) for choice in PICKER_QUEUE)
    # The old name is served beside the new one, perhaps with other labels: a pool that has the new one has it alone.
    queue = f"{current} or ({former} unless on ({_POOL}) {current})"
    told = f"{labelled(Told.QUEUED, queue)} or {labelled(Told.REFUSED, _refused(matchers))}"
    return MappingProxyType({Question.PICKER_TIMES: times, Question.PICKER_QUEUE: told})


@cache
def gpu_queries(matchers: str) -> Mapping[Question, str]:
    """What to ask of the DCGM exporters: the codes other than 0, and how busy the tensor cores of each pod were."""
    errors, tensor = (selector([Metric(name=name, kind=Kind.GAUGE)], matchers) for name in (GPU_XID, GPU_TENSOR_ACTIVE))
    parts = (
        labelled(Told.XID, f"max {_BY_POD} ({errors}) > 0"),
        labelled(Told.TENSOR_ACTIVITY, f"max {_BY_POD} (avg_over_time({tensor}[{GUARD_OVER}]))"),
    )
    return MappingProxyType({Question.GPUS: " or ".join(parts)})


def labelled(told: Told, text: str) -> str:
    """The series of ``text``, which then say what they tell."""
    return f'label_replace({text}, "{TOLD_LABEL}", "{told.value}", "", "")'


def selector(metrics: Iterable[Metric], matchers: str, suffix: str = "") -> str:
    """The series of ``metrics``, which have their labels in common."""
    chosen = list(metrics)
    names = "|".join(f"{metric.name}{suffix}" for metric in chosen)
    named = f'__name__=~"{names}"' if len(chosen) > 1 else ""
    parts = [named, *(f'{label}="{value}"' for label, value in chosen[0].labels), matchers]
    inside = ",".join(part for part in parts if part)
    return f"{{{inside}}}" if named else f"{names}{{{inside}}}" if inside else names


def _by_choice(engines: frozenset[Engine], signal: Signal, matchers: str, wrap: Wrap) -> str:
    """First choices, then for the pods that have none the second ones, and so on; empty where nobody tells it."""
    tables = [TABLES[engine].get(signal, ()) for engine in sorted(engines, key=lambda engine: engine.value)]
    ranks = [
        [metric for choices in tables for metric in (choices[rank] if rank < len(choices) else ())]
        for rank in range(max(map(len, tables), default=0))
    ]
    return " or ".join(wrap(metrics, matchers) for metrics in ranks)


def _alike(metrics: Iterable[Metric]) -> list[list[Metric]]:
    """``metrics`` in groups that one selector can name."""
    groups: dict[tuple[Kind, tuple[tuple[str, str], ...]], list[Metric]] = {}
    for metric in metrics:
        groups.setdefault((metric.kind, metric.labels), []).append(metric)
    return list(groups.values())


def _oldest(metrics: Iterable[Metric], matchers: str) -> str:
    # timestamp() drops the name, so of names that one pod may serve side by side only the first can be asked for.
    # It also gives a sample's own time to a plain selector alone; anything else has the time of the query.
    firsts = [metric for metric in metrics if metric.name not in _LATER_PARTS]
    return " or ".join(f"min {_BY_POD} (timestamp({selector(group, matchers)}))" for group in _alike(firsts))


def _mean_running(metrics: Iterable[Metric], matchers: str) -> str:
    parts = [_mean(group, matchers) for group in _alike(metrics)]
    return f"sum {_BY_POD} (max {_BY_ENGINE} ({' or '.join(parts)}))"


def _mean_share(metrics: Iterable[Metric], matchers: str) -> str:
    parts = [_mean(group, matchers) for group in _alike(metrics)]
    return f"avg {_BY_POD} (max {_BY_ENGINE} ({' or '.join(parts)}))"


def _mean(group: list[Metric], matchers: str) -> str:
    if group[0].kind is Kind.HISTOGRAM:
        return f"rate({selector(group, matchers, '_sum')}[{RATE_OVER}])"
    one = selector(group, matchers)
    # An engine that is scraped less than once a minute has no sample in most minutes: its last one stands for it.
    return f"avg_over_time({one}[{MEAN_OVER}]) or {one}"


def _last_sum(metrics: Iterable[Metric], matchers: str) -> str:
    parts = [selector(group, matchers) for group in _alike(metrics)]
    by_queue = f"by ({_POD}, {', '.join(SUMMED_LABELS)}, __name__)"
    return f"sum {_BY_POD} (max {by_queue} ({' or '.join(parts)}))"


def _least(metrics: Iterable[Metric], matchers: str) -> str:
    return " or ".join(f"min {_BY_POD} ({selector(group, matchers)})" for group in _alike(metrics))


def _state(engines: frozenset[Engine], matchers: str) -> str:
    """What does not fit into the question of work, whose length a proxy bounds."""
    texts = {told: _by_choice(engines, signal, matchers, wrap) for told, (signal, wrap) in _STATE.items()}
    return " or ".join(labelled(told, text) for told, text in texts.items() if text)


def _prefilling(metrics: Iterable[Metric], matchers: str) -> str:
    parts = [f"deriv({selector(group, matchers, '_sum')}[{WORK_OVER}])" for group in _alike(metrics)]
    return f"sum {_BY_POD} (max {_BY_ENGINE} ({' or '.join(parts)}))"


def _refusals(metrics: Iterable[Metric], matchers: str) -> str:
    parts = [f"deriv({selector(group, matchers)}[{WORK_OVER}])" for group in _alike(metrics)]
    by_reason = f"by ({_POD}, {', '.join(SUMMED_LABELS)}, reason)"
    return f"sum {_BY_POD} (max {by_reason} ({' or '.join(parts)}))"


_STATE: Final[Mapping[Told, tuple[Signal, Wrap]]] = {
    Told.AWAKE: (Signal.AWAKE, _least),
    Told.PREFILLING: (Signal.PREFILL_TIME, _prefilling),
    Told.REFUSED: (Signal.REFUSED, _refusals),
}


def _bucket_rates(metrics: Iterable[Metric], matchers: str) -> str:
    parts = [f"rate({selector(group, matchers, '_bucket')}[{RATE_OVER}])" for group in _alike(metrics)]
    return f"sum {_BY_MODEL} ({' or '.join(parts)})"


def _work(engines: frozenset[Engine], matchers: str) -> str:
    """All counters of work in one question, each row labelled with what it tells."""
    texts = {told: _by_choice(engines, signal, matchers, wrap) for told, (signal, wrap) in _WORK.items()}
    # Grouped before anything else is done to them: long sets of labels are what costs. The choices of one signal have
    # the same labels, so that the second is left out by itself where the first is there.
    parts = {told: labelled(told, f"max {_BY_PART} ({text})") for told, text in texts.items() if text}
    if Told.PROMPT not in parts:
        return ""
    instead = " or ".join(parts.pop(told) for told in _INSTEAD if told in parts)
    if Told.PREFILL in parts:
        computed = _by_choice(engines, Signal.PREFILL_TOKENS, matchers, _present)
        instead = f"(({instead}) unless on ({_POD}) ({computed}))"
    return f"sum by ({_POD}, {TOLD_LABEL}) ({' or '.join((*parts.values(), instead))})"


def _of_the_minute(form: str, of_histogram: str = "_count") -> Wrap:
    def ranged(group: list[Metric], matchers: str) -> str:
        suffix = of_histogram if group[0].kind is Kind.HISTOGRAM else ""
        return form.format(f"{selector(group, matchers, suffix)}[{WORK_OVER}]")

    return lambda metrics, matchers: " or ".join(ranged(group, matchers) for group in _alike(metrics))


# Not rate(), which stretches what it saw to the edges of its minute: right for four scrapes, but half of the truth for
# a replica that was scraped twice, and a quarter less where one scrape at an edge was lost. A slope goes through what
# there is. It knows no resets; after one it points down, and is told from a rate by that.
_SLOPE: Final = _of_the_minute("deriv({})")
_WORK: Final[Mapping[Told, tuple[Signal, Wrap]]] = {
    Told.PREFILL: (Signal.PREFILL_TOKENS, _SLOPE),
    Told.GENERATED: (Signal.GENERATION_TOKENS, _SLOPE),
    Told.FINISHED: (Signal.FINISHED, _SLOPE),
    Told.BETWEEN: (Signal.ITL, _of_the_minute("deriv({})", "_sum")),
    Told.GAPS: (Signal.ITL, _SLOPE),
    Told.SCRAPES: (Signal.PROMPT_TOKENS, _of_the_minute("count_over_time({}) == 1")),
    Told.PROMPT: (Signal.PROMPT_TOKENS, _SLOPE),
    Told.CACHED: (Signal.CACHED_TOKENS, _SLOPE),
    Told.QUERIED: (Signal.QUERIED_TOKENS, _SLOPE),
    Told.ANSWERED: (Signal.ANSWER_TOKENS, _SLOPE),
}
_INSTEAD: Final = (Told.PROMPT, Told.CACHED, Told.QUERIED, Told.ANSWERED)


def _present(metrics: Iterable[Metric], matchers: str) -> str:
    return " or ".join(selector(group, matchers) for group in _alike(metrics))


def _queue(choice: Choice, matchers: str) -> str:
    each = f"{_POOL_MODELS}, {', '.join(POD_LABELS)}, instance, fairness_id, priority"
    return f"sum by ({_POOL_MODELS}) (max by ({each}) ({selector(choice, matchers)}))"


def _refused(matchers: str) -> str:
    """By the second and pool: it names no model. A picker that began anew tells of none for a minute."""
    each = f"{_POOL}, {', '.join(POD_LABELS)}, instance, outcome, priority"
    picked = ",".join(part for part in (f'outcome=~"{"|".join(REFUSED_OUTCOMES)}"', matchers) if part)
    return (
        f"sum by ({_POOL}) (max by ({each}) (clamp_min(deriv({selector([PICKER_REFUSED], picked)}[{WORK_OVER}]), 0)))"
    )
