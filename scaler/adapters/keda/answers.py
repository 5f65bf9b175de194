"""What there is to answer KEDA, or the refusal that says what is wrong and what to do. Pure.

What a trigger says is text of whoever may write a ScaledObject: it is looked up, and told back shortened and escaped.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from grpc import StatusCode

from scaler.adapters.keda.contract import METRIC_NAME, POLICY, ROLE, TARGET_SIZE, VERSION
from scaler.adapters.keda.external_scaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from scaler.core.model import Actuation, Missing, Role, TargetKey
from scaler.runtime.board import Standing, Standings

LONGEST_QUOTE: Final = 64
LONGEST_SENTENCE: Final = 1024
NAMES_TOLD: Final = 8

KEEPS: Final = "until then KEDA keeps what is there"


class Refusal(Exception):  # noqa: N818 - no error of ours: the answer that there is none
    """Why there is no answer: ``code`` for KEDA, the sentence for whoever reads its log."""

    def __init__(self, code: StatusCode, sentence: str) -> None:
        # It travels in a header, of which gRPC takes 8 KiB, with three bytes for each that is not ASCII.
        super().__init__(sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[: LONGEST_SENTENCE - 3]}...")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The target that a trigger means: ``policy`` is ``namespace/name``."""

    policy: str
    key: TargetKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that is answered from.

    ``unfollowed`` says why the standings themselves are not to be relied on, None while they are. ``fresh_as_of`` is as
    of when all plans are fresh, on the clock of whoever decides.
    """

    standings: Standings
    unfollowed: Callable[[], str | None]
    fresh_as_of: Callable[[], float | Missing]

    def desired(self, asked: Asked) -> int:
        """The replicas that were decided on for ``asked``. Raises Refusal."""
        standing = self._standing(asked.policy)
        if asked.key not in standing.desired:
            there = _listed(str(key) for key in standing.desired)
            raise Refusal(
                StatusCode.INVALID_ARGUMENT,
                f"{_quoted(asked.policy)} has no target {_quoted(str(asked.key))}; it has {there}",
            )
        if standing.actuation is not Actuation.KEDA:
            raise Refusal(
                StatusCode.FAILED_PRECONDITION,
                f"{_quoted(asked.policy)} is under actuation {standing.actuation.value}, so KEDA gets no count of it; "
                "set actuation: KEDA in the ScalingPolicy (and start no replica of Forebay with --advise-only), or "
                "delete the ScaledObject",
            )
        self._check_age(asked.policy, standing)
        return _decided(asked, standing)

    def _standing(self, policy: str) -> Standing:
        unfollowed = self.unfollowed()
        if unfollowed is not None:
            raise Refusal(StatusCode.UNAVAILABLE, f"the policies cannot be followed now: {unfollowed}; {KEEPS}")
        standing = self.standings.get(policy)
        if standing is None:
            raise Refusal(
                StatusCode.NOT_FOUND,
                f"there is no ScalingPolicy {_quoted(policy)}; the trigger's `{POLICY}` names one in the namespace of "
                "the ScaledObject, which must be among those that Forebay follows",
            )
        if isinstance(standing, Missing):
            raise Refusal(
                StatusCode.FAILED_PRECONDITION,
                f"the spec of {_quoted(policy)} is not sound, and no count was decided on it: {standing.why}",
            )
        return standing

    def _check_age(self, policy: str, standing: Standing) -> None:
        """Raise Refusal where the last plan of ``policy`` is stale."""
        as_of_s = self.fresh_as_of()
        if isinstance(as_of_s, Missing):
            raise Refusal(
                StatusCode.UNAVAILABLE,
                f"the plans are stale: {as_of_s.why}; see whether a replica of Forebay leads and ticks; {KEEPS}",
            )
        # Both times are the leader's, so that all replicas give the same answer whatever their own clocks say.
        if standing.lacking is not None and as_of_s - standing.lacking.since_s > standing.stale_after_s:
            missing_s = as_of_s - standing.lacking.since_s
            raise Refusal(
                StatusCode.UNAVAILABLE,
                f"the signals of {_quoted(policy)} have been missing for {missing_s:.0f} s, its staleSeconds are "
                f"{standing.stale_after_s:.0f}: {standing.lacking.why}; {KEEPS}",
            )


def _decided(asked: Asked, standing: Standing) -> int:
    desired = standing.desired[asked.key]
    if desired is None:
        raise Refusal(
            StatusCode.UNAVAILABLE,
            f"nothing was decided yet on {_quoted(str(asked.key))} of {_quoted(asked.policy)}; its status says why "
            f"when that stays so; {KEEPS}",
        )
    return desired


def asked_of(ref: ScaledObjectRef) -> Asked:
    """The target that ``ref`` means. Raises Refusal."""
    metadata = ref.scalerMetadata
    if not ref.namespace:
        raise Refusal(StatusCode.INVALID_ARGUMENT, "the ScaledObject has no namespace; KEDA always sends one")
    for required, meaning in ((POLICY, "the name of a ScalingPolicy"), (VERSION, "a version of the policy")):
        if not metadata.get(required):
            raise Refusal(StatusCode.INVALID_ARGUMENT, f"the trigger's metadata must have `{required}`, {meaning}")
    role = metadata.get(ROLE, Role.SERVE.value)
    if role not in {each.value for each in Role}:
        raise Refusal(
            StatusCode.INVALID_ARGUMENT,
            f"the trigger's `{ROLE}` is {_quoted(role)}; it must be one of {_listed(each.value for each in Role)}",
        )
    key = TargetKey(version=metadata[VERSION], role=role)
    return Asked(policy=f"{ref.namespace}/{metadata[POLICY]}", key=key)


def check_metric(name: str) -> None:
    """Raise Refusal where a metric is asked for that we do not have."""
    if name != METRIC_NAME:
        raise Refusal(
            StatusCode.INVALID_ARGUMENT,
            f"there is no metric {_quoted(name)}; the only one is {METRIC_NAME}, as GetMetricSpec says",
        )


def _quoted(text: str) -> str:
    """A stranger's text, short and on one line."""
    return ascii(text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 3]}...")


def _listed(names: Iterable[str]) -> str:
    told = list(names)
    more = f" and {len(told) - NAMES_TOLD} more" if len(told) > NAMES_TOLD else ""
    return ", ".join(told[:NAMES_TOLD]) + more


def specification() -> GetMetricSpecResponse:
    """The one metric we have and its target, whoever asks.

    It is never refused: KEDA only logs an error here, and makes an HPA of it that goes by 80 % of the CPU
    (kedacore/keda#5787). What is wrong is said where the count is asked for.
    """
    # KEDA reads the older number only where the newer one is not above zero, and older ones know only the older.
    spec = MetricSpec(metricName=METRIC_NAME, targetSize=TARGET_SIZE, targetSizeFloat=float(TARGET_SIZE))
    return GetMetricSpecResponse(metricSpecs=[spec])


def value(replicas: int) -> GetMetricsResponse:
    """The one value of the one metric: the HPA would add up several."""
    found = MetricValue(metricName=METRIC_NAME, metricValue=replicas, metricValueFloat=float(replicas))
    return GetMetricsResponse(metricValues=[found])
