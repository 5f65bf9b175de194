"""The figures of docs/validation.md: ``python -m scaler.wiring.validating FOLDER`` prints them and draws a picture."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scaler.sim.compare.step import PUBLISHED, Stepped, stepped
from scaler.sim.compare.validation import (
    DECODE_MS,
    RATES,
    closed_loop,
    decode_points,
    knee_share,
    mean_error,
    picture,
    prefill_points,
)
from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.workload import row_name


def main(folder: Path) -> None:
    """Write the picture into ``folder``, and print the tables."""
    console = Console(width=100)
    shares = {rps: knee_share(rps, range(8)) for rps in RATES}
    folder.mkdir(parents=True, exist_ok=True)
    picture(shares).write_html(folder / "validation.html", include_plotlyjs=True)
    console.print({rps: round(share, 3) for rps, share in shares.items()})
    for engine in DECODE_MS:
        errors = [mean_error(points, engine) for points in (decode_points(), prefill_points())]
        console.print(f"{row_name(engine)}: decode off by {errors[0]:.1%}, prompts by {errors[1]:.1%}")
    rps, step_s = closed_loop(LLAMA_8B_H100, 64, 128, 128)
    console.print(f"closed loop of 64: {rps:.1f} requests a second, {1e3 * step_s:.1f} ms between tokens")
    table = Table("who", "replicas", "P99 TTFT, s", "answered", title="20 requests a second for 600 s")
    for who, replicas, p99_s, note in PUBLISHED:
        table.add_row(f"{who}, published", f"{replicas:g}", f"{p99_s:g}", note)
    for each in stepped():
        table.add_row(*_row(each))
    console.print(table)


def _row(each: Stepped) -> tuple[str, str, str, str]:
    return each.policy, f"{each.replicas:.2f}", f"{each.p99_s:.0f}", f"{each.answered:.1%}"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
