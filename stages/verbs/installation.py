# SPDX-License-Identifier: Apache-2.0
"""Looks at an installation: what is there, what each missing part would unlock, and the command that gets it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs

from spikefold import __version__
from spikefold.hardware.registry import chips

_NEEDED = ("torch", "spikingjelly", "sinabs", "nir", "onnx", "numpy", "scipy", "numba", "h5py", "safetensors")
_READS_AEDAT4 = ("lz4", "zstandard")
_DRIVEN = ("snntorch", "norse")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Part:
    """One part of an installation.

    Attributes:
        name: of the package, program or device.
        found: its version, or what was found in its place.
        ok: whether it can be used.
        needed: whether nothing works without it.
        unlocks: what it is for.
        to_do: the command that gets it; empty where it is there.
    """

    name: str
    found: str
    ok: bool
    needed: bool
    unlocks: str
    to_do: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def installation() -> dict[str, Any]:
    """The program, the machine and every part."""
    return {
        "spikefold": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "parts": [part.to_json() for part in _parts()],
    }


def _parts() -> Iterator[Part]:
    for name in _NEEDED:
        yield _package(name, needed=True, unlocks="every run", to_do="pip install spikefold")
    yield _cache()
    yield from _of_chips()
    yield _gpu()
    for name in _READS_AEDAT4:
        yield _package(name, unlocks="reading AEDAT 4 recordings", to_do="pip install 'spikefold[aedat4]'")
    for name in _DRIVEN:
        yield _package(name, unlocks=f"modules of {name} in from_torch", to_do=f"pip install {name}")
    yield _browser()


def _package(name: str, *, unlocks: str, to_do: str, needed: bool = False) -> Part:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = "absent"
    ok = found != "absent" and find_spec(name) is not None
    return Part(name, found, ok, needed, unlocks, "" if ok else to_do)


def _cache() -> Part:
    folder = Path(os.environ.get("SPIKEFOLD_CACHE") or platformdirs.user_cache_dir("spikefold"))
    found, ok = str(folder), True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        found, ok = f"{folder}: {error.strerror}", False
    to_do = "" if ok else "set SPIKEFOLD_CACHE to a folder that can be written"
    return Part("cache", found, ok, True, "generated data and the vendor's simulators", to_do)


def _of_chips() -> Iterator[Part]:
    """What vendors' packages the chips reach their simulators and boards by, each once."""
    told: set[str] = set()
    for chip in chips().values():
        if chip.environment is None:
            continue
        for name, found in chip.environment().items():
            if name in told:
                continue
            told.add(name)
            ok = any(letter.isdigit() for letter in found)
            boards = ", ".join(board.name for board in chip.boards)
            unlocks = f"boards: spikefold validate RUN --on {boards}" if boards else f"the simulator of {chip.title}"
            why = "; ".join(item.why for item in chip.not_run()) if boards and chip.not_run is not None else ""
            to_do = why or "the first run that needs it installs it: `spikefold energy silicon`"
            yield Part(name, found, ok, False, unlocks, "" if ok else to_do)


def _gpu() -> Part:
    import torch

    ok = torch.cuda.is_available()
    found = torch.cuda.get_device_name(0) if ok else "none that PyTorch sees"
    to_do = "" if ok else "a CUDA build of PyTorch: pip install torch, with the index of your CUDA version"
    return Part("GPU", found, ok, False, "--set train.device=cuda", to_do)


def _browser() -> Part:
    path = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    to_do = "" if path else "apt-get install chromium, or your system's package of it"
    return Part("browser", path or "absent", path is not None, False, "the tests of the page (make test)", to_do)
