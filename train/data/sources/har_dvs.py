# SPDX-License-Identifier: Apache-2.0
"""HAR-DVS (Wang et al., AAAI 2024): clips of images, opened only when a batch asks for them.

Published (https://github.com/Event-AHU/HARDVS, "Event Images") as one folder a class, in it one folder a sample, in
it the images of its event frames; ``train_label.txt`` and ``test_label.txt`` name the samples of each split, a line
``CLASS/SAMPLE ...`` each. Without those two files, ``train/CLASS/SAMPLE`` and ``test/CLASS/SAMPLE`` are looked for,
and else a share of each class is drawn by the seed. The raw events are 4 TB: only file names are kept in memory.

An image's values, 0 to 255 for red, green and blue, are the network's input as they are, in place of counts of
events: batch norm behind the first weights divides by whatever they are scaled with. It is brought to the input's
size by the mean over the area of each input pixel (Pillow's box filter), whatever that does to its proportions.

The authors' "Compact Event files" (``.npz`` with t, x, y, p) are recordings: ``folder:DIR`` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from spikefold.errors import DataError, Issue
from spikefold.train.data.frames import Binning
from spikefold.train.data.repairs import NONE, Repairs
from spikefold.train.data.sources.parts import Issues, class_names

STEPS = 8
"""Frames of a sample in the paper's runs (ICCV 2023, Section 4)."""
DT_US = 625_000
"""Nominal: how long a sample is differs and is not published with it; 5 s over 8 frames."""
BRIGHTEST = 255
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
_LISTS = ("train_label.txt", "test_label.txt")


@dataclass(frozen=True)
class FrameClip:
    """One sample: which images, not yet opened.

    Attributes:
        folder: of the images.
        files: their names, in order of time, one a step.
        label: class index.
        sensor: ``(H, W)`` of every image of the data set, in pixels.
    """

    folder: Path
    files: tuple[str, ...]
    label: int
    sensor: tuple[int, int]

    @property
    def name(self) -> str:
        """For messages and fingerprints: class and sample."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def cut(self, binning: Binning) -> np.ndarray:
        """``(T, 3, H, W)`` uint16, read now: red, green, blue, of the binning's size and within its largest count.

        Raises:
            DataError: an image cannot be opened or has another size.
        """
        frames = np.empty((len(self.files), *binning.shape), np.uint16)
        for step, name in enumerate(self.files):
            image = _image(self.folder / name)
            if image.size != self.sensor[::-1]:
                have, want = ("{}x{}".format(*size) for size in (image.size, self.sensor[::-1]))
                where = str(self.folder / name)
                raise DataError(f"the image is {have}", where=where, hint=f"the data set's images are {want}")
            _, height, width = binning.shape
            scaled = image.resize((width, height), Image.Resampling.BOX)
            frames[step] = np.asarray(scaled).transpose(2, 0, 1)
        return np.minimum(frames, binning.max_count)


@dataclass(frozen=True)
class FrameSet:
    """Clips of images of both splits.

    Attributes:
        train: for training.
        test: for testing.
        classes: names in the order of the labels.
    """

    train: tuple[FrameClip, ...]
    test: tuple[FrameClip, ...]
    classes: tuple[str, ...]

    @property
    def sensor(self) -> tuple[int, int]:
        """``(H, W)`` of every image, in pixels."""
        return self.train[0].sensor

    @property
    def repairs(self) -> Repairs:
        """Nothing: what is wrong with an image cannot be repaired."""
        return NONE

    def labels(self, split: str) -> np.ndarray:
        """``(N,)`` int64 of ``train`` or ``test``."""
        return np.array([clip.label for clip in getattr(self, split)], np.int64)


def load_har_dvs(folder: Path, test_share: float, seed: int, steps: int = STEPS) -> FrameSet:
    """The file names of the data set; one image is opened for its size.

    A sample of more than ``steps`` images gives evenly spaced ones, the first of each of ``steps`` equal parts.

    Raises:
        DataError: no such folder, fewer than two classes; all samples of too few images at once.
    """
    if not folder.is_dir():
        raise DataError("no such folder", where=str(folder), hint="har-dvs:DIR holds one folder for each class")
    issues = Issues(folder)
    listed = [_listed(folder / name) for name in _LISTS if (folder / name).is_file()]
    if len(listed) == len(_LISTS):
        classes = class_names([folder])
        splits = [[folder / name for name in names] for names in listed]
    elif (folder / "train").is_dir() and (folder / "test").is_dir():
        classes = class_names([folder / "train", folder / "test"])
        splits = [_samples(folder / split, classes) for split in ("train", "test")]
    else:
        classes = class_names([folder])
        splits = _drawn(folder, classes, test_share, seed)
    if len(classes) < 2:
        raise DataError(f"{len(classes)} class folders", where=str(folder), hint="at least two sub-folders")
    number = {name: label for label, name in enumerate(classes)}
    chosen = [[_files(sample, number, steps, issues) for sample in split] for split in splits]
    if not all(splits):
        issues.found.append(Issue("samples", str(folder), " + ".join(str(len(s)) for s in splits), "some", ""))
    issues.raise_any()
    width, height = _image(splits[0][0] / chosen[0][0][0]).size
    train, test = (
        tuple(
            FrameClip(sample, files, number[sample.parent.name], (height, width))
            for sample, files in zip(split, names, strict=True)
        )
        for split, names in zip(splits, chosen, strict=True)
    )
    return FrameSet(train, test, classes)


def _files(sample: Path, number: dict[str, int], steps: int, issues: Issues) -> tuple[str, ...]:
    is_there = sample.is_dir() and sample.parent.name in number
    files = sorted((entry.name for entry in sample.iterdir()), key=_order) if is_there else []
    files = [name for name in files if Path(name).suffix.lower() in _IMAGES]
    if len(files) < steps:
        hint = "remove the sample, or ask for fewer steps"
        issues.found.append(Issue("images of a sample", str(sample), str(len(files)), f"at least {steps}", hint))
        return ()
    return tuple(files[step * len(files) // steps] for step in range(steps))


def _order(name: str) -> tuple[int, str]:
    """By number where names are numbers, frame2 before frame10."""
    digits = "".join(character for character in Path(name).stem if character.isdecimal())
    return (int(digits) if digits else 0, name)


def _samples(folder: Path, classes: tuple[str, ...]) -> list[Path]:
    found = [folder / name for name in classes if (folder / name).is_dir()]
    return [sample for place in found for sample in sorted(place.iterdir()) if sample.is_dir()]


def _drawn(folder: Path, classes: tuple[str, ...], test_share: float, seed: int) -> list[list[Path]]:
    train: list[Path] = []
    test: list[Path] = []
    for label, name in enumerate(classes):
        samples = _samples(folder, (name,))
        kept = max(1, min(round(test_share * len(samples)), len(samples) - 1))
        order = np.random.default_rng([seed, label]).permutation(len(samples))
        test += [samples[i] for i in order[:kept]]
        train += [samples[i] for i in order[kept:]]
    return [train, test]


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the list of samples: {error}", where=str(path)) from error
    return [line.split()[0].replace("\\", "/") for line in lines if line.strip()]


def _image(path: Path) -> Image.Image:
    """Red, green and blue."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the image: {error}", where=str(path), hint="copy it again") from error
