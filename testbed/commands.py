"""Starting other programs: to their end with `run`, beside us with `Child`."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 4000
"""How much of a log a failure shows: enough for a Go panic's first frames."""


class CommandError(Exception):
    """A program ended with a failure; the message has the end of what it said."""


def run(command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What ``command`` wrote to stdout; `CommandError` with all it said if it failed."""
    done = subprocess.run(  # noqa: S603 - the words are ours, no shell is between
        command,
        capture_output=True,
        check=False,
        cwd=cwd,
        env=None if environment is None else os.environ | environment,
        text=True,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-TAIL_BYTES:].strip()
        raise CommandError(f"{' '.join(command[:4])}: exit code {done.returncode}\n{said}")
    return done.stdout


class Child:
    """A program that runs beside us, in a session of its own, and never outlives us.

    A session of its own, so that Ctrl-C reaches us only and we end things in order. ``setpriv`` asks the kernel to
    kill it when the thread that started it dies, however that comes about; a ``preexec_fn`` could do the same but is
    not safe once there are threads.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the words are ours, no shell is between
                ["setpriv", "--pdeathsig", "KILL", *command],  # noqa: S607 - found on the PATH on purpose
                cwd=cwd,
                env=None if environment is None else os.environ | environment,
                start_new_session=True,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
            )

    @property
    def pid(self) -> int:
        """The process id of the program itself, since setpriv becomes it."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.poll()

    def wait(self, within_s: float) -> int | None:
        """How it ended, or None if it has not within ``within_s``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(within_s)
        return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, of which SIGSTOP and SIGCONT are the interesting ones; nothing if it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self, within_s: float = 5.0) -> int:
        """Ask it to end, and insist after ``within_s``."""
        self._process.terminate()
        if self.wait(within_s) is None:
            self.kill()
        return self._process.wait()

    def tail(self, size: int = TAIL_BYTES) -> str:
        """The last ``size`` bytes of its log."""
        return self.log.read_bytes()[-size:].decode(errors="replace").strip()
