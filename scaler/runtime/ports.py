"""What the loop asks of the world, as small Protocols; adapters and the embedded cluster answer them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from scaler.core.memory import Memory
from scaler.core.model import Observation, Policy, Snapshot
from scaler.core.plan import Command, Plan


class TransientError(Exception):
    """The world did not answer this time; the loop skips what needed it and goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look at the world gave: the snapshot, and the policies that are in force.

    ``restored`` is what a process before this one remembered and left in the world, by policy; it is told once.
    """

    snapshot: Snapshot
    policies: tuple[Policy, ...]
    restored: Mapping[str, Memory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One decision on one policy with all that it was taken on; deciding again from it gives the same plan.

    What it was given of GPUs that were short stands in the plan: others had a say in that.
    """

    policy: Policy
    observation: Observation
    memory: Memory
    plan: Plan


class Clock(Protocol):
    """The time, and the only way to wait for it."""

    def now_s(self) -> float:
        """Seconds since the epoch of this clock."""
        ...

    async def wait_until(self, at_s: float) -> None:
        """Return when ``now_s()`` has reached ``at_s``."""
        ...


class Observer(Protocol):
    """Looks at the world."""

    async def observe(self, at_s: float) -> Seen:
        """What there is as of ``at_s``. Raises TransientError when it cannot be told now."""
        ...


class Actuator(Protocol):
    """Carries commands out."""

    async def act(self, policy: Policy, commands: Sequence[Command]) -> None:
        """Carry out ``commands`` in their order, stopping at the first that fails (TransientError)."""
        ...


class Journal(Protocol):
    """Keeps decisions."""

    def record(self, records: Sequence[Record]) -> None:
        """Keep ``records``, in full, before any of their commands is carried out. Raises TransientError."""
        ...


class Outcome(Enum):
    """How a tick ended; the values are labels of a metric."""

    DONE = "done"
    SKIPPED = "skipped"


class Listener(Protocol):
    """Is told of every tick; whatever it makes of it, it decides nothing and fails nobody."""

    async def decided(self, records: Sequence[Record], at_s: float) -> None:
        """These decisions were recorded and carried out, as far as they could be."""
        ...

    def ticked(self, at_s: float, took_s: float, outcome: Outcome) -> None:
        """The tick of ``at_s`` has ended, after ``took_s`` seconds."""
        ...
