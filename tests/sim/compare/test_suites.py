"""Which cells there are: the grid of 36, and every value of every axis at least once."""

from collections import Counter

import pytest

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.contenders import PEERS, STATIC
from scaler.sim.compare.suites import LOAD_TIMES_S, Part, generated, grid, public, services
from scaler.sim.generated import Family, TuningSeedError
from scaler.sim.workload import SHIPPED


def test_the_grid_is_six_workloads_with_four_load_times_at_2_and_two_at_8() -> None:
    cells = grid()

    assert len(set(cells)) == len(cells) == 36
    assert Counter(cell.pool for cell in cells) == {2.0: 24, 8.0: 12}
    assert {cell.workload for cell in cells} == set(SHIPPED)
    assert {cell.load_s for cell in cells if cell.pool == 2.0} == set(LOAD_TIMES_S)


def test_the_public_suite_has_every_value_of_every_axis() -> None:
    cells = [entry.cell for entry in public()]

    assert len(set(cells)) == len(cells)
    assert {cell.pool for cell in cells} == {2.0, 8.0, 32.0}
    assert {cell.load_s for cell in cells} >= set(LOAD_TIMES_S)
    assert {cell.engine for cell in cells} >= {"llama-3.1-8b/H100", "llama-3.1-8b/L40S", "llama-3.1-70b/H100"}
    assert {(cell.workload, cell.pool) for cell in cells if cell.window == "day"} == {
        (name, pool) for name in ("azure2024-conv", "servegen-m-large", "o365-c-prod") for pool in (8.0, 32.0)
    }


def test_everybody_is_swept_in_every_cell_of_the_grid_on_five_seeds() -> None:
    entries = [entry for entry in public() if entry.part is Part.GRID]

    assert all(set(entry.swept) == {*PEERS, STATIC} for entry in entries)
    assert {entry.seeds for entry in entries} == {(1, 2, 3, 4, 5)}


def test_a_report_takes_no_service_that_rules_were_tuned_on() -> None:
    assert [entry.cell.workload for entry in generated(100)][:2] == ["generated-100", "generated-101"]
    assert len(generated(100)) == 100
    with pytest.raises(TuningSeedError, match="seed = 99"):
        generated(99)


def test_96_services_in_a_row_hold_each_family_with_each_load_time_and_fleet_once() -> None:
    families = tuple(Family)

    def kind(cell: Cell) -> tuple[Family, float, float]:
        seed = int(cell.workload.removeprefix("generated-"))
        return families[seed % len(families)], cell.load_s, cell.pool

    assert set(Counter(map(kind, services(range(200, 296)))).values()) == {1}
