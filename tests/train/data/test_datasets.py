# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.config import DataConfig
from spikefold.errors import ConfigError, DataError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data import datasets
from spikefold.train.data.datasets import Dataset, Samples, binning_for, load_dataset, load_samples
from spikefold.train.data.events import Recording, save_packed
from spikefold.train.data.frames import to_frames

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "nmnist"


def _quiet(task: str, done: int, of: int) -> None:
    """No progress."""


def _clip(mark: int, label: int = -1, sensor: tuple[int, int] = (6, 9), end_us: int = 100) -> Recording:
    """A recording that its first time names."""
    return Recording(np.array([(mark, 2, 3, 1), (end_us, 0, 0, 0)], EVENT_DTYPE), sensor, label, f"clip {mark}")


def _marks(recordings: tuple[Recording, ...]) -> list[int]:
    return [int(r.events["t"][0]) for r in recordings]


def _class_folders(folder: Path, sizes: dict[str, int]) -> None:
    """A file for each recording; the marks count up over all classes."""
    mark = 0
    for name, size in sizes.items():
        (folder / name / "deep").mkdir(parents=True)
        for number in range(size):
            place = folder / name / ("deep" if number == 1 else "")
            save_packed(place / f"{number}.npz", [_clip(mark)])
            mark += 1


def _load(source: str, seed: int = 0, **options: object) -> Dataset:
    return load_dataset(DataConfig(source=source, **options), seed, _quiet)


def _split(folder: Path, **classes: list[Recording]) -> None:
    for name, recordings in classes.items():
        save_packed(folder / f"{name}.npz", recordings)


def test_packed_splits_are_read_in_order(tmp_path: Path) -> None:
    _split(tmp_path, train=[_clip(1, 1), _clip(2, 0), _clip(3, 2)], test=[_clip(4, 2), _clip(5, 0)])
    data = _load(f"npz:{tmp_path}")
    assert (_marks(data.train), _marks(data.test)) == ([1, 2, 3], [4, 5])
    assert (data.labels("train").tolist(), data.labels("test").tolist()) == ([1, 0, 2], [2, 0])
    assert data.classes == ("0", "1", "2")
    assert data.sensor == (6, 9)


def test_packed_splits_share_the_sensor_that_holds_both(tmp_path: Path) -> None:
    _split(tmp_path, train=[_clip(1, 0, (6, 9)), _clip(2, 1, (6, 9))], test=[_clip(4, 1, (8, 7))])
    data = _load(f"npz:{tmp_path}")
    assert {r.sensor for r in (*data.train, *data.test)} == {(8, 9)}


@pytest.mark.parametrize(
    ("train", "test"), [([0, 2], [0]), ([0, 1], [2]), ([-1, 0], [0]), ([0, 1], [-1]), ([], [0]), ([0], [])]
)
def test_labels_with_a_gap_and_empty_splits_are_refused(tmp_path: Path, train: list[int], test: list[int]) -> None:
    _split(tmp_path, train=[_clip(1, n) for n in train], test=[_clip(2, n) for n in test])
    with pytest.raises(DataError) as caught:
        _load(f"npz:{tmp_path}")
    assert str(tmp_path) in caught.value.where


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    save_packed(tmp_path / "train.npz", [_clip(1, 0)])
    with pytest.raises(DataError) as caught:
        _load(f"npz:{tmp_path}")
    assert caught.value.where == str(tmp_path / "test.npz")


def test_a_folder_of_classes_is_split_without_overlap_or_loss(tmp_path: Path) -> None:
    _class_folders(tmp_path, {"wave": 10, "clap": 5, "roll": 2})
    data = _load(f"folder:{tmp_path}")
    assert data.classes == ("clap", "roll", "wave")
    assert sorted(_marks(data.train) + _marks(data.test)) == list(range(17))
    assert np.bincount(data.labels("test")).tolist() == [1, 1, 2]
    assert np.bincount(data.labels("train")).tolist() == [4, 1, 8]
    marks = {"wave": range(10), "clap": range(10, 15), "roll": range(15, 17)}
    for recording in (*data.train, *data.test):
        assert int(recording.events["t"][0]) in marks[data.classes[recording.label]]
        assert f"/{data.classes[recording.label]}/" in recording.name


def test_the_split_depends_on_the_seed_and_on_nothing_else(tmp_path: Path) -> None:
    _class_folders(tmp_path, {"a": 12, "b": 12})
    first, again, other = (_marks(_load(f"folder:{tmp_path}", seed).test) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("share", [0.01, 0.5, 0.8, 0.99])
def test_every_class_is_in_both_splits_whatever_the_share(tmp_path: Path, share: float) -> None:
    _class_folders(tmp_path, {"a": 2, "b": 3})
    data = _load(f"folder:{tmp_path}", test_share=share)
    for split in ("train", "test"):
        assert set(data.labels(split).tolist()) == {0, 1}


def test_a_packed_file_in_a_class_folder_gives_all_its_recordings(tmp_path: Path) -> None:
    for name, marks in (("a", (1, 2, 3)), ("b", (4, 5))):
        (tmp_path / name).mkdir()
        save_packed(tmp_path / name / "all.npz", [_clip(mark, 7) for mark in marks])
    data = _load(f"folder:{tmp_path}")
    assert sorted(_marks(data.train) + _marks(data.test)) == [1, 2, 3, 4, 5]


def test_files_of_other_kinds_are_left_alone(tmp_path: Path) -> None:
    _class_folders(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "README.md").write_text("hello")
    assert len(_load(f"folder:{tmp_path}").train) == 2


def test_every_unreadable_recording_and_empty_class_is_named_at_once(tmp_path: Path) -> None:
    _class_folders(tmp_path, {"a": 3, "b": 3, "c": 0, "d": 1})
    broken = [tmp_path / "a" / "0.npz", tmp_path / "b" / "2.npz"]
    for path in broken:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="4 problems") as caught:
        _load(f"folder:{tmp_path}")
    named = [issue.where for issue in caught.value.issues]
    assert named == [str(path) for path in (*broken, tmp_path / "c", tmp_path / "d")]


def test_a_place_without_class_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        _load(f"folder:{tmp_path / 'absent'}")
    _class_folders(tmp_path, {"only": 3})
    with pytest.raises(DataError, match="1 class folders"):
        _load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("source", "suggested"),
    [("gesture", "gestures"), ("digit", "digits"), ("npz", "npz:DIR"), ("folders:/x", "folder:DIR"), ("", "Known")],
)
def test_an_unknown_source_is_refused_with_the_nearest_name(source: str, suggested: str) -> None:
    with pytest.raises(ConfigError, match="unknown data source") as caught:
        _load(source)
    assert suggested in caught.value.hint


def test_generated_data_is_made_once_and_read_back_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFOLD_CACHE", str(tmp_path / "cache"))
    told: list[tuple[str, int, int]] = []

    def load(seed: int = 3) -> Dataset:
        return load_dataset(DataConfig(source="digits", train=3, test=2), seed, lambda *news: told.append(news))

    made = load()
    assert told == [("generate digits (train)", 3, 3), ("generate digits (test)", 2, 2)]
    assert len(list((tmp_path / "cache" / "data").iterdir())) == 2
    # nothing can be made any more: what comes now was read
    monkeypatch.setattr(datasets, "worker_pool", None)
    read = load()
    for split in ("train", "test"):
        first, second = getattr(made, split), getattr(read, split)
        assert [r.events.tobytes() for r in first] == [r.events.tobytes() for r in second]
        assert [(r.sensor, r.label) for r in first] == [(r.sensor, r.label) for r in second]
    assert made.labels("train").tolist() == [0, 1, 2]
    assert len(made.classes) == 10
    assert len({r.events.tobytes() for r in (*made.train, *made.test)}) == 5
    with pytest.raises(TypeError):
        load(seed=4)  # another seed is another file


def _of_sensor(sensor: tuple[int, int], ends: tuple[int, ...] = (800,)) -> Dataset:
    clips = tuple(_clip(0, 0, sensor, end_us=end) for end in ends)
    return Dataset(clips, clips[:1], ("a",))


@pytest.mark.parametrize(
    ("sensor", "downsample"), [((34, 34), 1), ((40, 40), 1), ((41, 10), 2), ((128, 128), 4), ((260, 346), 9)]
)
def test_an_input_keeps_at_most_forty_pixels_a_side(sensor: tuple[int, int], downsample: int) -> None:
    binning = binning_for(_of_sensor(sensor), DataConfig())
    assert binning.downsample == downsample
    assert binning.sensor == sensor
    assert max(binning.shape[1:]) <= 40


def test_bins_span_the_typical_training_clip() -> None:
    binning = binning_for(_of_sensor((34, 34), (700, 801, 5000)), DataConfig(steps=8))
    assert (binning.dt_us, binning.steps) == (101, 8)


def test_the_largest_training_count_bounds_the_input() -> None:
    events = np.array([(t, 2, 3, 1) for t in range(7)] + [(100, 0, 0, 0)], EVENT_DTYPE)
    clip = Recording(events, (6, 9), 0)
    data = Dataset((clip,), (clip,), ("a",))
    assert binning_for(data, DataConfig(steps=2)).max_count == 7


def test_what_is_configured_wins() -> None:
    config = DataConfig(downsample=3, dt_us=55, steps=4, max_count=2)
    binning = binning_for(_of_sensor((128, 128)), config)
    assert (binning.downsample, binning.dt_us, binning.steps, binning.max_count) == (3, 55, 4, 2)
    assert binning.shape == (2, 43, 43)


def test_recordings_without_duration_still_have_a_bin() -> None:
    binning = binning_for(_of_sensor((6, 9), (0,)), DataConfig())
    assert binning.dt_us == 1


@pytest.mark.data
@pytest.mark.skipif(not REAL.exists(), reason="shared/data is absent: no real recordings to read")
def test_real_recordings_become_frames_without_further_settings() -> None:
    data = _load(f"npz:{REAL}")
    binning = binning_for(data, DataConfig(source=f"npz:{REAL}"))
    assert (len(data.train), len(data.test), len(data.classes)) == (1000, 100, 10)
    assert data.sensor == (34, 34)
    assert binning.downsample == 1
    assert 35_000 < binning.dt_us < 42_000
    frames = to_frames(data.test, binning)
    kept = frames.sum(dtype=np.int64) / sum(len(r.events) for r in data.test)
    assert 0.98 < kept <= 1


# ------------------------------------------------------------------------------------------------ to test on


def _samples(source: str, **options: object) -> Samples:
    return load_samples(DataConfig(source=source, **options), 0, _quiet)


def test_a_test_split_alone_can_test_a_network_and_not_train_one(tmp_path: Path) -> None:
    _split(tmp_path, test=[_clip(1, 2), _clip(2, 0)])
    data = _load(f"npz:{tmp_path}")
    assert (len(data.train), _marks(data.test), data.labels("test").tolist()) == (0, [1, 2], [2, 0])
    assert data.classes == ("0", "1", "2")
    assert binning_for(data, DataConfig(steps=2)).shape == (2, 6, 9)
    with pytest.raises(DataError, match="no training recordings: no network can be trained"):
        _samples(f"npz:{tmp_path}")


def test_a_folder_can_be_read_without_a_test_split(tmp_path: Path) -> None:
    _class_folders(tmp_path, {"a": 1, "b": 3})
    data = _load(f"folder:{tmp_path}", test_share=0)
    assert (sorted(_marks(data.train)), data.test) == ([0, 1, 2, 3], ())
    with pytest.raises(DataError, match="no testing recordings"):
        _samples(f"folder:{tmp_path}", test_share=0)
    with pytest.raises(DataError) as caught:
        _load(f"folder:{tmp_path}")
    assert [issue.where for issue in caught.value.issues] == [str(tmp_path / "a")]


def test_what_a_run_trains_on_shows_every_class(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("x\ny\nz\n")
    for split in ("train", "test"):
        _class_folders(tmp_path / split, {"x": 1, "z": 1})
    with pytest.raises(DataError, match="1 problems") as caught:
        _samples(f"folder:{tmp_path}")
    assert [issue.where for issue in caught.value.issues] == [str(tmp_path / "train" / "y")]
    (tmp_path / "classes.txt").unlink()
    assert _samples(f"folder:{tmp_path}").classes == ("x", "z")


def test_folders_of_a_split_are_that_split_and_no_classes(tmp_path: Path) -> None:
    for split, sizes in (("train", {"a": 3, "b": 2}), ("test", {"a": 1, "b": 1})):
        _class_folders(tmp_path / split, sizes)
    data = _load(f"folder:{tmp_path}")
    assert data.classes == ("a", "b")
    assert (len(data.train), len(data.test)) == (5, 2)


def test_a_file_gives_the_order_of_the_classes(tmp_path: Path) -> None:
    _class_folders(tmp_path, {"clap": 2, "roll": 2, "wave": 2})
    (tmp_path / "classes.txt").write_text("wave\n\n clap\nroll\n", encoding="utf-8")
    data = _load(f"folder:{tmp_path}")
    assert data.classes == ("wave", "clap", "roll")
    for recording in (*data.train, *data.test):
        assert f"/{data.classes[recording.label]}/" in recording.name
    for wrong, what in (
        ("wave\nclap\n", "not listed"),
        ("wave\nwave\nclap\nroll\n", "3 different"),
        ("\n", "0 classes"),
    ):
        (tmp_path / "classes.txt").write_text(wrong)
        with pytest.raises(DataError, match=what):
            _load(f"folder:{tmp_path}")


def test_a_file_names_the_classes_of_an_archive(tmp_path: Path) -> None:
    _split(tmp_path, train=[_clip(1, 0), _clip(2, 1)], test=[_clip(3, 1)])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert _load(f"npz:{tmp_path}").classes == ("cat", "dog")
    (tmp_path / "classes.txt").write_text("cat\ndog\nfox\n")
    with pytest.raises(DataError, match="1 classes without training recordings, the first is 2"):
        _load(f"npz:{tmp_path}")
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(DataError, match="there are 1 classes"):
        _load(f"npz:{tmp_path}")


def test_the_parts_of_a_cut_recording_are_never_in_both_splits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(6):
            t = [0, 10_000, 20_000, 0, 10_000, 0, 5_000]
            ones = np.ones(len(t), int)
            np.savez(tmp_path / name / f"{number}.npz", t=t, x=ones, y=ones, p=ones)
    for seed in range(5):
        data = _load(f"folder:{tmp_path}", seed, on_fault="repair", test_share=0.5)
        assert len(data.train) == len(data.test) == 18
        assert data.repairs.cuts == 24
        files = [{recording.name for recording in split} for split in (data.train, data.test)]
        assert [len(names) for names in files] == [6, 6]
        assert not files[0] & files[1]


def test_a_damaged_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFOLD_CACHE", str(tmp_path / "cache"))
    made = _load("digits", train=2, test=1)
    for path in (tmp_path / "cache" / "data").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    again = _load("digits", train=2, test=1)
    assert [r.events.tobytes() for r in again.train] == [r.events.tobytes() for r in made.train]
    assert len(again.train[0].events) > 0


def test_a_cache_that_cannot_be_written_is_said_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEFOLD_CACHE", str(tmp_path / "a file"))
    (tmp_path / "a file").write_text("")
    told: list[str] = []
    source = DataConfig(source="digits", train=2, test=2)
    made = load_dataset(source, 0, lambda task, done, of: told.append(task), splits=("test",))
    assert len(made.test) == 2
    assert any("not kept in" in task and "SPIKEFOLD_CACHE" in task for task in told)
