"""`forebay simulate`: a trace, a policy and a fleet from files, one run, and what it came to."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from rich.console import Console
from rich.status import Status

from scaler.api.documents import check_files
from scaler.api.policy import policy_of
from scaler.api.v1alpha1 import ScalingPolicy
from scaler.core.model import Objective, Policy
from scaler.sim.compare.cells import DRAIN_S
from scaler.sim.loadtime import LoadTimes
from scaler.sim.oracle import Bound, Case, bound
from scaler.sim.ours import Ours, only_target
from scaler.sim.rates import WINDOW_S, Window, day, steepest
from scaler.sim.replay import FleetSpec, Run, replayed
from scaler.sim.score import DIGITS, Score, scored
from scaler.sim.trace import Trace, TraceError
from scaler.sim.workload import (
    PIECE_S,
    SUSTAINED_RPS,
    Rated,
    Recorded,
    Workload,
    engine_named,
    filling,
    opened,
    sustained_rps,
)
from scaler.wiring.errors import UserError

RESULT: Final = "result.json"
FILE_MOST_BYTES: Final = 2**20
HALF_DAY_S: Final = 43_200
"""Warm windows are laid out anew this often, which is twice as often as they must be."""

OBJECTIVE: Final = Objective(percentile=95.0, limit_s=2.0)
"""What is scored where the policy states no time to first token."""

DAY: Final = "day-"


class FleetFile(BaseModel):
    """The file of ``--fleet``. With ``pool`` the traffic is sized to keep so many replicas busy on average.

    ``engine`` is a row of the latency model, ``lengths`` whose requests a rate series gets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)

    engine: str
    load_seconds: float = Field(gt=0, le=86_400)
    warm_replicas: int = Field(ge=0, le=1000)
    pool: float | None = Field(None, gt=0, le=1000)
    lengths: Literal["conv", "code"] = "conv"
    grace_seconds: float = Field(120, ge=0, le=86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The words of the command. ``window`` is rise, whole, or day-N; ``is_bounded`` asks for the bound as well."""

    trace: str
    policy: Path
    fleet: Path
    window: str
    seed: int
    folder: Path
    is_bounded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a run came to: rows for people, and the file with all of it."""

    rows: tuple[tuple[str, str], ...]
    result: Path


def simulated(asked: Asked, console: Console) -> Told:
    """Run what was asked, and write it down; ``console`` hears how far the bound is. Raises UserError."""
    document, fleet = _document(asked.policy), _fleet(asked.fleet)
    policy = policy_of(document, 0.0)
    objective = policy.time_to_first_token or OBJECTIVE
    spec = _spec(asked.fleet, fleet, objective)
    try:
        traffic = _traffic(asked, fleet)
    except TraceError as error:
        raise UserError(f"--trace {error}") from error
    run = replayed(traffic, spec, Ours(policies_of(document)), asked.seed)
    score = scored(run, objective.limit_s)
    found: Bound | None = None
    if asked.is_bounded:
        case = Case(
            workload=traffic,
            engine=spec.engine,
            load_s=fleet.load_seconds,
            drain_s=DRAIN_S,
            seed=asked.seed,
            objective_s=objective.limit_s,
            share=objective.percentile / 100.0,
            least=policy.min_replicas,
        )
        found = _bounded(case, console)
    result = _result(asked, fleet, traffic.name, run, objective)
    path = _written(asked, result | {"score": score.facts(), "bound": _bound_facts(found)})
    return Told(rows=_rows(score, found, objective), result=path)


def policies_of(document: ScalingPolicy) -> Callable[[float], Policy]:
    """The policy as of a time of the run, which begins at midnight UTC on a Thursday (1970-01-01)."""

    @lru_cache(maxsize=2)
    def as_of(half_days: int) -> Policy:
        return policy_of(document, float(half_days * HALF_DAY_S))

    return lambda at_s: as_of(int(at_s // HALF_DAY_S))


# --- What was asked ----------------------------------------------------------------------------------------------


def _document(path: Path) -> ScalingPolicy:
    checked = check_files([path])
    if checked.faults:
        raise UserError("\n".join(str(fault) for fault in checked.faults))
    if len(checked.policies) != 1:
        raise UserError(f"--policy {path}: must have one ScalingPolicy, and has {len(checked.policies)}")
    try:
        only_target(policy_of(checked.policies[0], 0.0))
    except ValueError as error:
        raise UserError(f"--policy {path}: {error}") from error
    return checked.policies[0]


def _fleet(path: Path) -> FleetFile:
    try:
        text = path.read_bytes()[: FILE_MOST_BYTES + 1]
        values = yaml.safe_load(text) if len(text) <= FILE_MOST_BYTES else None
    except OSError as error:
        raise UserError(f"--fleet {path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise UserError(f"--fleet {path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, Mapping):
        raise UserError(f"--fleet {path}: must be a mapping of fields, of at most {FILE_MOST_BYTES} bytes")
    try:
        return FleetFile.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(_fault(path, each) for each in error.errors())) from error


def _fault(path: Path, error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        fields = ", ".join(to_camel(field) for field in FleetFile.model_fields)
        return f"--fleet {path}: {name}: is not a field here: there are {fields}"
    if error["type"] == "missing":
        return f"--fleet {path}: {name}: is required"
    return f"--fleet {path}: {name} = {error['input']!r}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _spec(path: Path, fleet: FleetFile, objective: Objective) -> FleetSpec:
    try:
        engine = engine_named(fleet.engine)
    except TraceError as error:
        raise UserError(f"--fleet {path}: {error}") from error
    return FleetSpec(
        engine=engine,
        load_times=LoadTimes(median_s=fleet.load_seconds),
        warm=fleet.warm_replicas,
        grace_s=fleet.grace_seconds,
        objective=objective,
    )


def _traffic(asked: Asked, fleet: FleetFile) -> Recorded | Rated:
    traffic = _windowed(opened(asked.trace, fleet.lengths), asked.window)
    if fleet.pool is None:
        return traffic
    engine = engine_named(fleet.engine)
    known = _known_lengths(traffic, fleet)
    sustained = sustained_rps(engine, traffic.lengths) if known is None else SUSTAINED_RPS[fleet.engine, known]
    return filling(traffic, fleet.pool, sustained)


def _known_lengths(traffic: Recorded | Rated, fleet: FleetFile) -> str | None:
    """Whose lengths the traffic has, None for a recording of the user's own."""
    if isinstance(traffic, Rated):
        return fleet.lengths
    return {"azure2023-conv": "conv", "azure2023-code": "code"}.get(traffic.name)


def _windowed(traffic: Recorded | Rated, window: str) -> Recorded | Rated:
    """The part of the traffic that ``window`` names; a recording, or six hours and less, are taken whole."""
    number = window.removeprefix(DAY)
    is_day = window.startswith(DAY) and number.isascii() and number.isdigit()
    if not is_day and window not in {"rise", "whole"}:
        raise UserError(f"--window {window}: must be rise, whole, or a day of the series such as day-3")
    if isinstance(traffic, Recorded):
        if is_day:
            raise UserError(f"--window {window}: {traffic.name} is a recording, which is taken whole")
        return traffic
    if is_day:
        return traffic.within(day(int(number)))
    is_short = traffic.span_s <= WINDOW_S
    whole = Window(from_s=0, until_s=int(traffic.span_s))
    return traffic.within(whole if window == "whole" or is_short else steepest(traffic.rates))


# --- The bound ---------------------------------------------------------------------------------------------------


class _Followed:
    """Traffic that says how much of it has been looked at, and for which time: the bound takes many looks."""

    def __init__(self, workload: Workload, tell: Callable[[str], None]) -> None:
        self.name, self.span_s = workload.name, workload.span_s
        self._workload, self._tell, self._looks = workload, tell, 0

    def pieces(self, seed: int) -> Iterator[Trace]:
        """The requests in order."""
        self._looks += 1
        pieces = max(1.0, self.span_s / PIECE_S)
        for number, piece in enumerate(self._workload.pieces(seed)):
            self._tell(f"the bound: look {self._looks} at the traffic, {min(1.0, number / pieces):.0%} of it")
            yield piece


def _bounded(case: Case, console: Console) -> Bound:
    """What perfect foresight needs for ``case``: some seconds, and some dozens of runs for ten million requests."""
    console.print("The bound, with perfect foresight, is being found; --no-bound leaves it out.", highlight=False)
    if not console.is_terminal:
        return bound(case)
    with console.status("the bound") as status:
        return bound(replace(case, workload=_Followed(case.workload, _telling(status))))


def _telling(status: Status) -> Callable[[str], None]:
    def tell(text: str) -> None:
        status.update(text)

    return tell


# --- What is told ------------------------------------------------------------------------------------------------


def _result(asked: Asked, fleet: FleetFile, traffic: str, run: Run, objective: Objective) -> dict[str, Any]:
    return {
        "trace": traffic,
        "window": asked.window,
        "seed": asked.seed,
        "fleet": fleet.model_dump(by_alias=True),
        "objective": {"ttft_s": objective.limit_s, "percentile": objective.percentile},
        "span_s": run.span_s,
        "changes": [[change.at_s, change.replicas] for change in run.changes],
    }


def _bound_facts(found: Bound | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {"attained": round(found.attained, DIGITS), "replica_hours": round(found.replica_hours, DIGITS)}


def _written(asked: Asked, result: dict[str, Any]) -> Path:
    path = asked.folder / RESULT
    try:
        asked.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {asked.folder}: cannot be written ({error.strerror})") from error
    return path


def _rows(score: Score, found: Bound | None, objective: Objective) -> tuple[tuple[str, str], ...]:
    bounds = "not asked for" if found is None else f"{found.replica_hours:.2f}, with {found.attained:.2%} in time"
    quantiles = (score.ttft_p50_s, score.ttft_p95_s, score.ttft_p99_s)
    told = " / ".join("none" if value is None else f"{value:.2f} s" for value in quantiles)
    return (
        ("requests", f"{score.requests:,}"),
        (f"first token within {objective.limit_s:g} s", f"{score.attained:.2%}"),
        ("first token P50 / P95 / P99", told),
        ("failed / timed out", f"{score.failed:,} / {score.timed_out:,}"),
        ("replica-hours", f"{score.replica_hours:.2f}"),
        ("the bound's replica-hours", bounds),
        ("scale events / direction flips", f"{score.scale_events} / {score.flips}"),
    )
