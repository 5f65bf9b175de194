"""Events (events.k8s.io/v1) on what happens to a policy. What repeats becomes a series, not a flood."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from structlog.typing import FilteringBoundLogger

from scaler.adapters.kubernetes.client import Client, Json, Patch
from scaler.adapters.kubernetes.errors import NotFoundError, RefusedError
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.times import written_micro
from scaler.api.status import ConditionStatus, Status
from scaler.api.v1alpha1 import API_VERSION, KIND
from scaler.runtime.ports import TransientError

EVENTS: Final = "events.k8s.io/v1"
REPORTER: Final = "forebay.dev/controller"

NOTE_BYTES: Final = 1024
REASON_MOST: Final = 128
NAME_MOST: Final = 230

SERIES_S: Final = 360.0
"""What happens again within so long is the same series, as for Kubernetes' own events."""

TELL_AGAIN_S: Final = 60.0
"""A series is written at most so often, whatever it counts meanwhile."""

WORTH_A_WARNING: Final = frozenset(
    {
        "Ready",
        "SignalsHealthy",
        "CapacityAvailable",
        "Forecastable",
        "ReplicasAlike",
        "OwnershipClear",
        "KEDAReady",
    }
)
"""The conditions that should be True."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened to a policy. ``reason`` is one CamelCase word, ``action`` what was done about it."""

    reason: str
    action: str
    note: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Regarding:
    """The policy that events are about."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    event: str
    count: int
    last_at_s: float
    told_at_s: float


@dataclass(slots=True, kw_only=True)
class Events:
    """Writes events, as well as it can: one that cannot be written is logged and forgotten."""

    client: Client
    log: FilteringBoundLogger
    instance: str
    _series: dict[tuple[str, str, str, bool], _Series] = field(default_factory=dict)
    _made: int = 0

    async def tell(self, about: Regarding, happening: Happening, at_s: float) -> None:
        """Write that this happened at ``at_s``, as a new event or as one more of a series."""
        key = (about.uid, happening.reason, happening.action, happening.is_warning)
        self._series = {each: known for each, known in self._series.items() if at_s - known.last_at_s < SERIES_S}
        known = self._series.get(key)
        try:
            if known is None:
                event = await self._create(about, happening, at_s)
                self._series[key] = _Series(event=event, count=1, last_at_s=at_s, told_at_s=at_s)
            else:
                self._series[key] = await self._repeat(about, known, at_s)
        except NotFoundError:
            self._series.pop(key, None)  # it has expired meanwhile
        except (TransientError, RefusedError) as error:
            self.log.info("event_lost", policy=f"{about.namespace}/{about.name}", why=str(error))

    async def _create(self, about: Regarding, happening: Happening, at_s: float) -> str:
        # Several may happen at one moment, so the moment alone is no name.
        self._made += 1
        name = f"{about.name[:NAME_MOST]}.{int(at_s * 1e6) + self._made:x}"
        event = _event(about, happening, at_s) | {
            "metadata": {"name": name, "namespace": about.namespace},
            "reportingInstance": self.instance[:REASON_MOST],
        }
        await self.client.create(path_to(EVENTS, "events", about.namespace), event)
        return name

    async def _repeat(self, about: Regarding, known: _Series, at_s: float) -> _Series:
        again = replace(known, count=known.count + 1, last_at_s=at_s)
        if at_s - known.told_at_s < TELL_AGAIN_S:
            return again
        series = {"count": again.count, "lastObservedTime": written_micro(at_s)}
        path = path_to(EVENTS, "events", about.namespace, known.event)
        await self.client.patch(path, Patch.MERGE, {"series": series})
        return replace(again, told_at_s=at_s)


def _event(about: Regarding, happening: Happening, at_s: float) -> Json:
    return {
        "apiVersion": EVENTS,
        "kind": "Event",
        "eventTime": written_micro(at_s),
        "reportingController": REPORTER,
        "action": happening.action[:REASON_MOST],
        "reason": happening.reason[:REASON_MOST],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
        "note": _cut(happening.note),
        "type": "Warning" if happening.is_warning else "Normal",
    }


def _cut(note: str) -> str:
    raw = note.encode()
    if len(raw) <= NOTE_BYTES:
        return note
    return raw[: NOTE_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def happenings(after: Status, before: Status | None) -> Iterable[Happening]:
    """What is worth an event in a new status: conditions that turned, and another count that should be."""
    known: Mapping[str, ConditionStatus] = {each.type: each.status for each in before.conditions} if before else {}
    for condition in after.conditions:
        is_bad = condition.type in WORTH_A_WARNING and condition.status is not ConditionStatus.TRUE
        turned = known.get(condition.type, ConditionStatus.TRUE if condition.type in WORTH_A_WARNING else None)
        if condition.status is not turned and (turned is not None or condition.status is ConditionStatus.TRUE):
            note = f"{condition.type} is {condition.status.value}: {condition.message}"
            yield Happening(reason=condition.reason, action=condition.type, note=note, is_warning=is_bad)
    if before is not None and after.desired != before.desired and after.decision is not None:
        yield Happening(reason="Decided", action="Scale", note=after.decision.because)
