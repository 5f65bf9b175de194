"""From a document to the core's Policy: complete, in the core's units, with schedules laid out in absolute time.

This is the only place between a document and the core that knows dates and time zones. It refuses nothing: a
ScalingPolicy is sound by construction, so all that can be wrong was said when it was read.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from scaler.api.sizing import Day, Objective, Schedule
from scaler.api.v1alpha1 import PAUSED, ModelVersion, ScalingPolicy, ScalingPolicySpec, Target
from scaler.core import model

BACK_S: Final = 86_400.0
AHEAD_S: Final = 2 * 86_400.0
BUDGET_FIRST_S: Final = 1800.0
"""After this a start has failed, while none has been measured and nobody says otherwise."""


def policy_of(document: ScalingPolicy, at_s: float) -> model.Policy:
    """The policy that ``document`` asks for, with its warm windows from one day before ``at_s`` to two days after.

    Make it anew at least once a day: the windows end.
    """
    spec = document.spec
    return model.Policy(
        name=f"{document.metadata.namespace}/{document.metadata.name}",
        versions=tuple(_version(version) for version in spec.versions),
        min_replicas=spec.replicas.min,
        max_replicas=spec.replicas.max,
        warm_floor=spec.warm_pool.floor,
        warm_windows=warm_windows(spec.warm_pool.schedules, at_s - BACK_S, at_s + AHEAD_S),
        loading=_loading(spec),
        behavior=_behavior(spec),
        stale_after_s=float(spec.signals.stale_seconds),
        release=_release(spec),
        time_to_first_token=_objective(spec.objectives.time_to_first_token),
        inter_token_latency=_objective(spec.objectives.inter_token_latency),
        actuation=spec.actuation,
        scale_to_zero=_scale_to_zero(spec),
        paused=document.metadata.annotations.get(PAUSED, "false") != "false",
        priority=spec.capacity.priority,
    )


def warm_windows(schedules: tuple[Schedule, ...], from_s: float, until_s: float) -> tuple[model.WarmWindow, ...]:
    """The windows of ``schedules`` that touch the time between ``from_s`` and ``until_s``, whole, by their start.

    They follow the wall clock of each schedule's zone. Where the clock is put forward or back, a window errs towards
    being longer: a start that is on the clock twice is its first time and an end its second, and a time that the
    clock leaps over is read by the offset that gives the earlier start or the later end. So 02:30 on a night that
    goes from 02:00 to 03:00 starts a window at 01:30 and ends one at 03:30.
    """
    windows = [window for schedule in schedules for window in _windows(schedule, from_s, until_s)]
    return tuple(sorted(windows, key=lambda window: (window.from_s, window.until_s, window.floor)))


def _windows(schedule: Schedule, from_s: float, until_s: float) -> Iterator[model.WarmWindow]:
    zone = ZoneInfo(schedule.time_zone)
    start, end = time.fromisoformat(schedule.start), time.fromisoformat(schedule.end)
    overnight = timedelta(days=1 if end <= start else 0)
    for day in _days(zone, from_s, until_s):
        begins_s = min(_moments(day, start, zone))
        ends_s = max(_moments(day + overnight, end, zone))
        starts_here = tuple(Day)[day.weekday()] in schedule.days
        if starts_here and ends_s > from_s and begins_s < until_s:
            yield model.WarmWindow(from_s=begins_s, until_s=ends_s, floor=schedule.floor)


def _days(zone: ZoneInfo, from_s: float, until_s: float) -> Iterator[date]:
    """The zone's days from the one before ``from_s``, whose windows may reach into it, to that of ``until_s``."""
    day = datetime.fromtimestamp(from_s, tz=UTC).astimezone(zone).date() - timedelta(days=1)
    last = datetime.fromtimestamp(until_s, tz=UTC).astimezone(zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def _moments(day: date, clock: time, zone: ZoneInfo) -> tuple[float, float]:
    """The two readings of a wall-clock time: alike but around a change of the clock."""
    wall = datetime.combine(day, clock, tzinfo=zone)
    return wall.timestamp(), wall.replace(fold=1).timestamp()


def _version(version: ModelVersion) -> model.Version:
    return model.Version(name=version.name, targets=tuple(_target(version.name, target) for target in version.targets))


def _target(version: str, target: Target) -> model.Target:
    key = model.TargetKey(version=version, role=target.role.value)
    if target.replicas is None:
        return model.Target(key=key)
    return model.Target(key=key, min_replicas=target.replicas.min or 0, max_replicas=target.replicas.max)


def _release(spec: ScalingPolicySpec) -> model.Release | None:
    if spec.release is None:
        return None
    return model.Release(
        version=spec.release.version,
        steps=tuple(
            model.ReleaseStep(weight_percent=step.weight_percent, hold_s=float(step.hold_seconds))
            for step in spec.release.steps
        ),
        has_analysis=spec.release.analysis is not None,
    )


def _scale_to_zero(spec: ScalingPolicySpec) -> model.ScaleToZero | None:
    return None if spec.scale_to_zero is None else model.ScaleToZero(idle_s=float(spec.scale_to_zero.idle_seconds))


def _loading(spec: ScalingPolicySpec) -> model.Loading:
    budget_seconds = spec.loading.budget_seconds
    return model.Loading(
        expected_s=float(spec.loading.expected_seconds),
        budget_s=BUDGET_FIRST_S if budget_seconds is None else float(budget_seconds),
        learns_budget=budget_seconds is None,
    )


def _behavior(spec: ScalingPolicySpec) -> model.Behavior:
    grow, shrink = spec.behavior.scale_up, spec.behavior.scale_down
    return model.Behavior(
        hold_s=None if shrink.hold_seconds is None else float(shrink.hold_seconds),
        shrink_step_percent=shrink.step_percent,
        shrink_period_s=float(shrink.period_seconds),
        grow_step=grow.step_replicas,
        grow_period_s=float(grow.period_seconds),
        flaps_per_hour=spec.behavior.flaps_per_hour,
    )


def _objective(objective: Objective | None) -> model.Objective | None:
    if objective is None:
        return None
    return model.Objective(percentile=objective.percentile, limit_s=objective.milliseconds / 1000)
