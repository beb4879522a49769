# SPDX-License-Identifier: Apache-2.0
"""Sources that are always on give a bias to a current that lasts: the same spikes, and what cannot be had so."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi.always_on import always_on, free_tap, needed
from spikefold.hardware.loihi.rules import violations
from spikefold.hardware.loihi.to_netx import write_net
from spikefold.hardware.simulators import clocked, reference

STEPS = 9


def _neuron(theta: int, keep: int | None) -> Neuron:
    current = None if keep is None else Leak(keep, 12)
    return Neuron(
        np.array(theta), Fire.GT, leak=Leak(3000, 12), state_shift=7, state_bits=24, overflow=Overflow.SATURATE,
        current=current,
    )  # fmt: skip


def _network(theta: int = 3000, padding: int = 1, bias: int = 90) -> Network:
    """A grouped convolution, one without biases and with a high threshold, and a dense layer; both ends biased."""
    rng = np.random.default_rng(1)
    first = Conv2d(
        rng.integers(-50, 90, (4, 1, 3, 3)), rng.integers(-30, bias, 4), (2, 1), (padding, padding), groups=2
    )
    second = Conv2d(rng.integers(-9, 127, (3, 4, 2, 2)), dilation=(2, 1))
    width = int(np.prod(second.output_shape(first.output_shape((2, 7, 7)))))
    layers = (
        Layer("a", first),
        Layer("a.spikes", _neuron(200, 2048)),
        Layer("b", second),
        Layer("b.spikes", _neuron(theta, 1500)),
        Layer("c", Dense(rng.integers(-20, 60, (5, width)), rng.integers(-80, 120, 5))),
        Layer("c.spikes", _neuron(500, 3000)),
    )
    return Network(InputSpec((2, 7, 7), 1000, STEPS, 2), layers, 5)


def test_the_spikes_are_those_of_a_bias_in_the_current(tmp_path: Path) -> None:
    network = _network()
    form = always_on(network)
    # 8 synapses of 127 and a bias of 2047 lift a neuron above 3000 in one step
    assert (form.inputs, dict(form.neurons)) == (1, {"a.spikes": 8, "b.spikes": 1})
    assert needed(3000) == 8
    frames = np.random.default_rng(2).integers(0, 3, (STEPS, 4, 2, 7, 7))
    expected, found = reference.run(network, frames), reference.run(form.network, form.frames(frames))
    for name, layer in expected.layers.items():
        raster = form.cut(name, found.layers[name].raster)
        assert layer.spikes > 50
        assert layer.raster.shape == raster.shape
        assert int((layer.raster != raster).sum()) == 0
        assert found.layers[name].raster[:, :, raster.shape[2] :].all(), "a neuron was not on"
    with h5py.File(write_net(network, tmp_path / "a.net")) as file:
        assert file["layer/0/shape"][()].tolist() == [3, 7, 7]
        assert file["layer/1/bias"][()].tolist() == [0] * 4 + [2 * 2047] * 8
        assert "bias" not in file["layer/4"]


def test_a_network_without_such_a_bias_is_the_same_object() -> None:
    layers = (Layer("a", Dense(np.array([[3]]), np.array([2]))), Layer("s", _neuron(9, None)))
    for network in (
        Network(InputSpec((1, 1, 1), 1, 2), layers, 1),
        Network(InputSpec((1, 1, 1), 1, 2), (layers[0], Layer("s", _neuron(9, 0))), 1),
    ):
        form = always_on(network)
        assert form.network is network
        assert form.frames(frames := np.ones((2, 1, 1, 1, 1), int)) is frames


@pytest.mark.parametrize(
    ("network", "where", "got", "limit"),
    [
        (_network(padding=3), "a", "padding (3, 3)", "a tap outside of it"),
        (_network(theta=60000), "b", "", "65535"),
        (_network(bias=900), "a", "", "[-128, 127]"),
    ],
)
def test_what_cannot_be_had_is_refused(network: Network, where: str, got: str, limit: str) -> None:
    issues = [issue for issue in violations(network) if issue.rule.startswith("A bias beside a current that lasts")]
    assert [(issue.where, issue.limit) for issue in issues] == [(where, limit)]
    assert issues[0].got.startswith(got)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 2, 1, 1), (3, 1, 2, 2), (4, 3, 1, 1)])
def test_the_tap_never_reads_the_padding(kernel: int, stride: int, padding: int, dilation: int) -> None:
    op = Conv2d(np.ones((1, 1, kernel, kernel), int), None, (stride,) * 2, (padding,) * 2, (dilation,) * 2)
    tap = free_tap(op, (1, 8, 9))
    assert tap is not None
    one = np.zeros_like(op.weight)
    one[0, 0, tap[0], tap[1]] = 1
    layers = (Layer("c", Conv2d(one, None, op.stride, op.padding, op.dilation)), Layer("s", Neuron(np.array(1))))
    network = Network(InputSpec((1, 8, 9), 1, 1), layers, 1)
    found = clocked.run(network, np.ones((1, 1, 1, 8, 9), int)).layers["s"].raster
    assert found.size > 4
    assert found.all()
