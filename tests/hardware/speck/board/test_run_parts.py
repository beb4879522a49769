# SPDX-License-Identifier: Apache-2.0
"""The parts of a run on a board: what is refused before it, events and rasters, the measure and its classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import (
    ConfigError,
    DataError,
    UnsupportedError,
)
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import Conv2d
from spikefold.hardware.speck.board.clips import CLIP_DTYPE, events_of, reading
from spikefold.hardware.speck.board.compare import (
    Agreement,
    classify,
    spike_difference,
    worst,
)
from spikefold.hardware.speck.board.open_board import SPIKE_DTYPE
from spikefold.hardware.speck.board.options import DeviceOptions
from spikefold.hardware.speck.lowering.configuration import configuration
from tests.hardware.speck.board.devkit_cases import DT_US, ONCE, PLACES, QUICK, clips, network, refusal, run
from tests.hardware.speck.board.samna_chip import Board, Faults, Time

# ---- the measure --------------------------------------------------------------------------------------------


def test_the_spike_difference_by_hand() -> None:
    a, b = np.zeros((3, 1, 2, 1, 1), np.uint16), np.zeros((3, 1, 2, 1, 1), np.uint32)
    a[:, 0, 0], b[0, 0, 0], b[2, 0, 1] = 1, 3, 1  # counts 3, 0 against 3, 1
    assert spike_difference(a, b) == 1 / 3
    assert spike_difference(b, a) == 1 / 4
    assert spike_difference(a * 0, b) is None


@pytest.mark.parametrize(
    ("difference", "wanted"),
    [
        (0.0, Agreement.IDENTICAL),
        (1e-9, Agreement.CHIP_NOISE),
        (0.0281, Agreement.CHIP_NOISE),
        (0.02811, Agreement.SIMULATOR_GAP),
        (0.0392, Agreement.SIMULATOR_GAP),
        (0.03921, Agreement.BEYOND),
        (7.0, Agreement.BEYOND),
        (None, Agreement.NOTHING),
    ],
)
def test_the_classes_at_their_bounds(difference: float | None, wanted: Agreement) -> None:
    assert classify(difference) is wanted


def test_the_worst_class_wins() -> None:
    assert worst([Agreement.IDENTICAL, Agreement.BEYOND, Agreement.CHIP_NOISE]) is Agreement.BEYOND
    assert worst([Agreement.BEYOND, Agreement.NOTHING]) is Agreement.NOTHING
    assert worst([]) is Agreement.NOTHING


def test_a_silent_layer_is_nothing_compared() -> None:
    quiet = clips(network().input)[0][:2]
    done, _, _ = run(clips=[quiet], options=ONCE)
    assert done.layers[-1].spikes_simulated == 0
    assert done.agreement is Agreement.NOTHING
    assert done.layers[-1].differences == (None,)


# ---- events and rasters -------------------------------------------------------------------------------------


def test_frames_become_events_and_back() -> None:
    compared = 0

    @settings(max_examples=60, derandomize=True)
    @given(st.integers(0, 2**32), st.integers(1, 50_000))
    def compare(seed: int, dt_us: int) -> None:
        nonlocal compared
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(1, 5, 3))
        frames = rng.integers(0, 4, (int(rng.integers(1, 5)), *shape))
        events = events_of(frames, dt_us)
        assert (np.diff(events["t"]) >= 0).all()
        # the order within a bin is the simulator's: y, x, channel
        key = ((events["t"] // dt_us * shape[1] + events["y"]) * shape[2] + events["x"]) * shape[0] + events["p"]
        assert (np.diff(key) >= 0).all()
        assert ((events["t"] % dt_us) >= dt_us // 8).all()
        assert ((events["t"] % dt_us) * 8 <= dt_us * 7).all()
        spikes = np.zeros(len(events), SPIKE_DTYPE)
        spikes["t"], spikes["core"] = events["t"] + 700, 4
        spikes["c"], spikes["y"], spikes["x"] = events["p"], events["y"], events["x"]
        found = reading(spikes, 4, shape, len(frames), dt_us, 700)
        np.testing.assert_array_equal(found.raster, frames)
        assert (found.early, found.late, found.outside) == (0, 0, 0)
        assert not reading(spikes, 3, shape, len(frames), dt_us, 700).raster.any()
        compared += len(events)

    compare()
    assert compared > 2000


def test_strays_are_counted_in_the_outer_bins() -> None:
    rows = [
        (99, 1, 0, 0, 0),
        (100, 1, 0, 0, 0),
        (119, 1, 0, 0, 1),
        (120, 1, 0, 0, 1),
        (105, 1, 1, 0, 0),
        (105, 1, 0, 0, -1),
    ]
    found = reading(np.array(rows, SPIKE_DTYPE), 1, (1, 1, 2), 2, 10, 100)
    assert (found.early, found.late, found.outside) == (1, 1, 2)
    assert found.raster.reshape(2, 2).tolist() == [[2, 0], [0, 2]]


# ---- refusals before a board is touched ---------------------------------------------------------------------


def _event(**changes: int) -> np.ndarray:
    clip = clips(network().input)[0].copy()
    for name, value in changes.items():
        clip[name][3] = value
    return clip


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (np.empty(0, CLIP_DTYPE), "a clip has events"),
        (_event(x=10), "x lies in the input: got 0..10, limit 0..9"),
        (_event(y=4), "y lies in the input"),
        (_event(p=2), "p lies in the input"),
        (_event(p=-1), "p lies in the input: got -1..1"),
        (clips(network().input)[0][::-1], "time runs forward"),
        (np.concatenate([_event(), np.array([(60_000, 0, 0, 0)], CLIP_DTYPE)]), "t lies in the input"),
    ],
)
def test_clips_that_cannot_be_sent(clip: np.ndarray, said: str) -> None:
    board = Board(Time(), Faults())
    good = clips(network().input)[0]
    error = refusal(DataError, clips=[good, clip], board=board)
    assert said in str(error)
    assert error.issues[0].where == "clip 1"
    assert board.log == []  # nothing was sent


EMPTY = {"cnn_layers": [{"weights": []}], "dvs_layer": {"pass_sensor_events": False}}


def _changed(path: list[Any], value: Any) -> dict[str, Any]:
    made = configuration(network(), PLACES, "speck2fdevkit")
    place: Any = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"configuration": {"cnn_layers": 3}}, "no configuration of a Speck"),
        ({"configuration": EMPTY}, "uses no core"),
        ({"configuration": _changed(["cnn_layers", 7, "weights", 0, 0, 1, 2], 99)}, "configuration.cores.7.weights"),
        ({"configuration": _changed(["cnn_layers", 8, "threshold_high"], 61)}, "cores.8.threshold_high: the "),
        ({"configuration": _changed(["cnn_layers", 5, "destinations", 0, "layer"], 7)}, "cores.5.destinations"),
        ({"configuration": _changed(["cnn_layers", 5, "output_decimator_enable"], True)}, "output_decimator_enable"),
        ({"configuration": _changed(["dvs_layer", "pass_sensor_events"], True)}, "pass_sensor_events"),
        ({"configuration": _changed(["cnn_layers", 0, "weights"], [[[[1]]]])}, "cores.0: "),
        ({"placement": PLACES | {"n3": 6}}, "configuration.cores.6"),
        ({"placement": {"n1": 7, "n2": 5}}, "n3: "),
        ({"options": replace(QUICK, layers=("n4",))}, "no spiking layers ['n4']"),
        ({"target": "speck3:0"}, "unknown board 'speck3'"),
        ({"target": "speck2fdevkit:x"}, "'x' is no index"),
    ],
)
def test_what_does_not_belong_together(changes: dict[str, Any], said: str) -> None:
    board = Board(Time(), Faults())
    given = {"configuration": configuration(network(), PLACES, "speck2fdevkit")} | changes
    assert said in str(refusal(ConfigError, **given, board=board))
    assert board.log == []


def test_no_clips_three_polarities_and_a_leak_are_refused() -> None:
    assert "no clips" in str(refusal(DataError, clips=[]))
    fire = Neuron(np.array(10), reset=Reset.SUBTRACT, v_min=-200, max_spikes=None)
    layers = (Layer("w", Conv2d(np.ones((1, 3, 2, 2), np.int64))), Layer("n", fire))
    wide = Network(InputSpec((3, 2, 2), DT_US, 2), layers, 1)
    assert "3 channels" in str(refusal(DataError, net=wide, placement={"n": 8}, clips=[np.zeros(1, CLIP_DTYPE)]))
    leaky = replace(wide, layers=(layers[0], Layer("n", replace(fire, leak=Leak(1, 1)))))
    assert "leak: got leak" in str(refusal(UnsupportedError, network=leaky, configuration={}, placement={"n": 8}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"repeats": 0},
        {"delay_us": -1},
        {"poll_s": 0.0},
        {"quiet_s": 0.0},
        {"timeout_s": 0.1, "quiet_s": 0.5},
        {"settle_s": -1.0},
        {"idle_s": float("nan")},
        {"power_rate_hz": 101.0},
        {"power_rate_hz": 0.0},
    ],
)
def test_options_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DeviceOptions(**wrong)
