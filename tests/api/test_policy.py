"""A document becomes a complete policy in the core's units, with its schedules in absolute time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.api.policy import policy_of, warm_windows
from scaler.api.sizing import Day, Schedule
from scaler.core import model
from tests.api.builders import ONE_VERSION, policy, tree

DAY_S: Final = 86_400.0
BERLIN: Final = "Europe/Berlin"


def at(text: str) -> float:
    """Seconds since the epoch of an ISO time, in UTC where it says nothing else."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def schedule(**change: Any) -> Schedule:
    """Eight to eighteen in Berlin, every day, with a floor of 3."""
    return Schedule.model_validate(
        {"name": "day", "timeZone": BERLIN, "start": "08:00", "end": "18:00", "floor": 3} | change
    )


def spans(*schedules: Schedule, day: str) -> list[tuple[str, str]]:
    """The windows that touch the UTC day ``day``, in UTC."""
    windows = warm_windows(schedules, at(day), at(day) + DAY_S)
    return [(iso(window.from_s), iso(window.until_s)) for window in windows]


def iso(at_s: float) -> str:
    """A time in UTC, to the minute."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%m-%dT%H:%M")


def test_zero_is_in_the_policy_only_where_it_is_asked_for() -> None:
    zero = {"idleSeconds": 1800, "demandQuery": "sum(requests)"}
    asked = policy(ONE_VERSION, spec__replicas={"min": 0, "max": 4}, spec__scaleToZero=zero)

    assert policy_of(asked, 0.0).scale_to_zero == model.ScaleToZero(idle_s=1800.0)
    assert policy_of(policy(ONE_VERSION), 0.0).scale_to_zero is None


def test_every_part_of_a_document_reaches_the_policy_in_the_cores_units() -> None:
    found = policy_of(policy(), at_s=at("2026-06-10"))

    assert replace(found, warm_windows=()) == model.Policy(
        name="models/llama",
        versions=(
            model.Version(name="v1", targets=(model.Target(key=model.TargetKey(version="v1", role="Serve")),)),
            model.Version(
                name="v2",
                targets=(
                    model.Target(key=model.TargetKey(version="v2", role="Prefill"), min_replicas=1),
                    model.Target(key=model.TargetKey(version="v2", role="Decode")),
                ),
            ),
        ),
        min_replicas=1,
        max_replicas=4,
        warm_floor=2,
        warm_windows=(),
        loading=model.Loading(expected_s=300.0, budget_s=1800.0),
        behavior=model.Behavior(
            hold_s=600.0,
            shrink_step_percent=25,
            shrink_period_s=60.0,
            grow_step=4,
            grow_period_s=60.0,
            flaps_per_hour=2,
        ),
        stale_after_s=60.0,
        release=model.Release(
            version="v2",
            steps=(
                model.ReleaseStep(weight_percent=5, hold_s=300.0),
                model.ReleaseStep(weight_percent=100, hold_s=0.0),
            ),
            has_analysis=True,
        ),
        time_to_first_token=model.Objective(percentile=95.0, limit_s=2.0),
        inter_token_latency=model.Objective(percentile=99.5, limit_s=0.06),
        actuation=model.Actuation.KEDA,
        paused=False,
        priority=10,
    )


def test_a_short_document_gives_a_complete_policy() -> None:
    found = policy_of(policy(ONE_VERSION), at_s=0.0)

    assert (found.release, found.time_to_first_token, found.warm_windows) == (None, None, ())
    assert (found.behavior.hold_s, found.behavior.grow_step) == (None, None)
    assert found.targets() == (model.Target(key=model.TargetKey(version="v1", role="Serve")),)


def test_a_document_without_a_namespace_is_in_default() -> None:
    assert policy_of(policy(ONE_VERSION, metadata={"name": "x"}), at_s=0.0).name == "default/x"


def test_a_targets_own_bounds_narrow_it_alone() -> None:
    document = policy(spec__versions__0__targets__0__replicas={"min": 2, "max": 3})

    first, *_ = policy_of(document, at_s=0.0).targets()

    assert (first.min_replicas, first.max_replicas) == (2, 3)


@pytest.mark.parametrize(("value", "paused"), [("true", True), ("false", False), ("", True), ("yes", True)])
def test_the_annotation_pauses_unless_it_says_false(value: str, *, paused: bool) -> None:
    document = policy(metadata__annotations={"forebay.dev/paused": value})

    assert policy_of(document, at_s=0.0).paused is paused


def test_windows_reach_from_one_day_before_to_two_days_after() -> None:
    always = tree()["spec"]["warmPool"] | {
        "schedules": [{"name": "always", "start": "00:00", "end": "00:00", "floor": 1}]
    }

    windows = policy_of(policy(spec__warmPool=always), at_s=at("2026-06-10T12:00")).warm_windows

    assert [iso(window.from_s) for window in windows] == ["06-09T00:00", "06-10T00:00", "06-11T00:00", "06-12T00:00"]
    assert all(window.until_s - window.from_s == DAY_S for window in windows)


def test_a_window_follows_the_wall_clock_of_its_zone() -> None:
    summer = spans(schedule(), schedule(timeZone="Asia/Kolkata"), day="2026-06-10")

    assert summer == [("06-10T02:30", "06-10T12:30"), ("06-10T06:00", "06-10T16:00")]
    assert spans(schedule(), day="2026-12-10") == [("12-10T07:00", "12-10T17:00")]


def test_a_window_opens_on_its_days_only() -> None:
    weekdays = schedule(days=["Mon", "Fri"])

    assert spans(weekdays, day="2026-06-12") == [("06-12T06:00", "06-12T16:00")]
    assert spans(weekdays, day="2026-06-13") == []


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on() -> None:
    friday_night = schedule(days=["Fri"], start="22:00", end="06:00")

    assert spans(friday_night, day="2026-06-12") == [("06-12T20:00", "06-13T04:00")]
    assert spans(friday_night, day="2026-06-13") == [("06-12T20:00", "06-13T04:00")]
    assert spans(friday_night, day="2026-06-14") == []


def test_a_window_that_ends_at_midnight_ends_with_its_day() -> None:
    assert spans(schedule(start="20:00", end="00:00", timeZone="Etc/UTC", days=["Wed"]), day="2026-06-10") == [
        ("06-10T20:00", "06-11T00:00")
    ]


def test_a_window_over_the_hour_that_is_left_out_is_an_hour_shorter() -> None:
    night = schedule(start="01:00", end="04:00", days=["Sun"])

    assert spans(night, day="2026-03-29") == [("03-29T00:00", "03-29T02:00")]


def test_a_window_over_the_hour_that_comes_twice_is_an_hour_longer() -> None:
    night = schedule(start="01:00", end="04:00", days=["Sun"])

    assert spans(night, day="2026-10-25") == [("10-24T23:00", "10-25T03:00")]


def test_a_time_that_does_not_exist_errs_towards_the_longer_window() -> None:
    """Berlin leaps from 02:00 to 03:00 at 01:00 UTC."""
    starts = schedule(start="02:30", end="05:00", days=["Sun"])
    ends = schedule(start="01:00", end="02:30", days=["Sun"])

    assert spans(starts, day="2026-03-29") == [("03-29T00:30", "03-29T03:00")]
    assert spans(ends, day="2026-03-29") == [("03-29T00:00", "03-29T01:30")]


def test_a_time_that_exists_twice_starts_at_its_first_and_ends_at_its_second() -> None:
    """Berlin goes back from 03:00 to 02:00 at 01:00 UTC."""
    starts = schedule(start="02:30", end="05:00", days=["Sun"])
    ends = schedule(start="01:00", end="02:30", days=["Sun"])

    assert spans(starts, day="2026-10-25") == [("10-25T00:30", "10-25T04:00")]
    assert spans(ends, day="2026-10-25") == [("10-24T23:00", "10-25T01:30")]


def test_a_day_in_a_zone_far_from_utc_is_that_zones_day() -> None:
    monday = schedule(days=["Mon"], start="00:00", end="00:00", timeZone="Pacific/Auckland")

    assert spans(monday, day="2026-06-14") == [("06-14T12:00", "06-15T12:00")]


CLOCKS: Final = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@given(
    CLOCKS,
    CLOCKS,
    st.sets(st.sampled_from(Day), min_size=1),
    st.integers(0, 2 * 10**9),
    # Whole seconds: the oracle's datetime rounds to microseconds, and may round a moment into the next day.
    st.integers(int(-DAY_S), int(2 * DAY_S) - 1),
)
@settings(max_examples=200, deadline=None)
def test_a_window_is_open_whenever_the_wall_clock_says_so(
    start: str, end: str, days: set[Day], at_s: int, after_s: int
) -> None:
    """Kills: to begin with the day of ``from_s`` (last night's window is lost); ``<`` for ``end <= start``."""
    asked = schedule(start=start, end=end, days=[day.value for day in days], timeZone="Etc/UTC")
    moment_s = at_s + after_s

    windows = warm_windows((asked,), at_s - DAY_S, at_s + 2 * DAY_S)

    assert any(window.from_s <= moment_s < window.until_s for window in windows) == is_open(asked, moment_s)


def is_open(asked: Schedule, moment_s: float) -> bool:
    """Whether a UTC schedule is open, said without windows: today's part of it, or the rest of yesterday's."""
    moment = datetime.fromtimestamp(moment_s, tz=UTC)
    clock = moment.strftime("%H:%M")
    today, yesterday = (tuple(Day)[day.weekday()] in asked.days for day in (moment, moment - timedelta(days=1)))
    if asked.start < asked.end:
        return today and asked.start <= clock < asked.end
    return (today and clock >= asked.start) or (yesterday and clock < asked.end)


def test_a_deadline_of_starts_that_is_left_out_is_learned() -> None:
    given = policy(ONE_VERSION, spec__loading={"expectedSeconds": 60, "budgetSeconds": 600})
    left_out = policy(ONE_VERSION, spec__loading={"expectedSeconds": 3600})

    assert policy_of(given, at_s=0.0).loading == model.Loading(expected_s=60.0, budget_s=600.0)
    assert policy_of(left_out, at_s=0.0).loading == model.Loading(
        expected_s=3600.0, budget_s=1800.0, learns_budget=True
    )
