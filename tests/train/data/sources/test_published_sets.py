# SPDX-License-Identifier: Apache-2.0
"""The published data sets, in folders laid out as their authors and other projects lay them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from spikefold.config import DataConfig
from spikefold.errors import ConfigError, DataError
from spikefold.train.data.datasets import Dataset, binning_for, load_dataset, load_frame_set
from spikefold.train.data.events import Recording
from spikefold.train.data.frames import Binning, Bins
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading
from spikefold.train.data.repairs import OnFault, Repairs
from spikefold.train.data.sources.dvs128_gesture import CLASSES
from spikefold.train.data.sources.har_dvs import FrameSet
from tests.train.data.formats import format_writers as write

REPAIR = Reading(OnFault.REPAIR)
LABELS = "class,startTime_usec,endTime_usec\n"


def _quiet(task: str, done: int, of: int) -> None:
    """No progress."""


def _load(source: str, reading: Reading = AS_IT_IS, seed: int = 0) -> Dataset:
    return load_dataset(DataConfig(source=source), seed, _quiet, reading)


def _rows(recording: Recording) -> list[write.Event]:
    return [tuple(row) for row in recording.events[["t", "x", "y", "p"]].tolist()]


def _put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ------------------------------------------------------------------------------------------------ DVS128 Gesture

EVENTS: list[write.Event] = [
    (90, 1, 1, 1),
    (100, 2, 1, 0),
    (150, 3, 1, 1),
    (199, 4, 1, 1),
    (200, 5, 1, 0),
    (350, 6, 127, 1),
]


def _published(folder: Path, labels: str = "1,100,200\n11,190,360\n", events: list[write.Event] = EVENTS) -> Path:
    for split, name in (("train", "user01_led"), ("test", "user24_lab")):
        _put(folder / f"trials_to_{split}.txt", f"{name}.aedat\n\n")
        _put(folder / f"{name}.aedat", write.aedat3(events))
        _put(folder / f"{name}_labels.csv", LABELS + labels)
    return folder


@pytest.mark.parametrize("inside", ["", "DvsGesture", "extract/DvsGesture"])
def test_published_gestures_are_cut_out_by_their_labels(tmp_path: Path, inside: str) -> None:
    _published(tmp_path / inside)
    data = _load(f"dvs128gesture:{tmp_path}")
    for split in (data.train, data.test):
        # the start belongs to a gesture, the end does not; gestures may overlap, as those of user22_led do
        assert [_rows(r) for r in split] == [
            [(0, 2, 1, 0), (50, 3, 1, 1), (99, 4, 1, 1)],
            [(0, 4, 1, 1), (1, 5, 1, 0), (151, 6, 127, 1)],
        ]
        assert [r.label for r in split] == [0, 10]
        assert {r.sensor for r in split} == {(128, 128)}
    assert data.train[1].name.endswith("user01_led.aedat:gesture 1")
    assert data.classes == CLASSES
    assert len(set(CLASSES)) == 11
    assert not data.repairs


def test_faults_of_a_published_file_are_refused_or_counted_once(tmp_path: Path) -> None:
    outside = [*EVENTS[:2], (150, 128, 1, 1), (140, 3, 3, 1), (151, 3, 3, 1)]
    _published(tmp_path, events=outside)
    for name in ("user01_led", "user24_lab"):
        path = tmp_path / f"{name}.aedat"
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="2 problems") as caught:
        _load(f"dvs128gesture:{tmp_path}")
    assert all("cut short: 5 bytes" in issue.got for issue in caught.value.issues)
    data = _load(f"dvs128gesture:{tmp_path}", REPAIR)
    # 140 is earlier than 150, but that event is outside and gone; the last event is cut; gesture 11 has none left
    assert [_rows(r) for r in data.train] == [[(0, 2, 1, 0), (40, 3, 3, 1)]]
    assert data.train[0].repairs == Repairs(truncated=1, lost_bytes=5, outside=1, empty=1)
    assert data.repairs == Repairs(truncated=2, lost_bytes=10, outside=2, empty=2)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ("", "0 of 0 rows"),
        ("12,100,200\n", "1 of 1 rows"),
        ("0,100,200\n", "1 of 1 rows"),
        ("1,200,100\n", "1 of 1 rows"),
        ("1,100\n", "cannot read the labels"),
        ("a,b,c\n", "cannot read the labels"),
        ("1,1000,2000\n", "no event"),
    ],
)
def test_labels_that_make_no_gestures_are_refused(tmp_path: Path, labels: str, what: str) -> None:
    _published(tmp_path, labels)
    with pytest.raises(DataError) as caught:
        _load(f"dvs128gesture:{tmp_path}")
    assert [what in issue.got for issue in caught.value.issues] == [True, True]


def test_every_missing_file_of_the_trials_is_named(tmp_path: Path) -> None:
    _published(tmp_path)
    (tmp_path / "user01_led.aedat").unlink()
    (tmp_path / "user24_lab_labels.csv").unlink()
    with pytest.raises(DataError, match="2 problems") as caught:
        _load(f"dvs128gesture:{tmp_path}")
    assert [Path(issue.where).name for issue in caught.value.issues] == ["user01_led.aedat", "user24_lab.aedat"]
    _put(tmp_path / "trials_to_test.txt", "\n")
    with pytest.raises(DataError, match="list of trials is empty"):
        _load(f"dvs128gesture:{tmp_path}")


def test_the_layouts_of_other_projects_give_the_same_gestures(tmp_path: Path) -> None:
    """The same two gestures, as the published files give them, laid out as SpikingJelly, tonic and BICLab do."""
    _published(tmp_path / "raw", "1,100,200\n11,190,360\n" + "".join(f"{n},190,360\n" for n in range(2, 11)))
    raw = _load(f"dvs128gesture:{tmp_path / 'raw'}")
    for split, tonic in (("train", "ibmGestureTrain"), ("test", "ibmGestureTest")):
        for number, recording in enumerate(getattr(raw, split)):
            t, x, y, p = (recording.events[key].astype(np.int64) for key in "txyp")
            spiking = tmp_path / "sj" / "events_np" / split / str(recording.label)
            spiking.mkdir(parents=True)
            np.savez(spiking / "user01_led_0.npz", t=t + 80_048_239, x=x, y=y, p=p)
            user = tmp_path / "tonic" / tonic / "user01_led"
            user.mkdir(parents=True, exist_ok=True)
            np.save(user / f"{recording.label}.npy", np.stack([x, y, p, (t + 80_048_239) / 1000], 1))
            (tmp_path / "biclab" / split).mkdir(parents=True, exist_ok=True)
            with h5py.File(tmp_path / "biclab" / split / f"DVS-Gesture-{split}{number}.hdf5", "w") as file:
                file.create_dataset("times", data=t, dtype=np.uint32)
                file.create_dataset("addrs", data=np.stack([x, y, p], 1), dtype=np.uint8)
                file.create_dataset("labels", data=recording.label, dtype=np.uint8)
    wanted = {(split, r.label): _rows(r) for split in ("train", "test") for r in getattr(raw, split)}
    assert len(wanted) == 22
    for layout in ("sj", "tonic", "biclab"):
        data = _load(f"dvs128gesture:{tmp_path / layout}")
        got = {(split, r.label): _rows(r) for split in ("train", "test") for r in getattr(data, split)}
        assert got == wanted, layout
        assert data.classes == CLASSES
        assert data.sensor == (128, 128)


def test_a_layout_with_wrong_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no DVS128 Gesture"):
        _load(f"dvs128gesture:{tmp_path}")
    (tmp_path / "t" / "ibmGestureTrain" / "user").mkdir(parents=True)
    np.save(tmp_path / "t" / "ibmGestureTrain" / "user" / "11.npy", np.ones((2, 4)))
    with pytest.raises(DataError, match="2 problems"):
        _load(f"dvs128gesture:{tmp_path / 't'}")
    for split in ("train", "test"):
        for label in "ab":
            (tmp_path / "s" / "events_np" / split / label).mkdir(parents=True)
            np.savez(tmp_path / "s" / "events_np" / split / label / "0.npz", t=[1], x=[1], y=[1], p=[1])
            (tmp_path / "h" / split).mkdir(parents=True, exist_ok=True)
            with h5py.File(tmp_path / "h" / split / f"{label}.hdf5", "w") as file:
                file["times"], file["addrs"], file["labels"] = [1], [[1, 1, 1]], 11
    with pytest.raises(DataError, match="class folders are a, b"):
        _load(f"dvs128gesture:{tmp_path / 's'}")
    with pytest.raises(DataError, match="4 problems"):
        _load(f"dvs128gesture:{tmp_path / 'h'}")


# -------------------------------------------------------------------------------- N-MNIST, gait, action


def test_nmnist_is_read_from_its_folders(tmp_path: Path) -> None:
    for split in ("Train", "Test"):
        for digit in range(10):
            _put(tmp_path / split / str(digit) / "00002.bin", write.nmnist([(7, digit, 33, 1), (300, 0, 0, 0)]))
    data = _load(f"nmnist:{tmp_path}")
    assert data.sensor == (34, 34)
    assert data.classes == tuple("0123456789")
    for part in (data.train, data.test):
        assert [(r.label, _rows(r)[0]) for r in part] == [(d, (7, d, 33, 1)) for d in range(10)]
    _put(tmp_path / "Train" / "3" / "00003.bin", write.nmnist([(7, 34, 0, 1), (8, 1, 1, 1)]))
    with pytest.raises(DataError, match="1 problem") as caught:
        _load(f"nmnist:{tmp_path}")
    assert "34x34" in caught.value.issues[0].got
    assert _load(f"nmnist:{tmp_path}", REPAIR).repairs == Repairs(outside=1)
    with pytest.raises(DataError, match="training and testing"):
        _load(f"nmnist:{tmp_path / 'Train'}")


@pytest.mark.parametrize("inside", ["", "origin"])
@pytest.mark.parametrize("name", ["gait-day", "gait-night"])
def test_gait_is_read_from_its_text_files(tmp_path: Path, name: str, inside: str) -> None:
    for split in ("train", "test"):
        for person in (0, 1, 2, 10):
            content = write.text([(5_000_000, person, 127, 1), (5_000_040, 3, 4, 0)])
            _put(tmp_path / inside / split / str(person) / "1.txt", content)
    data = _load(f"{name}:{tmp_path}")
    # 10 comes behind 2: labels are the persons' numbers
    assert data.classes == ("0", "1", "2", "10")
    assert [(r.label, _rows(r)) for r in data.test][3] == (3, [(0, 10, 127, 1), (40, 3, 4, 0)])
    assert (len(data.train), data.sensor) == (4, (128, 128))


def test_gait_as_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "npy" / "train").mkdir(parents=True)
    pickled = np.empty(2, object)
    pickled[0], pickled[1] = np.ones((3, 4), int), np.ones((5, 4), int)
    np.save(tmp_path / "npy" / "train" / "train_data.npy", pickled, allow_pickle=True)
    with pytest.raises(DataError, match="pickle") as caught:
        _load(f"gait-day:{tmp_path}")
    assert caught.value.where.endswith("train_data.npy")
    assert "text files" in caught.value.hint
    with pytest.raises(DataError, match="no text files"):
        _load(f"gait-day:{tmp_path / 'absent'}")


def test_daily_action_is_split_by_the_seed_or_by_its_folders(tmp_path: Path) -> None:
    davis = write.aedat2_davis346([(1, 345, 259, 1), (9, 0, 0, 0)])
    for action in ("bend", "climb"):
        for number in range(5):
            _put(tmp_path / "one" / action / f"{number}.aedat", davis)
            _put(tmp_path / "two" / ("test" if number == 4 else "train") / action / f"{number}.aedat", davis)
    for layout in ("one", "two"):
        data = _load(f"dailyaction:{tmp_path / layout}")
        assert (len(data.train), len(data.test), data.classes) == (8, 2, ("bend", "climb"))
        assert data.sensor == (260, 346)
        assert _rows(data.train[0]) == [(0, 345, 259, 1), (8, 0, 0, 0)]
    drawn = [[r.name for r in _load(f"dailyaction:{tmp_path / 'one'}", seed=seed).test] for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(names) for names in drawn}) > 1
    _put(tmp_path / "two" / "train" / "wave" / "note.md", "no recording")
    with pytest.raises(DataError, match="1 problem"):
        _load(f"dailyaction:{tmp_path / 'two'}")


def test_a_folder_of_mixed_formats_is_one_data_set(tmp_path: Path) -> None:
    events: list[write.Event] = [(10, 3, 4, 1), (20, 5, 6, 0)]
    for action, base in (("a", 0), ("b", 1)):
        _put(tmp_path / action / f"{base}0.aedat", write.aedat2_dvs128(events))
        _put(tmp_path / action / f"{base}1.aedat", write.aedat3(events))
        _put(tmp_path / action / f"{base}2.aedat4", write.aedat4(events))
        _put(tmp_path / action / f"{base}3.raw", write.evt2(events))
        _put(tmp_path / action / f"{base}4.raw", write.evt3(events))
        _put(tmp_path / action / f"{base}5.dat", write.dat(events))
        _put(tmp_path / action / f"{base}6.es", write.event_stream(events))
    data = _load(f"folder:{tmp_path}")
    recordings = (*data.train, *data.test)
    assert len(recordings) == 14
    assert {tuple(_rows(r)) for r in recordings} == {((0, 3, 4, 1), (10, 5, 6, 0))}
    assert {r.sensor for r in recordings} == {(128, 128), (240, 320), (260, 346)}


def test_packed_recordings_are_repaired_too(tmp_path: Path) -> None:
    for split in ("train", "test"):
        np.savez(
            tmp_path / f"{split}.npz",
            x=[1, 2, 9, 1],
            y=[0, 0, 0, 0],
            p=[1, 0, 1, 1],
            t=[5, 3, 1, 2],
            off=[0, 3, 4],
            label=[0, 1],
            sensor=[4, 6],
        )
    with pytest.raises(DataError, match=r"outside the 6x4"):
        _load(f"npz:{tmp_path}")
    data = _load(f"npz:{tmp_path}", REPAIR)
    assert [_rows(r) for r in data.train] == [[(3, 2, 0, 0), (5, 1, 0, 1)], [(2, 1, 0, 1)]]
    assert data.repairs == Repairs(backwards=2, outside=2)


# ------------------------------------------------------------------------------------------------ HAR-DVS


def _sample(folder: Path, mark: int, count: int = 8, size: tuple[int, int] = (5, 7), suffix: str = ".png") -> None:
    """Images whose red is the mark and whose green is their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        pixels = np.zeros((*size, 3), np.uint8)
        pixels[..., 0], pixels[..., 1], pixels[1, 2, 2] = mark, number, 200
        Image.fromarray(pixels).save(folder / f"frame{number}{suffix}")


def _frames(folder: Path, steps: int = 8, seed: int = 0, share: float = 0.2) -> FrameSet:
    return load_frame_set(DataConfig(source=f"har-dvs:{folder}", steps=steps, test_share=share), seed)


def test_har_dvs_frames_come_in_order_and_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for action in (1, 2):
        for sample in range(3):
            _sample(tmp_path / f"action_{action:03}" / f"dvSave-{sample}", 10 * action + sample, 8 if sample else 17)
    names = [f"action_{a:03}/dvSave-{s}" for a in (1, 2) for s in range(3)]
    _put(tmp_path / "train_label.txt", "".join(f"{name} 0\n" for name in names if not name.endswith("2")))
    _put(tmp_path / "test_label.txt", "".join(f"{name} 8 1\n" for name in names if name.endswith("2")))
    opened: list[object] = []
    real = Image.open

    def noted(path: Path, *rest: Any) -> Any:
        opened.append(path)
        return real(path, *rest)

    monkeypatch.setattr(Image, "open", noted)
    data = _frames(tmp_path)
    assert len(opened) == 1, "one image, for its size"
    assert (data.sensor, data.classes) == ((5, 7), ("action_001", "action_002"))
    assert (data.labels("train").tolist(), data.labels("test").tolist()) == ([0, 0, 1, 1], [0, 1])
    binning = Binning((5, 7), 1, 1000, 8, 255, Bins.IMAGES)
    batch = np.stack([data.train[3].cut(binning), data.test[0].cut(binning)], axis=1)
    assert len(opened) == 1 + 16
    assert (batch.shape, batch.dtype) == ((8, 2, 3, 5, 7), np.uint16)
    assert batch[:, :, 0, 0, 0].tolist() == [[21, 12]] * 8
    assert batch[:, 0, 1, 4, 6].tolist() == list(range(1, 9))
    assert (batch[:, :, 2] == 200).sum() == 16
    assert np.all(batch[:, :, 2, 1, 2] == 200)
    # of 17 images the first of each of eight equal parts
    longer = data.train[0].cut(binning)
    assert longer[:, 1, 0, 0].tolist() == [17 * i // 8 + 1 for i in range(8)]
    assert data.train[0].cut(replace(binning, max_count=7)).max() == 7 < longer.max() == 200


def test_har_dvs_images_are_brought_to_the_size_of_the_input_by_means(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 12, 18, 3), dtype=np.uint8)
    for action, image in zip(("run", "walk"), pixels, strict=True):
        for sample in range(2):
            for step in range(8):
                _put(tmp_path / action / f"s{sample}" / f"{step}.png", "")
                Image.fromarray(image).save(tmp_path / action / f"s{sample}" / f"{step}.png")
    config = DataConfig(source=f"har-dvs:{tmp_path}", downsample=3)
    data = load_frame_set(config, 0)
    binning = binning_for(data, config)
    assert (binning.shape, binning.max_count, binning.steps, binning.bins) == ((3, 4, 6), 255, 8, Bins.IMAGES)
    found = data.train[0].cut(binning)
    exact = pixels[0].reshape(4, 3, 6, 3, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert found.std() > 10
    # Pillow rounds along one side, then along the other
    assert np.abs(found - exact).max() < 1
    stretched = binning_for(data, DataConfig(source=f"har-dvs:{tmp_path}", sensor=(6, 6), downsample=1))
    assert stretched.shape == (3, 6, 6)
    small = data.train[0].cut(stretched)
    assert np.abs(small[0] - pixels[0].reshape(6, 2, 6, 3, 3).mean(axis=(1, 3)).transpose(2, 0, 1)).max() < 1
    assert binning_for(data, DataConfig(source="har-dvs:x", sensor=(260, 346))).shape == (3, 29, 39)


def test_settings_for_events_are_refused_for_images_all_at_once(tmp_path: Path) -> None:
    wrong = DataConfig(source=f"har-dvs:{tmp_path}", bins="count", window="random", clips=3, on_fault="repair")
    with pytest.raises(ConfigError) as caught:
        load_frame_set(wrong, 0)
    assert [issue.where for issue in caught.value.issues] == [
        "data.bins",
        "data.window",
        "data.clips",
        "data.on_fault",
    ]


@pytest.mark.parametrize("split", [True, False])
def test_har_dvs_without_lists_is_split_by_folders_or_by_the_seed(tmp_path: Path, split: bool) -> None:
    for action in ("walk", "run"):
        for sample in range(5):
            place = tmp_path / ("test" if sample == 4 else "train") if split else tmp_path
            _sample(place / action / f"s{sample}", sample, suffix=".jpg")
    data = _frames(tmp_path)
    assert (len(data.train), len(data.test), data.classes) == (8, 2, ("run", "walk"))
    assert not {clip.folder for clip in data.train} & {clip.folder for clip in data.test}
    again = [[clip.folder.name for clip in _frames(tmp_path, seed=seed).test] for seed in range(6)]
    assert (len({tuple(names) for names in again}) == 1) == split


def test_har_dvs_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        _frames(tmp_path / "absent")
    for action in ("walk", "run"):
        for sample in range(3):
            _sample(tmp_path / action / f"s{sample}", sample)
    (tmp_path / "run" / "s1" / "frame8.png").unlink()
    (tmp_path / "walk" / "s0" / "frame1.png").unlink()
    with pytest.raises(DataError, match="2 problems") as caught:
        _frames(tmp_path)
    assert {issue.got for issue in caught.value.issues} == {"7"}
    data = _frames(tmp_path, steps=7)
    (tmp_path / "run" / "s2" / "frame3.png").write_bytes(b"no image")
    _sample(tmp_path / "walk" / "s2", 1, 8, size=(6, 7))
    broken = {clip.folder.parent.name: clip for clip in (*data.train, *data.test) if clip.folder.name == "s2"}
    binning = Binning((5, 7), 1, 1000, 7, 255, Bins.IMAGES)
    with pytest.raises(DataError, match="cannot read the image") as unreadable:
        broken["run"].cut(binning)
    assert unreadable.value.where == str(tmp_path / "run" / "s2" / "frame3.png")
    with pytest.raises(DataError, match="the image is 7x6"):
        broken["walk"].cut(binning)
    _put(tmp_path / "train_label.txt", "walk/gone 0\n")
    _put(tmp_path / "test_label.txt", "\n")
    with pytest.raises(DataError, match="2 problems"):
        _frames(tmp_path)


def test_images_and_events_are_not_taken_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds images"):
        _load(f"har-dvs:{tmp_path}")
    with pytest.raises(ConfigError, match="holds no images"):
        load_frame_set(DataConfig(source=f"nmnist:{tmp_path}"), 0)
