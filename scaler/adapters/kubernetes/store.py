"""What an informer knows: one projected value for each object, readable at any time without waiting."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

Key: TypeAlias = tuple[str, str]
"""Namespace and name; the namespace is empty for what is in none."""


@dataclass(slots=True)
class Store(Generic[T]):
    """Written by informers only. ``revision`` grows whenever something in it differs from before.

    ``changed`` is called with each value that differs, None for an object that is gone.
    """

    revision: int = 0
    changed: Callable[[Key, T | None], None] | None = None
    _values: dict[Key, T] = field(default_factory=dict)

    def get(self, namespace: str, name: str) -> T | None:
        """The value of one object, None where there is no such object."""
        return self._values.get((namespace, name))

    def values(self) -> Iterable[T]:
        """The values of all objects, in no order."""
        return self._values.values()

    def items(self) -> Iterable[tuple[Key, T]]:
        """The values of all objects by their keys, in no order."""
        return self._values.items()

    def put(self, key: Key, value: T) -> None:
        """There is such an object, and this is its value."""
        if self._values.get(key) != value:
            self._values[key] = value
            self._tell(key, value)

    def drop(self, key: Key) -> None:
        """There is no such object any more."""
        if self._values.pop(key, None) is not None:
            self._tell(key, None)

    def settle(self, namespace: str, listed: Mapping[Key, T]) -> None:
        """``listed`` is all there is in ``namespace`` (empty: everywhere); what is not in it is gone."""
        gone = [key for key in self._values if namespace in {"", key[0]} and key not in listed]
        for key in gone:
            self.drop(key)
        for key, value in listed.items():
            self.put(key, value)

    def _tell(self, key: Key, value: T | None) -> None:
        self.revision += 1
        if self.changed is not None:
            self.changed(key, value)
