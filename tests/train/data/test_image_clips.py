# SPDX-License-Identifier: Apache-2.0
"""Clips of images: read when a batch asks for them, tested batch by batch, held in part for later stages."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spikefold.config import DataConfig, load_config
from spikefold.errors import ConfigError, DataError
from spikefold.train.data import image_clips
from spikefold.train.data.clips import ClipSet, Windows
from spikefold.train.data.datasets import binning_for, load_frame_set
from spikefold.train.data.image_clips import ImageClips
from spikefold.train.data.sources.har_dvs import FrameSet
from spikefold.train.recipe import Plan, plan

CLASSES, SAMPLES, STEPS, SIDE = 3, 6, 4, 8


@pytest.fixture
def images(tmp_path: Path) -> FrameSet:
    """Six samples for training and two for testing of each class, all different."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        for sample in range(SAMPLES + 2):
            folder = tmp_path / ("train" if sample < SAMPLES else "test") / f"class{label}" / f"s{sample}"
            folder.mkdir(parents=True)
            for step in range(STEPS):
                pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{step}.png")
    return load_frame_set(DataConfig(source=f"har-dvs:{tmp_path}", steps=STEPS), 0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, images: FrameSet) -> list[str]:
    """The images that were opened after the data set was looked at."""
    found: list[str] = []
    real = Image.open

    def noted(path: Path, *rest: Any) -> Any:
        found.append(str(path))
        return real(path, *rest)

    monkeypatch.setattr(Image, "open", noted)
    return found


def _clips(images: FrameSet) -> ImageClips:
    return ImageClips(images.train, binning_for(images, DataConfig(steps=STEPS, downsample=2)))


def _plan(images: FrameSet, *overrides: str) -> Plan:
    config = load_config(None, (f"data.steps={STEPS}", "data.downsample=2", *overrides))

    def never() -> ClipSet:
        raise AssertionError("all images were asked for")

    return plan(config, images, binning_for(images, config.data), never)


def test_a_batch_opens_the_images_of_its_clips_and_no_others(images: FrameSet, opened: list[str]) -> None:
    clips = _clips(images)
    assert (len(clips), clips.shape) == (CLASSES * SAMPLES, (STEPS, 3, SIDE // 2, SIDE // 2))
    assert clips.labels.tolist() == [label for label in range(CLASSES) for _ in range(SAMPLES)]
    assert not opened
    chosen = np.array([7, 0, 7])
    batch = clips.batch(chosen, 1)
    assert (batch.shape, batch.dtype) == ((STEPS, 3, 3, SIDE // 2, SIDE // 2), np.uint16)
    folders = Counter(str(Path(path).parent) for path in opened)
    assert folders == {str(images.train[7].folder): 2 * STEPS, str(images.train[0].folder): STEPS}
    assert np.array_equal(batch[:, 0], batch[:, 2])
    assert not np.array_equal(batch[:, 0], batch[:, 1])
    assert np.array_equal(batch, clips.batch(chosen, 5)), "the same in every epoch"
    assert batch.std() > 10


def test_windows_are_the_samples_and_one_each(images: FrameSet, opened: list[str]) -> None:
    windows = Windows(images.test, _clips(images).binning)
    assert windows.labels.tolist() == [0, 0, 1, 1, 2, 2]
    frames = windows.frames([4, 1])
    assert len(opened) == 2 * STEPS
    assert np.array_equal(frames, ImageClips(images.test, windows.binning).batch(np.array([4, 1]), 1))
    with pytest.raises(ConfigError, match="is one clip"):
        Windows(images.test, windows.binning, 2)


def test_other_images_have_another_fingerprint(images: FrameSet, opened: list[str]) -> None:
    clips = _clips(images)
    others = [
        replace(clips, samples=clips.samples[1:]),
        replace(clips, samples=clips.samples[::-1]),
        replace(clips, binning=replace(clips.binning, downsample=1)),
        replace(clips, samples=[replace(clips.samples[0], label=2), *clips.samples[1:]]),
        replace(clips, samples=[replace(clips.samples[0], files=("a.png",) * STEPS), *clips.samples[1:]]),
    ]
    assert len({clips.fingerprint(), *(other.fingerprint() for other in others)}) == 6
    moved = [replace(s, folder=Path("/elsewhere") / s.folder.parent.name / s.folder.name) for s in clips.samples]
    assert replace(clips, samples=moved).fingerprint() == _clips(images).fingerprint()
    assert not opened


def test_some_clips_are_drawn_by_the_seed_and_held(images: FrameSet, opened: list[str]) -> None:
    clips = _clips(images)
    some = clips.drawn(9, 3)
    names = [sample.name for sample in some.samples]
    assert len(set(names)) == len(some) == 9
    assert names == [sample.name for sample in clips.drawn(9, 3).samples]
    assert names != [sample.name for sample in clips.drawn(9, 4).samples]
    assert len(set(some.labels[:6].tolist())) == CLASSES, "the first of them are a sample of all"
    assert {s.name for s in clips.drawn(None, 3).samples} == {s.name for s in clips.drawn(99, 3).samples}
    assert len(clips.drawn(None, 3)) == len(clips)
    assert not opened
    held = some.held()
    assert len(opened) == 9 * STEPS
    assert np.array_equal(held.frames, some.batch(np.arange(9), 1))
    assert np.array_equal(held.labels, some.labels)


def test_more_than_can_be_held_is_refused_with_what_can(images: FrameSet, monkeypatch: pytest.MonkeyPatch) -> None:
    each = STEPS * 3 * (SIDE // 2) ** 2 * 2
    monkeypatch.setattr(image_clips, "_MOST_BYTES", 5 * each)
    with pytest.raises(ConfigError, match=rf"18 clips of {each} bytes") as caught:
        _clips(images).drawn(None, 0)
    assert "data.held = 5 at most" in caught.value.hint
    assert len(_clips(images).drawn(5, 0)) == 5
    with pytest.raises(ConfigError, match="6 clips"):
        _plan(images, "data.held=6")
    assert len(_plan(images, "data.held=5").clips) == 18, "the training reads every clip"


def test_images_are_planned_like_recordings(images: FrameSet, opened: list[str]) -> None:
    last = _plan(images)
    assert (len(last.clips), last.selector, last.held_out) == (18, None, 0)
    held = _plan(images, "train.protocol=validation", "train.validation_share=0.3")
    assert held.selector is not None
    assert held.selector.windows.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert isinstance(held.clips, ImageClips)
    assert len(held.clips) == 12
    assert not {s.name for s in held.clips.samples} & {s.name for s in held.selector.windows.recordings}
    paper = _plan(images, "train.protocol=paper")
    assert paper.selector is not None
    assert list(paper.selector.windows.recordings) == list(images.test)
    assert not opened
    with pytest.raises(ConfigError, match="no events to drop"):
        _plan(images, "train.augment=eventdrop")


def test_an_image_that_is_damaged_later_is_named(images: FrameSet) -> None:
    clips = _clips(images)
    broken = images.train[2].folder / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    assert clips.batch(np.array([1, 3]), 1).any()
    with pytest.raises(DataError, match="cannot read the image") as caught:
        clips.batch(np.array([1, 2]), 1)
    assert caught.value.where == str(broken)
