# SPDX-License-Identifier: Apache-2.0
"""A person in front of a room, filmed as log intensity and seen by the pixels of `pixels`.

Lengths are in pixels of a 128-pixel sensor and are scaled to the sensor at hand; x points right, y down. Each arm
is a chain of three capsules (upper arm, forearm, hand) with a shaded, textured surface. Edges are blended in log
intensity: against blending intensities that shifts an edge by less than its blur of one pixel, and saves a
logarithm per pixel. The room and the body move little and slowly, so they are composed every `SLOW_FRAMES` frames
and interpolated; in between, only the bounding box of the arms is drawn and only its pixels are advanced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spikefold.compiled import compiled
from spikefold.train.data.synthetic.pixels import PixelState, advance

SLOW_FRAMES = 10
"""Frames between two compositions of the slow layers: 20 ms, short against the 300 ms of the fastest sway."""

MARGIN_PX = 8
"""Border of the slow layers around the sensor; the sway stays below half of it."""


@dataclass(frozen=True)
class Person:
    """Build, clothes and surroundings of one person. ``*_log`` are natural logs of reflectance."""

    centre_x_px: float
    shoulder_y_px: float
    half_shoulder_px: float
    reach_px: float
    hand_px: float
    radius_px: float
    skin_log: float
    shirt_log: float
    sleeve_log: float
    room_log: float
    room_texture_log: float
    shirt_texture_log: float
    stripe_log: float
    stripe_px: float
    light_log: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Person:
        """A person who fills the image like those of DVS128 Gesture (shoulder to wrist about 36 pixels)."""
        scale = rng.uniform(0.88, 1.12)
        skin = rng.normal(0.0, 0.15)
        shirt = skin - rng.uniform(0.7, 1.6) if rng.random() < 0.75 else skin + rng.uniform(0.4, 0.8)
        return Person(
            centre_x_px=64 + rng.uniform(-5, 5),
            shoulder_y_px=60 + rng.uniform(-5, 5),
            half_shoulder_px=scale * rng.uniform(16, 20),
            reach_px=scale * rng.uniform(33, 39),
            hand_px=scale * rng.uniform(9, 13),
            radius_px=scale * rng.uniform(4.6, 6.0),
            skin_log=skin,
            shirt_log=shirt,
            sleeve_log=skin if rng.random() < 0.6 else shirt,
            room_log=skin - rng.uniform(0.8, 1.6) if rng.random() < 0.6 else skin + rng.uniform(0.6, 1.0),
            room_texture_log=rng.uniform(0.1, 0.25),
            shirt_texture_log=rng.uniform(0.2, 0.5),
            stripe_log=rng.uniform(0.1, 0.35),
            stripe_px=rng.uniform(5, 9),
            light_log=rng.uniform(0.15, 0.4),
        )


@dataclass(frozen=True)
class Layers:
    """The slow part of the scene, each ``(H + 2 MARGIN_PX, W + 2 MARGIN_PX)`` float32.

    Attributes:
        room: log intensity of the background.
        body: log intensity of torso and head.
        cover: 1 where the body hides the room, 0 where not, between at its edge.
    """

    room: np.ndarray
    body: np.ndarray
    cover: np.ndarray

    @staticmethod
    def draw(person: Person, sensor: tuple[int, int], rng: np.random.Generator) -> Layers:
        """Room with a horizontal edge and a vertical one; torso, neck, head with hair and eyes."""
        unit = min(sensor) / 128
        y, x = np.ogrid[-MARGIN_PX : sensor[0] + MARGIN_PX, -MARGIN_PX : sensor[1] + MARGIN_PX]
        x = (x - sensor[1] / 2) / unit + 64 - person.centre_x_px
        y = (y - sensor[0] / 2) / unit + 64 - person.shoulder_y_px
        shape = (y.shape[0], x.shape[1])
        room = person.room_log + person.room_texture_log * _texture(shape, 14, rng)
        room = room + rng.uniform(0.1, 0.3) * _edge(y - rng.uniform(38, 52))
        room = room - rng.uniform(0.1, 0.3) * _edge(x - rng.choice([-1, 1]) * rng.uniform(40, 55))
        torso = np.minimum(_edge(person.half_shoulder_px + 0.06 * y - np.abs(x)), _edge(y + 3 - 0.12 * np.abs(x)))
        neck = np.minimum(_edge(4.5 - np.abs(x)), _edge(y + 12) * _edge(3 - y))
        head = _edge(9 - np.hypot(x, (y + 21) * 0.75))
        body = person.shirt_log + person.shirt_texture_log * _texture(shape, 5, rng)
        body = body - 0.3 * _edge(1.2 - np.abs(x))
        skin = np.maximum(head, neck)
        body = body + skin * (person.skin_log + 0.02 * x - body)
        body = body - 0.6 * head * _edge(-26 - y)
        eyes = _edge(2 - np.hypot(np.abs(x) - 3.5, y + 22)) + _edge(3 - np.hypot(x, (y + 14) * 2))
        body = body - 0.4 * eyes
        cover = np.maximum(torso, skin)
        return Layers(room.astype(np.float32), body.astype(np.float32), cover.astype(np.float32))


class Scene(NamedTuple):
    """All that `film` shows; a named tuple because numba takes it as it is. Lengths in pixels of the sensor.

    Attributes:
        room: of `Layers`.
        body: of `Layers`.
        cover: of `Layers`.
        sway: ``(F + SLOW_FRAMES, 5)`` float64: room dx, dy, body dx, dy, light in log units.
        joints: ``(F, 2, 4, 2)`` float64: arm; shoulder, elbow, wrist, fingertip; x and y.
        radii: ``(4,)`` at the joints.
        surface: ``(3, 4)`` per capsule: log reflectance, stripe amplitude, stripes per pixel along and across.
        light_log: log intensity of the side that faces the lamp at the upper left, against the middle.
    """

    room: np.ndarray
    body: np.ndarray
    cover: np.ndarray
    sway: np.ndarray
    joints: np.ndarray
    radii: np.ndarray
    surface: np.ndarray
    light_log: float


def _edge(inside_px: np.ndarray) -> np.ndarray:
    """Coverage of a pixel that lies ``inside_px`` within an outline."""
    covered: np.ndarray = np.clip(inside_px + 0.5, 0.0, 1.0)
    return covered


def _texture(shape: tuple[int, int], grain_px: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance at its nodes, ``grain_px`` apart, interpolated bilinearly."""
    nodes = rng.standard_normal((shape[0] // grain_px + 2, shape[1] // grain_px + 2))
    for axis, length in enumerate(shape):
        place = np.arange(length) / grain_px
        low = place.astype(int)
        part = (place - low).reshape((-1, 1) if axis == 0 else (1, -1))
        nodes = nodes.take(low, axis) * (1 - part) + nodes.take(low + 1, axis) * part
    return nodes


@compiled()
def _compose(out: np.ndarray, room: np.ndarray, body: np.ndarray, cover: np.ndarray, sway: np.ndarray) -> None:
    """Slow layers moved by ``sway`` of one time (see `Scene`) into ``out``."""
    room_x, room_y = int(np.floor(MARGIN_PX - sway[0])), int(np.floor(MARGIN_PX - sway[1]))
    body_x, body_y = int(np.floor(MARGIN_PX - sway[2])), int(np.floor(MARGIN_PX - sway[3]))
    room_u, room_v = MARGIN_PX - sway[0] - room_x, MARGIN_PX - sway[1] - room_y
    body_u, body_v = MARGIN_PX - sway[2] - body_x, MARGIN_PX - sway[3] - body_y
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            covered = _sample(cover, y + body_y, x + body_x, body_v, body_u)
            value = 0.0
            if covered < 1:
                value = (1 - covered) * _sample(room, y + room_y, x + room_x, room_v, room_u)
            if covered > 0:
                value += covered * _sample(body, y + body_y, x + body_x, body_v, body_u)
            out[y, x] = value + sway[4]


@compiled()
def _sample(layer: np.ndarray, y: int, x: int, v: float, u: float) -> float:
    top = layer[y, x] * (1 - u) + layer[y, x + 1] * u
    below = layer[y + 1, x] * (1 - u) + layer[y + 1, x + 1] * u
    return float(top * (1 - v) + below * v)


@compiled()
def _paint(frame: np.ndarray, joints: np.ndarray, radii: np.ndarray, surface: np.ndarray, light: float) -> None:
    """Capsules of both arms at one time over ``frame``; the other arguments as in `Scene`."""
    height, width = frame.shape
    for arm in range(2):
        for part in range(3):
            ax, ay = joints[arm, part, 0], joints[arm, part, 1]
            dx, dy = joints[arm, part + 1, 0] - ax, joints[arm, part + 1, 1] - ay
            squared = max(dx * dx + dy * dy, 1e-6)
            length = np.sqrt(squared)
            r0, r1 = radii[part], radii[part + 1]
            pad = max(r0, r1) + 1
            shade, stripe, along, across = surface[part]
            for y in range(max(0, int(min(ay, ay + dy) - pad)), min(height, int(max(ay, ay + dy) + pad) + 2)):
                for x in range(max(0, int(min(ax, ax + dx) - pad)), min(width, int(max(ax, ax + dx) + pad) + 2)):
                    px, py = x - ax, y - ay
                    h = min(max((px * dx + py * dy) / squared, 0.0), 1.0)
                    ox, oy = px - h * dx, py - h * dy
                    radius = r0 + h * (r1 - r0)
                    far = ox * ox + oy * oy
                    if far >= (radius + 0.5) ** 2:
                        continue
                    far = np.sqrt(far)
                    covered = min(radius + 0.5 - far, 1.0)
                    turn = (px * dy - py * dx) / length
                    # a triangle wave: cloth folds along the limb, fingers across the hand
                    wave = 4 * abs((h * length * along + turn * across) % 1.0 - 0.5) - 1
                    value = shade + stripe * wave - light * 0.7 * (ox + oy) / radius
                    frame[y, x] += covered * (value - frame[y, x])


@compiled()
def first_frame(scene: Scene) -> np.ndarray:
    """Log intensity ``(H, W)`` at time 0."""
    frame = np.empty((scene.room.shape[0] - 2 * MARGIN_PX, scene.room.shape[1] - 2 * MARGIN_PX), np.float32)
    _compose(frame, scene.room, scene.body, scene.cover, scene.sway[0])
    _paint(frame, scene.joints[0], scene.radii, scene.surface, scene.light_log)
    return frame


@compiled()
def film(state: PixelState, scene: Scene, frame_us: int, refractory_us: float) -> np.ndarray:
    """Let pixels that have seen `first_frame` watch the scene; their events, packed as in `pixels.advance`."""
    joints, radii = scene.joints, scene.radii
    height, width = state.on.shape
    frame = np.empty((height, width), np.float32)
    base_next = np.empty((height, width), np.float32)
    base = np.empty((height, width), np.float32)
    _compose(base_next, scene.room, scene.body, scene.cover, scene.sway[0])
    keys, n = np.empty(65536, np.int64), 0
    frames = len(joints)
    for step in range(1, frames):
        phase = (step - 1) % SLOW_FRAMES
        if phase == 0:
            base, base_next = base_next, base
            _compose(base_next, scene.room, scene.body, scene.cover, scene.sway[step - 1 + SLOW_FRAMES])
        if phase == SLOW_FRAMES - 1 or step == frames - 1:
            box = (0, height, 0, width)
        else:
            # pixels that an arm has just left see the room again; those that it will reach next get a sample of
            # now, or its arrival would be spread over all the time since their last one
            box = _box(joints[step - 1 : step + 2], radii, height, width)
        part = np.float32((phase + 1) / SLOW_FRAMES)
        for y in range(box[0], box[1]):
            for x in range(box[2], box[3]):
                frame[y, x] = base[y, x] + part * (base_next[y, x] - base[y, x])
        _paint(frame, joints[step], radii, scene.surface, scene.light_log)
        keys, n = advance(state, frame, box, float(step * frame_us), refractory_us, keys, n)
    return keys[:n].copy()


@compiled()
def _box(joints: np.ndarray, radii: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Rows and columns that the arms can touch in any of the frames of ``joints (F, 2, 4, 2)``.

    Its area is 0 where they are all out of the image.
    """
    pad = radii.max() + 2
    y0 = min(max(int(joints[..., 1].min() - pad), 0), height)
    y1 = min(max(int(joints[..., 1].max() + pad) + 2, 0), height)
    x0 = min(max(int(joints[..., 0].min() - pad), 0), width)
    x1 = min(max(int(joints[..., 0].max() + pad) + 2, 0), width)
    return y0, y1, x0, x1
