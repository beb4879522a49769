# SPDX-License-Identifier: Apache-2.0
"""HDF5 recordings in the layouts that the field writes.

- ASA-SNN and MA-SNN (BICLab, ``DVS_Gesture.py``): ``times`` (N,) microseconds, ``addrs`` (N, 3) x, y, p, ``labels``.
- columns ``t, x, y, p`` (or ``ts, xs, ys, ps``) at the root or in a group ``events`` (DSEC) or ``CD/events``.
- Prophesee (https://docs.prophesee.ai/stable/data/file_formats/hdf5.html): ``CD/events``, an array with the fields
  x, y, p, t, the sensor in the attribute ``geometry``; compressed by a filter of their own (ECF).
- v2e: ``events``, an ``(N, 4)`` table t, x, y, p in microseconds.
- tonic's cache (``DiskCachedDataset``): ``data/0`` an array with the fields x, y, t, p, ``target/0`` the label.

All count columns from the left and rows from the top. The unit of time is taken to be the microsecond unless
``data.time_unit`` says another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.formats.hdf5_nodes import array, entries, names_in, node_at
from spikefold.train.data.parsing.columns import NAMES, chosen_names, from_columns, from_table, named
from spikefold.train.data.parsing.headers import positive_size
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading, size_of

MAGIC = b"\x89HDF\r\n\x1a\n"
_BROKEN = (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, OverflowError, AttributeError)
"""What h5py raises on a damaged file."""
_PLACES = ("/", "events", "CD/events", "data/0")
_LABELS = ("labels", "label", "target/0", "target")


def read_hdf5(path: Path, reading: Reading = AS_IT_IS) -> list[RawEvents]:
    """The recording of a file. A file cut short or never closed cannot be repaired: its index no longer fits.

    Raises:
        DataError: a damaged file, one that claims too much or points into other files, or none of the layouts.
        EnvironmentLacksError: a compression filter is not installed.
    """
    size = size_of(path)

    def get(data: h5py.Dataset) -> np.ndarray:
        return array(data, reading, size)

    try:
        with h5py.File(path, "r") as file:
            raw = _events(file, get)
            return [replace(raw, label=_label(file), sensor=_sensor(file))]
    except _BROKEN as error:
        hint = "the file is damaged, cut short, or was never closed by its writer; copy or export it again"
        raise DataError(f"cannot read the recording: {_short(error)}", hint=hint) from error


def _events(file: h5py.File, get: Callable[[h5py.Dataset], np.ndarray]) -> RawEvents:
    times, addresses = node_at(file, "times"), node_at(file, "addrs")
    if isinstance(times, h5py.Dataset) and isinstance(addresses, h5py.Dataset):
        table = get(addresses)
        if table.ndim != 2 or table.shape[1] != 3:
            raise DataError(f"addrs has the shape {table.shape}", hint="(N, 3): x, y, p of each event")
        return from_columns({"t": get(times), **dict(zip("xyp", table.T, strict=True))})
    for place in _PLACES:
        node = node_at(file, place)
        raw = None
        if isinstance(node, h5py.Group):
            raw = _from_group(file, place, node, get)
        elif isinstance(node, h5py.Dataset) and node.dtype.names is not None:
            if len(chosen_names(node.dtype.names)) == len(NAMES):
                fields = get(node)
                raw = named(node.dtype.names, lambda key, fields=fields: fields[key])  # type: ignore[misc]
        elif isinstance(node, h5py.Dataset) and node.ndim == 2 and node.shape[1] == len(NAMES):
            raw = from_table(get(node), usual="txyp")
        if raw is not None:
            return raw
    hint = "read are: times + addrs, columns or a table t, x, y, p at the root or in `events`, and tonic's data/0"
    raise DataError(f"no known layout of events: {', '.join(islice(sorted(names_in(file)), 20))}", hint=hint)


def _from_group(
    file: h5py.File, place: str, group: h5py.Group, get: Callable[[h5py.Dataset], np.ndarray]
) -> RawEvents | None:
    """Events from the columns of a group; None where it has not all of them."""
    chosen = chosen_names(name for names in NAMES.values() for name in names if group.get(name, getlink=True))
    if len(chosen) != len(NAMES):
        return None
    columns = {key: node_at(file, f"{place}/{name}") for key, name in chosen.items()}
    if not all(isinstance(column, h5py.Dataset) for column in columns.values()):
        return None
    lengths = {entries(column) for column in columns.values()}
    if len(lengths) != 1:
        raise DataError(
            f"the columns of events differ in length: {sorted(lengths)}", hint="one entry for every event"
        )
    return from_columns({key: get(column) for key, column in columns.items()})


def _sensor(file: h5py.File) -> tuple[int, int] | None:
    """``(H, W)`` of Prophesee's attribute ``geometry``, such as ``1280x720``."""
    said = file.attrs.get("geometry")
    text = said.decode("ascii", "replace") if isinstance(said, bytes) else said
    found = re.fullmatch(r"(\d+)x(\d+)", text) if isinstance(text, str) else None
    return positive_size(found[2], found[1]) if found else None


def _label(file: h5py.File) -> int:
    """The class index, -1 where there is none or several."""
    for place in _LABELS:
        node = node_at(file, place)
        if isinstance(node, h5py.Dataset) and entries(node) == node.size == 1 and node.dtype.kind in "iu":
            return int(np.asarray(node[()]).reshape(()))
    return -1


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
