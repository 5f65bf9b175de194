"""What the demo may show: an hour of real traffic on an emulated GPU pool, and what happens to it meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scaler.core.model import (
    Behavior,
    Loading,
    Objective,
    Policy,
    Release,
    ReleaseStep,
    Role,
    Target,
    TargetKey,
    Version,
)

if TYPE_CHECKING:  # the fleet model takes seconds to import, and `forebay --help` needs only the names here
    from scaler.sim.cluster import Cluster

NAME: Final = "models/llama"
GPUS_PER_NODE: Final = 8

OBJECTIVE: Final = Objective(percentile=95.0, limit_s=2.0)

TRAFFIC_FACTOR: Final = 8.0
"""The hour has 5.5 requests a second; eight times as much keeps 5 to 12 replicas of a 70B model at work."""

EXPECTED_LOAD_S: Final = 300.0
"""What the policy expects of a start, wrong on purpose: the run learns what the emulated cluster really takes."""


class ScenarioName(Enum):
    """The scenarios by the word on the command line."""

    HOUR = "hour"
    SHORTAGE = "shortage"
    OUTAGE = "outage"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One story: how many nodes there are at first, which versions, and what happens to the cluster by itself."""

    about: str
    nodes: int = 8
    versions: tuple[str, ...] = ("v1",)
    happens: Callable[["Cluster"], None] = lambda _: None
    later_nodes: tuple[tuple[float, int], ...] = ()


def _go_blind(cluster: "Cluster") -> None:
    cluster.blind(NAME, from_s=1800.0, until_s=2400.0)


SCENARIOS: Final = {
    ScenarioName.HOUR: Scenario(about="an hour of chat requests as it was"),
    ScenarioName.SHORTAGE: Scenario(
        about="the same hour with half of the GPUs, until more nodes come after 40 minutes",
        nodes=4,
        later_nodes=((2400.0, 4),),
    ),
    ScenarioName.OUTAGE: Scenario(
        about="the same hour, and from minute 30 to 40 no metrics can be read", happens=_go_blind
    ),
    ScenarioName.RELEASE: Scenario(
        about="the same hour, and version v2 takes over from v1 in steps", nodes=12, versions=("v1", "v2")
    ),
}


def policy_for(scenario: Scenario) -> Policy:
    """The policy of the demo: 2 to 16 replicas, first tokens within 2 s for 95 % of the requests."""
    policy = Policy(
        name=NAME,
        versions=tuple(Version(name=name, targets=(Target(key=serve_key(name)),)) for name in scenario.versions),
        min_replicas=2,
        max_replicas=16 if len(scenario.versions) == 1 else 24,
        warm_floor=3,
        warm_windows=(),
        loading=Loading(expected_s=EXPECTED_LOAD_S, budget_s=1800.0),
        behavior=Behavior(
            hold_s=None,
            shrink_step_percent=25,
            shrink_period_s=60.0,
            grow_step=None,
            grow_period_s=60.0,
            flaps_per_hour=8,
        ),
        stale_after_s=90.0,
        time_to_first_token=OBJECTIVE,
    )
    if len(scenario.versions) == 1:
        return policy
    steps = ((5, 300.0), (25, 300.0), (100, 300.0))
    release = Release(version="v2", steps=tuple(ReleaseStep(weight_percent=w, hold_s=hold_s) for w, hold_s in steps))
    return replace(policy, release=release)


def serve_key(version: str) -> TargetKey:
    """The key of the target that serves ``version``."""
    return TargetKey(version=version, role=Role.SERVE.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What to run: ``speed`` is how many seconds of the hour pass in one, ``folder`` where the run is kept."""

    scenario: ScenarioName
    speed: float
    load_time_s: float
    seed: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is left of a run: its summary, as rows of a name and what it came to, and its files."""

    rows: Sequence[tuple[str, str]]
    picture: Path
    journal: Path
