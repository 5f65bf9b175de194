"""What was decided on every policy, for whoever shows it or answers from it. It decides nothing.

The board is the loop's: the whole last decision, in the process that leads. Standings are what the policies' statuses
say of it, and the same in every process that reads them.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from scaler.core.model import Actuation, Missing, TargetKey
from scaler.core.plan import Plan
from scaler.runtime.ports import Record


@dataclass(slots=True)
class Board:
    """Holds the last record of each policy; one writer (the loop), any number of readers of the same thread."""

    _latest: dict[str, Record] = field(default_factory=dict)

    def post(self, records: Iterable[Record]) -> None:
        """Put ``records`` up in place of the former ones of their policies."""
        for record in records:
            self._latest[record.policy.name] = record

    def keep_only(self, names: Iterable[str]) -> None:
        """Take down what is not of ``names``: those policies are gone."""
        wanted = frozenset(names)
        self._latest = {name: record for name, record in self._latest.items() if name in wanted}

    def latest(self, name: str) -> Record | None:
        """The last record of policy ``name``, None before its first decision."""
        return self._latest.get(name)

    def plans(self) -> Iterator[Plan]:
        """The last plan of every policy, by name."""
        return (self._latest[name].plan for name in sorted(self._latest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The heartbeat as a process read it: ``of_s`` is the leader's time, ``at_s`` ours, on the steady clock."""

    of_s: float
    at_s: float


def fresh_as_of(heard: Heard | None, now_s: float, within_s: float) -> float | Missing:
    """As of when all plans are fresh, on the leader's clock; Missing where that was longer than ``within_s`` ago.

    Only steady time is counted, so ``now_s`` is the steady clock's.
    """
    if heard is None:
        return Missing(why="no heartbeat of a leader was read yet")
    age_s = now_s - heard.at_s
    if age_s > within_s:
        return Missing(why=f"the last heartbeat of a leader was {age_s:.0f} s ago, the limit is {within_s:.0f} s")
    return heard.of_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """Since when a policy's signals have been missing, on the clock of whoever decides, and why."""

    since_s: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one policy's spec and status say of its replica counts.

    ``desired`` names every target of the spec, with None for one that was not decided on yet. ``stale_after_s`` is how
    long signals may be missing before the counts no longer count as known.
    """

    actuation: Actuation
    desired: Mapping[TargetKey, int | None]
    stale_after_s: float
    lacking: Lacking | None = None


@dataclass(slots=True)
class Standings:
    """The standing of each policy, Missing of one whose spec is not sound; readers are of the writer's thread."""

    _by_name: dict[str, Standing | Missing] = field(default_factory=dict)
    _bells: dict[str, set[asyncio.Event]] = field(default_factory=dict)

    def put(self, name: str, standing: Standing | Missing | None) -> None:
        """This is how policy ``name`` stands, from now on; None: there is no such policy."""
        if standing == self._by_name.get(name):
            return
        if standing is None:
            del self._by_name[name]
        else:
            self._by_name[name] = standing
        for bell in self._bells.get(name, ()):
            bell.set()

    def get(self, name: str) -> Standing | Missing | None:
        """How policy ``name`` stands, None where there is no such policy."""
        return self._by_name.get(name)

    @contextmanager
    def listening(self, name: str) -> Iterator[asyncio.Event]:
        """An event that is set, for the length of a ``with``, whenever policy ``name`` stands otherwise."""
        bell = asyncio.Event()
        self._bells.setdefault(name, set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[name].discard(bell)
            if not self._bells[name]:
                del self._bells[name]
