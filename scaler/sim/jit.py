"""The one place that names the compiler: `compiled` is numba's njit with a type.

Results must be the same bits on every machine, so there is no fastmath, and what is compiled with this computes in
integers. A change of a constant that the kernel imports is not seen by the cache: touch kernel.py with it.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Compiled = TypeVar("Compiled", bound=Callable[..., object])


def compiled(function: Compiled) -> Compiled:
    """``function`` as machine code, kept on disk beside its source so that the next process does not wait for it."""
    return cast("Compiled", numba.njit(cache=True, error_model="numpy")(function))
