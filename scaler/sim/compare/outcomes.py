"""One run of one contender in one cell: what is asked, what comes of it, and the name under which that is kept.

A name is a digest of all that an outcome follows from: the cell, the contender, the seed and the source files behind
them. What was run before a file changed is never taken for what would be run now.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from scaler.sim.compare.cells import OBJECTIVE_S, Cell, case_of, fleet_of, traffic
from scaler.sim.compare.contenders import OURS, Advised, Contender, scaler_of
from scaler.sim.oracle import bound
from scaler.sim.replay import replayed
from scaler.sim.score import scored

DIGITS: Final = 6

FOLLOWED_MOST: Final = 3
"""Bursts that a floor of one day met in part show the next day that they were larger."""

TRAFFIC_SOURCES: Final = (
    *("sim/compare/cells.py", "sim/generated.py", "sim/workload.py", "sim/rates.py", "sim/trace.py"),
    *("sim/kernel.py", "sim/plant.py", "sim/state.py", "sim/latency.py", "sim/jit.py"),
)
BOUND_SOURCES: Final = (*TRAFFIC_SOURCES, "sim/oracle.py")
RUN_SOURCES: Final = (
    *TRAFFIC_SOURCES,
    *("sim/replay.py", "sim/loadtime.py", "sim/service.py", "sim/view.py", "sim/score.py"),
    "sim/compare/contenders.py",
)
PEER_SOURCES: Final = (*RUN_SOURCES, "sim/peers")
OUR_SOURCES: Final = (*RUN_SOURCES, "sim/ours.py", "core", "api")
"""Files and folders of the package that an outcome follows from, by kind."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Job:
    """One run."""

    cell: Cell
    contender: Contender
    seed: int

    @property
    def key(self) -> str:
        """The name of its outcome."""
        sources = OUR_SOURCES if self.contender.name == OURS else PEER_SOURCES
        return digest({"cell": self.cell.facts(), "seed": self.seed, **self.contender.facts()}, sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """What foresight needs in a cell: the share in time of its schedule, and the replica-hours."""

    attained: float
    replica_hours: float

    def facts(self) -> dict[str, float]:
        """The fields, for a file."""
        return {"attained": self.attained, "replica_hours": self.replica_hours}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to. ``figures`` are those of `score.Score` by name; ``advised`` is the floor it advised."""

    job: Job
    figures: Mapping[str, float | int | None]
    oracle: Bounded
    advised: int | None

    @property
    def attained(self) -> float:
        """The share of requests in time."""
        return float(self.figures["attained"] or 0.0)

    @property
    def replica_hours(self) -> float:
        """From creation to the end of drain."""
        return float(self.figures["replica_hours"] or 0.0)

    @property
    def ratio(self) -> float:
        """Replica-hours over the bound's."""
        return self.replica_hours / self.oracle.replica_hours

    def facts(self) -> dict[str, Any]:
        """All of it, for a file."""
        asked = {"cell": self.job.cell.facts(), "seed": self.job.seed, **self.job.contender.facts()}
        return {**asked, "figures": dict(self.figures), "oracle": self.oracle.facts(), "advised": self.advised}


def bound_key(cell: Cell, seed: int) -> str:
    """The name of the bound of ``cell``."""
    return digest({"cell": cell.facts(), "seed": seed}, BOUND_SOURCES)


def bounded(cell: Cell, seed: int) -> Bounded:
    """The perfect-foresight bound of ``cell``."""
    found = bound(case_of(cell, seed))
    return Bounded(attained=round(found.attained, DIGITS), replica_hours=round(found.replica_hours, DIGITS))


def outcome_of(job: Job, oracle: Bounded) -> Outcome:
    """Run ``job``."""
    scaler = scaler_of(job.contender, job.cell, job.seed)
    fleet = fleet_of(job.cell, job.seed)
    if job.contender.floor is not None:  # who keeps a floor has it when the day begins
        fleet = replace(fleet, warm=max(fleet.warm, job.contender.floor))
    run = replayed(traffic(job.cell), fleet, scaler, job.seed)
    return Outcome(
        job=job,
        figures=scored(run, OBJECTIVE_S).facts(),
        oracle=oracle,
        advised=scaler.floor if isinstance(scaler, Advised) else None,
    )


def ours_in(cell: Cell, seed: int, run: Callable[[Job], Outcome]) -> tuple[Outcome, ...]:
    """Ours in ``cell`` as ``run`` runs it, and again with the floor that it advised, until it advises no higher one.

    A user who follows the condition Forecastable does so until it is True; here at most `FOLLOWED_MOST` times.
    """
    runs = [run(Job(cell=cell, contender=Contender(name=OURS), seed=seed))]
    while len(runs) <= FOLLOWED_MOST and (runs[-1].advised or 0) > (runs[-1].job.contender.floor or 0):
        floored = Contender(name=OURS, floor=runs[-1].advised)
        runs.append(run(Job(cell=cell, contender=floored, seed=seed)))
    return tuple(runs)


def read_outcome(facts: Mapping[str, Any]) -> Outcome:
    """The outcome that `Outcome.facts` wrote."""
    contender = Contender(name=facts["policy"], threshold=facts["threshold"], floor=facts["floor"])
    return Outcome(
        job=Job(cell=Cell(**facts["cell"]), contender=contender, seed=facts["seed"]),
        figures=facts["figures"],
        oracle=Bounded(**facts["oracle"]),
        advised=facts["advised"],
    )


def digest(asked: Mapping[str, Any], sources: tuple[str, ...]) -> str:
    """A name for the answer to ``asked`` by ``sources``."""
    text = json.dumps(asked, sort_keys=True) + sources_digest(sources)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=8)
def sources_digest(sources: tuple[str, ...]) -> str:
    """What is in the files and folders ``sources`` of the package, as of the first time it is asked."""
    root = resources.files("scaler")
    found = hashlib.sha256()
    for source in sources:
        place = root / source
        for file in sorted(place.iterdir(), key=lambda each: each.name) if place.is_dir() else (place,):
            if file.name.endswith(".py"):
                found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()
