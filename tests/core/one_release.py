"""A release from v1 to v2: what is asked for, remembered and ready, and what is next for it."""

from collections.abc import Mapping

from scaler.core.memory import ReleaseMemory
from scaler.core.model import Missing, Release, ReleaseStep
from scaler.core.release import Capacity, Case, Shift, advance
from tests.builders import START_S

STEPS = ((5, 300.0), (25, 300.0), (100, 60.0))
UNKNOWN = Missing(why="the demand is not known")


def release(*steps: tuple[int, float], to: str = "v2", has_analysis: bool = False) -> Release:
    return Release(
        version=to,
        steps=tuple(ReleaseStep(weight_percent=weight, hold_s=hold_s) for weight, hold_s in steps or STEPS),
        has_analysis=has_analysis,
    )


def memory(*, stable: str = "v1", candidate: str = "v2", weight: int = 0, held_s: float = 0.0) -> ReleaseMemory:
    return ReleaseMemory(stable=stable, candidate=candidate, weight_percent=weight, since_s=START_S - held_s)


def capacity(ready: int, carries_percent: int | Missing) -> Capacity:
    return Capacity(ready=ready, carries_percent=carries_percent)


ALL = capacity(10, 100)
NONE = capacity(0, 0)


def shifted(
    weights: Mapping[str, int],
    *,
    v1: Capacity = ALL,
    v2: Capacity = ALL,
    asked: Release | None = None,
    held: ReleaseMemory | None = None,
    load_time_p90_s: float = 0.0,
    **others: Capacity,
) -> Shift:
    """What is next for a release from v1 to v2, both of which could carry everything."""
    return advance(
        Case(
            release=asked or release(),
            weights=weights,
            capacity={"v1": v1, "v2": v2, **others},
            memory=held or memory(),
            load_time_p90_s=load_time_p90_s,
            at_s=START_S,
        )
    )


def at(weight: int) -> dict[str, int]:
    """The route with this weight on v2."""
    return {"v1": 100 - weight, "v2": weight}
