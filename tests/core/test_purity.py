"""The house rules that no linter knows: what gives other bits elsewhere, what is undocumented, what is too long."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CORE: Final = sorted((ROOT / "scaler" / "core").glob("*.py"))
ALL: Final = sorted(path for path in (ROOT / "scaler").rglob("*.py") if "_pb2" not in path.name)

EXACT: Final = frozenset({"ceil", "floor", "fsum", "inf", "sqrt"})
"""What of math has a result that IEEE 754 fixes to the last bit; exp, log, pow and the like are the platform's."""

WHOLE_SUMS: Final = frozenset({"ceilings", "_hand_out", "_total"})
"""The functions that may use the builtin sum: they add replica counts. Over floats it gives other bits from 3.12 on."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def is_set(node: ast.AST) -> bool:
    """Whether an expression is a set on the face of it."""
    return isinstance(node, ast.Set | ast.SetComp) or calls(node, "set") or calls(node, "frozenset")


def iterated(node: ast.AST) -> list[ast.expr]:
    """What ``node`` goes through in its own order: a loop, a comprehension, or a call that keeps the order."""
    if isinstance(node, ast.For | ast.comprehension):
        return [node.iter]
    if isinstance(node, ast.Starred):
        return [node.value]
    in_order = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"tuple", "list"}
    return list(node.args) if isinstance(node, ast.Call) and in_order else []


def sets_in(function: ast.AST) -> set[str]:
    """The names that ``function`` gives to a set."""
    named: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and is_set(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named |= {each.id for each in targets if isinstance(each, ast.Name)}
    return named


def faults(module: ast.Module) -> Iterator[str]:
    """What in ``module`` may come out otherwise on another machine."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "math":
            yield from (f"math.{alias.name}" for alias in node.names if alias.name not in EXACT)
        if isinstance(node, ast.Import):
            yield from ("import math" for alias in node.names if alias.name == "math")
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Pow):
            yield f"** in line {node.lineno}"
        if isinstance(node, Function):
            yield from unstable(node)


def unstable(function: Function) -> Iterator[str]:
    """The sums and the orders of sets in one function."""
    sets = sets_in(function)
    for node in ast.walk(function):
        if (calls(node, "sum") and function.name not in WHOLE_SUMS) or calls(node, "pow"):
            yield f"{ast.unparse(node)} in {function.name}"
        for each in iterated(node):
            if is_set(each) or (isinstance(each, ast.Name) and each.id in sets):
                yield f"the order of the set {ast.unparse(each)} in {function.name}"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_gives_the_same_bits_on_every_machine(path: Path) -> None:
    assert list(faults(tree(path))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "from math import exp",
        "import math",
        "x = 2.0 ** 0.5",
        "def f(loads): return sum(loads)",
        "def f(loads): return pow(loads, 2)",
        "def f(names): return [name for name in set(names)]",
        "def f(names): return tuple({name for name in names})",
        "def f(names):\n    seen = set(names)\n    for name in seen:\n        yield name",
        "def f(names):\n    seen: set[str] = set(names)\n    return [*seen]",
    ],
)
def test_the_rule_finds_what_it_forbids(wrong: str) -> None:
    assert len(list(faults(ast.parse(wrong)))) == 1


def test_the_rule_lets_pass_what_is_exact() -> None:
    fine = "from math import ceil, fsum\ndef f(names): return sorted({name for name in names}), 'a' in set(names)"

    assert list(faults(ast.parse(fine))) == []


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_all_that_is_public_in_the_core_is_documented(path: Path) -> None:
    module = tree(path)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [node for node in ast.walk(module) if isinstance(node, kinds) and not node.name.startswith("_")]

    assert ast.get_docstring(module)
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_functions_are_short() -> None:
    """Half of all within ten lines, none over sixty: the house's budget, from the codebases that read well."""
    lengths = {f"{path.stem}.{function.name}": lines(function) for path in ALL for function in functions(path)}

    assert median(lengths.values()) <= 10
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_modules_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL}

    assert {name: length for name, length in lengths.items() if length > 500} == {}
