# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate --reduce FOLDER``: the smallest case in which a runner differs, as files that a test loads.

FOLDER holds one folder for each chip and runner that differ::

    CHIP.RUNNER/  case.json  frames.npz  real.{json,safetensors}  network.{json,safetensors}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold import __version__
from spikefold.errors import DataError
from spikefold.export.io import load_network, save_network
from spikefold.export.network import Network
from spikefold.files import read_json, replacing_folder, write_json
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.compare import Comparison, compare
from spikefold.hardware.simulators.parity import Runner
from spikefold.hardware.simulators.reduction import Case, Reduced, RunnerOf, reduced
from spikefold.npz import read_arrays, write_arrays
from spikefold.session import Reporter

ENGINE, VENDOR = "torch", "vendor"
_FRAMES, _CASE, _VERSION = "frames.npz", "case.json", 1


@dataclass(frozen=True, eq=False)
class KeptCase:
    """A case that was read from its folder: the chip, which of its runners differed, and on what."""

    chip: str
    runner: str
    case: Case

    def compared(self) -> Comparison:
        """Run it again: the reference against the runner that differed.

        Raises:
            EnvironmentLacksError: the vendor's simulator is not installed.
        """
        runner = dict(_runners(self.chip))[self.runner](self.case.real, self.case.integer)
        return compare(
            reference.run(self.case.integer, self.case.frames), runner(self.case.frames), allow_silent=True
        )


def reduce_mismatches(
    networks: Mapping[str, tuple[Network, Network]],
    frames: np.ndarray,
    vendor_clips: int,
    out: Path,
    reporter: Reporter,
) -> dict[str, Reduced]:
    """Compare the runners of each chip, and write the smallest case of each that differs.

    Args:
        networks: by chip, its real and its integer network.
        frames: ``(T, N, C, H, W)``.
        vendor_clips: how many of the clips the vendor's simulator is given.
        out: a folder that is not there yet; it is made only where something differs.
        reporter: told what was compared and what is left.

    Returns:
        By ``CHIP.RUNNER`` what is left; empty where every spike is equal.

    Raises:
        DataError: something is at ``out``.
    """
    if out.exists():
        raise DataError("something is there, and would be lost", where=str(out), hint="name a new folder")
    found: dict[str, Reduced] = {}
    for chip, (real, integer) in networks.items():
        for name, runner_of in _runners(chip):
            some = frames if name == ENGINE else frames[:, :vendor_clips]
            compared = compare(reference.run(integer, some), runner_of(real, integer)(some), allow_silent=True)
            reporter.line(f"{chip}: {compared.describe()}")
            if compared.mismatches:
                left = reduced(Case(real, integer, some), runner_of)
                reporter.line(f"{chip}.{name}: {left.describe()}")
                found[f"{chip}.{name}"] = left
    if found:
        with replacing_folder(out) as folder:
            for key, left in found.items():
                (folder / key).mkdir()
                _write(folder / key, key, left)
    return found


def _runners(chip: str) -> Iterator[tuple[str, RunnerOf]]:
    def engine(real: Network, integer: Network) -> Runner:
        return lambda frames, *, potentials=False: clocked.run(integer, frames, potentials=potentials)

    yield ENGINE, engine
    simulator = chip_named(chip).vendor_simulator
    if simulator is not None:
        yield VENDOR, simulator


def _write(folder: Path, key: str, left: Reduced) -> None:
    chip, _, runner = key.rpartition(".")
    save_network(left.case.real, folder / "real")
    save_network(left.case.integer, folder / "network")
    write_arrays(folder / _FRAMES, {"frames": left.case.frames})
    content: dict[str, Any] = {
        "schema_version": _VERSION,
        "spikefold": __version__,
        "chip": chip,
        "runner": runner,
        "before": left.before,
        "sizes": left.case.sizes,
        "found": left.found.to_json(),
    }
    write_json(folder / _CASE, content)


def load_case(folder: Path) -> KeptCase:
    """Read what `reduce_mismatches` wrote of one chip and runner.

    Raises:
        DataError: a file is missing or damaged.
    """
    hint = "spikefold validate RUN --reduce FOLDER"
    content = read_json(folder / _CASE, hint)
    try:
        chip, runner = str(content["chip"]), str(content["runner"])
        if content["schema_version"] != _VERSION or runner not in (ENGINE, VENDOR):
            raise DataError(f"{_CASE} is of another release", where=str(folder), hint=hint)
        frames = read_arrays(folder / _FRAMES, "the reduced frames")["frames"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{_CASE} lacks {error}", where=str(folder), hint=hint) from error
    return KeptCase(chip, runner, Case(load_network(folder / "real"), load_network(folder / "network"), frames))
