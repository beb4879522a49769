# SPDX-License-Identifier: Apache-2.0
"""A skeleton is the folded network of the module that PyTorch builds, but for its weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError
from spikefold.export.network import InputSpec, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.train.deploy.skeleton import Skeletons
from spikefold.train.models.architectures import CHAINS, Architecture, architecture, network


def _skeleton(of: Architecture) -> Network:
    return Skeletons(InputSpec(of.shape, of.dt_us, of.steps), of.classes).network(of.model)


def _same(one: Network, other: Network) -> int:
    """Layers compared."""
    assert one.input == other.input
    assert one.classes == other.classes
    assert one.shapes == other.shapes
    for a, b in zip(one, other, strict=True):
        assert (a.name, a.inputs, type(a.op)) == (b.name, b.inputs, type(b.op))
        if isinstance(a.op, Conv2d | Dense) and isinstance(b.op, Conv2d | Dense):
            assert a.op.weight.shape == b.op.weight.shape
            assert (a.op.bias is None) == (b.op.bias is None)
        if isinstance(a.op, Conv2d) and isinstance(b.op, Conv2d):
            assert (a.op.stride, a.op.padding, a.op.dilation, a.op.groups) == (
                b.op.stride,
                b.op.padding,
                b.op.dilation,
                b.op.groups,
            )
        elif isinstance(a.op, MaxPool2d | SumPool2d):
            assert a.op == b.op
        elif isinstance(a.op, Neuron) and isinstance(b.op, Neuron):
            assert a.op.threshold == pytest.approx(b.op.threshold, rel=1e-6)
            assert (a.op.leak is None) == (b.op.leak is None)
            if a.op.leak is not None and b.op.leak is not None:
                assert a.op.leak.keep == pytest.approx(b.op.leak.keep, rel=1e-6)
            same: dict[str, Any] = {"threshold": np.array(1.0), "leak": None}
            plain = [vars(replace(neuron, **same)) for neuron in (a.op, b.op)]
            assert all(plain[0][key] == plain[1][key] for key in plain[0])
    return len(one.layers)


@pytest.mark.parametrize("name", CHAINS)
def test_every_architecture(name: str) -> None:
    found = architecture(name)
    assert _same(_skeleton(found), network(found)) == len(network(found).layers) > 6


def test_attention_changes_no_shape() -> None:
    found = architecture("d", attention="asa1")
    assert _same(_skeleton(found), network(found)) == 10


_configs = st.integers(1, 3).flatmap(
    lambda n: st.builds(
        ModelConfig,
        channels=st.tuples(*[st.integers(1, 5)] * n),
        strides=st.tuples(*[st.sampled_from([1, 2, 4])] * n),
        reduction=st.sampled_from(["pool", "stride", "spike_max", "spike_mean"]),
        hidden=st.lists(st.integers(1, 6), max_size=2).map(tuple),
        conv_bias=st.booleans(),
        dense_bias=st.booleans(),
        attention=st.just("none"),
        neuron=st.sampled_from(["if", "lif", "lif_decay_input", "plif"]),
        voters=st.integers(1, 3),
        threshold=st.sampled_from([0.3, 1.0]),
        keep=st.sampled_from([0.3, 0.75]),
    )
)


@settings(derandomize=True, max_examples=40)
@given(_configs, st.integers(4, 17), st.integers(4, 17))
def test_any_configuration(model: ModelConfig, height: int, width: int) -> None:
    found = replace(architecture("speck-s"), model=model, shape=(2, height, width), classes=3)
    if min(height, width) < np.prod(model.strides):
        for make in (_skeleton, network):
            with pytest.raises(ConfigError, match="leave nothing"):
                make(found)
        return
    assert _same(_skeleton(found), network(found)) >= 4


def test_equal_layers_are_made_once_and_not_kept_for_ever() -> None:
    found = architecture("d")
    made = Skeletons(InputSpec(found.shape, found.dt_us, found.steps), found.classes)
    first, second = made.network(found.model), made.network(found.model)
    assert all(a.op is b.op for a, b in zip(first, second, strict=True) if isinstance(a.op, Conv2d | Dense))
    for count in range(1, 90):
        made.network(found.model.model_copy(update={"hidden": (count,)}))
    assert len(made._made) <= 64
    assert _same(made.network(found.model), first) == 10
