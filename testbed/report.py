"""Saying what goes on, to whoever watches."""

import sys
from collections.abc import Callable

Report = Callable[[str], None]


def to_stderr(line: str) -> None:
    """One line of progress, seen at once; stdout stays free for the result."""
    sys.stderr.write(f"testbed: {line}\n")
    sys.stderr.flush()
