"""A run and the name it is kept under."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.contenders import OURS, Contender
from scaler.sim.compare.outcomes import (
    OUR_SOURCES,
    PEER_SOURCES,
    Bounded,
    Job,
    Outcome,
    ours_in,
    outcome_of,
    read_outcome,
    sources_digest,
)
from tests.sim.compare.outcomes import CELL, outcome

SMALL = Cell(workload="azure2023-conv", pool=0.5, load_s=45.0, engine="llama-3.1-8b/L40S")
JOB = Job(cell=CELL, contender=Contender(name="knative", threshold=9.0), seed=1)


@pytest.mark.parametrize(
    ("advised", "floors"),
    [
        ({None: None}, [None]),
        ({None: 9, 9: None}, [None, 9]),
        ({None: 9, 9: 12, 12: 11}, [None, 9, 12]),
        ({None: 9, 9: 12, 12: 14, 14: 15}, [None, 9, 12, 14]),
    ],
    ids=["none", "once", "until no higher one", "three times at most"],
)
def test_advice_is_followed_until_there_is_none(
    advised: dict[int | None, int | None], floors: list[int | None]
) -> None:
    def run(job: Job) -> Outcome:
        return outcome(floor=job.contender.floor, advised=advised[job.contender.floor])

    assert [one.job.contender.floor for one in ours_in(CELL, 1, run)] == floors


def test_an_outcome_that_was_written_reads_as_it_was() -> None:
    made = outcome(policy="knative", threshold=9.0, seed=3, advised=4, flips_per_hour=0.5)

    assert read_outcome(made.facts()) == made


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, seed=2),
        replace(JOB, cell=replace(CELL, load_s=45.0)),
        replace(JOB, contender=replace(JOB.contender, threshold=8.0)),
        replace(JOB, contender=replace(JOB.contender, floor=2)),
    ],
)
def test_the_name_of_an_outcome_follows_from_all_that_was_asked(other: Job) -> None:
    assert other.key != JOB.key
    assert replace(JOB).key == JOB.key


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A package with every source in it; calling it changes one."""
    for source in {*OUR_SOURCES, *PEER_SOURCES}:
        place = tmp_path / (source if source.endswith(".py") else f"{source}/__init__.py")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("old")
    monkeypatch.setattr("scaler.sim.compare.outcomes.resources.files", lambda _: tmp_path)
    sources_digest.cache_clear()

    def change(source: str) -> None:
        (tmp_path / source).write_text("new")
        sources_digest.cache_clear()

    return change


def test_a_changed_core_gives_ours_other_names_and_leaves_the_peers_theirs(package: Callable[[str], None]) -> None:
    ours = replace(JOB, contender=Contender(name=OURS))
    before = (ours.key, JOB.key)
    package("core/__init__.py")
    changed = (ours.key, JOB.key)
    package("sim/kernel.py")

    assert (before[0] != changed[0], before[1] != changed[1]) == (True, False)
    assert JOB.key != changed[1]


def test_a_run_of_a_small_cell_gives_the_figures_that_the_issue_names() -> None:
    job = Job(cell=SMALL, contender=Contender(name="static", threshold=2.0), seed=1)

    made = outcome_of(job, Bounded(attained=1.0, replica_hours=1.0))

    assert made.ratio == pytest.approx(2 * 0.97, rel=0.01)
    assert made.attained > 0.99
    assert set(made.figures) >= {
        *("attained", "ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "failed", "timed_out"),
        *("replica_hours", "scale_events", "flips"),
    }
