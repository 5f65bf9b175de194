"""From a policy as it is stored to how it stands: the counts that whoever decides wrote last. Pure."""

from typing import Final

from scaler.adapters.kubernetes.policies import PolicyObject
from scaler.adapters.kubernetes.times import seconds
from scaler.api.status import ConditionStatus, Status
from scaler.core.conditions import NOBODY_IS_READY
from scaler.core.model import Missing, TargetKey
from scaler.runtime.board import Lacking, Standing

NO_STATUS: Final = Status()


def standing_of(policy: PolicyObject) -> Standing | Missing:
    """How ``policy`` stands, Missing where its spec is not sound."""
    if policy.document is None:
        return Missing(why=policy.faults)
    spec, status = policy.document.spec, policy.status or NO_STATUS
    decided = {TargetKey(version=each.name, role=each.role.value): each.desired for each in status.versions}
    keys = [
        TargetKey(version=version.name, role=target.role.value)
        for version in spec.versions
        for target in version.targets
    ]
    return Standing(
        actuation=spec.actuation,
        desired={key: decided.get(key) for key in keys},
        stale_after_s=float(spec.signals.stale_seconds),
        lacking=_lacking(status),
    )


def _lacking(status: Status) -> Lacking | None:
    """Since when signals are missing. That nobody is ready to give any is no fault: a model takes minutes to load."""
    for condition in status.conditions:
        if condition.type == "SignalsHealthy":
            is_lacking = condition.status is ConditionStatus.FALSE and condition.reason != NOBODY_IS_READY
            return (
                Lacking(since_s=_since_s(condition.last_transition_time), why=condition.message) if is_lacking else None
            )
    return None


def _since_s(text: str) -> float:
    """The time of a transition; one that cannot be read was long ago."""
    try:
        return seconds(text) or 0.0
    except ValueError:
        return 0.0
