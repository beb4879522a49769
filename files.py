# SPDX-License-Identifier: Apache-2.0
"""Files and folders that appear whole or not at all; text and JSON written that way, and JSON read back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from spikefold.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch path beside ``path``: takes its place when the block ends well, and is removed when it does not."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A scratch folder beside ``path``: takes its place when the block ends well, else nothing is left.

    Raises:
        OSError: it cannot be made there.
    """
    path = path.resolve()
    made = [parent for parent in path.parents if not parent.exists()]
    scratch, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("part", "old"))
    try:
        scratch.mkdir(parents=True)
        yield scratch
        if path.exists():
            path.rename(old)
        scratch.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # it is not empty: it holds the folder, or something of somebody else
                parent.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a file by rename."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write plain values as JSON, by rename."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False))


def read_json(path: Path, hint: str = "run that stage again") -> Any:
    """Read plain values from JSON.

    Raises:
        DataError: the file is missing or damaged, or holds a number that JSON does not have, such as NaN.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path.name}: {error}", where=str(path), hint=hint) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
