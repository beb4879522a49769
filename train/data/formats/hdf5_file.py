# SPDX-License-Identifier: Apache-2.0
"""HDF5 recordings in the layouts that the field writes.

- ASA-SNN and MA-SNN (BICLab, ``DVS_Gesture.py``): ``times`` (N,) microseconds, ``addrs`` (N, 3) x, y, p, ``labels``.
- columns ``t, x, y, p`` (or ``ts, xs, ys, ps``) at the root or in a group ``events`` or ``CD/events``.
- tonic's cache (``DiskCachedDataset``): ``data/0`` an array with the fields x, y, t, p, ``target/0`` the label.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.formats.columns import from_columns, named
from spikefold.train.data.formats.raw_events import RawEvents

MAGIC = b"\x89HDF\r\n\x1a\n"
_BROKEN = (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, OverflowError)
"""What h5py raises on a damaged file, and where a compression filter is not there."""
_PLACES = ("/", "events", "CD/events", "data/0")
_LABELS = ("labels", "label", "target/0", "target")


def read_hdf5(path: Path) -> list[RawEvents]:
    """The recording of a file. A file cut short cannot be repaired: its index no longer fits.

    Raises:
        DataError: a damaged file, or none of the layouts.
    """
    try:
        with h5py.File(path, "r") as file:
            raw = _events(file)
            label = _label(file)
    except _BROKEN as error:
        hint = "the file is damaged, cut short, or compressed with a filter that h5py lacks; copy or export it again"
        raise DataError(f"cannot read the recording: {error}", hint=hint) from error
    return [replace(raw, label=label)]


def _events(file: h5py.File) -> RawEvents:
    if "times" in file and "addrs" in file:
        addresses = np.asarray(file["addrs"])
        if addresses.ndim != 2 or addresses.shape[1] != 3:
            raise DataError(f"addrs has the shape {addresses.shape}", hint="(N, 3): x, y, p of each event")
        return from_columns({"t": np.asarray(file["times"]), **dict(zip("xyp", addresses.T, strict=True))})
    for place in _PLACES:
        node = file.get(place)
        raw = None
        if isinstance(node, h5py.Group):
            keys = [key for key in node if isinstance(node.get(key), h5py.Dataset)]
            raw = named(keys, lambda key, node=node: node[key][()])  # type: ignore[misc]
        elif isinstance(node, h5py.Dataset) and node.dtype.names is not None:
            array = node[()]
            raw = named(array.dtype.names, lambda key, array=array: array[key])  # type: ignore[misc]
        if raw is not None:
            return raw
    hint = "read are: times + addrs, columns t, x, y, p at the root or in `events`, and tonic's data/0"
    raise DataError(f"no known layout of events: {', '.join(sorted(file))}", hint=hint)


def _label(file: h5py.File) -> int:
    """The class index, -1 where there is none or several."""
    for place in _LABELS:
        node = file.get(place)
        if isinstance(node, h5py.Dataset) and node.size == 1 and np.issubdtype(node.dtype, np.integer):
            return int(np.asarray(node[()]).reshape(()))
    return -1
