"""A process that dies leaves what it learned in the status: the next one decides as it would have, and rest is rest."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import pi, sin

import pytest

from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.policies import PolicyObject, policy_object
from scaler.adapters.kubernetes.reporting import LEARNED_EVERY_S, WORDS_EVERY_S, Reporter
from scaler.adapters.kubernetes.status import Change, memory_of, status_of
from scaler.api.status import Status
from scaler.core.memory import Memory
from scaler.core.model import Loading, Observation, Policy
from scaler.core.plan import Plan
from scaler.runtime.ports import Record
from scaler.sim.latency import LLAMA_8B_H100
from tests.adapters.kubernetes.conftest import Caller, silent
from tests.adapters.kubernetes.fake_api import FakeApi
from tests.adapters.kubernetes.followed import policy as stored_policy
from tests.builders import START_S, fleet, plan_of, policy, seen
from tests.core.engines import CONVERSATION, TICK_S, Row

CHAT = Row(engine=LLAMA_8B_H100, mix=CONVERSATION)
REPLICAS = 4
HOUR_TICKS = 240
ASKED = policy(max_replicas=REPLICAS, min_replicas=REPLICAS, loading=Loading(expected_s=120.0, budget_s=1800.0))

Share = Callable[[float], float]
"""The share of what it carries that each replica has at a time, in hours."""


def level(_: float) -> float:
    return 0.4


def waves(hours: float) -> float:
    """Between a fifth and six tenths, in waves of 50 and 13 minutes."""
    return 0.4 + 0.15 * sin(2.0 * pi * hours * 1.2) + 0.05 * sin(2.0 * pi * hours * 4.6)


def observed(share: Share, at_s: float) -> Observation:
    """All replicas as they are, there since the beginning."""
    replicas = (CHAT.replica(f"r{place}", share((at_s - START_S) / 3600.0), at_s) for place in range(REPLICAS))
    return seen(fleet(*(replace(each, created_at_s=START_S - 900.0, ready_at_s=START_S - 600.0) for each in replicas)))


@dataclass(kw_only=True)
class Process:
    """A controller that decides and reports, tick by tick, and what it would write to. ``writes`` are their times."""

    reporter: Reporter
    api: FakeApi
    share: Share
    asked: Policy = ASKED
    tick_s: float = TICK_S
    at_s: float = START_S
    memory: Memory | None = None
    writes: list[float] = field(default_factory=list)
    _object: PolicyObject | None = None

    @property
    def object(self) -> PolicyObject:
        """The policy as it is stored."""
        (thing,) = [each for path, each in self.api.objects.items() if "/scalingpolicies/" in path]
        if self._object is None or str(self._object.version) != thing["metadata"]["resourceVersion"]:
            self._object = policy_object(thing, self._object)
        return self._object

    def decided(self, memory: Memory | None) -> Plan:
        """What is decided now on this memory."""
        return plan_of(observed(self.share, self.at_s), self.asked, memory, self.at_s)

    async def tick(self) -> Plan:
        """One decision, reported where that is due."""
        plan, observation = self.decided(self.memory), observed(self.share, self.at_s)
        memory = self.memory or Memory(at_s=self.at_s)
        record = Record(policy=self.asked, observation=observation, memory=memory, plan=plan)
        before = self.reporter.current(self.object)
        written = len(self.api.bodies)
        await self.reporter.report(self.object, status_of(record, (), 1, before), self.at_s)
        self.writes += [self.at_s] * any(path.endswith("/status") for _, path, _ in self.api.bodies[written:])
        self.memory, self.at_s = plan.memory, self.at_s + self.tick_s
        return plan

    def after_a_kill(self) -> Plan:
        """What a new process would decide now, from what is stored."""
        status = self.object.status
        assert status is not None
        return self.decided(memory_of(status, observed(self.share, self.at_s), self.at_s))


@pytest.fixture
async def begin(api: FakeApi, caller: Caller) -> Callable[[Share], Process]:
    await api.put("scalingpolicies", stored_policy())
    events = Events(client=caller.client, log=silent(), instance="forebay-0")
    reporter = Reporter(client=caller.client, events=events, log=silent())
    return lambda share: Process(reporter=reporter, api=api, share=share)


Begin = Callable[[Share], Process]


def need(plan: Plan) -> dict[str, float]:
    """The numbers that the wish rests on, and the wish."""
    wish = plan.targets[0].trail[0]
    return dict(wish.facts)


async def test_a_new_process_wishes_what_the_old_one_would_have_from_the_first_tick(begin: Begin) -> None:
    """Killed at any of twenty moments of half an hour: from the status as it was last written, which may be old."""
    process = begin(waves)
    for _ in range(HOUR_TICKS):
        await process.tick()
    apart: list[float] = []
    for _ in range(20):
        for _ in range(7):
            await process.tick()
        old, new = need(process.decided(process.memory)), need(process.after_a_kill())
        assert new["work_replicas"] == pytest.approx(old["work_replicas"], rel=0.02)
        assert new["growth"] == pytest.approx(old["growth"], abs=0.06)
        apart.append(abs(new["wanted"] - old["wanted"]))

    assert sum(each > 0.0 for each in apart) <= 4
    assert max(apart) <= 1.0
    assert "work_replicas" not in need(process.decided(None))
    assert process.after_a_kill().targets[0].replicas == REPLICAS


async def test_the_floor_that_is_advised_outlasts_the_process(begin: Begin) -> None:
    process = begin(level)
    for _ in range(HOUR_TICKS):
        await process.tick()
    assert process.memory is not None
    (course,) = process.memory.courses
    late = replace(course, late=((9, 0.05 * course.requests),))
    process.memory = replace(process.memory, courses=(late,))
    for _ in range(HOUR_TICKS):
        await process.tick()

    old, new = process.decided(process.memory).advice, process.after_a_kill().advice

    assert [each.floor for each in new] == [each.floor for each in old] == [9]
    assert new[0].late_share == pytest.approx(old[0].late_share, rel=0.3)


def pauses_s(process: Process) -> list[float]:
    """The times between its writes, but for those of the first quarter of an hour, in which all is news."""
    later = [at_s for at_s in process.writes if at_s > START_S + 900.0]
    return [after_s - before_s for before_s, after_s in pairwise(later)]


async def test_at_rest_what_stands_behind_the_beliefs_is_written_ever_more_seldom(begin: Begin) -> None:
    """Alone at most every ten minutes, and each time by a third more: of half a day, five times after three hours."""
    process = replace(begin(level), tick_s=60.0)
    for _ in range(12 * 60):
        await process.tick()

    assert min(pauses_s(process)) >= LEARNED_EVERY_S
    assert pauses_s(process) == sorted(pauses_s(process))
    assert len([each for each in process.writes if each > START_S + 3.0 * 3600.0]) <= 5


async def test_values_in_motion_are_written_alone_at_most_every_ten_minutes(begin: Begin) -> None:
    process = replace(begin(waves), tick_s=60.0)
    for _ in range(6 * 60):
        await process.tick()

    assert min(pauses_s(process)) >= LEARNED_EVERY_S


@pytest.mark.parametrize(
    ("changed", "after_s", "is_due"),
    [
        (Change.NONE, 1e6, False),
        (Change.LEARNED, LEARNED_EVERY_S - 1.0, False),
        (Change.LEARNED, LEARNED_EVERY_S, True),
        (Change.LEARNED, -60.0, True),
        (Change.WORDS, WORDS_EVERY_S - 1.0, False),
        (Change.WORDS, WORDS_EVERY_S, True),
        (Change.FACTS, 0.0, True),
    ],
    ids=str,
)
async def test_a_change_is_due_by_its_kind(begin: Begin, changed: Change, after_s: float, *, is_due: bool) -> None:
    process = begin(level)
    thing = process.object
    await process.reporter.report(thing, Status(desired=1), START_S)

    assert process.reporter.is_due(thing, changed, START_S + after_s) is is_due


async def test_before_the_first_write_every_change_is_due(begin: Begin) -> None:
    process = begin(level)

    assert all(process.reporter.is_due(process.object, each, START_S) for each in Change if each is not Change.NONE)
