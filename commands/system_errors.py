# SPDX-License-Identifier: Apache-2.0
"""What the operating system refuses, as E-ENVIRONMENT: which path, what it said, and what to do."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

from spikefold.errors import EnvironmentLacksError

_TO_DO = {
    errno.EACCES: "give yourself the right to write there (or to read it), or choose another folder with --out",
    errno.EPERM: "give yourself the right to write there, or choose another folder with --out",
    errno.EROFS: "that disk is read-only: choose another folder with --out",
    errno.ENOSPC: "the disk is full: make room, or choose another folder with --out; what was done is kept",
    errno.EDQUOT: "your share of the disk is used up: make room, or choose another folder with --out",
    errno.EFBIG: "files may not become so large here (ulimit -f, or the disk's format)",
    errno.ENOTDIR: "a file lies where a folder should be: move it away, or choose another folder with --out",
    errno.EISDIR: "a folder lies where a file should be: move it away, or name another file",
    errno.EEXIST: "something lies there already: move it away, or choose another folder with --out",
    errno.ENOENT: "it is not there: was it moved or removed meanwhile?",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENOMEM: "free memory, or make it smaller: train.batch, data.held, fewer clips",
    errno.EIO: "the disk does not answer as it should: look into the system's log",
}
_HINT = "look at that path; with another disk or folder (--out) it may work"


def from_system(error: OSError | MemoryError) -> EnvironmentLacksError:
    """The error for people."""
    if isinstance(error, MemoryError):
        return EnvironmentLacksError("there is not enough memory", where="this process", hint=_TO_DO[errno.ENOMEM])
    if isinstance(error, BrokenPipeError):
        return EnvironmentLacksError(
            "nobody reads what is printed: standard output is closed",
            where="standard output",
            hint="let the reader read to the end, or print into a file",
        )
    places = [str(place) for place in (error.filename, error.filename2) if place is not None]
    said = error.strerror or str(error)
    hint = _TO_DO.get(error.errno or 0, _HINT)
    return EnvironmentLacksError(
        f"the system refuses: {said}", where=" -> ".join(places) or _unnamed(error), hint=hint
    )


def _unnamed(error: OSError) -> str:
    """A write of what is printed has no path."""
    return "standard output, or a file that the system does not name" if error.errno == errno.ENOSPC else "not named"


def forget_output() -> None:
    """Whatever is still to be printed goes nowhere, so that the end of the process does not fail over it again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
