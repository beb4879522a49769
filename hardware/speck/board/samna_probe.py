# SPDX-License-Identifier: Apache-2.0
"""Finds out which samna is installed, without running it.

Every samna on PyPI is a stub whose import runs ``pip install --force-reinstall`` against the vendor's index and,
offline, ends in ``subprocess.CalledProcessError`` after some seconds, not in ``ImportError``. So the question is
answered from the files alone. Never ask `find_spec` for a dotted name here: that imports the parent.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

SamnaStatus = Literal["absent", "stub", "real", "unknown"]
_STUB_MARKS = ("PYPI_SAMNA", "install_real_samna")
_NATIVE = (".so", ".pyd", ".dylib")


_WHY_NOT: Mapping[SamnaStatus, str] = {
    "absent": "samna is not installed",
    "stub": "samna is the stub of the package registry, whose import runs pip, so it is left alone",
    "unknown": "what is installed as samna is neither the vendor's package nor the known stub, so it is left alone",
}


def why_not() -> str | None:
    """Why the real samna cannot be imported, in one clause; None where it can."""
    return _WHY_NOT.get(samna_status())


def samna_status() -> SamnaStatus:
    """What ``import samna`` would meet: nothing, the PyPI stub, the real package, or something else.

    The real package has a native library or brings ``samnagui`` along; the stub names itself in its source.
    """
    try:
        spec = importlib.util.find_spec("samna")
    except ValueError:  # somebody put a module without a spec into sys.modules
        return "unknown"
    if spec is None:
        return "absent"
    if spec.origin and spec.origin.endswith(".py") and _is_stub(Path(spec.origin)):
        return "stub"
    return "real" if _has_native_library() or importlib.util.find_spec("samnagui") else "unknown"


def _is_stub(source: Path) -> bool:
    try:
        text = source.read_text(encoding="utf-8", errors="ignore")
    except OSError:
        return False
    return any(mark in text for mark in _STUB_MARKS)


def _has_native_library() -> bool:
    try:
        files = importlib.metadata.distribution("samna").files or []
    except importlib.metadata.PackageNotFoundError:
        return False
    return any(file.suffix in _NATIVE for file in files)
