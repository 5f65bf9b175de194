"""What outlives a tick: all that the next decision may know of the ones before it."""

from dataclasses import dataclass
from typing import Final

from scaler.core.model import TargetKey, Tokens

DAY_S: Final = 86400.0
"""What was counted fades over a day: a service's hours differ, and its days are alike."""

GAP_S: Final = 120.0
"""A tick this long after the last one found the world unwatched: eight ticks of 15 s, two lost scrapes of a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSample:
    """How long one replica took from created to ready, in all and by phase (None where the mark was missing)."""

    key: TargetKey
    node_class: str | None
    total_s: float
    waiting_s: float | None = None
    pulling_s: float | None = None
    initialising_s: float | None = None
    loading_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wished:
    """A count that was wanted and when; kept only while it may still bind a later decision."""

    at_s: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Replicas of a target found no node, or were refused; see `limits.probe`, which reads and writes it.

    It ``began_s``, and ``wait_s`` must have passed since then before room is tried again, with ``step`` replicas.
    ``probed`` is the count that the try under way asks for, None without one; ``is_over`` says that nothing is stuck.
    """

    began_s: float
    wait_s: float
    step: int = 1
    probed: int | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMemory:
    """The ``gpus`` of a pool that is short, since when there are so many, and the replicas that may wait for more."""

    gpus: float
    since_s: float
    tried: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMemory:
    """What the next tick must know of one target.

    ``wished`` are the wishes of late, ``steady`` what a shrink would have had to leave. ``known_from_s`` is since when
    its demand has been known without a gap, None while it is not. ``asked`` is the count that was decided and is not
    carried out yet, None where it is: KEDA takes up to a minute. ``direction`` is the last change's (+1, -1, 0 for
    none yet). ``turns_left`` is what was left of the flap budget at ``turns_at_s``, None before the first tick.
    ``shared_from_s`` is since when its GPUs have been short without a break, None while they are not, and ``kept`` is
    what it could keep of them since then; see `share`.
    """

    key: TargetKey
    known_from_s: float | None = None
    wished: tuple[Wished, ...] = ()
    steady: tuple[Wished, ...] = ()
    asked: int | None = None
    grown_at_s: float | None = None
    shrunk_at_s: float | None = None
    direction: int = 0
    turns_left: float | None = None
    turns_at_s: float | None = None
    shortage: Shortage | None = None
    shared_from_s: float | None = None
    kept: tuple[Wished, ...] = ()
    pool: PoolMemory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityMemory:
    """What was learned of one target's replicas on one kind of node; see `capacity`, which reads and writes it.

    ``moments`` are the weighted sums of its lines (ten of squares, four of values), ``lines`` their weight, ``scale``
    how much slower than they say replicas are of late. ``at_s`` is the newest sample in it. ``slowness`` is how many
    times as long as is believed now the last ones took, None before the first since the start.
    """

    key: TargetKey
    node_class: str | None
    at_s: float | None = None
    moments: tuple[float, ...] = (0.0,) * 14
    lines: float = 0.0
    scale: float = 1.0
    sequences_most: float = 256.0
    slowness: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The demand of one role at a tick, in tokens a second that arrive, and what it was told from (see `arrivals`)."""

    at_s: float
    tokens_per_s: float
    served_per_s: float
    finished_per_s: float
    prefill_per_s: float
    decode_per_s: float
    running: float
    waiting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the demand of one role went: see `forecast`, which reads and writes it.

    ``moments`` reach back one look-ahead, oldest first, and are judged up to ``judged_to_s``. ``growth`` are seconds by
    step of `forecast.GROWTHS`: for how long demand grew so much within a look-ahead. ``trends`` are the same by how
    demand had moved before, in the order of `forecast.TRENDS`, and ``calm_growth`` is the same over a calmer base.
    ``losses`` is what it would have cost to prepare by each of the two, the plain one first, in tokens.
    ``coverage`` is the share of moments whose growth is prepared for, None before the first, ``highest_per_s`` the
    highest demand of a day that fades, ``request`` what one request was like in the last steady minutes.

    ``seen_s`` to ``late`` are of a day that fades, the last two once a whole day has been seen: the replica-seconds of
    work that ``came`` in the time ``seen``, the ``requests`` that had a first token, and those of them that had it
    ``late``, by the number of replicas that would have been in time (see `advice`). ``instants`` are what would have
    been in time at the last ticks.
    """

    role: str
    moments: tuple[Moment, ...] = ()
    judged_to_s: float | None = None
    growth: tuple[float, ...] = ()
    trends: tuple[tuple[float, ...], ...] = ()
    calm_growth: tuple[float, ...] = ()
    losses: tuple[float, float] = (0.0, 0.0)
    coverage: float | None = None
    highest_per_s: float = 0.0
    request: Tokens | None = None
    seen_s: float = 0.0
    came_s: float = 0.0
    requests: float = 0.0
    late: tuple[tuple[int, float], ...] = ()
    instants: tuple[Wished, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseMemory:
    """Where a release stands: who serves until it is done, who should, and since when at what weight."""

    stable: str
    candidate: str
    weight_percent: int
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All of one policy that outlives a tick.

    ``counted`` names the replicas, still there, whose load time is in ``load_samples`` already. ``idle_from_s`` is
    since when it has been known without a gap that nothing comes, None while something does or nobody can tell.
    """

    at_s: float
    targets: tuple[TargetMemory, ...] = ()
    load_samples: tuple[LoadSample, ...] = ()
    counted: tuple[str, ...] = ()
    release: ReleaseMemory | None = None
    capacities: tuple[CapacityMemory, ...] = ()
    courses: tuple[Course, ...] = ()
    idle_from_s: float | None = None

    def course(self, role: str) -> Course:
        """How the demand of ``role`` went; of one never seen, nothing is known."""
        for course in self.courses:
            if course.role == role:
                return course
        return Course(role=role)

    def target(self, key: TargetKey) -> TargetMemory:
        """What is remembered of target ``key``; of one never seen, nothing."""
        for target in self.targets:
            if target.key == key:
                return target
        return TargetMemory(key=key)
