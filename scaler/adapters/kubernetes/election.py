"""Who may write: one process at a time, by a Lease that it renews.

Time is measured on a steady clock only: others' from when we saw their Lease change, our own from before each renewal
left. So clocks that differ, or are set, change nothing. We stop writing after ``renew_within_s`` without a renewal,
and others wait ``lease_s``: what is between is for requests that are under way. It is no promise of a single writer
all the same (a process may be stopped between its check and its request), and nothing of ours rests on one: commands
are absolute and say the count that they were decided on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from numpy.random import Generator
from structlog.typing import FilteringBoundLogger

from scaler.adapters.kubernetes.client import Client, Json
from scaler.adapters.kubernetes.errors import ConflictError, NotFoundError, RefusedError
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.times import seconds, written_micro
from scaler.runtime.board import Heard
from scaler.runtime.ports import Clock, TransientError

LEASES: Final = "coordination.k8s.io/v1"
HEARTBEAT: Final = "forebay.dev/heartbeat"
"""The annotation with the time as of which all plans are fresh; every replica can read it, so all answer alike."""

JITTER: Final = 1.2
"""Attempts are up to this share of their distance apart again, by chance, so that candidates do not meet for ever."""

NEVER: Final = float("-inf")


class LostLeaseError(Exception):
    """The lease was lost and the work ended; the process should exit, and start again as a candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a lease lasts, when one that cannot be renewed is given up, how often it is renewed or tried for.

    ``stop_within_s`` is how long the work may take to end.
    """

    lease_s: float = 15.0
    renew_within_s: float = 10.0
    retry_s: float = 2.0
    stop_within_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.lease_s > self.renew_within_s > self.retry_s * (1.0 + JITTER) > 0.0:
            raise ValueError(
                f"lease_s = {self.lease_s:g}, renew_within_s = {self.renew_within_s:g}, retry_s = {self.retry_s:g}: "
                f"must each be longer than the next, the last by {1.0 + JITTER:g} times"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """The Lease, and who we are to it: ``identity`` must differ from that of every other process."""

    namespace: str
    name: str
    identity: str

    @property
    def path(self) -> str:
        """The Lease's path."""
        return path_to(LEASES, "leases", self.namespace, self.name)


@dataclass(slots=True, kw_only=True)
class Elector:
    """Does work while it leads. Its client needs a budget of its own: no rush of other requests may cost the lease."""

    client: Client
    post: Post
    wall: Clock
    steady: Clock
    chance: Generator
    log: FilteringBoundLogger
    terms: Terms = field(default_factory=Terms)
    _valid_until_s: float = NEVER
    _heartbeat: str | None = None
    _lease: Json | None = None
    _observed: tuple[Any, ...] | None = None
    _observed_at_s: float = NEVER
    _heard: Heard | None = None
    _is_working: bool = False

    def may_write(self) -> bool:
        """Whether this process leads, as of this moment."""
        return self.steady.now_s() < self._valid_until_s

    def overdue_s(self) -> float:
        """For how long work has gone on without a lease; 0 when it does not. A health check should not bear much."""
        return max(0.0, self.steady.now_s() - self._valid_until_s) if self._is_working else 0.0

    def beat(self, at_s: float) -> None:
        """Have the next renewals tell that all plans are fresh as of ``at_s``."""
        self._heartbeat = written_micro(at_s)

    @property
    def heard(self) -> Heard | None:
        """The last heartbeat, None before any was read.

        Every candidate can tell, by the Lease that it reads or writes. The first one that a process reads is judged by
        wall clocks: nobody saw when that was made.
        """
        return self._heard

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then do ``work`` until it ends, is cancelled, or the lease is lost (LostLeaseError).

        The lease is given back when the work has ended, and only then.
        """
        await self._acquire()
        self._is_working = True
        working = asyncio.ensure_future(work())
        keeping = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            has_ended = await _end(working, self.terms.stop_within_s)
            self._is_working = not has_ended
            await _end(keeping, self.terms.stop_within_s)
            if has_ended:
                await self._release()
        if keeping.done() and not keeping.cancelled():
            keeping.result()
        if not has_ended:
            raise LostLeaseError(f"the work of {self.post.identity} did not end within {self.terms.stop_within_s:g} s")
        working.result()

    # --- Getting it --------------------------------------------------------------------------------------------

    async def _acquire(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self.terms.renew_within_s):
                    if await self._try():
                        self.log.info("leading", identity=self.post.identity)
                        return
            except TimeoutError:
                self.log.info("lease_not_reached", why="no answer in time")
            except (TransientError, RefusedError) as error:
                self.log.info("lease_not_reached", why=str(error))
            await self._pause()

    async def _pause(self) -> None:
        pause_s = self.terms.retry_s * (1.0 + JITTER * self.chance.random())
        await self.steady.wait_until(self.steady.now_s() + pause_s)

    async def _try(self) -> bool:
        """Take the lease if nobody holds it. Raises ConflictError when another was faster."""
        try:
            lease = await self.client.get(self.post.path)
        except NotFoundError:
            sent_s = self.steady.now_s()
            body = self._renewed({"apiVersion": LEASES, "kind": "Lease", "metadata": {"name": self.post.name}})
            self._hold(await self.client.create(path_to(LEASES, "leases", self.post.namespace), body), sent_s)
            return True
        self._observe(lease)
        if not self._is_free(lease.get("spec") or {}):
            return False
        sent_s = self.steady.now_s()
        self._hold(await self.client.replace(self.post.path, self._renewed(lease)), sent_s)
        return True

    def _observe(self, lease: Json) -> None:
        self._hear(lease)
        spec = lease.get("spec") or {}
        seen = tuple(spec.get(key) for key in ("holderIdentity", "renewTime", "leaseTransitions"))
        if seen != self._observed:
            self._observed, self._observed_at_s = seen, self.steady.now_s()

    def _hear(self, lease: Json) -> None:
        of_s = heartbeat_of(lease)
        if of_s is None or (self._heard is not None and self._heard.of_s == of_s):
            return
        age_s = max(0.0, self.wall.now_s() - of_s) if self._heard is None else 0.0
        self._heard = Heard(of_s=of_s, at_s=self.steady.now_s() - age_s)

    def _is_free(self, spec: Mapping[str, Any]) -> bool:
        """Whether nobody holds it, or whoever does has not renewed it for as long as it lasts, as far as we saw."""
        holder = spec.get("holderIdentity")
        lasts_s = float(spec.get("leaseDurationSeconds") or self.terms.lease_s)
        return holder in {None, "", self.post.identity} or self.steady.now_s() >= self._observed_at_s + lasts_s

    # --- Keeping it --------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Renew the lease until that fails for too long."""
        while True:
            await self.steady.wait_until(self.steady.now_s() + self.terms.retry_s)
            # Not one request more after the lease has ended: a late renewal would only keep the next one waiting.
            if self.may_write():
                await self._try_to_renew()
            if not self.may_write():
                raise LostLeaseError(f"{self.post.identity} lost the lease {self.post.namespace}/{self.post.name}")

    async def _try_to_renew(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._valid_until_s - self.steady.now_s())):
                await self._renew()
        except TimeoutError:
            self.log.warning("lease_not_renewed", why="no answer in time")
        except (TransientError, RefusedError) as error:
            self.log.warning("lease_not_renewed", why=str(error))

    async def _renew(self) -> None:
        """One attempt, by which we hold the lease until some time from before it was sent."""
        if self._lease is None:
            lease = await self.client.get(self.post.path)
            if (lease.get("spec") or {}).get("holderIdentity") != self.post.identity:
                self._valid_until_s = self.steady.now_s()
                return
            self._lease = lease
        sent_s = self.steady.now_s()
        # Half of what is left: one answer that never comes must leave time for another attempt.
        hasty = replace(self.client, timeout_s=max(self.terms.retry_s, (self._valid_until_s - sent_s) / 2.0))
        try:
            self._hold(await hasty.replace(self.post.path, self._renewed(self._lease)), sent_s)
        except ConflictError:
            self._lease = None  # someone wrote it: look who before the next attempt
            raise

    def _hold(self, lease: Json, sent_s: float) -> None:
        self._lease = lease
        self._hear(lease)
        self._valid_until_s = sent_s + self.terms.renew_within_s

    def _renewed(self, lease: Json) -> Json:
        """The lease as ours, with all that is in it and not ours to change."""
        metadata, spec = dict(lease["metadata"]), dict(lease.get("spec") or {})
        now = written_micro(self.wall.now_s())
        if spec.get("holderIdentity") != self.post.identity:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1 if "renewTime" in spec else 0
            spec["acquireTime"] = now
        spec |= {
            "holderIdentity": self.post.identity,
            "leaseDurationSeconds": max(1, round(self.terms.lease_s)),
            "renewTime": now,
        }
        if self._heartbeat is not None:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), HEARTBEAT: self._heartbeat}
        return {**lease, "metadata": metadata, "spec": spec}

    # --- Giving it back ----------------------------------------------------------------------------------------

    async def _release(self) -> None:
        """Let the next one have it at once. Without that it would wait for the lease to end."""
        if not self.may_write() or self._lease is None:
            return
        self._valid_until_s = NEVER
        given = self._renewed(self._lease)
        given["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(self.terms.retry_s):
                await self.client.replace(self.post.path, given)
        except (TimeoutError, TransientError, RefusedError) as error:
            self.log.info("lease_not_released", why=str(error))


async def _end(task: asyncio.Future[None], within_s: float) -> bool:
    """Cancel and await; whether it has ended."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=within_s)
    if done and not task.cancelled():
        task.exception()  # whoever wants to know asks again; nobody else should be told by the loop
    return bool(done)


def heartbeat_of(lease: Json) -> float | None:
    """As of when all plans were fresh, None where the Lease does not say, or says it in no time's words."""
    try:
        return seconds((lease["metadata"].get("annotations") or {}).get(HEARTBEAT))
    except ValueError:
        return None
