# SPDX-License-Identifier: Apache-2.0
"""HAR-DVS (Wang et al., AAAI 2024): clips of images, opened only when a batch asks for them.

Published (https://github.com/Event-AHU/HARDVS, "Event Images") as one folder a class, in it one folder a sample, in
it the images of its event frames; ``train_label.txt`` and ``test_label.txt`` name the samples of each split, a line
``CLASS/SAMPLE ...`` each. Without those two files, ``train/CLASS/SAMPLE`` and ``test/CLASS/SAMPLE`` are looked for,
and else a share of each class is drawn by the seed. The raw events are 4 TB: only file names are kept in memory.

The authors' "Compact Event files" (``.npz`` with t, x, y, p) are recordings: ``folder:DIR`` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from spikefold.errors import DataError, Issue
from spikefold.train.sources.parts import Issues, class_names

STEPS = 8
"""Frames of a sample in the paper's runs (ICCV 2023, Section 4)."""
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
_LISTS = ("train_label.txt", "test_label.txt")


@dataclass(frozen=True)
class FrameClip:
    """One sample: which images, not yet opened.

    Attributes:
        folder: of the images.
        files: their names, in order of time, one a step.
        label: class index.
    """

    folder: Path
    files: tuple[str, ...]
    label: int

    def load(self, size: tuple[int, int]) -> np.ndarray:
        """``(T, 3, H, W)`` uint8: red, green, blue.

        Raises:
            DataError: an image cannot be opened or has another size.
        """
        frames = np.empty((len(self.files), 3, *size), np.uint8)
        for step, name in enumerate(self.files):
            image = _pixels(self.folder / name)
            if image.shape[:2] != size:
                have, want = ("{1}x{0}".format(*shape) for shape in (image.shape, size))
                where = str(self.folder / name)
                raise DataError(f"the image is {have}", where=where, hint=f"the data set's images are {want}")
            frames[step] = image.transpose(2, 0, 1)
        return frames


@dataclass(frozen=True)
class FrameSet:
    """Clips of images of both splits.

    Attributes:
        train: for training.
        test: for testing.
        classes: names in the order of the labels.
        size: ``(H, W)`` of every image, in pixels.
    """

    train: tuple[FrameClip, ...]
    test: tuple[FrameClip, ...]
    classes: tuple[str, ...]
    size: tuple[int, int]

    def labels(self, split: str) -> np.ndarray:
        """``(N,)`` int64 of ``train`` or ``test``."""
        return np.array([clip.label for clip in getattr(self, split)], np.int64)

    def batch(self, clips: Sequence[FrameClip]) -> np.ndarray:
        """``(T, N, 3, H, W)`` uint8 of some clips, read now.

        Raises:
            DataError: an image cannot be opened or has another size.
        """
        return np.stack([clip.load(self.size) for clip in clips], axis=1)


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
    train, test = ([_clip(sample, number, steps, issues) for sample in split] for split in splits)
    if not train or not test:
        issues.found.append(Issue("samples", str(folder), f"{len(train)} + {len(test)}", "some of each split", ""))
    issues.raise_any()
    first = train[0]
    height, width = _pixels(first.folder / first.files[0]).shape[:2]
    return FrameSet(tuple(train), tuple(test), classes, (height, width))


def _clip(sample: Path, number: dict[str, int], steps: int, issues: Issues) -> FrameClip:
    is_there = sample.is_dir() and sample.parent.name in number
    files = sorted((entry.name for entry in sample.iterdir()), key=_order) if is_there else []
    files = [name for name in files if Path(name).suffix.lower() in _IMAGES]
    if len(files) < steps:
        hint = "remove the sample, or ask for fewer steps"
        issues.found.append(Issue("images of a sample", str(sample), str(len(files)), f"at least {steps}", hint))
    chosen = tuple(files[step * len(files) // steps] for step in range(steps)) if len(files) >= steps else ()
    return FrameClip(sample, chosen, number.get(sample.parent.name, -1))


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


def _pixels(path: Path) -> np.ndarray:
    """``(H, W, 3)`` uint8."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the image: {error}", where=str(path), hint="copy it again") from error
