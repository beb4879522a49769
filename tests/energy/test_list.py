# SPDX-License-Identifier: Apache-2.0
"""The list of cases in which a published counter was found wrong: each has its test, and here are those it lacked.

The list is section 7 of the fact sheet on energy; `LIST` says where each of its lines is kept.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import spikefold.energy
from spikefold.energy.counts.attention import cost_of
from spikefold.train.models.architectures import architecture, build
from spikefold.train.models.attention import ASA

LIST: Mapping[str, tuple[str, ...]] = {
    "borders, stride, dilation, groups, transposed, same, reflect pad": (
        "live/test_profile_layers.test_four_hundred_random_layers_equal_a_loop_over_every_synapse",
        "../export/test_fanout.test_every_synapse_is_counted_once",
        "counts/test_count.test_every_layer_equals_visiting_its_synapses",
    ),
    "average pool before a convolution in both rules": (
        "live/test_profile_cases.test_average_pool_before_a_convolution_by_both_rules",
        "counts/test_count.test_sum_pooled_spikes_count_every_one",
    ),
    "one non-binary value": ("live/test_profile_cases.test_one_value_that_is_not_binary",),
    "{0,1,2}, {0,.25}, ternary": ("live/test_profile_cases.test_levels_of_the_input",),
    "all-zero input and all-zero weights": ("live/test_profile_cases.test_input_of_zeros_and_weights_of_zeros",),
    "bf16": ("live/test_profile_cases.test_half_and_double_precision_count_the_same",),
    "odd count above 2^24": (
        "live/test_profile_cases.test_odd_counts_beyond_what_float32_holds",
        "counts/test_count.test_counts_far_beyond_what_a_float_holds_are_exact",
    ),
    "T first and N first": (
        "live/test_profile_cases.test_steps_first_and_clips_first_give_the_same_numbers_a_clip",
        "test_list.test_spiking_networks_count_the_same_steps_first_and_clips_first",
    ),
    "last smaller batch": ("live/test_profile.test_two_runs_are_equal_and_so_are_one_batch_and_many",),
    "subclassed layers": ("live/test_profile_cases.test_subclasses_with_and_without_a_forward_of_their_own",),
    "functional convolution": ("live/test_profile_layers.test_functional_convolutions_are_counted_as_their_modules",),
    "SDPA": ("live/test_profile_cases.test_scaled_dot_product_attention",),
    "element-wise gate": ("live/test_profile_cases.test_element_wise_gates_and_residuals",),
    "BN on CPU and CUDA": ("live/test_profile_cases.test_batch_norm_has_one_name_on_every_backend",),
    "the counter does not count itself": (
        "live/test_profile_cases.test_the_counter_does_not_count_itself",
        "test_list.test_with_hooks_off_the_network_runs_the_operations_that_were_counted",
    ),
    "reused module": ("live/test_profile_cases.test_a_reused_module_is_one_row_with_all_its_calls",),
    "unknown operation": ("live/test_profile_cases.test_unknown_operations_are_listed_and_never_zero",),
    "unit of dt": (
        "live/test_profile_cases.test_no_number_depends_on_the_duration_of_a_step",
        "chip/test_power.test_a_step_of_unknown_length_has_no_rates",
        "chip/test_core_load.test_mean_and_peak_a_core",
    ),
    "the total is the sum of the layers": (
        "live/test_profile.test_the_total_is_the_sum_of_the_layers_in_python_integers",
    ),
}
FIELDS = ("dense_padded", "dense", "pairs", "events", "spikes")


def _tests(file: str) -> set[str]:
    tree = ast.parse((Path(__file__).parent / f"{file}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("line", LIST)
def test_every_line_of_the_list_has_its_tests(line: str) -> None:
    for place in LIST[line]:
        file, _, name = place.rpartition(".")
        assert name in _tests(file), f"{place} is gone: {line} needs a test"


def _network() -> nn.Sequential:
    """Convolutions, a pool, a reused neuron and a dense layer, all spiking."""
    torch.manual_seed(0)
    parts = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, step_mode="m"),
        neuron.LIFNode(step_mode="m"),
        layer.AvgPool2d(2, step_mode="m"),
        layer.Conv2d(4, 6, 3, groups=2, bias=False, step_mode="m"),
        neuron.IFNode(step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(54, 5, step_mode="m"),
        neuron.IFNode(step_mode="m"),
    )
    for part in parts:
        if hasattr(part, "weight"):
            nn.init.uniform_(vars(part)["_parameters"]["weight"], -0.1, 0.6)
    return parts.eval()


def _spikes(*shape: int) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.3).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_number_is_a_python_integer_of_any_model_type(dtype: torch.dtype) -> None:
    found = spikefold.energy.profile(_network().to(dtype), _spikes(6, 3, 2, 10, 10).to(dtype))
    for row in (*found.layers, found.total):
        assert {type(getattr(row, field)) for field in FIELDS} == {int}, row.name
    assert min(getattr(found.total, field) for field in FIELDS) > 100
    written: Any = found.to_json()
    for row, values in zip(found.layers, written["layers"], strict=True):
        assert {field: values[field] for field in FIELDS} == {field: getattr(row, field) for field in FIELDS}
    assert written["unpriced"] == []


def test_spiking_networks_count_the_same_steps_first_and_clips_first() -> None:
    network, x = _network(), _spikes(6, 3, 2, 10, 10)
    steps_first = spikefold.energy.profile(network, x)
    clips_first = spikefold.energy.profile(
        network, x.transpose(0, 1).contiguous(), layout="NT", call=lambda model, y: model(y.transpose(0, 1))
    )
    assert clips_first.total == steps_first.total
    assert (clips_first.clips, clips_first.frames) == (steps_first.clips, steps_first.frames) == (3, 18)
    assert clips_first.per_clip("spikes") == steps_first.per_clip("spikes") > 10
    # what confuses the two axes sees other potentials, so other spikes
    confused = spikefold.energy.profile(network, x.transpose(0, 1).contiguous())
    assert confused.total.spikes != steps_first.total.spikes


class _Operations(TorchDispatchMode):
    """How often each weighted operation runs."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func._schema.name).removeprefix("aten::")
        self.times[{"addmm": "linear", "mm": "linear", "convolution": "conv2d"}.get(name, name)] += 1
        return func(*args, **(kwargs or {}))


def test_with_hooks_off_the_network_runs_the_operations_that_were_counted() -> None:
    network, x = _network(), _spikes(6, 3, 2, 10, 10)
    with torch.no_grad(), _Operations() as plain:
        expected = network(x)
    functional.reset_net(network)
    kept: list[torch.Tensor] = []
    runs = [spikefold.energy.profile(network, x, call=lambda model, y: kept.append(model(y))) for _ in range(2)]
    assert runs[0] == runs[1]
    assert all(torch.equal(one, expected) for one in kept)
    assert expected.sum() > 10
    calls = Counter({one: 0 for one in ("conv2d", "linear", "avg_pool2d")})
    for row in runs[0].layers:
        calls[row.op.replace("avg_pool", "avg_pool2d")] += row.calls
    for op in ("conv2d", "linear", "avg_pool2d"):
        assert calls[op] == plain.times[op] > 0, op
    with torch.no_grad(), _Operations() as again:
        network(x)
    functional.reset_net(network)
    assert again.times == plain.times  # nothing of the counter stayed behind


def test_sew_resnet_18_with_asa_in_its_blocks_is_counted_or_named() -> None:
    """The network of the paper as it is trained here, on small frames."""
    torch.manual_seed(0)
    made = replace(architecture("sew18", attention="asa1"), shape=(3, 32, 32), steps=3)
    network, x = build(made), _spikes(3, 2, 3, 32, 32)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.6, 1.2)
            nn.init.uniform_(part.bias, 0.0, 0.6)
            part.momentum = 1.0
    with torch.no_grad():
        network(x)  # the frames' own statistics
    functional.reset_net(network)
    found = spikefold.energy.profile(network.eval(), x)
    assert {one.op for one in found.unpriced} == {"max_pool2d", "amax", "topk", "sigmoid"}
    assert all(one.op in found.coverage and one.where in found.coverage for one in found.unpriced)
    assert found.uncalled == ()
    spiking = [one for one in found.layers if one.op == "neuron"]
    assert len(spiking) == 1 + 16 + 3 + 1
    assert all(one.spikes > 0 for one in spiking)
    assert len([one for one in found.layers if one.op == "conv2d"]) == 1 + 16 + 3 + 2 * 16
    gates = {name: part for name, part in network.named_modules() if isinstance(part, ASA)}
    assert len(gates) == 16
    for name in gates:
        maps = sum(found[f"{name}.{part}"].dense_padded for part in ("important", "sub_important"))
        height, width = (int(n) for n in _map_of(found, name))
        cost = cost_of("asa1", {name: (gates[name].channels, height, width)}, 3, 2)
        assert (maps, found[f"{name}.mix"].dense_padded) == (cost.map_macs, cost.mlp_macs)
        assert found[f"{name}.mul"].multiplies >= cost.gate_macs > 0


def _map_of(found: Any, gate: str) -> tuple[int, int]:
    """Height and width of what a gate multiplies, square here, from the neurons behind it."""
    neurons = found[gate.replace("asa", "sn")].neuron_updates
    channels = {"1": 64, "2": 128, "3": 256, "4": 512}[gate.split("block")[1][0]]
    side = round((neurons / (3 * 2 * channels)) ** 0.5)
    assert side * side * 3 * 2 * channels == neurons
    return side, side
