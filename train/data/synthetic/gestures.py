# SPDX-License-Identifier: Apache-2.0
"""Procedural stand-in for DVS128 Gesture (Amir et al., CVPR 2017): eleven gestures, any number of people.

The person faces the camera, so the right arm is on the left of the image, and clockwise is seen by the person: on
the image the hand turns counter-clockwise. Both as in the real recordings. Each recording has its own person,
camera noise, tempo, amplitude and phase, all drawn from ``np.random.default_rng([seed, index])``: recording
``index`` is the same however the work is split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spikefold.errors import ConfigError
from spikefold.train.data.events import Recording
from spikefold.train.data.synthetic.pixels import PixelModel, finish, start_state
from spikefold.train.data.synthetic.scene import SLOW_FRAMES, Layers, Person, Scene, film, first_frame

CLASSES: tuple[str, ...] = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other",
)  # fmt: skip

FRAME_US = 2000
"""Time between two rendered frames. The fastest hand moves about one pixel in it."""

DVS128 = PixelModel(
    threshold=0.2,
    threshold_mismatch=0.03,
    refractory_us=300,
    leak_rate_hz=0.1,
    shot_rate_hz=0.35,
    noise_spread=1.5,
    hot_share=0.0003,
    hot_rate_hz=30.0,
    double_read_share=0.16,
)
"""Set so that rates, active pixels and isolated events come near ten real recordings; see the tests."""

Arm = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Elbow out, elbow down, wrist out, wrist down: seen from the shoulder, in units of the arm's reach, ``(F,)`` each.

Out points away from the body on either side, so that one path describes the left arm and its mirror image.
"""


@dataclass(frozen=True)
class Motion:
    """How a person performs a gesture. ``phase_rad`` is ``(F,)`` and grows with time.

    ``midline`` is where the middle of the body lies seen from a shoulder, in units of the reach (negative).
    """

    phase_rad: np.ndarray
    time_s: np.ndarray
    amplitude: float
    midline: float
    shape: np.ndarray
    rng: np.random.Generator


def _path(motion: Motion, *columns: np.ndarray | float) -> Arm:
    elbow_x, elbow_y, wrist_x, wrist_y = (np.broadcast_to(c, motion.phase_rad.shape) for c in columns)
    return elbow_x, elbow_y, wrist_x, wrist_y


def _rest(motion: Motion) -> Arm:
    swing = 0.012 * np.sin(motion.phase_rad)
    bend = 0.06 * motion.shape[3]
    return _path(motion, 0.12 + 0.5 * swing, 0.5, 0.1 + swing - bend, 0.96 - abs(bend))


def _clap(motion: Motion) -> tuple[Arm, Arm]:
    gap = motion.amplitude * 0.24 * (1 - np.cos(motion.phase_rad)) + 0.05
    height = 0.5 + 0.1 * motion.shape[0]
    arms = [
        _path(motion, 0.12 + 0.35 * gap, 0.5, motion.midline + gap * share, height - 0.15 * gap)
        for share in (1 + 0.4 * motion.shape[1], 1 - 0.4 * motion.shape[1])
    ]
    return arms[0], arms[1]


def _wave(motion: Motion) -> Arm:
    angle = 0.25 + 0.15 * motion.shape[0] + 0.55 * motion.amplitude * np.sin(motion.phase_rad)
    elbow_x, elbow_y = 0.22 + 0.06 * motion.shape[1], 0.42 + 0.06 * motion.shape[2]
    wrist_y = elbow_y - 0.5 * np.cos(angle)
    return _path(motion, elbow_x + 0.05 * np.sin(angle), elbow_y, elbow_x + 0.5 * np.sin(angle), wrist_y)


def _circle(motion: Motion, turn: int) -> Arm:
    """A circle of the whole arm; ``turn`` is +1 where out goes over into down, -1 for the other way."""
    angle = turn * motion.phase_rad
    wide, high = 0.52 + 0.06 * motion.shape[0], 0.72 + 0.08 * motion.shape[1]
    wrist_x = 0.3 + 0.06 * motion.shape[2] + motion.amplitude * wide * np.cos(angle)
    wrist_y = 0.04 + motion.amplitude * high * np.sin(angle)
    return _path(motion, 0.5 * wrist_x + 0.04, 0.5 * wrist_y + 0.05, wrist_x, wrist_y)


def _roll(motion: Motion) -> tuple[Arm, Arm]:
    arms = []
    for half_turn in (0.0, np.pi):
        angle = motion.phase_rad + half_turn
        across = motion.midline - 0.1 + 0.09 * motion.amplitude * np.cos(angle)
        down = 0.55 + 0.08 * motion.shape[0] + 0.2 * motion.amplitude * np.sin(angle)
        arms.append(_path(motion, 0.2, 0.5 + 0.25 * (down - 0.55), across, down))
    return arms[0], arms[1]


def _drums(motion: Motion) -> tuple[Arm, Arm]:
    arms = []
    for half_turn in (0.0, np.pi):
        # the stroke goes down faster than the stick comes up
        angle = motion.phase_rad + half_turn
        stroke = np.cos(angle + 0.45 * np.sin(angle))
        wrist_x = -0.12 + 0.12 * motion.shape[0] + 0.04 * stroke
        wrist_y = 0.62 + 0.05 * motion.shape[1] - 0.26 * motion.amplitude * stroke
        arms.append(_path(motion, 0.14, 0.48 - 0.03 * stroke, wrist_x, wrist_y))
    return arms[0], arms[1]


def _guitar(motion: Motion) -> tuple[Arm, Arm]:
    strum = motion.amplitude * np.sin(motion.phase_rad)
    slide = 0.06 * motion.amplitude * np.sin(0.4 * motion.phase_rad + np.pi * motion.shape[2])
    picking = _path(
        motion, 0.22, 0.45 + 0.03 * strum, -0.12 + 0.08 * motion.shape[0] + 0.07 * strum, 0.8 + 0.17 * strum
    )
    neck = _path(motion, 0.38, 0.34, 0.68 + 0.08 * motion.shape[1] + slide, 0.22 + 0.1 * motion.shape[3] - slide)
    return picking, neck


def _other(motion: Motion) -> tuple[Arm, Arm]:
    """Each arm wanders by itself: sums of sines whose frequencies share no period."""
    rng, arms = motion.rng, []
    for _ in range(2):
        middle = rng.uniform((-0.2, -0.3), (0.6, 0.7))
        wrist = []
        for axis in range(2):
            pace, start = rng.uniform(0.4, 2.2, 3), rng.uniform(0, 2 * np.pi, 3)
            waves = np.sin(2 * np.pi * pace * motion.time_s[:, None] + start).sum(1)
            wrist.append(middle[axis] + rng.uniform(0.08, 0.2) * motion.amplitude * waves)
        sag = rng.uniform(0.0, 0.25)
        arms.append(_path(motion, 0.5 * wrist[0] + 0.5 * sag, 0.5 * wrist[1] + sag, wrist[0], wrist[1]))
    # often one arm only, like most of the real class
    still = int(rng.integers(3))
    if still < 2:
        arms[still] = _rest(motion)
    return arms[0], arms[1]


# right arm, left arm. The right arm is drawn mirrored: out is to the left of the image, where the turn from out
# to down is counter-clockwise on the image and clockwise for the person.
_GESTURES: tuple[tuple[Callable[[Motion], tuple[Arm, Arm]], float, float], ...] = (
    (_clap, 1.6, 2.6),
    (lambda m: (_wave(m), _rest(m)), 1.3, 2.4),
    (lambda m: (_rest(m), _wave(m)), 1.3, 2.4),
    (lambda m: (_circle(m, 1), _rest(m)), 1.0, 1.7),
    (lambda m: (_circle(m, -1), _rest(m)), 1.0, 1.7),
    (lambda m: (_rest(m), _circle(m, -1)), 1.0, 1.7),
    (lambda m: (_rest(m), _circle(m, 1)), 1.0, 1.7),
    (_roll, 1.4, 2.4),
    (_drums, 1.4, 2.4),
    (_guitar, 1.8, 3.0),
    (_other, 1.0, 2.0),
)
"""For each class its movement and the lowest and highest tempo in Hz."""


def generate_one(
    index: int,
    seed: int,
    *,
    duration_us: int = 800_000,
    sensor: tuple[int, int] = (128, 128),
    model: PixelModel = DVS128,
) -> Recording:
    """Recording ``index`` of the endless series that ``seed`` names; its label is ``index % 11``.

    Args:
        index: from 0.
        seed: from 0. Use another seed, or other indices, for the test set.
        duration_us: rounded down to whole frames of `FRAME_US`.
        sensor: ``(H, W)``; the scene is scaled to the shorter side.
        model: pixels of the camera.

    Raises:
        ConfigError: a negative index or seed, less than two frames, a sensor under 16 or over 4096 pixels.
    """
    if index < 0 or seed < 0 or duration_us < 2 * FRAME_US or min(sensor) < 16 or max(sensor) > 4096:
        raise ConfigError(
            f"index {index}, seed {seed}, duration_us {duration_us}, sensor {sensor}",
            where="gestures.generate",
            hint=f"index and seed from 0, duration_us from {2 * FRAME_US}, sensor sides from 16 to 4096",
        )
    rng = np.random.default_rng([seed, index])
    label = index % len(CLASSES)
    frames = duration_us // FRAME_US + 1
    person = Person.draw(rng)
    layers = Layers.draw(person, sensor, rng)
    time_s = np.arange(frames + SLOW_FRAMES) * (FRAME_US * 1e-6)
    move, slowest_hz, fastest_hz = _GESTURES[label]
    start, drift = rng.uniform(0, 2 * np.pi, 2)
    phase = 2 * np.pi * rng.uniform(slowest_hz, fastest_hz) * time_s + start
    phase = phase + 0.25 * (np.sin(2 * np.pi * 0.6 * time_s + drift) - np.sin(drift))
    midline = -person.half_shoulder_px / person.reach_px
    motion = Motion(phase, time_s, rng.uniform(0.8, 1.15), midline, rng.uniform(-1, 1, 4), rng)
    sway = _sway(motion, min(sensor) / 128)
    joints = _joints(person, move(motion), sway, sensor)[:frames]
    unit = min(sensor) / 128
    radii = unit * person.radius_px * np.array([1.25, 1.05, 0.75, 0.85])
    stripes = 1 / (person.stripe_px * unit)
    surface = np.array(
        [
            [person.shirt_log, person.stripe_log, stripes, 0.0],
            [person.sleeve_log, 0.6 * person.stripe_log, stripes, 0.3 * stripes],
            [person.skin_log, 0.35, 0.0, 0.45 / unit],
        ]
    )
    scene = Scene(layers.room, layers.body, layers.cover, sway, joints, radii, surface, person.light_log)
    state = start_state(first_frame(scene), model, rng)
    keys = film(state, scene, FRAME_US, float(model.refractory_us))
    events = finish(keys, sensor, (frames - 1) * FRAME_US, model, rng)
    return Recording(events, sensor, label, f"gestures:{seed}/{index}")


def generate(
    count: int,
    seed: int,
    *,
    start: int = 0,
    duration_us: int = 800_000,
    sensor: tuple[int, int] = (128, 128),
    model: PixelModel = DVS128,
) -> list[Recording]:
    """Recordings ``start`` to ``start + count`` of the series of ``seed``; see `generate_one`."""
    return [
        generate_one(index, seed, duration_us=duration_us, sensor=sensor, model=model)
        for index in range(start, start + count)
    ]


def _sway(motion: Motion, unit: float) -> np.ndarray:
    """Room and body shifts in pixels and light in log units ``(F + SLOW_FRAMES, 5)`` for `scene.film`."""
    rng, time = motion.rng, motion.time_s
    turns = rng.uniform(0, 2 * np.pi, 5)
    slow = np.sin(2 * np.pi * rng.uniform(0.2, 0.6, 5) * time[:, None] + turns)
    with_arms = np.sin(motion.phase_rad + rng.uniform(0, 2 * np.pi))
    sway: np.ndarray = slow * rng.uniform(0.3, 1.0, 5) * unit * np.array([0.3, 0.3, 1.0, 0.6, 0.02 / unit])
    sway[:, 2] += unit * rng.uniform(0.3, 0.8) * with_arms
    sway[:, 3] += unit * rng.uniform(0.2, 0.5) * np.abs(with_arms)
    return sway


def _joints(person: Person, arms: tuple[Arm, Arm], sway: np.ndarray, sensor: tuple[int, int]) -> np.ndarray:
    """Shoulder, elbow, wrist and fingertip of the right and the left arm, ``(F + SLOW_FRAMES, 2, 4, 2)``."""
    unit, reach = min(sensor) / 128, person.reach_px
    joints = np.empty((len(sway), 2, 4, 2))
    for number, (side, (elbow_x, elbow_y, wrist_x, wrist_y)) in enumerate(zip((-1, 1), arms, strict=True)):
        shoulder = np.zeros((len(sway), 2))
        elbow, wrist = np.stack([elbow_x, elbow_y], 1), np.stack([wrist_x, wrist_y], 1)
        along = wrist - elbow
        # an arm that points at the camera is short, and so is its hand
        tip = wrist + along * (person.hand_px / reach / np.maximum(np.hypot(*along.T), 0.3))[:, None]
        local = np.stack([shoulder, elbow, wrist, tip], 1) * reach
        joints[:, number, :, 0] = person.centre_x_px + side * (person.half_shoulder_px + local[..., 0])
        joints[:, number, :, 1] = person.shoulder_y_px + 3 + local[..., 1]
    centre = np.array([sensor[1], sensor[0]]) / 2
    image: np.ndarray = np.ascontiguousarray((joints - 64) * unit + centre + sway[:, None, None, 2:4])
    return image
