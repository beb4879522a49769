# SPDX-License-Identifier: Apache-2.0
"""A trace of kilobytes that claims gigabytes is refused before memory is taken for them."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import DataError
from spikefold.hardware.simulators.trace import load_trace
from spikefold.npz import BYTES_PER_BYTE, SMALL_BYTES, read_arrays, write_arrays


def test_zeros_that_unpack_to_all_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("n/counts.npy", "w") as member:
        about = {"descr": "<u2", "fortran_order": False, "shape": (SMALL_BYTES,)}
        np.lib.format.write_array_header_1_0(member, about)
        for _ in range(2):
            member.write(bytes(SMALL_BYTES))
    assert path.stat().st_size < SMALL_BYTES // BYTES_PER_BYTE
    tracemalloc.start()
    with pytest.raises(DataError, match="of arrays, more than the"):
        load_trace(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_what_is_believed_of_any_file_is_read(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"a": np.zeros(2**22, np.uint8)})
    assert read_arrays(tmp_path / "a.npz")["a"].size == 2**22
