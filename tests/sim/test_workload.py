"""Traffic for a run: its size, its pieces, where it comes from, and that one seed is one traffic."""

import lzma
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sim.latency import ENGINES, LLAMA_8B_H100
from scaler.sim.rates import Rates, Window, day
from scaler.sim.trace import Trace, TraceError
from scaler.sim.workload import (
    PIECE_S,
    SHIPPED,
    SUSTAINED_RPS,
    Rated,
    Recorded,
    drawn_from,
    engine_named,
    filling,
    opened,
    row_name,
    shipped_text,
    sustained_rps,
)

TRACES = Path(__file__).parents[2] / "scaler" / "sim" / "traces"


conv = cache(lambda: drawn_from("conv"))


def steady(rps: float, span_s: int, sd_rps: float = 0.0) -> Rated:
    rates = Rates(name="steady", rps=np.full(span_s, rps), sd_rps=np.full(span_s, sd_rps))
    return Rated(rates=rates, lengths=conv())


def whole(pieces: Sequence[Trace]) -> tuple[list[float], list[int], list[int]]:
    return (
        np.concatenate([piece.arrival_s for piece in pieces]).tolist(),
        np.concatenate([piece.prompt_tokens for piece in pieces]).tolist(),
        np.concatenate([piece.output_tokens for piece in pieces]).tolist(),
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_trace_opens_and_is_named_in_the_attribution(name: str) -> None:
    assert opened(name).mean_rps > 1.0
    year, _, part = name.partition("-")
    assert f"`{year}_{part}.csv.xz`" in (TRACES / "ATTRIBUTION.md").read_text(encoding="utf-8")


def test_the_traces_come_with_their_licences_and_take_little_room() -> None:
    assert "Apache License" in (TRACES / "LICENSE.Apache-2.0.txt").read_text(encoding="utf-8")
    assert "MIT License" in (TRACES / "LICENSE.MIT.txt").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in TRACES.iterdir()) < 400_000


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_of_any_form_opens_by_its_header(tmp_path: Path, *, is_packed: bool) -> None:
    path = tmp_path / ("rates.csv.xz" if is_packed else "rates.csv")
    text = shipped_text("servegen-deepseek-r1").encode()
    path.write_bytes(lzma.compress(text) if is_packed else text)

    assert opened(str(path)).mean_rps == opened("servegen-deepseek-r1").mean_rps


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            b"when,how many\n1,2\n",
            "line 1: must be the header of a trace: TIMESTAMP,ContextTokens,GeneratedTokens; t,rps",
        ),
        (b"", "line 1: must be the header"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_sentence(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)

    with pytest.raises(TraceError) as raised:
        opened(str(path))
    assert str(raised.value).startswith(f"{path}: {fault}")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_or_not_packed_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        opened(str(tmp_path / "none.csv"))
    (tmp_path / "plain.xz").write_text("t,rps\n")
    with pytest.raises(TraceError, match="is not an xz file"):
        opened(str(tmp_path / "plain.xz"))
    with pytest.raises(TraceError, match="lengths = long: must be conv or code"):
        opened("servegen-m-large", "long")


@given(rps=st.floats(0.0, 20.0), span_s=st.integers(1, 2500), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_pieces_are_in_order_and_each_in_its_own_time(rps: float, span_s: int, seed: int) -> None:
    """Kills a piece that begins with the arrivals of the one before."""
    pieces = list(steady(rps, span_s).pieces(seed))

    assert len(pieces) == -(-span_s // PIECE_S)
    for number, piece in enumerate(pieces):
        assert (np.diff(piece.arrival_s) >= 0.0).all()
        assert ((piece.arrival_s >= number * PIECE_S) & (piece.arrival_s < (number + 1) * PIECE_S)).all()
    assert all(piece.arrival_s.max(initial=0.0) < span_s for piece in pieces)


@given(seconds=st.lists(st.floats(0.0, 4000.0), min_size=1, max_size=50), factor=st.sampled_from([1.0, 0.5, 3.0]))
@settings(deadline=None)
def test_pieces_of_a_recording_lose_and_add_nothing(seconds: list[float], factor: float) -> None:
    """Kills a cut that drops the request on a boundary, or the last one."""
    at_s = np.sort(np.array(seconds)) - min(seconds)
    trace = Trace(
        name="t",
        arrival_s=at_s,
        prompt_tokens=np.arange(len(at_s), dtype=np.int32) + 1,
        output_tokens=np.ones(len(at_s), dtype=np.int32),
    )
    pieces = list(Recorded(trace=trace, factor=factor).pieces(1))

    arrivals, prompts, _ = whole(pieces)
    assert arrivals == sorted(arrivals)
    if factor == 1.0:
        assert (arrivals, prompts) == (at_s.tolist(), list(range(1, len(at_s) + 1)))
    if factor == 3.0:
        assert sorted(prompts) == sorted([*range(1, len(at_s) + 1)] * 3)


@pytest.mark.parametrize("name", ["azure2023-code", "servegen-deepseek-r1"])
def test_one_seed_is_one_traffic_and_another_is_another(name: str) -> None:
    traffic = filling(opened(name), 1.0, 2.0)

    assert whole(list(traffic.pieces(1))) == whole(list(traffic.pieces(1)))
    assert whole(list(traffic.pieces(1))) != whole(list(traffic.pieces(2)))


@pytest.mark.parametrize("pool", [2, 8, 32])
@pytest.mark.parametrize("name", ["azure2023-conv", "azure2024-conv", "o365-c-prod"])
def test_a_pool_is_filled_on_average(name: str, pool: int) -> None:
    traffic = opened(name)
    if isinstance(traffic, Rated):
        traffic = traffic.within(Window(from_s=40_000, until_s=40_000 + 3600))

    sized = filling(traffic, pool, 2.0)

    requests = sum(len(piece) for piece in sized.pieces(1))
    assert requests == pytest.approx(pool * 2.0 * sized.span_s, rel=0.05)
    assert sized.mean_rps == pytest.approx(pool * 2.0)


def test_traffic_that_cannot_fill_a_pool_is_refused() -> None:
    with pytest.raises(TraceError, match="must have traffic to fill a pool of 2"):
        filling(steady(0.0, 60), 2, 20.0)
    with pytest.raises(TraceError, match="takes 40000 times the traffic, and 1000 is the most"):
        filling(steady(1.0, 60), 2000, 20.0)


def test_lengths_are_drawn_as_whole_rows() -> None:
    lengths = drawn_from("code")
    rows = set(zip(lengths.prompt_tokens.tolist(), lengths.output_tokens.tolist(), strict=True))
    rated = Rated(rates=steady(5.0, 600).rates, lengths=lengths)

    _, prompts, outputs = whole(list(rated.pieces(3)))

    assert set(zip(prompts, outputs, strict=True)) <= rows


def test_the_prompt_tokens_of_a_series_of_tokens_come_out() -> None:
    traffic = opened("o365-c-prod")
    assert isinstance(traffic, Rated)
    on_tuesday = traffic.within(day(1))

    _, prompts, _ = whole(list(on_tuesday.pieces(1)))

    rows = [line.split(",") for line in shipped_text("o365-c-prod").splitlines()[1 + 1440 : 1 + 2880]]
    assert sum(prompts) == pytest.approx(sum(float(row[1]) for row in rows), rel=0.01)


def test_noise_is_by_the_minute_and_no_second_has_less_than_nothing() -> None:
    counts = np.histogram(whole(list(steady(100.0, 3600, sd_rps=80.0).pieces(1)))[0], bins=60, range=(0, 3600))[0] / 60

    assert counts.std() == pytest.approx(75.0, rel=0.3)  # 80, less what is cut off at zero
    assert counts.min() >= 0.0


def test_every_row_of_the_latency_model_has_its_sustainable_rates() -> None:
    assert {(row_name(engine), lengths) for engine in ENGINES for lengths in ("conv", "code")} == set(SUSTAINED_RPS)
    assert engine_named("llama-3.1-8b/H100") is LLAMA_8B_H100
    with pytest.raises(TraceError, match=r"engine = gpt: must be llama-3.1-8b/H100, .* or llama-3.1-70b/H100"):
        engine_named("gpt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rps"), [(name, rps) for (name, lengths), rps in SUSTAINED_RPS.items() if lengths == "conv"]
)
def test_the_plant_sustains_about_what_the_table_says_of_chat(name: str, rps: float) -> None:
    assert sustained_rps(engine_named(name), drawn_from("conv")) == pytest.approx(rps, rel=0.15)
