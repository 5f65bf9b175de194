"""The comparison as files: a CSV with a row for each run, and one HTML page that opens without a network."""

import csv
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.outcomes import Outcome
from scaler.sim.compare.tables import CELLS, Table, is_number

COLUMNS: Final = (
    *("workload", "load_s", "pool", "policy", "threshold", "seed", "attained", "p99_ttft_s"),
    *("failed", "replica_hours", "oracle_replica_hours", "scale_events", "flips"),
)
USUAL_ENGINE: Final = "llama-3.1-8b/H100"

STYLE: Final = """body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:14px}td,th{padding:.25em .7em;border-bottom:1px solid #ddd}
th{text-align:left;vertical-align:bottom}td{vertical-align:top}.n{text-align:right;font-variant-numeric:tabular-nums}
.yes{color:#1a7a2e}.no{color:#bb3344}.open{color:#777}"""

SHADES: Final = {"reached": "yes", "not reached": "no", "not all was run": "open"}
"""How what a cell begins with is coloured."""


# --- The CSV -----------------------------------------------------------------------------------------------------


def as_csv(outcomes: Iterable[Outcome]) -> str:
    """A row for each run, in order. ``threshold`` and ``p99_ttft_s`` are empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(map(_row, outcomes), key=lambda row: [str(value) for value in row]))
    return text.getvalue()


def _row(outcome: Outcome) -> tuple[str | float | int | None, ...]:
    job, figures = outcome.job, outcome.figures
    floor = "" if job.contender.floor is None else f"+floor-{job.contender.floor}"
    return (
        *(workload_of(job.cell), job.cell.load_s, job.cell.pool),
        *(job.contender.name + floor, job.contender.threshold, job.seed),
        *(figures["attained"], figures["ttft_p99_s"], figures["failed"], figures["replica_hours"]),
        *(outcome.oracle.replica_hours, figures["scale_events"], figures["flips"]),
    )


def workload_of(cell: Cell) -> str:
    """The workload with its window and engine, where they are not the usual ones."""
    window = "" if cell.window == "rise" else f" {cell.window}"
    engine = "" if cell.engine == USUAL_ENGINE else f" {cell.engine}"
    return cell.workload + window + engine


# --- The page -----------------------------------------------------------------------------------------------------


def as_html(title: str, note: str, tables: Sequence[Table], pictures: Iterable[str] = ()) -> str:
    """The page: what was run, the tables, and the pictures above the long tables of all cells."""
    first = [table for table in tables if not table.title.startswith(CELLS)]
    last = [table for table in tables if table.title.startswith(CELLS)]
    parts = [
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><p>{escape(note)}</p>",
        *map(_table, first),
        *pictures,
        *map(_table, last),
        "</body></html>",
    ]
    return "\n".join(parts)


def _table(table: Table) -> str:
    """An HTML table under its title. Columns of numbers are set to the right."""
    sides = ["n" if all(is_number(row[column]) for row in table.rows) else "" for column in range(len(table.head))]
    top = "".join(f'<th class="{side}">{escape(name)}</th>' for name, side in zip(table.head, sides, strict=True))
    rows = ["".join(_td(text, side) for text, side in zip(row, sides, strict=True)) for row in table.rows]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<h2>{escape(table.title)}</h2><table><tr>{top}</tr>{body}</table>"


def _td(text: str, side: str) -> str:
    shade = next((shade for word, shade in SHADES.items() if text.startswith(word)), side)
    return f'<td class="{shade}">{escape(text)}</td>'
