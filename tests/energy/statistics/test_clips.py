# SPDX-License-Identifier: Apache-2.0
"""The file of single clips: what it holds equals the counts, survives the disk, and says which clips they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.energy.budget import budget, load_profile
from spikefold.energy.counts.count import Counts, count
from spikefold.energy.statistics.clips import NetworkClips, RunClips, identity, load_clips, network_clips, save_clips
from spikefold.errors import DataError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators.trace import LayerTrace, Trace

PROFILE = load_profile("horowitz45-fp32")
ONE = Neuron(np.array(1.0))
RIGHT = np.arange(6) != 2


def _counts(seed: int = 0) -> Counts:
    network = Network(
        InputSpec((2, 6, 6), 1000, 4),
        (
            Layer("conv", Conv2d(np.ones((3, 2, 3, 3)), None, (2, 2), (1, 1))),
            Layer("sn", ONE),
            Layer("fc", Dense(np.ones((5, 27)))),
            Layer("out", ONE),
        ),
        5,
    )
    rng = np.random.default_rng(seed)
    frames = rng.poisson(0.4, (4, 6, 2, 6, 6)).astype(np.uint16)
    rasters = {
        name: (rng.random((4, 6, *shape)) < 0.3).astype(np.uint16)
        for name, shape in (("sn", (3, 3, 3)), ("out", (5, 1, 1)))
    }
    return count(network, frames, Trace("x", {name: LayerTrace(raster) for name, raster in rasters.items()}))


def _price(counts: Counts) -> float:
    return budget(counts, PROFILE).energy_pj_per_clip


def test_clips_add_up_to_the_run() -> None:
    counts = _counts()
    clips = network_clips(counts, RIGHT, _price)
    assert clips.layers == ("conv", "fc")
    assert clips.quantities["synops"].sum() == counts.total("events") > 500
    assert clips.quantities["spikes"].sum() == counts.total("spikes") > 100
    assert clips.energy_pj is not None
    assert clips.energy_pj.mean() == pytest.approx(_price(counts), rel=1e-12)
    assert np.ptp(clips.energy_pj) > 0
    found = clips.distributions()
    assert set(found) == {"synops", "spikes", "energy_pj"}
    assert found["synops"].worst_clip == clips.quantities["synops"].argmax()
    assert "energy_pj" not in network_clips(counts, RIGHT).distributions()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    clips = {"float": network_clips(_counts(), RIGHT, _price), "speck2f.adapted": network_clips(_counts(1), ~RIGHT)}
    save_clips(RunClips("f", "l", clips), tmp_path / "clips.npz")
    back = load_clips(tmp_path / "clips.npz")
    assert (back.frames, back.labels, back.clips, list(back.networks)) == ("f", "l", 6, list(clips))
    for name, one in clips.items():
        other = back.networks[name]
        assert other.layers == one.layers
        for field in ("events", "spikes", "right"):
            assert np.array_equal(getattr(other, field), getattr(one, field))
            assert getattr(other, field).dtype == getattr(one, field).dtype
    assert np.array_equal(back.networks["float"].energy_pj, clips["float"].energy_pj)
    assert back.networks["speck2f.adapted"].energy_pj is None


def test_a_damaged_file_is_bad_data(tmp_path: Path) -> None:
    path = tmp_path / "clips.npz"
    save_clips(RunClips("f", "l", {"a": network_clips(_counts(), RIGHT)}), path)
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            load_clips(path)
    np.savez(path, frames=np.array("f"))
    with pytest.raises(DataError, match="clips of the run"):
        load_clips(path)


def test_an_identity_is_of_values_and_shape_alone() -> None:
    frames = np.random.default_rng(0).poisson(0.5, (3, 4, 2, 5, 5)).astype(np.uint16)
    one = identity(frames)
    assert one == identity(frames.astype(np.int64)) == identity(np.asfortranarray(frames))
    changed = frames.copy()
    changed[2, 3, 1, 4, 4] += 1
    others = [changed, frames[:, ::-1], frames[:, :3], frames.reshape(4, 3, 2, 5, 5), frames.swapaxes(0, 1)]
    assert len({one, *(identity(other) for other in others)}) == 6
    labels = np.array([1, 2, 3])
    assert identity(labels) == identity(labels.astype(np.uint8)) != identity(labels[::-1])


def test_shapes_that_do_not_meet_are_refused() -> None:
    events = np.ones((2, 3, 6), np.int64)
    for wrong in (
        (("a",), events, events, RIGHT, None),
        (("a", "b"), events, events[:, :2], RIGHT, None),
        (("a", "b"), events, events, RIGHT[:5], None),
        (("a", "b"), events, events, RIGHT.astype(int), None),
        (("a", "b"), events, events, RIGHT, np.ones(5)),
        (("a", "b"), events[0], events[0], RIGHT, None),
    ):
        with pytest.raises(DataError):
            NetworkClips(*wrong)
    fine = NetworkClips(("a", "b"), events, events, RIGHT)
    fewer = NetworkClips(("a", "b"), events[..., :5], events[..., :5], RIGHT[:5])
    with pytest.raises(DataError, match="same clips"):
        RunClips("f", "l", {"a": fine, "b": fewer})
