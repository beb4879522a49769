# SPDX-License-Identifier: Apache-2.0
"""One run on disk: its folder, its configuration, and the data that its stages share.

Each stage (see `stage_table`) writes into a folder of its own that appears whole or not at all::

    runs/NAME/  config.toml  1_train/  2_fold/  3_adapt/  4_export/  5_simulate/  6_validate/  7_energy/
                report.json  report.html
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spikefold.errors import ConfigError, DataError
from spikefold.files import write_text
from spikefold.provenance.same_run import CONFIG as CONFIG
from spikefold.stage_table import BOARD as BOARD
from spikefold.stage_table import REPORTS, TRAIN, Stage, computed_from

if TYPE_CHECKING:  # the command line must start without loading NumPy, PyTorch and the models of pydantic
    from spikefold.config import Config
    from spikefold.train.data.clips import ClipSet, Part
    from spikefold.train.data.datasets import Samples
    from spikefold.train.data.frames import Binning

NETWORK, BASELINE = "network", "vanilla"
LATEST = "latest"
EVENTS = "events"
"""The variant of an event-driven chip, as ``speck2f.events``."""
RESULTS = "energy.json"


class Reporter(Protocol):
    """Where a stage tells people what it does."""

    def line(self, text: str) -> None:
        """One finished fact."""

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        """A step of long work."""


@dataclass(frozen=True)
class Session:
    """A run folder with its configuration.

    Attributes:
        trained: whether the folder's network decides how clips are cut; else configuration and data do.
        tensorboard: whether epochs go to TensorBoard's event files too, in the run's folder ``tensorboard``.
    """

    folder: Path
    config: Config
    reporter: Reporter
    trained: bool = False
    tensorboard: bool = False

    @cached_property
    def dataset(self) -> Samples:
        """The recordings, or the names of the images, that the configuration names."""
        from spikefold.train.data.datasets import load_samples

        return load_samples(self.config.data, self.config.seed, self.reporter.progress)

    @cached_property
    def binning(self) -> Binning:
        """How clips are cut into frames."""
        if self.trained:
            from spikefold.train.checkpoint import load

            return load(self.path(TRAIN) / NETWORK).binning
        from spikefold.train.data.datasets import binning_for

        return binning_for(self.dataset, self.config.data)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in order; a run that was trained knows them without its recordings."""
        if self.trained:
            from spikefold.train.checkpoint import load

            return tuple(load(self.path(TRAIN) / NETWORK).classes)
        return tuple(self.dataset.classes)

    def resolved(self) -> Config:
        """The configuration with what it left open filled in from the data."""
        chosen = {key: getattr(self.binning, key) for key in ("dt_us", "downsample", "max_count")}
        return self.config.model_copy(update={"data": self.config.data.model_copy(update=chosen)})

    def clips(self, split: str) -> ClipSet:
        """Frames and labels of ``train`` or ``test``; of images as many as ``data.held`` says."""
        if split not in self._clips:
            from spikefold.train.data.clips import ClipSet
            from spikefold.train.data.frames import Bins, to_frames
            from spikefold.train.data.image_clips import ImageClips

            samples = getattr(self.dataset, split)
            if self.binning.bins is Bins.IMAGES:
                held = ImageClips(samples, self.binning).drawn(self.config.data.held, self.config.seed)
                self.reporter.line(f"{len(held)} of {len(samples)} clips of {split} images are held")
                self._clips[split] = held.held()
            else:
                self._clips[split] = ClipSet(to_frames(samples, self.binning), self.dataset.labels(split))
        return self._clips[split]

    def parts(self, split: str, each: int) -> Iterator[Part]:
        """The clips of a split, so many at a time: only these are in memory.

        Raises:
            DataError: a recording without an event in its clip, or with a larger sensor than the network's.
        """
        from spikefold.train.data.clips import parts_of

        yield from parts_of(self._samples(split), self.binning, each)

    def first_clips(self, split: str, count: int) -> ClipSet:
        """The first clips of a split, as `clips` would give them."""
        if split in self._clips:
            return self._clips[split].first(count)
        return next(self.parts(split, count)).clips

    def clips_over_classes(self, split: str, count: int) -> ClipSet:
        """So many clips of a split, as evenly over its classes as they allow; see `over_classes`."""
        import numpy as np

        from spikefold.train.data.clips import over_classes, parts_of

        samples = self._samples(split)
        chosen = over_classes(np.array([one.label for one in samples], np.int64), count)
        if split in self._clips:
            return self._clips[split].only(chosen)
        return next(parts_of([samples[int(number)] for number in chosen], self.binning, len(chosen))).clips

    def one_clip(self, split: str, number: int) -> ClipSet:
        """One clip alone, by its number."""
        from spikefold.train.data.clips import parts_of

        return next(parts_of(self._samples(split), self.binning, 1, span=range(number, number + 1))).clips

    def number_of_clips(self, split: str) -> int:
        """How many clips `parts` gives."""
        return len(self._samples(split))

    def _samples(self, split: str) -> Sequence[Any]:
        """Recordings of a split, or those of its images that are held."""
        from spikefold.train.data.frames import Bins
        from spikefold.train.data.image_clips import ImageClips

        samples: Sequence[Any] = getattr(self.dataset, split)
        if self.binning.bins is not Bins.IMAGES:
            return samples
        return ImageClips(samples, self.binning).drawn(self.config.data.held, self.config.seed).samples

    @cached_property
    def _clips(self) -> dict[str, ClipSet]:
        return {}

    def path(self, stage: Stage) -> Path:
        """A finished stage's folder.

        Raises:
            DataError: that stage has not run.
        """
        folder = self.folder / stage.folder
        if not folder.is_dir():
            raise DataError(
                f"the stage {stage.name!r} has not run", where=str(self.folder), hint=stage.command(self.folder)
            )
        return folder

    @contextmanager
    def writing(self, stage: Stage) -> Iterator[Path]:
        """A scratch folder that becomes the stage's folder when the block ends without an error.

        What was computed from the stage's earlier result is stale then, and is removed; so are the reports, where
        they hold the stage's result.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        final, scratch, old = (
            self.folder / name
            for name in (stage.folder, f".{stage.folder}.{os.getpid()}.part", f".{stage.folder}.{os.getpid()}.old")
        )
        for left in self.folder.glob(f".{stage.folder}.*.*"):  # by a process that was killed: the run is locked
            shutil.rmtree(left, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
            from spikefold.provenance.origin import keep_origin

            keep_origin(stage, self.config, self.folder, scratch)
            # what is stale goes first: after a kill in between it is missing, not wrong
            for stale in computed_from(stage):
                shutil.rmtree(self.folder / stale.folder, ignore_errors=True)
            if stage.in_run:
                for name in REPORTS:
                    (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)
            if final.exists():
                final.rename(old)
            scratch.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def new_session(config: Config, out: Path | None, reporter: Reporter, *, tensorboard: bool = False) -> Session:
    """A session for a new run; nothing is written before its first stage ends well."""
    if out is None:
        source = config.data.source.partition(":")[0]
        out = Path("runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{source}"
    if out.exists() and not out.is_dir():
        raise DataError("the run folder is a file", where=str(out), hint="choose another --out")
    return Session(out, config, reporter, tensorboard=tensorboard)


def open_session(
    folder: Path, reporter: Reporter, overrides: tuple[str, ...] = (), sections: tuple[str, ...] = ()
) -> Session:
    """A session on a run that exists.

    Args:
        folder: the run.
        reporter: where stages tell what they do.
        overrides: ``a.b=value``, replacing what the run's configuration says.
        sections: keys and sections of the configuration that may be replaced, because nothing that stays depends on
            them, such as ``gates`` or ``chips.power``; see `stage_table.may_change`.

    Raises:
        DataError: the folder is no run.
        ConfigError: an override of another section, or a wrong one.
    """
    if not (folder / CONFIG).is_file():
        raise DataError("no run there", where=str(folder), hint=f"a run is a folder with {CONFIG}; `spikefold run`")
    from spikefold.config import load_config

    within = tuple(f"{section}." for section in sections)
    if wrong := [text for text in overrides if not f"{text.partition('=')[0]}.".startswith(within)]:
        raise ConfigError(
            f"this stage does not depend on {', '.join(wrong)}",
            where="--set",
            hint=f"what it depends on: {', '.join(sections) or 'nothing that can be set'}",
        )
    return Session(folder, load_config(folder / CONFIG, overrides), reporter, trained=True)


def keep_config(session: Session) -> None:
    """Write the session's configuration into its run."""
    from spikefold.config import to_toml

    write_text(session.folder / CONFIG, to_toml(session.resolved()))


def point_latest(session: Session) -> None:
    """Make ``latest`` beside the run folder point at it, replacing an older link but never a real folder."""
    link = session.folder.parent / LATEST
    if link.is_symlink() or not link.exists():
        fresh = link.with_name(f".{LATEST}.{session.folder.name}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(session.folder.name, target_is_directory=True)
        fresh.replace(link)
