"""The latest decision on every policy, for whoever shows it or answers from it. It decides nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from scaler.core.model import Plan
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
