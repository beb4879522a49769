# SPDX-License-Identifier: Apache-2.0
"""The conversion: sinabs' configuration equals our integers field by field, on our cores, or is refused by name.

That sinabs' forward has the same spikes and states is shown in `test_speck_parity`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.ops import Concat, Conv2d, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck.board.samna_standin import SpeckConfiguration, as_values, fill
from spikefold.hardware.speck.chip import NUMBERS
from spikefold.hardware.speck.lowering import sinabs as to_speck
from spikefold.hardware.speck.lowering.sinabs import SpeckModel, convert, discretised, name_of, samna_json
from spikefold.hardware.speck.lowering.sinabs_check import differences
from spikefold.hardware.speck.lowering.sinabs_runner import run
from spikefold.hardware.speck.placement import check_placement, place

ONE = Neuron(np.array(1.0))
INPUT = InputSpec((2, 8, 8), 1000, 2)


def _network(ops: Sequence[Op], shape: tuple[int, int, int] = (2, 12, 10), steps: int = 6) -> Network:
    layers = tuple(Layer(f"{type(op).__name__.lower()}{i}", op) for i, op in enumerate(ops))
    return Network(InputSpec(shape, 1000, steps), layers, 1)


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng([0, *shape]).normal(0.06, 0.2, shape)


def _conv(f: int, c: int, k: int, **options: Any) -> Conv2d:
    return Conv2d(_weights(f, c, k, k), **options)


def _mixed() -> Network:
    """Biases, padding and strides that differ in y and x, and a pool that drops a row."""
    first = _conv(4, 2, 3, bias=_weights(4) - 0.06, padding=(1, 2), stride=(1, 2))
    return _network([first, ONE, SumPool2d((2, 2)), _conv(5, 4, 3, padding=(0, 1), stride=(2, 1)), ONE], (2, 12, 5))


def _core(model: SpeckModel, layer: str) -> dict[str, Any]:
    core: dict[str, Any] = model.configuration()["cnn_layers"][model.layer2core[layer]]
    return core


# --- differences ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> tuple[SpeckModel, Network]:
    network = _mixed()
    return convert(network), quantise(network, NUMBERS)[0]


def _planted(network: Network, index: int, **changes: Any) -> Network:
    layers = list(network.layers)
    op: Any = layers[index].op
    layers[index] = replace(layers[index], op=replace(op, **changes))
    return network.rewritten(layers, "planted")


def _bumped(array: np.ndarray, index: tuple[int, ...] = (0,)) -> np.ndarray:
    changed = array.copy()
    changed[index] += 1
    return changed


def test_planted_changes_are_found(pair: tuple[SpeckModel, Network]) -> None:
    model, network = pair
    conv, neuron = network.layers[0].op, network.layers[1].op
    planted = {
        "weights": _planted(network, 0, weight=_bumped(conv.weight, (3, 1, 2, 0))),
        "biases": _planted(network, 0, bias=_bumped(conv.bias, (2,))),
        "threshold": _planted(network, 1, threshold=neuron.threshold + 1),
        "lower bound": _planted(network, 1, v_min=neuron.v_min - 1),
        "reset to zero": _planted(network, 1, reset=Reset.SUBTRACT),
    }
    assert differences(model, network) == []
    for field, changed in planted.items():
        found = differences(model, changed)
        assert [issue.rule.rsplit(": ")[-1] for issue in found] == [field]
        assert found[0].where == "conv2d0"
    swapped = differences(model, _planted(network, 0, weight=np.swapaxes(conv.weight, 2, 3)))
    assert [issue.rule.rsplit(": ")[-1] for issue in swapped] == ["weights"]
    assert "of 72 differ" in swapped[0].got


def test_stride_and_padding_exchanged_in_x_and_y_are_found(pair: tuple[SpeckModel, Network]) -> None:
    model, _ = pair
    square = _network([_conv(4, 2, 3, padding=(1, 2), stride=(1, 2)), ONE], (2, 12, 12))
    turned = _network([_conv(4, 2, 3, padding=(2, 1), stride=(2, 1)), ONE], (2, 12, 12))
    found = differences(convert(square), quantise(turned, NUMBERS)[0])
    assert {issue.rule.rsplit(": ")[-1] for issue in found} >= {"output shape", "stride", "padding"}
    assert differences(model, quantise(square, NUMBERS)[0])[0].where == "network"


def test_a_pool_of_another_size_and_a_core_too_many_are_found() -> None:
    def pooled(side: int) -> Network:
        ops: list[Op] = [
            _conv(4, 2, 3, padding=(1, 1)),
            ONE,
            SumPool2d((side, side)),
            _conv(3, 4, 3, padding=(1, 1)),
            ONE,
        ]
        return _network(ops, (2, 8, 8))

    model = convert(pooled(2))
    found = differences(model, quantise(pooled(4), NUMBERS)[0])
    assert "destinations" in {issue.rule.rsplit(": ")[-1] for issue in found}
    free = next(core for core in range(9) if core not in model.layer2core.values())
    model.samna_configuration.cnn_layers[free].weights = [[[[1]]]]
    assert [i.rule.rsplit(": ")[-1] for i in differences(model, quantise(pooled(2), NUMBERS)[0])] == ["cores in use"]


# --- placement: ours, made by sinabs --------------------------------------------------------------


def test_the_cores_are_those_of_our_placement() -> None:
    network = _network([op for i in range(3) for op in (_conv(2, 2, 3), ONE)], (2, 20, 20))
    model, integer = convert(network), quantise(network, NUMBERS)[0]
    assert dict(model.layer2core) == dict(place(integer).cores)
    used = [number for number, core in enumerate(model.configuration()["cnn_layers"]) if core["weights"]]
    assert used == sorted(model.layer2core.values())
    # sinabs' own search takes others, legal too: so it was ours that was used
    theirs = discretised(network).network
    theirs.make_config(device="speck2fdevkit")
    found = {name_of(layer): theirs.layer2core_map[index] for index, layer in theirs.dynapcnn_layers.items()}
    assert found != dict(model.layer2core)
    assert check_placement(integer, found) == []


def test_a_placement_may_be_given_and_is_checked() -> None:
    network = _mixed()
    model = convert(network, placement={"neuron4": 2, "neuron1": 5})
    assert list(model.layer2core.items()) == [("neuron1", 5), ("neuron4", 2)]
    assert differences(model, quantise(network, NUMBERS)[0]) == []
    sent = _core(model, "neuron1")["destinations"][0]
    assert (sent["layer"], sent["enable"], sent["pooling"]) == (2, True, 2)
    with pytest.raises(UnsupportedError) as caught:
        convert(network, placement={"neuron1": 5, "neuron4": 5, "other": 3})
    assert {(issue.where, issue.got) for issue in caught.value.issues} == {
        ("other", "a core"),
        ("neuron4", "core 5, taken by neuron1"),
    }


def test_a_failed_placement_names_the_layers_that_compete() -> None:
    # four layers of 64 Ki neurons, three cores with so many
    ops = [op for _ in range(4) for op in (Conv2d(np.ones((16, 16, 1, 1))), ONE)]
    with pytest.raises(UnsupportedError, match="no placement") as caught:
        convert(_network(ops, (16, 64, 64), steps=1))
    assert [issue.where for issue in caught.value.issues] == ["conv2d0, conv2d2, conv2d4, conv2d6"]
    assert "3 that could take them: core 0" in caught.value.issues[0].limit
    assert "output channels" in caught.value.issues[0].hint
    assert len(convert(_network(ops[:6], (16, 64, 64), steps=1)).layer2core) == 3


# --- refusals -------------------------------------------------------------------------------------


def test_everything_unsupported_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_speck, "_dynapcnn_network", lambda: pytest.fail("sinabs was reached"))
    ops: list[Op] = [
        Conv2d(_weights(4, 1, 3, 3), groups=2),
        ONE,
        Conv2d(_weights(4, 4, 3, 3), dilation=(2, 2)),
        Neuron(np.array(1.0), leak=Leak(0.5)),
        Conv2d(_weights(4, 4, 3, 2), stride=(3, 1), padding=(8, 8)),
        ONE,
    ]
    network = _network(ops, (2, 32, 32))
    with pytest.raises(UnsupportedError) as caught:
        convert(network)
    assert {issue.where for issue in caught.value.issues} == {"conv2d0", "conv2d2", "neuron3", "conv2d4"}
    assert len(caught.value.issues) == 6
    # stride and padding are the chip's limits, not those of sinabs' forward
    with pytest.raises(UnsupportedError) as caught:
        discretised(network)
    assert sorted(issue.where for issue in caught.value.issues) == ["conv2d0", "conv2d2", "conv2d4", "neuron3"]


def _wired(*layers: tuple[str, Op, tuple[str, ...]]) -> Network:
    return Network(INPUT, tuple(Layer(*layer) for layer in layers), 1)


POINT, POOL = _conv(2, 2, 1), SumPool2d((2, 2))
A = (("a", POINT, ()), ("na", ONE, ("a",)))
B = (("b", POINT, ("na",)), ("nb", ONE, ("b",)))


@pytest.mark.parametrize(
    ("network", "where"),
    [
        (_wired(*A, ("b", POINT, ("na", "input")), ("nb", ONE, ("b",))), ["b"]),
        (_wired(*A, *B, ("c", POINT, ("nb",)), ("nc", ONE, ("c",)), ("d", POINT, ("na", "nb", "nc")),
                ("nd", ONE, ("d",))), ["d"]),
        (_wired(*A, ("b", POINT, ("na", "na")), ("nb", ONE, ("b",))), ["b"]),
        (_wired(*A, *B, ("p", POOL, ("na", "nb")), ("c", POINT, ("p",)), ("nc", ONE, ("c",))), ["p", "na"]),
        (_wired(*A, *B, ("c", POINT, ("na",)), ("nc", ONE, ("c",))), ["nb"]),
        (_wired(*A, ("p", POOL, ("na",)), ("b", _conv(2, 2, 2, stride=(2, 2)), ("na",)), ("nb", ONE, ("b",)),
                ("c", POINT, ("p", "nb")), ("nc", ONE, ("c",))), ["na"]),
        (_wired(*A, ("p", POOL, ("na",)), ("q", POOL, ("p",)), ("b", _conv(2, 2, 2, stride=(2, 2)), ("p",)),
                ("nb", ONE, ("b",)), ("c", POINT, ("q", "nb")), ("nc", ONE, ("c",))), ["p"]),
    ],
    ids=["the input in a sum", "a sum of three", "twice itself", "a pooled sum", "a dead end", "one of two pooled",
         "a pool within a shared pool"],
)  # fmt: skip
def test_a_wiring_that_sinabs_cannot_follow_is_refused(network: Network, where: list[str]) -> None:
    for refused in (convert, discretised):
        with pytest.raises(UnsupportedError) as caught:
            refused(network)
        assert [issue.where for issue in caught.value.issues if "sinabs 3.1" in issue.hint] == where


def test_layers_side_by_side_are_refused_for_sinabs_has_no_feature_shift() -> None:
    network = _wired(*A, *B, ("both", Concat(), ("na", "nb")), ("c", _conv(2, 4, 1), ("both",)), ("nc", ONE, ("c",)))
    for refused in (convert, discretised):
        with pytest.raises(UnsupportedError, match="sinabs cannot shift features"):
            refused(network)


def test_what_samna_itself_refuses_is_said_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    discretised(_mixed())  # loads sinabs' part
    from sinabs.backend.dynapcnn.config_builder import ConfigBuilder

    def refuse(cls: type, configuration: Any) -> bool:
        sys.stdout.write("core 7: a rule of its own")  # sinabs prints samna's message
        return False

    monkeypatch.setattr(ConfigBuilder, "validate_configuration", classmethod(refuse))
    with pytest.raises(UnsupportedError, match="samna refuses the configuration: core 7: a rule of its own"):
        convert(_mixed())


def test_frames_of_another_shape_are_refused(pair: tuple[SpeckModel, Network]) -> None:
    with pytest.raises(NetworkError, match="do not fit"):
        run(pair[0], np.zeros((2, 1, 2, 5, 12)))


# --- the model ------------------------------------------------------------------------------------


def test_every_run_starts_from_zero_and_leaves_the_model_alone(pair: tuple[SpeckModel, Network]) -> None:
    model, network = pair
    before = model.configuration()
    for clips in (3, 1, 4):
        frames = np.random.default_rng(1).poisson(0.6, (6, clips, *network.input.shape))
        ours, theirs = reference.run(network, frames), run(model, frames)
        assert ours.spikes > 0
        assert all(np.array_equal(ours.layers[n].raster, theirs.layers[n].raster) for n in ours.layers)
        assert all(layer.potentials is None for layer in theirs.layers.values())
    assert model.configuration() == before
    assert not any(layer.spk_layer.is_state_initialised() for layer in model.network.dynapcnn_layers.values())


def test_the_document_holds_the_configuration_and_loads(pair: tuple[SpeckModel, Network], tmp_path: Path) -> None:
    model, _ = pair
    assert model.write(tmp_path / "net.json") == (tmp_path / "net.json",)
    assert [path.name for path in tmp_path.iterdir()] == ["net.json"]
    document = json.loads((tmp_path / "net.json").read_text())
    assert document["format"] == "spikefold-speck-1"
    assert document["layer2core"] == dict(model.layer2core)
    loaded = SpeckConfiguration()
    fill(loaded, document["configuration"])
    assert as_values(loaded) == model.configuration()
    core = loaded.cnn_layers[model.layer2core["neuron1"]]
    assert (core.threshold_low, core.leak_enable) == (-16384, True)


class _Real(SpeckConfiguration):
    """As the real samna's class: it reads the text that it writes, whose layout nobody else knows."""

    def to_json(self) -> str:
        return "samna's own: " + json.dumps(as_values(self, SpeckConfiguration))[::-1]

    @classmethod
    def from_json(cls, text: str) -> _Real:
        made = cls()
        fill(made, json.loads(text.removeprefix("samna's own: ")[::-1]))
        return made


class _Compiled:
    """One that is no class of ours, as samna's are."""

    def __init__(self, inner: _Real) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_samnas_own_text_is_written_where_samna_made_the_configuration(
    pair: tuple[SpeckModel, Network], tmp_path: Path
) -> None:
    model, _ = pair
    assert samna_json(model.samna_configuration) is None
    inner = _Real()
    fill(inner, model.configuration())
    written = replace(model, samna_configuration=_Compiled(inner)).write(tmp_path / "config.json")
    assert (
        [path.name for path in written]
        == ["config.json", "samna.json"]
        == sorted(path.name for path in tmp_path.iterdir())
    )
    assert as_values(_Real.from_json(written[1].read_text()), SpeckConfiguration) == model.configuration()
    assert json.loads(written[0].read_text())["configuration"] == model.configuration()


def test_notes_name_what_the_chip_does_otherwise() -> None:
    network = _network([_conv(4, 2, 3, bias=_weights(4)), Neuron(np.array(1.0), max_spikes=1)])
    notes = "\n".join(convert(network).notes)
    assert "conv2d0: the chip adds biases on each tick" in notes
    assert "cannot cap spikes a step" in notes
    loose = convert(_network([Conv2d(np.full((1, 2, 1, 1), 3.0)), Neuron(np.array(1.0), max_spikes=None)]))
    assert loose.notes == ("conv2d0: a weight is 3.02 thresholds, yet the chip fires at most once for an event",)


@pytest.mark.parametrize("make", [convert, discretised])
def test_torch_is_left_as_it_was(make: Callable[[Network], Any], capsys: pytest.CaptureFixture[str]) -> None:
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    make(_mixed())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() is dtype
    assert capsys.readouterr().out == ""
