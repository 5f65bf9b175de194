"""The rows of an answer, found again by pod, by model and by pool, whatever the labels are called."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scaler.adapters.engines import MODEL_LABELS, NAMESPACE_LABELS, POD_LABELS, POOL_LABEL
from scaler.adapters.prometheus.server import Lack, Reason

Labels = Mapping[str, str]
PodKey = tuple[str, str]
"""Namespace and name, of a pod or of a pool."""

ModelKey = tuple[str, str]
"""Namespace and model name."""

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


def first_of(labels: Labels, names: Iterable[str]) -> str | None:
    """The first label of ``names`` that is there and not empty."""
    return next((labels[name] for name in names if labels.get(name)), None)


def rows_of(result: list[Any]) -> tuple[Row, ...] | Lack:
    """The rows of an instant query's result."""
    try:
        return tuple(Row(labels=one["metric"], value=float(one["value"][1])) for one in result)
    except (IndexError, KeyError, TypeError, ValueError):
        return MALFORMED


class PodRows:
    """The rows of one answer, by the pod that they come from. Made once a tick, and asked for every pod."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.is_empty = True
        self._by_pod: dict[PodKey, list[tuple[str | None, float]]] = {}
        self._models: dict[str | None, set[str]] = {}
        for row in rows:
            self.is_empty = False
            model = row.model
            if (pod := row.pod) is not None:
                self._by_pod.setdefault(pod, []).append((model, row.value))
            if model is not None:
                self._models.setdefault(row.namespace, set()).add(model)
        self._anywhere = set[str]().union(*self._models.values())

    def value(self, pod: PodKey, model: str) -> float | None:
        """The pod's value for ``model``; None where there is none, NaN where that is what it says.

        An engine that names no model has only one.
        """
        return next((value for named, value in self._by_pod.get(pod, ()) if named is None or named == model), None)

    def values(self, pod: PodKey) -> list[float]:
        """All numbers that one pod's rows have, whatever model they name."""
        return [value for _, value in self._by_pod.get(pod, ()) if math.isfinite(value)]

    def models_of(self, pod: PodKey) -> set[str]:
        """The models that one pod names."""
        return {named for named, _ in self._by_pod.get(pod, ()) if named is not None}

    def models(self, namespace: str) -> set[str]:
        """The models named in ``namespace``, or anywhere if none is named there."""
        return self._models.get(namespace) or self._anywhere

    def names_pods(self) -> bool:
        """Whether any row tells its pod."""
        return bool(self._by_pod)


def bucket_rates(rows: Iterable[Row]) -> dict[ModelKey, dict[float, float]]:
    """The rate of each bucket by its upper bound, all versions together, for each namespace and model."""
    rates: dict[ModelKey, dict[float, float]] = {}
    for row in rows:
        bound, namespace, model = _bound(row), row.namespace, row.model
        if bound is not None and namespace is not None and model is not None and math.isfinite(row.value):
            of_model = rates.setdefault((namespace, model), {})
            of_model[bound] = of_model.get(bound, 0.0) + row.value
    return rates


def _bound(row: Row) -> float | None:
    try:
        bound = float(row.labels.get("le", ""))
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def rows_by_pool(rows: Iterable[Row]) -> dict[PodKey, list[Row]]:
    """The rows of each InferencePool."""
    by_pool: dict[PodKey, list[Row]] = {}
    for row in rows:
        if (pool := row.pool) is not None:
            by_pool.setdefault(pool, []).append(row)
    return by_pool
