# SPDX-License-Identifier: Apache-2.0
"""Arrays in an ``.npz`` archive: written whole or not at all, read without pickles and without surprises."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from spikefold.errors import DataError
from spikefold.files import replacing

_BROKEN = (
    OSError, ValueError, TypeError, KeyError, EOFError, SyntaxError, RuntimeError, NotImplementedError, MemoryError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What NumPy's and Python's archive readers raise on a damaged file, found by changing single bytes."""


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed archive."""
    with replacing(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path, what: str = "the archive") -> dict[str, np.ndarray]:
    """All arrays of an archive; ``what`` it holds is for the messages.

    Raises:
        DataError: the file is missing, truncated, no archive, or holds anything but plain arrays.
    """
    hint = "the file is missing, truncated or no .npz archive of plain arrays; write it again"
    try:
        # opened here, because NumPy leaves the file open if it is a damaged archive
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"cannot read {what}: it is a single array", where=str(path), hint=hint)
            with loaded as archive:
                arrays = {key: archive[key] for key in archive.files}
    except _BROKEN as error:
        raise DataError(f"cannot read {what}: {error}", where=str(path), hint=hint) from error
    strange = [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]
    if strange:
        raise DataError(f"cannot read {what}: {strange} are no arrays", where=str(path), hint=hint)
    return arrays
