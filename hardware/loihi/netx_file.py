# SPDX-License-Identifier: Apache-2.0
"""Reads the bytes of a ``.net`` file as a list of entries, in a process of its own: it is a file from a stranger.

A ``.net`` file is HDF5 without attributes: groups ``layer/0`` to ``layer/n-1``, each with a ``type`` and numbers,
some with a group ``neuron``; and ``simulation`` with the length of a clip. slayer writes texts as arrays of one
element, numbers as float32, and scalars with or without an axis; all of these are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import DataError
from spikefold.export.nir.file import isolated_tree

_HINT = "a .net file is what slayer's net.export_hdf5(path) or our own exporter writes; write it again"
_LARGEST = 2**31


@dataclass(frozen=True, eq=False)
class Entry:
    """One layer, or the neurons of one: its place in the file, its type, its fields."""

    where: str
    kind: str
    fields: Mapping[str, Any]

    def whole(self, key: str) -> np.ndarray:
        """A field of whole numbers, as int64.

        Raises:
            DataError: it is missing, no numbers, or holds NaN, infinity, or a fraction, which netx would cut off.
        """
        value = self.fields.get(key)
        if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind not in "biuf":
            got = "missing" if value is None else "no numbers"
            raise DataError(f"the field {key!r} is {got}", where=self.where, hint=_HINT)
        numbers = value.astype(np.float64)
        if not np.isfinite(numbers).all() or (np.abs(numbers) >= _LARGEST).any():
            what = f"the field {key!r} holds NaN, infinity or more than 31 bits"
            raise DataError(what, where=self.where, hint=_HINT)
        if (numbers != np.rint(numbers)).any():
            hint = "netx cuts fractions off, toward zero: round to whole numbers before you write"
            raise DataError(f"the field {key!r} holds fractions", where=self.where, hint=hint)
        return numbers.astype(np.int64)

    def number(self, key: str, default: int | None = None) -> int:
        """A field of one whole number, or of equal ones.

        Raises:
            DataError: as `whole`, or different numbers.
        """
        if default is not None and key not in self.fields:
            return default
        values = np.unique(self.whole(key))
        if len(values) != 1:
            hint = "one number for the whole layer: fold factors into its weights"
            raise DataError(f"the field {key!r} holds {len(values)} different numbers", where=self.where, hint=hint)
        return int(values[0])

    def pair(self, key: str) -> tuple[int, int]:
        """A field of one number for both axes, or of ``(H, W)``.

        Raises:
            DataError: as `whole`, or another number of them.
        """
        values = self.whole(key)
        if values.shape not in ((), (2,)):
            what = f"the field {key!r} has shape {values.shape}"
            raise DataError(what, where=self.where, hint="one number, or two")
        both = values if values.shape else np.repeat(values, 2)
        return int(both[0]), int(both[1])

    @property
    def neuron(self) -> Entry | None:
        """Its neurons."""
        fields = self.fields.get("neuron")
        where = f"{self.where}/neuron"
        return Entry(where, _text(fields, where), fields) if isinstance(fields, dict) else None


def read_entries(path: Path) -> tuple[list[Entry], int | None]:
    """All layers in order, and the steps of a clip where the file says them.

    Raises:
        DataError: missing, truncated, damaged, no ``.net`` file, or larger than anything that fits a chip.
    """
    try:
        tree = _read_tree(path)
        layers = tree.get("layer")
        if not isinstance(layers, dict) or set(layers) != {str(index) for index in range(len(layers))} or not layers:
            got = sorted(layers)[:8] if isinstance(layers, dict) else "nothing"
            raise DataError(f"layers are numbered from 0 in the group 'layer'; here is {got}")
        entries = []
        for index in range(len(layers)):
            where, fields = f"layer/{index}", layers[str(index)]
            if not isinstance(fields, dict):
                raise DataError("no group where a layer must be", where=where)
            kind = _text(fields, where)
            entries.append(Entry(f"{where} ({kind})", kind, fields))
        return entries, _steps(tree.get("simulation"))
    except DataError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise DataError(error.what, where=where, hint=error.hint or _HINT) from error


def _steps(simulation: Any) -> int | None:
    if not isinstance(simulation, dict) or not {"Ts", "tSample"} <= set(simulation):
        return None
    entry = Entry("simulation", "", simulation)
    return entry.number("tSample") // max(1, entry.number("Ts")) or None


def _text(fields: Any, where: str) -> str:
    kind = fields.get("type") if isinstance(fields, dict) else None
    while isinstance(kind, list) and len(kind) == 1:
        kind = kind[0]
    if not isinstance(kind, str):
        raise DataError("it has no type", where=where)
    return kind


def _read_tree(path: Path) -> dict[str, Any]:
    return isolated_tree(path, "/", "the .net file")
