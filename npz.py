# SPDX-License-Identifier: Apache-2.0
"""Arrays in an ``.npz`` archive: written whole or not at all, read without pickles and without surprises.

Headers are read by own code, for NumPy's parser raises what it likes on a damaged one, and takes the memory that a
header claims before anybody can look at the claim. Format: NumPy, NEP 1
(https://numpy.org/neps/nep-0001-npy-format.html).
"""

from __future__ import annotations

import ast
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from spikefold.errors import DataError
from spikefold.files import replacing

NPY_MAGIC = b"\x93NUMPY"
_BROKEN = (
    OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, NotImplementedError, MemoryError, OverflowError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What Python's archive reader raises on a damaged file, found by changing single bytes."""
SMALL_BYTES, BYTES_PER_BYTE = 2**26, 32
"""Bytes of arrays that any archive may claim, and that it may claim for each byte of its own."""
_LONGEST_HEADER = 10_000
_PLAIN = re.compile(r"[<>|=]?(?:[biufcSU]\d+|\?)")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_MEMBERS = 65_534
_DIRECTORY_END, _DIRECTORY_END_BYTES, _LONGEST_COMMENT = b"PK\x05\x06", 22, 65_535


@dataclass(frozen=True)
class ArrayClaim:
    """What the header of an array says of it.

    Attributes:
        dtype: of its entries.
        shape: of the array.
        by_columns: it is stored column by column.
        has_objects: it is a pickle of Python objects, and must not be opened; the dtype is then void.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    by_columns: bool
    has_objects: bool = False

    @property
    def size(self) -> int:
        """Bytes of the array behind its header."""
        return prod(self.shape) * self.dtype.itemsize


def read_claim(file: IO[bytes]) -> ArrayClaim:
    """Read the header of an array; the file then stands at its first byte.

    Raises:
        ValueError: it is no header, or describes no array.
    """
    start = file.read(8)
    if len(start) < 8 or not start.startswith(NPY_MAGIC) or start[6] not in (1, 2, 3):
        raise ValueError("no array begins there")
    counted = file.read(2 if start[6] == 1 else 4)
    length = int.from_bytes(counted, "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"the header claims {length} bytes")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("the header is cut short")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            said = ast.literal_eval(text.decode("utf-8").strip())
    except (SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError("the header is damaged") from error
    if not isinstance(said, dict) or set(said) != {"descr", "fortran_order", "shape"}:
        raise ValueError("the header is damaged")
    shape, by_columns = said["shape"], said["fortran_order"]
    plain_shape = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**48 for side in shape)
    if not plain_shape or len(shape) > 32 or not isinstance(by_columns, bool):
        raise ValueError("the header is damaged")
    has_objects = "O" in re.findall(r"'[<>|=]?(O)\d*'", repr(said["descr"]))
    dtype = np.dtype("V") if has_objects else _dtype(said["descr"])
    return ArrayClaim(dtype, shape, by_columns, has_objects)


def _dtype(said: object) -> np.dtype:
    """A plain type, or a record of plain types.

    Raises:
        ValueError: anything else.
    """
    fields: list[tuple[str, str]] = []
    for one in said if isinstance(said, list) else [("", said)]:
        match one:
            case (str(name), str(kind)) if isinstance(one, tuple) and _PLAIN.fullmatch(kind):
                fields.append((name, kind))
            case _:
                raise ValueError(f"entries of type {str(one)[:80]} are not read")
    try:
        found = np.dtype(fields if isinstance(said, list) else fields[0][1])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("the header describes no plain entries") from error
    if not found.itemsize:
        raise ValueError("the header describes entries of no bytes")
    return found


def read_array(file: IO[bytes], claim: ArrayClaim) -> np.ndarray:
    """The array behind a header that was read.

    Raises:
        ValueError: it holds Python objects, or ends before its last entry.
        MemoryError: there is not that much.
    """
    if claim.has_objects:
        raise ValueError("Object arrays, which are pickles, are not opened")
    if not claim.size:
        return np.zeros(claim.shape, claim.dtype)
    content = np.empty(claim.size, np.uint8)
    view, done = content.data, 0
    while done < claim.size:
        count = file.readinto(view[done : done + (1 << 24)])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"the array ends after {done} of {claim.size} bytes")
        done += count
    return content.view(claim.dtype).reshape(claim.shape, order="F" if claim.by_columns else "C")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed archive."""
    with replacing(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


@dataclass(frozen=True)
class Pieces:
    """A long list of numbers that is never in memory as a whole: its type, its length, and its pieces in order."""

    dtype: np.dtype
    length: int
    pieces: Iterable[np.ndarray]


class ArchiveWriter:
    """A compressed archive that is written array by array, as they come; see `writing_archive`."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, array: np.ndarray) -> None:
        """One more array, as a whole."""
        with self._member(name) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)

    def add_pieces(self, name: str, values: Pieces) -> None:
        """One more list, piece by piece."""
        with self._member(name) as file:
            about = {"descr": values.dtype.str, "fortran_order": False, "shape": (values.length,)}
            np.lib.format.write_array_header_1_0(file, about)
            for piece in values.pieces:
                file.write(np.ascontiguousarray(piece, values.dtype).tobytes())

    def _member(self, name: str) -> IO[bytes]:
        member = zipfile.ZipInfo(f"{name}.npy")  # which says nothing of when it was written
        member.compress_type = zipfile.ZIP_DEFLATED
        return self._archive.open(member, "w", force_zip64=True)


@contextmanager
def writing_archive(path: Path) -> Iterator[ArchiveWriter]:
    """An archive that appears at ``path`` when the block ends well, and not at all when it does not."""
    with replacing(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        yield ArchiveWriter(archive)


def read_arrays(
    path: Path,
    what: str = "the archive",
    *,
    wanted: Collection[str] | None = None,
    most_members: int = _MOST_MEMBERS,
    check_bytes: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of an archive.

    Args:
        path: the file.
        what: it holds, for messages.
        wanted: names of those that are read; without it, all.
        most_members: the most arrays that it may hold.
        check_bytes: told how many bytes the arrays claim together, before memory is taken; raises a `DataError` where
            that is too much. Without it they may claim `SMALL_BYTES`, or `BYTES_PER_BYTE` for each of the file.

    Raises:
        DataError: the file is missing, truncated, no archive, or holds anything but plain arrays.
    """
    with _opened(path, what, most_members) as archive:
        return _arrays(archive, _claims(archive, wanted, check_bytes or _believed(path, what)))


class ArrayStream:
    """One list of an archive, read from its start piece by piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.claim = read_claim(file)

    def read(self, count: int) -> np.ndarray:
        """The next ``count`` entries.

        Raises:
            ValueError: the list ends before.
        """
        return read_array(self._file, replace(self.claim, shape=(count,)))

    def end(self) -> None:
        """Check that everything was read, and the checksum with it.

        Raises:
            ValueError: the list goes on.
            BadZipFile: the checksum is another one.
        """
        if self._file.read(1):
            raise ValueError("a list goes on behind its last piece")


class Archive:
    """An archive that is open: what it claims to hold, and its arrays whole or piece by piece.

    Attributes:
        claims: by name, what the header of each array says.
    """

    def __init__(self, archive: zipfile.ZipFile, entries: dict[str, tuple[zipfile.ZipInfo, ArrayClaim]]) -> None:
        self._archive, self._entries = archive, entries
        self.claims = {name: claim for name, (_, claim) in entries.items()}

    def read(self, name: str) -> np.ndarray:
        """One array as a whole."""
        return _arrays(self._archive, {name: self._entries[name]})[name]

    @contextmanager
    def stream(self, name: str) -> Iterator[ArrayStream]:
        """One list piece by piece; several may be open. Its checksum is looked at where the last piece is read."""
        with self._archive.open(self._entries[name][0]) as file:
            yield ArrayStream(file)


@contextmanager
def opened_archive(
    path: Path,
    what: str = "the archive",
    *,
    wanted: Collection[str] | None = None,
    most_members: int = _MOST_MEMBERS,
    check_bytes: Callable[[int], None] | None = None,
) -> Iterator[Archive]:
    """An archive of which nothing but the headers is read; the arguments are those of `read_arrays`.

    Raises:
        DataError: as `read_arrays`, also for what is found broken inside the block.
    """
    with _opened(path, what, most_members) as archive:
        yield Archive(archive, _claims(archive, wanted, check_bytes or _believed(path, what)))


def _believed(path: Path, what: str) -> Callable[[int], None]:
    """Zeros pack a thousand to one: an archive of kilobytes can claim all memory."""
    size = path.stat().st_size
    most = max(SMALL_BYTES, BYTES_PER_BYTE * size)

    def check(claimed: int) -> None:
        if claimed > most:
            raise DataError(
                f"cannot read {what}: {size:,} bytes claim {claimed:,} of arrays, more than the {most:,} allowed",
                where=str(path),
                hint="the file is damaged, or was not written by this program",
            )

    return check


@contextmanager
def _opened(path: Path, what: str, most_members: int) -> Iterator[zipfile.ZipFile]:
    hint = "the file is missing, truncated or no .npz archive of plain arrays; write it again"
    try:
        with path.open("rb") as file:
            if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
                raise DataError(f"cannot read {what}: it is a single array", where=str(path), hint=hint)
            members = _members_claimed(file)
            if members > most_members:
                raise DataError(f"cannot read {what}: it claims {members:,} arrays", where=str(path), hint=hint)
            with zipfile.ZipFile(file) as archive:
                yield archive
    except _BROKEN as error:
        raise DataError(f"cannot read {what}: {error}", where=str(path), hint=hint) from error


def _members_claimed(file: IO[bytes]) -> int:
    """How many members the end of an archive claims, 0 where there is no such end: the reader will say so."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _DIRECTORY_END_BYTES - _LONGEST_COMMENT))
    tail = file.read()
    place = tail.rfind(_DIRECTORY_END)
    file.seek(0)
    if place < 0 or place + _DIRECTORY_END_BYTES > len(tail):
        return 0
    return int(struct.unpack_from("<H", tail, place + 10)[0])


def _claims(
    archive: zipfile.ZipFile, wanted: Collection[str] | None, check_bytes: Callable[[int], None]
) -> dict[str, tuple[zipfile.ZipInfo, ArrayClaim]]:
    claims: dict[str, tuple[zipfile.ZipInfo, ArrayClaim]] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if wanted is not None and name not in wanted:
            continue
        if entry.compress_type not in _METHODS:
            raise ValueError(f"{name!r} is compressed by a method that is not read")
        if name in claims:
            raise ValueError(f"{name!r} is there twice")
        with archive.open(entry) as file:
            claim = read_claim(file)
            if claim.size != entry.file_size - file.tell() and not claim.has_objects:
                raise ValueError(f"{name!r} claims {claim.size} bytes and has {entry.file_size - file.tell()}")
        claims[name] = entry, claim
    check_bytes(sum(claim.size for _, claim in claims.values()))
    return claims


def _arrays(archive: zipfile.ZipFile, claims: dict[str, tuple[zipfile.ZipInfo, ArrayClaim]]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, (entry, _) in claims.items():
        with archive.open(entry) as file:
            found[name] = read_array(file, read_claim(file))
            if file.read(1):
                raise ValueError(f"{name!r} goes on behind its array")
    return found
