# SPDX-License-Identifier: Apache-2.0
"""Turns, in a process of its own, HDF5 from a stranger into plain arrays: ``python hdf5.py FILE OUT.npz GROUP``.

A few bytes changed can make the HDF5 library (2.0, through h5py 3.16) read wild memory and take the process with it;
then it is this one, and `file.py` says so. It imports nothing of ours. Nothing outside the file is read (no soft,
external or virtual parts), and sizes are checked before memory is taken. GROUP is ``node`` for NIR, ``/`` for all.

OUT holds ``tree``, JSON in which a group is an object and a leaf a list: ``["text", t]``, ``["names", texts]`` (lists
of lists), ``["array", i]`` or ``["nothing"]``; and the arrays, all in one list of bytes ``numbers``, of which
``places`` says type, shape and first byte (an archive member for each would take longer than reading them). The exit
code is 0, or 6 with a reason on stderr.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

LARGEST_BYTES = 2**30
"""Most numbers of one file, in bytes: a hundred times what fits the largest chip."""
SMALL_BYTES, BYTES_PER_BYTE = 2**26, 64
"""So many are believed of any file, and so many for each of its bytes: what was never written takes no room."""
BAD_FILE = 6
COMPLEX = "complex numbers"
"""Stands for an array of them: no network here has any, and its reader says so."""
_MOST_NODES, _MOST_PARTS, _DEEPEST = 1024, 16_384, 32
"""Of a group, of a file, of groups in groups. The largest published graphs have some hundred nodes."""
_BROKEN = (
    OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError, ArithmeticError, LookupError, MemoryError,
    NotImplementedError, RecursionError,
)  # fmt: skip
"""What h5py raises on a damaged file, found by cutting files and by changing single bytes."""


class _Reader:
    """Copies groups into plain values, and counts what it takes."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.arrays: dict[str, np.ndarray] = {}
        self._bytes = self._parts = 0

    def tree(self, group: Any, depth: int = 0) -> dict[str, Any]:
        """By h5py's lower level: its upper one takes two seconds for a thousand nodes."""
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST}")
        if not isinstance(group, h5py.h5g.GroupID):
            raise TypeError("no group where a graph must be")
        names = list(group)
        self._parts += len(names)
        if len(names) > _MOST_NODES or self._parts > _MOST_PARTS:
            raise ValueError(f"a group of {len(names):,} parts, more than the {_MOST_NODES:,} allowed")
        found: dict[str, Any] = {}
        for name in names:
            told = name.decode("utf-8", "surrogateescape")
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                raise ValueError(f"{told!r} is a link to somewhere else")
            item = h5py.h5o.open(group, name)
            is_group = isinstance(item, h5py.h5g.GroupID)
            found[told] = self.tree(item, depth + 1) if is_group else self._leaf(told, item)
        return found

    def _leaf(self, name: str, item: Any) -> list[Any]:
        if not isinstance(item, h5py.h5d.DatasetID) or _is_elsewhere(item.get_create_plist()):
            raise ValueError(f"{name!r} holds no values of its own")
        if item.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            return ["nothing"]
        shape, dtype = item.shape, item.dtype
        self._bytes += math.prod(shape) * dtype.itemsize
        if self._bytes > self.most_bytes:
            raise ValueError(f"{name!r} takes the file beyond {self.most_bytes >> 20} MiB of numbers")
        value = np.zeros(shape, dtype)
        if value.size:
            item.read(h5py.h5s.ALL, h5py.h5s.ALL, value)
        if value.dtype.kind in "biuf":
            self.arrays[f"a{len(self.arrays)}"] = value
            return ["array", len(self.arrays) - 1]
        if value.dtype.kind == "c":
            return ["text", COMPLEX]
        texts = _texts(value.tolist())
        return ["text", texts] if isinstance(texts, str) else ["names", texts]


def _is_elsewhere(made: Any) -> bool:
    """Whether the values are parts of other datasets or files."""
    return bool(made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count())


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(part) for part in value]
    if isinstance(value, bytes | str):
        return value.decode("utf-8") if isinstance(value, bytes) else value
    raise ValueError(f"neither numbers nor texts: {type(value).__name__}")


def read_tree(source: str, group: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The file's groups and leaves, and its arrays, as the module says."""
    size = Path(source).stat().st_size
    reader = _Reader(min(max(SMALL_BYTES, BYTES_PER_BYTE * size), LARGEST_BYTES))
    with h5py.File(source, "r") as file:
        return reader.tree(h5py.h5o.open(file.id, group.encode())), reader.arrays


def _packed(tree: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    places: list[Any] = []
    first = 0
    for array in arrays.values():
        places.append([array.dtype.newbyteorder("<").str, array.shape, first])
        first += array.nbytes
    numbers = b"".join(array.astype(place[0]).tobytes() for array, place in zip(arrays.values(), places, strict=True))
    texts = {"tree": np.array(json.dumps(tree)), "places": np.array(json.dumps(places))}
    return texts | {"numbers": np.frombuffer(numbers, np.uint8)}


def main() -> int:
    """Read the file of the first argument into the archive of the second: the group of the third."""
    source, target, group = sys.argv[1:]
    try:
        tree, arrays = read_tree(source, group)
        with Path(target).open("wb") as out:
            np.savez(out, allow_pickle=False, **_packed(tree, arrays))
    except _BROKEN as error:
        sys.stderr.write(f"{error}".strip() or type(error).__name__)
        return BAD_FILE
    return 0


if __name__ == "__main__":
    sys.exit(main())
