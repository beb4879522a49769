# SPDX-License-Identifier: Apache-2.0
"""Our own Speck configuration: sinabs' own where it can write one, and a chip filled with it spikes alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Concat, Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.export.passes.split_channels import split_channels
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck.board.samna_rules import validate_configuration
from spikefold.hardware.speck.board.samna_standin import SpeckConfiguration, as_values, fill
from spikefold.hardware.speck.chip import NUMBERS, violations
from spikefold.hardware.speck.cores import CORES, core_layers, destinations_of
from spikefold.hardware.speck.lowering.configuration import DEVICES, configuration, filled
from spikefold.hardware.speck.lowering.sinabs import SpeckModel, convert
from spikefold.hardware.speck.lowering.sinabs_check import differences
from spikefold.hardware.speck.placement import place
from spikefold.hardware.speck.split import split_to_fit, splits

DEVICE = "speck2fdevkit"


def _weights(*shape: int, low: int = -3, high: int = 6) -> np.ndarray:
    return np.random.default_rng(list(shape)).integers(low, high, shape)


def _fire(threshold: int = 7, reset: Reset = Reset.ZERO) -> Neuron:
    return Neuron(np.array(threshold), reset=reset, v_min=-9)


def _network(layers: list[Layer], shape: tuple[int, int, int], steps: int = 6) -> Network:
    return Network(InputSpec(shape, 1000, steps), tuple(layers), 1)


def _wide() -> Network:
    """20 features of 64x60 need two cores; behind them a sum pool."""
    return _network(
        [
            Layer("c0", Conv2d(_weights(20, 2, 3, 3), _weights(20), (1, 1), (1, 1))),
            Layer("n0", _fire()),
            Layer("p0", SumPool2d((2, 2))),
            Layer("c1", Conv2d(_weights(6, 20, 3, 3), None, (4, 2), (1, 2))),
            Layer("n1", _fire(60, Reset.SUBTRACT)),
            Layer("p1", SumPool2d((2, 2))),
            Layer("c2", Conv2d(_weights(4, 6, 4, 4))),
            Layer("n2", _fire(40)),
        ],
        (2, 64, 60),
        3,
    )


def _branched() -> Network:
    """Two branches add up in one layer and lie side by side in another, in the other order."""
    layers: dict[str, tuple[Any, ...]] = {
        "a": (Conv2d(_weights(3, 2, 3, 3), None, (1, 1), (1, 1)), INPUT),
        "na": (_fire(), "a"),
        "b": (Conv2d(_weights(3, 2, 1, 1)), INPUT),
        "nb": (_fire(4), "b"),
        "sum": (Conv2d(_weights(2, 3, 3, 3)), "na", "nb"),
        "ns": (_fire(20), "sum"),
        "both": (Concat(), "nb", "na"),
        "pool": (SumPool2d((2, 2)), "both"),
        "c": (Conv2d(_weights(5, 6, 2, 2)), "pool"),
        "nc": (_fire(9), "c"),
    }
    return _network([Layer(name, op, tuple(reads)) for name, (op, *reads) in layers.items()], (2, 10, 10))


def _run(values: Mapping[str, Any], entry: list[int], frames: np.ndarray) -> dict[int, np.ndarray]:
    """A chip, clocked, from the configuration alone: the spikes ``(T, N, f, fH, fW)`` of each core in use."""
    cores = {number: core for number, core in enumerate(values["cnn_layers"]) if core["weights"]}
    order: list[int] = []
    while len(order) < len(cores):
        order += [number for number in cores if number not in order and _sources(cores, number) <= set(order)]
    assert all(_sources(cores, number) or number in entry for number in cores)
    state: dict[int, Any] = dict.fromkeys(cores, 0)
    spikes: dict[int, list[np.ndarray]] = {number: [] for number in cores}
    for frame in frames:
        arrived = {number: _zeros(core["dimensions"]["input_shape"], len(frame)) for number, core in cores.items()}
        for number in entry:
            arrived[number] += frame
        for number in order:
            core, dims = cores[number], cores[number]["dimensions"]
            stride, padding = ((dims[key]["y"], dims[key]["x"]) for key in ("stride", "padding"))
            kernel = np.swapaxes(np.array(core["weights"]), 2, 3)
            v = state[number] + reference.apply(
                Conv2d(kernel, np.array(core["biases"]), stride, padding), arrived[number]
            )
            fired = v >= core["threshold_high"]
            v = np.where(fired, 0 if core["return_to_zero"] else v - core["threshold_high"], v)
            state[number] = np.maximum(v, core["threshold_low"])
            spikes[number].append(fired)
            for to in core["destinations"]:
                if to["enable"]:
                    pooled = reference.apply(SumPool2d((to["pooling"],) * 2), fired.astype(np.int64))
                    first = to["feature_shift"]
                    arrived[to["layer"]][:, first : first + pooled.shape[1]] += pooled
    return {number: np.stack(found) for number, found in spikes.items()}


def _sources(cores: Mapping[int, Any], number: int) -> set[int]:
    return {n for n, core in cores.items() for to in core["destinations"] if to["enable"] and to["layer"] == number}


def _zeros(extent: Mapping[str, Any], clips: int) -> np.ndarray:
    return np.zeros((clips, extent["feature_count"], extent["size"]["y"], extent["size"]["x"]), np.int64)


def _compare(network: Network, least: int) -> None:
    """Every spike of every core of the configured chip is that of the reference's layer on it."""
    cores = place(network).cores
    entry = [cores[network.consumers(to.layer)[0].name] for to in destinations_of(network, INPUT)]
    frames = np.random.default_rng(1).poisson(0.5, (network.input.steps, 2, *network.input.shape))
    found = _run(configuration(network, cores, DEVICE), entry, frames)
    expected = reference.run(network, frames).layers
    assert set(found) == set(cores.values())
    for name, core in cores.items():
        assert np.array_equal(found[core], expected[name].raster), name
        assert expected[name].spikes > least, name
        assert expected[name].raster.max() == 1


def test_a_chip_filled_with_it_spikes_as_the_unsplit_network() -> None:
    network = _wide()
    assert splits(network) == {"c0": (10, 10)}
    fitted = split_to_fit(network)
    _compare(fitted, 20)
    frames = np.random.default_rng(1).poisson(0.5, (3, 2, 2, 64, 60))
    whole, apart = reference.run(network, frames).layers, reference.run(fitted, frames).layers
    assert np.array_equal(whole["n2"].raster, apart["n2"].raster)
    assert whole["n2"].spikes > 20
    assert whole["n0"].spikes == apart["n0.0"].spikes + apart["n0.1"].spikes > 1000


def test_two_layers_in_two_parts_each_and_branches_arrive_where_they_should() -> None:
    layers = [
        Layer("c0", Conv2d(_weights(5, 2, 3, 3))),
        Layer("n0", _fire()),
        Layer("p", SumPool2d((2, 2))),
        Layer("c1", Conv2d(_weights(7, 5, 2, 2))),
        Layer("n1", _fire(20)),
        Layer("c2", Dense(_weights(4, 7 * 9))),
        Layer("n2", _fire(30)),
    ]
    network = split_channels(split_channels(_network(layers, (2, 10, 10)), "c0", 2), "c1", [2, 5])
    assert [len(core.destinations) for core in core_layers(network)] == [2, 2, 1, 1, 0]
    _compare(network, 5)
    assert violations(_branched()) == []
    _compare(_branched(), 5)


def test_feature_shifts_are_written_and_only_there() -> None:
    fitted = split_to_fit(_wide())
    cores = place(fitted).cores
    values = configuration(fitted, cores, DEVICE)["cnn_layers"]
    sent = {name: [to for to in values[core]["destinations"] if to["enable"]] for name, core in cores.items()}
    reader = cores["n1"]
    assert sent["n0.0"] == [{"layer": reader, "enable": True, "pooling": 2, "feature_shift": 0}]
    assert sent["n0.1"] == [{"layer": reader, "enable": True, "pooling": 2, "feature_shift": 10}]
    assert [core["monitor_enable"] for core in values] == [number == cores["n2"] for number in range(len(CORES))]


# --- against sinabs -------------------------------------------------------------------------------


def _real(seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    ops: list[Op] = [
        Conv2d(rng.normal(0.1, 0.3, (4, 2, 3, 3)), rng.normal(0, 0.1, 4), (1, 2), (1, 2)),
        Neuron(np.array(0.8), reset=Reset.SUBTRACT),
        SumPool2d((2, 2)),
        Conv2d(rng.normal(0.1, 0.3, (5, 4, 3, 3)), None, (2, 1), (0, 1)),
        Neuron(np.array(1.0)),
    ]
    return _network([Layer(f"l{i}", op) for i, op in enumerate(ops)], (2, 12, 10))


@pytest.mark.parametrize("device", ["speck2fdevkit", "speck2edevkit"])
def test_the_whole_document_is_sinabs_own(device: str) -> None:
    model, (integer, _) = convert(_real(), device), quantise(_real(), NUMBERS)
    assert configuration(integer, model.layer2core, device) == model.configuration()
    assert differences(model, integer) == []


def test_biases_of_zero_start_no_leak_in_either() -> None:
    first, *others = _real()
    assert isinstance(first.op, Conv2d)
    layers = [replace(first, op=replace(first.op, bias=np.zeros(4))), *others]
    network = _network(layers, (2, 12, 10))
    model, (integer, _) = convert(network), quantise(network, NUMBERS)
    assert configuration(integer, model.layer2core, DEVICE) == model.configuration()
    assert [core["leak_enable"] for core in model.configuration()["cnn_layers"]] == [False] * len(CORES)


def test_every_field_is_compared() -> None:
    """Each value of sinabs' document, changed alone, is found under its name, and where it stands."""
    model, (integer, _) = convert(_real()), quantise(_real(), NUMBERS)
    weights = {layer.neuron_name: layer.name for layer in core_layers(integer)}
    parts = [("cnn_layers", core, weights[name]) for name, core in model.layer2core.items()]
    checked = 0
    for *at, where in [*parts, ("dvs_layer", "sensor layer")]:
        for field, path, value in _changes(_at(model.configuration(), at)):
            changed = copy.deepcopy(model.configuration())
            _at(changed, [*at, *path[:-1]])[path[-1]] = value
            found = differences(_with(model, changed), integer)
            assert [(issue.where, issue.rule.rsplit(": ")[-1]) for issue in found] == [(where, field)], path
            checked += 1
    assert checked > 40


WORDS = {
    "return_to_zero": "reset to zero",
    "threshold_high": "threshold",
    "threshold_low": "lower bound",
    "neurons_initial_value": "initial state",
    "monitor_enable": "monitored",
}


def _changes(values: Mapping[str, Any], before: tuple[Any, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Of each field: its name in words, the path to one number or flag in it, and another value."""
    for name, value in values.items():
        if name == "dimensions":
            yield from _changes(value, (name,))
            continue
        path = (*before, name)
        while isinstance(value, list | Mapping):
            # the first destination's flag, the last number otherwise
            key: int | str = 0 if name == "destinations" else len(value) - 1
            if isinstance(value, Mapping):
                key = "enable" if "enable" in value else list(value)[-1]
            path, value = (*path, key), _at(value, (key,))
        yield WORDS.get(name, name.replace("_", " ")), path, not value if isinstance(value, bool) else value + 1


def _at(values: Any, path: Sequence[Any]) -> Any:
    for key in path:
        values = values[key]
    return values


def _with(model: SpeckModel, values: Mapping[str, Any]) -> SpeckModel:
    made = SpeckConfiguration()
    fill(made, values)
    return replace(model, samna_configuration=made)


def test_shift_and_pool_of_a_destination_are_compared_and_a_core_too_many_is_found() -> None:
    model, (integer, _) = convert(_real()), quantise(_real(), NUMBERS)
    first, last = model.layer2core.values()
    for field, value in (("feature_shift", 1), ("pooling", 4), ("layer", first)):
        changed = copy.deepcopy(model.configuration())
        changed["cnn_layers"][first]["destinations"][0][field] = value
        (found,) = differences(_with(model, changed), integer)
        assert (found.where, found.rule.rsplit(": ")[-1]) == ("l0", "destinations")
    idle = next(number for number in range(len(CORES)) if number not in (first, last))
    changed = copy.deepcopy(model.configuration())
    changed["cnn_layers"][idle]["weights"] = [[[[1]]]]
    (found,) = differences(_with(model, changed), integer)
    assert (found.where, found.rule.rsplit(": ")[-1]) == ("network", "cores in use")
    changed = copy.deepcopy(model.configuration())
    changed["cnn_layers"][idle]["monitor_enable"] = True
    (found,) = differences(_with(model, changed), integer)
    assert (found.where, found.rule.rsplit(": ")[-1]) == (f"core {idle}", "monitored")


# --- what is refused ------------------------------------------------------------------------------


def test_what_cannot_be_configured_is_refused() -> None:
    network = split_to_fit(_wide())
    cores = dict(place(network).cores)
    for device in ("dynapcnndevkit", "speck2b", "speck2f"):
        assert device not in DEVICES
        with pytest.raises(UnsupportedError, match=device):
            configuration(network, cores, device)
    with pytest.raises(UnsupportedError, match="whole numbers"):
        configuration(_real(), {"l1": 0, "l4": 1}, DEVICE)
    with pytest.raises(UnsupportedError, match="no core"):
        configuration(network, {"n1": 0}, DEVICE)
    with pytest.raises(UnsupportedError, match="neuron address bits 16, limit 14 on core 8"):
        configuration(network, cores | {"n0.0": 8}, DEVICE)
    with pytest.raises(UnsupportedError, match="no core"):
        configuration(_wide(), cores, DEVICE)
    first: Any = _wide()["c1"].op
    wide = [replace(layer, op=replace(first, stride=(3, 3))) if layer.name == "c1" else layer for layer in _wide()]
    strided = split_to_fit(_network(wide[:5], (2, 64, 60)))
    with pytest.raises(UnsupportedError, match="stride is not 1, 2, 4 or 8"):
        configuration(strided, place(strided).cores, DEVICE)


def _shift(core: str, value: int) -> Callable[[Any, Mapping[str, int]], None]:
    return lambda made, cores: setattr(made.cnn_layers[cores[core]].destinations[0], "feature_shift", value)


@pytest.mark.parametrize(
    ("part", "shift", "message"),
    [
        ("n0.1", 11, "sends features 11..20 of 32x30 to core {reader}, which reads another shape"),
        ("n0.1", -1, "sends features -1..8"),
        ("n0.1", 9, "core {reader}: no source sends features [19]"),
        ("n0.0", 1, "core {reader}: no source sends features [0]"),
        ("n0.1", 0, "core {reader}: no source sends features [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]"),
        ("n1", 1, "sends features 1..6"),
    ],
)
def test_illegal_shifts_are_refused_by_the_stand_in(part: str, shift: int, message: str) -> None:
    network = split_to_fit(_wide())
    cores = place(network).cores
    made = filled(network, cores)
    assert validate_configuration(made) == (True, "")
    _shift(part, shift)(made, cores)
    valid, said = validate_configuration(made)
    assert not valid
    assert message.format(reader=cores["n1"]) in said
    assert as_values(made)["cnn_layers"][cores[part]]["destinations"][0]["feature_shift"] == shift
