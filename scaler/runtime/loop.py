"""The loop: observe, decide, record, act, tell. It waits, meets the world's failures once, and decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from scaler.core.decide import decide
from scaler.core.explain import summary
from scaler.core.memory import Memory
from scaler.core.model import Policy
from scaler.runtime.board import Board
from scaler.runtime.ports import Actuator, Clock, Journal, Listener, Observer, Outcome, Record, TransientError


@dataclass(kw_only=True)
class Loop:
    """Ticks every ``period_s``; ``memories`` is all that it carries from one tick to the next."""

    clock: Clock
    observer: Observer
    actuator: Actuator
    journal: Journal
    board: Board
    log: FilteringBoundLogger
    period_s: float
    listeners: Sequence[Listener] = ()
    memories: dict[str, Memory] = field(default_factory=dict)

    async def run(self, until_s: float | None = None) -> None:
        """Tick until ``until_s``, or for ever. A tick that fails is skipped, one that is late is not made up for."""
        next_s = self.clock.now_s()
        while until_s is None or next_s <= until_s:
            await self.clock.wait_until(next_s)
            at_s = self.clock.now_s()
            outcome = await self._outcome(at_s)
            for listener in self.listeners:
                listener.ticked(at_s, max(0.0, self.clock.now_s() - at_s), outcome)
            next_s = _after(next_s, self.clock.now_s(), self.period_s)

    async def _outcome(self, at_s: float) -> Outcome:
        try:
            await self.tick(at_s)
        except TransientError as error:
            self.log.warning("tick_skipped", at_s=at_s, why=str(error))
            return Outcome.SKIPPED
        return Outcome.DONE

    async def tick(self, at_s: float) -> None:
        """One round over all policies, as of ``at_s``. Raises TransientError when it could not be recorded."""
        seen = await self.observer.observe(at_s)
        # Kept at once: it is told only once, and this tick may yet fail.
        self.memories = {**seen.restored, **self.memories}
        plans = decide(seen.snapshot, self.memories, seen.policies)
        by_name = {policy.name: policy for policy in seen.policies}
        records = [
            Record(
                policy=by_name[plan.policy],
                observation=seen.snapshot.models[plan.policy],
                # A first decision is taken on no memory; the record says so by an empty one of the same moment.
                memory=self.memories.get(plan.policy, Memory(at_s=plan.at_s)),
                plan=plan,
            )
            for plan in plans
        ]
        self.journal.record(records)
        self._adopt(records, seen.policies)
        for record in records:
            await self._act(record)
        for listener in self.listeners:
            await listener.decided(records, at_s)

    def _adopt(self, records: Sequence[Record], policies: Sequence[Policy]) -> None:
        """Take the next memories over; a policy that is gone takes its own along, one not seen keeps it."""
        names = {policy.name for policy in policies}
        kept = {name: memory for name, memory in self.memories.items() if name in names}
        self.memories = kept | {record.plan.policy: record.plan.memory for record in records}
        self.board.post(records)
        self.board.keep_only(names)

    async def _act(self, record: Record) -> None:
        """Carry one plan out, and tell of it; what fails for one policy is no other's concern."""
        plan = record.plan
        if not plan.commands:
            return
        why = " ".join(summary(target) for target in plan.targets)
        try:
            await self.actuator.act(record.policy, plan.commands)
        except TransientError as error:
            self.log.warning("act_failed", policy=plan.policy, error=str(error), why=why)
            return
        self.log.info("acted", policy=plan.policy, commands=len(plan.commands), why=why)


def _after(tick_s: float, now_s: float, period_s: float) -> float:
    """When to tick next: on the beat of ``tick_s``, never in the past, and within a period of ``now_s``.

    The last bound is for a wall clock that is set back: by the beat alone, an hour back is an hour without a tick.
    """
    missed = max(0.0, (now_s - tick_s) // period_s)
    return min(tick_s + period_s * (1.0 + missed), now_s + period_s)
