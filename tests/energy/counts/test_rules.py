# SPDX-License-Identifier: Apache-2.0
"""Counting rules: each gives the number that its users print on one network that eleven tools were measured on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from spikefold.energy.budget import budget, load_profile
from spikefold.energy.counts.count import Counts, LayerCounts
from spikefold.energy.counts.input_rates import input_rates
from spikefold.energy.counts.rules import RULES, activation_bits
from spikefold.errors import ConfigError, MismatchError
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.trace import Trace

# the test network of the energy facts, section 1, variant A: 4 clips of 8 steps. Behind the average pool every spike
# of a window is an event, as on a chip
GROUND_TRUTH = Counts(
    4,
    8,
    (
        LayerCounts("conv1", "binary", 9_437_184, 9_048_064, 442_368, 442_368, 3193, 48_050, 16_384),
        LayerCounts("conv2", "sum-pooled", 37_748_736, 34_668_544, 10_669_536, 12_925_024, 48_050, 20_171, 8192),
        LayerCounts("conv3", "binary", 1_179_648, 991_232, 263_696, 263_696, 17_318, 1574, 512),
        LayerCounts("fc", "binary", 163_840, 163_840, 15_740, 15_740, 1574, 5, 10),
    ),
)
RATES = {
    "conv1": Fraction(3193, 65_536),
    "conv2": Fraction(48_050, 524_288),
    "conv3": Fraction(17_318, 65_536),
    "fc": Fraction(1574, 16_384),
}


@pytest.mark.parametrize(
    ("rule", "mac", "ac", "uj"),
    [
        # facts, energy 2.4, per sample, as measured with the tools that count this way
        ("chip", 0, 3_411_707, 3.071),
        ("paper", 114_948, 946_766, 1.381),
        ("rate-flops", 0, 1_061_714, 0.956),
        ("ann", 1_402_240, 0, 6.450),
        ("qnn", 1_402_240, 0, 6.450),
        ("mixed", 0, 3_411_707, 3.071),
    ],
)
def test_the_published_figures_of_one_network(rule: str, mac: int, ac: int, uj: float) -> None:
    made = budget(GROUND_TRUTH, load_profile("horowitz45-fp32"), rule=rule, rates=RATES)
    assert (made.mac, made.ac) == (4 * mac, 4 * ac)
    assert made.energy_pj_per_clip / 1e6 == pytest.approx(uj, abs=5e-4)


def test_only_graded_input_is_multiplied() -> None:
    layers = (
        LayerCounts("a", "counts", 100, 90, 40, 55, 9, 3, 4, weighted=37),
        LayerCounts("b", "spikes", 80, 70, 30, 66, 9, 3, 4, weighted=21),
    )
    counts = Counts(1, 5, layers)
    found = {
        name: [(one.mac, one.ac) for one in rule.operations(counts, {"a": Fraction(1, 2), "b": Fraction(1, 4)})]
        for name, rule in RULES.items()
    }
    assert found == {
        "mixed": [(40, 0), (0, 66)],
        "chip": [(0, 55), (0, 66)],
        "paper": [(50, 0), (0, 20)],
        "rate-flops": [(0, 50), (0, 20)],
        "ann": [(18, 0), (14, 0)],
        "qnn": [(18, 0), (14, 0)],
        "nonzero": [(0, 37), (0, 21)],
    }


def test_neurons_without_synapses_cost_no_operation_under_any_rule() -> None:
    bare = LayerCounts("again", "none", 0, 0, 0, 0, 0, 7, 4, weighted=0)
    counts = Counts(1, 5, (bare, LayerCounts("b", "binary", 80, 70, 30, 30, 9, 3, 4, weighted=30)))
    for rule in RULES.values():
        first, second = rule.operations(counts, {"b": Fraction(1, 4)})
        assert (first.mac, first.ac) == (0, 0)
        assert second.mac + second.ac > 0
    # the paper's first layer is the first with synapses
    assert RULES["paper"].operations(counts, {"b": Fraction(1, 4)})[1].mac == 20


def test_a_rule_that_needs_rates_says_so() -> None:
    assert {name for name, rule in RULES.items() if rule.needs_rates} == {"paper", "rate-flops"}
    for name in ("paper", "rate-flops"):
        with pytest.raises(ConfigError, match="no input rate is known for conv1"):
            RULES[name].operations(GROUND_TRUTH, {})


def test_the_rule_of_stored_weights_needs_a_count_that_looked_at_them() -> None:
    with pytest.raises(ConfigError, match="without looking at the weights") as caught:
        RULES["nonzero"].operations(GROUND_TRUTH, {})
    assert caught.value.where == "conv1"


def test_every_rule_says_on_which_chip_it_was_checked() -> None:
    checked = {name for name, rule in RULES.items() if "Checked on no chip" not in rule.text}
    assert checked == {"nonzero"}
    assert all("Checked on" in rule.text for rule in RULES.values())


def test_the_text_of_a_rule_is_its_docstring() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert "\n" not in rule.text
        assert not rule.text.endswith(".")
    assert "Table S1" in RULES["paper"].text
    assert "2409.08290" in RULES["qnn"].text


@pytest.mark.parametrize(
    ("steps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 3), (8, 4), (60, 6), (63, 6), (64, 7)]
)
def test_bits_that_say_as_much_as_steps(steps: int, bits: int) -> None:
    assert activation_bits(steps) == bits


RNG = np.random.default_rng(3)
ONE = Neuron(np.array(1.0))


def _conv(c_out: int, c_in: int) -> Conv2d:
    return Conv2d(RNG.normal(0.15, 0.3, (c_out, c_in, 3, 3)), None, (1, 1), (1, 1))


@pytest.mark.parametrize("pool", [AvgPool2d((3, 2)), SumPool2d((3, 2)), MaxPool2d((3, 2))])
def test_rates_are_the_mean_of_what_a_layer_reads(pool: AvgPool2d | SumPool2d | MaxPool2d) -> None:
    network = Network(
        InputSpec((2, 10, 9), 1000, 6),
        (
            Layer("conv1", _conv(4, 2)),
            Layer("sn1", ONE),
            Layer("pool", pool),
            Layer("conv2", _conv(5, 4)),
            Layer("sn2", ONE),
            Layer("skip", _conv(4, 4), ("sn1",)),
            Layer("sn3", ONE),
            Layer("half", AvgPool2d((3, 2)), ("sn3",)),
            Layer("both", Concat(), ("sn2", "half")),
            Layer("fc", Dense(RNG.normal(0.1, 0.3, (3, 9 * 3 * 4)))),
            Layer("out", ONE),
        ),
        3,
    )
    frames = RNG.poisson(0.5, (6, 3, 2, 10, 9)).astype(np.uint16)
    trace = reference.run(network, frames)
    rasters = {name: layer.raster.astype(float) for name, layer in trace.layers.items()}
    assert min(raster.sum() for raster in rasters.values()) > 20
    assert frames.max() > 1

    def pooled(x: np.ndarray, largest: bool) -> np.ndarray:
        windows = x[..., :9, :8].reshape(*x.shape[:3], 3, 3, 4, 2)
        return windows.max(axis=(4, 6)) if largest else windows.mean(axis=(4, 6))

    found = input_rates(network, frames, trace)
    joined = np.concatenate([rasters["sn2"], pooled(rasters["sn3"], largest=False)], axis=2)
    assert {name: float(rate) for name, rate in found.items()} == pytest.approx(
        {
            "conv1": np.count_nonzero(frames) / frames.size,
            "conv2": pooled(rasters["sn1"], isinstance(pool, MaxPool2d)).mean(),
            "skip": rasters["sn1"].mean(),
            "fc": joined.mean(),
        },
        rel=1e-12,
    )
    assert found["conv1"] != Fraction(int(frames.sum()), frames.size)  # a share of positions, not a mean of counts
    assert found["skip"] == Fraction(int(rasters["sn1"].sum()), rasters["sn1"].size)


def test_rates_of_another_networks_trace_are_refused() -> None:
    network = Network(InputSpec((1, 4, 4), 1000, 2), (Layer("fc", Dense(np.ones((3, 16)))), Layer("out", ONE)), 3)
    assert network["fc"].inputs == (INPUT,)
    with pytest.raises(MismatchError, match="lacks the layer out"):
        input_rates(network, np.ones((2, 1, 1, 4, 4), np.uint16), Trace("other", {}))
