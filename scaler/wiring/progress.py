"""How far a long command is: a bar for each stage on a terminal, some lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_STEPS: Final = 20  # lines for each stage, where there is no terminal


class Progressing(Protocol):
    """Tells how far a stage is."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of ``total`` steps begins."""
        ...

    def step(self) -> None:
        """One is done."""
        ...


@contextmanager
def progress_on(console: Console) -> Iterator[Progressing]:
    """What tells ``console`` how far it is."""
    if not console.is_terminal:
        yield _Plain(console)
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)


class _Bar:
    """A bar for each stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, stage: str, total: int) -> None:
        """See `Progressing`."""
        self._task = self._progress.add_task(stage, total=total)

    def step(self) -> None:
        """See `Progressing`."""
        if self._task is not None:
            self._progress.advance(self._task)


class _Plain:
    """Some lines for each stage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._total, self._done = "", 0, 0

    def begin(self, stage: str, total: int) -> None:
        """See `Progressing`."""
        self._stage, self._total, self._done = stage, total, 0

    def step(self) -> None:
        """See `Progressing`."""
        self._done += 1
        if self._done == self._total or self._done % max(self._total // PLAIN_STEPS, 1) == 0:
            self._console.print(f"{self._stage}: {self._done} of {self._total}", highlight=False)
