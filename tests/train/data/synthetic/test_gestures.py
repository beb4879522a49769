# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numba import njit

from spikefold.errors import ConfigError
from spikefold.train.data.events import Recording, load_packed
from spikefold.train.data.synthetic.gestures import CLASSES, generate, generate_one
from spikefold.train.data.synthetic.pixels import PixelModel, advance, start_state
from spikefold.train.data.synthetic.scene import MARGIN_PX, SLOW_FRAMES, Scene, film, first_frame

REAL = Path(__file__).parents[4].parent / "shared" / "data" / "dvs_gesture_10" / "recordings.npz"
PEOPLE = 3
SILENT = PixelModel(leak_rate_hz=0.0, shot_rate_hz=0.0, hot_share=0.0)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return generate(PEOPLE * len(CLASSES), 7)


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _isolated(t: np.ndarray, x: np.ndarray, y: np.ndarray, within_us: int) -> float:
    """Share of events without one on any of the eight neighbour pixels within ``within_us`` before or after."""
    alone = np.ones(len(t), np.bool_)
    for direction in (1, -1):
        last = np.full((130, 130), -(10**12))
        for k in range(len(t)):
            i = k if direction == 1 else len(t) - 1 - k
            now, row, column = direction * t[i], y[i] + 1, x[i] + 1
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    if (dy != 0 or dx != 0) and now - last[row + dy, column + dx] <= within_us:
                        alone[i] = False
            last[row, column] = now
    return alone.mean()


def _statistics(recording: Recording) -> dict[str, float]:
    """Of the first 0.8 s, so that real and generated recordings compare."""
    events = recording.events[recording.events["t"] < 800_000]
    t, x, y = (events[key].astype(np.int64) for key in "txy")
    counts = np.sort(np.bincount(y * 128 + x, minlength=128 * 128))[::-1]
    return {
        "rate_hz": len(events) / 0.8,
        "on_share": float(events["p"].mean()),
        "active_pixels": float((counts > 0).mean()),
        "busiest_percent": float(counts[: len(counts) // 100].sum() / len(events)),
        "isolated": float(_isolated(t, x, y, 5000)),
    }


def _means(recordings: list[Recording]) -> dict[str, float]:
    rows = [_statistics(r) for r in recordings]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _track(recording: Recording, bins: int) -> np.ndarray:
    """Centroid of the events in each time bin, ``(bins, 2)``, x and y."""
    events = recording.events
    which = np.minimum(events["t"].astype(np.int64) * bins // 800_000, bins - 1)
    total = np.bincount(which, minlength=bins)
    return np.stack([np.bincount(which, events[key].astype(float), bins) / total for key in "xy"], 1)


def _turn(track: np.ndarray) -> float:
    """Twice the signed area that the track encloses; positive is clockwise on the image, where y points down."""
    x, y = (track - track.mean(0)).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


def test_same_seed_same_bytes_and_other_seed_other_bytes() -> None:
    first, again, other = generate_one(3, 5), generate_one(3, 5), generate_one(3, 6)
    assert first.events.tobytes() == again.events.tobytes()
    assert first.events.tobytes() != other.events.tobytes()
    assert len(first.events) > 10_000


def test_splitting_the_work_changes_nothing(recordings: list[Recording]) -> None:
    parts = generate(2, 7) + generate(3, 7, start=2)
    assert [r.label for r in parts] == [0, 1, 2, 3, 4]
    for part, whole in zip(parts, recordings, strict=False):
        assert part.events.tobytes() == whole.events.tobytes()
    # and no recording is a copy of another
    assert len({r.events.tobytes() for r in recordings}) == len(recordings)


def test_drawing_only_the_box_of_the_arms_loses_no_event() -> None:
    """Against every pixel of every frame. An arm that swings to and fro faster than the slow layers are composed."""
    model, frames = PixelModel(refractory_us=300), 25
    rng = np.random.default_rng(0)
    room, body, cover = (rng.random((48 + 2 * MARGIN_PX, 48 + 2 * MARGIN_PX)).astype(np.float32) for _ in range(3))
    joints = np.full((frames, 2, 4, 2), 20.0)
    joints[:, :, :, 1] += np.array([0, 4, 8, 11])
    joints += 9 * np.sin(np.arange(frames))[:, None, None, None]
    surface = np.array([[1.0, 0.3, 0.2, 0.0], [-1.0, 0.3, 0.2, 0.1], [2.0, 0.3, 0.0, 0.3]])
    sway = np.zeros((frames + SLOW_FRAMES, 5))
    scene = Scene(room, body, cover, sway, joints, np.array([3.0, 2.5, 2.0, 2.0]), surface, 0.3)
    fast = film(start_state(first_frame(scene), model, np.random.default_rng(1)), scene, 2000, 300.0)
    state = start_state(first_frame(scene), model, np.random.default_rng(1))
    slow, n = np.empty(0, np.int64), 0
    for step in range(1, frames):
        frame = first_frame(scene._replace(joints=joints[step:]))
        slow, n = advance(state, frame, (0, 48, 0, 48), 2000.0 * step, 300.0, slow, n)
    assert n > 2000
    assert np.array_equal(np.sort(fast), np.sort(slow[:n]))


def test_labels_are_balanced(recordings: list[Recording]) -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 11
    assert [r.label for r in recordings] == list(range(11)) * PEOPLE
    assert all(r.sensor == (128, 128) for r in recordings)


def test_statistics_lie_in_the_bands_of_the_real_camera(recordings: list[Recording]) -> None:
    means = _means(recordings)
    assert 55_000 < means["rate_hz"] < 110_000, means
    assert 0.46 < means["on_share"] < 0.54, means
    assert 0.30 < means["active_pixels"] < 0.47, means
    assert 0.13 < means["busiest_percent"] < 0.26, means
    assert 0.12 < means["isolated"] < 0.28, means
    assert all(15_000 < _statistics(r)["rate_hz"] < 250_000 for r in recordings)


@pytest.mark.data
@pytest.mark.skipif(not REAL.exists(), reason="shared/data is absent: no real recordings to compare with")
def test_statistics_come_near_the_real_recordings(recordings: list[Recording]) -> None:
    real = _means(load_packed(REAL))
    # the real ten lack the class "other"
    made = _means([r for r in recordings if r.label < 10])
    for key, (low, high) in {
        "rate_hz": (0.7, 1.4),
        "on_share": (0.9, 1.1),
        "active_pixels": (0.8, 1.3),
        "busiest_percent": (0.75, 1.4),
        "isolated": (0.55, 1.3),
    }.items():
        assert low < made[key] / real[key] < high, (key, made[key], real[key])


@pytest.mark.data
@pytest.mark.skipif(not REAL.exists(), reason="shared/data is absent: no real recordings to compare with")
def test_rotations_turn_as_in_the_real_recordings() -> None:
    """The four rotation labels of the real recordings are certain."""
    turns = {r.label: _turn(_track(r, 16)) for r in load_packed(REAL) if 3 <= r.label <= 6}
    assert sorted(turns) == [3, 4, 5, 6]
    assert all((turns[label] < 0) == (label in (3, 5)) for label in turns), turns


def test_clockwise_and_counter_clockwise_turn_in_opposite_ways(recordings: list[Recording]) -> None:
    """Clockwise is seen by the person, who faces the camera: counter-clockwise on the image."""
    checked = 0
    for recording in recordings:
        if 3 <= recording.label <= 6:
            turn = _turn(_track(recording, 20))
            assert (turn < 0) == (recording.label in (3, 5)), (recording.name, turn)
            assert abs(turn) > 300, (recording.name, turn)
            checked += 1
    assert checked == 4 * PEOPLE


def test_clockwise_and_counter_clockwise_cover_the_same_pixels() -> None:
    """Without time they must not be told apart: the images of one class differ as much as those of both."""
    images: dict[int, list[np.ndarray]] = {3: [], 4: []}
    for index in range(8):
        for label in images:
            events = generate_one(11 * index + label, 1, duration_us=1_000_000, model=SILENT).events
            counts, _, _ = np.histogram2d(events["y"], events["x"], bins=16, range=((0, 128), (0, 128)))
            images[label].append(np.sqrt(counts / counts.sum()).ravel())
    three, four = np.array(images[3]), np.array(images[4])
    within = np.mean([np.linalg.norm(rows - rows.mean(0), axis=1).mean() for rows in (three, four)])
    assert np.linalg.norm(three.mean(0) - four.mean(0)) < within


@pytest.mark.parametrize(("right", "left"), [(1, 2), (3, 5), (4, 6)])
def test_right_arm_is_left_on_the_image(recordings: list[Recording], right: int, left: int) -> None:
    for person in range(PEOPLE):
        x_right = recordings[11 * person + right].events["x"].mean()
        x_left = recordings[11 * person + left].events["x"].mean()
        assert x_right < 58 < 70 < x_left, (right, left, person)


def test_noise_is_there_and_far_from_the_person() -> None:
    """Upper corners, where nobody is: about 0.45 Hz a pixel of leak and shot noise, few without them."""
    rates = []
    for model in (None, SILENT):
        recording = generate_one(0, 2) if model is None else generate_one(0, 2, model=model)
        events = recording.events
        corner = (events["y"] < 24) & ((events["x"] < 24) | (events["x"] >= 104))
        rates.append(corner.sum() / (2 * 24 * 24) / 0.8)
    assert rates[0] > rates[1] + 0.2


def test_smaller_sensor_and_other_duration() -> None:
    recording = generate_one(3, 0, sensor=(48, 64), duration_us=200_000)
    assert recording.sensor == (48, 64)
    assert recording.events["x"].max() > 32
    assert 150_000 < recording.duration_us <= 200_000
    assert recording.events["x"].mean() < 32


@pytest.mark.parametrize(
    "arguments", [{"index": -1}, {"seed": -1}, {"duration_us": 100}, {"sensor": (8, 128)}, {"sensor": (128, 9999)}]
)
def test_impossible_arguments_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        generate_one(**{"index": 0, "seed": 0, **arguments})  # type: ignore[arg-type]
