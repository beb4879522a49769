# SPDX-License-Identifier: Apache-2.0
"""How many cores of Loihi 2 and Loihi 1 a network takes, and what Loihi 1 refuses."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Overflow, Reset
from spikefold.export.ops import Conv2d, Dense, Pair, SumPool2d
from spikefold.hardware.loihi import cores as loihi_cores
from spikefold.hardware.loihi import loihi1_cores
from spikefold.hardware.loihi.chip import LOIHI1, LOIHI2
from spikefold.hardware.loihi.cores import conv_tile, dense_splits, weight_bits

IF = Neuron(np.array(7), state_shift=7, state_bits=24, overflow=Overflow.SATURATE)


def chain(shape: tuple[int, int, int], *ops: Conv2d | Dense, max_count: int | None = None) -> Network:
    layers = [layer for i, op in enumerate(ops) for layer in (Layer(f"w{i}", op), Layer(f"s{i}", IF))]
    return Network(InputSpec(shape, 1000, 16, max_count), tuple(layers), classes=1)


def conv(out: int, into: int, kernel: int, stride: Pair = (1, 1), padding: Pair = (0, 0), groups: int = 1) -> Conv2d:
    weight = np.arange(out * into // groups * kernel**2).reshape(out, into // groups, kernel, kernel) % 7 - 3
    return Conv2d(weight, stride=stride, padding=padding, groups=groups)


def dense(out: int, into: int, low: int, high: int) -> Dense:
    return Dense(np.random.default_rng(out).integers(low, high + 1, (out, into)))


def pilotnet() -> Network:
    """lava-dl's PilotNet LIF: its input's own neurons, five convolutions, four dense layers, 158 509 neurons.

    Shapes and ranges of the weights are those of ``tests/lava/lib/dl/netx/gts/pilotnet_lif/network.net``, halved.
    """
    two = (2, 2)
    convolutions = (
        conv(3, 3, 1, groups=3),
        conv(24, 3, 3, two),
        conv(36, 24, 3, two),
        conv(48, 36, 3, two),
        conv(64, 48, 3, (2, 1), (1, 0)),
        conv(64, 64, 3),
    )
    return chain(
        (3, 66, 200),
        *convolutions,
        dense(100, 2560, -3, 3),
        dense(50, 100, -7, 5),
        dense(10, 50, -12, 10),
        dense(1, 10, -12, 21),
    )


def test_pilotnet_takes_the_cores_that_intels_compiler_logged() -> None:
    network = pilotnet()
    assert sum(int(np.prod(network.shapes[layer.name])) for layer in network.neurons) == 158_509
    found = loihi_cores.resources(network)
    assert [use.cores for use in found.layers] == [13, 25, 13, 3, 3, 2, 12, 1, 1, 1]
    assert (found.cores, found.chips, found.estimate) == (74, 1, True)
    # the log's columns: neurons of a core of each convolution, and synaptic words of the dense layers of one core
    neurons = [use.memory["neurons"] for use in found.layers]
    assert neurons[:6] == [(used, 4095) for used in (3168, 3072, 2160, 2688, 2048, 2048)]
    words = [use.memory["synaptic words"] for use in found.layers[6:]]
    assert words[1:] == [(1300, 12000), (150, 12000), (10, 12000)]
    assert [use.limited_by for use in found.layers] == ["neurons"] * 6 + ["synaptic words"] * 4
    assert LOIHI2.violations(network) == []
    assert LOIHI2.resources is not None
    assert LOIHI2.resources(network) == found


@pytest.mark.parametrize(
    ("inputs", "outputs", "bits", "logged"),
    [
        (2560, 100, 3, [61440, 12800]),
        (2560, 100, 4, [66560, 12800]),
        (256, 200, 8, [16128]),
        (200, 256, 8, [16200]),
    ],
)
def test_synmem_violations_of_intels_logs(inputs: int, outputs: int, bits: int, logged: list[int]) -> None:
    tries = dense_splits(inputs, outputs, bits)
    assert [one.words for one in tries if not one.fits] == logged
    assert tries[-1].fits


def test_a_core_of_dense_neurons_is_limited_too() -> None:
    (split,) = dense_splits(1, 5000, 8)
    assert (split.cores, split.neurons) == (2, 2500)
    (use,) = loihi_cores.resources(chain((1, 1, 1), Dense(np.ones((5000, 1), np.int64)))).layers
    assert (use.cores, use.limited_by) == (2, "neurons")


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(1, 12_000), st.integers(1, 6000), st.sampled_from([1, 2, 3, 4, 6, 8]))
def test_every_dense_layer_that_the_rules_allow_fits(inputs: int, outputs: int, bits: int) -> None:
    last = dense_splits(inputs, outputs, bits)[-1]
    assert last.fits
    assert last.cores == ceil(outputs / last.neurons)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(1, 4095), st.integers(1, 300), st.integers(1, 300))
def test_tiles_hold_fewer_than_4096_neurons_and_no_wider_one_would(channels: int, height: int, width: int) -> None:
    columns, rows = conv_tile((channels, height, width))
    assert columns * rows * channels < 4096
    assert columns <= width
    assert rows <= height
    if rows < height:
        assert columns == 1
        assert height * channels > 4095
    elif columns < width:
        assert columns & (columns - 1) == 0
        assert 2 * columns * height * channels >= 4096


@pytest.mark.parametrize(
    ("weights", "bits"),
    [
        ([-3, 3], 3), ([-4, 3], 3),
        ([-4, 5], 4), ([-4, 4], 2), ([-128, 127], 8), ([-128, 64], 2), ([-8, 8], 2), ([0, 15], 4),
        ([0, 16], 1), ([0, 17], 6), ([-1, 0], 1), ([0, 0], 1), ([-33, 32], 8), ([0, 48], 2), ([-255, -1], 8),
    ],
)  # fmt: skip
def test_weights_take_their_width_without_common_zeros(weights: list[int], bits: int) -> None:
    assert weight_bits(np.array([weights])) == bits


def test_chips_are_counted_in_120_cores() -> None:
    wide = chain((1, 1, 121 * 4), Conv2d(np.ones((1000, 1, 1, 1), np.int64)))
    found = loihi_cores.resources(wide)
    assert (found.cores, found.chips, found.limited_by) == (121, 2, "neurocores")
    assert loihi_cores.resources(chain((1, 1, 480), Conv2d(np.ones((1000, 1, 1, 1), np.int64)))).chips == 1


def loihi1(network: Network) -> list[tuple[int, dict[str, int], str]]:
    uses = loihi1_cores.resources(network).layers
    return [(use.cores, {name: used for name, (used, _) in use.memory.items()}, use.limited_by) for use in uses]


def test_loihi1_dense_layer_by_hand() -> None:
    """8-bit weights: a list of 100 takes blocks of 64 and 36, 576 and 320 bits with their 10-bit heads."""
    network = chain((50, 1, 1), dense(100, 50, -128, 127))
    used = {"neurons": 100, "axons in": 50, "axons out": 0, "synaptic bits": 50 * (576 + 320)}
    assert loihi1(network) == [(1, used, "neurons")]


def test_loihi1_dense_layer_is_cut_until_its_synapses_fit() -> None:
    """4000 axons of 2 blocks are 4.6 Mbit; 28 neurons a core take 4000 * 256."""
    network = chain((4000, 1, 1), dense(128, 4000, -128, 127))
    used = {"neurons": 26, "axons in": 4000, "axons out": 0, "synaptic bits": 4000 * 256}
    assert loihi1(network) == [(5, used, "synaptic bits")]


def test_loihi1_convolution_by_hand() -> None:
    """A 1x2 kernel over a row of 4: its end pixels reach one tap, the two inner ones share a list of both."""
    network = chain((3, 1, 4), Conv2d(np.array([[[[5, -6]]] * 3, [[[7, 1]]] * 3]).reshape(2, 3, 1, 2)))
    bits = 4 + 6  # of a weight, and of the index among 6 neurons
    lists = [64 * ceil((synapses * bits + 10) / 64) for synapses in (6, 12, 6)]
    used = {"neurons": 6, "axons in": 4, "axons out": 0, "synaptic bits": sum(lists)}
    assert loihi1(network) == [(1, used, "neurons")]


def test_loihi1_convolution_of_two_axes_by_hand() -> None:
    """A 2x2 kernel over 3x3: along each axis pixels reach the first tap, both, or the last."""
    network = chain((1, 3, 3), Conv2d(np.array([[[[5, -6], [100, 7]]]])))
    lists = [64 * ceil((taps * (8 + 6) + 10) / 64) for taps in (1, 2, 1, 2, 4, 2, 1, 2, 1)]
    used = {"neurons": 4, "axons in": 9, "axons out": 0, "synaptic bits": sum(lists)}
    ((cores, found, _),) = loihi1(network)
    assert (cores, found) == (1, used)


def test_loihi1_counts_the_fullest_part() -> None:
    """8 outputs of a kernel of 3 in parts of 5 and 3, which read 7 and 5 pixels; two pixels reach both."""
    taps = loihi1_cores._axis(10, 8, 5, 3, 1, 0, 1)
    assert (taps.pixels, sorted(taps.lists), taps.parts) == (7, [1, 1, 2, 2, 3], 2)


def test_loihi1_sends_an_axon_to_every_core_of_the_next_layer() -> None:
    network = chain((4, 1, 1), dense(1000, 4, -128, 127), dense(8, 1000, -128, 127))
    (_, first, _), (cores, second, _) = loihi1(network)
    assert (cores, second["axons out"]) == (1, 0)
    assert first["axons out"] == 1000
    wider = chain((4, 1, 1), dense(1000, 4, -128, 127), dense(700, 1000, -128, 127))
    (cores, first, limit), (readers, _, _) = loihi1(wider)
    assert readers == 6  # of 117 neurons: 1000 lists of 576 and 448 bits
    assert (cores, first["neurons"], first["axons out"], limit) == (2, 500, 3000, "axons out")


def test_loihi1_pixels_reach_neighbouring_parts() -> None:
    """32 x 32 x 4 neurons in 4 parts; the pixels of a 3x3 kernel reach two of them along each cut axis."""
    network = chain((1, 34, 34), conv(1, 1, 1), conv(4, 1, 3))
    (_, first, _), (cores, second, _) = loihi1(network)
    assert (cores, second["neurons"]) == (4, 1024)
    assert first["axons out"] in (2 * first["neurons"], 4 * first["neurons"])


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(3, 40), st.integers(3, 40), st.integers(1, 2))
def test_loihi1_parts_keep_every_limit_and_cover_the_layer(
    into: int, out: int, height: int, width: int, stride: int
) -> None:
    network = chain((into, height, width), conv(out, into, 3, (stride, stride)), conv(5, out, 1))
    for name, whole, cut in loihi1_cores.cuts(network):
        assert not cut.over
        parts = [ceil(side / part) for side, part in zip(network.shapes[name], cut.part, strict=True)]
        assert cut.cores == np.prod(parts)
        assert np.prod(cut.part) == cut.used["neurons"] <= whole.used["neurons"] == np.prod(network.shapes[name])
        assert cut.cores >= ceil(whole.used["neurons"] / 1024)


def test_loihi1_takes_binary_input_only() -> None:
    network = chain((2, 3, 4), conv(2, 2, 3), max_count=3)
    (issue,) = LOIHI1.violations(network)
    assert (issue.where, issue.got, issue.limit) == ("w0", "up to 3", "1")
    assert LOIHI2.violations(network) == []
    assert LOIHI1.violations(replace(network, input=replace(network.input, max_count=1))) == []
    layers = (Layer("w", Dense(np.ones((1, 1)))), Layer("s", Neuron(np.array(1.0))))
    real = Network(InputSpec((1, 1, 1), 1000, 16, max_count=2), layers, classes=1)
    assert [issue.got for issue in LOIHI1.violations(real)] == ["up to 2"]


def test_loihi1_has_no_core_for_more_than_4096_axons_in() -> None:
    network = chain((4097, 1, 1), dense(3, 4097, -1, 1))
    (issue,) = LOIHI1.violations(network)
    assert (issue.where, issue.got, issue.limit) == ("w0", "4097 axons in", "4096")
    assert LOIHI1.violations(chain((4096, 1, 1), dense(3, 4096, -1, 1))) == []


def test_loihi1_shares_the_numbers_but_not_what_netx_cannot_read() -> None:
    op = Conv2d(np.ones((1, 1, 1, 1), np.int64))
    layers = (
        Layer("a", op),
        Layer("s", IF),
        Layer("b", op),
        Layer("t", IF),
        Layer("c", op, ("s", "t")),
        Layer("u", replace(IF, reset=Reset.SUBTRACT)),
    )
    branched = Network(InputSpec((1, 2, 2), 1000, 3), layers, classes=1)
    assert [issue.where for issue in LOIHI1.violations(branched)] == ["u"]
    assert {issue.where for issue in LOIHI2.violations(branched)} == {"c", "u"}
    pooled = Network(InputSpec((1, 4, 4), 1000, 3), (Layer("p", SumPool2d((2, 2))), *layers[:2]), classes=1)
    assert "p" in {issue.where for issue in LOIHI1.violations(pooled)}


def test_pilotnet_takes_several_loihi1() -> None:
    found = loihi1_cores.resources(pilotnet())
    assert found.estimate
    assert found.chips == ceil(found.cores / 128) > 1
    assert all(used <= allowed for use in found.layers for used, allowed in use.memory.values())
