# SPDX-License-Identifier: Apache-2.0
"""What names a network trained elsewhere, and what is said of it; `foreign` opens it.

A file of its own, because every command asks whether a run folder is meant, and most of them need not load what opens
the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NET, NIR, TORCH = "net", "nir", "torch"
KINDS = (NET, NIR, TORCH)
"""The doors, by the word before the colon of a source."""


@dataclass(frozen=True)
class Asked:
    """What the user says of a network that does not say it itself; None or empty where nothing was said.

    Attributes:
        convention: who wrote a ``.nir`` file.
        steps: of a clip.
        dt_us: of a step.
        classes: groups of output neurons.
        input_shape: ``(C, H, W)``.
        nir: what else a ``.nir`` file leaves open, as ``KEY=VALUE``.
        ignore_input_bias: whether the bias of a ``.net`` file's input layer is held at 0.
    """

    convention: str | None = None
    steps: int | None = None
    dt_us: int | None = None
    classes: int | None = None
    input_shape: tuple[int, int, int] | None = None
    nir: tuple[str, ...] = ()
    ignore_input_bias: bool = False


def kind_of(source: str) -> str | None:
    """`NET`, `NIR` or `TORCH`; None for a run folder."""
    kind = source.partition(":")[0]
    if kind in KINDS and ":" in source:
        return kind
    suffix = Path(source).suffix.lower().removeprefix(".")
    return suffix if suffix in (NET, NIR) else None
