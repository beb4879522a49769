# SPDX-License-Identifier: Apache-2.0
"""The pixel of an event camera: log intensity in, ON and OFF events out, with the noise of a real one.

Between two samples of the log intensity each pixel is interpolated linearly, so that an event carries the
microsecond of its threshold crossing and not that of a frame. The model follows v2e (Hu, Liu and Delbruck, CVPR
Workshops 2021) in its thresholds, leak and shot noise, and Lichtsteiner, Posch and Delbruck (IEEE JSSC 2008) in
its refractory reset: during the refractory period the pixel is held in reset, so it wakes up with the log
intensity of that moment as its reference. Left out: the finite bandwidth of the photoreceptor, arbitration delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spikefold.compiled import compiled
from spikefold.errors import ConfigError
from spikefold.event_dtype import EVENT_DTYPE


@dataclass(frozen=True)
class PixelModel:
    """Constants of the sensor, the same for all pixels where not said otherwise.

    Attributes:
        threshold: change of the natural log of intensity that makes an event; v2e uses 0.2.
        threshold_mismatch: standard deviation of the threshold over pixels, ON and OFF apart; v2e uses 0.03.
        refractory_us: time in reset after an event; the DVS128 Gesture recordings show about 400 us.
        leak_rate_hz: spontaneous ON events of one pixel; v2e uses 0.1.
        shot_rate_hz: noise events of one pixel, as many ON as OFF; v2e uses 1 to 5 in the dark, near 0 in light.
        noise_spread: standard deviation of the log of a pixel's noise rate, so that the mean stays as configured.
        hot_share: share of pixels that fire by themselves all the time.
        hot_rate_hz: ON events of one hot pixel.
        double_read_share: share of events that are read out twice, 1 us apart. 0.10 to 0.21 in ten DVS128
            Gesture recordings; no such pairs are made for 0.
        reference_spread: the references at the start are spread over this share of the threshold range; 0 puts
            each on its pixel's first log intensity.
    """

    threshold: float = 0.2
    threshold_mismatch: float = 0.03
    refractory_us: int = 400
    leak_rate_hz: float = 0.1
    shot_rate_hz: float = 0.3
    noise_spread: float = 1.0
    hot_share: float = 0.0005
    hot_rate_hz: float = 30.0
    double_read_share: float = 0.0
    reference_spread: float = 1.0

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ConfigError(f"threshold is {self.threshold}", where="PixelModel", hint="it must be above 0")
        for key, value in vars(self).items():
            if not value >= 0:
                raise ConfigError(f"{key} is {value}", where="PixelModel", hint="it must not be negative")


class PixelState(NamedTuple):
    """What each pixel of an ``(H, W)`` sensor remembers; a named tuple because numba takes it as it is.

    Attributes:
        reference: log intensity memorised at the last reset.
        log_last: log intensity at the last sample.
        t_last_us: time of that sample.
        blind_until_us: end of the refractory period, negative outside of it.
        on: ON threshold.
        off: OFF threshold, positive.
    """

    reference: np.ndarray
    log_last: np.ndarray
    t_last_us: np.ndarray
    blind_until_us: np.ndarray
    on: np.ndarray
    off: np.ndarray


def start_state(log_start: np.ndarray, model: PixelModel, rng: np.random.Generator) -> PixelState:
    """The pixels at time 0, looking at the log intensity ``log_start (H, W)``."""
    shape = log_start.shape
    thresholds = model.threshold + model.threshold_mismatch * rng.standard_normal((2, *shape), np.float32)
    # as in v2e: a threshold near zero would let the pixel fire without end
    on, off = np.maximum(thresholds, 0.2 * model.threshold).astype(np.float32)
    # 0: the log intensity is about to cross the OFF threshold, 1: the ON threshold, at rest: the reference itself
    rest = off / (on + off)
    place = rest + model.reference_spread * (rng.random(shape, np.float32) - rest)
    reference = log_start - (on + off) * place + off
    return PixelState(
        reference.astype(np.float32), log_start.astype(np.float32), np.zeros(shape), np.full(shape, -1.0), on, off
    )


@compiled()
def _crossing_us(level: float, log_start: float, slope: float, start_us: float, end_us: float) -> float:
    """When the line through ``log_start`` reaches ``level``, kept inside the step against rounding."""
    if slope == 0:
        return start_us
    return min(max(start_us + (level - log_start) / slope, start_us), end_us)


@compiled()
def _larger(keys: np.ndarray) -> np.ndarray:
    larger = np.empty(2 * len(keys) + 1024, np.int64)
    larger[: len(keys)] = keys  # np.concatenate does the same, but takes numba a second longer to compile
    return larger


@compiled()
def advance(
    state: PixelState,
    frame: np.ndarray,
    box: tuple[int, int, int, int],
    t_us: float,
    refractory_us: float,
    keys: np.ndarray,
    n: int,
) -> tuple[np.ndarray, int]:
    """Move the pixels of ``box`` (y0, y1, x0, x1; ends open) on to time ``t_us`` and log intensity ``frame``.

    Args:
        state: changed in place.
        frame: log intensity, ``(H, W)`` float32; read inside the box only.
        box: pixels outside of it keep their own last sample, and are interpolated from there later on.
        t_us: time of the frame, after the last sample of all pixels in the box.
        refractory_us: time in reset after an event.
        keys: events so far, packed by ``t << 31 | y << 16 | x << 1 | p`` so that sorting them sorts by time.
        n: how many of ``keys`` are in use.

    Returns:
        ``keys``, a larger copy where it was full, and the new ``n``.
    """
    for y in range(box[0], box[1]):
        for x in range(box[2], box[3]):
            log_now = frame[y, x]
            start_us = state.t_last_us[y, x]
            log_start = state.log_last[y, x]
            state.t_last_us[y, x] = t_us
            state.log_last[y, x] = log_now
            slope = (log_now - log_start) / (t_us - start_us)
            reference = state.reference[y, x]
            blind_us = state.blind_until_us[y, x]
            while True:
                if blind_us >= 0:
                    if blind_us >= t_us:
                        break
                    if refractory_us > 0:
                        reference = np.float32(log_start + slope * (blind_us - start_us))
                    blind_us = -1.0
                if log_now - reference >= state.on[y, x]:
                    reference = reference + state.on[y, x]
                    polarity = 1
                elif reference - log_now >= state.off[y, x]:
                    reference = reference - state.off[y, x]
                    polarity = 0
                else:
                    break
                event_us = _crossing_us(reference, log_start, slope, start_us, t_us)
                blind_us = event_us + refractory_us
                if n == len(keys):
                    keys = _larger(keys)
                keys[n] = (np.int64(event_us) << 31) | (y << 16) | (x << 1) | polarity
                n += 1
            state.reference[y, x] = reference
            state.blind_until_us[y, x] = blind_us
    return keys, n


def emulate(frames: np.ndarray, frame_us: int, model: PixelModel, rng: np.random.Generator) -> np.ndarray:
    """Events of a film ``frames (F, H, W)`` in log intensity, ``frame_us`` apart, as sorted `EVENT_DTYPE`."""
    frames = np.ascontiguousarray(frames, np.float32)
    height, width = frames.shape[1:]
    state = start_state(frames[0], model, rng)
    keys, n = np.empty(0, np.int64), 0
    for step in range(1, len(frames)):
        t_us = float(step * frame_us)
        box = (0, height, 0, width)
        keys, n = advance(state, frames[step], box, t_us, float(model.refractory_us), keys, n)
    return finish(keys[:n], (height, width), (len(frames) - 1) * frame_us, model, rng)


def finish(
    keys: np.ndarray, sensor: tuple[int, int], duration_us: int, model: PixelModel, rng: np.random.Generator
) -> np.ndarray:
    """Packed signal events of `advance`, with double reads and noise added, as sorted `EVENT_DTYPE`."""
    twice = keys[rng.random(len(keys)) < model.double_read_share]
    noise = noise_keys(sensor, duration_us, model, rng)
    # np.sort of the packed value leaves no tie to the sorting algorithm, which differs between processors
    merged = np.sort(np.concatenate([keys, twice + (1 << 31), noise]))
    events = np.empty(len(merged), EVENT_DTYPE)
    events["t"], events["p"] = merged >> 31, merged & 1
    events["y"], events["x"] = (merged >> 16) & 0x7FFF, (merged >> 1) & 0x7FFF
    return events


def noise_keys(sensor: tuple[int, int], duration_us: int, model: PixelModel, rng: np.random.Generator) -> np.ndarray:
    """Leak, shot and hot-pixel events as Poisson point sets, packed as in `advance`, unsorted.

    They do not reset the pixel's reference: at fewer than one noise event a second that changes little.
    """
    size, seconds = sensor[0] * sensor[1], duration_us * 1e-6
    weights = np.exp(model.noise_spread * rng.standard_normal(size))
    edges = np.cumsum(weights) / weights.sum()
    parts = []
    for rate_hz, polarities in ((model.leak_rate_hz, (1, 1)), (model.shot_rate_hz, (0, 1))):
        count = rng.poisson(rate_hz * seconds * size)
        where = np.minimum(np.searchsorted(edges, rng.random(count)), size - 1)
        parts.append((where, rng.choice(np.array(polarities), count)))
    hot = np.flatnonzero(rng.random(size) < model.hot_share)
    where = np.repeat(hot, rng.poisson(model.hot_rate_hz * seconds, len(hot)))
    parts.append((where, np.ones(len(where), np.int64)))
    pixel = np.concatenate([part[0] for part in parts])
    polarity = np.concatenate([part[1] for part in parts])
    t_us = rng.integers(0, max(duration_us, 1), len(pixel))
    y, x = np.divmod(pixel, sensor[1])
    packed: np.ndarray = (t_us << 31) | (y << 16) | (x << 1) | polarity
    return packed
