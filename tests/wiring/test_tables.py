"""The tables of a comparison as Markdown: printed, or put between the marks of a file."""

import json
from pathlib import Path

import pytest

from scaler.sim.compare.tables import Table
from scaler.wiring.errors import UserError
from scaler.wiring.tables import main

TABLE = Table(title="The bar", head=("line", "figure"), rows=(("met", "33"),))
MARKDOWN = "`forebay compare`: 36 cells.\n\n### The bar\n\n| line | figure |\n|--|--:|\n| met | 33 |\n"


def summary(folder: Path, suite: str = "public", name: str = "summary.json") -> Path:
    folder.mkdir(exist_ok=True)
    facts = {"suite": suite, "title": "forebay compare", "note": "36 cells.", "tables": [TABLE.facts()]}
    (folder / name).write_text(json.dumps(facts), encoding="utf-8")
    return folder


def test_the_tables_of_every_folder_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = summary(summary(tmp_path / "public"), "ablation", "ablation.json")

    main([str(folder), str(summary(tmp_path / "more", "generated"))])

    assert capsys.readouterr().out == "\n".join([MARKDOWN] * 3)


def test_tables_go_between_their_marks_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    page = tmp_path / "compare.md"
    page.write_text("# Before\n<!-- begin public -->\nold\n<!-- end public -->\nafter\n", encoding="utf-8")
    words = [str(summary(tmp_path / "public")), "--into", str(page)]

    main(words)
    first = page.read_text(encoding="utf-8")
    main(words)

    assert first == f"# Before\n<!-- begin public -->\n\n{MARKDOWN}\n<!-- end public -->\nafter\n"
    assert page.read_text(encoding="utf-8") == first


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "a folder must be named: python -m scaler.wiring.tables DIR"),
        (["--into"], "--into: a file must follow"),
        (["{}/none"], "/none: has neither summary.json nor ablation.json"),
        (["{}/broken"], "/broken/summary.json: is not what a comparison writes"),
        (["{}/public", "--into", "{}/none.md"], "/none.md: cannot be read and written"),
        (["{}/public", "--into", "{}/bare.md"], "/bare.md: must have the lines <!-- begin public --> and"),
    ],
)
def test_what_cannot_be_told_is_refused_in_a_sentence(tmp_path: Path, words: list[str], why: str) -> None:
    summary(tmp_path / "public")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "summary.json").write_text('{"suite": ', encoding="utf-8")
    (tmp_path / "bare.md").write_text("nothing", encoding="utf-8")

    with pytest.raises(UserError) as refused:
        main([word.format(tmp_path) for word in words])

    assert why in str(refused.value)


def test_the_page_of_the_comparison_has_a_place_for_each_suite() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")

    for suite in ("public", "generated", "ablation"):
        assert page.count(f"<!-- begin {suite} -->") == page.count(f"<!-- end {suite} -->") == 1
