"""Traces: the shipped hour, files of that form, and more or less traffic."""

import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sim.trace import Trace, TraceError, load, scaled, shipped

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
PACKAGE = Path(__file__).parents[2] / "scaler" / "sim" / "traces"


def test_the_shipped_hour_is_what_was_published() -> None:
    hour = shipped()

    assert len(hour) == 19_366
    assert hour.arrival_s[0] == 0.0
    assert hour.duration_s == pytest.approx(3501.72, abs=0.01)
    assert hour.prompt_tokens.mean() == pytest.approx(1155, abs=1)
    assert hour.output_tokens.mean() == pytest.approx(211, abs=1)


def test_the_shipped_hour_comes_with_its_licence_and_says_what_was_changed() -> None:
    assert "Attribution 4.0 International" in (PACKAGE / "LICENSE.CC-BY-4.0.txt").read_text(encoding="utf-8-sig")
    assert "Changed:" in (PACKAGE / "ATTRIBUTION.md").read_text(encoding="utf-8")


def test_a_trace_cannot_be_written_to() -> None:
    hour = shipped()

    with pytest.raises(ValueError, match="read-only"):
        hour.arrival_s[0] = 1.0


def test_a_file_gives_what_the_package_ships(tmp_path: Path) -> None:
    packed = (PACKAGE / "azure2023_conv.csv.xz").read_bytes()
    path = tmp_path / "conv.csv"
    path.write_bytes(lzma.decompress(packed))

    trace, hour = load(path), shipped()

    assert (trace.arrival_s == hour.arrival_s).all()
    assert (trace.prompt_tokens == hour.prompt_tokens).all()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: must be TIMESTAMP,"),
        ("time,in,out\n1,2,3\n", "line 1: must be TIMESTAMP,"),
        (f"{HEADER}\n", "line 2: must be a request"),
        (f"{HEADER}\n2023-11-16 18:15:46.68,374\n", "line 2: must have 3 columns and has 2"),
        (f"{HEADER}\n2023-11-16 18:15:46.68,374,44,1\n", "line 2: must have 3 columns and has 4"),
        (f"{HEADER}\n2023-11-16 18:15:46,1,1\n\n", "line 3: must have 3 columns and has 0"),
        (f"{HEADER}\nnoon,374,44\n", "line 2: TIMESTAMP = noon: must be a time"),
        (f"{HEADER}\nNaT,374,44\n", "line 2: TIMESTAMP = NaT: must be a time"),
        (f"{HEADER}\n2023-11-16 18:15:46,0,44\n", "line 2: ContextTokens = 0: must be a whole number from 1 to"),
        (f"{HEADER}\n2023-11-16 18:15:46,374,nan\n", "line 2: GeneratedTokens = nan: must be a whole number"),
        (f"{HEADER}\n2023-11-16 18:15:46,1e3,1\n", "line 2: ContextTokens = 1e3: must be a whole number"),
        (f"{HEADER}\n2023-11-16 18:15:46,374,-4\n", "line 2: GeneratedTokens = -4: must be a whole number"),
        (f"{HEADER}\n2023-11-16 18:15:46,99999999999,4\n", "line 2: ContextTokens = 99999999999: must be"),
        (
            f"{HEADER}\n2023-11-16 18:15:46,1,1\n2023-11-16 18:15:45,1,1\n",
            "line 3: TIMESTAMP must not be before the line above",
        ),
    ],
)
def test_a_fault_names_file_line_and_limit(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(TraceError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: {fault}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_a_fault_of_one_sentence(tmp_path: Path) -> None:
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(TraceError, match="cannot be read: No such file"):
        load(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="is not UTF-8 text"):
        load(binary)


@given(factor=st.floats(0.05, 6.0), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=8)
def test_a_factor_multiplies_the_traffic_and_keeps_its_shape(factor: float, seed: int) -> None:
    """Kills copies that are laid over each other in step, or that are spread over another span."""
    hour = shipped()

    more = scaled(hour, factor, seed)

    assert len(more) == pytest.approx(factor * len(hour), rel=0.05, abs=300)
    assert (np.diff(more.arrival_s) >= 0.0).all()
    assert more.duration_s <= hour.duration_s
    minutes = np.arange(0, 3480, 60)
    before, after = (np.histogram(trace.arrival_s, minutes)[0] for trace in (hour, more))
    noise = 5.0 * np.sqrt(before * max(factor, 1.0)) + 0.15 * before * factor + 10.0
    assert (np.abs(after - factor * before) <= noise).all()


def test_one_is_the_trace_itself_and_a_seed_gives_the_same_trace_again() -> None:
    hour = shipped()

    assert (scaled(hour, 1.0, 5).arrival_s == hour.arrival_s).all()
    assert (scaled(hour, 2.5, 5).arrival_s == scaled(hour, 2.5, 5).arrival_s).all()
    assert not np.array_equal(scaled(hour, 2.5, 5).arrival_s, scaled(hour, 2.5, 6).arrival_s)


def test_pairs_of_prompt_and_output_stay_together() -> None:
    hour = shipped()

    def pairs(trace: Trace) -> set[tuple[int, int]]:
        return set(zip(trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), strict=True))

    assert pairs(scaled(hour, 3.3, 1)) == pairs(hour)


@pytest.mark.parametrize("factor", [0.0, -1.0, 1001.0, float("nan"), float("inf")])
def test_a_factor_out_of_bounds_is_refused(factor: float) -> None:
    with pytest.raises(TraceError, match="must be above 0 and at most 1000"):
        scaled(shipped(), factor, 1)


def test_traces_and_latency_do_not_load_the_compiler() -> None:
    script = "import sys, scaler.sim, scaler.sim.trace, scaler.sim.latency; sys.exit('numba' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0  # our own script
