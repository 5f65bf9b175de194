"""The tables of a comparison as Markdown, so that no figure in the documents is typed by hand.

    python -m scaler.wiring.tables DIR...                         print those of each folder
    python -m scaler.wiring.tables DIR... --into docs/compare.md  put them between that file's marks instead

A folder is one that `forebay compare` or `python -m scaler.wiring.ablation` has written to; it may hold both. The marks
of a suite in a file are the lines ``<!-- begin public -->`` and ``<!-- end public -->``.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scaler.sim.compare.tables import as_markdown, read_table
from scaler.wiring.ablation import ABLATION
from scaler.wiring.comparing import SUMMARY
from scaler.wiring.errors import UserError

INTO: Final = "--into"
USAGE: Final = "python -m scaler.wiring.tables DIR... [--into FILE]"


def main(words: Sequence[str]) -> None:
    """Print the tables that ``words`` name, or put them into a file. Raises UserError."""
    folders, file = _asked(words)
    found = [each for folder in folders for each in _summaries(folder)]
    if file is None:
        sys.stdout.write("\n".join(markdown_of(facts) for _, facts in found))
        return
    try:
        text = file.read_text(encoding="utf-8")
        for suite, facts in found:
            text = filled(text, suite, markdown_of(facts), file)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--into {file}: cannot be read and written ({error.strerror})") from error


def _asked(words: Sequence[str]) -> tuple[list[Path], Path | None]:
    names = list(words)
    file: Path | None = None
    if INTO in names:
        place = names.index(INTO)
        if place + 1 == len(names):
            raise UserError(f"{INTO}: a file must follow: {USAGE}")
        file = Path(names[place + 1])
        del names[place : place + 2]
    if not names:
        raise UserError(f"a folder must be named: {USAGE}")
    return [Path(name) for name in names], file


def _summaries(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What the folder holds, by suite. Raises UserError where it holds nothing, or something else."""
    paths = [path for path in (folder / SUMMARY, folder / ABLATION) if path.exists()]
    if not paths:
        raise UserError(f"{folder}: has neither {SUMMARY} nor {ABLATION}: run forebay compare --out {folder} first")
    for path in paths:
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            yield str(facts["suite"]), facts
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is not what a comparison writes: run it again") from error


def markdown_of(facts: Mapping[str, Any]) -> str:
    """What was run, and its tables."""
    tables = "\n".join(as_markdown(read_table(table)) for table in facts["tables"])
    return f"`{facts['title']}`: {facts['note']}\n\n{tables}"


def filled(text: str, suite: str, markdown: str, file: Path) -> str:
    """``text`` with ``markdown`` between the marks of ``suite``. Raises UserError where it has none."""
    begin, end = f"<!-- begin {suite} -->", f"<!-- end {suite} -->"
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise UserError(f"--into {file}: must have the lines {begin} and {end}, between which the tables go")
    return f"{before}{begin}\n\n{markdown}\n{end}{after}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
