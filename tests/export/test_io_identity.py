# SPDX-License-Identifier: Apache-2.0
"""A network's identity is its numbers and its structure, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.export.io import identity, load_network, save_network
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import Conv2d, SumPool2d
from spikefold.hardware.simulators import reference
from tests.export.io_cases import BOTH, integer_network


def _with(network: Network, name: str, op: Any) -> Network:
    layers = tuple(replace(la, op=op) if la.name == name else la for la in network)
    return replace(network, layers=layers)


@BOTH
def test_provenance_does_not_change_the_identity(build: Callable[[], Network]) -> None:
    network = build()
    layers = tuple(replace(layer, source="elsewhere") for layer in network)
    assert identity(replace(network, history=("other",), layers=layers)) == identity(network) == identity(build())
    assert len(identity(network)) == 64


@BOTH
def test_every_single_number_changes_the_identity(build: Callable[[], Network]) -> None:
    network = build()
    seen, count = {identity(network)}, 1
    for layer in network:
        for field in fields(layer.op):
            array = getattr(layer.op, field.name)
            if isinstance(array, np.ndarray):
                for spot in np.ndindex(array.shape):
                    changed = array.copy()
                    changed[spot] = changed[spot] + 1 if array.dtype == np.int64 else np.nextafter(changed[spot], 9)
                    op: Any = layer.op
                    seen.add(identity(_with(network, layer.name, replace(op, **{field.name: changed}))))
                    count += 1
    assert len(seen) == count > 50


def test_every_setting_changes_the_identity() -> None:
    network = integer_network()
    conv, neuron = network["a"].op, network["n"].op
    assert isinstance(conv, Conv2d)
    assert isinstance(neuron, Neuron)
    others = [
        replace(network, classes=4),
        replace(network, input=replace(network.input, dt_us=999)),
        replace(network, input=replace(network.input, steps=6)),
        replace(network, input=replace(network.input, max_count=1)),
        _with(network, "a", replace(conv, bias=np.zeros(3, int))),
        _with(network, "a", replace(conv, padding=(2, 2), dilation=(2, 2))),
        *(
            _with(network, "n", replace(neuron, **options))
            for options in (
                {"fire": Fire.GE}, {"reset": Reset.SUBTRACT}, {"reset": Reset.VALUE, "reset_value": 1.0},
                {"reset": Reset.VALUE, "reset_value": 2.0}, {"leak": None}, {"leak": Leak(3001, 12)},
                {"leak": Leak(3000, 13)}, {"v_min": None}, {"v_min": -41}, {"max_spikes": None}, {"max_spikes": 2},
                {"order": Order.INPUT_FIRST}, {"state_shift": 5}, {"state_bits": None}, {"state_bits": 21},
                {"overflow": Overflow.WRAP}, {"current": Leak(3000, 12)}, {"current": Leak(3001, 12)},
            )
        ),
        replace(network, layers=tuple(replace(la, inputs=("a",)) if la.name == "n" else la for la in network)),
        replace(network, layers=(*network.layers[:-1], replace(network.layers[-1], name="other"))),
    ]  # fmt: skip
    assert len({identity(other) for other in [network, *others]}) == len(others) + 1


def test_the_same_numbers_in_another_shape_or_type_are_another_network() -> None:
    def conv(height: int, width: int) -> Network:
        weight = np.arange(6).reshape(1, 1, height, width)
        layers = (Layer("c", Conv2d(weight)), Layer("n", Neuron(np.array(1))))
        return Network(InputSpec((1, 6, 6), 1000, 1), layers, 1)

    def neuron(*shape: int) -> Network:
        layers = (Layer("p", SumPool2d((1, 1))), Layer("n", Neuron(np.full(shape, 2))))
        return Network(InputSpec((1, 1, 1), 1000, 1), layers, 1)

    assert identity(conv(2, 3)) != identity(conv(3, 2))
    assert identity(neuron()) != identity(neuron(1, 1, 1))


def test_a_current_is_kept_and_a_network_without_one_is_as_it_was_before_there_was_any(tmp_path: Path) -> None:
    network = integer_network()
    neuron = network["n"].op
    assert isinstance(neuron, Neuron)
    lasting = _with(network, "n", replace(neuron, current=Leak(3000, 12)))
    for name, saved in (("plain", network), ("lasting", lasting)):
        save_network(saved, tmp_path / name)
        found = load_network(tmp_path / name)
        assert identity(found) == identity(saved)
        assert ("current" in json.loads((tmp_path / f"{name}.json").read_text())["layers"][2]["fields"]) == (
            name != "plain"
        )
        assert found["n"].op.current == saved["n"].op.current
    frames = np.random.default_rng(0).poisson(0.5, (5, 2, 2, 8, 7))
    one, two = (reference.run(found, frames) for found in (network, load_network(tmp_path / "lasting")))
    assert 0 < one.spikes != two.spikes
