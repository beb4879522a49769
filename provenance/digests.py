# SPDX-License-Identifier: Apache-2.0
"""Digests of the code, of data sets and of folders: equal for equal content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_OUTSIDE = ("tests", "benchmarks")
_SUFFIXES = (".py", ".toml", ".jinja")
_PACKAGES = ("torch", "spikingjelly", "sinabs", "numpy", "numba", "scipy", "nir", "onnx", "h5py", "matplotlib")
_PLUGINS = "spikefold.chips"
_CHUNK = 1 << 20


def of_values(values: Any) -> str:
    """Of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@cache
def of_code() -> str:
    """Of this package, of the packages that compute, and of chips that come from other packages."""
    from importlib import metadata

    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    found = {name: _version(name) for name in _PACKAGES}
    for point in metadata.entry_points(group=_PLUGINS):
        found[f"{point.name} = {point.value}"] = point.dist.version if point.dist else "unknown"
    digest.update(of_values(found).encode())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield from sorted(_ROOT.glob("*.py"))
    rooms = (room.parent for room in _ROOT.glob("*/__init__.py"))
    for room in sorted(room for room in rooms if room.name not in _OUTSIDE):
        yield from sorted(path for path in room.rglob("*") if path.suffix in _SUFFIXES)


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


PACKED = "npz"
"""The data source of packed recordings, a folder or a file."""


def of_data(source: str) -> str:
    """Of a data source: of its files, as in ``npz:DIR``, names, sizes and times of change; else its name.

    Raises:
        OSError: a file cannot be looked at.
    """
    kind, _, place = source.partition(":")
    if not place:
        return source
    root = Path(place)
    # packed recordings are read from these files alone, and runs or configurations may lie beside them
    files = [
        path
        for path in _files(root)
        if kind != PACKED or path == root or (path.parent == root and path.suffix == ".npz")
    ]
    found = [(path.relative_to(root).as_posix(), path.stat()) for path in files]
    return of_values([source, [[name, stat.st_size, stat.st_mtime_ns] for name, stat in found]])


def of_folder(folder: Path, leave_out: Collection[str] = ()) -> str:
    """Of the names and the content of all files of a folder, but for some names.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in _files(folder):
        if path.name in leave_out:
            continue
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        for chunk in _chunks(path):
            digest.update(chunk)
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """Of the content of one file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())


def _chunks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
