"""What was decided: counts with the rulings that made them, weights, commands, conditions and the next memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scaler.core.memory import Memory
from scaler.core.model import Missing, TargetKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One step of a decision.

    ``rule`` is a stable name, fit for a metric's label; ``because`` is for people; ``facts`` are the numbers it rests
    on, with their units in their names.
    """

    rule: str
    before: int
    after: int
    because: str
    facts: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """What one target should have, as the trail of rulings that led there; the last one's ``after`` is the answer."""

    key: TargetKey
    trail: tuple[Ruling, ...]

    @property
    def replicas(self) -> int:
        """The count that this target should have."""
        return self.trail[-1].after


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of the status; ``status`` None says that it cannot be told (Unknown)."""

    type: str
    status: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas:
    """Target ``key`` has ``replicas``. Absolute: to say it twice changes nothing."""

    key: TargetKey
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeights:
    """The route sends each version this percentage, all of them at once; they sum to 100."""

    weights: Mapping[str, int]


Command = SetReplicas | SetWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTime:
    """How long a start is believed to take: quantiles in seconds, and the measured starts they rest on."""

    p50_s: float
    p90_s: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorAdvice:
    """A warm floor for a role whose demand rises faster than replicas can start.

    ``late_share`` of the first tokens of the last day were late; with ``floor`` replicas kept ready they would have
    been in time. They cost ``idle_replicas`` more than the work itself, all the time. ``growth`` is what demand exceeds
    within one look-ahead in one of a hundred moments.
    """

    role: str
    floor: int
    late_share: float
    idle_replicas: float
    growth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What one target gets of GPUs that are short, in replicas.

    Of the ``want`` ``granted`` have or find their GPUs now, ``has`` have them already, and ``ceiling`` is what may be
    asked for, some of which has to wait. ``keeps`` is what no other model has a better claim to, and ``floor`` is never
    taken. ``fits`` more would find GPUs that are free. ``because`` says whose the GPUs are.
    """

    key: TargetKey
    want: int
    granted: int
    has: int
    floor: int
    keeps: int
    ceiling: int
    fits: int
    because: str
    facts: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer of one tick for one policy.

    ``targets`` are in the policy's order, ``release`` is the ruling on the candidate's weight (None without a route to
    move), ``commands`` are ordered grow, shift, shrink and are empty where nothing differs. ``advice`` is for roles
    that need a warm floor; ``tokens_per_s`` is what one replica of a target carries, as far as it was learned.
    ``portions`` are of targets whose GPUs are short. They were settled among all policies, so whoever decides again on
    this one alone takes them as given.
    """

    policy: str
    at_s: float
    targets: tuple[TargetPlan, ...]
    release: Ruling | None
    weights: Mapping[str, int] | Missing
    conditions: tuple[Condition, ...]
    commands: tuple[Command, ...]
    load_times: Mapping[str, LoadTime]
    memory: Memory
    advice: tuple[FloorAdvice, ...] = ()
    tokens_per_s: Mapping[str, float] = field(default_factory=dict)
    portions: tuple[Portion, ...] = ()

    def target(self, key: TargetKey) -> TargetPlan | None:
        """The plan for target ``key``, None where nothing could be planned for it."""
        for target in self.targets:
            if target.key == key:
                return target
        return None
