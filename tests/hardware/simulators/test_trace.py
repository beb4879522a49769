# SPDX-License-Identifier: Apache-2.0
"""Traces: counting, joining, and files that come back as they went, or are refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import DataError, UnsupportedError
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.hardware.simulators.trace import (
    LayerTrace,
    Trace,
    alive_in,
    as_raster,
    concatenate,
    load_trace,
    never_fired,
    save_trace,
)


def _raster(shape: tuple[int, ...], highest: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, highest + 1, shape).astype(np.uint16)


def _trace() -> Trace:
    return Trace(
        "some runner",
        {
            "n1": LayerTrace(_raster((5, 3, 2, 3, 7)), (-3.5, 9.25), 4),
            "many": LayerTrace(_raster((5, 3, 4, 1, 1), 900), (0.0, 12.0)),
            "a.b/c": LayerTrace(_raster((5, 3, 6, 1, 1))),
        },
    )


def _saved(tmp_path: Path) -> Path:
    save_trace(_trace(), tmp_path / "t.npz")
    return tmp_path / "t.npz"


def test_a_saved_trace_comes_back_equal(tmp_path: Path) -> None:
    trace, back = _trace(), load_trace(_saved(tmp_path))
    assert back.runner == trace.runner
    assert list(back.layers) == list(trace.layers)
    for name, layer in trace.layers.items():
        other = back.layers[name]
        np.testing.assert_array_equal(other.raster, layer.raster)
        assert other.raster.dtype == np.uint16
        assert (other.v_range, other.overflow, other.potentials) == (layer.v_range, layer.overflow, None)
        assert layer.spikes == other.spikes > 30
    assert back.layers["many"].raster.max() > 255
    assert back.spikes == trace.spikes
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (3, 0, 2, 1, 1), (2, 3, 1, 1, 7)])
def test_small_and_empty_rasters_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for highest in (0, 1, 5):
        raster = np.full(shape, highest, np.uint16)
        save_trace(Trace("r", {"n": LayerTrace(raster)}), tmp_path / "t.npz")
        back = load_trace(tmp_path / "t.npz").layers["n"].raster
        assert back.shape == shape
        np.testing.assert_array_equal(back, raster)


def test_binary_rasters_are_packed(tmp_path: Path) -> None:
    raster = _raster((20, 10, 4, 10, 10))
    for highest, name in ((1, "binary"), (2, "counts")):
        raster[0, 0, 0, 0, 0] = highest
        save_trace(Trace("r", {"n": LayerTrace(raster)}), tmp_path / name)
    binary, counts = ((tmp_path / name).stat().st_size for name in ("binary", "counts"))
    assert binary < raster.size / 8 + 2000 < counts


def test_every_truncation_and_a_flip_of_every_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    content = _saved(tmp_path).read_bytes()
    trace, path, refused = _trace(), tmp_path / "broken.npz", 0
    broken = [content[:end] for end in range(0, len(content), 37)]
    broken += [content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :] for at in range(0, len(content), 3)]
    for damaged in broken:
        path.write_bytes(damaged)
        try:
            back = load_trace(path)
        except DataError:
            refused += 1
            continue
        # a flip in a field that nobody reads changes nothing, in a name it loses what is optional
        for name, layer in trace.layers.items():
            np.testing.assert_array_equal(back.layers[name].raster, layer.raster)
            assert back.layers[name].v_range in (layer.v_range, None)
    assert refused > len(broken) / 2


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04", pickle.dumps({"layers": ["n"]})])
def test_files_that_are_no_trace_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot read the trace"):
        load_trace(path)


def test_a_single_array_under_the_name_of_a_trace_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "t.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataError, match="cannot read the trace"):
        load_trace(tmp_path / "t.npz")


def test_a_pickle_inside_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", layers=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="cannot read the trace"):
        load_trace(tmp_path / "t.npz")


@pytest.mark.parametrize("missing", ["runner", "layers", "n/shape", "n/bits", "n/overflow"])
def test_a_missing_part_is_refused(tmp_path: Path, missing: str) -> None:
    save_trace(Trace("r", {"n": LayerTrace(_raster((2, 1, 3, 1, 1)))}), tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as archive:
        parts = {key: archive[key] for key in archive if key != missing}
    np.savez(tmp_path / "t.npz", **parts)
    with pytest.raises(DataError) as caught:
        load_trace(tmp_path / "t.npz")
    assert caught.value.exit_code == 6
    assert missing.replace("bits", "counts") in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(DataError, match="cannot read the trace"):
            load_trace(path)


def test_output_counts_group_neurons_by_class_in_order() -> None:
    raster = np.zeros((2, 3, 6, 1, 1), np.uint16)
    raster[:, 0, :, 0, 0] = [[1, 0, 2, 0, 0, 1], [1, 1, 0, 0, 0, 0]]
    raster[0, 2, 5] = 70
    trace = Trace("r", {"hidden": LayerTrace(_raster((2, 3, 4, 2, 2))), "out": LayerTrace(raster)})
    assert trace.output_counts(3).tolist() == [[3, 2, 1], [0, 0, 0], [0, 0, 70]]
    assert trace.output_counts(2).tolist() == [[5, 1], [0, 0], [0, 70]]
    assert predictions(trace.output_counts(3))[[0, 2]].tolist() == [0, 2]


def test_a_raster_refuses_what_it_cannot_hold() -> None:
    held = as_raster(np.array([[0.0, 65535.0]]), "n")
    assert (held.dtype, held.tolist()) == (np.uint16, [[0, 65535]])
    assert as_raster(np.zeros((0, 3)), "n").shape == (0, 3)
    with pytest.raises(UnsupportedError, match=r"65536 spikes .* 65535 can be recorded"):
        as_raster(np.array([[65536, 1]]), "n")


def test_counts_do_not_wrap_at_16_bits() -> None:
    raster = np.full((3, 1, 2, 1, 1), 40_000, np.uint16)
    trace = Trace("r", {"n": LayerTrace(raster)})
    assert (trace.spikes, trace.output_counts(1).tolist()) == (240_000, [[240_000]])


def test_joining_batches_adds_and_widens() -> None:
    states = np.arange(12.0).reshape(2, 3, 2, 1, 1)
    parts = [
        Trace("r", {"n": LayerTrace(_raster((2, 3, 2, 1, 1), seed=1), (-1, 5), 2, states)}),
        Trace("r", {"n": LayerTrace(_raster((2, 1, 2, 1, 1), seed=2), (-4, 3), 1, states[:, :1])}),
    ]
    layer = concatenate(parts).layers["n"]
    assert (layer.v_range, layer.overflow, layer.raster.shape) == ((-4, 5), 3, (2, 4, 2, 1, 1))
    assert layer.potentials is not None
    np.testing.assert_array_equal(layer.raster[:, 3:], parts[1].layers["n"].raster)
    np.testing.assert_array_equal(layer.potentials[:, :3], states)
    bare = concatenate([Trace("r", {"n": LayerTrace(_raster((2, 1, 1, 1, 1)))})] * 2).layers["n"]
    assert (bare.v_range, bare.potentials, bare.raster.shape) == (None, None, (2, 2, 1, 1, 1))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_joined_traces_have_the_range_and_the_overflow_of_all_of_them(order: tuple[int, ...]) -> None:
    """Each bound comes from another batch, so that taking those of any one of them would show."""
    parts = [
        LayerTrace(_raster((4, 2, 3, 1, 1), seed=1), (-2.0, 5.0), 3),
        LayerTrace(_raster((4, 1, 3, 1, 1), seed=2), (-7.0, 1.0), 0),
        LayerTrace(_raster((4, 3, 3, 1, 1), seed=3), (0.0, 9.0), 4),
    ]
    joined = concatenate([Trace("r", {"n": parts[index]}) for index in order]).layers["n"]
    assert (joined.v_range, joined.overflow) == ((-7.0, 9.0), 7)
    assert joined.spikes == sum(part.spikes for part in parts) > 20
    np.testing.assert_array_equal(joined.raster, np.concatenate([parts[index].raster for index in order], axis=1))


def test_a_batch_that_knows_no_range_leaves_those_of_the_others() -> None:
    parts = [LayerTrace(_raster((2, 1, 3, 1, 1))), LayerTrace(_raster((2, 1, 3, 1, 1)), (-1.0, 2.0), 1)]
    assert concatenate([Trace("r", {"n": part}) for part in parts]).layers["n"].v_range == (-1.0, 2.0)


def test_which_channels_fired_is_told_of_every_layer_and_kept_for_all_but_the_output() -> None:
    raster = np.zeros((2, 1, 3, 1, 2), np.uint16)
    raster[1, 0, 1, 0, 1] = 1
    trace = Trace("r", {"n": LayerTrace(raster), "out": LayerTrace(raster)})
    silent = {name: channels.tolist() for name, channels in never_fired(trace).items()}
    assert silent == {"n": [True, False, True], "out": [True, False, True]}
    assert {name: alive.tolist() for name, alive in alive_in(trace).items()} == {"n": [False, True, False]}
