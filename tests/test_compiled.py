# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled loops helps and never hinders: damaged, read-only, full, or absent."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core import caching

from spikefold import compiled as compiled_module

SOURCE = """\
from spikefold.compiled import compiled

@compiled()
def total(x):
    found = 0
    for i in range(x.size):
        found += x[i]
    return found
"""


class Loop:
    """One compiled function in a folder of its own; each `fresh` is what another process would make."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "loop.py"
        self.path.write_text(SOURCE)

    def fresh(self) -> Any:
        spec = importlib.util.spec_from_file_location("loop", self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.total

    def files(self, suffix: str) -> list[Path]:
        """What lies beside it, but for Python's own cache."""
        found = (self.path.parent / "__pycache__").glob(f"*{suffix}")
        return sorted(path for path in found if path.suffix != ".pyc")


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.InTreeCacheLocator])
    return Loop(tmp_path)


def _use(function: Any) -> int:
    """Run it once; how often the machine code came from the disk."""
    assert function(np.arange(5)) == 10
    return sum(function.stats.cache_hits.values())


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


DAMAGE: dict[str, Callable[[Loop], object]] = {
    "an index cut short": lambda loop: loop.files(".nbi")[0].write_bytes(loop.files(".nbi")[0].read_bytes()[:20]),
    "an index of anything": lambda loop: loop.files(".nbi")[0].write_bytes(b"not a pickle"),
    "a flipped bit of machine code": lambda loop: _flip(loop.files(".nbc")[0], -200),
    "machine code cut short": lambda loop: loop.files(".nbc")[0].write_bytes(b""),
    "a checksum that is gone": lambda loop: loop.files(".sha256")[0].unlink(),
    "a checksum of anything": lambda loop: loop.files(".sha256")[0].write_bytes(b"\xff"),
    "machine code that is gone": lambda loop: loop.files(".nbc")[0].unlink(),
}


def test_the_next_process_finds_the_machine_code(loop: Loop) -> None:
    assert _use(loop.fresh()) == 0
    assert _use(loop.fresh()) == 1


def test_a_damaged_cache_is_made_anew(loop: Loop) -> None:
    assert _use(loop.fresh()) == 0
    for name, damage in DAMAGE.items():
        damage(loop)
        assert _use(loop.fresh()) == 0, name
        assert _use(loop.fresh()) == 1, f"{name}: not written again"


def test_no_folder_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    loop = Loop(tmp_path)
    assert _use(loop.fresh()) == 0
    assert not loop.files("")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=errno.errorcode.get)
def test_a_disk_that_takes_nothing(loop: Loop, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(compiled_module._Files, "_open_for_write", refuse)
    assert _use(loop.fresh()) == 0
    assert not loop.files("")
