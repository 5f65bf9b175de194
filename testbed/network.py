"""A network namespace of our own, which single threads of this process can enter and leave.

Ports and pod addresses inside are private to the run: two runs on one machine never meet. Entering moves the calling
thread only; threads and programs that it starts inside stay inside. So a test runs inside from its main thread, event
loop and all, while the rest of the test session keeps its network.
"""

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from testbed.commands import run

POD_CIDR: Final = "10.244.0.0/16"
"""The addresses of emulated pods; all of them are local, so one server on 0.0.0.0 can answer as any pod."""

PROGRAMS: Final = ("ip", "setpriv", "unshare", "mount", "openssl", "nice")
"""What must be on the PATH besides Go: iproute2, util-linux, mount, openssl and coreutils."""

CLONE_NEWNET: Final = 0x40000000
MY_NETWORK: Final = Path("/proc/thread-self/ns/net")


def why_not() -> str | None:
    """Why no namespace can be made here, in words for a person; None if one can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"not on the PATH: {', '.join(missing)}"
    try:
        NetworkNamespace().close()
    except PermissionError:
        return (
            "a network namespace needs root; a user builds first (python -m testbed.build), "
            "then runs the tests below `unshare -rn`"
        )
    return None


class NetworkNamespace:
    """A network with a loopback and pod addresses; it ends with its last process and `close`."""

    def __init__(self) -> None:
        with returning():
            call("unshare", CLONE_NEWNET)
            self._file = os.open(MY_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
            run(["ip", "link", "set", "lo", "up"])
            run(["ip", "route", "add", "local", POD_CIDR, "dev", "lo"])

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread inside for the length of a ``with``."""
        with returning():
            call("setns", self._file, CLONE_NEWNET)
            yield

    def close(self) -> None:
        """Let go of it; the kernel removes it when no process is left inside."""
        os.close(self._file)


@contextlib.contextmanager
def returning() -> Iterator[None]:
    """Bring this thread back to the network that it is in now."""
    home = os.open(MY_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        call("setns", home, CLONE_NEWNET)
        os.close(home)


def call(name: str, *arguments: int) -> None:
    """A call of the C library that Python 3.11 has no function for; 3.12 has `os.unshare` and `os.setns`."""
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


LIBC: Final = ctypes.CDLL(None, use_errno=True)
