# SPDX-License-Identifier: Apache-2.0
"""``.net`` files without an input layer, pointers in their place, and what is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import DataError, UnsupportedError
from spikefold.export.nir import file as nir_file
from spikefold.export.nir import hdf5
from spikefold.export.ops import Conv2d
from spikefold.hardware.loihi.from_netx import from_net
from spikefold.hardware.simulators import reference
from tests.came_in import Record, came_in
from tests.hardware.loihi.netx_cases import changed, events, refused, slayer_layers, slayer_neuron, write


def test_a_file_that_begins_with_a_dense_layer_has_the_width_of_its_weights(
    tmp_path: Path, record_property: Record
) -> None:
    whole, layers = slayer_layers(), slayer_layers()[3:]
    network = from_net(write(tmp_path / "dense.net", layers))
    assert network.input.shape == (96, 1, 1)
    assert from_net(tmp_path / "dense.net", input_shape=(6, 4, 4)).input.shape == (6, 4, 4)
    flat = [{"type": "input", "shape": (96,)}, *layers]
    told = from_net(write(tmp_path / "told.net", flat))
    x = events((96, 1, 1))
    ours, theirs = (reference.run(one, x).layers for one in (network, told))
    assert [layer.spikes for layer in ours.values()] == [layer.spikes for layer in theirs.values()]
    assert sum(layer.spikes for layer in ours.values()) > 20
    came_in(record_property, [layer.spikes for layer in ours.values()])
    assert refused(tmp_path, layers, input_shape=(2, 2, 2)) == [("layer/0", "input shape")]
    assert len(whole) == len(layers) + 3


def test_a_file_that_begins_with_a_convolution_takes_the_shape_that_is_asked_for(
    tmp_path: Path, record_property: Record
) -> None:
    layers = slayer_layers()
    network = from_net(write(tmp_path / "conv.net", layers[1:]), input_shape=(2, 6, 9))
    told = from_net(write(tmp_path / "told.net", layers))
    x = events((2, 6, 9))
    ours, theirs = (list(reference.run(one, x).layers.values()) for one in (network, told))
    assert all(np.array_equal(a.raster, b.raster) for a, b in zip(ours, theirs, strict=True))
    assert sum(layer.spikes for layer in ours) > 50
    came_in(record_property, [layer.spikes for layer in ours])
    with pytest.raises(UnsupportedError, match="--input-shape"):
        from_net(tmp_path / "conv.net")
    assert refused(tmp_path, layers, input_shape=(2, 3, 3)) == [("layer/0", "input shape")]


def test_the_bias_of_an_input_layer_is_held_at_zero_on_request(tmp_path: Path) -> None:
    path = write(tmp_path / "a.net", changed(0, neuron=slayer_neuron(), weight=64, bias=6))
    first, held = from_net(path).layers[0].op, from_net(path, ignore_input_bias=True).layers[0].op
    assert isinstance(first, Conv2d)
    assert isinstance(held, Conv2d)
    assert first.bias is not None
    assert held.bias is None
    assert np.array_equal(first.weight, held.weight)


def test_pointers_and_what_has_no_spikes_are_refused_in_words(tmp_path: Path) -> None:
    pointer = tmp_path / "p.net"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n", encoding="utf-8")
    with pytest.raises(DataError, match="Git LFS pointer"):
        from_net(pointer)
    layers = changed(3, neuron=slayer_neuron(type="SDNN"))
    layers[4]["weight"] = layers[4]["weight"] * (1 + 2j)
    with pytest.raises(UnsupportedError) as caught:
        from_net(write(tmp_path / "a.net", layers))
    hints = [issue.hint for issue in caught.value.issues]
    assert "no spikes" in hints[0]
    assert any("complex numbers" in issue.got for issue in caught.value.issues)
    assert hdf5.COMPLEX == nir_file.COMPLEX
