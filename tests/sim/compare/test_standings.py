"""Policies over seeds and cells, on outcomes by hand."""

from dataclasses import replace

import pytest

from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.standings import Choice, Record, lines, mean_of, median_of, standings
from scaler.sim.compare.suites import SEEDS, Part
from tests.sim.compare.outcomes import CELL, outcome


def record(each: Outcome, choice: Choice = Choice.OWN, part: Part = Part.GRID) -> Record:
    return Record(part=part, choice=choice, outcome=each)


def test_a_standing_is_the_mean_over_the_seeds_with_an_interval_around_it() -> None:
    hours = (2.0, 2.2, 2.4, 2.6, 2.8)
    (found,) = standings(record(outcome(seed=seed, hours=each)) for seed, each in zip(SEEDS, hours, strict=True))

    assert found.ratio.value == pytest.approx(1.2)
    assert 1.0 < found.ratio.low < 1.2 < found.ratio.high < 1.4
    assert found.is_met


def test_an_interval_of_one_value_is_that_value_and_the_same_values_give_the_same() -> None:
    one = mean_of([1.5])

    assert (one.value, one.low, one.high) == (1.5, 1.5, 1.5)
    assert median_of([1.0, 2.0, 9.0]) == median_of([1.0, 2.0, 9.0])


def test_ours_counts_with_the_floor_that_it_advised() -> None:
    plain, floored = outcome(attained=0.7, advised=9), outcome(attained=0.995, floor=9, hours=4.0)

    low = outcome(attained=0.8, advised=9, floor=7, hours=9.0)

    (found,) = standings([record(plain), record(floored), record(low)])

    assert (found.attained.value, found.ratio.value, found.floor) == (0.995, 2.0, 9)


def test_a_swept_run_is_nobody_s_standing() -> None:
    assert standings([record(outcome(), Choice.SWEPT)]) == ()


def test_a_line_has_the_median_over_the_cells_that_are_met() -> None:
    hours = {2.0: 1.0, 2.2: 1.0, 3.0: 1.0, 9.0: 0.5}
    cells = [replace(CELL, load_s=float(number)) for number in range(4)]
    records = [
        record(outcome(cell=cell, hours=each, attained=attained))
        for cell, (each, attained) in zip(cells, hours.items(), strict=True)
    ]

    (line,) = lines(standings(records))

    assert (line.met, line.cells, line.lowest) == (3, 4, 0.5)
    assert line.ratio is not None
    assert (line.ratio.value, line.most) == (1.1, 1.5)
