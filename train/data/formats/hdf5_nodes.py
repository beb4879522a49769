# SPDX-License-Identifier: Apache-2.0
"""Arrays of an HDF5 file, read only after their claims were checked, and only from the file itself.

A link or a data set can point into other files (external links, external storage, virtual data sets): an HDF5 file
that came from somewhere could so read any file of its reader. None of them is followed.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from math import prod

import h5py
import numpy as np

from spikefold.errors import DataError, EnvironmentLacksError
from spikefold.train.data.parsing.reading import MOST_KEYS, Reading

_FILTERS = {
    32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP", 32015: "Zstandard", 32026: "Blosc2",
    0x8ECF: "ECF",
}  # fmt: skip
"""Compression filters by their registered number; ECF is Prophesee's, self-assigned."""
_ECF = 0x8ECF
_MOST_CHUNK = 1 << 26
"""Bytes of a chunk that are believed in any file; HDF5 unpacks a chunk as a whole."""


def node_at(file: h5py.File, place: str) -> h5py.Group | h5py.Dataset | None:
    """The group or data set at a place such as ``CD/events``; None where there is none.

    Raises:
        DataError: the way there leads through a link into another place or file.
    """
    node = file
    for name in filter(None, place.split("/")):
        if not isinstance(node, h5py.Group) or name not in node:
            # a link whose target is missing is not "in" its group
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                return None
        if not isinstance(node.get(name, getlink=True), h5py.HardLink):
            hint = "only events that the file itself holds are read; copy them into it"
            raise DataError(f"{name!r} is a link to another place or file, and is not followed", hint=hint)
        node = node[name]
    return node


def names_in(group: h5py.Group) -> list[str]:
    """The names of what a group holds.

    Raises:
        DataError: too many of them for a recording.
    """
    if len(group) > MOST_KEYS:
        raise DataError(f"a group claims {len(group):,} nodes", hint=f"a recording has fewer than {MOST_KEYS}")
    return list(group)


def entries(data: h5py.Dataset) -> int:
    """How many entries an array claims; the first side of a table.

    Raises:
        DataError: it is stored in other files.
    """
    if data.is_virtual or data.external:
        hint = "only events that the file itself holds are read; copy them into it, with h5repack or h5py"
        raise DataError(f"{data.name} is stored in other files, which are not opened", hint=hint)
    return int(data.shape[0]) if data.shape else 1


def array(data: h5py.Dataset, reading: Reading, size: int) -> np.ndarray:
    """An array, once its claim is checked.

    Args:
        data: the data set.
        reading: how much may be claimed.
        size: of the file in bytes.

    Raises:
        DataError: stored in other files, too large, or of anything but numbers.
        EnvironmentLacksError: compressed by a filter that is not installed.
    """
    reading.check_events(entries(data), size)
    if data.shape is None:
        raise DataError(f"{data.name} is empty", hint="events are arrays of numbers")
    fields = [data.dtype[name] for name in data.dtype.names] if data.dtype.names else [data.dtype]
    if any(field.kind not in "biuf" for field in fields):
        raise DataError(f"{data.name} holds {data.dtype}, not numbers", hint="events are arrays of numbers")
    reading.check_bytes(prod(data.shape) * data.dtype.itemsize, size)
    if data.chunks and prod(data.chunks) * data.dtype.itemsize > max(_MOST_CHUNK, size):
        raise DataError(f"{data.name} claims chunks of {data.chunks}", hint="the file is damaged; write it again")
    _check_filters(data)
    return np.asarray(data[()])


def filters_of(data: h5py.Dataset) -> list[tuple[int, str]]:
    """Number and name of every filter that an array went through."""
    plist = data.id.get_create_plist()
    found = [plist.get_filter(index) for index in range(plist.get_nfilters())]
    return [(number, name.decode("ascii", "replace")) for number, _, _, name in found]


def _check_filters(data: h5py.Dataset) -> None:
    """Load hdf5plugin where a filter needs it."""
    for number, said in filters_of(data):
        if h5py.h5z.filter_avail(number):
            continue
        _load_plugins()
        if h5py.h5z.filter_avail(number):
            continue
        name = _FILTERS.get(number) or said or f"number {number}"
        hint = "pip install hdf5plugin; or write the file again without that compression"
        if number == _ECF:
            hint = "install Prophesee's hdf5_ecf and set HDF5_PLUGIN_PATH; or convert with metavision_file_to_dat"
        raise EnvironmentLacksError(
            f"{data.name} is compressed by the HDF5 filter {name}, which is not installed", hint=hint
        )


def _load_plugins() -> None:
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")  # its import registers its filters
