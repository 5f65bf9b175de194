"""What the elector promises: one leader at a time, no write after the lease, and no lease kept by the dead."""

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from numpy.random import default_rng

from scaler.adapters.clock import SteadyClock, SystemClock
from scaler.adapters.kubernetes.client import Patch
from scaler.adapters.kubernetes.election import HEARTBEAT, Elector, LostLeaseError, Post, Terms, heartbeat_of
from scaler.adapters.kubernetes.errors import NotLeadingError
from scaler.adapters.kubernetes.times import written_micro
from scaler.core.model import Missing
from scaler.runtime.board import fresh_as_of
from scaler.runtime.ports import Clock
from tests.adapters.kubernetes.conftest import Caller, running, silent, until
from tests.adapters.kubernetes.fake_api import FakeApi, failure

PATH = "/apis/coordination.k8s.io/v1/namespaces/forebay/leases/forebay"
QUICK = Terms(lease_s=1.0, renew_within_s=0.6, retry_s=0.1, stop_within_s=0.5)
LONG = replace(QUICK, lease_s=30.0)
"""A lease that does not run out while a busy machine does what it does at once."""


@dataclass
class Shifted:
    """A clock that a test moves: a process that was stopped sees time leap when it goes on."""

    by_s: float = 0.0
    clock: Clock = field(default_factory=SteadyClock)

    def now_s(self) -> float:
        return self.clock.now_s() + self.by_s

    async def wait_until(self, at_s: float) -> None:
        await self.clock.wait_until(at_s - self.by_s)


def elector(caller: Caller, identity: str = "a", terms: Terms = QUICK, **clocks: Any) -> Elector:
    return Elector(
        client=caller.client,
        post=Post(namespace="forebay", name="forebay", identity=identity),
        wall=clocks.get("wall", SystemClock()),
        steady=clocks.get("steady", SteadyClock()),
        chance=default_rng(len(identity)),
        log=silent(),
        terms=terms,
    )


def fresh(one: Elector) -> float | Missing:
    """As of when all plans are fresh, by what ``one`` has heard within a minute."""
    return fresh_as_of(one.heard, one.steady.now_s(), 60.0)


@dataclass
class Work:
    """Goes on until cancelled, and remembers what it lived through."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


def spec(api: FakeApi) -> dict[str, Any]:
    found = api.objects.get(PATH, {}).get("spec", {})
    return dict(found)


async def cancelled(task: "asyncio.Future[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_first_candidate_makes_the_lease_and_leads(api: FakeApi, caller: Caller) -> None:
    one, work = elector(caller), Work()
    async with running(one.lead(work)):
        await until(work.begun.is_set, "work")

        assert one.may_write()
        assert spec(api)["holderIdentity"] == "a"
        assert (spec(api)["leaseDurationSeconds"], spec(api)["leaseTransitions"]) == (1, 0)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec(api)["renewTime"])


@pytest.mark.slow
async def test_a_leader_outlasts_its_lease_by_renewing_it(api: FakeApi, caller: Caller) -> None:
    one, work, clock = elector(caller), Work(), SteadyClock()
    async with running(one.lead(work)):
        await until(work.begun.is_set, "work")
        begun_s = clock.now_s()

        await until(lambda: clock.now_s() - begun_s > 1.1 * QUICK.lease_s, "more than a lease")

        assert one.may_write()
    assert api.counts["PUT"] > 5


@pytest.mark.slow
async def test_a_second_candidate_waits_while_the_first_renews(caller: Caller) -> None:
    one, two, work, idle, clock = elector(caller), elector(caller, "bb"), Work(), Work(), SteadyClock()
    async with running(one.lead(work)):
        await until(work.begun.is_set, "work")
        async with running(two.lead(idle)):
            begun_s = clock.now_s()
            await until(lambda: clock.now_s() - begun_s > 1.1 * QUICK.lease_s, "more than a lease")

            assert not idle.begun.is_set()
            assert not two.may_write()


@pytest.mark.slow
async def test_of_a_dead_leader_the_lease_is_taken_after_its_time(api: FakeApi, caller: Caller) -> None:
    one, two, work, clock = elector(caller), elector(caller, "bb"), Work(), SteadyClock()
    assert await one._try()  # noqa: SLF001 - a leader that took the lease and was killed
    died_s = clock.now_s()

    async with running(two.lead(work)):
        await until(work.begun.is_set, "the successor's work")

    assert clock.now_s() - died_s >= QUICK.lease_s
    assert not one.may_write()
    assert spec(api)["leaseTransitions"] == 1


@pytest.mark.slow
async def test_a_wall_clock_an_hour_behind_changes_nothing(caller: Caller) -> None:
    one, work = elector(caller, wall=Shifted(by_s=-3600.0, clock=SystemClock())), Work()
    two, idle, clock = elector(caller, "bb"), Work(), SteadyClock()
    async with running(one.lead(work)):
        await until(work.begun.is_set, "work")
        async with running(two.lead(idle)):
            begun_s = clock.now_s()
            await until(lambda: clock.now_s() - begun_s > 1.1 * QUICK.lease_s, "more than a lease")

            assert not idle.begun.is_set()


async def test_after_a_clean_stop_the_next_one_leads_at_once(api: FakeApi, caller: Caller) -> None:
    one, two, work, next_work = elector(caller, terms=LONG), elector(caller, "bb", LONG), Work(), Work()
    leading = asyncio.ensure_future(one.lead(work))
    await until(work.begun.is_set, "work")
    put_while_working: list[bool] = []

    def look(request: web.Request) -> None:
        if request.method == "PUT":
            put_while_working.append(not work.ended)

    api.always = look
    await cancelled(leading)

    assert put_while_working == [False]
    assert not spec(api)["holderIdentity"]
    async with running(two.lead(next_work)):
        await until(next_work.begun.is_set, "the next one's work", within_s=LONG.lease_s / 2)


async def test_an_api_that_hangs_costs_the_lease_in_time(api: FakeApi, caller: Caller) -> None:
    one, work, clock = elector(caller, terms=LONG), Work(), SteadyClock()
    leading = asyncio.ensure_future(one.lead(work))
    await until(work.begun.is_set, "work")
    api.is_hanging = True
    hung_s = clock.now_s()

    with pytest.raises(LostLeaseError):
        await leading

    assert work.ended
    assert not one.may_write()
    assert clock.now_s() - hung_s < LONG.lease_s


async def test_a_stolen_lease_ends_the_work(api: FakeApi, caller: Caller) -> None:
    one, work = elector(caller), Work()
    leading = asyncio.ensure_future(one.lead(work))
    await until(work.begun.is_set, "work")
    stolen = api.objects[PATH]

    await api.store(PATH, {**stolen, "spec": {**stolen["spec"], "holderIdentity": "thief"}})

    with pytest.raises(LostLeaseError):
        await leading
    assert work.ended
    assert spec(api)["holderIdentity"] == "thief"


@pytest.mark.slow
async def test_a_stranger_who_writes_something_else_into_the_lease_costs_nothing(api: FakeApi, caller: Caller) -> None:
    one, work, clock = elector(caller), Work(), SteadyClock()
    async with running(one.lead(work)):
        await until(work.begun.is_set, "work")
        lease = api.objects[PATH]
        metadata = {**lease["metadata"], "labels": {"team": "ml"}}
        await api.store(PATH, {**lease, "metadata": metadata})
        written_s = clock.now_s()

        await until(lambda: clock.now_s() - written_s > 1.1 * QUICK.lease_s, "more than a lease")

        assert one.may_write()
    assert api.objects[PATH]["metadata"]["labels"] == {"team": "ml"}


async def test_a_process_that_was_stopped_writes_nothing_when_it_goes_on(api: FakeApi, caller: Caller) -> None:
    steady, work = Shifted(), Work()
    one = elector(caller, steady=steady)
    guarded = replace(caller.client, may_write=one.may_write)
    leading = asyncio.ensure_future(one.lead(work))
    await until(work.begun.is_set, "work")
    assert await guarded.patch(PATH, Patch.MERGE, {"metadata": {"labels": {"a": "b"}}})

    steady.by_s += 60.0
    written = len(api.bodies)

    with pytest.raises(NotLeadingError):
        await guarded.patch(PATH, Patch.MERGE, {"metadata": {"labels": {"a": "c"}}})
    with pytest.raises(LostLeaseError):
        await leading
    assert work.ended
    assert len(api.bodies) == written


async def test_work_that_crashes_gives_the_lease_up(api: FakeApi, caller: Caller) -> None:
    async def crash() -> None:
        raise LookupError("a bug")

    with pytest.raises(LookupError):
        await elector(caller).lead(crash)

    assert not spec(api)["holderIdentity"]


async def test_the_lease_is_not_given_back_under_work_that_will_not_end(api: FakeApi, caller: Caller) -> None:
    release = asyncio.Event()
    begun = asyncio.Event()

    async def stubborn() -> None:
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    one = elector(caller, terms=replace(QUICK, stop_within_s=0.05))
    leading = asyncio.ensure_future(one.lead(stubborn))
    await until(begun.is_set, "work")
    await cancelled(leading)

    assert spec(api)["holderIdentity"] == "a"
    await until(lambda: one.overdue_s() > 0.0, "the health check's number")
    release.set()


async def test_a_renewal_tells_how_fresh_the_plans_are(api: FakeApi, caller: Caller) -> None:
    one, work = elector(caller), Work()
    async with running(one.lead(work)):
        await until(work.begun.is_set, "work")

        one.beat(1772442000.5)

        await until(lambda: heartbeat_of(api.objects[PATH]) == 1772442000.5, "the heartbeat")


async def test_every_candidate_reads_the_same_heartbeat(api: FakeApi, caller: Caller) -> None:
    leader, other, work, idle = elector(caller), elector(caller, "bb"), Work(), Work()
    async with running(leader.lead(work)):
        await until(work.begun.is_set, "a leader")
        async with running(other.lead(idle)):
            assert isinstance(fresh(other), Missing)

            leader.beat(SystemClock().now_s())

            await until(lambda: not isinstance(fresh(other), Missing), "the heartbeat at the other one")
            assert fresh(leader) == fresh(other) == heartbeat_of(api.objects[PATH])
            assert not idle.begun.is_set()


def held(heartbeat_s: float) -> dict[str, Any]:
    """A Lease that another holds for an hour, with a heartbeat."""
    metadata = {"name": "forebay", "namespace": "forebay", "annotations": {HEARTBEAT: written_micro(heartbeat_s)}}
    spec = {"holderIdentity": "another", "renewTime": "then", "leaseDurationSeconds": 3600}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


async def test_a_heartbeat_grows_old_by_our_own_steady_clock(api: FakeApi, caller: Caller) -> None:
    ours, wall = Shifted(), Shifted(clock=SystemClock())
    await api.put("leases", held(SystemClock().now_s()))
    one = elector(caller, steady=ours, wall=wall)
    async with running(one.lead(Work())):
        await until(lambda: not isinstance(fresh(one), Missing), "the heartbeat")

        wall.by_s = 3600.0
        assert not isinstance(fresh(one), Missing)

        ours.by_s = 61.0
        stale = fresh(one)
        assert isinstance(stale, Missing)
        assert re.fullmatch(r"the last heartbeat of a leader was 6\d s ago, the limit is 60 s", stale.why)


async def test_a_process_that_starts_takes_an_old_heartbeat_for_old(api: FakeApi, caller: Caller) -> None:
    await api.put("leases", held(SystemClock().now_s() - 61.0))
    one = elector(caller)
    async with running(one.lead(Work())):
        await until(lambda: api.counts["GET"] >= 2, "the lease to be read")

        assert isinstance(fresh(one), Missing)


@pytest.mark.slow
async def test_a_burst_of_errors_shorter_than_the_deadline_costs_nothing(api: FakeApi, caller: Caller) -> None:
    one, work, clock = elector(caller), Work(), SteadyClock()
    async with running(one.lead(work)):
        await until(work.begun.is_set, "work")
        api.faults.extend([lambda _: failure(500, "burst")] * 3)
        begun_s = clock.now_s()

        await until(lambda: clock.now_s() - begun_s > QUICK.lease_s, "a lease")

        assert one.may_write()


@pytest.mark.parametrize("terms", [(10.0, 10.0, 2.0), (15.0, 4.0, 2.0), (15.0, 10.0, 0.0)])
def test_terms_that_cannot_work_are_refused(terms: tuple[float, float, float]) -> None:
    lease_s, renew_within_s, retry_s = terms
    with pytest.raises(ValueError, match="must each be longer"):
        Terms(lease_s=lease_s, renew_within_s=renew_within_s, retry_s=retry_s)
