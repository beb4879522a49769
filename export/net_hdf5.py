# SPDX-License-Identifier: Apache-2.0
"""A process of its own that turns a stranger's ``.net`` file into plain arrays: ``python net_hdf5.py FILE OUT.npz``.

The reader, its limits and its output are those of ``nir/hdf5.py``, which says why this is a process; here it reads
the whole file instead of the group ``node``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np


def _reader() -> ModuleType:
    """``nir/hdf5.py``, loaded by its place: nothing of ours is importable in this process."""
    path = Path(__file__).parent / "nir" / "hdf5.py"
    spec = importlib.util.spec_from_file_location("hdf5", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Read the file of the first argument into the archive of the second."""
    source, target = sys.argv[1:]
    hdf5 = _reader()
    try:
        reader = hdf5._Reader()
        with hdf5.h5py.File(source, "r") as file:
            tree = reader.tree(file)
        with Path(target).open("wb") as out:
            np.savez(out, allow_pickle=False, tree=np.array(json.dumps(tree)), **reader.arrays)
    except hdf5._BROKEN as error:
        sys.stderr.write(f"{error}".strip() or type(error).__name__)
        return int(hdf5.BAD_FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
