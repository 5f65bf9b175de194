"""Policies over seeds and cells, and the bar, on outcomes by hand."""

from dataclasses import replace

import pytest

from scaler.sim.compare.bar import Verdict, verdicts
from scaler.sim.compare.contenders import OURS, STATIC
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.standings import Choice, Record, lines, mean_of, median_of, standings
from scaler.sim.compare.suites import SEEDS, Part, grid, services
from tests.sim.compare.outcomes import CELL, outcome

WEEK = replace(CELL, workload="o365-c-prod", window="day", pool=8.0)


def record(each: Outcome, choice: Choice = Choice.OWN, part: Part = Part.GRID) -> Record:
    return Record(part=part, choice=choice, outcome=each)


def bar(records: list[Record], line: str) -> Verdict:
    (found,) = [each for each in verdicts(standings(records), records) if line in each.line]
    return found


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

    (found,) = standings([record(plain), record(floored)])

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


def test_33_of_36_cells_reach_the_bar_and_32_do_not() -> None:
    def on_the_grid(missed: int) -> list[Record]:
        return [record(outcome(cell=cell, attained=0.98 if n < missed else 0.995)) for n, cell in enumerate(grid())]

    assert bar(on_the_grid(3), "33 of 36").is_reached is True
    assert bar(on_the_grid(4), "33 of 36").is_reached is False
    assert bar(on_the_grid(4)[4:], "33 of 36").is_reached is None  # a part of the grid tells nothing


def test_one_dear_cell_misses_the_limit_on_all() -> None:
    records = [record(outcome(cell=cell, hours=3.3 if n == 0 else 2.0)) for n, cell in enumerate(grid())]

    assert bar(records, "none over 1.6").is_reached is False
    assert bar(records, "1.20 times").is_reached is True


def test_a_constant_that_meets_what_we_miss_is_the_better() -> None:
    ours = [record(outcome(cell=WEEK, attained=0.98, hours=1.0), part=Part.DAYS)]
    constant = outcome(policy=STATIC, threshold=9.0, cell=WEEK, hours=5.0)

    assert bar([*ours, record(constant, Choice.BEST, Part.DAYS)], "best constant").figure == "0 of 1"


def test_one_threshold_for_everything_is_beaten_by_cost_and_by_cells() -> None:
    def with_theirs(hours: float, missed: int) -> list[Record]:
        ours = [record(outcome(cell=cell, hours=2.1)) for cell in grid()]
        attained = [0.9 if number < missed else 0.995 for number in range(36)]
        return ours + [
            record(outcome(policy="knative", threshold=9.0, cell=cell, hours=hours, attained=each), Choice.SINGLE)
            for cell, each in zip(grid(), attained, strict=True)
        ]

    line = "knative at one threshold"
    assert bar(with_theirs(2.5, missed=1), line).is_reached is True
    assert bar(with_theirs(2.5, missed=0), line).is_reached is False  # as many cells as ours
    assert bar(with_theirs(2.0, missed=1), line).is_reached is False  # cheaper than ours


def test_the_frontier_asks_what_a_peer_attains_for_the_same_replica_hours() -> None:
    def with_theirs(hours: float, attained: float) -> list[Record]:
        ours = [record(outcome(cell=cell, attained=0.995, hours=2.0)) for cell in grid()]
        return ours + [
            record(outcome(policy="wva-v2", threshold=0.5, cell=cell, attained=attained, hours=hours), Choice.SWEPT)
            for cell in grid()
        ]

    line = "wva-v2's frontier"
    assert bar(with_theirs(1.9, attained=0.99), line).is_reached is True
    assert bar(with_theirs(2.1, attained=1.0), line).is_reached is True  # more in time, for more
    assert bar(with_theirs(2.0, attained=0.999), line).is_reached is False


def test_services_that_the_bound_cannot_serve_ask_for_97_per_cent_only() -> None:
    records = [
        record(
            outcome(cell=cell, attained=0.975 if n == 0 else 0.99, reach=0.98 if n == 0 else 1.0), part=Part.GENERATED
        )
        for n, cell in enumerate(services(range(100, 200)))
    ]

    assert bar(records, "wherever the bound").figure == "99 of 99"
    assert bar(records, "wherever the bound").is_reached is True
    assert bar(records, "never below").is_reached is True


def test_the_flips_are_those_of_the_worst_seed() -> None:
    records = [record(outcome(seed=seed, flips_per_hour=2.5 if seed == 3 else 0.0)) for seed in SEEDS]

    assert bar(records, "flips an hour").is_reached is False
    assert records[0].outcome.job.contender.name == OURS
