# SPDX-License-Identifier: Apache-2.0
"""Every pass on 500 random networks: the same spikes folded and not, the same integers in both engines, none silent.

Half of the networks are of dyadic numbers, which float64 adds and multiplies without rounding: there every spike and
state must be equal, states exactly on their threshold included. In the others a spike may flip only where
`hardware.flips` proves it a matter of rounding.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, SumPool2d
from spikefold.export.passes.dense_to_conv import dense_to_conv
from spikefold.export.passes.expand_kernels import expand_kernels
from spikefold.export.passes.fold import FOLDS, fold
from spikefold.export.passes.maxpool_to_or import maxpool_to_or
from spikefold.export.passes.quantise import quantise
from spikefold.export.passes.remove_silent_channels import remove_silent_channels
from spikefold.export.passes.split_channels import split_channels
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.flips import flips
from spikefold.hardware.simulators.reference import apply, charge, fire
from spikefold.hardware.simulators.trace import Trace, alive_in
from spikefold.hardware.speck import chip as speck

NETWORKS = 500
EXAMPLES = 560
"""Hypothesis draws some networks more than once."""
CHIPS = {"speck": speck.NUMBERS, "loihi": loihi.NUMBERS}

STEPS = 5
STYLES = ("any", "speck", "loihi")
"""Which neurons: any, or those that a chip's numbers can carry."""


@dataclass
class Draft:
    """A network as it grows, with the values of its last layer ``(T * N, C, H, W)`` for the frames drawn."""

    rng: np.random.Generator
    dyadic: bool
    style: str
    spec: InputSpec
    frames: np.ndarray
    x: np.ndarray
    layers: list[Layer] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.x.shape[1:]
        return c, h, w

    def one_in(self, odds: int) -> bool:
        return bool(self.rng.integers(odds) == 0)

    def add(self, name: str, op: Op) -> None:
        self.layers.append(Layer(name, op))
        if isinstance(op, Neuron):
            self.x = _fired(op, self.x.reshape(STEPS, -1, *self.shape))
        else:
            self.x = apply(op, self.x)

    def numbers(self, shape: tuple[int, ...] | int, low: int, high: int) -> np.ndarray:
        """Multiples of 1/8 in [low, high)/8, or any reals there."""
        drawn = self.rng.integers(low, high, shape) if self.dyadic else self.rng.uniform(low, high, shape)
        return drawn / 8


def made(seed: int, *, dyadic: bool, style: str = "any") -> tuple[Network, np.ndarray]:
    """A network and its frames ``(T, N, C, H, W)``; with ``dyadic`` numbers float64 computes it without rounding.

    A draft in which a layer is silent is thrown away and drawn again.
    """
    rng = np.random.default_rng(seed)
    while True:
        found = _draft(rng, dyadic, style)
        if found is not None:
            return Network(found.spec, tuple(found.layers), 1), found.frames


def _draft(rng: np.random.Generator, dyadic: bool, style: str) -> Draft | None:
    shape = (int(rng.integers(1, 4)), int(rng.integers(4, 8)), int(rng.integers(4, 8)))
    binary = rng.integers(3) == 0
    frames = rng.poisson(0.7, (STEPS, int(rng.integers(2, 4)), *shape)).clip(max=1 if binary else None)
    spec = InputSpec(shape, 1000, STEPS, max(1, int(frames.max())))
    draft = Draft(rng, dyadic, style, spec, frames, frames.reshape(-1, *shape).astype(float))
    _pools(draft, "0", binary=spec.max_count == 1)
    for number in range(1, int(rng.integers(2, 4))):
        if not _block(draft, str(number)):
            return None
    _norm_before(draft, "f", padded=False)
    weight = draft.numbers((4, int(np.prod(draft.shape))), -3, 7)
    draft.add("fc", Dense(weight, draft.numbers(4, -2, 4) if draft.one_in(2) else None))
    _between(draft, "f")
    if draft.one_in(3):
        if not _neurons(draft, "snf"):
            return None
        draft.add("fc2", Dense(draft.numbers((3, 4), -2, 8)))
    return draft if _neurons(draft, "out") else None


def _block(draft: Draft, number: str) -> bool:
    rng, (c, *sides) = draft.rng, draft.shape
    dilation = [int(rng.integers(1, 3)) for _ in sides]
    padding = [int(rng.integers(0, 3)) for _ in sides] if draft.one_in(2) else [0, 0]
    fits = [(n + 2 * p - 1) // d + 1 for n, p, d in zip(sides, padding, dilation, strict=True)]
    kernel = [int(rng.integers(1, min(3, most) + 1)) for most in fits]
    groups = int(rng.choice([g for g in (1, 2, 3) if c % g == 0]))
    _norm_before(draft, number, padded=any(padding))
    outputs = groups * int(rng.integers(1, 3))
    weight = draft.numbers((outputs, c // groups, *kernel), -3, 8)
    bias = draft.numbers(outputs, -2, 4) if draft.one_in(2) else None
    stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    geometry = stride, (padding[0], padding[1]), (dilation[0], dilation[1]), groups
    draft.add(f"conv{number}", Conv2d(weight, bias, *geometry))
    _between(draft, number)
    fires = _neurons(draft, f"sn{number}")
    if fires:
        neuron = draft.layers[-1].op
        _pools(draft, number, binary=isinstance(neuron, Neuron) and neuron.max_spikes == 1)
    return fires and bool(draft.x.any())


def _norm_before(draft: Draft, number: str, *, padded: bool) -> None:
    """Batch norm on spikes or on the input; without a shift where zeros are padded behind it."""
    if draft.one_in(3):
        norm = _norm(draft)
        zero = np.zeros(draft.shape[0])
        draft.add(f"before{number}", BatchNorm(norm.gamma, zero, zero, norm.var, norm.eps) if padded else norm)


def _between(draft: Draft, number: str) -> None:
    """Batch norm, mean pool and gate between weights and neurons, in any order."""
    for kind in draft.rng.permutation(["bn", "mean", "gate"])[: draft.rng.integers(0, 4)]:
        if kind == "bn":
            draft.add(f"bn{number}", _norm(draft))
        elif kind == "gate":
            factors = draft.rng.choice([0.25, 0.5, 1, 2], draft.shape[0])
            draft.add(f"gate{number}", Gate(factors if draft.dyadic else factors * draft.rng.uniform(0.7, 1.3)))
        elif min(draft.shape[1:]) > 1:
            draft.add(f"mean{number}", AvgPool2d(_window(draft)))


def _pools(draft: Draft, number: str, *, binary: bool) -> None:
    """None to two pools behind spikes."""
    for place in range(int(draft.rng.integers(0, 3))):
        kinds: list[type[AvgPool2d | SumPool2d | MaxPool2d]] = [AvgPool2d, SumPool2d]
        kinds += [MaxPool2d] * (2 if binary else 0)
        kind = kinds[int(draft.rng.integers(len(kinds)))]
        if min(draft.shape[1:]) > 1:
            draft.add(f"pool{number}{place}", kind(_window(draft)))
            binary = binary and kind is MaxPool2d


def _window(draft: Draft) -> tuple[int, int]:
    height, width = (
        int(draft.rng.integers(1, min(3, n) if draft.dyadic else min(3, n) + 1)) for n in draft.shape[1:]
    )
    return height, width


def _norm(draft: Draft) -> BatchNorm:
    rng, channels = draft.rng, draft.shape[0]
    gamma = rng.choice([-1, 0.5, 1, 1, 2], channels)
    # var + eps is 1/4, 1 or 4
    var = rng.choice([0, 0.75, 3.75], channels)
    if not draft.dyadic:
        gamma, var = gamma * rng.uniform(0.6, 1.4, channels), var * rng.uniform(0.5, 2, channels)
    return BatchNorm(gamma, draft.numbers(channels, -2, 4), draft.numbers(channels, -2, 3), var, 0.25)


def _neurons(draft: Draft, name: str) -> bool:
    """A spiking layer whose threshold is a current that occurs; False where it would be silent or never rest."""
    rng, style = draft.rng, draft.style
    levels = np.unique(draft.x[draft.x > 0])
    if not len(levels):
        return False
    threshold = np.array(levels[int(rng.integers(len(levels) // 3, len(levels)))])
    resets = [Reset.ZERO] if style == "loihi" else [Reset.ZERO, Reset.SUBTRACT]
    reset = Reset.VALUE if style == "any" and draft.one_in(6) else resets[int(rng.integers(len(resets)))]
    v_min = -float(draft.numbers((), 1, 9)) if style != "loihi" and draft.one_in(5) else None
    if reset is not Reset.VALUE and v_min is None and draft.one_in(2):
        threshold = threshold * rng.choice([0.5, 1, 2], (draft.shape[0], 1, 1))
    neuron = Neuron(
        threshold,
        fire=Fire.GT if draft.one_in(3) else Fire.GE,
        reset=reset,
        reset_value=-0.125 if reset is Reset.VALUE else 0.0,
        leak=Leak(float(rng.choice([0.5, 0.75]))) if style != "speck" and draft.one_in(2) else None,
        v_min=v_min,
        max_spikes=1 if style == "loihi" or not draft.one_in(3) else [None, 2][int(rng.integers(2))],
        order=Order.INPUT_FIRST if style == "any" and draft.one_in(4) else Order.LEAK_FIRST,
    )
    draft.add(name, neuron)
    return bool(draft.x.any())


def _fired(neuron: Neuron, currents: np.ndarray) -> np.ndarray:
    v, spikes = np.zeros_like(currents[0]), []
    for x in currents:
        fired, v = fire(neuron, charge(neuron, v, x)[0])
        spikes.append(fired)
    return np.concatenate(spikes)


# ---- the promises -----------------------------------------------------------------------------------------------


def _same(one: Trace, two: Trace, *, states: bool = True) -> int:
    """Equal rasters and states in the layers of ``one``; the spikes compared. A silent layer compares nothing."""
    for name, layer in one.layers.items():
        other = two.layers[name]
        assert layer.spikes > 0, name
        np.testing.assert_array_equal(layer.raster, other.raster, err_msg=name)
        if states:
            np.testing.assert_array_equal(layer.potentials, other.potentials, err_msg=name)
    return one.spikes


def _check_every_pass(network: Network, frames: np.ndarray, seen: Counter[str]) -> None:
    """Dyadic numbers: spike for spike, and state for state where the pass keeps the unit of the states."""
    before = reference.run(network, frames, potentials=True)
    folded = network
    for step in FOLDS:
        last, folded = folded, step(folded)
        if folded is not last:
            seen["spikes folded"] += _same(before, reference.run(folded, frames, potentials=True))
            seen[step.__name__] += 1
    assert len(fold(network).layers) == len(folded.layers)
    assert not any(isinstance(layer.op, BatchNorm | Gate | AvgPool2d) for layer in folded)
    report = flips(network, folded, frames)
    assert (report.roots, report.consequences) == ((), 0)
    seen["exactly on the threshold"] += report.ties

    prepared = dense_to_conv(expand_kernels(maxpool_to_or(uniform_thresholds(folded))))
    assert {type(layer.op) for layer in prepared} <= {Conv2d, SumPool2d, Neuron}
    assert all(layer.op.threshold.ndim == 0 for layer in prepared.neurons if isinstance(layer.op, Neuron))
    seen["spikes prepared"] += _same(before, reference.run(prepared, frames), states=False)

    if isinstance(prepared.layers[1].op, Neuron) and prepared.shapes[prepared.layers[0].name][0] > 1:
        first, spiking = (layer.name for layer in prepared.layers[:2])
        parts = split_channels(prepared, first, 2)
        assert isinstance(parts[spiking].op, Concat)
        after = reference.run(parts, frames)
        joined = np.concatenate([after.layers[f"{spiking}.{half}"].raster for half in (0, 1)], axis=2)
        np.testing.assert_array_equal(joined, reference.run(prepared, frames).layers[spiking].raster)
        np.testing.assert_array_equal(after.layers["out"].raster, before.layers["out"].raster)
        seen["split"] += 1
    alive = alive_in(reference.run(prepared, frames))
    pruned = remove_silent_channels(prepared, alive)
    after = reference.run(pruned, frames)
    for name, layer in before.layers.items():
        kept = alive.get(name, slice(None))
        np.testing.assert_array_equal(after.layers[name].raster, layer.raster[:, :, kept])
    seen["pruned"] += pruned is not prepared


def _check_rounding(network: Network, frames: np.ndarray, seen: Counter[str]) -> None:
    """General numbers: what differs, differs by rounding."""
    report = flips(network, uniform_thresholds(maxpool_to_or(fold(network))), frames)
    assert all(max(flip.distance) <= flip.bound < 1e-10 for flip in report.roots)
    seen["flips"] += len(report.roots)
    seen["spikes within rounding"] += report.spikes


def _check_integers(network: Network, frames: np.ndarray, seen: Counter[str]) -> None:
    """Quantised for each chip that takes it: both engines, every spike and state."""
    prepared = uniform_thresholds(maxpool_to_or(fold(network)))
    for name, numbers in CHIPS.items():
        try:
            integer, _ = quantise(prepared, numbers)
        except UnsupportedError:  # neurons that the chip does not have, or a threshold that rounds to 0
            continue
        one, two = (engine.run(integer, frames, potentials=True) for engine in (reference, clocked))
        for layer, trace in one.layers.items():
            np.testing.assert_array_equal(trace.raster, two.layers[layer].raster, err_msg=layer)
            np.testing.assert_array_equal(trace.potentials, two.layers[layer].potentials, err_msg=layer)
            assert (trace.overflow, trace.v_range) == (two.layers[layer].overflow, two.layers[layer].v_range)
        seen[f"{name} networks"] += all(layer.spikes for layer in one.layers.values())
        seen[f"{name} spikes"] += one.spikes


def test_500_random_networks_keep_every_spike_through_every_pass_and_in_both_engines() -> None:
    seen: Counter[str] = Counter()
    drawn: set[tuple[int, bool, str]] = set()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**40), st.booleans(), st.sampled_from(STYLES))
    def check(seed: int, dyadic: bool, style: str) -> None:
        network, frames = made(seed, dyadic=dyadic, style=style)
        assert not network.is_integer
        if (seed, dyadic, style) in drawn:
            return
        (_check_every_pass if dyadic else _check_rounding)(network, frames, seen)
        _check_integers(network, frames, seen)
        drawn.add((seed, dyadic, style))
        seen["dyadic"] += dyadic
        seen.update({type(layer.op).__name__ for layer in network})
        for neuron in (layer.op for layer in network.neurons):
            assert isinstance(neuron, Neuron)
            several = "several spikes" if neuron.max_spikes != 1 else "one spike"
            bound = "lower bound" if neuron.v_min is not None else "no bound"
            rank = f"thresholds of rank {neuron.threshold.ndim}"
            leak = "leak" if neuron.leak else "no leak"
            seen.update([str(neuron.fire), str(neuron.reset), str(neuron.order), several, bound, rank, leak])
        for conv in (layer.op for layer in network if isinstance(layer.op, Conv2d)):
            seen.update(
                {
                    "groups": conv.groups > 1,
                    "padding": conv.padding != (0, 0),
                    "stride": conv.stride != (1, 1),
                    "dilation": conv.dilation != (1, 1),
                }
            )

    check()
    assert len(drawn) >= NETWORKS
    assert NETWORKS / 4 < seen["dyadic"] < NETWORKS * 3 / 4
    assert seen["exactly on the threshold"] > 1000, seen
    assert min(seen["spikes folded"], seen["spikes prepared"], seen["spikes within rounding"]) > 10_000, seen
    # on purpose many states are on their threshold: rounding must have flipped some, or the judge judged nothing
    assert seen["flips"] > 20, seen
    assert min(seen["split"], seen["pruned"], *(seen[step.__name__] for step in FOLDS)) > 30, seen
    for chip in CHIPS:
        assert seen[f"{chip} networks"] > 100, seen
        assert seen[f"{chip} spikes"] > 10_000, seen
    kinds = ["Conv2d", "Dense", "BatchNorm", "Gate", "AvgPool2d", "SumPool2d", "MaxPool2d", "groups", "padding",
             "stride", "dilation", "several spikes", "lower bound", "leak", "no leak", "thresholds of rank 3",
             *map(str, Fire), *map(str, Reset), *map(str, Order)]  # fmt: skip
    assert min(seen[kind] for kind in kinds) > 25, seen
