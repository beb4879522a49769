# SPDX-License-Identifier: Apache-2.0
"""Files made to do harm, forty of every format that is read: a typed error or a result, in time and memory.

They are made from an honest file by edits that an attacker, a broken disk or a careless program would make: numbers
at their ends where a header may have them, texts of thousands of digits, parts twice or missing, another format's
bytes. The same number gives the same file.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikefold.errors import SpikefoldError

CRAFTED = 40
"""Files of each format."""
MOST_S, MOST_BYTES = 2.0, 500 * 2**20
_ENDS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**62, 2**64 - 1)
"""Numbers at their ends, of two to eight bytes, little- and big-endian."""
_TEXTS = (b"9" * 5_000, b"-1", b"0", b"1e400", b"NaN", b"9223372036854775808", b"[" * 3_000, b'"' * 9, b"\xff\xfe")
_HEADER = 256
"""Bytes at the beginning of a file in which most formats keep their sizes."""


@dataclass(frozen=True)
class Kind:
    """One format.

    Attributes:
        name: of the file, as its reader wants it.
        whole: writes an honest file, given a folder; its bytes.
        read: reads a file.
        is_text: whether people write it.
        apart: whether it is read in a process of its own, which takes a second to start.
    """

    name: str
    whole: Callable[[Path], bytes]
    read: Callable[[Path], object]
    is_text: bool = False
    apart: bool = False


def crafted(whole: bytes, number: int, *, is_text: bool) -> bytes:
    """The file of a number, from 0 to `CRAFTED` less one."""
    draws = np.random.default_rng([number, len(whole)])
    simple = (
        b"",
        whole[:1],
        whole + whole,
        whole * 50,
        bytes(len(whole)),
        b"\xff" * len(whole),
        whole[::-1],
        b"\n" * 10_000,
        b"%PDF-1.7\n" + whole,
        b"PK\x03\x04" + whole[4:],
        b"\x89HDF\r\n\x1a\n" + whole[8:],
        b"version https://git-lfs.github.com/spec/v1\n",
    )
    if number < len(simple):
        return simple[number]
    return _edited_text(whole, draws) if is_text else _edited_header(whole, draws)


def _edited_text(whole: bytes, draws: np.random.Generator) -> bytes:
    """A number, a name or a mark of the text replaced by something at its end, or a line twice."""
    places = [found.span() for found in re.finditer(rb"-?\d+(?:\.\d+)?|\"[^\"\n]*\"|[\[\]{}=:,]", whole)]
    if not places or draws.integers(4) == 0:
        lines = whole.splitlines(keepends=True) or [b"x"]
        line = lines[int(draws.integers(len(lines)))]
        return whole + line * int(draws.choice([1, 3, 5_000]))
    start, end = places[int(draws.integers(len(places)))]
    return whole[:start] + _TEXTS[int(draws.integers(len(_TEXTS)))] + whole[end:]


def _edited_header(whole: bytes, draws: np.random.Generator) -> bytes:
    """Up to three numbers written over, most of them where headers are, and digits of headers that are texts."""
    found = bytearray(whole)
    for _ in range(int(draws.integers(1, 4))):
        width = int(draws.choice([2, 4, 8]))
        near = min(len(found), _HEADER) if draws.integers(3) else len(found)
        place = int(draws.integers(max(near - width, 1)))
        end = int(draws.choice(np.array(_ENDS, np.uint64))) % 2 ** (8 * width)
        found[place : place + width] = end.to_bytes(width, "little" if draws.integers(2) else "big")
    if draws.integers(3) == 0:
        return re.sub(rb"\d+", _TEXTS[int(draws.integers(len(_TEXTS)))], bytes(found), count=1)
    return bytes(found)


@contextmanager
def limited_memory() -> Iterator[None]:
    """Within the block this process can take `MOST_BYTES` more than it has; what wants more gets a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + MOST_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _processor_s() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def outcome(kind: Kind, content: bytes, folder: Path) -> str:
    """``"read"`` or ``"refused"``.

    Raises:
        AssertionError: it took too long, too much memory, or another error came than one that a user is told.
    """
    path = folder / kind.name
    path.write_bytes(content)
    started = _processor_s()
    try:
        with limited_memory():
            kind.read(path)
        told = "read"
    except SpikefoldError as error:
        if error.exit_code == SpikefoldError.exit_code:
            raise AssertionError(f"{kind.name}: E-INTERNAL: {error}") from error
        told = "refused"
    except Exception as error:
        raise AssertionError(f"{kind.name}: {type(error).__name__}: {error}") from error
    if (took := _processor_s() - started) > MOST_S:
        raise AssertionError(f"{kind.name}: {took:.1f} s")
    return told
