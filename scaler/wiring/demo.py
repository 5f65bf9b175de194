"""The demo, on a terminal or in lines."""

import asyncio
from pathlib import Path
from typing import Final

from rich.console import Console

from scaler.embedded.scenarios import Demo, Told
from scaler.embedded.view import LiveView, PlainView
from scaler.wiring.errors import UserError

DEMO_FOLDER: Final = Path("forebay-demo")


def demonstrated(demo: Demo, console: Console) -> Told:
    """Run the demo, on the terminal where there is one and in lines where there is none. Raises UserError."""
    # The fleet model takes two seconds to import, and the controller's image goes without it (the extra `sim`).
    from scaler.embedded.demo import run_demo  # noqa: PLC0415

    view = LiveView(console) if console.is_terminal else PlainView(console)
    try:
        return asyncio.run(run_demo(demo, view))
    except OSError as error:
        raise UserError(f"--output {demo.folder}: cannot be written ({error.strerror})") from error
    finally:
        view.close()
