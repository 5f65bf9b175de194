"""The CSV and the page."""

import csv
import re
from dataclasses import replace

from scaler.sim.compare.bar import verdicts
from scaler.sim.compare.pictures import pictures
from scaler.sim.compare.report import as_csv, as_html
from scaler.sim.compare.standings import Choice, Record, lines, standings
from scaler.sim.compare.suites import SEEDS, Part
from scaler.sim.compare.tables import tables
from tests.sim.compare.outcomes import CELL, outcome

HEADER = (
    "workload,load_s,pool,policy,threshold,seed,attained,p99_ttft_s,failed,replica_hours,oracle_replica_hours,"
    "scale_events,flips"
)


def test_the_csv_has_the_columns_that_were_asked_for_and_a_row_for_each_run() -> None:
    text = as_csv([outcome(policy="knative", threshold=35.0, attained=0.99), outcome(floor=4)])

    assert text.splitlines()[0] == HEADER
    ours, theirs = csv.DictReader(text.splitlines())
    assert (ours["policy"], ours["threshold"], ours["p99_ttft_s"]) == ("forebay+floor-4", "", "")
    assert (theirs["policy"], theirs["threshold"], theirs["attained"]) == ("knative", "35.0", "0.99")


def test_a_workload_says_its_window_and_engine_where_they_are_not_the_usual_ones() -> None:
    text = as_csv([outcome(cell=replace(CELL, window="day", engine="llama-3.1-70b/H100"))])

    assert text.splitlines()[1].startswith("azure2023-conv day llama-3.1-70b/H100,120.0,2.0,forebay,")


def test_rows_come_in_the_same_order_whatever_the_order_of_the_runs() -> None:
    runs = [outcome(seed=seed) for seed in SEEDS]

    assert as_csv(runs) == as_csv(reversed(runs))


def test_the_page_has_the_bar_and_a_frontier_and_fetches_nothing() -> None:
    swept = [outcome(policy="knative", threshold=value, hours=value) for value in (3.0, 2.5)]
    records = [Record(part=Part.GRID, choice=Choice.SWEPT, outcome=each) for each in swept]
    records.append(Record(part=Part.GRID, choice=Choice.OWN, outcome=outcome(cell=CELL)))
    found = standings(records)

    bar, over = verdicts(found, records), lines(found)
    page = as_html("title", "a <note>", tables(bar, over, found), pictures(records, found, over))

    assert "a &lt;note&gt;" in page
    assert "grid: the objective met in at least 33 of 36 cells" in page
    assert '"knative at 2.5"' in page
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', page)
