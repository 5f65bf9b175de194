"""The parts of a ScalingPolicy that say how many replicas and how fast: bounds, warm pool, objectives, pace."""

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import Field

from scaler.api.fields import (
    ONE_DAY_S,
    SET,
    ClockTime,
    Count,
    DnsLabel,
    Period,
    PromQL,
    SomeReplicas,
    TimeZone,
    keyed_by,
)
from scaler.api.rules import Breach, Spec, at_most, once, rule

MAX_SCHEDULES: Final = 50


class Day(Enum):
    """A day of the week, in the order of datetime's weekday()."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class Replicas(Spec):
    """The bounds of one role's replicas over all versions."""

    min: Count = 1
    """The least there may be. 0 takes a scaleToZero beside it: the first request then waits for a whole start."""
    max: SomeReplicas
    """The most there may be."""

    @rule(cel="self.min <= self.max", at="min", says="must be at most max")
    def min_within_max(self) -> Iterator[Breach]:
        """The range must not be empty."""
        yield from at_most(("min",), self.min, "max", self.max)


class ScaleToZero(Spec):
    """Asks in so many words that the last replica goes while nothing comes; only with replicas.min 0.

    The next request then waits for a whole start. The condition AtZero says how long that is, as far as it is learned.
    """

    idle_seconds: Annotated[int, Field(strict=True, ge=60, le=ONE_DAY_S)]
    """How long nothing must have come, by all signals; never less than a dip must last before other replicas go."""
    demand_query: PromQL | None = None
    """PromQL for one number that is above 0 while requests come, also without a replica, such as those at a gateway.
    No result is no number, so add 0 where the gateway is there and has no series. Required unless an endpoint picker
    (signals.inferencePoolRef) or the engine Custom tells it."""


class Schedule(Spec):
    """A floor for some hours of some days; where several hold at once, the highest counts."""

    name: DnsLabel
    """What the explanation calls it."""
    time_zone: TimeZone = "Etc/UTC"
    """The IANA time zone of start and end, such as Europe/Berlin."""
    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7), SET] = tuple(Day)
    """The days on which it starts."""
    start: ClockTime
    """The wall-clock time it starts, "HH:MM"."""
    end: ClockTime
    """The wall-clock time it ends, "HH:MM"; not after start, it is on the next day."""
    floor: Count
    """The replicas kept ready meanwhile."""

    @rule(cel=None, at="days", says="must have each day once only")
    def each_day_once(self) -> Iterator[Breach]:
        """The API server keeps this by the list's type."""
        yield from once(("days",), "", [day.value for day in self.days])

    @rule(cel=None, at="timeZone", says="must be an IANA time zone")
    def the_zone_exists(self) -> Iterator[Breach]:
        """The API server knows no time zones, so it keeps the pattern only."""
        try:
            ZoneInfo(self.time_zone)
        except (ValueError, OSError, KeyError):  # KeyError is what an unknown zone raises
            text = "must be an IANA time zone such as Europe/Berlin or Etc/UTC"
            yield Breach(at=("timeZone",), value=self.time_zone, text=text)


class WarmPool(Spec):
    """Ready replicas that are kept whatever the demand."""

    floor: Count = 0
    """The floor at all times."""
    schedules: Annotated[tuple[Schedule, ...], Field(max_length=MAX_SCHEDULES), keyed_by("name")] = ()
    """Higher floors for some hours."""

    @rule(cel=None, at="schedules", says="must have each name once only")
    def each_name_once(self) -> Iterator[Breach]:
        """The API server keeps this by the list's key."""
        yield from once(("schedules",), "name", [schedule.name for schedule in self.schedules])


# --- Objectives and pace -----------------------------------------------------------------------------------------


class Objective(Spec):
    """A latency that a share of the requests should keep."""

    percentile: Annotated[float, Field(strict=True, gt=0, lt=100)] = 95.0
    """The per cent of requests that keep it."""
    milliseconds: Annotated[int, Field(strict=True, ge=1, le=600_000)]
    """The latency."""


class Objectives(Spec):
    """What the users of the model should notice; left out, nothing is sized for it."""

    time_to_first_token: Objective | None = None
    """From a request's arrival to its first token."""
    inter_token_latency: Objective | None = None
    """Between one token and the next."""


class Loading(Spec):
    """What a start is expected to take until it has been measured."""

    expected_seconds: Annotated[int, Field(strict=True, ge=1, le=ONE_DAY_S)] = 300
    """From created to ready: a prior, which measured starts replace."""
    budget_seconds: Annotated[int, Field(strict=True, ge=1, le=ONE_DAY_S)] | None = None
    """After this a start counts as failed; left out, it follows the measured starts, and is 1800 before any."""

    @rule(
        cel="!has(self.budgetSeconds) || self.expectedSeconds <= self.budgetSeconds",
        at="expectedSeconds",
        says="must be at most budgetSeconds",
    )
    def expected_within_budget(self) -> Iterator[Breach]:
        """Otherwise every ordinary start would count as failed."""
        if self.budget_seconds is not None:
            yield from at_most(("expectedSeconds",), self.expected_seconds, "budgetSeconds", self.budget_seconds)


class ScaleUp(Spec):
    """How fast the target may grow."""

    step_replicas: SomeReplicas | None = None
    """The most replicas to add in one period; left out, there is no limit but replicas.max."""
    period_seconds: Period = 60
    """The period."""


class ScaleDown(Spec):
    """How fast the target may shrink."""

    hold_seconds: Annotated[int, Field(strict=True, ge=0, le=ONE_DAY_S)] | None = None
    """How long a lower wish must have lasted; left out, it follows the learned load time."""
    step_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 25
    """The most of the replicas to remove in one period; one may always go."""
    period_seconds: Period = 60
    """The period."""


class Behavior(Spec):
    """How fast the target may move."""

    scale_up: ScaleUp = Field(default_factory=ScaleUp)
    """Growing."""
    scale_down: ScaleDown = Field(default_factory=ScaleDown)
    """Shrinking."""
    flaps_per_hour: Annotated[int, Field(strict=True, ge=1, le=60)] = 2
    """Changes of direction in an hour, after which shrinking waits."""


class Capacity(Spec):
    """This model's standing where GPUs are short."""

    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = 0
    """The higher one is served first, above everybody's floor."""
