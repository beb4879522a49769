# SPDX-License-Identifier: Apache-2.0
"""Makes lava-nc 0.10.0 and lava-dl 0.6.0 importable on Python 3.11 to 3.13, with numpy 2 and without torch.

Both are archived, so a patch against their text cannot rot. It is made in memory only, while Python imports the five
modules, and a text that it does not know is refused:

1. Python 3.11: dataclass defaults must be hashable.  2. numpy 2.4: ``np.reshape(newshape=)`` is now ``shape=``.
3. numpy 2.4: ``int()`` of a one-element array.  4. netx imports torch for resonators and for modules unused here.
5. numpy 2: lava keeps a convolution's geometry as int8 and adds the sides of its input to it, which numpy 1 widened;
   numpy 2 raises or wraps from a side of 126 on.

`worker` loads this file by its path; it imports neither spikefold nor lava.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import CodeType, ModuleType
from typing import Any

SHIM_VERSION = 2
_RF = "from lava.lib.dl.slayer.neuron.rf import neuron_params as get_rf_params"
_PATCHES: dict[str, tuple[tuple[str, str, int], ...]] = {
    "lava.magma.compiler.var_model": tuple(
        (f"@dataclass\nclass {name}:", f"@dataclass(unsafe_hash=True)\nclass {name}:", 1)
        for name in ("ByteEncoder", "CoreEncoder", "ChipEncoder")
    ),
    "lava.magma.core.process.ports.ports": (("np.reshape, newshape=", "np.reshape, shape=", 2),),
    "lava.proc.conv.models": (("LavaPyType(np.ndarray, np.int8, precision=8)", "LavaPyType(np.ndarray, int)", 5),),
    "lava.lib.dl.netx.hdf5": (
        (_RF, "get_rf_params = None", 1),
        ("int(layer_config['weight'])", "int(np.ravel(layer_config['weight'])[0])", 1),
        ("int(layer_config['bias'])", "int(np.ravel(layer_config['bias'])[0])", 1),
    ),
    "lava.lib.dl.netx.sequential_modules": (
        ("import torch\n", 'torch = type("torch", (), {"tensor": np.ndarray})\n', 1),
    ),
}
"""Module: (old text, new text, how often the old text occurs)."""


class _PatchingLoader(importlib.machinery.SourceFileLoader):
    """Compiles the patched source; never reads or writes a ``.pyc`` of it."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        for old, new, count in _PATCHES[fullname]:
            if "newshape" in old and _numpy_version() < (2, 1):
                continue  # these know only the old keyword
            if source.count(old) != count:
                raise ImportError(f"{fullname} is not the pinned release: {old!r} occurs {source.count(old)} times")
            source = source.replace(old, new)
        code: CodeType = compile(source, self.path, "exec", dont_inherit=True)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    """Patches five modules of lava, and keeps torch out: imported before lava forks, it doubles the memory."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torch":
            raise ModuleNotFoundError("torch is kept out of lava's simulator", name=fullname)
        if fullname not in _PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _PatchingLoader(fullname, spec.origin)
        return spec


def _numpy_version() -> tuple[int, ...]:
    import numpy as np

    return tuple(int(part) for part in np.__version__.split(".")[:2])


def install() -> None:
    """Make lava importable here. Call it before anything imports lava."""
    sys.meta_path.insert(0, _Finder())
