"""The rows of an answer, found again by pod, by model and by pool, whatever the labels are called."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from scaler.adapters.engines import MODEL_LABELS, NAMESPACE_LABELS, POD_LABELS, POOL_LABEL
from scaler.adapters.prometheus.server import Lack, Reason

Labels = Mapping[str, str]
PodKey = tuple[str, str]
"""Namespace and name."""

MALFORMED: Final = Lack(reason=Reason.BAD_ANSWER, why="Prometheus gave an answer that is not a list of samples")


@dataclass(frozen=True, slots=True)
class Row:
    """One series of an instant query; the value may be NaN, which only this package ever sees."""

    labels: Labels
    value: float

    @property
    def model(self) -> str | None:
        """The model that the series names, None where it names none."""
        return first_of(self.labels, MODEL_LABELS)

    @property
    def namespace(self) -> str | None:
        """The namespace that the series comes from."""
        return first_of(self.labels, NAMESPACE_LABELS)

    @property
    def pod(self) -> PodKey | None:
        """The pod that the series comes from, None where the labels do not tell namespace and name."""
        name, namespace = first_of(self.labels, POD_LABELS), self.namespace
        return None if name is None or namespace is None else (namespace, name)

    @property
    def pool(self) -> PodKey | None:
        """The InferencePool that the series speaks of."""
        name, namespace = self.labels.get(POOL_LABEL), self.namespace
        return None if not name or namespace is None else (namespace, name)

    def speaks_of(self, model: str) -> bool:
        """Whether this may be the work of ``model``: an engine that names none has only one."""
        return self.model is None or self.model == model


def first_of(labels: Labels, names: Iterable[str]) -> str | None:
    """The first label of ``names`` that is there and not empty."""
    return next((labels[name] for name in names if labels.get(name)), None)


def rows_of(result: list[Any]) -> tuple[Row, ...] | Lack:
    """The rows of an instant query's result."""
    try:
        return tuple(Row(labels=one["metric"], value=float(one["value"][1])) for one in result)
    except (IndexError, KeyError, TypeError, ValueError):
        return MALFORMED


@dataclass(frozen=True, slots=True)
class PodRows:
    """The rows of one answer, by the pod that they come from."""

    rows: tuple[Row, ...]
    _by_pod: dict[PodKey, list[Row]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            if row.pod is not None:
                self._by_pod.setdefault(row.pod, []).append(row)

    def value(self, pod: PodKey, model: str) -> float | None:
        """The pod's value for ``model``; None where there is none, NaN where that is what it says."""
        return next((row.value for row in self._by_pod.get(pod, ()) if row.speaks_of(model)), None)

    def of(self, pod: PodKey) -> tuple[Row, ...]:
        """All rows of one pod, whatever model they name."""
        return tuple(self._by_pod.get(pod, ()))

    def models(self, namespace: str) -> set[str]:
        """The models named in ``namespace``, or anywhere if none is named there."""
        here = {row.model for row in self.rows if row.namespace == namespace and row.model is not None}
        return here or {row.model for row in self.rows if row.model is not None}

    def names_pods(self) -> bool:
        """Whether any row tells its pod."""
        return bool(self._by_pod)


def bucket_rates(rows: Iterable[Row], namespace: str, model: str) -> Mapping[float, float]:
    """The rate of each bucket of ``model`` in ``namespace``, by the bucket's upper bound, all versions together."""
    rates: dict[float, float] = {}
    for bound, row in _buckets(rows):
        if row.namespace == namespace and row.model == model and math.isfinite(row.value):
            rates[bound] = rates.get(bound, 0.0) + row.value
    return rates


def _buckets(rows: Iterable[Row]) -> Iterator[tuple[float, Row]]:
    for row in rows:
        try:
            bound = float(row.labels.get("le", ""))
        except ValueError:
            continue
        if not math.isnan(bound):
            yield bound, row
