"""What the hold and the flap budget cost beside the least: told of a real run, or refused in a sentence."""

from pathlib import Path

import pytest

from scaler.sim.compare.cells import Cell
from scaler.wiring.envelope import looked_at, main
from scaler.wiring.errors import UserError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_is_kept_is_no_less_than_the_least_and_that_no_less_than_what_is_needed() -> None:
    seen = looked_at(Cell(workload="azure2023-conv", pool=2.0, load_s=120.0))

    assert 0.5 < seen.needed <= seen.least <= seen.kept
    assert 0.0 < seen.attained <= 1.0
    assert f"{seen.kept:6.3f}" in seen.told()


def test_words_that_are_in_no_cell_are_refused() -> None:
    with pytest.raises(UserError, match="nothing: must be words in the name of a cell, such as: azure2023-conv"):
        main(["nothing"])
