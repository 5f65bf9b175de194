"""A played scenario in words: what held and what did not, and the decisions that it turned on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scaler.core.explain import explain, summary
from scaler.core.plan import TargetPlan
from scaler.sim.scenarios.measures import Must, decision_at
from scaler.sim.scenarios.run import Decision, Played
from scaler.sim.scenarios.scenario import Scenario

MOVES_TOLD: Final = 8
HOUR_S: Final = 3600
MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a claim came to."""

    must: Must
    figure: float

    @property
    def is_met(self) -> bool:
        """Whether the figure reaches the bar."""
        return self.must.met(self.figure)

    @property
    def written(self) -> str:
        """The figure as people read it."""
        return f"{self.figure:{self.must.form}}"


def verdicts(scenario: Scenario, played: Played) -> tuple[Verdict, ...]:
    """Every claim of ``scenario`` with its figure."""
    return tuple(Verdict(must=must, figure=must.measure(played)) for must in scenario.musts)


def moves(played: Played) -> Iterator[str]:
    """The largest changes of the count, at most eight, in their order, each in a sentence."""
    changed = [each for each in played.decisions if _step(each)]
    largest = sorted(changed, key=lambda each: -_step(each))[:MOVES_TOLD]
    for decision in sorted(largest, key=lambda each: each.plan.at_s):
        yield f"{clock(decision.plan.at_s)} {summary(_target(decision))}"
    if len(changed) > MOVES_TOLD:
        yield f"and {len(changed) - MOVES_TOLD} smaller changes"


def told_in_full(played: Played, at_s: Sequence[float]) -> Iterator[str]:
    """The whole chain from demand to command at each of these times."""
    for decision in (decision_at(played, each_s) for each_s in at_s):
        yield explain(decision.plan, decision.observation, clock(decision.plan.at_s))


def clock(at_s: float) -> str:
    """Hours, minutes and seconds since the beginning."""
    whole = int(at_s)
    return f"{whole // HOUR_S:02}:{whole % HOUR_S // MINUTE_S:02}:{whole % MINUTE_S:02}"


def _target(decision: Decision) -> TargetPlan:
    return decision.plan.targets[0]


def _step(decision: Decision) -> int:
    return abs(_target(decision).replicas - _target(decision).trail[0].before)
