"""The builder, with a compiler that writes a word instead of a program."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.binaries import BINARIES, KEDA, cache_key, prometheus_version
from testbed.build import BuildError, ensure_binaries
from testbed.golang import numbers

pytestmark = pytest.mark.slow

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.99.0; exit; fi
while [ "$1" != -o ]; do shift; done
basename "$2" .part >> "$FAKE_GO_LOG"
if [ "$(basename "$2" .part)" = "$FAKE_GO_FAILS_AT" ]; then echo half > "$2"; echo "no such package"; exit 1; fi
echo whole > "$2"
"""


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the fake compiler was asked for since the last look; the cache is empty at first."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(FAKE_GO)
    go.chmod(0o755)
    log = tmp_path / "log"
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    monkeypatch.setenv("FAKE_GO_LOG", str(log))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("FOREBAY_TESTBED_BIN", "KUBEBUILDER_ASSETS"):
        monkeypatch.delenv(variable, raising=False)

    def look() -> list[str]:
        seen = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return seen

    return look


ALL = [binary.name for binary in BINARIES]


def quiet(_: str) -> None:
    """A report that nobody reads."""


def test_a_second_run_builds_nothing(compiled: Callable[[], list[str]]) -> None:
    first = ensure_binaries(quiet)
    assert compiled() == ALL

    assert ensure_binaries(quiet) == first
    assert compiled() == []


def test_one_of_them_is_built_by_itself_and_found_by_who_wants_all(compiled: Callable[[], list[str]]) -> None:
    alone = ensure_binaries(quiet, names=["prometheus"])
    assert compiled() == ["prometheus"]

    assert ensure_binaries(quiet)["prometheus"] == alone["prometheus"]
    assert compiled() == [name for name in ALL if name != "prometheus"]


def test_progress_names_the_binary_and_how_many_there_are(compiled: Callable[[], list[str]]) -> None:
    said: list[str] = []

    ensure_binaries(said.append)

    assert len(compiled()) == len(ALL)
    assert said[:2] == ["etcd (1 of 7): building", "etcd (1 of 7): built in 0 s"]


def test_a_failed_build_says_the_compilers_words_and_goes_on_where_it_was(
    compiled: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_GO_FAILS_AT", "kube-scheduler")
    with pytest.raises(BuildError, match="kube-scheduler: no such package"):
        ensure_binaries(quiet)
    assert compiled() == ALL[:4]
    assert {path.name for path in (tmp_path / "cache/forebay/testbed" / cache_key(BINARIES)).iterdir()} == set(ALL[:3])

    monkeypatch.delenv("FAKE_GO_FAILS_AT")
    ensure_binaries(quiet)

    assert compiled() == ALL[3:]


@pytest.mark.parametrize("variable", ["FOREBAY_TESTBED_BIN", "KUBEBUILDER_ASSETS"])
def test_a_folder_of_ready_binaries_is_taken_and_what_it_lacks_is_said(
    compiled: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    ready = tmp_path / "ready"
    ready.mkdir()
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (ready / name).touch(0o755)
    monkeypatch.setenv(variable, str(ready))
    said: list[str] = []

    found = ensure_binaries(said.append)

    assert found["etcd"] == ready / "etcd"
    assert compiled() == ["kube-controller-manager", "kube-scheduler", "kwok", "prometheus"]
    assert said[1].startswith(f"{variable} lacks kube-controller-manager, kube-scheduler, kwok, prometheus")


def test_another_pin_is_another_cache(tmp_path: Path) -> None:
    etcd = BINARIES[0]
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((etcd.module / name).read_bytes())
    copied = (replace(etcd, module=tmp_path), *BINARIES[1:])
    assert cache_key(copied) == cache_key(BINARIES)

    (tmp_path / "go.sum").write_text("other")

    assert cache_key(copied) != cache_key(BINARIES)


def test_kedas_binaries_are_built_beside_the_control_planes_and_found_again(
    compiled: Callable[[], list[str]],
) -> None:
    control_plane = ensure_binaries(quiet)
    assert compiled() == ALL

    operator = ensure_binaries(quiet, KEDA)["keda-operator"]

    assert compiled() == ["keda-operator", "keda-adapter"]
    assert operator.parent not in {path.parent for path in control_plane.values()}
    assert ensure_binaries(quiet, KEDA)["keda-operator"] == operator
    assert compiled() == []


def test_a_go_1_9_is_older_than_a_go_1_26() -> None:
    assert numbers("go1.9.7") < numbers("1.26.0")


def test_prometheus_calls_its_third_major_version_zero() -> None:
    assert prometheus_version("0.313.5") == "3.13.5"
