"""How long functions and modules may be, as CONTRIBUTING.md has it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
MODULE_LINES = 500
FUNCTION_LINES = 60
MEDIAN_LINES = 10


def modules() -> list[Path]:
    """All of the project's modules, but for those that protoc writes."""
    folders = ("scaler", "testbed", "tests", "tools")
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [path for path in found if "_pb2" not in path.name]


def functions() -> Iterator[tuple[str, int]]:
    """Each function's place and its length, signature and docstring included."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_no_module_is_longer_than_500_lines() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}

    assert {path: count for path, count in lines.items() if count > MODULE_LINES} == {}


def test_no_function_is_longer_than_60_lines_and_half_have_ten_at_most() -> None:
    lengths = dict(functions())

    assert {place: lines for place, lines in lengths.items() if lines > FUNCTION_LINES} == {}
    assert median(lengths.values()) <= MEDIAN_LINES
