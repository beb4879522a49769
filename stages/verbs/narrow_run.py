# SPDX-License-Identifier: Apache-2.0
"""``spikefold fit --apply``: write a configuration that fits a chip, or take channels away from a run until it fits.

An architecture is given a configuration to train. A trained run is narrowed instead: ``2_fold/CHIP/target`` loses
its least important channels, and `spikefold adapt` fine-tunes what is left. ``fold.json`` says which channels stayed.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.config import to_toml
from spikefold.errors import ConfigError, DataError, UnsupportedError
from spikefold.export.io import identity, load_network, save_network
from spikefold.export.network import Network
from spikefold.files import write_text
from spikefold.hardware.chip import Chip
from spikefold.hardware.fit import FitReport, fit_report
from spikefold.hardware.simulators import clocked
from spikefold.session import NETWORK, Session
from spikefold.stage_table import FOLD, TRAIN
from spikefold.stages.files.fold import FoldFile
from spikefold.stages.verbs.check_fit import target_of
from spikefold.train import checkpoint
from spikefold.train.deploy.fit_model import Proposal, base_config, propose, sized
from spikefold.train.deploy.narrow import Narrowed, channel_importance, kept_counts, narrow
from spikefold.train.deploy.target_neuron import Replaced
from spikefold.train.models.architectures import Architecture


def apply_to_architecture(
    architecture: Architecture, chip: Chip, out: Path, sensor: tuple[int, int] | None = None
) -> Proposal:
    """Write the configuration of the nearest architecture that fits, for ``spikefold run --config``.

    Args:
        architecture: by name, with its published input.
        chip: the target.
        out: the TOML file.
        sensor: rows and columns of the recordings that it will be trained on; a DVS128's by default.

    Raises:
        DataError: something is at ``out`` already.
        UnsupportedError: nothing near it fits.
    """
    if out.exists():
        raise DataError("something is there, and would be lost", where=str(out), hint="choose another --out")
    found = propose(architecture if sensor is None else sized(architecture, sensor), chip)
    base = base_config(architecture) if sensor is None else base_config(architecture, sensor)
    shape = "x".join(map(str, found.architecture.shape))
    said = [
        f"architecture {architecture.name}, made to fit {chip.title}; its input is {shape}",
        *(str(change) for change in found.changes),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, "".join(f"# {line}\n" for line in said) + to_toml(found.config(base)))
    return found


@dataclass(frozen=True)
class NarrowedRun:
    """What became of a run.

    Attributes:
        before: what the chip said to the network of the fold.
        after: what it says now; the same where that fitted.
        channels: by spiking layer, channels kept and of how many; empty where the network fitted.
    """

    before: FitReport
    after: FitReport
    channels: dict[str, tuple[int, int]]

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "channels": {name: list(kept) for name, kept in self.channels.items()},
        }


def narrow_run(session: Session, chip: Chip) -> NarrowedRun:
    """Narrow a run's folded network until it fits the chip; a network that fits stays as it is.

    What was computed from the fold is stale then and goes, as after ``spikefold fold``. ``spikefold fold`` brings the
    wide network back.

    Raises:
        ConfigError: the run was not folded for this chip, or was narrowed before.
        UnsupportedError: fewer channels alone do not make it fit; with the settings of a network that would.
    """
    target = target_of(session, chip)
    wide = load_network(target)
    before = fit_report(wide, chip, session.folder.name)
    if before.fits:
        return NarrowedRun(before, before, {})
    folds = FoldFile.of_run(session)
    if chip.name in folds.narrowed:
        raise ConfigError("it was narrowed before", where=str(session.folder), hint="`spikefold fold` undoes that")
    try:
        kept_counts(wide, chip)
    except UnsupportedError as error:
        raise UnsupportedError(
            error.what,
            where=str(session.folder),
            issues=error.issues or before.violations,
            hint=_another(session, chip),
        ) from error
    config = session.config
    clips = session.clips("train")
    found = narrow(wide, chip, channel_importance(wide, chip, clips, config.train))
    frames = clips.first(config.gates.clips).frames
    written = folds.plain()
    written["replaced"][chip.name] += [asdict(entry) for entry in _replaced(wide, found, frames)]
    written.setdefault("narrowed", {})[chip.name] = {
        "before": identity(wide),
        "after": identity(found.network),
        "kept": {name: np.flatnonzero(kept).tolist() for name, kept in found.kept.items()},
    }
    with session.writing(FOLD) as folder:
        shutil.copytree(session.path(FOLD), folder, dirs_exist_ok=True)
        save_network(found.network, folder / chip.name / "target")
        FoldFile.of(written).write(folder)
    channels = {name: (int(kept.sum()), len(kept)) for name, kept in found.kept.items()}
    said = ", ".join(f"{name} {kept} of {of}" for name, (kept, of) in channels.items())
    session.reporter.line(f"narrowed for {chip.name}: channels {said}; next: spikefold adapt {session.folder}")
    return NarrowedRun(before, fit_report(found.network, chip, session.folder.name), channels)


def _replaced(wide: Network, found: Narrowed, frames: np.ndarray) -> list[Replaced]:
    """The layers that lost channels, as the fold says it: so adaptation starts from afar, and reports show it."""
    clips = frames.shape[1]
    spikes = [clocked.run(which, frames).layers for which in (wide, found.network)]
    return [
        Replaced(name, f"{len(kept)} channels -> {kept.sum()}", 1.0, *(run[name].spikes / clips for run in spikes))
        for name, kept in found.kept.items()
    ]


def _another(session: Session, chip: Chip) -> str:
    """How to train a network that fits, near the one of this run."""
    trained = checkpoint.load(session.path(TRAIN) / NETWORK)
    binning = trained.binning
    architecture = Architecture(
        session.folder.name,
        "the network of a run",
        trained.model.config,
        binning.shape,
        binning.steps,
        binning.dt_us,
        len(trained.classes),
        (),
    )
    try:
        proposal = propose(architecture, chip)
    except UnsupportedError:
        return "no network near it fits either"
    base: Any = session.resolved()
    changed: Any = proposal.config(base)
    sets = [
        f"--set {section}.{key}={_toml(value)}"
        for section in ("data", "model")
        for key, value in getattr(changed, section)
        if value != getattr(getattr(base, section), key)
    ]
    return f"train another: spikefold run --config {session.folder / 'config.toml'} {' '.join(sets)}"


def _toml(value: object) -> str:
    return f"'[{','.join(map(str, value))}]'" if isinstance(value, tuple) else str(value)
