"""What the rows of all servers say of one policy: values, or the one sentence that tells what is missing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Final

from scaler.adapters.engines import POD_LABELS, TABLES, Signal
from scaler.adapters.prometheus.promql import Question
from scaler.adapters.prometheus.quantile import quantile_of
from scaler.adapters.prometheus.series import PodKey, PodRows, Row, bucket_rates
from scaler.adapters.prometheus.server import Lack, Reason
from scaler.core.model import Load
from scaler.runtime.signals import Asked

NAMED_AT_MOST: Final = 3
IDLE_TENSOR_SHARE: Final = 0.001
"""Below this share of time the tensor cores did nothing: one decoding request keeps them at some per cent."""

TOLD_BY: Final = (
    (Question.TIMES, Signal.WAITING),
    (Question.WAITING, Signal.WAITING),
    (Question.RUNNING, Signal.RUNNING),
    (Question.KV_USAGE, Signal.KV_USAGE),
)
"""The questions that make a Load, with the signal whose metrics answer them."""


class Reading:
    """What one server answered in one tick."""

    def __init__(self, url: str, answers: Mapping[Question, tuple[Row, ...] | Lack]) -> None:
        self.url = url
        self._answers = answers

    def rows(self, question: Question) -> tuple[Row, ...] | Lack:
        """The answer to ``question``; nothing to a question that the engines in use have no metric for."""
        return self._answers.get(question, ())

    @cached_property
    def _pods(self) -> dict[Question, PodRows]:
        return {question: PodRows(answer) for question, answer in self._answers.items() if not isinstance(answer, Lack)}

    def pods(self, question: Question) -> PodRows | Lack:
        """The answer to ``question``, by pod."""
        answer = self.rows(question)
        return answer if isinstance(answer, Lack) else self._pods.get(question, PodRows(()))


def model_of(ask: Asked) -> str:
    """The value of the model label that is asked for."""
    return ask.signals.model_name or ask.policy.rpartition("/")[2]


# --- The load of a pod -------------------------------------------------------------------------------------------


def load_of(readings: Sequence[Reading], ask: Asked, pod: str) -> Load | Lack:
    """What the engine in ``pod`` said of its work, by the server that has the newest sample of it."""
    said = [_load(reading, ask, (ask.namespace, pod)) for reading in readings]
    loads = [load for load in said if isinstance(load, Load)]
    if loads:
        return max(loads, key=lambda load: load.at_s)
    return _most_telling([lack for lack in said if isinstance(lack, Lack)], "engines")


def _most_telling(lacks: Sequence[Lack], what: str) -> Lack:
    """One of several servers may well not know a pod; the one that did not answer is what to look at."""
    if not lacks:
        return Lack(reason=Reason.UNREACHABLE, why=f"no Prometheus server is configured to be asked for {what}")
    return next((lack for lack in lacks if lack.reason is not Reason.NO_SERIES), lacks[0])


def _load(reading: Reading, ask: Asked, pod: PodKey) -> Load | Lack:
    table, found = TABLES[ask.signals.engine], dict[Question, float]()
    for question, signal in TOLD_BY:
        if signal not in table:
            continue
        value = _value(reading, question, signal, ask, pod)
        if isinstance(value, Lack):
            return value
        found[question] = value
    lack = _why_no_supply(reading, ask, pod)
    if lack is not None:
        return lack
    return Load(
        at_s=found[Question.TIMES],
        running=found[Question.RUNNING],
        waiting=found[Question.WAITING],
        # An engine without a figure for its cache is sized by its requests alone; 0 asks for nothing on top of them.
        kv_usage=found.get(Question.KV_USAGE, 0.0),
    )


def _value(reading: Reading, question: Question, signal: Signal, ask: Asked, pod: PodKey) -> float | Lack:
    rows = reading.pods(question)
    if isinstance(rows, Lack):
        return rows
    value = rows.value(pod, model_of(ask))
    metric = TABLES[ask.signals.engine][signal][0][0].name
    if value is None:
        return _absent(reading, rows, metric, ask, pod)
    if math.isfinite(value):
        return value
    return Lack(reason=Reason.NOT_A_NUMBER, why=f"{_series(metric, ask, pod)} is {value}")


def _why_no_supply(reading: Reading, ask: Asked, pod: PodKey) -> Lack | None:
    """An engine that sleeps answers no request and has none running or waiting: it looks idle and well."""
    rows = reading.pods(Question.AWAKE)
    if isinstance(rows, Lack):
        return rows
    is_asleep = rows.value(pod, model_of(ask)) == 0.0
    return Lack(reason=Reason.ASLEEP, why="its engine is asleep and serves nothing") if is_asleep else None


def _absent(reading: Reading, rows: PodRows, metric: str, ask: Asked, pod: PodKey) -> Lack:
    """Why a pod has no value, with what there is instead."""
    here = f"Prometheus at {reading.url} has"
    if not rows.rows:
        why = f"{here} no series of {metric} at all: is {ask.signals.engine.value} the engine, and is it scraped?"
        return Lack(reason=Reason.NO_SERIES, why=why)
    if not rows.names_pods():
        why = f"no series of {metric} at {reading.url} names its namespace and pod (by {', '.join(POD_LABELS)})"
        return Lack(reason=Reason.NO_SERIES, why=why)
    models = {row.model for row in rows.of(pod) if row.model is not None}
    is_misnamed = bool(models)
    why = f"{here} no series {_series(metric, ask, pod)}; {_nearest(models or rows.models(pod[0]), ask)}"
    return Lack(reason=Reason.WRONG_LABEL if is_misnamed else Reason.NO_SERIES, why=why)


def _series(metric: str, ask: Asked, pod: PodKey) -> str:
    return f'{metric}{{namespace="{pod[0]}", pod="{pod[1]}", model_name="{model_of(ask)}"}}'


def _nearest(models: Iterable[str], ask: Asked) -> str:
    """The model names that exist and are most like the one asked for."""
    existing = sorted(models)
    if not existing:
        return "the series that exist name no model"
    if model_of(ask) in existing:
        return "other pods of this model have one"
    nearest = get_close_matches(model_of(ask), existing, n=NAMED_AT_MOST, cutoff=0.0)
    return "there is " + ", ".join(f'model_name="{model}"' for model in nearest)


# --- The model as a whole ----------------------------------------------------------------------------------------


def first_token_s(readings: Sequence[Reading], ask: Asked) -> float | Lack:
    """The time to first token at the percentile asked for, over all versions of the model."""
    if Signal.TTFT not in TABLES[ask.signals.engine]:
        return Lack(reason=Reason.NO_SERIES, why=f"the engine {ask.signals.engine.value} does not tell it")
    rates: dict[float, float] = {}
    for reading in readings:
        rows = reading.rows(Question.FIRST_TOKENS)
        if isinstance(rows, Lack):
            return rows
        for bound, rate in bucket_rates(rows, ask.namespace, model_of(ask)).items():
            rates[bound] = rates.get(bound, 0.0) + rate
    if rates:
        return quantile_of(rates, ask.percentile)
    metric = TABLES[ask.signals.engine][Signal.TTFT][0][0].name
    series = f'{metric}_bucket{{namespace="{ask.namespace}", model_name="{model_of(ask)}"}}'
    return Lack(reason=Reason.NO_SERIES, why=f"there is no series {series}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The InferencePool of a policy, with the models that other policies have in the same pool."""

    key: PodKey
    others: frozenset[str]
    stale_after_s: float


def queue_of(readings: Sequence[Reading], pool: Pool, at_s: float) -> float | Lack:
    """The requests that the endpoint picker of ``pool`` holds back.

    A queue that was never used has no series. Only where the picker is seen to be read does that mean nobody waits.
    """
    lacks: list[Lack] = []
    for reading in readings:
        seen_at_s = _picker_seen_at_s(reading, pool)
        if isinstance(seen_at_s, Lack):
            lacks.append(seen_at_s)
        elif at_s - seen_at_s > pool.stale_after_s:
            why = f"its last sample is {at_s - seen_at_s:.0f} s old, the limit is {pool.stale_after_s:g} s"
            lacks.append(Lack(reason=Reason.STALE, why=why))
        else:
            return _queued(reading, pool)
    return _most_telling(lacks, "endpoint pickers")


def _picker_seen_at_s(reading: Reading, pool: Pool) -> float | Lack:
    rows = reading.rows(Question.PICKER_TIMES)
    if isinstance(rows, Lack):
        return rows
    times = [row.value for row in rows if row.pool == pool.key]
    if times:
        return min(times)
    pools = sorted({row.pool[1] for row in rows if row.pool is not None})
    nearest = get_close_matches(pool.key[1], pools, n=NAMED_AT_MOST, cutoff=0.0)
    there = ", ".join(f'inference_pool="{name}"' for name in nearest) or "none of any pool"
    wanted = f'namespace="{pool.key[0]}", inference_pool="{pool.key[1]}"'
    why = f"Prometheus at {reading.url} has no flow control series {{{wanted}}}; there is {there}"
    return Lack(reason=Reason.NO_SERIES, why=why)


def _queued(reading: Reading, pool: Pool) -> float | Lack:
    rows = reading.rows(Question.PICKER_QUEUE)
    if isinstance(rows, Lack):
        return rows
    waiting = math.fsum(row.value for row in rows if row.pool == pool.key and _served(row) not in pool.others)
    if math.isfinite(waiting):
        return waiting
    return Lack(reason=Reason.NOT_A_NUMBER, why=f"the endpoint picker's queue is {waiting}")


def _served(row: Row) -> str | None:
    """The model that a request in the queue is for: what it was rewritten to, or what it asked for."""
    return row.labels.get("target_model_name") or row.labels.get("model_name")


# --- The guard ---------------------------------------------------------------------------------------------------


def warnings_of(gpus: Sequence[Reading], engines: Sequence[Reading], ask: Asked) -> Mapping[str, tuple[str, ...]]:
    """What the GPUs say against the pods of ``ask``: for people to look at, never a reason to scale."""
    told = {pod: tuple(_warnings(gpus, engines, (ask.namespace, pod))) for pod in ask.pods}
    return {pod: texts for pod, texts in told.items() if texts}


def _warnings(gpus: Sequence[Reading], engines: Sequence[Reading], pod: PodKey) -> list[str]:
    texts = []
    code = _highest(gpus, Question.GPU_ERRORS, pod)
    if code:
        texts.append(f"a GPU of it reported the error XID {code:.0f}")
    running = _highest(engines, Question.RUNNING, pod)
    activity = _highest(gpus, Question.TENSOR_ACTIVITY, pod)
    if running is not None and running >= 1.0 and activity is not None and activity < IDLE_TENSOR_SHARE:
        texts.append(f"it says that {running:.0f} requests run, and its tensor cores did nothing for 5 minutes")
    return texts


def _highest(readings: Sequence[Reading], question: Question, pod: PodKey) -> float | None:
    known = [rows for reading in readings if not isinstance(rows := reading.pods(question), Lack)]
    values = [row.value for rows in known for row in rows.of(pod) if math.isfinite(row.value)]
    return max(values, default=None)
