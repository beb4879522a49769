# SPDX-License-Identifier: Apache-2.0
"""`compiled`: numba's machine code, kept on disk where that can be done, and made anew where it cannot be trusted.

With numba's own ``cache=True`` a module cannot be imported where neither its folder nor the home can be written, a
damaged file of the cache ends the program, and a full disk does too. Here the cache is a help and never a condition:
what cannot be read is compiled again, and what cannot be written is left. Machine code is run only where it has the
checksum that was written beside it, for a flipped bit in it would compute something else without a word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

Function = TypeVar("Function", bound=Callable[..., Any])
_SEAL = ".sha256"


def compiled(**options: Any) -> Callable[[Function], Function]:
    """A decorator for a loop that numba compiles at its first call, once for each combination of types.

    Args:
        options: of `numba.njit`, such as ``nogil`` and ``error_model``.
    """

    def decorate(function: Function) -> Function:
        dispatcher = njit(**options)(function)
        with suppress(RuntimeError):  # numba knows no folder that it can write: each process compiles for itself
            dispatcher._cache = _Cache(function)
        return cast(Function, dispatcher)

    return decorate


class _Files(IndexDataCacheFile):  # type: ignore[misc, unused-ignore]
    """Numba's files of one function, and beside each piece of machine code its checksum."""

    def _save_data(self, name: str, data: Any) -> None:
        super()._save_data(name, data)
        path = Path(self._data_path(name))
        path.with_name(path.name + _SEAL).write_text(_digest(path), encoding="ascii")

    def _load_data(self, name: str) -> Any:
        path = Path(self._data_path(name))
        if path.with_name(path.name + _SEAL).read_text(encoding="ascii") != _digest(path):
            raise ValueError(f"{path} is damaged")
        return super()._load_data(name)


class _Cache(FunctionCache):  # type: ignore[misc, unused-ignore]
    """Numba's cache of one function, which fails to no consequence."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        files = self._cache_file
        self._cache_file = _Files(files._cache_path, self._impl.filename_base, files._source_stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  a damaged pickle raises what it likes; the code is compiled again
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # a full or read-only disk: the next process compiles again
            super().save_overload(sig, data)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
