"""What an idea is worth: told from runs without it, which are kept like all others and never taken for whole ones."""

import json
from pathlib import Path

import pytest

from scaler.sim.compare.ablation import IDEAS, NOTHING, Idea
from scaler.sim.compare.cells import Cell
from scaler.sim.compare.outcomes import Outcome
from scaler.wiring import ablation, comparing
from scaler.wiring.ablation import ablated_kept, main, table_of, worth_of
from scaler.wiring.errors import UserError
from tests.sim.compare.outcomes import outcome

SMALL = Cell(workload="azure2023-conv", pool=0.5, load_s=45.0, engine="llama-3.1-8b/L40S")


def idea(name: str) -> Idea:
    (found,) = [each for each in IDEAS if each.name == name]
    return found


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_worth_is_told_beside_the_whole_core() -> None:
    whole = [outcome(hours=2.0), outcome(hours=4.0), outcome(hours=2.0)]
    fewer = [
        outcome(hours=2.5, flips_per_hour=3.0),
        outcome(hours=4.4),
        outcome(hours=1.0, attained=0.8),
    ]

    worth = worth_of("hold", "the grid", fewer, whole)

    assert (worth.met, worth.of, worth.lowest) == (2, 3, 0.8)
    assert worth.ratio == pytest.approx((1.25 + 2.2) / 2)
    assert worth.beside == pytest.approx(1.1)
    assert (worth.flips_mean, worth.flips_most) == (1.0, 3.0)


def test_where_nothing_is_met_there_is_no_median() -> None:
    missed = worth_of("headroom", "the grid", [outcome(attained=0.5)], [outcome()])

    assert table_of("the grid", [missed]).rows[0][3] == "none met"


def test_a_run_without_an_idea_is_kept_apart_from_one_of_the_whole_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ablated_kept(tmp_path, (NOTHING, SMALL))
    fewer = ablated_kept(tmp_path, (idea("headroom"), SMALL))

    def refused(*_: object) -> Outcome:
        raise AssertionError("it was run again")

    assert len(list((tmp_path / "runs").iterdir())) == 2
    for module in (ablation, comparing):
        monkeypatch.setattr(module, "outcome_of", refused)
    assert ablated_kept(tmp_path, (idea("headroom"), SMALL)) == fewer
    assert ablated_kept(tmp_path, (NOTHING, SMALL)) == whole


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_table_has_the_whole_core_and_each_idea_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablation, "CELLS", {"one cell": (SMALL,)})

    main([str(tmp_path), "hold", "headroom"])

    facts = json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))
    assert [row[0] for row in facts["tables"][0]["rows"]] == ["nothing", "headroom", "hold"]
    assert "| headroom | demand is expected to stay as it is |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "a folder must be named"),
        (["{}", "magic"], "magic: must be in the name of an idea: look-ahead, headroom,"),
        (["{}/file"], "cannot be written"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(tmp_path: Path, words: list[str], why: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError) as refused:
        main([word.format(tmp_path) for word in words])

    assert why in str(refused.value)
