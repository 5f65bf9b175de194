"""The part of a ScalingPolicy that says which version should serve, and how traffic goes there."""

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Final

from pydantic import Field

from scaler.api.fields import ATOMIC, ONE_DAY_S, DnsLabel, DnsName, Ratio, Streak
from scaler.api.rules import HERE, Breach, Spec, rule

MAX_STEPS: Final = 20
ALL_PERCENT: Final = 100


class RouteKind(Enum):
    """The routes whose weights can be moved."""

    HTTP_ROUTE = "HTTPRoute"


class RouteRef(Spec):
    """The route whose weights are moved, in the policy's namespace."""

    kind: RouteKind = RouteKind.HTTP_ROUTE
    """HTTPRoute."""
    name: DnsName
    """Its name."""
    rule: DnsName | None = None
    """The name of the rule in it; required by the controller where the route has more than one."""


class ReleaseStep(Spec):
    """A share of traffic, and how long it is kept."""

    weight_percent: Annotated[int, Field(strict=True, ge=1, le=100)]
    """The new version's share of traffic."""
    hold_seconds: Annotated[int, Field(strict=True, ge=0, le=7 * ONE_DAY_S)] = 0
    """How long the share is kept at least, from when it is reached."""


class Analysis(Spec):
    """What the new version must keep at each step; too little to judge by means wait, never go on."""

    min_requests: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 200
    """Requests that the new version must have answered in a step before it is judged."""
    interval_seconds: Annotated[int, Field(strict=True, ge=10, le=3600)] = 60
    """How often it is judged."""
    max_error_percent: Annotated[float, Field(strict=True, ge=0, le=100)] = 1.0
    """The most of its requests that may fail."""
    max_time_to_first_token_ratio: Ratio = 1.2
    """The most its time to first token may be, as a multiple of the old version's."""
    max_inter_token_latency_ratio: Ratio = 1.2
    """The most its inter-token latency may be, as a multiple of the old version's."""
    success_limit: Streak = 1
    """Good verdicts in a row that end a step."""
    failure_limit: Streak = 2
    """Bad verdicts in a row that roll the release back."""


DEFAULT_STEPS: Final = (
    ReleaseStep(weight_percent=5, hold_seconds=300),
    ReleaseStep(weight_percent=25, hold_seconds=300),
    ReleaseStep(weight_percent=50, hold_seconds=300),
    ReleaseStep(weight_percent=100),
)


class Release(Spec):
    """Which version should serve, and how traffic goes there."""

    version: DnsLabel
    """The version that should serve; to change it starts a release, to change it back rolls it back."""
    route_ref: RouteRef
    """The route whose weights are moved; without one nobody could tell how the versions share the traffic."""
    steps: Annotated[tuple[ReleaseStep, ...], Field(min_length=1, max_length=MAX_STEPS), ATOMIC] = DEFAULT_STEPS
    """The shares on the way to 100 per cent."""
    analysis: Analysis | None = None
    """What is compared before the next step; left out, only time and capacity are waited for."""

    @rule(
        cel="self.steps.all(s, self.steps.filter(t, t.weightPercent == s.weightPercent).size() == 1) && "
        "self.steps.map(s, s.weightPercent).isSorted()",
        at="steps",
        says="must rise in weightPercent from step to step",
    )
    def steps_rise(self) -> Iterator[Breach]:
        """A release that takes traffic back half-way is a rollback, which has its own way."""
        weights = [step.weight_percent for step in self.steps]
        for index in range(1, len(weights)):
            if weights[index] <= weights[index - 1]:
                text = f"must be more than {HERE}steps[{index - 1}].weightPercent ({weights[index - 1]})"
                yield Breach(at=("steps", index, "weightPercent"), value=weights[index], text=text)

    @rule(
        cel="self.steps[self.steps.size() - 1].weightPercent == 100",
        at="steps",
        says="must end with weightPercent 100",
    )
    def steps_end_at_100(self) -> Iterator[Breach]:
        """A release that stops short never ends."""
        last = len(self.steps) - 1
        if self.steps[last].weight_percent != ALL_PERCENT:
            weight = self.steps[last].weight_percent
            yield Breach(at=("steps", last, "weightPercent"), value=weight, text="must be 100 in the last step")
