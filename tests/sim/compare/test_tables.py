"""The tables in words, for the page and for the documents."""

import json
from dataclasses import replace

from scaler.sim.compare.bar import verdicts
from scaler.sim.compare.standings import Choice, Record, lines, standings
from scaler.sim.compare.suites import Part
from scaler.sim.compare.tables import Table, as_markdown, read_table, tables
from tests.sim.compare.outcomes import CELL, outcome

HARD = replace(CELL, workload="azure2023-code")
RECORDS = [
    Record(part=Part.GRID, choice=Choice.OWN, outcome=outcome(hours=2.5)),
    Record(part=Part.GRID, choice=Choice.OWN, outcome=outcome(cell=HARD, attained=0.9, reach=0.97, floor=7)),
    Record(part=Part.GRID, choice=Choice.BEST, outcome=outcome(policy="knative", threshold=9.0, hours=3.0)),
    Record(part=Part.GRID, choice=Choice.SINGLE, outcome=outcome(policy="knative", threshold=9.0, hours=3.0)),
]


def found() -> dict[str, Table]:
    each = standings(RECORDS)
    return {table.title: table for table in tables(verdicts(each, RECORDS), lines(each), each)}


def test_ours_comes_first_and_every_policy_has_a_row_for_each_choice() -> None:
    rows = found()["Over the cells: grid"].rows

    assert [row[:3] for row in rows] == [
        ("forebay", "own defaults", "1 of 2"),
        ("knative", "best for the cell, in hindsight", "1 of 1"),
        ("knative", "one for everything", "1 of 1"),
    ]


def test_a_peer_has_one_row_with_each_of_its_lines() -> None:
    table = found()["The bar: against each peer"]

    assert [row[0] for row in table.rows] == ["knative"]
    assert all(cell.startswith("not all was run: ") for cell in table.rows[0][1:])


def test_a_cell_says_who_else_met_it_for_least_and_where_the_bound_ends() -> None:
    cells = {row[0]: row for row in found()["Every cell of Forebay: grid"].rows}

    assert cells[CELL.name][-1] == "knative at 1.50"
    assert cells[HARD.name][-1] == "none meets it"
    assert found()["Where the bound itself does not reach 99%"].rows == ((HARD.name, "97.00%", "90.00%", "7"),)


def test_what_is_read_back_from_a_file_is_the_same_markdown() -> None:
    for table in found().values():
        assert as_markdown(read_table(json.loads(json.dumps(table.facts())))) == as_markdown(table)


def test_markdown_sets_columns_of_numbers_to_the_right_and_keeps_its_bars() -> None:
    table = Table(title="t", head=("who", "n"), rows=(("a|b", "1.5 (1.2 to 1.6)"), ("c", "")))

    assert as_markdown(table) == "### t\n\n| who | n |\n|--|--:|\n| a\\|b | 1.5 (1.2 to 1.6) |\n| c |  |\n"
