"""Where the command `forebay` starts: it turns every mistake of the user into one line and exit code 2."""

import sys
from typing import Final

import typer
from typer.exceptions import TyperException

from scaler.cli import app

FLEET_MODEL: Final = frozenset({"numba", "plotly"})
"""What the extra `sim` installs, and the controller's image goes without."""


def main() -> None:
    """Run the command line. Exit 0: done; 1: it is not as it should be; 2: a mistake in what was asked; 130: Ctrl-C."""
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except TyperException as error:
        line = " ".join(error.format_message().split())
        print(f"forebay: {line}", file=sys.stderr)  # noqa: T201 - the one line that a mistake gets
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name not in FLEET_MODEL:
            raise
        print(  # noqa: T201 - as above
            f"forebay: this command runs the fleet model, and {error.name} is not installed: take Forebay with its "
            "extra `sim` (`make demo` does)",
            file=sys.stderr,
        )
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
