"""Ideas are taken out of the core from outside: every place exists, is put back, and is missed when it is gone."""

from collections.abc import Iterator
from functools import lru_cache

import pytest

from scaler.core import limits
from scaler.core.capacity import belief_of
from scaler.core.model import Tokens
from scaler.core.plan import FloorAdvice
from scaler.sim.compare.ablation import IDEAS, NOTHING, Idea, NoSuchPlaceError, Substitution, taught_by, truth, without
from scaler.sim.compare.cells import Cell, fleet_of, traffic
from scaler.sim.compare.contenders import policy_for
from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.ours import Ours
from scaler.sim.replay import replayed
from scaler.sim.view import View
from tests.builders import key

CELLS = (
    Cell(workload="azure2023-conv", pool=2.0, load_s=120.0),
    Cell(workload="azure2023-conv", pool=2.0, load_s=600.0),
    Cell(workload="servegen-m-large", pool=2.0, load_s=300.0),
    Cell(workload="azure2023-code", pool=2.0, load_s=120.0),
)
"""Hours that queue, grow, shrink and turn, with quick and with slow starts. In the third, coverage is nearly all."""

BURSTY = CELLS[-1]


class _Recording:
    """Ours, which keeps all that it has seen."""

    def __init__(self, cell: Cell) -> None:
        self._ours = Ours(lambda _: policy_for(cell))
        self.seen: list[View] = []

    def replicas(self, view: View) -> int:
        self.seen.append(view)
        return self._ours.replicas(view)


@lru_cache(maxsize=len(CELLS))
def moments(cell: Cell) -> tuple[View, ...]:
    recording = _Recording(cell)
    replayed(traffic(cell), fleet_of(cell, 1), recording, 1)
    return tuple(recording.seen)


Said = tuple[int, tuple[FloorAdvice, ...]]


def said(idea: Idea, cell: Cell) -> Iterator[Said]:
    """What the core without ``idea`` says of the recorded moments: the count, and the floors that it advises."""
    ours = Ours(lambda _: policy_for(cell))
    for view in moments(cell):
        with without(idea, cell):
            count = ours.replicas(view)
        yield count, () if ours.last is None else ours.last.advice


@lru_cache(maxsize=len(CELLS))
def said_by_the_whole_core(cell: Cell) -> tuple[Said, ...]:
    return tuple(said(NOTHING, cell))


@pytest.mark.slow
def test_a_core_of_which_nothing_is_taken_out_decides_as_it_was_recorded() -> None:
    counts = [count for count, _ in said_by_the_whole_core(BURSTY)]

    assert counts[:-1] == [view.requested for view in moments(BURSTY)[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.name)
def test_without_any_of_its_ideas_the_core_decides_otherwise_on_some_recorded_moment(idea: Idea) -> None:
    assert any(
        one != other
        for cell in CELLS
        for one, other in zip(said(idea, cell), said_by_the_whole_core(cell), strict=True)
    )


def test_after_a_run_without_an_idea_the_core_is_whole_again() -> None:
    (hold,) = [idea for idea in IDEAS if idea.name == "hold"]
    before = limits.RULES
    with without(hold, BURSTY):
        assert limits.hold not in limits.RULES

    assert before == limits.RULES
    assert limits.hold in limits.RULES


def test_a_place_that_the_core_does_not_have_is_refused_and_nothing_stays_changed() -> None:
    (hold,) = [idea for idea in IDEAS if idea.name == "hold"]
    nowhere = Substitution(place="scaler.core.wish:Outlook.hope", replacement=lambda original, _: original)
    broken = Idea(name="broken", instead="", substitutions=(*hold.substitutions, nowhere))

    refused = pytest.raises(NoSuchPlaceError, match=r"scaler.core.wish:Outlook.hope: the core has no such name")
    with refused, without(broken, BURSTY):
        pass
    assert limits.hold in limits.RULES


def test_names_are_told_apart_and_each_says_what_stands_instead() -> None:
    assert len({idea.name for idea in IDEAS}) == len(IDEAS)
    assert all(idea.instead and idea.substitutions for idea in IDEAS)


@pytest.mark.parametrize("slow", [0.5, 1.0, 2.0])
def test_an_hour_of_replicas_of_another_speed_teaches_that_speed(slow: float) -> None:
    chat = Tokens(prefill_per_s=11550.0, decode_per_s=2110.0, requests_per_s=10.0, cache_share=0.003)
    belief = belief_of(taught_by(LLAMA_8B_H100, slow, key()))

    assert belief is not None
    assert belief.replicas(chat) == pytest.approx(truth(LLAMA_8B_H100, slow).replicas(chat), rel=0.05)
