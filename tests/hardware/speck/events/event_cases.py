# SPDX-License-Identifier: Apache-2.0
"""Networks and frames for the tests of the event-driven simulator: random ones, and small ones worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d, Dense, Shape, SumPool2d
from spikefold.export.passes.split_channels import split_channels
from spikefold.hardware.speck.events.options import INTERVALS, Arrival, Emission, Options, Tick
from spikefold.hardware.speck.events.simulate import run

Case = tuple[Network, np.ndarray, Options]


@st.composite
def neurons(draw: st.DrawFn) -> Neuron:
    """Everything that a core's neurons can be, small numbers."""
    return Neuron(
        np.array(draw(st.integers(1, 5))),
        reset=draw(st.sampled_from([Reset.ZERO, Reset.SUBTRACT])),
        v_min=draw(st.sampled_from([None, 0.0, -1.0, -4.0])),
        max_spikes=draw(st.sampled_from([1, None])),
        state_bits=draw(st.sampled_from([None, 4, 16])),
    )


@st.composite
def networks(draw: st.DrawFn, rng: np.random.Generator) -> Network:
    """One to three weight layers, pools between, at times a merge of two layers or a layer in parts."""
    spec = InputSpec(
        (draw(st.integers(1, 2)), draw(st.integers(1, 6)), draw(st.integers(1, 6))), 1000, draw(st.integers(1, 4))
    )
    shape: Shape = spec.shape
    layers: list[Layer] = []

    def add(name: str, op: Op, *inputs: str) -> None:
        nonlocal shape
        layers.append(Layer(name, op, inputs))
        shape = op.output_shape(shape)

    def bias(outputs: int) -> np.ndarray | None:
        return draw(st.none() | st.just(rng.integers(-2, 3, outputs)))

    for number in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 3)) == 0:
            outputs = draw(st.integers(1, 4))
            add(f"w{number}", Dense(rng.integers(-2, 6, (outputs, int(np.prod(shape)))), bias(outputs)))
        else:
            padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
            kernel = [draw(st.integers(1, min(5, n + 2 * p))) for n, p in zip(shape[1:], padding, strict=True)]
            weight = rng.integers(-2, 6, (draw(st.integers(1, 3)), shape[0], *kernel))
            stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            add(f"w{number}", Conv2d(weight, bias(len(weight)), stride, padding))
        add(f"n{number}", draw(neurons()))
        if draw(st.booleans()) and min(shape[1:]) >= 2:
            add(f"p{number}", SumPool2d((2, draw(st.integers(1, 2)))))
    if draw(st.integers(0, 2)) == 0:
        fork, size = layers[-1].name, shape
        add("wb", Conv2d(rng.integers(-2, 6, (size[0], size[0], 3, 3)), bias(size[0]), padding=(1, 1)), fork)
        add("nb", draw(neurons()))
        both = (fork, "nb") if draw(st.booleans()) else ("nb", fork)
        add("wm", Conv2d(rng.integers(-2, 6, (2, size[0], 1, 1)), bias(2)), *both)
        add("nm", draw(neurons()))
    elif not isinstance(layers[-1].op, Neuron):
        layers.pop()
        shape = Network(spec, tuple(layers), 1).shapes[layers[-1].name]
    network = Network(spec, tuple(layers), 1)
    inner = [layer.name for layer in network if isinstance(layer.op, Conv2d | Dense)][:-1]
    wide = [name for name in inner if network.shapes[name][0] > 1]
    split = bool(wide) and draw(st.booleans())
    return split_channels(network, draw(st.sampled_from(wide)), 2) if split else network


@st.composite
def cases(draw: st.DrawFn, extras: bool = True) -> Case:
    """A network, frames of at most four bins of two clips, and options; ``extras``: those that are off by default."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    network = draw(networks(rng))
    spec = network.input
    frames = rng.integers(0, draw(st.integers(2, 4)), (spec.steps, draw(st.integers(1, 2)), *spec.shape))
    frames *= rng.random(frames.shape) < 0.5
    weights = [layer.name for layer in network if isinstance(layer.op, Conv2d | Dense)]
    decimators = st.dictionaries(st.sampled_from(weights), st.sampled_from(INTERVALS[:3]), max_size=2)
    options = Options(
        draw(st.sampled_from(Emission)),
        draw(st.sampled_from(Arrival)),
        draw(st.sampled_from(Tick)),
        draw(st.integers(0, 9)),
        extras and draw(st.booleans()),
        extras and draw(st.booleans()),
        draw(decimators) if extras and draw(st.booleans()) else {},
    )
    return network, frames, options


def one_core(weight: Any, threshold: int, bias: Any = None, steps: int = 1, **neuron: Any) -> Network:
    """A dense layer from as many inputs as the weight has columns, in a row."""
    dense = Dense(np.array(weight), None if bias is None else np.array(bias))
    kind = Neuron(np.array(threshold), **({"reset": Reset.SUBTRACT, "max_spikes": None} | neuron))
    return Network(InputSpec((1, 1, dense.weight.shape[1]), 1000, steps), (Layer("w", dense), Layer("n", kind)), 1)


def two_cores(second: Any, steps: int = 1, biases: tuple[Any, Any] = (None, None), **last: Any) -> Network:
    """One input makes two neurons fire at once; they reach neurons of threshold 2 with the given weights."""
    first, last_bias = (None if bias is None else np.array(bias) for bias in biases)
    kind: dict[str, Any] = {"reset": Reset.SUBTRACT} | last
    layers = (
        Layer("w", Dense(np.array([[1], [1]]), first)),
        Layer("n", Neuron(np.array(1), reset=Reset.SUBTRACT)),
        Layer("d", Dense(np.array([second]), last_bias)),
        Layer("out", Neuron(np.array(2), **kind)),
    )
    return Network(InputSpec((1, 1, 1), 1000, steps), layers, 1)


def rows(*steps: list[int]) -> np.ndarray:
    """Frames of one clip from a row of counts a step."""
    return np.array(steps)[:, None, None, None, :]


def spikes_and_states(network: Network, frames: np.ndarray, options: Options | None = None) -> tuple[Any, Any]:
    """Of the last layer, a row a step."""
    layer = list(run(network, frames, options, potentials=True).layers.values())[-1]
    assert layer.potentials is not None
    return layer.raster.reshape(len(frames), -1).tolist(), layer.potentials.reshape(len(frames), -1).tolist()
