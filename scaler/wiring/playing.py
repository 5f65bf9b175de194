"""`forebay scenario`: one hard case played, with what held of it and why the count was what it was."""

from collections.abc import Iterator
from dataclasses import dataclass

from scaler.sim.scenarios.named import SCENARIOS
from scaler.sim.scenarios.run import played
from scaler.sim.scenarios.telling import Verdict, moves, told_in_full, verdicts
from scaler.wiring.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A scenario as it came out: rows of verdict, figure, claim and bar, and the decisions that it turned on."""

    about: str
    why: str
    rows: tuple[tuple[str, str, str, str], ...]
    moves: tuple[str, ...]
    moments: tuple[str, ...]
    is_met: bool


def listed() -> Iterator[tuple[str, str]]:
    """Every scenario's name, and what happens in it."""
    for scenario in SCENARIOS.values():
        yield scenario.name, scenario.about


def told(name: str, seed: int) -> Told:
    """The scenario ``name`` with this seed. Raises UserError for a name that there is not."""
    if name not in SCENARIOS:
        raise UserError(f"{name}: is no scenario; there are {', '.join(SCENARIOS)}")
    scenario = SCENARIOS[name]
    run = played(scenario.setting(), seed)
    judged = verdicts(scenario, run)
    return Told(
        about=scenario.about,
        why=scenario.why,
        rows=tuple(_row(verdict) for verdict in judged),
        moves=tuple(moves(run)),
        moments=tuple(told_in_full(run, scenario.told_at_s)),
        is_met=all(verdict.is_met for verdict in judged),
    )


def _row(verdict: Verdict) -> tuple[str, str, str, str]:
    return "held" if verdict.is_met else "not held", verdict.written, verdict.must.claim, verdict.must.bar
