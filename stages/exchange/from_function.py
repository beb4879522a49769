# SPDX-License-Identifier: Apache-2.0
"""The network that a function of the user's makes, ``package.module:function``: run because the user named it.

The function takes nothing and returns a PyTorch module; or a module and its `InputSpec`; or a `Network`. Whatever
goes wrong in it is said as an error of the function, with the line of the user's code where it happened.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from spikefold.errors import ConfigError
from spikefold.export.network import InputSpec, Network

_STEPS, _DT_US = 8, 10_000
_RETURNS = "a function that takes nothing and returns a module, (module, InputSpec) or a Network"


def network_of_function(
    name: str, shape: tuple[int, int, int] | None, steps: int | None, dt_us: int | None, classes: int | None
) -> Network:
    """Import and call the function, and follow what its module computes.

    Args:
        name: ``package.module:function``; packages are looked up in the working directory first.
        shape: ``(C, H, W)`` of the input, where the function does not give an `InputSpec`.
        steps: of a clip; 8 by default.
        dt_us: of a step; 10,000 by default.
        classes: groups of output neurons; what a voting layer says by default.

    Raises:
        ConfigError: no such function, it fails, or returns something else; no shape is known.
        UnsupportedError: everything in the module that cannot be carried.
    """
    from spikefold.export.from_torch import from_torch

    made = _called(name)
    if isinstance(made, Network):
        return made
    module, spec = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not callable(getattr(module, "named_modules", None)) or not isinstance(spec, InputSpec | None):
        raise ConfigError(f"it returns {type(made).__name__}", where=f"torch:{name}", hint=_RETURNS)
    if spec is None:
        if shape is None:
            hint = "--input-shape C,H,W; or let the function return (module, InputSpec)"
            raise ConfigError("the input of the module is not known", where=f"torch:{name}", hint=hint)
        spec = InputSpec(shape, dt_us or _DT_US, steps or _STEPS)
    return from_torch(module, spec, classes)


def _called(name: str) -> Any:
    place, _, function = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if not place or not function:
        raise ConfigError(f"{name!r} names no function", where="torch:", hint="torch:package.module:function")
    try:
        found = getattr(importlib.import_module(place), function)
        return found()
    except Exception as error:  # the function is its owner's, and whatever it raises is told with its place
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        what = f"{type(error).__name__}: {error}{at}"
        raise ConfigError(f"the function fails: {what}", where=f"torch:{name}", hint=_RETURNS) from error
