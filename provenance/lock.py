# SPDX-License-Identifier: Apache-2.0
"""One process at a time works in a run. The system holds the lock, so that a killed process leaves none."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from spikefold.errors import EnvironmentLacksError

try:
    import fcntl
except ImportError:  # no such locks on this system: two processes in one run are the user's affair
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which is made where it is not there, and removed where it stays empty.

    Raises:
        EnvironmentLacksError: another process holds it; the message says which.
        OSError: the folder cannot be written.
    """
    if fcntl is None:
        yield
        return
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    run.mkdir(parents=True, exist_ok=True)
    path = run / LOCK
    file = _taken(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
        for folder in made:
            with suppress(OSError):  # it holds something now
                folder.rmdir()


def _taken(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            told = _holder(file.read())
            file.close()
            raise EnvironmentLacksError(
                f"another process works in this run: {told}",
                where=str(path.parent),
                hint="wait until it is done, or choose another --out",
            ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # its holder removed it between the two calls: take the next one
    file.truncate(0)
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    since = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    file.write(json.dumps({"pid": os.getpid(), "host": platform.node(), "command": command, "since": since}))
    file.flush()
    return file


def _holder(text: str) -> str:
    try:
        found = json.loads(text)
        return f"process {found['pid']} on {found['host']}, `{found['command']}`, since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "it has not said which"
