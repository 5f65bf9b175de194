"""Informers: a list, then a watch for as long as it holds, for each resource that the ticks read.

An informer never gives up and never hurries: whatever ends a watch, the next attempt waits by chance within a bound
that doubles, and only a watch that held for a minute makes the next attempt quick again. All of it is listed anew
every 10 to 30 minutes, because an event that is lost once would otherwise never be made up for (argo-rollouts#3316).
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Generic, NoReturn, TypeVar

from numpy.random import Generator
from structlog.typing import FilteringBoundLogger

from scaler.adapters.kubernetes.client import NO_QUERY, Client, Json, WatchEvent
from scaler.adapters.kubernetes.errors import GoneError, RefusedError
from scaler.adapters.kubernetes.store import Key, Store
from scaler.runtime.ports import Clock, TransientError

T = TypeVar("T")

WATCH_S: Final = (240, 300)
"""A watch is asked to last so long, by chance within: informers that began together should not renew together."""

REPAIR_S: Final = (600.0, 1500.0)
"""After so long all is listed anew when the watch under way ends, which adds up to 300 s."""

QUIET_S: Final = 150.0
"""A watch without a word for so long is taken for dead: bookmarks come every minute."""

STABLE_S: Final = 60.0
BACKOFF_S: Final = 1.0
BACKOFF_MOST_S: Final = 30.0

UNANSWERED: Final = "no answer has come"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What informers work with; ``clock`` is a steady one, ``quiet_s`` is how long a watch may be silent."""

    client: Client
    clock: Clock
    chance: Generator
    log: FilteringBoundLogger
    quiet_s: float = QUIET_S


@dataclass(slots=True, kw_only=True)
class Informer(Generic[T]):
    """Keeps ``store`` as the API server has the list at ``path``.

    ``project`` makes the few fields that are used of an object, given what was made of it before. ``namespace`` is
    that of ``path``, empty for all. ``lost_since_s`` is since when, on the steady clock, the API server could not be
    followed (None while it can), and ``lost_why`` is the reason; ``version`` is the one it has got to.
    """

    path: str
    store: Store[T]
    project: Callable[[Json, T | None], T]
    means: Means
    namespace: str = ""
    query: Mapping[str, str] = field(default_factory=lambda: NO_QUERY)
    has_synced: bool = False
    lost_since_s: float | None = None
    lost_why: str = UNANSWERED
    version: str | None = None
    _opened_s: float | None = None
    _repair_at_s: float = 0.0
    _failures: int = 0

    def __post_init__(self) -> None:
        self.lost_since_s = self.means.clock.now_s()

    async def run(self) -> NoReturn:
        """Follow the API server until cancelled."""
        while True:
            self._opened_s = None
            try:
                await self._follow()
            except GoneError as error:
                self.version = None
                self._lose(error)
            except (TransientError, RefusedError) as error:
                self._lose(error)
            await self._rest()

    async def _follow(self) -> None:
        if self.version is None or self.means.clock.now_s() >= self._repair_at_s:
            await self._list()
        await self._watch()

    async def _list(self) -> None:
        listed: dict[Key, T] = {}
        version: str | None = None
        async for page in self.means.client.pages(self.path, self.query):
            version = (page.get("metadata") or {}).get("resourceVersion")
            if not version:
                raise TransientError(f"{self.path}: the answer is no list")
            listed |= self._projected(page)
        self.store.settle(self.namespace, listed)
        self.version = version
        self._repair_at_s = self.means.clock.now_s() + self.means.chance.uniform(*REPAIR_S)
        self.has_synced = True
        self.lost_since_s = None

    def _projected(self, page: Json) -> dict[Key, T]:
        objects = [each for each in page.get("items") or () if isinstance(each, dict)]
        found = ((key_of(each), self._made(each)) for each in objects)
        return {key: value for key, value in found if value is not None}

    def _made(self, thing: Json) -> T | None:
        """The projection of an object. Of one that cannot be read it is the last one, and no other is lost by it."""
        key = key_of(thing)
        before = self.store.get(*key)
        try:
            return self.project(thing, before)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            self.means.log.warning("object_unreadable", path=self.path, name="/".join(key), why=repr(error))
            return before

    async def _watch(self) -> None:
        low, high = WATCH_S
        seconds = int(self.means.chance.integers(low, high + 1))
        query = {**self.query, "resourceVersion": self.version or "", "timeoutSeconds": str(seconds)}
        async with aclosing(self.means.client.watch(self.path, query, self.means.quiet_s)) as events:
            async for event in events:
                if event is None:
                    self._opened_s = self.means.clock.now_s()
                    self.lost_since_s = None
                else:
                    self._hear(event)

    def _hear(self, event: WatchEvent) -> None:
        key = key_of(event.object)
        if event.kind in {"ADDED", "MODIFIED"}:
            made = self._made(event.object)
            if made is not None:
                self.store.put(key, made)
        elif event.kind == "DELETED":
            self.store.drop(key)
        self.version = (event.object.get("metadata") or {}).get("resourceVersion") or self.version

    def _lose(self, error: Exception) -> None:
        """Remember that the API server could not be followed; tell of it once each time, not at each attempt."""
        if self.lost_since_s is None or self.lost_why is UNANSWERED:
            self.means.log.info("watch_lost", path=self.path, why=str(error))
        if self.lost_since_s is None:
            self.lost_since_s = self.means.clock.now_s()
        self.lost_why = str(error)

    async def _rest(self) -> None:
        """Wait before the next attempt, by chance within a bound that doubles with each attempt that did not hold."""
        now_s = self.means.clock.now_s()
        if self._opened_s is not None and now_s - self._opened_s >= STABLE_S:
            self._failures = 0
        bound_s = min(BACKOFF_MOST_S, BACKOFF_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        await self.means.clock.wait_until(now_s + self.means.chance.uniform(0.0, bound_s))


def key_of(thing: Json) -> Key:
    """The namespace and name of an object."""
    metadata = thing.get("metadata") or {}
    return metadata.get("namespace") or "", metadata.get("name") or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Generic[T]):
    """One kind of object, in all namespaces or in some, in one store."""

    name: str
    store: Store[T]
    informers: tuple[Informer[T], ...]

    @property
    def has_synced(self) -> bool:
        """Whether all of it was listed once."""
        return all(informer.has_synced for informer in self.informers)

    def lost(self, now_s: float, patience_s: float) -> str | None:
        """Why it cannot be relied on: not listed yet, or not followed for longer than ``patience_s``; None if it can.

        ``now_s`` is the steady clock's.
        """
        for informer in self.informers:
            if not informer.has_synced:
                return f"the {self.name} were not listed yet: {informer.lost_why}"
            if informer.lost_since_s is not None and now_s - informer.lost_since_s > patience_s:
                silent_s = now_s - informer.lost_since_s
                return f"the {self.name} could not be followed for {silent_s:.0f} s: {informer.lost_why}"
        return None


def watched(
    means: Means,
    path_in: Callable[[str], str],
    namespaces: tuple[str, ...],
    project: Callable[[Json, T | None], T],
    query: Mapping[str, str] = NO_QUERY,
) -> Watched[T]:
    """Informers for one kind of object in ``namespaces`` (none: in all); ``path_in`` is its path in a namespace.

    ``query`` may narrow it further, by a field selector.
    """
    store: Store[T] = Store()
    informers = tuple(
        Informer(path=path_in(each), namespace=each, store=store, project=project, means=means, query=query)
        for each in namespaces or ("",)
    )
    return Watched(name=path_in("").rsplit("/", 1)[-1], store=store, informers=informers)
