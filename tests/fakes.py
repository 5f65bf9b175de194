"""Fakes that behave: a clock that jumps, and a world that answers, fails and takes commands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scaler.core.memory import Memory
from scaler.core.model import Observation, Policy, Snapshot
from scaler.core.plan import Command
from scaler.runtime.ports import Record, Seen, TransientError
from tests.builders import NAME, fleet, policy, seen, serving


@dataclass
class JumpingClock:
    """Time passes only when someone waits for it, or when a test moves it."""

    at_s: float = 0.0

    def now_s(self) -> float:
        return self.at_s

    async def wait_until(self, at_s: float) -> None:
        self.at_s = max(self.at_s, at_s)


def quiet(at_s: float) -> Observation:
    return seen(fleet(*serving(2, running=10.0, at_s=at_s)))


@dataclass
class World:
    """Shows ``shows(at_s)`` for every policy, fails at the times in ``fails_at_s``, and remembers what happened.

    What was ``restored`` is told with the first observation only, as the real one does.
    """

    shows: Callable[[float], Observation] = quiet
    policies: tuple[Policy, ...] = field(default_factory=lambda: (policy(),))
    fails_at_s: frozenset[float] = frozenset()
    refuses: frozenset[str] = frozenset()
    journal_fails_at_s: frozenset[float] = frozenset()
    on_observe: Callable[[float], None] = lambda _: None
    restored: Mapping[str, Memory] = field(default_factory=dict)
    happened: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    commands: list[tuple[str, Command]] = field(default_factory=list)

    async def observe(self, at_s: float) -> Seen:
        self.happened.append(f"observe {at_s:g}")
        self.on_observe(at_s)
        if at_s in self.fails_at_s:
            raise TransientError("the API server does not answer")
        snapshot = Snapshot(at_s=at_s, models={each.name: self.shows(at_s) for each in self.policies})
        restored, self.restored = self.restored, {}
        return Seen(snapshot=snapshot, policies=self.policies, restored=restored)

    async def act(self, policy: Policy, commands: Sequence[Command]) -> None:
        self.happened.append(f"act {policy.name}")
        if policy.name in self.refuses:
            raise TransientError("the API server refuses")
        self.commands.extend((policy.name, command) for command in commands)

    def record(self, records: Sequence[Record]) -> None:
        if records and records[0].plan.at_s in self.journal_fails_at_s:
            raise TransientError("the disk is full")
        self.happened.extend(f"record {record.policy.name}" for record in records)
        self.records.extend(records)


OTHER = NAME.replace("llama", "qwen")
