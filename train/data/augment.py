# SPDX-License-Identifier: Apache-2.0
"""What is done to training clips so that no two epochs see the same: shifts of a batch, and two ways with raw events.

The geometric way turns, scales, shears and moves each recording about the middle of its sensor. With ``(x, y)`` from
there, all events of a clip go through one matrix::

    R(a) [[1 + sx, h], [0, 1 + sy]]      a within 10 degrees; sx, sy and h within 0.12; moved within 1/16 of each side

each drawn evenly. An event is first put at a random place within its pixel, so that no pattern of empty and doubled
rows comes of the rounding. What leaves the sensor is left out; a clip of which nothing would be left stays whole.

EventDrop takes one of four ways, each as likely as the others: nothing; leave out the events of a stretch of time
(0.1 to 0.9 of the clip, in tenths, from anywhere in it and cut at its end); those of an area (0.05 to 0.25 of each
side of the sensor, in twentieths, its middle anywhere and cut at the borders); or 0.1 to 0.9 of all events, drawn at
random. A clip of which nothing would be left stays whole. Source: Gu et al., "EventDrop: data augmentation for
event-based learning" (IJCAI 2021).

The published code of the paper (BICLab/ASA-SNN, ``datasets/event_drop.py``) differs where it is wrong: it takes y and
polarity for x and y on a sensor a quarter as large, drops a cross instead of a rectangle, draws areas up to 0.95 of a
side, and leaves the events that a random drop keeps out of order, so that the bins which are then searched for by
time miss most of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spikefold.event_dtype import read_only
from spikefold.train.data import event_loops
from spikefold.train.processes.parallel import ALONE, Ranks

_TURN = np.pi / 18
_SCALE, _SHEAR = 0.12, 0.12
_MOVE = 1 / 16
"""Largest of each change of `geometric`: radians, shares of a length, and a share of the sensor's side."""


def shifted(frames: torch.Tensor, most: int, ranks: Ranks = ALONE) -> torch.Tensor:
    """The batch ``(T, N, C, H, W)`` moved by a random number of pixels, the same on all ranks; zeros moved in."""
    if most == 0:
        return frames
    down, right = (int(v) for v in ranks.agreed(torch.randint(-most, most + 1, (2,))))
    height, width = frames.shape[3:]
    padded = torch.nn.functional.pad(frames.flatten(0, 1), (most, most, most, most))
    moved = padded[:, :, most - down : most - down + height, most - right : most - right + width]
    return moved.reshape(frames.shape)


@dataclass(frozen=True, eq=False)
class Change:
    """What is drawn for one clip.

    Attributes:
        within: where in its pixel each event lies, ``(N,)`` uint32: the column in the lower 16 bits, 2**16 of them a
            pixel, the row in the upper ones.
        matrix: ``(2, 2)``, applied to places ``(x, y)`` counted from the middle of the sensor.
        offset: ``(2,)``, what is added then: from there to the corner of the sensor, and the move.
        sides: ``(2,)`` width and height of the sensor in pixels.
    """

    within: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray
    sides: np.ndarray


def geometric_change(events: int, sensor: tuple[int, int], rng: np.random.Generator) -> Change:
    """Draw how a clip of so many events is turned, scaled, sheared and moved, on a sensor ``(H, W)`` in pixels."""
    turn = rng.uniform(-_TURN, _TURN)
    wider, higher = 1 + rng.uniform(-_SCALE, _SCALE, 2)
    shear = rng.uniform(-_SHEAR, _SHEAR)
    sides = np.array([sensor[1], sensor[0]])
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = turned @ np.array([[wider, shear], [0.0, higher]])
    moved = rng.uniform(-_MOVE, _MOVE, 2) * sides + sides / 2
    # rng.integers(2**32, ..., dtype=np.uint32) takes the same bits, twice as slowly
    within = rng.bit_generator.random_raw((events + 1) // 2).astype("<u8", copy=False).view("<u4")[:events]
    return Change(within, matrix, moved, sides.astype(np.float64))


def geometric(events: np.ndarray, sensor: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The events of a clip, turned, scaled, sheared and moved as one, in their order.

    Args:
        events: structured array of `EVENT_DTYPE`.
        sensor: ``(H, W)`` in pixels.
        rng: draws everything.
    """
    return moved(events, geometric_change(len(events), sensor, rng))


def moved(events: np.ndarray, change: Change) -> np.ndarray:
    """The events of a clip where a change puts them, in their order; as they are where none would be left."""
    found = np.empty(len(events), events.dtype)
    parts = change.within, change.matrix, change.offset, change.sides
    count = event_loops.moved(read_only(events), *parts, found)
    return found[:count] if count else events


def event_drop(events: np.ndarray, sensor: tuple[int, int], clip_us: int, rng: np.random.Generator) -> np.ndarray:
    """What is left of the events of a clip, in their order.

    Args:
        events: structured array of `EVENT_DTYPE` with times from the start of the clip.
        sensor: ``(H, W)`` in pixels.
        clip_us: length of the clip in microseconds.
        rng: draws everything.
    """
    match int(rng.integers(4)):
        case 0:
            return events
        case 1:
            keep = _outside_a_time(events, clip_us, rng)
        case 2:
            keep = _outside_an_area(events, sensor, rng)
        case _:
            keep = _some(len(events), rng)
    return events[keep] if keep.any() else events


def _outside_a_time(events: np.ndarray, clip_us: int, rng: np.random.Generator) -> np.ndarray:
    length_us = rng.integers(1, 10) / 10 * clip_us
    start_us = rng.uniform(0, clip_us)
    return (events["t"] < start_us) | (events["t"] >= start_us + length_us)


def _outside_an_area(events: np.ndarray, sensor: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    share = rng.integers(1, 6) / 20
    inside = np.ones(len(events), bool)
    for key, side in (("y", sensor[0]), ("x", sensor[1])):
        middle = rng.uniform(0, side)
        inside &= np.abs(events[key] + 0.5 - middle) < share * side / 2
    return ~inside


def _some(count: int, rng: np.random.Generator) -> np.ndarray:
    dropped = int(count * (rng.integers(1, 10) / 10))
    keep = np.ones(count, bool)
    keep[rng.choice(count, dropped, replace=False)] = False
    return keep
