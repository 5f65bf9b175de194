"""Say whether requirements/*.txt were compiled from pyproject.toml as it is.

The header of each file carries a digest of the tables it was compiled from, so that the check needs no network.
`--digest` prints it, for `make lock`.
"""

import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def digest() -> str:
    """A digest of everything in pyproject.toml that decides what is pinned."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    inputs = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        document["dependency-groups"],
        document["tool"]["uv"],
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def stale() -> list[str]:
    """The requirements files that another pyproject.toml was compiled to."""
    expected = digest()
    files = sorted((ROOT / "requirements").glob("*.txt"))
    return [file.name for file in files if expected not in file.read_text(encoding="utf-8").partition("==")[0]]


if __name__ == "__main__":
    if "--digest" in sys.argv:
        sys.stdout.write(digest() + "\n")
        sys.exit()
    for name in stale():
        sys.stderr.write(f"requirements/{name}: pyproject.toml has changed since it was compiled; run `make lock`\n")
    sys.exit(1 if stale() else 0)
