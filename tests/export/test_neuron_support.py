# SPDX-License-Identifier: Apache-2.0
"""Every engine, exporter and pass declares every field of `Neuron`, and refuses what it does not carry.

A field that is added to `Neuron` fails the first test with the name of whoever does not declare it; until then
everybody refuses it, as the made-up field here shows.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export import io, to_onnx
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import (
    CARRIED,
    UNDECLARED,
    NeuronSupport,
    Refused,
    neuron_refusals,
    refusals,
    refuse,
)
from spikefold.export.nir import to_nir
from spikefold.export.ops import Conv2d, Gate
from spikefold.export.passes import fold_attention, quantisable, rescale, silence, uniform_thresholds
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.loihi import to_netx
from spikefold.hardware.loihi.lava import client
from spikefold.hardware.simulators import clocked, flips, reference, sparse
from spikefold.hardware.speck import limits, rules
from spikefold.hardware.speck.events import core
from spikefold.hardware.speck.events import simulate as events
from spikefold.hardware.speck.lowering import configuration, sinabs
from spikefold.hardware.speck.placement import place
from spikefold.train.deploy import integer_net

ROOT = Path(__file__).parents[2]
FRAMES = np.random.default_rng(4).integers(0, 2, (6, 3, 2, 3, 3)).astype(np.uint16)
WEIGHTS = np.array([[[[2]], [[1]]], [[[1]], [[3]]]])


@dataclass(frozen=True, eq=False)
class Newer(Neuron):
    """A neuron with a field that nobody declares."""

    foo: int = 0


def network(neuron: Neuron, *, gate: bool = False) -> Network:
    integer = np.issubdtype(neuron.threshold.dtype, np.integer)
    layers = [Layer("c", Conv2d(WEIGHTS if integer else WEIGHTS * 0.5)), Layer("n", neuron)]
    if gate:
        layers.insert(1, Layer("g", Gate(np.random.default_rng(1).uniform(0.5, 2, (2, 3, 3)))))
    return Network(InputSpec((2, 3, 3), 1000, 6, 1), tuple(layers), 2)


REAL, WHOLE = Neuron(np.array(1.0)), Neuron(np.array(2))
FILE = Neuron(np.array(2), Fire.GT, state_shift=7, state_bits=24, overflow=Overflow.SATURATE)
OWN = Neuron(np.array([[[1.0]], [[2.0]]]))


def _saved(net: Network, folder: Path) -> None:
    io.save_network(net, folder / "net")
    assert io.identity(io.load_network(folder / "net")) == io.identity(net)


def _ruled(net: Network, folder: Path) -> None:
    if issues := limits.violations(net):
        raise UnsupportedError("violations", issues=issues)


def _configured(net: Network, folder: Path) -> None:
    made = configuration.configuration(net, place(net).cores, configuration.DEVICES[0])
    assert made["cnn_layers"]


def _in_lava(net: Network, folder: Path) -> None:
    refuse(net, client.NEURONS)  # what is refused is so before lava starts; what is not would start it
    to_netx.write_net(net, folder / "net.net")


def _proven(net: Network, folder: Path) -> None:
    """Of neurons that the proof does not know nothing is proven, where of others a dead channel is."""
    dead = replace(net.layers[0], op=Conv2d(-np.abs(WEIGHTS)))
    found = silence.proven_silent(replace(net, layers=(dead, *net.layers[1:])))
    if not found["n"].all():
        raise UnsupportedError("not proven", issues=refusals(net, silence.NEURONS))


def _sparse(net: Network, folder: Path) -> None:
    (block,) = net.blocks
    if not sparse.is_exact(block.op, block.neuron, 1, 6):
        raise UnsupportedError("not exact", issues=refusals(net, sparse.NEURONS))


@dataclass(frozen=True)
class Declarer:
    """Who declares, with the neuron that it carries, what it does, and the fields that it refuses here."""

    support: NeuronSupport
    base: Neuron
    act: Callable[[Network, Path], object]
    refused: str = ""
    gate: bool = False


SPECK = "fire leak overflow reset reset_value state_shift threshold current"
DECLARERS = {
    "reference": Declarer(reference.NEURONS, WHOLE, lambda net, folder: reference.run(net, FRAMES)),
    "clocked": Declarer(clocked.NEURONS, WHOLE, lambda net, folder: clocked.run(net, FRAMES)),
    "sparse": Declarer(sparse.NEURONS, WHOLE, _sparse),
    "io": Declarer(io.NEURONS, WHOLE, _saved),
    "flips": Declarer(flips.NEURONS, REAL, lambda net, folder: flips.flips(net, net, FRAMES), "state_bits overflow"),
    "quantise for Speck": Declarer(
        quantisable.neuron_support(limits.NUMBERS),
        REAL,
        lambda net, folder: quantise(net, limits.NUMBERS),
        "threshold fire reset reset_value leak state_shift state_bits overflow current order",
    ),
    "quantise for Loihi": Declarer(
        quantisable.neuron_support(loihi.NUMBERS),
        REAL,
        lambda net, folder: quantise(net, loihi.NUMBERS),
        "threshold reset reset_value v_min max_spikes state_shift state_bits overflow",
    ),
    "rescale": Declarer(
        rescale.NEURONS, REAL, lambda net, folder: rescale.rescale(net, {"n": 2.0}), "state_bits overflow"
    ),
    "uniform_thresholds": Declarer(
        uniform_thresholds.NEURONS,
        OWN,
        lambda net, folder: uniform_thresholds.uniform_thresholds(net),
        "reset reset_value v_min state_bits overflow",
    ),
    "fold_attention": Declarer(
        fold_attention.NEURONS,
        REAL,
        lambda net, folder: fold_attention.fold_attention(net),
        "reset reset_value v_min state_bits overflow",
        gate=True,
    ),
    "silence": Declarer(silence.NEURONS, WHOLE, _proven, "state_bits overflow"),
    "NIR": Declarer(
        to_nir.NEURONS,
        REAL,
        lambda net, folder: to_nir.to_graph(net),
        "reset reset_value v_min order state_bits overflow current",
    ),
    "ONNX": Declarer(to_onnx.NEURONS, REAL, lambda net, folder: to_onnx.to_model(net), "state_bits overflow current"),
    "netx": Declarer(
        to_netx.NEURONS,
        FILE,
        lambda net, folder: to_netx.write_net(net, folder / "net.net"),
        "threshold fire reset reset_value leak v_min max_spikes order state_shift state_bits overflow current",
    ),
    "lava": Declarer(
        client.NEURONS,
        FILE,
        _in_lava,
        "threshold fire reset reset_value leak v_min max_spikes order state_shift state_bits overflow current",
    ),
    "Speck": Declarer(rules.NEURONS, replace(WHOLE, v_min=-9), _ruled, SPECK + " state_bits order"),
    "configuration": Declarer(
        configuration.NEURONS, replace(WHOLE, v_min=-9), _configured, SPECK + " state_bits order"
    ),
    "events": Declarer(core.NEURONS, WHOLE, lambda net, folder: events.run(net, FRAMES), SPECK + " state_bits order"),
    "sinabs": Declarer(
        sinabs.NEURONS,
        REAL,
        lambda net, folder: sinabs.discretised(net),
        SPECK + " state_bits order",
    ),
}
"""By name; a field is among the refused too where what it is set together with here is, such as a leak."""


def _changes(base: Neuron) -> list[tuple[str, dict[str, object]]]:
    """For each field some values, with what they need beside them."""
    whole = np.issubdtype(base.threshold.dtype, np.integer)
    leak = Leak(1024, 11) if whole else Leak(0.5)
    own = np.array([[[1]], [[2]]]) if whole else np.array([[[1.0]], [[1.5]]])
    changed: list[tuple[str, dict[str, object]]] = [
        ("threshold", {"threshold": own}),
        ("fire", {"fire": Fire.GT}),
        ("fire", {"fire": Fire.GE, "leak": Leak(2048, 12) if whole else leak}),
        ("reset", {"reset": Reset.SUBTRACT}),
        ("reset", {"reset": Reset.VALUE, "reset_value": -1.0}),
        ("reset_value", {"reset": Reset.VALUE, "reset_value": -1.0}),
        ("leak", {"leak": leak}),
        ("v_min", {"v_min": -2.0}),
        ("max_spikes", {"max_spikes": None}),
        ("max_spikes", {"max_spikes": 2}),
        ("order", {"order": Order.INPUT_FIRST}),
        ("order", {"order": Order.INPUT_FIRST, "leak": leak}),
        ("state_shift", {"state_shift": 3}),
        ("current", {"current": leak}),
    ]
    for overflow in Overflow:
        changed += [(name, {"state_bits": 12, "overflow": overflow}) for name in ("state_bits", "overflow")]
    return changed


@pytest.mark.parametrize("name", DECLARERS)
def test_everybody_declares_every_field_of_a_neuron(name: str) -> None:
    support = DECLARERS[name].support
    missing = support.undeclared()
    assert not missing, f"{name} ({support.name}) does not declare {', '.join(missing)} of Neuron"
    assert not support.unknown(), f"{name} declares {', '.join(support.unknown())}, which is no field of Neuron"
    assert len(support.fields) == len(fields(Neuron)) >= 12


def test_the_trainable_network_declares_every_field_of_a_neuron() -> None:
    missing = integer_net.NEURONS.undeclared()
    assert not missing, f"train.deploy.integer_net does not declare {', '.join(missing)} of Neuron"
    assert not integer_net.NEURONS.unknown()


@pytest.mark.parametrize("name", DECLARERS)
def test_a_declared_refusal_happens_and_what_is_carried_passes(name: str, tmp_path: Path) -> None:
    one = DECLARERS[name]
    one.act(network(one.base, gate=one.gate), tmp_path)
    refused: set[str] = set()
    changes = _changes(one.base)
    assert {field for field, _ in changes} == {field.name for field in fields(Neuron)}
    for field, change in changes:
        neuron = replace(one.base, **change)  # type: ignore[arg-type]
        net = network(neuron, gate=one.gate)
        found = neuron_refusals(neuron, one.support, "n")
        if not found:
            one.act(net, tmp_path)
            continue
        with pytest.raises(UnsupportedError) as caught:
            one.act(net, tmp_path)
        refused.add(field)
        assert caught.value.issues
        assert {issue.where for issue in caught.value.issues} == {"n"}, change
        assert all(issue.hint and issue.got and issue.limit for issue in found)
    assert refused == set(one.refused.split())


@pytest.mark.parametrize("name", DECLARERS)
def test_a_field_that_nobody_declares_is_refused_but_for_its_default(name: str, tmp_path: Path) -> None:
    one = DECLARERS[name]
    values = {field.name: getattr(one.base, field.name) for field in fields(Neuron)}
    assert one.support.undeclared(Newer) == ("foo",)
    if name != "io":  # a file of another class of neurons cannot be read back
        one.act(network(Newer(**values), gate=one.gate), tmp_path)
    (issue,) = neuron_refusals(Newer(**values, foo=7), one.support, "n")
    assert (issue.rule, issue.where, issue.got, issue.limit) == (UNDECLARED, "n", "foo = 7", "0")
    with pytest.raises(UnsupportedError) as caught:
        one.act(network(Newer(**values, foo=7), gate=one.gate), tmp_path)
    assert "foo = 7" in {issue.got for issue in caught.value.issues}


@pytest.mark.parametrize(
    "change",
    [{"overflow": Overflow.WRAP}, {"resets": frozenset(Reset), "overflow": Overflow.WRAP}],
)
def test_a_chip_whose_neurons_cannot_be_trained_is_refused(change: dict[str, object]) -> None:
    numbers = replace(limits.NUMBERS, **change)  # type: ignore[arg-type]
    integer_net.IntegerNet(network(REAL), limits.NUMBERS)
    with pytest.raises(UnsupportedError, match="the trainable integer network") as caught:
        integer_net.IntegerNet(network(REAL), numbers)
    assert [(issue.where, issue.rule) for issue in caught.value.issues] == [("n", "overflow")]


def test_all_violations_come_at_once_with_their_layers() -> None:
    support = NeuronSupport("a test", {"threshold": CARRIED, "leak": Refused("no leak", rule="leaks")})
    layers = (
        Layer("c", Conv2d(WEIGHTS)),
        Layer("one", replace(WHOLE, leak=Leak(1, 1), max_spikes=3)),
        Layer("d", Conv2d(WEIGHTS)),
        Layer("two", replace(WHOLE, fire=Fire.GT)),
    )
    with pytest.raises(UnsupportedError, match="a test cannot carry") as caught:
        refuse(Network(InputSpec((2, 3, 3), 1000, 6), layers, 2), support)
    assert [(issue.where, issue.rule, issue.got) for issue in caught.value.issues] == [
        ("one", "leaks", "Leak(keep=1, shift=1)"),
        ("one", UNDECLARED, "max_spikes = 3"),
        ("two", UNDECLARED, "fire = >"),
    ]


def _sources() -> dict[str, ast.Module]:
    rooms = ("export", "hardware", "energy", "train", "stages")
    paths = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


def _imported(module: str) -> Any:
    return importlib.import_module(f"spikefold.{module}")


def test_each_declaration_of_the_tree_is_tested_here() -> None:
    named = {
        module
        for module, tree in _sources().items()
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "NEURONS" for t in node.targets)
    }
    declared = {module for module in named if isinstance(_imported(module).NEURONS, NeuronSupport)}
    supports = [one.support for one in DECLARERS.values()] + [integer_net.NEURONS]
    for module in declared:
        support = _imported(module).NEURONS
        assert any(support is one for one in supports), f"{module} declares neurons and is not among DECLARERS"
    assert len(declared) >= 16


WITHOUT_DECLARATION = {
    "export.neuron": "defines the fields",
    "export.numbers": "the integers of a chip",
    "export.nir.neurons": "a door in: a file's neurons have no other fields than it knows",
    "export.nir.options": "a door in",
    "export.pytorch.handlers": "asks only whether values are 0 and 1",
    "export.passes.maxpool_to_or": "asks only whether values are 0 and 1",
    "export.passes.quantisable": "makes a declaration for each chip",
    "export.passes.quantise": "asks `quantisable`",
    "hardware.chip_tables": "prints the integers of a chip",
    "hardware.loihi.rounding": "a comparison that names the neurons it takes",
    "hardware.loihi.rules": "the chip's manual; `to_netx` declares",
    "hardware.simulators.plain_kernel": "part of `clocked`, which asks it what it covers",
    "hardware.simulators.rounding_bound": "part of `flips`",
    "hardware.simulators.sparse_kernel": "part of `sparse`",
    "hardware.speck.neuron_support": "parts of declarations, and the one of `rules`",
    "hardware.speck.events.kernel": "part of `core`",
    "hardware.speck.lowering.notes": "says what the chip does otherwise",
    "stages.exchange.tuned": "takes a lower bound away that a chip lacks; what it makes is refused as any other",
    "stages.exchange.foreign": "says how a file's neurons were understood",
    "stages.report.first_screen": "asks only whether the output can fire more than once a step",
    "stages.verbs.network_table": "prints neurons",
    "train.deploy.adapt": "asks only whether the output can fire more than once a step; `integer_net` declares",
    "train.deploy.adapt_by_events": "changes neurons into those of a chip; the event engine declares",
    "train.deploy.target_neuron": "changes neurons into those of a chip",
}
"""Modules that read the less common fields of neurons, or of a chip's numbers, and why they declare nothing."""


def test_whoever_computes_with_the_fields_of_neurons_declares_them() -> None:
    rare, found = {"v_min", "max_spikes", "reset_value", "state_shift", "state_bits"}, set()
    for module, tree in _sources().items():
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if read & rare and not isinstance(getattr(_imported(module), "NEURONS", None), NeuronSupport):
            found.add(module)
    assert found == set(WITHOUT_DECLARATION)
