"""Where the comparison keeps what it has found: a JSON file each, named after all that it follows from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from scaler.sim.compare.cells import Cell
from scaler.sim.compare.outcomes import Bounded, bound_key, bounded


def bounds_folder() -> Path:
    """The folder of bounds, which all comparisons on a machine share: ``$XDG_CACHE_HOME/forebay/bounds``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "forebay" / "bounds"


def kept_bound(cell: Cell, seed: int) -> Bounded:
    """The bound of ``cell``, found once on a machine."""
    path = bounds_folder() / f"{bound_key(cell, seed)}.json"
    facts = kept(path)
    if facts is not None:
        return Bounded(**facts)
    found = bounded(cell, seed)
    keep(path, found.facts())
    return found


def kept(path: Path) -> dict[str, Any] | None:
    """What ``path`` holds, None where nothing whole is there."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def keep(path: Path, facts: Mapping[str, Any]) -> None:
    """Write ``facts`` to ``path``: whoever reads at the same time sees all or nothing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    partial.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
