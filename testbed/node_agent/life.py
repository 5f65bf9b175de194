"""The life of one pod's process, as a kubelet leads it: states and events in, states and orders out.

Nothing here waits, runs or asks: time is an argument, and what is to be done comes back as orders. The rules are those
of the Kubernetes documentation, "Pod Lifecycle" and "Configure Liveness, Readiness and Startup Probes".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, TypeAlias

from testbed.node_agent.workload import Kind, Probe, Workload

BACK_OFF_FIRST_S: Final = 10.0
BACK_OFF_MOST_S: Final = 300.0
"""A process that ended starts again after 10 s, then 20 s, and so on up to five minutes."""

EXTENSION_S: Final = 2.0
"""A preStop that is still going on when the grace period ends leaves the process this long."""


class Stage(Enum):
    """Where a process is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    IN_PRE_STOP = "in preStop"
    TERMINATING = "terminating"
    ENDED = "ended"


class Act(Enum):
    """What is to be done; each is done at once and once."""

    START = auto()
    PRE_STOP = auto()
    TERMINATE = auto()
    KILL = auto()
    DELETE = auto()


@dataclass(frozen=True, slots=True)
class Ask:
    """A probe that is due."""

    kind: Kind


Order: TypeAlias = Act | Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How a probe has gone in this run of the process. ``due_s`` is None while an answer is awaited."""

    due_s: float | None
    successes: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A pod's process so far; times are seconds since 1970.

    ``due_s`` is when the stage ends of itself: the next start while waiting, the last moment before SIGTERM in preStop,
    the last before SIGKILL when terminating. ``is_started`` says that the startup probe has succeeded.
    """

    stage: Stage
    due_s: float | None
    started_at_s: float | None = None
    tallies: Mapping[Kind, Tally] = field(default_factory=dict)
    is_started: bool = False
    is_ready: bool = False
    restarts: int = 0
    exit_code: int | None = None


Step: TypeAlias = tuple[Life, tuple[Order, ...]]


def born(at_s: float) -> Life:
    """A pod that was just bound to the node: its process starts at once."""
    return Life(stage=Stage.WAITING, due_s=at_s)


def passed(workload: Workload, life: Life, at_s: float) -> Step:
    """What ``at_s`` brings."""
    is_due = life.due_s is not None and at_s >= life.due_s
    match life.stage:
        case Stage.WAITING if is_due:
            return _running(workload, life, at_s), (Act.START,)
        case Stage.RUNNING:
            return _asked(life, at_s)
        case Stage.IN_PRE_STOP if is_due:
            return replace(life, stage=Stage.TERMINATING, due_s=at_s + EXTENSION_S), (Act.TERMINATE,)
        case Stage.TERMINATING if is_due:
            return replace(life, due_s=None), (Act.KILL,)
        case _:
            return life, ()


def answered(workload: Workload, life: Life, kind: Kind, at_s: float, *, is_good: bool) -> Step:
    """What a probe's answer brings; one that comes after the process was told to go brings nothing."""
    if life.stage is not Stage.RUNNING or kind not in life.tallies:
        return life, ()
    probe, tally = workload.probes[kind], life.tallies[kind]
    tally = Tally(
        due_s=at_s + probe.period_s,
        successes=tally.successes + 1 if is_good else 0,
        failures=0 if is_good else tally.failures + 1,
    )
    life = replace(life, tallies={**life.tallies, kind: tally})
    if tally.successes >= probe.successes_needed:
        return _succeeded(workload, life, kind, at_s), ()
    if tally.failures >= probe.failures_allowed:
        return _failed(life, kind)
    return life, ()


def ended(life: Life, exit_code: int, at_s: float) -> Step:
    """The process has ended: the pod goes if it was asked to, else the process starts again after a while."""
    life = replace(life, exit_code=exit_code, is_started=False, is_ready=False, tallies={})
    if life.stage in {Stage.IN_PRE_STOP, Stage.TERMINATING}:
        return replace(life, stage=Stage.ENDED, due_s=None), (Act.DELETE,)
    wait_s = min(BACK_OFF_FIRST_S * 2.0**life.restarts, BACK_OFF_MOST_S)
    return replace(life, stage=Stage.WAITING, due_s=at_s + wait_s, restarts=life.restarts + 1), ()


def asked_to_go(workload: Workload, life: Life, grace_s: float, at_s: float) -> Step:
    """The pod is being deleted, with ``grace_s`` for preStop and the process' own end together."""
    match life.stage:
        case Stage.WAITING:
            return replace(life, stage=Stage.ENDED, due_s=None), (Act.DELETE,)
        case Stage.RUNNING if workload.pre_stop is not None:
            return replace(life, stage=Stage.IN_PRE_STOP, due_s=at_s + grace_s), (Act.PRE_STOP,)
        case Stage.RUNNING:
            return replace(life, stage=Stage.TERMINATING, due_s=at_s + grace_s), (Act.TERMINATE,)
        case _:
            return life, ()


def pre_stop_ended(life: Life) -> Step:
    """The hook is done, well or not; what it left of the grace period is the process'."""
    if life.stage is not Stage.IN_PRE_STOP:
        return life, ()
    return replace(life, stage=Stage.TERMINATING), (Act.TERMINATE,)


def _running(workload: Workload, life: Life, at_s: float) -> Life:
    has_startup = Kind.STARTUP in workload.probes
    first = (Kind.STARTUP,) if has_startup else _after_start(workload)
    return replace(
        life,
        stage=Stage.RUNNING,
        due_s=None,
        started_at_s=at_s,
        tallies={kind: _fresh(workload.probes[kind], at_s) for kind in first},
        is_started=not has_startup,
        is_ready=not has_startup and Kind.READINESS not in workload.probes,
    )


def _after_start(workload: Workload) -> tuple[Kind, ...]:
    return tuple(kind for kind in (Kind.READINESS, Kind.LIVENESS) if kind in workload.probes)


def _fresh(probe: Probe, started_at_s: float) -> Tally:
    return Tally(due_s=started_at_s + probe.initial_delay_s)


def _asked(life: Life, at_s: float) -> Step:
    """The probes that are due, each awaited from now on."""
    due = [kind for kind, tally in life.tallies.items() if tally.due_s is not None and at_s >= tally.due_s]
    awaited = {kind: replace(life.tallies[kind], due_s=None) for kind in due}
    return replace(life, tallies={**life.tallies, **awaited}), tuple(Ask(kind) for kind in due)


def _succeeded(workload: Workload, life: Life, kind: Kind, at_s: float) -> Life:
    if kind is Kind.READINESS:
        return replace(life, is_ready=True)
    if kind is Kind.LIVENESS:
        return life
    # The startup probe is not asked again, and the others begin.
    begun = life.started_at_s if life.started_at_s is not None else at_s
    tallies = {each: _fresh(workload.probes[each], begun) for each in _after_start(workload)}
    return replace(life, is_started=True, is_ready=Kind.READINESS not in workload.probes, tallies=tallies)


def _failed(life: Life, kind: Kind) -> Step:
    """A failed readiness probe takes the pod out of service; the others end the process, which then starts again."""
    if kind is Kind.READINESS:
        return replace(life, is_ready=False), ()
    return replace(life, is_ready=False, tallies={}), (Act.KILL,)
