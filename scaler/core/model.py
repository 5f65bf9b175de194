"""The nouns that every stage of a decision speaks of.

All are frozen values. Times are seconds since the epoch of whoever drives the core, durations are seconds, and
whatever is not known is a `Missing` with its reason. There is no zero that means "unknown" and no NaN here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A value that is not known, and why, in words that fit after "because"."""

    why: str


WHOLE_PERCENT: Final = 100
"""All of the traffic."""

NO_PICKER: Final = Missing(why="the policy names no endpoint picker")
"""Nobody holds requests back before the engines: of all that is missing, this alone takes nothing from the demand."""


class Role(Enum):
    """The part of serving that a target's replicas do."""

    SERVE = "Serve"
    PREFILL = "Prefill"
    DECODE = "Decode"


class Actuation(Enum):
    """Who writes the replica count: we, KEDA at our word, or nobody."""

    SCALE = "Scale"
    KEDA = "KEDA"
    ADVISE = "Advise"


class Phase(Enum):
    """Where a replica is in its life, read from its timestamps."""

    WAITING = "waiting for a node"
    PULLING = "pulling"
    INITIALISING = "initialising"
    LOADING = "loading"
    READY = "ready"
    ASLEEP = "asleep"  # ready as far as its probes know, but its engine has been put to sleep and serves nothing
    LOST = "lost"  # was ready, is not now, and nobody asked it to go
    DRAINING = "draining"


STARTING: Final = frozenset({Phase.WAITING, Phase.PULLING, Phase.INITIALISING, Phase.LOADING})
"""The phases before a replica is ready for the first time, in which it is on its way."""


# --- What was seen -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the engine of one replica did in the minute before its sample, by the second.

    ``prefill_tokens_per_s`` are the prompt tokens that it computed, without those found in its prefix cache.
    ``inter_token_latency_s`` is the mean time between the tokens of one request, over all tokens of that minute; None
    where there was none. ``prefilling`` are the requests whose prompts it was computing, on average, None where the
    engine does not time that; ``refused_per_s`` are those that it turned away because its queue was full.
    """

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    finished_per_s: float
    inter_token_latency_s: float | None
    prefilling: float | None = None
    refused_per_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the engine of one replica said of its work at ``at_s``, the time of the sample, not of the query.

    ``running`` and ``waiting`` are requests, ``kv_usage`` is the used share (0 to 1) of the KV cache. ``running`` and
    ``kv_usage`` are means over the minute before ``at_s``, since a point in time swings by half; ``waiting`` is the
    last sample. ``work`` is Missing for a replica that was scraped only once, and for engines that count no tokens.
    """

    at_s: float
    running: float
    waiting: float
    kv_usage: float
    work: Work | Missing = Missing(why="its engine counts no tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One replica (a pod, or a group that serves as one) with the times of what has happened to it so far.

    A mark that has not been reached, or that the platform does not report, is None; its phase then counts into the
    next one that is marked. ``unready_since_s`` is when it stopped being ready. ``node_class`` names the kind of node
    (GPU product), None before there is one. ``is_asleep`` is what its engine says, beside what its probes do.
    """

    name: str
    created_at_s: float
    scheduled_at_s: float | None = None
    pulled_at_s: float | None = None
    initialised_at_s: float | None = None
    ready_at_s: float | None = None
    is_ready: bool = False
    is_asleep: bool = False
    unready_since_s: float | None = None
    deleted_at_s: float | None = None
    unschedulable_since_s: float | None = None
    node_class: str | None = None
    restarts: int = 0
    load: Load | Missing = Missing(why="nothing was read from it yet")

    @property
    def phase(self) -> Phase:
        """The phase that the marks say it is in."""
        if self.deleted_at_s is not None:
            return Phase.DRAINING
        if self.is_ready:
            return Phase.ASLEEP if self.is_asleep else Phase.READY
        if self.ready_at_s is not None:
            return Phase.LOST
        if self.initialised_at_s is not None:
            return Phase.LOADING
        if self.pulled_at_s is not None:
            return Phase.INITIALISING
        return Phase.WAITING if self.scheduled_at_s is None else Phase.PULLING


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """So many replicas are asked for that the platform does not even create (a quota, an admission), in its words."""

    replicas: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The replicas of one target, and the count that the target is asked to have (its ``/scale`` spec)."""

    requested: int
    replicas: tuple[Replica, ...]
    gpus_per_replica: int = 0
    refused: Refused | None = None

    def ready(self) -> tuple[Replica, ...]:
        """The replicas that may be sent requests now."""
        return tuple(replica for replica in self.replicas if replica.phase is Phase.READY)

    def asleep(self) -> tuple[Replica, ...]:
        """The replicas that would be ready if their engines were awake; they are no supply, and nobody misses them."""
        return tuple(replica for replica in self.replicas if replica.phase is Phase.ASLEEP)

    def starting(self) -> tuple[Replica, ...]:
        """The replicas that have not been ready yet and are to be."""
        return tuple(replica for replica in self.replicas if replica.phase in STARTING)

    def placed(self) -> tuple[Replica, ...]:
        """The replicas that have a node, and with it their GPUs, and that nobody has asked to go."""
        return tuple(
            replica
            for replica in self.replicas
            if replica.deleted_at_s is None and (replica.scheduled_at_s is not None or replica.ready_at_s is not None)
        )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TargetKey:
    """Names one target of a policy: a version and the role that the target plays in it."""

    version: str
    role: str  # a Role's value: an Enum has no order, and keys are sorted

    def __str__(self) -> str:
        return self.version if self.role == Role.SERVE.value else f"{self.version}/{self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSeen:
    """What was seen of one target."""

    key: TargetKey
    fleet: Fleet | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTokens:
    """The requests by the second that had their first token of late, and those of them that had it too late."""

    per_s: float
    late_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that one tick saw of one policy's model.

    ``weights`` is the percentage of traffic that the route sends to each version, ``gateway_waiting`` the requests
    that the endpoint picker holds back (`NO_PICKER` where there is none), ``ttft_s`` the time to first token at the
    objective's percentile, ``first_tokens`` how many came and were later than it. ``gateway_refused_per_s`` are the
    requests by the second that the picker turned away, or that left its queue without an answer. ``own_replicas``
    is the work in hand in replicas, where the policy's own queries tell it (the engine Custom); then the replicas'
    loads say nothing, and it counts for every role. ``demand_at_gateway`` is above 0 while requests come, by a
    query that needs no replica; None where the policy has none.
    """

    fleets: tuple[FleetSeen, ...]
    weights: Mapping[str, int] | Missing = Missing(why="the policy names no route")
    gateway_waiting: float | Missing = NO_PICKER
    ttft_s: float | Missing = Missing(why="no request has finished its first token yet")
    first_tokens: FirstTokens | Missing = Missing(why="no request has finished its first token yet")
    gateway_refused_per_s: float = 0.0
    own_replicas: float | Missing | None = None
    demand_at_gateway: float | Missing | None = None

    def fleet(self, key: TargetKey) -> Fleet | Missing:
        """What was seen of target ``key``."""
        for seen in self.fleets:
            if seen.key == key:
                return seen.fleet
        return Missing(why=f"target {key} was not looked at")

    def shows_all_of(self, policy: "Policy") -> bool:
        """Whether the replicas of every target of ``policy`` were seen."""
        return all(isinstance(self.fleet(target.key), Fleet) for target in policy.targets())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The GPUs of one product (the class of their nodes) on all nodes that take pods.

    ``free_gpus`` of the ``allocatable_gpus`` are held by no pod, whoever's it is.
    """

    product: str
    allocatable_gpus: int
    free_gpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The GPUs that one namespace may ask for, and how many of them no pod has asked for yet."""

    namespace: str
    hard_gpus: int
    left_gpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """The GPUs that there are, by product, and those that namespaces with a quota may have."""

    products: tuple[Pool, ...] | Missing = Missing(why="nobody has counted the GPUs of the nodes")
    quotas: tuple[Quota, ...] | Missing = Missing(why="nobody has read the quotas")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that one tick may look at: the models by policy name (``namespace/name``), and the GPUs, as of ``at_s``."""

    at_s: float
    models: Mapping[str, Observation]
    pools: Pools = Pools()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A flow of requests by the second: prompt tokens to compute, tokens to decode, requests.

    ``cache_share`` is the part of one replica's KV cache that a running request holds, on average.
    """

    prefill_per_s: float
    decode_per_s: float
    requests_per_s: float
    cache_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The work that one role of a model has before it, summed over its ready replicas.

    ``at_s`` is the oldest sample in it. ``kv_replicas`` is the KV cache in use, in caches of one replica: three
    replicas at 0.5 make 1.5. ``waiting`` counts the gateway's queue too, and ``refused_per_s`` the requests that the
    gateway or an engine turned away. ``tokens`` is what was served of it in the last minute, Missing where the engines
    count no tokens.
    """

    at_s: float
    running: float
    waiting: float
    kv_replicas: float
    tokens: Tokens | Missing = Missing(why="the engines count no tokens")
    refused_per_s: float = 0.0


# --- What the user asked for -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A scalable object that runs one role of a version, with bounds that narrow the policy's own for it alone."""

    key: TargetKey
    min_replicas: int = 0
    max_replicas: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of the model, as the targets that serve it together."""

    name: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmWindow:
    """A warm floor that holds from ``from_s`` until just before ``until_s`` (a schedule, already in absolute time)."""

    from_s: float
    until_s: float
    floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStep:
    """A share of traffic, and how long it is held before the next step is looked at."""

    weight_percent: int
    hold_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Which version should serve, and the steps by which traffic goes there."""

    version: str
    steps: tuple[ReleaseStep, ...]
    has_analysis: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What the user expects of a start: ``expected_s`` until measured, and ``budget_s`` after which it has failed.

    ``learns_budget`` says that the latter, too, is until measured.
    """

    expected_s: float
    budget_s: float
    learns_budget: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """How fast the target may move. ``hold_s`` None follows the learned load time; ``grow_step`` None is no limit."""

    hold_s: float | None
    shrink_step_percent: int
    shrink_period_s: float
    grow_step: int | None
    grow_period_s: float
    flaps_per_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A latency limit that ``percentile`` per cent of the requests should keep."""

    percentile: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleToZero:
    """The last replica may go once nothing has come for ``idle_s``, as far as every signal tells."""

    idle_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One ScalingPolicy, parsed and complete: no defaults are left to fill in.

    ``name`` is ``namespace/name``. ``stale_after_s`` is the age at which a sample no longer counts. Where GPUs are
    short, the higher ``priority`` is served first, above everybody's floor.
    ``scale_to_zero`` None means that nobody has asked for zero, and the last replica stays.
    """

    name: str
    versions: tuple[Version, ...]
    min_replicas: int
    max_replicas: int
    warm_floor: int
    warm_windows: tuple[WarmWindow, ...]
    loading: Loading
    behavior: Behavior
    stale_after_s: float
    release: Release | None = None
    time_to_first_token: Objective | None = None
    inter_token_latency: Objective | None = None
    actuation: Actuation = Actuation.SCALE
    paused: bool = False
    scale_to_zero: ScaleToZero | None = None
    priority: int = 0

    @property
    def namespace(self) -> str:
        """Where it is, and its targets."""
        return self.name.partition("/")[0]

    def targets(self) -> tuple[Target, ...]:
        """All targets, version by version."""
        return tuple(target for version in self.versions for target in version.targets)
