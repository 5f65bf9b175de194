"""A run as the points of a picture: one moment for each decision, read from its record alone."""

from dataclasses import dataclass
from math import fsum

from scaler.core.explain import summary
from scaler.core.limits import stuck_replicas
from scaler.core.model import Fleet, Load, Missing
from scaler.core.plan import Plan, SetWeights
from scaler.runtime.ports import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One decision, and what was to be seen when it was taken.

    ``ttft_s`` is None where nobody knows it; ``told`` is empty when nothing had to change.
    """

    at_s: float
    running: float
    waiting: float
    ready: int
    starting: int
    stuck: int
    target: int
    ttft_s: float | None
    load_p50_s: float
    load_p90_s: float
    starts_measured: int
    is_known: bool
    told: str

    @property
    def has_changed(self) -> bool:
        """Whether this decision told the world anything."""
        return self.told != ""


def moment_of(record: Record) -> Moment:
    """The record's decision as a point; the versions of a policy are added up."""
    fleets = [seen.fleet for seen in record.observation.fleets if isinstance(seen.fleet, Fleet)]
    loads = [each.load for fleet in fleets for each in fleet.ready() if isinstance(each.load, Load)]
    plan, ttft_s = record.plan, record.observation.ttft_s
    learned = list(plan.load_times.values())
    stuck = sum(len(stuck_replicas(fleet, record.policy, plan.at_s)) for fleet in fleets)
    gateway = record.observation.gateway_waiting
    return Moment(
        at_s=plan.at_s,
        running=fsum(load.running for load in loads),
        waiting=fsum(load.waiting for load in loads) + (0.0 if isinstance(gateway, Missing) else gateway),
        ready=sum(len(fleet.ready()) for fleet in fleets),
        starting=sum(len(fleet.starting()) for fleet in fleets) - stuck,
        stuck=stuck,
        target=sum(target.replicas for target in plan.targets),
        ttft_s=None if isinstance(ttft_s, Missing) else ttft_s,
        load_p50_s=max((each.p50_s for each in learned), default=0.0),
        load_p90_s=max((each.p90_s for each in learned), default=0.0),
        starts_measured=sum(each.samples for each in learned),
        is_known=all(condition.status is True for condition in plan.conditions if condition.type == "SignalsHealthy"),
        told=_told(plan),
    )


def _told(plan: Plan) -> str:
    """What the plan says to the world, in sentences; nothing where it says nothing."""
    if not plan.commands:
        return ""
    moved = [summary(target) for target in plan.targets if target.replicas != target.trail[0].before]
    if plan.release is not None and any(isinstance(command, SetWeights) for command in plan.commands):
        moved.append(f"traffic: {plan.release.before} to {plan.release.after} %. {plan.release.because}.")
    return " ".join(moved)
