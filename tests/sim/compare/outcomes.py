"""Outcomes by hand: only what matters for a claim is said."""

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.contenders import OURS, Contender
from scaler.sim.compare.outcomes import Bounded, Job, Outcome

CELL = Cell(workload="azure2023-conv", pool=2.0, load_s=120.0)


def outcome(
    *,
    policy: str = OURS,
    threshold: float | None = None,
    floor: int | None = None,
    cell: Cell = CELL,
    seed: int = 1,
    attained: float = 1.0,
    hours: float = 2.0,
    bound: float = 2.0,
    reach: float = 0.995,
    flips_per_hour: float = 0.0,
    p99_s: float | None = None,
    advised: int | None = None,
) -> Outcome:
    figures = {
        "attained": attained,
        "replica_hours": hours,
        "flips_per_hour": flips_per_hour,
        "ttft_p99_s": p99_s,
        "failed": 0,
        "scale_events": 3,
        "flips": 1,
    }
    contender = Contender(name=policy, threshold=threshold, floor=floor)
    return Outcome(
        job=Job(cell=cell, contender=contender, seed=seed),
        figures=figures,
        oracle=Bounded(attained=reach, replica_hours=bound),
        advised=advised,
    )
