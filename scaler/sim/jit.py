"""The one place that names the compiler: `compiled` is numba's njit with a type.

Results must be the same bits on every machine, so there is no fastmath, and what is compiled with this computes in
integers. A change of a constant that the kernel imports is not seen by the cache: touch kernel.py with it.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Compiled = TypeVar("Compiled", bound=Callable[..., object])


def compiled(function: Compiled) -> Compiled:
    """``function`` as machine code, kept on disk beside its source so that the next process does not wait for it.

    It must make no array, and keep none: without ``_nrt`` (numba's reference counts) it could not. With them each call
    counted the five arrays of the world up and down, which was more than half of a run: 0.60 s instead of 1.33 s for
    3.7 million requests on ten replicas, and the same bits.
    """
    return cast("Compiled", numba.njit(cache=True, error_model="numpy", _nrt=False)(function))
