"""The status of a ScalingPolicy: what the controller last saw, learned and decided, as small as it can be.

It is written by the controller alone. Unlike the spec it may hold unknown fields: a controller that was rolled back
reads what a newer one wrote. Everything is optional but the keys of its lists.
"""

from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from scaler.api.fields import ATOMIC, DnsLabel, keyed_by
from scaler.core.model import Role

Whole = Annotated[int, Field(ge=0, le=2**31 - 1)]
Measure = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=128)]
Seconds = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Tokens = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Weights = Annotated[str, Field(max_length=640, pattern=r"^[0-9.]+=[0-9.]+(,[0-9.]+=[0-9.]+)*$")]
Sentence = Annotated[str, Field(max_length=1024)]
Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]


class StatusPart(BaseModel):
    """A part of the API that the controller writes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


class ConditionStatus(Enum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StatusCondition(StatusPart):
    """One condition, by the Kubernetes conventions."""

    type: Word
    """Ready, SignalsHealthy, CapacityAvailable, Releasing, Forecastable, ReplicasAlike, OwnershipClear, AtZero or
    KEDAReady."""
    status: ConditionStatus
    """Whether it holds; Unknown where it cannot be told."""
    observed_generation: Whole | None = None
    """The generation of the spec that it was judged on."""
    last_transition_time: Timestamp
    """When its status last changed."""
    reason: Word
    """Why, in one CamelCase word."""
    message: Sentence = ""
    """Why, for people."""


class TargetStatus(StatusPart):
    """One target: what it should have and what it has."""

    name: DnsLabel
    """The version."""
    role: Role = Role.SERVE
    """The role in it."""
    weight_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """The version's share of traffic; absent without a route."""
    desired: Whole
    """The replicas it should have."""
    ready: Whole | None = None
    """The replicas that answer requests."""
    starting: Whole | None = None
    """The replicas on their way there."""
    unschedulable: Whole | None = None
    """Those of them that no node has room for."""


class LearnedLoad(StatusPart):
    """How long a replica takes from created to ready."""

    p50: Measure
    """The median, in seconds."""
    p90: Measure
    """One in ten takes longer, in seconds."""
    samples: Whole
    """The measured starts behind it."""
    until: Timestamp | None = None
    """When the last of them became ready: a restarted controller has counted those up to then."""


class BusyShares(StatusPart):
    """What the replicas' time went to in the minutes that a capacity was learned from; the rest is steps' overhead."""

    decode: Share
    """The share for tokens that were decoded."""
    cache: Share
    """The share for reading the KV cache."""
    prefill: Share
    """The share for tokens that were prefilled."""
    spread: Share
    """By how much the sum of the three varied: its standard deviation."""


class LearnedCapacity(StatusPart):
    """What one replica takes for its work on one kind of node."""

    node_class: Word | None = None
    """The kind of node, by its GPU; absent where nodes do not say."""
    step_seconds: Seconds
    """For a step of the engine, however little there is in it."""
    decode_seconds: Seconds
    """For each token that is decoded in it."""
    cache_seconds: Seconds
    """To read the whole KV cache once; a step reads what is in use."""
    prefill_seconds: Seconds
    """For each prompt token that is computed."""
    sequences: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]
    """The most requests in one step."""
    weight: Annotated[float, Field(gt=0, le=1e4, allow_inf_nan=False)]
    """The minutes of replicas behind it, of which 400 count at most."""
    busy: BusyShares
    """What they were like."""


class LearnedTarget(StatusPart):
    """What was learned of one version and role; a restarted controller starts from it."""

    name: DnsLabel
    """The version."""
    role: Role = Role.SERVE
    """The role in it."""
    load_seconds: LearnedLoad | None = None
    """Its load time."""
    tokens_per_second_per_replica: Measure | None = None
    """What one replica carries at its limit: tokens of prompts and answers, in the mix that was served last."""
    capacity: Annotated[tuple[LearnedCapacity, ...], Field(max_length=8), ATOMIC] = ()
    """What it takes for its work, by kind of node."""


class LearnedRequest(StatusPart):
    """What one request was like, on average over the last steady minutes."""

    prefill_tokens: Tokens
    """Prompt tokens to compute, without those in the prefix cache."""
    decode_tokens: Tokens
    """Tokens to decode."""
    cache_share: Share
    """The share of one replica's KV cache that it holds while it runs."""


class LearnedTrend(StatusPart):
    """How demand went on after it had moved in one way within four minutes."""

    above: Measure
    """Demand over that of four minutes before: above this, up to what the next trend lies above."""
    growth: Weights
    """For how long it then grew by so much within one look-ahead: factors, and the seconds for each."""


class LearnedCalm(StatusPart):
    """How demand went on from a calmer base, between that of the moment and the mean of five minutes."""

    growth: Weights
    """For how long the peak of one look-ahead was so many times that base: factors, and the seconds for each."""
    cost_seconds: Measure
    """What preparing by that would have cost in seconds of the highest demand, missing and idle by coverage."""
    plain_cost_seconds: Measure
    """The same of growth from the demand of the moment. The calm base counts where it costs a tenth less."""


class LearnedDemand(StatusPart):
    """How the demand of one role went over a day that fades; a restarted controller starts from it."""

    role: Role
    """The role."""
    growth: Weights | None = None
    """For how long demand grew by so much within one look-ahead: factors, and the seconds for each."""
    trends: Annotated[tuple[LearnedTrend, ...], Field(max_length=8), ATOMIC] = ()
    """The same, by how it had moved before."""
    calm: LearnedCalm | None = None
    """The same, from a calmer base."""
    coverage: Share | None = None
    """The share of such growth that is prepared for."""
    highest_tokens_per_second: Measure | None = None
    """The highest demand: prompt tokens, and decoded ones at 3.5 each."""
    request: LearnedRequest | None = None
    """What a request is like."""
    seen_seconds: Measure | None = None
    """The time that the work was counted in."""
    work_replica_seconds: Measure | None = None
    """The work that came."""
    requests: Measure | None = None
    """The requests that had a first token; they fade once a whole day has been seen."""
    late_requests: Weights | None = None
    """Those that had it later than the objective, by the number of replicas that would have been in time."""


class ReleaseStatus(StatusPart):
    """Where a release stands; a restarted controller goes on from it."""

    stable: DnsLabel
    """The version that serves until the release is done."""
    candidate: DnsLabel
    """The version that should serve."""
    weight_percent: Annotated[int, Field(ge=0, le=100)]
    """The candidate's share of traffic."""
    since: Timestamp
    """Since when it has that share."""


class RulingStatus(StatusPart):
    """One step of a decision."""

    target: Word
    """The version, with its role where it has two."""
    rule: Word
    """The rule's stable name."""
    before: Whole
    """The replicas before it."""
    after: Whole
    """The replicas after it."""
    because: Sentence
    """Its reason, for people."""


class DecisionStatus(StatusPart):
    """The last decision that changed something, in full."""

    at: Timestamp
    """When it was taken."""
    because: Sentence
    """The ruling that counted, in one sentence."""
    trail: Annotated[tuple[RulingStatus, ...], Field(max_length=64), ATOMIC] = ()
    """All rulings, in order."""


class PastDecision(StatusPart):
    """An earlier decision, in one line."""

    at: Timestamp
    """When it was taken."""
    desired: Whole
    """The replicas it asked for, over all targets."""
    because: Sentence
    """The ruling that counted."""


class Status(StatusPart):
    """What the controller says of a policy."""

    observed_generation: Whole | None = None
    """The generation of the spec that all of this rests on."""
    conditions: Annotated[tuple[StatusCondition, ...], Field(max_length=16), keyed_by("type")] = ()
    """Those of the seven that every policy has; with scaleToZero also AtZero, and with KEDA, KEDAReady."""
    desired: Whole | None = None
    """The replicas there should be, over all targets."""
    actual: Whole | None = None
    """The replicas that answer requests, over all targets."""
    weights: Annotated[str, Field(max_length=640)] | None = None
    """The shares of traffic in one line for kubectl, such as v1=75,v2=25."""
    versions: Annotated[tuple[TargetStatus, ...], Field(max_length=16), keyed_by("name", "role")] = ()
    """Each target of each version."""
    release: ReleaseStatus | None = None
    """The release under way."""
    learned: Annotated[tuple[LearnedTarget, ...], Field(max_length=16), keyed_by("name", "role")] = ()
    """What was learned of each target."""
    demand: Annotated[tuple[LearnedDemand, ...], Field(max_length=3), keyed_by("role")] = ()
    """What was learned of the demand of each role."""
    decision: DecisionStatus | None = None
    """The last decision."""
    history: Annotated[tuple[PastDecision, ...], Field(max_length=10), ATOMIC] = ()
    """The ones before it, the latest first."""
