# SPDX-License-Identifier: Apache-2.0
"""What a chip says to a network: the paper's architectures are refused with the right numbers, others are placed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import Issue
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.ops import Conv2d, Dense, MaxPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.chip import Resources
from spikefold.hardware.fit import FitReport, broken_rules, fit_report
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.speck import rules as speck
from spikefold.hardware.speck.chip import SPECK2F
from spikefold.hardware.speck.cores import CORES
from spikefold.hardware.speck.placement import check_placement
from spikefold.hardware.speck.split import split_to_fit
from spikefold.train.models.architectures import architecture, network

LEAK, OPERATION, NEURON_MAP = (
    " ".join((rule.__doc__ or "").rstrip(".").split())
    for rule in (speck.neuron_kind, speck.operations, speck.neuron_map)
)


def _found(report: FitReport) -> dict[str, set[tuple[str, str]]]:
    """(layer, used) by rule; what is left goes under "memory"."""
    found: dict[str, set[tuple[str, str]]] = {}
    for issue in report.violations:
        rule = issue.rule if issue.rule in (LEAK, OPERATION, NEURON_MAP) else "memory"
        found.setdefault(rule, set()).add((issue.where, issue.got))
    return found


def _words(kernel: int, neuron: int, bias: int) -> str:
    return f"kernel {kernel}, neuron {neuron}, bias {bias} words"


def test_architecture_a_is_refused_for_its_leak_its_third_convolution_and_its_dense_layer() -> None:
    found = _found(fit_report(network(architecture("a")), SPECK2F, "a"))
    leaking = {where for where, _ in found.pop(LEAK)}
    assert leaking == {"sn1", "sn2", "sn3", "sn4", "out"}
    # 128 x 4x4 -> 128, and 128 x 8x8 -> 256: 2 Mi words where a core has 64 Ki. conv2 alone has room on two cores
    assert found == {
        "memory": {
            ("conv3", _words(128 * 16 * 128, 128 * 8 * 8, 128)),
            ("fc4", _words(128 * 64 * 256, 256, 256)),
        }
    }


def test_architecture_b_is_refused_for_its_maps_its_max_pools_and_six_of_its_layers() -> None:
    found = _found(fit_report(network(architecture("b")), SPECK2F, "b"))
    assert {where for where, _ in found.pop(LEAK)} == {"sn1", "sn2", "sn3", "sn4", "sn5", "sn6", "out"}
    assert found == {
        OPERATION: {(f"pool{number}", "MaxPool2d") for number in range(1, 6)},
        NEURON_MAP: {("conv1", "128x128")},
        "memory": {
            ("conv1", _words(2 * 16 * 128, 128 * 128 * 128, 128)),
            *((f"conv{n}", _words(128 * 16 * 128, 128 * (256 >> n) ** 2, 128)) for n in range(2, 6)),
            ("fc6", _words(128 * 16 * 512, 512, 512)),
        },
    }


def test_architecture_d_is_refused_for_its_leak_and_its_dense_layer() -> None:
    found = _found(fit_report(network(architecture("d")), SPECK2F, "d"))
    assert {where for where, _ in found.pop(LEAK)} == {"sn1", "sn2", "sn3", "sn4", "out"}
    assert found == {"memory": {("fc4", _words(32 * 64 * 256, 256, 256))}}


def test_a_refusal_as_json() -> None:
    content = fit_report(network(architecture("d")), SPECK2F, "d").to_json()
    assert json.loads(json.dumps(content)) == content
    assert content["fits"] is False
    assert (content["chip"], content["network"]) == ("speck2f", "d")
    violations = content["violations"]
    assert isinstance(violations, list)
    assert len(violations) == 6
    assert all(violation.keys() == {"rule", "layer", "used", "allowed", "hint"} for violation in violations)
    assert all(all(violation.values()) for violation in violations)
    assert (content["placement"], content["layers"], content["cores"], content["estimate"]) == ({}, [], None, None)


@pytest.mark.parametrize("name", ["speck-s", "speck-m"])
def test_what_fits_is_placed_with_the_memory_of_each_layer(name: str) -> None:
    real = network(architecture(name))
    report = fit_report(real, SPECK2F, name)
    content = json.loads(json.dumps(report.to_json()))
    assert report.fits
    assert content["violations"] == []
    assert not check_placement(split_to_fit(real), content["placement"])
    weights = [layer for layer in real if isinstance(layer.op, Conv2d | Dense)]
    assert [entry["layer"] for entry in content["layers"]] == [layer.name for layer in weights]
    assert content["cores"] == sum(entry["cores"] for entry in content["layers"]) == len(content["placement"])
    for entry, core in zip(content["layers"], content["placement"].values(), strict=True):
        memory = entry["memory"]
        assert memory["kernel"]["allowed"] == CORES[core].kernel
        assert all(0 <= words["used"] <= words["allowed"] for words in memory.values())
        assert entry["limited_by"] in memory
    assert (content["chips"], content["estimate"]) == (1, False)


def test_loihi_counts_cores_and_chips_of_what_speck_refuses() -> None:
    content = fit_report(network(architecture("a")), LOIHI2, "a").to_json()
    assert content["fits"] is True
    layers = content["layers"]
    assert isinstance(layers, list)
    assert [entry["layer"] for entry in layers] == ["conv1", "conv2", "conv3", "fc4", "fc"]
    assert content["cores"] == sum(entry["cores"] for entry in layers) > 5
    assert content["chips"] >= 1  # type: ignore[operator]
    assert content["limited_by"]
    assert content["estimate"] is True
    assert content["placement"] == {}


def _tiny(neuron: Neuron, weight: float = 0.5) -> Network:
    layers = (Layer("c", Conv2d(np.full((2, 2, 3, 3), weight))), Layer("n", neuron))
    return Network(InputSpec((2, 8, 8), 1000, 4), layers, 2)


def test_an_integer_network_is_asked_as_it_is() -> None:
    integer, _ = quantise(_tiny(Neuron(np.array(1.0))), SPECK2F.numbers)
    assert fit_report(integer, SPECK2F).fits
    conv = integer["c"].op
    assert isinstance(conv, Conv2d)
    wide = replace(integer, layers=(Layer("c", replace(conv, weight=conv.weight + 1)), integer.layers[1]))
    (issue,) = fit_report(wide, SPECK2F).violations
    assert (issue.where, issue.got, issue.limit) == ("c", "weight 128..128", "-128..127")


def test_what_the_quantiser_refuses_is_said_once_and_beside_the_rules_of_the_chip() -> None:
    leaky = fit_report(_tiny(Neuron(np.array(1.0), leak=Leak(0.5))), SPECK2F)
    assert [(issue.rule, issue.where) for issue in leaky.violations] == [(LEAK, "n")]
    # that no factor keeps a sum below 2^16 is a word of the quantiser alone
    (issue,) = fit_report(_busy(), LOIHI2).violations
    assert "18 inputs of up to 65535 events" in issue.rule
    assert issue.hint


def _busy() -> Network:
    quiet = _tiny(Neuron(np.array(1.0)))
    return replace(quiet, input=replace(quiet.input, max_count=65535))


def test_a_chip_without_counts_and_one_that_is_asked_nothing() -> None:
    report = fit_report(_tiny(Neuron(np.array(1.0))), replace(SPECK2F, resources=None))
    assert (report.fits, report.resources) == (True, None)
    assert report.to_json()["layers"] == []
    asked: list[Network] = []

    def count(of: Network) -> Resources:
        asked.append(of)
        return Resources((), 1, "nothing", False, {})

    counted = replace(SPECK2F, resources=count)
    wide = _tiny(Neuron(np.array(1.0), leak=Leak(0.5)))
    integer, _ = quantise(wide, LOIHI2.numbers)
    for broken in (wide, integer):
        assert not fit_report(broken, counted).fits
    assert not asked
    assert fit_report(_tiny(Neuron(np.array(1.0))), counted).resources is not None
    assert [of.is_integer for of in asked] == [True]


def test_the_quick_answer_says_fits_exactly_where_the_report_does() -> None:
    nets = [network(architecture(name)) for name in ("a", "d", "speck-s")]
    nets += [_tiny(Neuron(np.array(1.0))), _tiny(Neuron(np.array(1.0), v_min=-1.0)), _busy()]
    pooled = _tiny(Neuron(np.array(1.0)))
    nets.append(replace(pooled, layers=(Layer("p", MaxPool2d((2, 2))), *(replace(la, inputs=()) for la in pooled))))
    answers = []
    for chip in (SPECK2F, LOIHI2):
        for real in nets:
            quick: list[Issue] = broken_rules(real, chip)
            assert bool(quick) != fit_report(real, chip).fits
            answers.append(bool(quick))
    assert answers.count(True) >= 4
    assert answers.count(False) >= 4
