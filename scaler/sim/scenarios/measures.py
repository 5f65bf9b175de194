"""What a played scenario is held to: figures of a stretch of it, and the bar that each must reach."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from scaler.core.plan import LoadTime, TargetPlan
from scaler.sim.compare.cells import OBJECTIVE_S
from scaler.sim.scenarios.run import Decision, Played
from scaler.sim.score import HOUR_S, flips

END_S: Final = float("inf")

Measure = Callable[[Played], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Must:
    """A claim on a figure: between ``least`` and ``most``. ``form`` is how the figure is written."""

    claim: str
    measure: Measure
    least: float = -END_S
    most: float = END_S
    form: str = "g"

    @property
    def bar(self) -> str:
        """The limit in words."""
        if self.most == END_S:
            return f"at least {self.least:{self.form}}"
        if self.least == -END_S:
            return f"at most {self.most:{self.form}}"
        return f"{self.least:{self.form}} to {self.most:{self.form}}"

    def met(self, figure: float) -> bool:
        """Whether ``figure`` reaches the bar; NaN, which is no figure, does not."""
        return self.least <= figure <= self.most


def of(name: str, measure: Measure) -> Measure:
    """The same figure of the model beside that has this policy."""
    return lambda played: measure(played.beside[name])


def told_short(from_s: float, until_s: float) -> Measure:
    """The share of the decisions of a stretch whose condition CapacityAvailable is False."""

    def measure(played: Played) -> float:
        plans = [each.plan for each in played.decisions if from_s <= each.plan.at_s < until_s]
        conditions = [{each.type: each.status for each in plan.conditions} for plan in plans]
        return sum(1 for each in conditions if each["CapacityAvailable"] is False) / len(plans)

    return measure


def in_time(from_s: float = 0.0, until_s: float = END_S) -> Measure:
    """The share of the requests that arrive in a stretch which have their first token within the objective.

    NaN where none arrives.
    """

    def measure(played: Played) -> float:
        arrival_s = played.requests.arrival_s
        own = played.run.ttft_s[(arrival_s >= from_s) & (arrival_s < until_s)]
        return float(np.mean(own <= OBJECTIVE_S)) if len(own) else float("nan")

    return measure


def most_replicas(from_s: float = 0.0, until_s: float = END_S) -> Measure:
    """The largest count asked for in a stretch."""
    return lambda played: float(max(target.replicas for target in _targets(played, from_s, until_s)))


def least_replicas(from_s: float = 0.0, until_s: float = END_S) -> Measure:
    """The smallest count asked for in a stretch."""
    return lambda played: float(min(target.replicas for target in _targets(played, from_s, until_s)))


def shrinks(from_s: float = 0.0, until_s: float = END_S) -> Measure:
    """How often the count was made smaller in a stretch."""

    def measure(played: Played) -> float:
        targets = _targets(played, from_s, until_s)
        return float(sum(1 for target in targets if target.replicas < target.trail[0].before))

    return measure


def changes(from_s: float = 0.0, until_s: float = END_S) -> Measure:
    """How often the count was changed in a stretch."""

    def measure(played: Played) -> float:
        targets = _targets(played, from_s, until_s)
        return float(sum(1 for target in targets if target.replicas != target.trail[0].before))

    return measure


def turns(played: Played) -> float:
    """How often the count turned, in all."""
    return float(flips(played.run.changes))


def turns_per_hour(played: Played) -> float:
    """How often the count turned, by the hour on average."""
    return flips(played.run.changes) * HOUR_S / played.run.span_s


def replica_hours(played: Played) -> float:
    """What it cost, from creation to the end of drain."""
    return played.run.replica_s / HOUR_S


def mean_replicas(until_s: float) -> Measure:
    """The count asked for until then, on average."""

    def measure(played: Played) -> float:
        ended = [*(change for change in played.run.changes if change.at_s < until_s)]
        at_s = [*(change.at_s for change in ended), until_s]
        pairs = zip(ended, pairwise(at_s), strict=True)
        return sum(change.replicas * (end_s - begin_s) for change, (begin_s, end_s) in pairs) / until_s

    return measure


def carried_off_by(truth_per_s: float, at_s: float) -> Measure:
    """How far the belief of what a replica carries is from the truth at ``at_s``, as a share of it; NaN without one."""

    def measure(played: Played) -> float:
        believed = decision_at(played, at_s).plan.tokens_per_s
        return abs(next(iter(believed.values()), float("nan")) / truth_per_s - 1.0)

    return measure


def load_off_by(truth_s: float, *, from_s: float = 0.0, starts: int = 5) -> Measure:
    """How far the believed median load time is from the truth once so many starts since ``from_s`` are measured.

    A share of the truth; NaN where there were fewer.
    """

    def measure(played: Played) -> float:
        since = [decision for decision in played.decisions if decision.plan.at_s >= from_s]
        before = _load_time(since[0]).samples
        for decision in since:
            learned = _load_time(decision)
            if learned.samples >= before + starts:
                return abs(learned.p50_s / truth_s - 1.0)
        return float("nan")

    return measure


def load_p90_s(at_s: float) -> Measure:
    """The load time that nine of ten starts are believed to keep at ``at_s``, in seconds."""
    return lambda played: _load_time(decision_at(played, at_s)).p90_s


def p99_s(until_s: float) -> Measure:
    """The 99th percentile of the time to first token, of the requests that had theirs until then."""

    def measure(played: Played) -> float:
        ttft_s = played.run.ttft_s[played.requests.arrival_s + played.run.ttft_s <= until_s]  # NaN is not
        return float(np.quantile(ttft_s, 0.99)) if len(ttft_s) else float("nan")

    return measure


def answered(until_s: float) -> Measure:
    """The share of all requests that had their first token until then."""
    return lambda played: float(np.mean(played.requests.arrival_s + played.run.ttft_s <= until_s))


def kept_unknown(from_s: float, until_s: float) -> Measure:
    """The share of the decisions of a stretch that kept the count since the demand was not known."""

    def measure(played: Played) -> float:
        targets = _targets(played, from_s, until_s)
        return sum(1 for target in targets if target.trail[0].rule == "keep") / len(targets)

    return measure


def decision_at(played: Played, at_s: float) -> Decision:
    """The first decision that is not before ``at_s``, or the last of all."""
    return next((each for each in played.decisions if each.plan.at_s >= at_s), played.decisions[-1])


def _targets(played: Played, from_s: float, until_s: float) -> list[TargetPlan]:
    return [each.plan.targets[0] for each in played.decisions if from_s <= each.plan.at_s < until_s]


def _load_time(decision: Decision) -> LoadTime:
    return next(iter(decision.plan.load_times.values()))
