# SPDX-License-Identifier: Apache-2.0
"""Reads the bytes of a ``.nir`` file as plain nodes and edges, read as a file from a stranger.

A ``.nir`` file is HDF5: a group ``node`` with ``type`` "NIRGraph", ``nodes`` (a group each: ``type`` and fields) and
``edges`` (pairs of names). It is read by `hdf5.py` in a process of its own, which a damaged file may crash, and not
with `nir`: sinabs 3.1 pins nir 1.0.4, which cannot read what later releases write (``v_reset``), and stops at the
first node that it does not know instead of naming all.

A graph inside a graph is flattened: its nodes get the names ``outer.inner``, its own Input and Output nodes become
``Identity``. An edge to ``outer`` ends at that Input, an edge from ``outer`` starts at that Output; nirtorch also
writes ``outer.input`` and ``outer.output`` itself. Edges written twice count once, as in nir, nirtorch and snnTorch.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import DataError
from spikefold.npz import read_arrays

GRAPH, IDENTITY = "NIRGraph", "Identity"
_READER = Path(__file__).with_name("hdf5.py")
_BAD_FILE = 6
COMPLEX = "complex numbers"
"""What stands for an array of them, as `hdf5.py` says it."""
_PATIENCE_S = 30
_LFS = b"version https://git-lfs.github.com/spec"
_HINT = "a .nir file is what nir.write(path, graph) writes; write it again"


@dataclass(frozen=True, eq=False)
class Node:
    """One node: its full name, its type as the file says it, and its fields (arrays and texts)."""

    name: str
    kind: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    def numbers(self, key: str, *, infinite: bool = False) -> np.ndarray:
        """A field as float64.

        Raises:
            DataError: it is missing, no numbers, or holds NaN; infinity too, but where ``infinite`` allows it.
        """
        value = self.fields.get(key)
        if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind not in "biuf":
            got = "missing" if value is None else "no numbers"
            raise DataError(f"the field {key!r} is {got}", where=str(self), hint=_HINT)
        values = value.astype(np.float64)
        if np.isnan(values).any() or (not infinite and np.isinf(values).any()):
            raise DataError(
                f"the field {key!r} holds NaN or infinity", where=str(self), hint="it was not trained well"
            )
        return values

    def whole(self, key: str) -> np.ndarray:
        """A field of whole numbers, as int64.

        Raises:
            DataError: as `numbers`, or a fraction.
        """
        values = self.numbers(key)
        if (values != np.rint(values)).any() or (np.abs(values) > 2**31).any():
            raise DataError(f"the field {key!r} holds {values.tolist()}", where=str(self), hint="whole numbers only")
        return values.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Graph:
    """All nodes by name, nested graphs flattened, each edge once, in the order of the file; the outer metadata."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """Read a file.

    Raises:
        DataError: missing, truncated, damaged, no NIR graph, or larger than anything that fits a chip.
    """
    graph = Graph()
    try:
        tree = _read_tree(path)
        if isinstance(told := tree.get("metadata"), dict):
            graph.metadata.update(told)
        _flatten(tree, "", graph)
    except DataError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise DataError(error.what, where=where, hint=error.hint or _HINT) from error
    return graph


def _read_tree(path: Path) -> dict[str, Any]:
    return isolated_tree(path, "node", "the NIR graph")


def isolated_tree(path: Path, group: str, what: str) -> dict[str, Any]:
    """A group of an HDF5 file from a stranger: groups as dictionaries, fields as arrays, texts and lists of texts.

    Args:
        path: the file.
        group: ``/`` for the whole file.
        what: it is, for messages.

    Raises:
        DataError: missing, damaged, too large, or the reader's process crashed or took too long.
    """
    _refuse_pointer(path, what)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "tree.npz"
        # -P: `numbers.py` beside the script is not the standard library's
        command = [sys.executable, "-P", str(_READER), str(path), str(out), group]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise DataError(f"cannot read {what} within {_PATIENCE_S} s") from error
        if done.returncode == _BAD_FILE:
            raise DataError(f"cannot read {what}: {done.stderr.decode(errors='replace')}")
        if done.returncode:
            raise DataError(f"cannot read {what}: the reader ended with code {done.returncode}")
        found = read_arrays(out, what, check_bytes=lambda claimed: None)  # our own, checked where it was made
    tree: dict[str, Any] = json.loads(str(found["tree"]))
    return decoded(tree, [_array(found["numbers"], *place) for place in json.loads(str(found["places"]))])


def _array(numbers: np.ndarray, dtype: str, shape: list[int], first: int) -> np.ndarray:
    size = np.dtype(dtype).itemsize * math.prod(shape)
    return numbers[first : first + size].view(dtype).reshape(shape).copy()


def _refuse_pointer(path: Path, what: str) -> None:
    try:
        with path.open("rb") as file:
            begin = file.read(len(_LFS))
    except OSError as error:
        raise DataError(f"cannot read {what}: {error}") from error
    if begin == _LFS:
        hint = "git lfs install && git lfs pull, in the repository that it is from"
        raise DataError(
            f"cannot read {what}: this is a Git LFS pointer, a few lines in the place of the file", hint=hint
        )


def decoded(tree: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    """What the reader writes, with each array in its place."""
    return {name: _value(part, arrays) for name, part in tree.items()}


def _value(part: Any, arrays: Sequence[np.ndarray]) -> Any:
    if isinstance(part, dict):
        return {name: _value(inner, arrays) for name, inner in part.items()}
    kind, *content = part
    return arrays[content[0]] if kind == "array" else content[0] if content else None


def _flatten(tree: dict[str, Any], prefix: str, graph: Graph) -> tuple[str, str]:
    """Add a graph's nodes and edges; the names of its only Input and Output, empty where they are not one each."""
    kind, nodes = tree.get("type"), tree.get("nodes")
    if kind != GRAPH or not isinstance(nodes, dict):
        raise DataError(f"the file holds {kind!r}, not a graph of nodes", hint="wrap it: nir.NIRGraph.from_list(...)")
    ends: dict[str, list[str]] = {"Input": [], "Output": []}
    doors: dict[str, tuple[str, str]] = {}
    for name, fields in nodes.items():
        full = prefix + name
        kind = fields.get("type") if isinstance(fields, dict) else None
        if not isinstance(kind, str):
            raise DataError(f"the node {full!r} has no type")
        if full in graph.nodes:
            raise DataError(f"two nodes are called {full!r}")
        if kind == GRAPH:
            doors[name] = _flatten(fields, f"{full}.", graph)
            continue
        if kind in ends:
            ends[kind].append(full)
        graph.nodes[full] = Node(full, IDENTITY if prefix and kind in ends else kind, fields)
    for start, end in _pairs(tree.get("edges")):
        source = doors[start][1] if start in doors else prefix + start
        target = doors[end][0] if end in doors else prefix + end
        for name, full in ((start, source), (end, target)):
            if full not in graph.nodes:
                what = "that has not one Input and one Output" if name in doors else "that is not there"
                raise DataError(f"an edge names {prefix + name!r}, a node {what}")
        graph.edges[source, target] = None
    first, last = (names[0] if len(names) == 1 else "" for names in ends.values())
    return first, last


def _pairs(edges: Any) -> list[tuple[str, str]]:
    if isinstance(edges, np.ndarray) and edges.size == 0:
        return []
    if not isinstance(edges, list) or any(not isinstance(edge, list) or len(edge) != 2 for edge in edges):
        raise DataError("edges are no pairs of names")
    if not all(isinstance(end, str) for edge in edges for end in edge):
        raise DataError("edges are no pairs of names")
    return [(start, end) for start, end in edges]
