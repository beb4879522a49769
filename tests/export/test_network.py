# SPDX-License-Identifier: Apache-2.0
"""The invariants of a network description: for each rule one example that is taken and one that is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, SumPool2d

ONE = Neuron(np.array(1.0))
WHOLE = Neuron(np.array(3))
SPEC = InputSpec((2, 6, 5), 1000, 4)


def _conv(out: int = 3, channels: int = 2, kernel: tuple[int, int] = (3, 3), **options: Any) -> Conv2d:
    return Conv2d(np.ones((out, channels, *kernel)), **options)


def _norm(channels: int = 2, **changed: Any) -> BatchNorm:
    ones = np.ones(channels)
    return BatchNorm(**({"gamma": ones, "beta": ones, "mean": ones, "var": ones, "eps": 1e-5} | changed))  # type: ignore[arg-type]


def _net(*layers: Any, classes: int = 1, spec: InputSpec = SPEC) -> Network:
    named = [la if isinstance(la, Layer) else Layer(f"l{i}", la) for i, la in enumerate(layers)]
    return Network(spec, tuple(named), classes)


# ---- the input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [((1, 1, 1), 1, 1), ((2, 128, 7), 33_000, 60), ((2, 4, 4), 1000, 8, 1)])
def test_an_input_of_positive_sizes_is_taken(values: Any) -> None:
    spec = InputSpec(*values)
    assert (spec.shape, spec.dt_us, spec.steps) == values[:3]


@pytest.mark.parametrize(
    "values",
    [
        ((0, 4, 4), 1000, 8),
        ((2, 0, 4), 1000, 8),
        ((2, 4, -1), 1000, 8),
        ((2, 4, 4), 0, 8),
        ((2, 4, 4), 1000, 0),
        ((2, 4.5, 4), 1000, 8),
    ],
)
def test_an_input_with_a_size_below_1_is_refused(values: Any) -> None:
    with pytest.raises(NetworkError, match="whole numbers above 0 only"):
        InputSpec(*values)


def test_an_input_of_no_events_at_all_is_refused() -> None:
    with pytest.raises(NetworkError, match="at most 0 events an input and step leave nothing to see"):
        InputSpec((2, 4, 4), 1000, 8, 0)


# ---- neurons ----------------------------------------------------------------------------------------------------

NEURONS: dict[str, tuple[dict[str, Any], str]] = {
    "threshold of rank 1": ({"threshold": np.ones(3)}, r"threshold has shape \(3,\)"),
    "threshold of rank 4": ({"threshold": np.ones((1, 1, 1, 1))}, r"threshold has shape \(1, 1, 1, 1\)"),
    "threshold 0": ({"threshold": np.array(0.0)}, "thresholds must be finite and above 0, lowest is 0.0"),
    "one threshold below 0": ({"threshold": np.array([1.0, -1]).reshape(2, 1, 1)}, "above 0, lowest is -1.0"),
    "threshold NaN": ({"threshold": np.array(np.nan)}, "must be finite"),
    "threshold infinite": ({"threshold": np.array(np.inf)}, "must be finite"),
    "no spikes": ({"max_spikes": 0}, "max_spikes is 0, needs at least 1 or None"),
    "bound above 0": ({"v_min": 0.5}, "the lower bound of the state is 0.5, above 0"),
    "reset value without its reset": ({"reset_value": 1.0}, "reset_value is for Reset.VALUE alone"),
    "reset value 0": ({"reset": Reset.VALUE}, "Reset.VALUE needs one other than 0"),
    "bound NaN": ({"v_min": float("nan")}, "lower bound nan"),
    "bound without end": ({"v_min": float("-inf")}, "lower bound -inf"),
    "reset value NaN": ({"reset": Reset.VALUE, "reset_value": float("nan")}, "reset value nan"),
    "shift below 0": ({"state_shift": -1}, "shift -1"),
    "shift of 63": ({"state_shift": 63}, "shift 63"),
    "1 bit": ({"state_bits": 1}, "a state of 1 bits cannot be simulated exactly"),
    "63 bits": ({"state_bits": 63}, "a state of 63 bits cannot be simulated exactly"),
}


@pytest.mark.parametrize("case", NEURONS)
def test_a_neuron_that_breaks_a_rule_is_refused(case: str) -> None:
    options, message = NEURONS[case]
    with pytest.raises(NetworkError, match=message):
        Neuron(**({"threshold": np.array(1.0)} | options))


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": np.array(1e-9)},
        {"threshold": np.ones((3, 1, 1))},
        {"threshold": np.ones((3, 4, 5))},
        {"max_spikes": None},
        {"max_spikes": 7},
        {"v_min": 0.0},
        {"v_min": -3.0},
        {"reset": Reset.VALUE, "reset_value": -1.0},
        {"state_bits": 2, "overflow": Overflow.WRAP},
        {"state_shift": 62},
        {"state_bits": 62, "overflow": Overflow.SATURATE},
        {"fire": Fire.GT, "order": Order.INPUT_FIRST, "leak": Leak(0.5), "reset": Reset.SUBTRACT},
    ],
    ids=str,
)
def test_a_neuron_at_the_edge_of_each_rule_is_taken(options: dict[str, Any]) -> None:
    neuron = Neuron(**({"threshold": np.array(1.0)} | options))
    for name, value in options.items():
        np.testing.assert_array_equal(getattr(neuron, name), value)


@pytest.mark.parametrize("leak", [(0, 0), (1, 0), (0.25, 0), (0, 12), (4096, 12), (4095, 12), (1, 62)])
def test_a_leak_between_nothing_and_everything_is_taken(leak: tuple[float, int]) -> None:
    assert (Leak(*leak).keep, Leak(*leak).shift) == leak


@pytest.mark.parametrize("leak", [(-0.1, 0), (1.1, 0), (4097, 12), (1, -1), (1, 63), (float("nan"), 0)])
def test_a_leak_outside_that_is_refused(leak: tuple[float, int]) -> None:
    with pytest.raises(NetworkError, match="is not a share between 0 and 1"):
        Leak(*leak)


def test_an_integer_leak_with_a_fraction_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"an integer leak needs a whole numerator, got 0\.5"):
        Leak(0.5, 1)


def test_whether_a_neuron_is_integer_depends_on_every_number_of_it() -> None:
    assert WHOLE.is_integer
    assert not ONE.is_integer
    assert replace(WHOLE, leak=Leak(5, 3), v_min=-2.0).is_integer
    assert replace(WHOLE, leak=Leak(1)).is_integer
    assert replace(WHOLE, leak=Leak(0)).is_integer
    assert not replace(WHOLE, leak=Leak(0.5)).is_integer
    assert not replace(WHOLE, v_min=-0.5).is_integer
    assert not replace(WHOLE, reset=Reset.VALUE, reset_value=0.5).is_integer


@pytest.mark.parametrize("threshold", [(), (3, 1, 1), (3, 4, 3), (1, 4, 3)])
def test_thresholds_that_broadcast_to_the_layer_are_taken(threshold: tuple[int, ...]) -> None:
    assert Neuron(np.ones(threshold)).output_shape((3, 4, 3)) == (3, 4, 3)


def test_thresholds_that_would_enlarge_the_layer_are_refused_with_its_name() -> None:
    with pytest.raises(NetworkError, match=r"threshold \(3, 4, 3\) does not fit neurons \(3, 1, 1\)") as caught:
        _net(Dense(np.ones((3, 60))), Layer("spiking", Neuron(np.ones((3, 4, 3)))))
    assert caught.value.where == "spiking"


# ---- operations -------------------------------------------------------------------------------------------------

OPERATIONS = {
    "conv weight of rank 2": (lambda: Conv2d(np.ones((2, 3))), r"conv weight has shape \(2, 3\), needs 4 axes"),
    "conv weight NaN": (lambda: Conv2d(np.full((1, 1, 1, 1), np.nan)), "conv weight holds NaN or infinity"),
    "conv without a tap": (lambda: Conv2d(np.ones((1, 1, 0, 3))), "make no convolution"),
    "conv stride 0": (lambda: _conv(stride=(0, 1)), r"stride \(0, 1\).* make no convolution"),
    "conv dilation 0": (lambda: _conv(dilation=(1, 0)), r"dilation \(1, 0\).* make no convolution"),
    "conv padding below 0": (lambda: _conv(padding=(-1, 0)), r"padding \(-1, 0\).* make no convolution"),
    "conv groups 0": (lambda: _conv(groups=0), "groups 0 make no convolution"),
    "conv uneven groups": (lambda: _conv(3, groups=2), "3 output channels do not divide into 2 groups"),
    "conv bias too short": (lambda: _conv(3, bias=np.ones(2)), "2 biases for 3 outputs"),
    "conv bias of rank 2": (lambda: _conv(3, bias=np.ones((3, 1))), r"bias has shape \(3, 1\), needs 1 axes"),
    "conv bias infinite": (lambda: _conv(1, bias=np.array([np.inf])), "bias holds NaN or infinity"),
    "dense weight of rank 4": (lambda: Dense(np.ones((1, 1, 1, 1))), "dense weight has shape .* needs 2 axes"),
    "dense weight infinite": (lambda: Dense(np.array([[np.inf]])), "dense weight holds NaN or infinity"),
    "dense bias too long": (lambda: Dense(np.ones((2, 3)), np.ones(3)), "3 biases for 2 outputs"),
    "norm of two lengths": (lambda: _norm(beta=np.ones(3)), "batch norm parameters differ in length"),
    "norm of rank 2": (lambda: _norm(gamma=np.ones((2, 1))), r"gamma has shape \(2, 1\), needs 1 axes"),
    "norm of variance below 0": (
        lambda: _norm(var=np.array([1, -1.0])),
        "variance -1.0 or eps 1e-05 is out of range",
    ),
    "norm without eps": (lambda: _norm(eps=0.0), "eps 0.0 is out of range"),
    "norm of mean NaN": (lambda: _norm(mean=np.array([1, np.nan])), "mean holds NaN or infinity"),
    "gate of 0 for a neuron": (lambda: Gate(np.zeros((1, 1, 1))), "a gate factor is 0.0, must be above 0"),
    "gate below 0": (lambda: Gate(np.array([-1.0])), "a gate factor is -1.0"),
    "gate of rank 2": (lambda: Gate(np.ones((2, 1))), r"gate has shape \(2, 1\)"),
    "mean of nothing": (lambda: AvgPool2d((0, 2)), r"pooling by \(0, 2\)"),
    "sum of nothing": (lambda: SumPool2d((2, 0)), r"pooling by \(2, 0\)"),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_an_operation_that_breaks_a_rule_is_refused(case: str) -> None:
    build, message = OPERATIONS[case]
    with pytest.raises(NetworkError, match=message):
        build()


@pytest.mark.parametrize(
    ("op", "shape", "expected"),
    [
        (_conv(), (2, 6, 5), (3, 4, 3)),
        (_conv(padding=(1, 1)), (2, 6, 5), (3, 6, 5)),
        (_conv(padding=(0, 2)), (2, 6, 5), (3, 4, 7)),
        (_conv(stride=(2, 1)), (2, 6, 5), (3, 2, 3)),
        (_conv(stride=(4, 9)), (2, 6, 5), (3, 1, 1)),
        (_conv(dilation=(2, 1)), (2, 6, 5), (3, 2, 3)),
        (_conv(dilation=(2, 2), padding=(2, 2), stride=(2, 2)), (2, 6, 5), (3, 3, 3)),
        (_conv(kernel=(6, 5)), (2, 6, 5), (3, 1, 1)),
        (_conv(kernel=(1, 4)), (2, 6, 5), (3, 6, 2)),
        (_conv(4, 1, groups=2), (2, 6, 5), (4, 4, 3)),
        (_conv(2, 1, groups=2), (2, 3, 3), (2, 1, 1)),
        (Dense(np.ones((7, 60))), (2, 6, 5), (7, 1, 1)),
        (_norm(2), (2, 6, 5), (2, 6, 5)),
        (Gate(np.ones(2)), (2, 6, 5), (2, 6, 5)),
        (AvgPool2d((2, 2)), (2, 6, 5), (2, 3, 2)),
        (SumPool2d((3, 1)), (2, 7, 5), (2, 2, 5)),
        (SumPool2d((6, 5)), (2, 6, 5), (2, 1, 1)),
    ],
)
def test_output_shapes(op: Conv2d, shape: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    assert op.output_shape(shape) == expected


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (_conv(3, 1), "conv takes 1 channels, its input has 2"),
        (_conv(4, 2, groups=2), "conv takes 4 channels, its input has 2"),
        (_conv(kernel=(7, 3)), "a 7x3 kernel does not fit an input of 6x5"),
        (_conv(dilation=(1, 3)), "a 3x3 kernel does not fit an input of 6x5"),
        (Dense(np.ones((3, 59))), r"dense takes 59 inputs, got \(2, 6, 5\) = 60"),
        (_norm(3), "batch norm over 3 channels, its input has 2"),
        (Gate(np.ones(3)), r"gate \(3,\) does not fit its input \(2, 6, 5\)"),
        (AvgPool2d((7, 1)), r"pooling by \(7, 1\) leaves nothing of \(2, 6, 5\)"),
        (SumPool2d((1, 6)), r"pooling by \(1, 6\) leaves nothing of \(2, 6, 5\)"),
    ],
)
def test_an_operation_that_does_not_fit_its_input_is_refused_with_the_layers_name(op: Conv2d, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        _net(Layer("guilty", op), ONE)
    assert caught.value.where == "guilty"
    assert "guilty" in str(caught.value)


def test_numbers_become_read_only_copies_in_64_bits() -> None:
    weight, bias, threshold = np.ones((3, 2, 3, 3), np.float32), np.ones(3, np.float32), np.ones((3, 1, 1))
    conv, neuron = Conv2d(weight, bias), Neuron(threshold)
    weight[:], bias[:], threshold[:] = 7, 7, 7
    dense = Dense(np.ones((2, 3), np.int8), np.ones(2, np.int8))
    norm, gate = _norm(), Gate(np.ones(2, np.float32))
    arrays = [conv.weight, conv.bias, dense.weight, dense.bias, gate.scale]
    arrays += [norm.gamma, norm.beta, norm.mean, norm.var, neuron.threshold]
    for array in arrays:
        assert array is not None
        assert array.max() == array.min() == 1
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert conv.weight.dtype == conv.bias.dtype == gate.scale.dtype == np.float64
    assert dense.weight.dtype == dense.bias.dtype == np.int64


def test_nothing_of_a_network_can_be_assigned() -> None:
    network = _net(_conv(), ONE)
    for thing, name in ((network, "classes"), (network.layers[0], "op"), (ONE, "fire"), (network.input, "steps")):
        with pytest.raises(AttributeError):
            setattr(thing, name, None)


# ---- the network ------------------------------------------------------------------------------------------------


def test_layers_without_inputs_read_from_the_layer_before() -> None:
    network = _net(_conv(), ONE, Dense(np.ones((4, 36))), ONE, classes=2)
    assert [layer.inputs for layer in network] == [("input",), ("l0",), ("l1",), ("l2",)]
    assert network.shapes == {"input": (2, 6, 5), "l0": (3, 4, 3), "l1": (3, 4, 3), "l2": (4, 1, 1), "l3": (4, 1, 1)}
    assert [layer.name for layer in network.neurons] == ["l1", "l3"]
    assert network["l2"].op.weight.shape == (4, 36)
    assert [layer.name for layer in network.consumers("l1")] == ["l2"]
    assert network.input_shape(network["l2"]) == (3, 4, 3)
    with pytest.raises(KeyError):
        network["l9"]


def test_a_layer_may_read_several_layers_and_the_input() -> None:
    network = _net(
        Layer("a", _conv(2, padding=(1, 1))),
        Layer("n", ONE),
        Layer("b", _conv(2, padding=(1, 1)), ("input", "n")),
        Layer("m", ONE, ("a", "b")),
    )
    assert network["b"].inputs == ("input", "n")
    assert [layer.name for layer in network.consumers("a")] == ["n", "m"]
    assert [layer.name for layer in network.consumers("input")] == ["a", "b"]


WIRING: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "a name twice": ([Layer("a", _conv()), Layer("a", ONE)], {}, r"names must be unique.*\['a', 'a'\]"),
    "the input's name": ([Layer("input", _conv()), Layer("n", ONE)], {}, "not 'input'"),
    "no layers": ([], {}, "layer names must be unique, not empty"),
    "an unknown input": ([Layer("a", _conv(), ("b",)), Layer("n", ONE)], {}, "input 'b' is no earlier layer"),
    "a later layer": ([Layer("a", _conv(), ("n",)), Layer("n", ONE)], {}, "input 'n' is no earlier layer"),
    "itself": ([Layer("a", _conv(), ("a",)), Layer("n", ONE)], {}, "input 'a' is no earlier layer"),
    "a last layer that cannot spike": ([Layer("n", ONE), Layer("a", _conv())], {}, "the last layer must be spiking"),
    "no classes": ([_conv(), ONE], {"classes": 0}, "36 output neurons do not split into 0 classes"),
    "uneven classes": ([_conv(), ONE], {"classes": 5}, "36 output neurons do not split into 5 classes"),
    "half a class": ([_conv(), ONE], {"classes": 1.5}, "36 output neurons do not split into 1.5 classes"),
    "inputs of two shapes": (
        [Layer("a", _conv()), Layer("n", ONE), Layer("m", ONE, ("n", "input"))],
        {},
        r"inputs \('n', 'input'\) have different shapes",
    ),
    "integer weights, real neurons": (
        [Layer("w", Conv2d(np.ones((1, 2, 1, 1), int))), Layer("n", ONE)],
        {},
        "real or integer, not both: w integer, n real",
    ),
    "real weights, integer neurons": ([_conv(), WHOLE], {}, "real or integer, not both: l0 real, l1 integer"),
    "integer weight, real bias": (
        [Dense(np.ones((1, 60), int), np.ones(1)), WHOLE],
        {},
        "weight and bias are in different number systems",
    ),
    "integer weights, fractional leak": (
        [Dense(np.ones((1, 60), int)), replace(WHOLE, leak=Leak(0.5))],
        {},
        "real or integer, not both",
    ),
    "a batch norm among integers": ([_norm(), Dense(np.ones((1, 60), int)), WHOLE], {}, "l0 real, l1 integer"),
    "a gate among integers": ([Gate(np.ones(2)), Dense(np.ones((1, 60), int)), WHOLE], {}, "l0 real, l1 integer"),
    "a mean among integers": ([AvgPool2d((1, 1)), Dense(np.ones((1, 60), int)), WHOLE], {}, "l0 real, l1 integer"),
}


@pytest.mark.parametrize("case", WIRING)
def test_a_network_that_breaks_a_rule_is_refused(case: str) -> None:
    layers, options, message = WIRING[case]
    with pytest.raises(NetworkError, match=message) as caught:
        _net(*layers, **options)
    assert isinstance(caught.value, UnsupportedError)
    assert (caught.value.exit_code, str(caught.value)[:10]) == (3, "E-NETWORK:")


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 6, 9, 12, 18, 36])
def test_outputs_split_into_any_divisor(classes: int) -> None:
    assert _net(_conv(), ONE, classes=classes).classes == classes


def test_integer_networks_hold_sum_pools_and_whole_neurons() -> None:
    ops = [SumPool2d((2, 1)), Dense(np.ones((2, 30), int), np.ones(2, int)), replace(WHOLE, leak=Leak(3, 2))]
    assert _net(*ops).is_integer
    assert not _net(_conv(), ONE).is_integer


def test_rewriting_records_the_step_and_leaves_the_original_alone() -> None:
    network = Network(SPEC, (Layer("a", _conv()), Layer("n", ONE)), 1, ("made",))
    other = network.rewritten([*network.layers], "step")
    assert (network.history, other.history) == (("made",), ("made", "step"))
