"""Why pods were not created, from the events of those who tried: only a Deployment has a condition that says so.

An event speaks of one attempt, and nobody takes it back. So it counts until a pod has been created since.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from scaler.adapters.kubernetes.client import Json
from scaler.adapters.kubernetes.times import seconds

FAILED: Final[Mapping[str, str]] = {"fieldSelector": "reason=FailedCreate"}
"""The events that are watched: by this reason the controllers of StatefulSets and ReplicaSets tell of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A pod of the object ``owner`` (uid) could not be created at ``at_s``, the last time."""

    owner: str
    at_s: float
    why: str


def refusal_told(event: Json, _: Refusal | None) -> Refusal:
    """What is used of an event (events.k8s.io/v1)."""
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    at_s = next((seconds(each) for each in times if each), None)
    return Refusal(
        owner=(event.get("regarding") or {}).get("uid") or "",
        at_s=at_s or 0.0,
        why=event.get("note") or "no reason given",
    )


def latest_refusals(told: Iterable[Refusal], target_of: Callable[[str], str | None]) -> Mapping[str, Refusal]:
    """The last refusal for each target (uid); ``target_of`` says whose an owner's pods are."""
    latest: dict[str, Refusal] = {}
    for refusal in sorted(told, key=lambda each: each.at_s):
        target = target_of(refusal.owner)
        if target is not None:
            latest[target] = refusal
    return latest
