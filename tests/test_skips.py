"""What becomes of a test that is skipped."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import pytest

@pytest.mark.skipif(True, reason="there is no openssl")
def test_that_is_skipped_by_a_mark(): ...

@pytest.fixture
def machine():
    pytest.skip("there is no network")

def test_that_is_skipped_by_a_fixture(machine): ...

@pytest.mark.xfail(strict=True, reason="not reached")
def test_that_is_expected_to_fail():
    assert False

def test_that_passes(): ...
"""


def said(folder: Path, monkeypatch: pytest.MonkeyPatch, ci: str) -> str:
    """What pytest says at the end of a run of these tests, with our hooks."""
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    monkeypatch.setenv("CI", ci)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", str(folder)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_in_ci_a_skip_is_a_failure_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = said(tmp_path, monkeypatch, "true")

    assert "1 passed, 1 xfailed, 2 errors" in out  # a skip is of the setup, and so is its failure
    assert "skipped, which is a failure in CI" in out
    assert "there is no openssl" in out
    assert "there is no network" in out


def test_elsewhere_it_is_a_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1 passed, 2 skipped, 1 xfailed" in said(tmp_path, monkeypatch, "")
