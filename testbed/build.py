"""Building the real parts once, into a cache outside the tree: ``python -m testbed.build``.

What is in the cache is whole, since each binary is renamed into place. A build that was stopped goes on where it was:
the finished binaries are found, and Go's own cache has the packages of the one that was not.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from testbed.binaries import (
    BINARIES,
    KEDA,
    KEDA_KINDS,
    Binary,
    Source,
    build_arguments,
    cache_key,
    missing_from,
    source_key,
)
from testbed.commands import Child, CommandError, run
from testbed.golang import find_go
from testbed.report import Report, to_stderr
from testbed.waiting import now_s

READY_FOLDERS: Final = ("FOREBAY_TESTBED_BIN", "KUBEBUILDER_ASSETS")
"""Variables that may name a folder of ready binaries, the first that is set wins; the second is setup-envtest's."""

NEWS_EVERY_S: Final = 30.0
"""How often a build that takes long says that it is alive."""


class BuildError(Exception):
    """A binary could not be built; the message has the compiler's words."""


def ensure_binaries(
    report: Report = to_stderr, binaries: Sequence[Binary] = BINARIES, *, names: Collection[str] = ()
) -> Mapping[str, Path]:
    """Where each of ``binaries`` is, by its name; what is neither given nor cached is built first.

    With ``names`` only these, in the place where all of them would be.
    """
    wanted = [binary for binary in binaries if not names or binary.name in names]
    found = given(wanted, report)
    paths = {binary: cached_path(binary, binaries) for binary in wanted if binary.name not in found}
    build_all({binary: path for binary, path in paths.items() if not path.exists()}, report)
    return {**found, **{binary.name: path for binary, path in paths.items()}}


def ensure_source(source: Source, report: Report = to_stderr) -> Path:
    """Where the files of ``source`` are; what is neither given nor cached is fetched first."""
    if (folder := ready_folder()) is not None and (folder / source.name).is_dir():
        return folder / source.name
    path = cache_root() / source_key(source) / source.name
    if not path.exists():
        with only_builder(path.parent, report):  # a lock of its own: builds take minutes
            fetch(source, path, find_go(cache_root(), report))
    return path


def fetch(source: Source, path: Path, go: str) -> None:
    """Copy the files of ``source`` to ``path``, all or none; Go checks them against go.sum."""
    told = run([go, "mod", "download", "-json", source.pin], cwd=source.module, environment={"GOTOOLCHAIN": "local"})
    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    # copyfile, since the files of Go's cache may not be written, nor their copies removed.
    shutil.copytree(Path(json.loads(told)["Dir"]) / source.path, part, copy_function=shutil.copyfile)
    part.chmod(0o755)
    if not path.exists():
        part.rename(path)


def ready_folder() -> Path | None:
    """The folder of what is built already, if a variable names one."""
    return next((Path(os.environ[name]) for name in READY_FOLDERS if os.environ.get(name)), None)


def given(binaries: Sequence[Binary], report: Report) -> dict[str, Path]:
    """Those of ``binaries`` that are in the ready folder, if a variable names one."""
    variable = next((name for name in READY_FOLDERS if os.environ.get(name)), None)
    if variable is None:
        return {}
    folder = Path(os.environ[variable])
    found = {b.name: folder / b.name for b in binaries if os.access(folder / b.name, os.X_OK)}
    report(f"{variable}: {', '.join(found) or 'nothing of ours'} from {folder}")
    if missing := missing_from(found, binaries):
        report(f"{variable} lacks {', '.join(b.name for b in missing)}: taken from the cache or built")
    return found


def cache_root() -> Path:
    """The folder for all that is built, shared by all checkouts."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "forebay" / "testbed"


def cached_path(binary: Binary, together: Sequence[Binary]) -> Path:
    """Where ``binary`` is, or will be, in the cache, as one of those that are built ``together``."""
    return cache_root() / cache_key(together) / binary.name


def build_all(paths: Mapping[Binary, Path], report: Report) -> None:
    """Build each binary into its path, one after the other."""
    if not paths:
        return
    with only_builder(cache_root(), report):
        go = find_go(cache_root(), report)
        for index, (binary, path) in enumerate(paths.items(), start=1):
            build(binary, path, go, f"{binary.name} ({index} of {len(paths)})", report)


@contextlib.contextmanager
def only_builder(root: Path, report: Report) -> Iterator[None]:
    """Hold the cache's lock: two builders at once would take twice as long for the same files."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another build is at work: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(binary: Binary, path: Path, go: str, title: str, report: Report) -> None:
    """Build one binary into its path, unless another builder has done so by now."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    report(f"{title}: building")
    began_s = now_s()
    try:
        compile_into(part, binary, go, lambda: report(f"{title}: {now_s() - began_s:.0f} s"))
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    report(f"{title}: built in {now_s() - began_s:.0f} s")


def compile_into(part: Path, binary: Binary, go: str, news: Callable[[], None]) -> None:
    """Run the compiler; it is nice, for whoever builds has often something else to do on the machine."""
    command, *arguments = build_arguments(binary)
    log = part.with_suffix(".log")
    compiler = Child(
        ["nice", "-n", "19", go, command, "-o", str(part), *arguments],
        log,
        cwd=binary.module,
        environment={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
    )
    try:
        while (exit_code := compiler.wait(NEWS_EVERY_S)) is None:
            news()
        if exit_code != 0:
            raise BuildError(f"{binary.name}: {compiler.tail()}")
    finally:
        compiler.kill()
        log.unlink()


def main() -> int:
    """Build what is missing and list the paths, one a line."""
    try:
        paths = {**ensure_binaries(), **ensure_binaries(binaries=KEDA), "keda-kinds": ensure_source(KEDA_KINDS)}
    except (BuildError, CommandError) as error:
        to_stderr(str(error))
        return 1
    sys.stdout.writelines(f"{path}\n" for path in paths.values())
    return 0


if __name__ == "__main__":
    sys.exit(main())
