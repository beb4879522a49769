# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import ConfigError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.synthetic.pixels import PixelModel, advance, emulate, start_state

QUIET = PixelModel(
    threshold=0.25,
    threshold_mismatch=0.0,
    refractory_us=0,
    leak_rate_hz=0.0,
    shot_rate_hz=0.0,
    hot_share=0.0,
    reference_spread=0.0,
)
"""No noise, no mismatch, no dead time, references on the first frame; 0.25 is exact in binary."""


def _quiet(**changes: float) -> PixelModel:
    return PixelModel(**{**vars(QUIET), **changes})


def _ramp(height: float) -> np.ndarray:
    """Two frames of 2x3 pixels; pixel (1, 2) alone rises by ``height``."""
    frames = np.zeros((2, 2, 3))
    frames[1, 1, 2] = height
    return frames


def test_step_of_three_and_a_half_thresholds_gives_three_on_events_at_their_crossings() -> None:
    events = emulate(_ramp(3.5 * 0.25), 7000, QUIET, np.random.default_rng(0))
    assert events.dtype == EVENT_DTYPE
    # 7000 us for 3.5 thresholds: one threshold every 2000 us
    assert events["t"].tolist() == [2000, 4000, 6000]
    assert events["x"].tolist() == [2, 2, 2]
    assert events["y"].tolist() == [1, 1, 1]
    assert events["p"].tolist() == [1, 1, 1]


def test_falling_step_gives_off_events() -> None:
    events = emulate(_ramp(-2.5 * 0.25), 5000, QUIET, np.random.default_rng(0))
    assert events["t"].tolist() == [2000, 4000]
    assert events["p"].tolist() == [0, 0]


def test_on_and_off_thresholds_are_kept_apart() -> None:
    """ON at 0.25, OFF at 0.5: up by 1.1 is four ON; back down by 1.2 from there is two OFF."""
    state = start_state(np.zeros((1, 1), np.float32), QUIET, np.random.default_rng(0))
    state.off[:] = 0.5
    keys, n = np.empty(0, np.int64), 0
    for step, level in enumerate((1.1, -0.1), 1):
        frame = np.full((1, 1), level, np.float32)
        keys, n = advance(state, frame, (0, 1, 0, 1), 1000.0 * step, 0.0, keys, n)
    assert (keys[:n] & 1).tolist() == [1, 1, 1, 1, 0, 0]


def test_memory_bridges_frames() -> None:
    """Four steps of 0.3 thresholds: the one event falls where the sum passes 1, in the fourth."""
    frames = np.zeros((5, 2, 3))
    frames[:, 1, 2] = 0.3 * 0.25 * np.arange(5)
    events = emulate(frames, 1000, QUIET, np.random.default_rng(0))
    # the third frame ends at 0.9 thresholds, so a third of the fourth step is needed
    assert events["t"].tolist() == pytest.approx([3333], abs=1)


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(0, 40), sign=st.sampled_from([-1, 1]), frames=st.integers(1, 5))
def test_any_ramp_gives_one_event_per_threshold(steps: int, sign: int, frames: int) -> None:
    film = np.linspace(0, sign * (steps + 0.5) * 0.25, frames + 1)[:, None, None] * np.ones((1, 2, 3))
    events = emulate(film, 1000, QUIET, np.random.default_rng(0))
    assert len(events) == 6 * steps
    assert (events["p"] == (sign > 0)).all()


def test_refractory_pixel_wakes_up_with_the_intensity_of_that_moment() -> None:
    """Ramp of a threshold per 1000 us, 2500 us in reset: an event every 1000 + 2500 us."""
    film = np.linspace(0, 10 * 0.25, 11)[:, None, None] * np.ones((1, 1, 1))
    events = emulate(film, 1000, _quiet(refractory_us=2500), np.random.default_rng(0))
    assert events["t"].tolist() == pytest.approx([1000, 4500, 8000], abs=1)


@settings(max_examples=20, deadline=None)
@given(refractory_us=st.integers(1, 20_000), seed=st.integers(0, 100))
def test_no_two_signal_events_of_a_pixel_within_the_refractory_period(refractory_us: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    film = np.cumsum(rng.normal(0, 0.6, (30, 3, 4)), 0)
    model = _quiet(refractory_us=refractory_us, threshold_mismatch=0.03, reference_spread=1.0)
    events = emulate(film, 1000, model, rng)
    assert len(events) > 0
    for pixel in range(12):
        mine = events["t"][events["y"] * 4 + events["x"] == pixel].astype(np.int64)
        # both time stamps are cut to whole microseconds
        assert (np.diff(mine) >= refractory_us - 1).all()


def test_static_scene_without_noise_is_silent() -> None:
    film = np.repeat(np.random.default_rng(1).normal(size=(1, 16, 16)), 20, 0)
    model = _quiet(threshold_mismatch=0.03, refractory_us=300, reference_spread=1.0)
    assert len(emulate(film, 1000, model, np.random.default_rng(0))) == 0


def test_pixels_left_out_of_the_box_are_interpolated_later() -> None:
    """The same ramp in one long step or in ten short ones: the same events, to a microsecond."""
    target = np.full((4, 4), 3.5 * 0.25, np.float32)
    whole = start_state(np.zeros((4, 4), np.float32), QUIET, np.random.default_rng(0))
    once, count = advance(whole, target, (0, 4, 0, 4), 7000.0, 0.0, np.empty(0, np.int64), 0)
    parts = start_state(np.zeros((4, 4), np.float32), QUIET, np.random.default_rng(0))
    keys, n = np.empty(0, np.int64), 0
    for step in range(1, 11):
        box = (0, 4, 0, 4) if step == 10 else (1, 3, 0, 2)
        frame = (target * (step / 10)).astype(np.float32)
        keys, n = advance(parts, frame, box, 700.0 * step, 0.0, keys, n)
    assert count == n == 16 * 3
    once, keys = np.sort(once[:count]), np.sort(keys[:n])
    assert np.abs((once >> 31) - (keys >> 31)).max() <= 1
    # once sorted by address, the addresses and polarities have to agree
    assert np.array_equal(np.sort(once & 0x7FFFFFFF), np.sort(keys & 0x7FFFFFFF))


@pytest.mark.parametrize(
    ("changes", "rate_hz", "on_share"),
    [
        ({"leak_rate_hz": 2.0}, 2.0, 1.0),
        ({"shot_rate_hz": 3.0}, 3.0, 0.5),
        ({"hot_share": 0.1, "hot_rate_hz": 40.0}, 4.0, 1.0),
        ({"leak_rate_hz": 1.0, "shot_rate_hz": 3.0}, 4.0, 0.625),
    ],
)
def test_noise_rates_as_configured(changes: dict[str, float], rate_hz: float, on_share: float) -> None:
    """A dark second on 100x100 pixels: 10^4 pixel seconds, so 2 Hz are 20000 events, with a deviation of 141."""
    events = emulate(np.zeros((2, 100, 100)), 1_000_000, _quiet(**changes), np.random.default_rng(3))
    # the number of hot pixels varies by 3 % by itself
    assert len(events) / 1e4 == pytest.approx(rate_hz, rel=0.1 if "hot_share" in changes else 0.03)
    assert events["p"].mean() == pytest.approx(on_share, abs=0.02)
    assert (np.diff(events["t"].astype(np.int64)) >= 0).all()


def test_noise_spread_concentrates_noise_in_few_pixels() -> None:
    shares = []
    for spread in (0.0, 1.5):
        model = _quiet(shot_rate_hz=5.0, noise_spread=spread)
        events = emulate(np.zeros((2, 64, 64)), 1_000_000, model, np.random.default_rng(3))
        counts = np.sort(np.bincount(events["y"].astype(int) * 64 + events["x"], minlength=4096))
        shares.append(counts[-41:].sum() / counts.sum())
    # Poisson of mean 5: the busiest percent holds about 2.4 %; log-normal of 1.5: about 20 %
    assert shares[0] < 0.04
    assert shares[1] > 0.12


def test_double_reads_follow_their_event_by_a_microsecond() -> None:
    film = np.linspace(0, 20.5 * 0.25, 3)[:, None, None] * np.ones((1, 20, 20))
    events = emulate(film, 50_000, _quiet(double_read_share=0.25), np.random.default_rng(0))
    assert len(events) == pytest.approx(1.25 * 8000, rel=0.02)
    times = events["t"][(events["x"] == 3) & (events["y"] == 3)].astype(np.int64)
    gaps = np.diff(times)
    assert set(gaps[gaps < 1000].tolist()) == {1}


def test_thresholds_vary_as_configured() -> None:
    state = start_state(np.zeros((200, 200), np.float32), PixelModel(), np.random.default_rng(0))
    for side in (state.on, state.off):
        assert side.mean() == pytest.approx(0.2, abs=0.001)
        assert side.std() == pytest.approx(0.03, abs=0.001)
    assert abs(np.corrcoef(state.on.ravel(), state.off.ravel())[0, 1]) < 0.03
    # spread references: none has crossed already
    assert (state.log_last - state.reference < state.on).all()
    assert (state.reference - state.log_last <= state.off).all()


@pytest.mark.parametrize("changes", [{"threshold": 0.0}, {"shot_rate_hz": -1.0}, {"leak_rate_hz": float("nan")}])
def test_impossible_constants_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        PixelModel(**changes)
