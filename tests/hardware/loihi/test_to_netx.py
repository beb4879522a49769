# SPDX-License-Identifier: Apache-2.0
"""The .net file: what is in it, and everything that is refused instead of written wrong."""

from __future__ import annotations

import ast
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.hardware.loihi import to_netx as to_loihi
from spikefold.hardware.loihi.rules import RULES
from spikefold.hardware.loihi.to_netx import violations, write_net, write_script

IF = Neuron(np.array(7), state_shift=7, state_bits=24, overflow=Overflow.SATURATE)
LIF = replace(IF, fire=Fire.GT, leak=Leak(1000, 12))
HALF = replace(LIF, state_shift=6)
"""Counts in the file's half weights."""


def conv(out: int = 2, channels: int = 1, **options: object) -> Conv2d:
    weight = np.arange(out * channels * 6).reshape(out, channels, 2, 3) - 5
    return Conv2d(weight, **options)  # type: ignore[arg-type]


def chain(*ops: object, shape: tuple[int, int, int] = (1, 4, 5), steps: int = 3) -> Network:
    layers = tuple(Layer(f"{type(op).__name__.lower()}{i}", op) for i, op in enumerate(ops))  # type: ignore[arg-type]
    return Network(InputSpec(shape, dt_us=1000, steps=steps), layers, classes=1)


def dense_net(weight: list[list[int]], bias: list[int] | None = None, neuron: Neuron = IF) -> Network:
    op = Dense(np.array(weight), None if bias is None else np.array(bias))
    return chain(op, neuron, shape=(len(weight[0]), 1, 1))


NAMES = {str(rule.__doc__).partition("\n")[0].replace("``", "").rstrip("."): rule.__name__ for rule in RULES}


def rules(network: Network, **options: int) -> list[str]:
    """The functions whose docstrings the violations quote."""
    return [NAMES[issue.rule] for issue in violations(network, **options)]


def full_net() -> Network:
    first = conv(bias=np.array([1, -2]), stride=(1, 2), padding=(0, 1), dilation=(2, 1))
    return chain(first, IF, Dense(np.arange(12).reshape(1, 12) - 3, np.array([4])), LIF)


def test_file_holds_doubled_numbers_and_exact_thresholds(tmp_path: Path) -> None:
    network = full_net()
    write_net(network, tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net") as file:
        assert sorted(file["layer"], key=int) == ["0", "1", "2", "3"]
        assert [file[f"layer/{i}/type"][0] for i in range(4)] == [b"input", b"conv", b"flatten", b"dense"]
        assert file["layer/0/shape"][()].tolist() == [1, 4, 5]
        weights = file["layer/1"]
        np.testing.assert_array_equal(weights["weight"][()], 2 * network.layers[0].op.weight)
        assert weights["bias"][()].tolist() == [2, -4]
        assert weights["shape"][()].tolist() == [2, 2, 3]
        geometry = [weights[key][()].tolist() for key in ("stride", "padding", "dilation", "groups")]
        assert geometry == [[1, 2], [0, 1], [2, 1], 1]
        spikes, leaky = weights["neuron"], file["layer/3/neuron"]
        assert (spikes["vThMant"][()], spikes["vDecay"][()], spikes["iDecay"][()]) == (13, 0, 4096)
        assert (leaky["vThMant"][()], leaky["vDecay"][()], leaky["iDecay"][()]) == (14, 3096, 4096)
        assert file["simulation/tSample"][()] == 3


def test_same_network_gives_same_bytes(tmp_path: Path) -> None:
    first, second = write_net(full_net(), tmp_path / "a.net"), write_net(full_net(), tmp_path / "b.net")
    assert first.read_bytes() == second.read_bytes()


def test_dense_first_takes_the_input_flattened(tmp_path: Path) -> None:
    write_net(chain(Dense(np.ones((3, 20), np.int64)), IF), tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net") as file:
        assert file["layer/0/shape"][()].tolist() == [20]
        assert file["layer/1/type"][0] == b"dense"


def test_nothing_is_left_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(to_loihi, "_fill", full)
    with pytest.raises(OSError, match="No space"):
        write_net(full_net(), tmp_path / "a.net")
    assert os.listdir(tmp_path) == []


def test_everything_wrong_is_named_at_once_and_nothing_written(tmp_path: Path) -> None:
    wrong = replace(LIF, threshold=np.array(70000), reset=Reset.SUBTRACT, max_spikes=None, v_min=-5, state_shift=0)
    network = dense_net([[300, 1]], [3000], replace(wrong, order=Order.INPUT_FIRST, leak=Leak(3, 4), fire=Fire.GE))
    with pytest.raises(UnsupportedError) as caught:
        write_net(network, tmp_path / "a.net")
    assert [NAMES[issue.rule] for issue in caught.value.issues] == [
        "weights_of_eight_bits",
        "biases_of_twelve_bits",
        "threshold_of_sixteen_bits",
        "reset_to_zero",
        "one_spike_a_step",
        "no_lower_bound",
        "leak_before_input",
        "leak_of_twelve_bits",
        "fires_above_its_threshold",
        "state_of_24_bits",
    ]
    assert all(issue.got and issue.limit and issue.hint and issue.got != issue.limit for issue in caught.value.issues)
    assert os.listdir(tmp_path) == []


def test_shapes_of_network_that_netx_cannot_read() -> None:
    assert rules(chain(SumPool2d((2, 2)), conv(), IF, shape=(1, 4, 6))) == ["operations"]
    assert rules(chain(conv(), IF, IF)) == ["weights_and_neurons_alternate"]
    assert rules(chain(conv(), conv(1, 2), IF)) == ["weights_and_neurons_alternate"]
    after_dense = chain(Dense(np.ones((4, 20), np.int64)), IF, Conv2d(np.ones((1, 4, 1, 1), np.int64)), IF)
    assert rules(after_dense) == ["convolutions_first"]


def test_branches_are_refused() -> None:
    one = Conv2d(np.ones((1, 1, 1, 1), np.int64))
    layers = (
        Layer("a", one),
        Layer("s", IF),
        Layer("b", one),
        Layer("t", IF),
        Layer("c", one, ("s", "t")),
        Layer("u", IF),
    )
    network = Network(InputSpec((1, 2, 2), 1000, 3), layers, classes=1)
    assert rules(network) == ["one_chain"]


def test_real_network_is_refused_and_its_shapes_and_neurons_are_judged(tmp_path: Path) -> None:
    network = chain(Conv2d(np.full((1, 1, 2, 2), 900.5)), Neuron(np.array(1.0)))
    assert rules(network) == []
    with pytest.raises(UnsupportedError, match="whole numbers"):
        write_net(network, tmp_path / "a.net")
    wrong = Neuron(np.array([1.0, 2.0]).reshape(2, 1, 1), reset=Reset.SUBTRACT, max_spikes=None)
    pooled = chain(SumPool2d((2, 2)), Conv2d(np.ones((2, 1, 1, 1))), wrong)
    assert rules(pooled) == ["operations", "one_threshold_a_layer", "reset_to_zero", "one_spike_a_step"]


@pytest.mark.parametrize(
    ("weight", "refused"),
    [
        ([[0, 0]], True),
        ([[-128, -64]], True),
        ([[-3, -1]], False),
        ([[-4, -1]], True),
        ([[-4, 0]], True),
        ([[-1, 0]], True),
        ([[-5, 0]], False),
        ([[-128, 1]], False),
        ([[127, 127]], False),
        ([[-127, -127]], False),
    ],
)
def test_dense_matrices_that_netx_would_change(weight: list[list[int]], refused: bool) -> None:
    found = rules(dense_net(weight))
    expected = "no_lowest_power_of_two" if np.any(weight) else "a_dense_weight_other_than_zero"
    assert found == ([expected] if refused else [])


def netx_weight(written: np.ndarray) -> np.ndarray:
    """What lava computes with: netx ``optimize_weight_bits`` and lava's clipping and truncation, in one place."""
    low, high = int(written.min()), int(written.max())
    mixed = low < 0 <= high
    one_sign = -256 / low if high < 0 else 255 / max(high, 1)
    scale = min(127 / high if high else np.inf, -128 / low) if mixed else one_sign
    shift = int(np.floor(np.log2(scale))) + mixed
    zeros = max(n for n in range(9) if not (written % 2**n).any())
    bits = 8 - shift - (zeros - mixed)
    scaled = written.astype(np.int64) << shift
    inhibits = high <= 0
    sign = -1 if inhibits else 1
    magnitude = np.clip(sign * scaled, -256 if low < 0 < high else 0, 255)
    cut = 8 - bits + (low < 0 < high)
    return ((sign * ((magnitude >> cut) << cut)) / 2.0**shift).astype(np.int64)


def test_rule_for_dense_matrices_is_exactly_where_netx_changes_one() -> None:
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(3000):
        ends = np.sort(rng.integers(-128, 128, 2))
        weight = rng.integers(ends[0], ends[1] + 1, (2, 3)) // 2 ** rng.integers(0, 4) * 2 ** rng.integers(0, 4)
        weight = np.clip(weight, -128, 127)
        if not weight.any():
            continue
        changed = not np.array_equal(netx_weight(2 * weight), 2 * weight)
        assert (rules(dense_net(weight.tolist())) == ["no_lowest_power_of_two"]) == changed, weight
        refused += changed
    assert refused > 20


def test_rule_for_half_weights_leaves_nothing_that_netx_changes() -> None:
    rng, kept, refused = np.random.default_rng(6), 0, 0
    for _ in range(3000):
        ends = np.sort(rng.integers(-256, 256, 2))
        weight = rng.integers(ends[0], ends[1] + 1, (2, 3)) // 2 ** rng.integers(0, 5) * 2 ** rng.integers(0, 5)
        found = rules(dense_net(weight.tolist(), neuron=HALF))
        if not found:
            np.testing.assert_array_equal(netx_weight(weight), weight)
            kept += 1
        refused += bool(found)
    assert kept > 500
    assert refused > 500


def test_sum_of_weights_counts_the_sign_the_bias_and_the_highest_count() -> None:
    wide = [[127] * 516]
    assert rules(dense_net(wide, [3])) == []
    assert rules(dense_net(wide, [4])) == ["sum_of_weights"]
    assert rules(dense_net([[127, -127] * 516])) == []
    assert rules(dense_net([[100, -1]]), max_count=655) == []
    assert rules(dense_net([[100, -1]]), max_count=656) == ["sum_of_weights"]


def test_sum_of_later_layers_is_not_scaled_by_the_input() -> None:
    network = chain(Dense(np.ones((2, 1), np.int64)), IF, Dense(np.array([[120, 120]])), IF, shape=(1, 1, 1))
    assert rules(network, max_count=1000) == []


def test_limits_are_inclusive() -> None:
    edge = replace(IF, threshold=np.array(2**16))
    assert rules(dense_net([[-128, 127]], [-2048], edge)) == []
    assert rules(dense_net([[-128, 127]], [2047], replace(edge, threshold=np.array(1)))) == []
    assert rules(dense_net([[-129, 127]], [2048])) == ["weights_of_eight_bits", "biases_of_twelve_bits"]


def test_threshold_fits_seventeen_bits_of_the_file(tmp_path: Path) -> None:
    at_ties, above = (replace(IF, threshold=np.array(2**16 + extra)) for extra in (0, 1))
    path = write_net(dense_net([[1]], neuron=at_ties), tmp_path / "a.net")
    with h5py.File(path) as file:
        assert file["layer/1/neuron/vThMant"][()] == 2**17 - 1
    assert rules(dense_net([[1]], neuron=above)) == ["threshold_of_sixteen_bits"]
    assert rules(dense_net([[1]], neuron=replace(at_ties, fire=Fire.GT))) == ["threshold_of_sixteen_bits"]
    half = replace(HALF, threshold=np.array(2**17 - 1))
    assert rules(dense_net([[1]], neuron=half)) == []
    assert rules(dense_net([[1]], neuron=replace(half, threshold=np.array(2**17)))) == ["threshold_of_sixteen_bits"]


@pytest.mark.parametrize(
    ("weight", "bias", "expected"),
    [
        ([[-256, 254]], [-4096], []),
        ([[-256, 254]], [4096], ["biases_of_twelve_bits"]),
        ([[0, 255]], [4095], []),
        ([[-255, -1]], None, []),
        ([[-255, 1]], None, ["weights_of_eight_bits"]),
        ([[0, 257]], None, ["weights_of_eight_bits"]),
        ([[-258, 2]], None, ["weights_of_eight_bits"]),
        ([[254] * 516], [7], []),
        ([[254] * 516], [8], ["sum_of_weights"]),
    ],
)
def test_half_weights_have_the_widths_of_the_file(
    weight: list[list[int]], bias: list[int] | None, expected: list[str], tmp_path: Path
) -> None:
    network = dense_net(weight, bias, HALF)
    assert rules(network) == expected
    if not expected:
        with h5py.File(write_net(network, tmp_path / "a.net")) as file:
            assert file["layer/1/weight"][()].tolist() == weight
            assert bias is None or file["layer/1/bias"][()].tolist() == bias
            assert file["layer/1/neuron/vThMant"][()] == 7


def test_half_weights_fire_above_their_threshold_only() -> None:
    assert rules(dense_net([[3]], neuron=replace(HALF, leak=None, fire=Fire.GE))) == ["fires_above_its_threshold"]
    assert rules(dense_net([[3]], neuron=replace(HALF, leak=None))) == []


def test_a_current_is_written_and_must_not_wrap_within_a_clip(tmp_path: Path) -> None:
    lasting = replace(LIF, current=Leak(3072, 12))
    with h5py.File(write_net(dense_net([[5, 3]], neuron=lasting), tmp_path / "a.net")) as file:
        assert file["layer/1/neuron/iDecay"][()] == 1024
    # it keeps three quarters: one step adds up to 1 + 3/4 + 9/16 = 2.3125 times as much in three
    assert rules(dense_net([[100] * 283], neuron=lasting)) == []
    assert rules(dense_net([[100] * 284], neuron=lasting)) == ["sum_of_weights"]
    assert rules(dense_net([[100] * 284], neuron=LIF)) == []
    assert rules(dense_net([[5]], [0], lasting)) == []
    assert rules(dense_net([[5]], [127], lasting)) == []
    assert rules(dense_net([[5]], [128], lasting)) == ["bias_beside_a_lasting_current"]
    assert rules(dense_net([[5]], [1], replace(LIF, current=Leak(0, 12)))) == []
    assert rules(dense_net([[5]], neuron=replace(LIF, current=Leak(1, 2)))) == ["leak_of_twelve_bits"]
    assert rules(dense_net([[5]], neuron=replace(IF, current=Leak(9, 12)))) == ["fires_above_its_threshold"]


def test_layers_too_wide_for_any_core() -> None:
    deep = chain(Conv2d(np.ones((4096, 1, 1, 1), np.int64)), IF)
    assert rules(deep) == ["channels_of_a_core"]
    (issue,) = violations(deep)
    assert (issue.where, issue.got, issue.limit) == ("conv2d0", "4096", "4095")
    wide = dense_net([[1] * 12001])
    (issue,) = violations(wide)
    assert (issue.where, issue.got, issue.limit) == ("dense0", "12001", "12000")
    assert rules(dense_net([[1] * 12000])) == []
    real = chain(Dense(np.ones((1, 12001))), Neuron(np.array(1.0)), shape=(12001, 1, 1))
    assert rules(real) == ["inputs_of_a_dense_layer"]


def test_uniform_threshold_array_is_one_threshold(tmp_path: Path) -> None:
    even, uneven = (replace(IF, threshold=np.array(v).reshape(2, 1, 1)) for v in ([9, 9], [9, 8]))
    path = write_net(dense_net([[1], [2]], neuron=even), tmp_path / "a.net")
    with h5py.File(path) as file:
        assert file["layer/1/neuron/vThMant"][()] == 17
    assert rules(dense_net([[1], [2]], neuron=uneven)) == ["one_threshold_a_layer"]


def test_script_is_python_and_names_its_file(tmp_path: Path) -> None:
    path = write_script(tmp_path / "mynet.py")
    text = path.read_text(encoding="utf-8")
    ast.parse(text)
    assert "python mynet.py" in text
    assert "Loihi2HwCfg" in text
