# SPDX-License-Identifier: Apache-2.0
"""A network from its ``.nir`` file to the files of each chip, for callers who have a path and options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.export.nir.options import NirOptions
from spikefold.session import Reporter
from spikefold.stages.exchange.export_network import export_network
from spikefold.stages.exchange.foreign import of_nir, recorded
from spikefold.train.data.clips import ClipSet


def export_file(
    path: Path,
    chips: Sequence[str],
    out: Path,
    options: NirOptions,
    reporter: Reporter,
    clips: ClipSet | None = None,
    calibration: np.ndarray | None = None,
) -> dict[str, Any]:
    """Export a file to every chip named; as `export_network`, which see.

    Args:
        path: the ``.nir`` file.
        chips: names of the targets.
        out: the folder.
        options: what the file does not say; ``max_count`` is counted in the clips where it is left open.
        reporter: told each finished fact, and the convention that was used.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        calibration: training frames for the search of the scales.
    """
    found = of_nir(path, options)
    for line in found.about["said"]:
        reporter.line(f"{found.name}: {line}")
    return export_network(found, chips, out, reporter, clips, calibration)


def clips_of(
    source: str, path: Path, options: NirOptions, reporter: Reporter
) -> tuple[NirOptions, ClipSet, np.ndarray]:
    """Recordings of a data set as clips of the file's input.

    Args:
        source: ``npz:DIR`` or another of `spikefold.train.data.datasets`.
        path: the ``.nir`` file.
        options: as for `export_file`; the recordings decide ``dt_us`` and ``max_count`` where they are open.
        reporter: told about long work.

    Returns:
        The options with what was chosen for the recordings, the test clips, some training frames for calibration.

    Raises:
        DataError: recordings that do not give frames of the network's input shape.
    """
    found, clips = recorded(of_nir(path, options), source, options.dt_us, reporter)
    spec = found.network.input
    chosen = options.model_copy(update={"dt_us": spec.dt_us, "max_count": spec.max_count})
    return chosen, clips.test, clips.calibration
