# SPDX-License-Identifier: Apache-2.0
"""Every pass is recorded in the history when it changes something, and gives back the same object otherwise."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from spikefold.export import passes
from spikefold.export.io import identity
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, MaxPool2d, SumPool2d
from spikefold.export.passes.clip_outliers import clip_outliers
from spikefold.export.passes.dense_to_conv import dense_to_conv
from spikefold.export.passes.expand_kernels import expand_kernels
from spikefold.export.passes.fold_attention import fold_attention
from spikefold.export.passes.fold_batchnorm import fold_batchnorm
from spikefold.export.passes.fold_batchnorm_before import fold_batchnorm_before
from spikefold.export.passes.fold_global_mean import fold_global_mean
from spikefold.export.passes.fold_pooling import fold_pooling
from spikefold.export.passes.fold_spike_pooling import fold_spike_pooling
from spikefold.export.passes.maxpool_to_or import maxpool_to_or
from spikefold.export.passes.maxpool_to_sumpool import maxpool_to_sumpool
from spikefold.export.passes.network_pass import network_pass
from spikefold.export.passes.norms_first import norms_first
from spikefold.export.passes.pool_into_weights import pool_into_weights
from spikefold.export.passes.quantise import quantise
from spikefold.export.passes.remove_silent_channels import remove_silent_channels
from spikefold.export.passes.rescale import rescale
from spikefold.export.passes.split_channels import split_channels
from spikefold.export.passes.square_kernels import square_kernels
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.hardware.simulators.reference import apply
from spikefold.hardware.speck.limits import NUMBERS

FIRE = Neuron(np.array(1.0))
CONV = Conv2d(np.arange(36.0).reshape(2, 2, 3, 3) / 36 - 0.3)
NORM = BatchNorm(np.full(2, 1.5), np.zeros(2), np.zeros(2), np.ones(2), 1e-5)
PLAIN: tuple[Op, ...] = (CONV, FIRE)


def net(*ops: Op, max_count: int | None = None) -> Network:
    layers = tuple(Layer(f"l{index}", op) for index, op in enumerate(ops))
    return Network(InputSpec((2, 8, 8), 1000, 4, max_count), layers, 2)


@dataclass(frozen=True)
class Case:
    """A pass, operations that it changes, operations that it does not, and what it writes into the history."""

    run: Callable[[Network], Network]
    changes: Sequence[Op]
    step: tuple[str, ...]
    leaves: Sequence[Op] | None = PLAIN
    leave: Callable[[Network], Network] | None = None


def _inputs(network: Network) -> dict[str, np.ndarray]:
    x = np.random.default_rng(1).integers(0, 2, (8, 2, 8, 8)).astype(np.float64)
    return {layer.name: x for layer in network.weights}


def _clipped(network: Network) -> Network:
    few = replace(NUMBERS, weight_bits=4)
    return clip_outliers(network, few, _inputs(network), lambda op, x: apply(op, x))[0]


_SPIKY = np.random.default_rng(0).normal(size=(2, 2, 3, 3)) * 0.02
_SPIKY[0, 0, 0, 0] = 0.08
_EVEN = np.ones((2, 2, 1, 1))
_KEEP = {"l1": np.array([True, False])}
_ALL = {"l1": np.array([True, True])}
CASES = {
    "clip_outliers": Case(
        _clipped, (Conv2d(_SPIKY), FIRE), ("clip_outliers",), (Conv2d(np.ones((2, 2, 1, 1))), FIRE)
    ),
    "dense_to_conv": Case(dense_to_conv, (Dense(np.ones((2, 128))), FIRE), ("dense_to_conv",)),
    "expand_kernels": Case(expand_kernels, (Conv2d(CONV.weight, dilation=(2, 2)), FIRE), ("expand_kernels",)),
    "fold_attention": Case(
        fold_attention,
        (CONV, Gate(np.full((2, 6, 6), 0.5)), FIRE, CONV, Gate(np.array([0.5, 1])), FIRE),
        ("fold_attention (per neuron)", "fold_attention"),
    ),
    "fold_batchnorm": Case(fold_batchnorm, (CONV, NORM, FIRE), ("fold_batchnorm",)),
    "fold_batchnorm_before": Case(fold_batchnorm_before, (NORM, CONV, FIRE), ("fold_batchnorm_before",)),
    "fold_global_mean": Case(
        fold_global_mean, (CONV, FIRE, AvgPool2d((6, 6)), Dense(np.ones((2, 2))), FIRE), ("fold_global_mean",)
    ),
    "fold_pooling": Case(fold_pooling, (CONV, AvgPool2d((2, 2)), FIRE), ("fold_pooling",)),
    "fold_spike_pooling": Case(
        fold_spike_pooling, (CONV, FIRE, AvgPool2d((2, 2)), CONV, FIRE), ("fold_spike_pooling",)
    ),
    "maxpool_to_or": Case(maxpool_to_or, (CONV, FIRE, MaxPool2d((2, 2)), CONV, FIRE), ("maxpool_to_or",)),
    "maxpool_to_sumpool": Case(
        lambda network: maxpool_to_sumpool(network, mean=True),
        (CONV, FIRE, MaxPool2d((2, 2)), CONV, FIRE),
        ("maxpool_to_sumpool", "fold_spike_pooling"),
    ),
    "norms_first": Case(norms_first, (CONV, AvgPool2d((2, 2)), NORM, FIRE), ("norms_first",)),
    "pool_into_weights": Case(pool_into_weights, (CONV, FIRE, SumPool2d((2, 2)), CONV, FIRE), ("pool_into_weights",)),
    # rounding always makes another network
    "quantise": Case(lambda network: quantise(network, NUMBERS)[0], PLAIN, ("quantise",), None),
    "remove_silent_channels": Case(
        lambda network: remove_silent_channels(network, _KEEP),
        (CONV, Neuron(np.ones((2, 1, 1))), CONV, FIRE),
        ("remove_silent_channels",),
        (CONV, Neuron(np.ones((2, 1, 1))), CONV, FIRE),
        lambda network: remove_silent_channels(network, _ALL),
    ),
    "rescale": Case(
        lambda network: rescale(network, {"l1": 2.0}),
        PLAIN,
        ("rescale",),
        PLAIN,
        lambda network: rescale(network, {}),
    ),
    # the parts always have names of their own
    "split_channels": Case(
        lambda network: split_channels(network, "l0", 2), (CONV, FIRE, CONV, FIRE), ("split_channels",), None
    ),
    "square_kernels": Case(square_kernels, (Conv2d(CONV.weight[:, :, :1]), FIRE), ("square_kernels",)),
    "uniform_thresholds": Case(
        uniform_thresholds, (CONV, Neuron(np.array([[[1.0]], [[2.0]]]))), ("uniform_thresholds",)
    ),
}
NO_PASS = {
    "__init__", "fold", "network_pass", "quantisable", "rewrite", "silence",
}  # fmt: skip
"""Files beside the passes: what they are made of, what they ask, and the order of the folds."""


@pytest.mark.parametrize("name", CASES)
def test_a_pass_is_recorded_and_leaves_the_network_that_it_was_given_as_it_was(name: str) -> None:
    case = CASES[name]
    before = net(*case.changes)
    same = identity(before)
    after = case.run(before)
    assert after is not before
    assert after.history == (*before.history, *case.step)
    assert identity(after) != same == identity(before)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.leaves is not None])
def test_a_pass_that_changes_nothing_gives_the_same_object(name: str) -> None:
    case = CASES[name]
    before = net(*(case.leaves or ()))
    assert (case.leave or case.run)(before) is before


def test_every_pass_of_the_folder_is_among_the_cases() -> None:
    files = {path.stem for path in Path(passes.__file__).parent.glob("*.py")}
    assert files - NO_PASS == set(CASES)
    assert len(CASES) >= 17
    for name in CASES:
        module = importlib.import_module(f"spikefold.export.passes.{name}")
        assert name == getattr(module, name).__name__


def test_the_decorator_finds_itself_whether_anything_changed() -> None:
    @network_pass("rename")
    def copied(network: Network, suffix: str) -> list[Layer]:
        return [Layer(layer.name + suffix, layer.op, (), layer.source) for layer in network]

    @network_pass("nothing")
    def rebuilt(network: Network) -> list[Layer]:
        return [Layer(layer.name, layer.op, layer.inputs, layer.source) for layer in network]

    before = net(*PLAIN)
    assert rebuilt(before) is before
    assert copied(before, "x").history == ("rename",)
