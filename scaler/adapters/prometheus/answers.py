"""What the rows of all servers say of one policy: values, or the one sentence that tells what is missing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from scaler.adapters.engines import POD_LABELS, TABLES, Signal
from scaler.adapters.prometheus.promql import TOLD_LABEL, Question, Told
from scaler.adapters.prometheus.quantile import quantile_of
from scaler.adapters.prometheus.series import PodKey, PodRows, Row, bucket_rates, rows_by_pool, rows_of
from scaler.adapters.prometheus.server import Lack, Reason
from scaler.core.lateness import first_tokens_of
from scaler.core.model import FirstTokens, Load, Missing, Work
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
    """What one server answered in one tick, laid out so that every policy finds its own without a search.

    ``results`` are as the API gave them. Laying them out takes a second for 10 000 pods: leave it to a thread.
    """

    def __init__(self, url: str, results: Mapping[Question, list[Any] | Lack]) -> None:
        self.url = url
        rows = {question: got if isinstance(got, Lack) else rows_of(got) for question, got in results.items()}
        self._lacks = {question: got for question, got in rows.items() if isinstance(got, Lack)}
        found = {question: got for question, got in rows.items() if not isinstance(got, Lack)}
        self._pods = {question: PodRows(found.get(question, ())) for question in ABOUT_PODS}
        self._told = {question: _by_what_is_told(found.get(question, ())) for question in ABOUT_MUCH}
        self._rates = bucket_rates(found.get(Question.FIRST_TOKENS, ()))
        self._pools = {question: rows_by_pool(found.get(question, ())) for question in ABOUT_POOLS}

        self._nearest: dict[tuple[str, str], str] = {}

    def nearest(self, namespace: str, model: str, existing: set[str]) -> str:
        """The models like ``model`` that exist, looked for once: every pod of a policy says the same of them."""
        key = (namespace, model)
        if key not in self._nearest:
            like = most_like(model, existing)
            self._nearest[key] = "there is " + ", ".join(f'model_name="{name}"' for name in like)
        return self._nearest[key]

    def pods(self, question: Question) -> PodRows | Lack:
        """The answer to ``question``, by pod; empty where the engines in use have no metric for it."""
        return self._lacks.get(question, self._pods[question])

    def told(self, question: Question, told: Told) -> PodRows | Lack:
        """What the answer to a question about several things tells of one of them, by pod."""
        return self._lacks.get(question, self._told[question][told])

    def rates(self, namespace: str, model: str) -> Mapping[float, float] | Lack:
        """The rates of the buckets of the time to first token."""
        return self._lacks.get(Question.FIRST_TOKENS, self._rates.get((namespace, model), {}))

    def pools(self, question: Question) -> Mapping[PodKey, list[Row]] | Lack:
        """The answer to ``question``, by pool."""
        return self._lacks.get(question, self._pools[question])


ABOUT_PODS: Final = (
    Question.TIMES,
    Question.RUNNING,
    Question.WAITING,
    Question.KV_USAGE,
)
ABOUT_MUCH: Final = (Question.WORK, Question.STATE, Question.GPUS)
ABOUT_POOLS: Final = (Question.PICKER_TIMES, Question.PICKER_QUEUE)


def _by_what_is_told(rows: Iterable[Row]) -> Mapping[Told, PodRows]:
    split: dict[str, list[Row]] = {told.value: [] for told in Told}
    for row in rows:
        split.get(row.labels.get(TOLD_LABEL, ""), []).append(row)
    return {told: PodRows(split[told.value]) for told in Told}


def model_of(ask: Asked) -> str:
    """The value of the model label that is asked for."""
    return ask.signals.model_name or ask.policy.rpartition("/")[2]


# --- The load of a pod -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTold:
    """The load of a pod, with the fault for which its work is missing, where it is one."""

    load: Load
    work_lack: Lack | None


def load_of(readings: Sequence[Reading], ask: Asked, pod: str) -> LoadTold | Lack:
    """What the engine in ``pod`` said of its work, by the server that has the newest sample of it."""
    said = [_load(reading, ask, (ask.namespace, pod)) for reading in readings]
    loads = [told for told in said if isinstance(told, LoadTold)]
    if loads:
        return max(loads, key=lambda told: told.load.at_s)
    return _most_telling([lack for lack in said if isinstance(lack, Lack)], "engines")


def _most_telling(lacks: Sequence[Lack], what: str) -> Lack:
    """One of several servers may well not know a pod; the one that did not answer is what to look at."""
    if not lacks:
        return Lack(reason=Reason.UNREACHABLE, why=f"no Prometheus server is configured to be asked for {what}")
    return next((lack for lack in lacks if lack.reason is not Reason.NO_SERIES), lacks[0])


def _load(reading: Reading, ask: Asked, pod: PodKey) -> LoadTold | Lack:
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
    work = work_of(reading, ask, pod)
    load = Load(
        at_s=found[Question.TIMES],
        running=found[Question.RUNNING],
        waiting=found[Question.WAITING],
        # An engine without a figure for its cache is sized by its requests alone; 0 asks for nothing on top of them.
        kv_usage=found.get(Question.KV_USAGE, 0.0),
        work=Missing(why=work.why) if isinstance(work, Lack) else work,
    )
    return LoadTold(load=load, work_lack=work if isinstance(work, Lack) and work not in NO_FAULT else None)


COUNTS_NOTHING: Final = Lack(reason=Reason.NO_SERIES, why="its engine counts no tokens")
SCRAPED_ONCE: Final = Lack(reason=Reason.NO_SERIES, why="its engine was scraped only once in the last minute")
NO_FAULT: Final = (COUNTS_NOTHING, SCRAPED_ONCE)
"""Why there is no work where nothing is wrong: of an embedding server, and of a replica that has only just begun."""


def work_of(reading: Reading, ask: Asked, pod: PodKey) -> Work | Lack:
    """What the engine in ``pod`` did in the last minute, by the second."""
    if Signal.PROMPT_TOKENS not in TABLES[ask.signals.engine]:
        return COUNTS_NOTHING
    told = _told(reading, ask, pod)
    if isinstance(told, Lack):
        return told
    for alternatives in NEEDED:
        if not any(one in told for one in alternatives):
            return SCRAPED_ONCE if Told.SCRAPES in told else _uncounted(reading, alternatives, ask, pod)
    return _work(told)


NEEDED: Final[tuple[Mapping[Told, Signal], ...]] = (
    {Told.PREFILL: Signal.PREFILL_TOKENS, Told.PROMPT: Signal.PROMPT_TOKENS},
    {Told.GENERATED: Signal.GENERATION_TOKENS, Told.ANSWERED: Signal.ANSWER_TOKENS},
    {Told.FINISHED: Signal.FINISHED},
)
"""What makes a `Work`: of each line one, best first, with the signal whose metrics tell it."""


def _uncounted(reading: Reading, alternatives: Mapping[Told, Signal], ask: Asked, pod: PodKey) -> Lack:
    table = TABLES[ask.signals.engine]
    told, signal = next((told, signal) for told, signal in alternatives.items() if signal in table)
    rows = reading.told(Question.WORK, told)
    return rows if isinstance(rows, Lack) else _absent(reading, rows, table[signal][0][0].name, ask, pod)


ASIDE: Final = frozenset({Told.PREFILLING, Told.REFUSED})
"""What of a `Work` is told by the question of an engine's state."""


def _told(reading: Reading, ask: Asked, pod: PodKey) -> Mapping[Told, float] | Lack:
    """All that the counters of ``pod`` tell, each a number of 0 or more."""
    found: dict[Told, float] = {}
    for told in Told:
        rows = reading.told(Question.STATE if told in ASIDE else Question.WORK, told)
        if isinstance(rows, Lack):
            return rows
        value = rows.value(pod, model_of(ask))
        if value is None:
            continue
        if not math.isfinite(value):
            return Lack(reason=Reason.NOT_A_NUMBER, why=f"what its engine counts ({told.value}) is {value}")
        if value < 0.0:
            return Lack(reason=Reason.NOT_A_NUMBER, why="its engine has begun to count anew within the last minute")
        found[told] = value
    return found


def _work(told: Mapping[Told, float]) -> Work:
    spent_s, gaps = told.get(Told.BETWEEN), told.get(Told.GAPS, 0.0)
    return Work(
        prefill_tokens_per_s=told[Told.PREFILL] if Told.PREFILL in told else _uncached(told),
        decode_tokens_per_s=told[Told.GENERATED] if Told.GENERATED in told else told[Told.ANSWERED],
        finished_per_s=told[Told.FINISHED],
        inter_token_latency_s=None if spent_s is None or gaps <= 0.0 else spent_s / gaps,
        prefilling=told.get(Told.PREFILLING),
        refused_per_s=told.get(Told.REFUSED, 0.0),
    )


def _uncached(told: Mapping[Told, float]) -> float:
    """The prompt tokens without the share that the prefix cache had: 100 with 30 hits in 120 queries are 75."""
    prompt = told[Told.PROMPT]
    queried = told.get(Told.QUERIED, prompt)
    return prompt * (1.0 - min(told.get(Told.CACHED, 0.0) / queried, 1.0)) if queried > 0.0 else prompt


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
    rows = reading.told(Question.STATE, Told.AWAKE)
    if isinstance(rows, Lack):
        return rows
    is_asleep = rows.value(pod, model_of(ask)) == 0.0
    return Lack(reason=Reason.ASLEEP, why="its engine is asleep and serves nothing") if is_asleep else None


def _absent(reading: Reading, rows: PodRows, metric: str, ask: Asked, pod: PodKey) -> Lack:
    """Why a pod has no value, with what there is instead."""
    here = f"Prometheus at {reading.url} has"
    if rows.is_empty:
        why = f"{here} no series of {metric} at all: is {ask.signals.engine.value} the engine, and is it scraped?"
        return Lack(reason=Reason.NO_SERIES, why=why)
    if not rows.names_pods():
        why = f"no series of {metric} at {reading.url} names its namespace and pod (by {', '.join(POD_LABELS)})"
        return Lack(reason=Reason.NO_SERIES, why=why)
    own = rows.models_of(pod)
    why = f"{here} no series {_series(metric, ask, pod)}; {_instead(reading, own, rows.models(pod[0]), ask)}"
    return Lack(reason=Reason.WRONG_LABEL if own else Reason.NO_SERIES, why=why)


def _series(metric: str, ask: Asked, pod: PodKey) -> str:
    return f'{metric}{{namespace="{pod[0]}", pod="{pod[1]}", model_name="{model_of(ask)}"}}'


def _instead(reading: Reading, own: set[str], existing: set[str], ask: Asked) -> str:
    """What there is in place of the series that was looked for: the pod's own models, or else those like the one."""
    wanted = model_of(ask)
    if own:
        return "there is " + ", ".join(f'model_name="{name}"' for name in most_like(wanted, own))
    if not existing:
        return "the series that exist name no model"
    if wanted in existing:
        return "other pods of this model have one"
    return reading.nearest(ask.namespace, wanted, existing)


def most_like(wanted: str, existing: Iterable[str]) -> list[str]:
    """Up to three names that have the most pairs of letters in common with ``wanted``.

    Not difflib: with 1000 models it takes 30 ms for each that is wrong, this takes one.
    """
    return sorted(existing, key=lambda name: (-_likeness(wanted, name), name))[:NAMED_AT_MOST]


def _likeness(one: str, other: str) -> float:
    pairs, others = _pairs(one), _pairs(other)
    return len(pairs & others) / (len(pairs) + len(others))


@lru_cache(maxsize=4096)
def _pairs(name: str) -> frozenset[str]:
    return frozenset(f" {name} "[place : place + 2] for place in range(len(name) + 1))


# --- The model as a whole ----------------------------------------------------------------------------------------


NOT_ASKED: Final = Lack(reason=Reason.NO_SERIES, why="the policy has no objective for it")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTokensTold:
    """The time to first token at the objective's percentile, and how many there were and were later than its limit."""

    ttft_s: float
    first_tokens: FirstTokens | Missing


def first_tokens(readings: Sequence[Reading], ask: Asked) -> FirstTokensTold | Lack:
    """The first tokens of the last two minutes, over all versions of the model, by the objective that is asked for."""
    if ask.objective is None:
        return NOT_ASKED
    if Signal.TTFT not in TABLES[ask.signals.engine]:
        return Lack(reason=Reason.NO_SERIES, why=f"the engine {ask.signals.engine.value} does not tell it")
    rates: dict[float, float] = {}
    for reading in readings:
        told = reading.rates(ask.namespace, model_of(ask))
        if isinstance(told, Lack):
            return told
        for bound, rate in told.items():
            rates[bound] = rates.get(bound, 0.0) + rate
    if rates:
        ttft_s = quantile_of(rates, ask.objective.percentile)
        if isinstance(ttft_s, Lack):
            return ttft_s
        return FirstTokensTold(ttft_s=ttft_s, first_tokens=first_tokens_of(rates, ask.objective.limit_s))
    metric = TABLES[ask.signals.engine][Signal.TTFT][0][0].name
    series = f'{metric}_bucket{{namespace="{ask.namespace}", model_name="{model_of(ask)}"}}'
    return Lack(reason=Reason.NO_SERIES, why=f"there is no series {series}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The InferencePool of a policy, with the models that other policies have in the same pool."""

    key: PodKey
    others: frozenset[str]
    stale_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the endpoint picker of a pool has of one policy's requests: those that wait, and those it refuses."""

    waiting: float
    refused_per_s: float


def queue_of(readings: Sequence[Reading], pool: Pool, at_s: float) -> Held | Lack:
    """The requests that the endpoint picker of ``pool`` holds back, and those that it turned away.

    A queue that was never used has no series. Only where the picker is seen to be read does that mean nobody waits.
    """
    lacks: list[Lack] = []
    for reading in readings:
        seen_at_s = _picker_seen_at_s(reading, pool)
        if isinstance(seen_at_s, Lack):
            lacks.append(seen_at_s)
        elif not at_s - seen_at_s <= pool.stale_after_s:  # so written that NaN is too old as well
            why = f"its last sample is {at_s - seen_at_s:.0f} s old, the limit is {pool.stale_after_s:g} s"
            lacks.append(Lack(reason=Reason.STALE, why=why))
        else:
            return _queued(reading, pool)
    return _most_telling(lacks, "endpoint pickers")


def _picker_seen_at_s(reading: Reading, pool: Pool) -> float | Lack:
    pools = reading.pools(Question.PICKER_TIMES)
    if isinstance(pools, Lack):
        return pools
    if pool.key in pools:
        return min(row.value for row in pools[pool.key])
    nearest = most_like(pool.key[1], {name for _, name in pools})
    there = ", ".join(f'inference_pool="{name}"' for name in nearest) or "none of any pool"
    wanted = f'namespace="{pool.key[0]}", inference_pool="{pool.key[1]}"'
    why = f"Prometheus at {reading.url} has no flow control series {{{wanted}}}; there is {there}"
    return Lack(reason=Reason.NO_SERIES, why=why)


def _queued(reading: Reading, pool: Pool) -> Held | Lack:
    pools = reading.pools(Question.PICKER_QUEUE)
    if isinstance(pools, Lack):
        return pools
    queued = [row for row in pools.get(pool.key, ()) if row.labels.get(TOLD_LABEL) == Told.QUEUED.value]
    refused = [row for row in pools.get(pool.key, ()) if row.labels.get(TOLD_LABEL) == Told.REFUSED.value]
    waiting = math.fsum(row.value for row in queued if _served(row) not in pool.others)
    all_refused_per_s = math.fsum(row.value for row in refused)
    if not math.isfinite(waiting) or not math.isfinite(all_refused_per_s):
        why = f"the endpoint picker has {waiting:g} waiting and refuses {all_refused_per_s:g} a second"
        return Lack(reason=Reason.NOT_A_NUMBER, why=why)
    # Refusals name no model. Of several in a pool, those whose requests fill the queue are the ones that are refused.
    all_waiting = math.fsum(row.value for row in queued)
    share = waiting / all_waiting if all_waiting > 0.0 else 1.0 / (1 + len(pool.others))
    return Held(waiting=waiting, refused_per_s=all_refused_per_s * share)


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
    code = _highest([reading.told(Question.GPUS, Told.XID) for reading in gpus], pod)
    if code:
        texts.append(f"a GPU of it reported the error XID {code:.0f}")
    running = _highest([reading.pods(Question.RUNNING) for reading in engines], pod)
    activity = _highest([reading.told(Question.GPUS, Told.TENSOR_ACTIVITY) for reading in gpus], pod)
    if running is not None and running >= 1.0 and activity is not None and activity < IDLE_TENSOR_SHARE:
        texts.append(f"it says that {running:.0f} requests run, and its tensor cores did nothing for 5 minutes")
    return texts


def _highest(answers: Sequence[PodRows | Lack], pod: PodKey) -> float | None:
    known = [rows for rows in answers if not isinstance(rows, Lack)]
    return max((value for rows in known for value in rows.values(pod)), default=None)
