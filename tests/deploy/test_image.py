"""The Dockerfile names files that there are, and what it installs is enough for the controller to start."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.test_base import BASE, container, pod

ROOT: Final = Path(__file__).parents[2]
HASHED: Final = re.compile(r"^([A-Za-z0-9._-]+)==\S+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+$", re.MULTILINE)
AS_MAIN: Final = (
    "import runpy, sys; sys.modules.update(dict.fromkeys({absent})); runpy.run_module('scaler', None, '__main__')"
)
"""Python that runs the package as `python -m` does, where some modules cannot be imported."""

Started = Callable[..., "subprocess.CompletedProcess[str]"]


def words_of(instruction: str) -> list[str]:
    """What stands behind each such instruction."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [words for name, _, words in (line.partition(" ") for line in lines) if name == instruction]


def copied() -> list[str]:
    """What comes from the repository."""
    return [words.split()[0] for words in words_of("COPY") if not words.startswith("--from")]


def normal(name: str) -> str:
    """A distribution's name as it is compared (PyPA's name normalisation)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> set[str]:
    """The distributions that the image installs."""
    return {normal(found[1]) for found in HASHED.finditer((ROOT / "requirements" / "run.txt").read_text("utf-8"))}


@pytest.fixture
def started(tmp_path: Path) -> Started:
    """Runs the image's entry point: on the files that it copies, without what it does not install."""
    for name in copied():
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(source, tmp_path / name)
    there = pinned() | {"forebay"}
    absent = sorted(
        module for module, names in packages_distributions().items() if there.isdisjoint(map(normal, names))
    )

    def start(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", AS_MAIN.format(absent=absent), *words]
        return subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)

    return start


def test_what_is_copied_is_there_and_nothing_else_is_sent_to_the_builder() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert all((ROOT / name).exists() for name in copied())
    assert sorted(line[1:] for line in sent if line.startswith("!")) == sorted(copied())
    assert "*" in sent


def test_only_packages_with_hashes_are_installed_and_no_code_of_theirs_is_run() -> None:
    (install,) = [json.loads(words) for words in words_of("RUN") if '"install"' in words]
    lines = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8").splitlines()

    assert {"--require-hashes", "--only-binary"} <= set(install)
    assert install[-2:] == ["--requirement", "/run.txt"]
    assert len(pinned()) == len({line.partition("==")[0] for line in lines if line[:1].isalnum()}) > 0


def test_it_runs_as_the_user_that_the_deployment_says_and_listens_where_it_says() -> None:
    context = pod()["securityContext"]

    assert words_of("USER") == [f"{context['runAsUser']}:{context['runAsGroup']}"]
    assert words_of("EXPOSE") == [" ".join(str(port["containerPort"]) for port in container()["ports"])]
    assert "HOME=/" in words_of("ENV")[0].split()
    assert words_of("ENTRYPOINT") == ['["python", "-m", "scaler"]']
    assert "command" not in container()


@pytest.mark.slow
def test_its_packages_are_enough_for_the_controller(started: Started) -> None:
    command, *words = container()["args"]

    ended = started(command, *(word.replace("/etc/forebay", str(BASE)) for word in words))

    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "forebay: --kubeconfig left out: the Kubernetes configuration cannot be used: Service host/port is not set."
    ]


@pytest.mark.slow
@pytest.mark.parametrize("words", ["demo --output x", "compare --out x"])
def test_what_needs_the_fleet_model_says_so_in_one_line(started: Started, words: str) -> None:
    ended = started(*words.split())

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "not installed: take Forebay with its extra `sim`" in ended.stderr
