"""Building the real parts once, into a cache outside the tree: ``python -m testbed.build``.

What is in the cache is whole, since each binary is renamed into place. A build that was stopped goes on where it was:
the finished binaries are found, and Go's own cache has the packages of the one that was not.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from testbed.binaries import BINARIES, Binary, build_arguments, cache_key, missing_from
from testbed.commands import Child
from testbed.golang import find_go
from testbed.report import Report, to_stderr
from testbed.waiting import now_s

READY_FOLDERS: Final = ("FOREBAY_TESTBED_BIN", "KUBEBUILDER_ASSETS")
"""Variables that may name a folder of ready binaries, the first that is set wins; the second is setup-envtest's."""

NEWS_EVERY_S: Final = 30.0
"""How often a build that takes long says that it is alive."""


class BuildError(Exception):
    """A binary could not be built; the message has the compiler's words."""


def ensure_binaries(report: Report = to_stderr) -> Mapping[str, Path]:
    """Where each binary is, by its name; what is neither given nor cached is built first."""
    found = given(report)
    cached = {b.name: cached_path(b) for b in BINARIES if b.name not in found and cached_path(b).exists()}
    missing = missing_from(found | cached)
    return found | cached | build_all([b for b in BINARIES if b.name in missing], report)


def given(report: Report) -> dict[str, Path]:
    """The binaries in the ready folder, if a variable names one."""
    variable = next((name for name in READY_FOLDERS if os.environ.get(name)), None)
    if variable is None:
        return {}
    folder = Path(os.environ[variable])
    found = {b.name: folder / b.name for b in BINARIES if os.access(folder / b.name, os.X_OK)}
    report(f"{variable}: {', '.join(found) or 'nothing of ours'} from {folder}")
    if missing := missing_from(found):
        report(f"{variable} lacks {', '.join(missing)}: taken from the cache or built")
    return found


def cache_root() -> Path:
    """The folder for all that is built, shared by all checkouts."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "forebay" / "testbed"


def cached_path(binary: Binary) -> Path:
    """Where ``binary`` is, or will be, in the cache."""
    return cache_root() / cache_key() / binary.name


def build_all(binaries: list[Binary], report: Report) -> dict[str, Path]:
    """Build ``binaries`` one after the other, and say where they are."""
    if not binaries:
        return {}
    with only_builder(cache_root(), report):
        go = find_go(cache_root(), report)
        for index, binary in enumerate(binaries, start=1):
            build(binary, go, f"{binary.name} ({index} of {len(binaries)})", report)
    return {binary.name: cached_path(binary) for binary in binaries}


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


def build(binary: Binary, go: str, title: str, report: Report) -> None:
    """Build one binary into the cache, unless another builder has done so by now."""
    path = cached_path(binary)
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
        binaries = ensure_binaries()
    except BuildError as error:
        to_stderr(str(error))
        return 1
    sys.stdout.writelines(f"{path}\n" for path in binaries.values())
    return 0


if __name__ == "__main__":
    sys.exit(main())
