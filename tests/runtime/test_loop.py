"""The loop goes round whatever happens to one round of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import structlog
from structlog.testing import capture_logs

from scaler.core.model import Missing, Observation
from scaler.core.plan import SetReplicas
from scaler.runtime.board import Board
from scaler.runtime.loop import Loop
from scaler.runtime.ports import Outcome, Record
from tests.builders import NAME, fleet, key, policy, seen, serving, watched
from tests.fakes import OTHER, JumpingClock, World


def loop_over(world: World, clock: JumpingClock | None = None, board: Board | None = None) -> Loop:
    return Loop(
        clock=clock or JumpingClock(),
        observer=world,
        actuator=world,
        journal=world,
        board=board or Board(),
        log=structlog.get_logger(),
        period_s=15.0,
    )


def busy(at_s: float) -> Observation:
    return seen(fleet(*serving(2, running=100.0, at_s=at_s)))


async def test_a_tick_observes_then_records_then_acts() -> None:
    world = World(shows=busy)

    await loop_over(world).run(0.0)

    assert world.happened == ["observe 0", f"record {NAME}", f"act {NAME}"]
    assert world.commands == [(NAME, SetReplicas(key=key(), replicas=9))]


async def test_a_tick_that_fails_is_skipped_and_the_loop_goes_on() -> None:
    world = World(fails_at_s=frozenset({15.0}))

    with capture_logs() as logs:
        await loop_over(world).run(45.0)

    assert [record.plan.at_s for record in world.records] == [0.0, 30.0, 45.0]
    assert [(log["event"], log["why"]) for log in logs] == [("tick_skipped", "the API server does not answer")]


async def test_what_could_not_be_recorded_is_not_carried_out() -> None:
    world = World(shows=busy, journal_fails_at_s=frozenset({0.0}))

    await loop_over(world).run(0.0)

    assert world.commands == []


async def test_a_decision_that_was_not_recorded_leaves_no_memory() -> None:
    world = World(journal_fails_at_s=frozenset({0.0}))
    loop = loop_over(world)

    await loop.run(0.0)

    assert loop.memories == {}


async def test_commands_refused_for_one_policy_do_not_keep_the_others_waiting() -> None:
    policies = (policy(), replace(policy(), name=OTHER))
    world = World(shows=busy, policies=policies, refuses=frozenset({NAME}))

    with capture_logs() as logs:
        await loop_over(world).run(0.0)

    assert [name for name, _ in world.commands] == [OTHER]
    assert [log["event"] for log in logs] == ["act_failed", "acted"]


async def test_the_memory_of_a_tick_is_what_the_next_one_begins_with() -> None:
    world = World()

    await loop_over(world).run(15.0)

    assert world.records[1].memory == world.records[0].plan.memory


async def test_a_policy_that_is_gone_takes_its_memory_and_its_place_on_the_board_along() -> None:
    world, board = World(policies=(policy(), replace(policy(), name=OTHER))), Board()
    loop = loop_over(world, board=board)

    await loop.tick(0.0)
    world.policies = (policy(),)
    await loop.tick(15.0)

    assert set(loop.memories) == {NAME}
    assert board.latest(OTHER) is None


async def test_a_policy_that_was_not_seen_keeps_its_memory() -> None:
    world = World()
    loop = loop_over(world)
    await loop.tick(0.0)
    before = loop.memories

    world.shows = lambda _: seen(Missing(why="the watch is broken"))
    await loop.tick(15.0)

    assert loop.memories[NAME].load_samples == before[NAME].load_samples
    assert world.commands == []


async def test_a_late_tick_is_not_made_up_for() -> None:
    clock = JumpingClock()

    def stall(at_s: float) -> None:
        clock.at_s = 50.0 if at_s == 15.0 else clock.at_s

    world = World(on_observe=stall)

    await loop_over(world, clock).run(75.0)

    assert [record.plan.at_s for record in world.records] == [0.0, 15.0, 60.0, 75.0]


async def test_a_wall_clock_that_is_set_back_costs_no_more_than_a_period() -> None:
    clock = JumpingClock(at_s=3600.0)

    def set_back(at_s: float) -> None:
        clock.at_s = 10.0 if at_s == 3600.0 else clock.at_s

    world = World(on_observe=set_back)
    loop = loop_over(world, clock)

    await asyncio.wait_for(_ticks(loop, world, 3), timeout=5.0)

    assert [record.plan.at_s for record in world.records] == [3600.0, 25.0, 40.0]


async def _ticks(loop: Loop, world: World, count: int) -> None:
    """Run ``loop`` until it has decided ``count`` times."""

    class Enough(Exception):  # noqa: N818 - not an error
        pass

    inner = world.on_observe

    def stop(at_s: float) -> None:
        if len(world.records) >= count:
            raise Enough
        inner(at_s)

    world.on_observe = stop
    with pytest.raises(Enough):
        await loop.run()


async def test_a_cancelled_loop_ends() -> None:
    world = World()
    task = asyncio.create_task(loop_over(world).run())

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_was_remembered_before_this_process_is_taken_up_and_then_its_own_counts() -> None:
    before = replace(watched((30.0, 7), at_s=0.0), at_s=-15.0)
    world = World(restored={NAME: before})

    await loop_over(world).run(15.0)

    assert world.records[0].memory == before
    assert world.records[1].memory == world.records[0].plan.memory


async def test_what_was_remembered_before_this_process_outlives_a_tick_that_could_not_be_recorded() -> None:
    before = replace(watched((30.0, 7), at_s=0.0), at_s=-15.0)
    world = World(restored={NAME: before}, journal_fails_at_s=frozenset({0.0}))

    await loop_over(world).run(15.0)

    assert [record.memory for record in world.records] == [before]


@dataclass
class Ear:
    heard: list[tuple[str, float]] = field(default_factory=list)

    async def decided(self, records: Sequence[Record], at_s: float) -> None:
        self.heard.extend((f"decided {record.policy.name}", at_s) for record in records)

    def ticked(self, at_s: float, took_s: float, outcome: Outcome) -> None:
        self.heard.append((f"{outcome.value} in {took_s:g}", at_s))


async def test_listeners_hear_of_decisions_and_of_ticks_that_were_skipped() -> None:
    ear = Ear()
    loop = loop_over(World(fails_at_s=frozenset({15.0})))
    loop.listeners = (ear,)

    await loop.run(15.0)

    assert ear.heard == [(f"decided {NAME}", 0.0), ("done in 0", 0.0), ("skipped in 0", 15.0)]


async def test_the_board_shows_the_last_decision_of_every_policy() -> None:
    world, board = World(), Board()

    await loop_over(world, board=board).run(30.0)

    assert [plan.at_s for plan in board.plans()] == [30.0]
