# SPDX-License-Identifier: Apache-2.0
"""Compiles the hot loops of the package: `compiled` is numba's `njit` with the settings that all of them share.

Machine code is kept on disk, beside the source or in the user's cache, so that only the first process compiles. The
cache is a help and never a condition: with numba's own a module cannot be imported where neither place can be
written, a damaged file ends the program, and a full disk does too. Here what cannot be read is compiled again, and
what cannot be written is left. Machine code runs only where it has the checksum that was written beside it, for a
flipped bit in it would compute something else without a word.

Of a compiled function in another file that a loop calls numba sees no change: who edits one (`pixels.advance`, which
`scene` calls, or an instruction of `lanes`) empties ``__pycache__``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

F = TypeVar("F", bound=Callable[..., Any])
_SEAL = ".sha256"


def compiled(*, reassociate: bool = False) -> Callable[[F], F]:
    """A decorator that compiles a function, without the interpreter's lock, division by zero as in NumPy.

    Args:
        reassociate: sums of floating-point numbers may be added up in another order, several at once.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    if reassociate:
        options["fastmath"] = {"reassoc"}

    def decorate(function: F) -> F:
        dispatcher = njit(**options)(function)
        with suppress(RuntimeError):  # numba's word for: there is no folder that the machine code could be kept in
            dispatcher._cache = _Cache(function)
        return cast(F, dispatcher)

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
