# SPDX-License-Identifier: Apache-2.0
"""Which recordings a run is evaluated on, and which class of the run each is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.config import DataConfig
from spikefold.errors import DataError
from spikefold.stages.evaluate.source import Chosen, Split, choose
from spikefold.train.data.events import Recording, pack_events, save_packed
from spikefold.train.data.frames import Binning, Bins
from tests.silent import Silent

BINNING = Binning((8, 8), 1, 1000, 4)
WAVES = ("hand clapping", "right-hand wave", "Other")


def _recording(label: int) -> Recording:
    columns = (np.array([0, 900 + label]), np.array([1, 2]), np.array([3, label]), np.array([0, 1]))
    return Recording(pack_events(*columns), (8, 8), label, f"of {label}")


def _folders(place: Path, **classes: int) -> Path:
    """So many recordings of each class, in a folder of its own."""
    for label, (name, count) in enumerate(classes.items()):
        for number in range(count):
            (place / name).mkdir(parents=True, exist_ok=True)
            save_packed(place / name / f"{number}.npz", [_recording(label)])
    return place


def _chosen(
    source: str, classes: tuple[str, ...], split: Split | None = None, binning: Binning = BINNING
) -> tuple[Chosen, list[str]]:
    reporter = Silent()
    found = choose(DataConfig(source=source), 0, split, classes, binning, reporter)
    return found, [line for line in reporter.lines if not line.startswith("read ")]


def test_classes_go_by_name_and_what_is_missing_or_extra_is_said(tmp_path: Path) -> None:
    _folders(tmp_path, Hand_Clapping=2, dancing=3, other=1)
    found, told = _chosen(f"folder:{tmp_path}", WAVES)
    assert sorted(zip(found.labels.tolist(), found.names, strict=True)) == [
        (0, "Hand_Clapping/0.npz"),
        (0, "Hand_Clapping/1.npz"),
        (2, "other/0.npz"),
    ]
    assert (found.split, found.classes, found.absent) == ("all", ("hand clapping", "Other"), ("right-hand wave",))
    assert found.left_out == {"dancing": 3}
    assert told == [
        "no recording of 1 classes of the run: right-hand wave",
        "3 recordings of the class 'dancing', which the run does not know, are left out",
    ]


def test_numbers_are_places_in_the_order_of_the_run(tmp_path: Path) -> None:
    save_packed(tmp_path / "test.npz", [_recording(label) for label in (2, 0, 2)])
    found, told = _chosen(f"npz:{tmp_path}", WAVES)
    assert (found.labels.tolist(), found.split, found.absent) == ([2, 0, 2], "test", ("right-hand wave",))
    assert len(told) == 1
    alone, _ = _chosen(f"npz:{tmp_path / 'test.npz'}", WAVES)
    assert alone.labels.tolist() == [2, 0, 2]


@pytest.mark.parametrize("classes", [WAVES, ("0", "1", "2")])
def test_more_classes_than_the_run_has_are_another_data_set(tmp_path: Path, classes: tuple[str, ...]) -> None:
    save_packed(tmp_path / "test.npz", [_recording(label) for label in (0, 3)])
    with pytest.raises(DataError, match="of 4 classes, the run knows 3") as told:
        _chosen(f"npz:{tmp_path}", classes)
    assert told.value.issues[0].got == "the class 3"
    assert told.value.exit_code == 6


def test_no_class_in_common_is_refused_and_a_list_of_names_helps(tmp_path: Path) -> None:
    _folders(tmp_path, a=1, b=1)
    with pytest.raises(DataError, match="no recording is of a class of the run"):
        _chosen(f"folder:{tmp_path}", WAVES)
    packed = tmp_path / "packed"
    packed.mkdir()
    save_packed(packed / "test.npz", [_recording(0), _recording(1)])
    (packed / "classes.txt").write_text("other\nhand clapping\n")
    assert _chosen(f"npz:{packed}", WAVES)[0].labels.tolist() == [2, 0]


def test_splits(tmp_path: Path) -> None:
    _folders(tmp_path / "train", other=2, hand_clapping=1)
    _folders(tmp_path / "test", other=1)
    source = f"folder:{tmp_path}"
    counts = {split: len(_chosen(source, WAVES, split)[0].labels) for split in ("all", "train", "test", None)}
    assert counts == {"all": 4, "train": 3, "test": 1, None: 1}
    lonely = _folders(tmp_path / "own", other=1, hand_clapping=4)
    assert len(_chosen(f"folder:{lonely}", WAVES)[0].labels) == 5, "a class may have a single recording"
    save_packed(tmp_path / "only.npz", [_recording(0)])
    with pytest.raises(DataError, match="no recording in the split train"):
        _chosen(f"npz:{tmp_path / 'only.npz'}", WAVES, "train")


def test_images_are_no_events(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it holds events, and the network reads images"):
        _chosen(f"npz:{tmp_path}", WAVES, binning=Binning((8, 8), 1, 1000, 4, bins=Bins.IMAGES))
    with pytest.raises(DataError, match="it holds images, and the network reads events"):
        _chosen(f"har-dvs:{tmp_path}", WAVES)
