"""The one place that names the compiler: `compiled` is numba's njit with a type.

Results must be the same bits on every machine, so there is no fastmath, and what is compiled with this computes in
integers. A change of a constant that the kernel imports is not seen by the cache: touch kernel.py with it.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba

OPTIONS: Final[dict[str, Any]] = {"cache": True, "error_model": "numpy", "_nrt": False}
"""A dictionary, since numba's types do not know ``_nrt``: its reference counts, which nothing here needs."""

Compiled = TypeVar("Compiled", bound=Callable[..., object])


def compiled(function: Compiled) -> Compiled:
    """``function`` as machine code, kept on disk beside its source so that the next process does not wait for it.

    It may make no array: without reference counts that does not compile. With them each call counted the five arrays of
    the world up and down, which was more than half of a run: 1.33 s where it is 0.60 s for 3.7 million requests on ten
    replicas, and the same bits (docs/design/0024).
    """
    return cast("Compiled", numba.njit(**OPTIONS)(function))
