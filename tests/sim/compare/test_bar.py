"""The bar on outcomes by hand: each line is reached, not reached, or not told of where not all was run."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from scaler.sim.compare.bar import WITH_PEERS, verdicts
from scaler.sim.compare.cells import Cell
from scaler.sim.compare.contenders import OURS, STATIC
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.standings import Choice, Record, standings
from scaler.sim.compare.suites import SEEDS, Part, grid, public, services
from scaler.sim.compare.verdict import Verdict
from tests.sim.compare.outcomes import outcome

DAYS = [entry.cell for entry in public() if entry.part is Part.DAYS]
PLACES = [(entry.cell, entry.part) for entry in public() if entry.part in WITH_PEERS]
SERVICES = services(range(100, 200))


def record(each: Outcome, choice: Choice = Choice.OWN, part: Part = Part.GRID) -> Record:
    return Record(part=part, choice=choice, outcome=each)


def bar(records: Sequence[Record], line: str) -> Verdict:
    (found,) = [each for each in verdicts(standings(records), records) if line in f"{each.peer} {each.line}"]
    return found


def ours_everywhere(**facts: float) -> list[Record]:
    return [record(outcome(cell=cell, **facts), part=part) for cell, part in PLACES]  # type: ignore[arg-type]  # by name


def theirs_everywhere(policy: str, choice: Choice, run: Callable[[int], dict[str, float]]) -> list[Record]:
    """A peer's outcome in each place, of which ``run`` says what matters."""
    return [
        record(outcome(policy=policy, threshold=9.0, cell=cell, **run(n)), choice, part)  # type: ignore[arg-type]  # by name
        for n, (cell, part) in enumerate(PLACES)
    ]


# --- The grid and the days ---------------------------------------------------------------------------------------


def test_33_of_36_cells_reach_the_bar_and_32_do_not() -> None:
    def on_the_grid(missed: int) -> list[Record]:
        return [record(outcome(cell=cell, attained=0.98 if n < missed else 0.995)) for n, cell in enumerate(grid())]

    assert bar(on_the_grid(3), "grid: the objective").is_reached is True
    assert bar(on_the_grid(4), "grid: the objective").is_reached is False
    assert bar(on_the_grid(4)[4:], "grid: the objective").is_reached is None  # a part of the grid tells nothing


def test_a_grid_of_which_nothing_is_met_is_told_and_not_left_out() -> None:
    records = [record(outcome(cell=cell, attained=0.9)) for cell in grid()]

    for line in ("grid: the objective", "grid: replica-hours at most 1.20", "grid: none over 1.6"):
        assert bar(records, line).is_reached is False


def test_one_dear_cell_misses_the_limit_on_all() -> None:
    records = [record(outcome(cell=cell, hours=3.3 if n == 0 else 2.0)) for n, cell in enumerate(grid())]

    assert bar(records, "grid: none over 1.6").is_reached is False
    assert bar(records, "grid: replica-hours at most 1.20").is_reached is True


def test_whole_days_have_the_grid_s_limits_each_by_itself() -> None:
    def on_days(missed: int, hours: float) -> list[Record]:
        attained = [0.98 if number < missed else 0.995 for number in range(len(DAYS))]
        runs = zip(DAYS, attained, strict=True)
        return [record(outcome(cell=cell, attained=each, hours=hours), part=Part.DAYS) for cell, each in runs]

    assert {cell.pool for cell in DAYS} == {8.0, 32.0}
    assert bar(on_days(0, 2.3), "whole days: the objective").is_reached is True
    assert bar(on_days(1, 2.3), "whole days: the objective").is_reached is False  # 33 of 36 are all of six
    assert bar(on_days(0, 2.3), "whole days: replica-hours at most 1.20").is_reached is True
    assert bar(on_days(0, 2.5), "whole days: replica-hours at most 1.20").is_reached is False
    assert bar(on_days(0, 3.3), "whole days: none over 1.6").is_reached is False
    assert bar(on_days(0, 2.3)[1:], "whole days: none over 1.6").is_reached is None


def test_a_constant_that_meets_what_we_miss_is_the_better() -> None:
    ours = [record(outcome(cell=cell, attained=0.98, hours=1.0), part=Part.DAYS) for cell in DAYS]
    constants = [
        record(outcome(policy=STATIC, threshold=9.0, cell=cell, hours=5.0), Choice.BEST, Part.DAYS) for cell in DAYS
    ]

    assert bar([*ours, *constants], "best constant").figure.startswith("0 of 6")
    assert bar([*ours, *constants], "best constant").is_reached is False


def test_five_of_six_constants_beaten_are_three_of_four_and_four_are_not() -> None:
    def with_constants(cheaper: int) -> list[Record]:
        ours = [record(outcome(cell=cell, hours=2.0), part=Part.DAYS) for cell in DAYS]
        hours = [2.4 if number < cheaper else 1.9 for number in range(len(DAYS))]
        runs = zip(DAYS, hours, strict=True)
        return ours + [
            record(outcome(policy=STATIC, threshold=9.0, cell=cell, hours=each), Choice.BEST, Part.DAYS)
            for cell, each in runs
        ]

    assert bar(with_constants(5), "best constant").is_reached is True
    assert bar(with_constants(4), "best constant").is_reached is False


# --- Against peers -----------------------------------------------------------------------------------------------


def test_one_threshold_for_everything_is_beaten_by_cost_and_by_cells() -> None:
    def with_theirs(hours: float, missed: int) -> list[Record]:
        def run(number: int) -> dict[str, float]:
            return {"hours": hours, "attained": 0.9 if number < missed else 0.995}

        return ours_everywhere(hours=2.1) + theirs_everywhere("knative", Choice.SINGLE, run)

    line = "knative at one threshold"
    assert bar(with_theirs(2.5, missed=1), line).is_reached is True
    assert bar(with_theirs(2.5, missed=0), line).is_reached is False  # as many cells as ours
    assert bar(with_theirs(2.0, missed=1), line).is_reached is False  # cheaper than ours
    assert bar(with_theirs(2.5, missed=1)[1:], line).is_reached is None


def test_one_threshold_for_everything_is_held_against_ours_on_the_seed_that_it_was_run_on() -> None:
    def run(number: int) -> dict[str, float]:
        return {"hours": 2.5, "attained": 0.9 if number == 0 else 0.995}

    theirs = theirs_everywhere("knative", Choice.SINGLE, run)
    dear = [record(outcome(cell=cell, seed=2, hours=9.0), part=part) for cell, part in PLACES]

    assert bar([*ours_everywhere(hours=2.1), *dear, *theirs], "knative at one threshold").is_reached is True


def test_the_best_threshold_of_each_cell_is_beaten_in_three_of_four_that_either_meets() -> None:
    def with_theirs(dearer: int) -> list[Record]:
        def run(number: int) -> dict[str, float]:
            return {"hours": 2.5 if number < dearer else 1.9}

        return ours_everywhere(hours=2.1) + theirs_everywhere("ray-serve", Choice.BEST, run)

    assert len(PLACES) == 50
    assert bar(with_theirs(38), "ray-serve at the best").is_reached is True
    assert bar(with_theirs(37), "ray-serve at the best").is_reached is False


@pytest.mark.parametrize(
    ("hours", "attained", "p99_s", "more_in_time", "sooner"),
    [
        (1.9, 0.99, 2.5, True, True),  # cheaper, and worse at it
        (2.1, 1.0, 0.1, True, True),  # better, for more: at our cost it has nothing
        (2.0, 0.999, 2.5, False, True),
        (2.0, 0.99, 0.5, True, False),
        (2.0, 0.995, 1.0, False, False),  # a tie is the peer's
    ],
)
def test_at_equal_replica_hours_both_the_share_and_the_tail_count(
    hours: float, attained: float, p99_s: float, *, more_in_time: bool, sooner: bool
) -> None:
    def run(_: int) -> dict[str, float]:
        return {"hours": hours, "attained": attained, "p99_s": p99_s}

    records = ours_everywhere(hours=2.0, attained=0.995, p99_s=1.0) + theirs_everywhere("wva-v2", Choice.SWEPT, run)

    assert bar(records, "wva-v2 at equal replica-hours: more in time").is_reached is more_in_time
    assert bar(records, "wva-v2 at equal replica-hours: a lower P99").is_reached is sooner


def test_on_other_seeds_than_the_sweep_s_nobody_is_held_against_the_frontier() -> None:
    ours = [record(outcome(cell=cell, seed=seed), part=part) for cell, part in PLACES for seed in SEEDS[1:]]
    theirs = theirs_everywhere("knative", Choice.SWEPT, lambda _: {"hours": 1.0})

    assert not [each for each in verdicts(standings(ours), [*ours, *theirs]) if each.peer]


# --- Generated services ------------------------------------------------------------------------------------------


def on_services(run: Callable[[int, Cell], dict[str, float]]) -> list[Record]:
    return [
        record(outcome(cell=cell, **run(n, cell)), part=Part.GENERATED)  # type: ignore[arg-type]  # by name
        for n, cell in enumerate(SERVICES)
    ]


def test_services_that_the_bound_cannot_serve_ask_for_97_per_cent_only() -> None:
    records = on_services(lambda n, _: {"attained": 0.975, "reach": 0.98} if n == 0 else {"attained": 0.99})

    assert bar(records, "wherever the bound").figure.startswith("99 of 99")
    assert bar(records, "wherever the bound").is_reached is True
    assert bar(records, "never below").is_reached is True


def test_one_service_below_its_limit_is_named() -> None:
    records = on_services(lambda n, _: {"attained": 0.96 if n == 7 else 0.99})

    assert bar(records, "wherever the bound").is_reached is False
    assert bar(records, "never below").is_reached is False
    assert "generated-107" in bar(records, "never below").figure


def test_the_median_of_services_is_of_all_of_them() -> None:
    dear = on_services(lambda n, _: {"hours": 3.2 if n < 51 else 2.0})
    fair = on_services(lambda n, _: {"hours": 3.2 if n < 49 else 2.0})

    assert bar(dear, "generated: replica-hours").is_reached is False
    assert bar(fair, "generated: replica-hours").is_reached is True


def test_peers_are_held_to_the_services_too() -> None:
    ours = on_services(lambda *_: {"hours": 2.0})
    theirs = [
        record(outcome(policy="knative", threshold=9.0, cell=cell, attained=0.9), Choice.SINGLE, Part.GENERATED)
        for cell in SERVICES
    ]

    assert bar([*ours, *theirs], "knative at one threshold").is_reached is True


# --- Flips -------------------------------------------------------------------------------------------------------


def test_the_flips_are_those_of_the_worst_seed_and_not_told_of_a_part() -> None:
    def everywhere(flips_per_hour: float) -> list[Record]:
        records = [
            record(outcome(cell=entry.cell, seed=seed), part=entry.part) for entry in public() for seed in entry.seeds
        ]
        one = replace(records[7].outcome, figures={**records[7].outcome.figures, "flips_per_hour": flips_per_hour})
        return [*records[:7], replace(records[7], outcome=one), *records[8:]]

    assert bar(everywhere(2.0), "flips an hour").is_reached is True
    assert bar(everywhere(2.5), "flips an hour").is_reached is False
    assert bar(everywhere(2.0)[:100], "flips an hour").is_reached is None
    assert everywhere(2.0)[0].outcome.job.contender.name == OURS
