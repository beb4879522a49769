# SPDX-License-Identifier: Apache-2.0
"""Recording files by extension and first bytes. A new format is one function and one `Format` in `FORMATS`.

Every reader only says what its file holds, and refuses what the file claims beyond its limits. Which way up the
events are, what is wrong with them and what is done about it is decided in one place,
`spikefold.train.data.parsing.checked.to_recordings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spikefold.errors import DataError, EnvironmentLacksError, nearest
from spikefold.train.data.events import Recording
from spikefold.train.data.formats import aedat2, aedat3, aedat4, event_stream, hdf5_file, npy_file, prophesee
from spikefold.train.data.formats.nmnist_bin import decode_bin
from spikefold.train.data.formats.npz_file import read_npz
from spikefold.train.data.formats.text_file import decode_text
from spikefold.train.data.parsing.checked import to_recordings
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading, size_of, whole_file

Read = Callable[[Path, Reading], list[RawEvents]]
"""All recordings of a file."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: for messages.
        suffixes: extensions of its files, lower case.
        magic: first bytes of every such file, empty where there are none.
        read: all recordings of a file, within the limits of a `Reading`.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    read: Read


def _whole(decode: Callable[[bytes, Reading], RawEvents]) -> Read:
    return lambda path, reading: [decode(whole_file(path, reading), reading)]


FORMATS: tuple[Format, ...] = (
    Format("AEDAT 2", (".aedat",), aedat2.MAGIC, _whole(aedat2.decode_aedat2)),
    Format("AEDAT 3.1", (".aedat",), aedat3.MAGIC, _whole(aedat3.decode_aedat3)),
    Format("AEDAT 4", (".aedat4", ".aedat"), aedat4.MAGIC, _whole(aedat4.decode_aedat4)),
    Format("Prophesee RAW", (".raw",), prophesee.MAGIC, _whole(prophesee.decode_raw)),
    Format("Prophesee DAT", (".dat",), prophesee.MAGIC, _whole(prophesee.decode_dat)),
    Format("Event Stream", (".es",), event_stream.MAGIC, _whole(event_stream.decode_event_stream)),
    Format("N-MNIST", (".bin",), b"", _whole(decode_bin)),
    Format("NumPy archive", (".npz",), b"", read_npz),
    Format("NumPy array", (".npy",), npy_file.MAGIC, npy_file.read_npy),
    Format("HDF5", (".h5", ".hdf5"), hdf5_file.MAGIC, hdf5_file.read_hdf5),
    Format("text", (".txt",), b"", _whole(decode_text)),
)
_LONGEST_MAGIC = max(len(known.magic) for known in FORMATS)


def suffixes(formats: tuple[Format, ...] = FORMATS) -> tuple[str, ...]:
    """Every extension that is read."""
    return tuple(sorted({suffix for known in formats for suffix in known.suffixes}))


def read(path: Path, reading: Reading = AS_IT_IS, formats: tuple[Format, ...] = FORMATS) -> list[Recording]:
    """The recordings of one file, by its extension and first bytes.

    Raises:
        DataError: unknown extension, a file that is not of its extension's format, or that its reader refuses.
        EnvironmentLacksError: a package that unpacks the file is not installed.
    """
    found = read_with(format_of(path, formats).read, path, reading)
    return [recording for raw in found for recording in finished(raw, path, reading)]


def finished(raw: RawEvents, path: Path, reading: Reading) -> list[Recording]:
    """A file's events as a recording that its file names; several where its clock was set back.

    Raises:
        DataError: as `to_recordings`.
    """
    return to_recordings(raw, f"{path}:{raw.name}" if raw.name else str(path), reading)


def read_with(reader: Callable[[Path, Reading], Found], path: Path, reading: Reading = AS_IT_IS) -> Found:
    """What a reader says of a file; its errors name the file.

    Raises:
        DataError: the file cannot be opened or is refused.
        EnvironmentLacksError: a package that unpacks the file is not installed.
    """
    size_of(path)  # opening a pipe would wait for ever
    try:
        return reader(path, reading)
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror or error}", where=str(path)) from error
    except MemoryError as error:
        what = "there is not enough memory for the file"
        raise DataError(what, where=str(path), hint="cut the recording, or use a machine with more") from error
    except (DataError, EnvironmentLacksError) as error:
        raise type(error)(error.what, where=error.where or str(path), hint=error.hint) from error


def format_of(path: Path, formats: tuple[Format, ...] = FORMATS) -> Format:
    """The format of a file.

    Raises:
        DataError: unknown extension, no regular file, an empty one, or first bytes of no format with that extension.
    """
    suffix = path.suffix.lower()
    candidates = [known for known in formats if suffix in known.suffixes]
    if not candidates:
        raise DataError(
            f"no reader for {suffix or 'files without extension'}",
            where=str(path),
            hint=nearest(suffix, suffixes(formats)),
        )
    size_of(path)
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_MAGIC)
    except OSError as error:
        raise DataError(f"cannot open the file: {error.strerror or error}", where=str(path)) from error
    if not start:
        raise DataError("the file is empty", where=str(path), hint="copy it again, or remove it")
    fitting = [known for known in candidates if start.startswith(known.magic)]
    if not fitting:
        others = [known.name for known in formats if known.magic and start.startswith(known.magic)]
        names = " or ".join(known.name for known in candidates)
        hint = f"it begins like {' or '.join(others)}; rename it" if others else "the file is damaged, or misnamed"
        raise DataError(f"the file does not begin like {names}", where=str(path), hint=hint)
    return fitting[0]
