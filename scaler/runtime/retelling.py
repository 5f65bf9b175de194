"""Decisions of the past: which one was in force at a time, and whether deciding again gives the same."""

from collections.abc import Iterable
from dataclasses import fields

from scaler.core.decide import decide_again
from scaler.core.plan import Plan
from scaler.runtime.ports import Record


def in_force(records: Iterable[Record], at_s: float | None) -> Record | None:
    """The last of ``records`` that was decided at or before ``at_s`` (None: the last of all), None if there is none."""
    latest: Record | None = None
    for record in records:
        if at_s is not None and record.plan.at_s > at_s:
            break
        latest = record
    return latest


def decided_again(record: Record) -> Plan:
    """The plan that the record's own arguments lead to now, with the same portions of GPUs that were short."""
    plan = record.plan
    return decide_again(record.policy, record.observation, record.memory, plan.portions, plan.at_s)


def differences(record: Record) -> tuple[str, ...]:
    """The parts of the plan that come out otherwise when it is decided again; empty when all agree."""
    again = decided_again(record)
    return tuple(part.name for part in fields(Plan) if getattr(again, part.name) != getattr(record.plan, part.name))
