# SPDX-License-Identifier: Apache-2.0
"""Compiles the hot loops of the package: `compiled` is numba's `njit` with the settings that all of them share.

Machine code is kept on disk, beside the source or in the user's cache, so that only the first process compiles.
Where neither can be written, each process compiles in memory. Of a compiled function in another file that a loop
calls numba sees no change: who edits one (`pixels.advance`, which `scene` calls) empties ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*, reassociate: bool = False) -> Callable[[F], F]:
    """A decorator that compiles a function, without the interpreter's lock, division by zero as in NumPy.

    Args:
        reassociate: sums of floating-point numbers may be added up in another order, several at once.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    if reassociate:
        options["fastmath"] = {"reassoc"}

    def decorate(function: F) -> F:
        try:
            return cast(F, njit(cache=True, **options)(function))
        except RuntimeError:  # numba's word for: there is no folder that the machine code could be kept in
            return cast(F, njit(**options)(function))

    return decorate
