# SPDX-License-Identifier: Apache-2.0
"""Every chip of the registry keeps the contract: whatever it is, whoever brought it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikefold.energy.chip.budget import NUMBERS, chip_budget
from spikefold.energy.chip.sources import numbers_of
from spikefold.energy.counts.count import count
from spikefold.errors import ConfigError, DataError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.chip import Chip
from spikefold.hardware.event_engine import EventClips
from spikefold.hardware.fit import fit_report
from spikefold.hardware.registry import board_of, chip_named, chips, reader_of
from spikefold.hardware.simulators import parity, reference
from spikefold.train.deploy.gates import FORMS
from tests.conformance.plugged import names

NAMES = names()
SLOW = {"loihi2": (pytest.mark.lava,)}
"""Chips whose vendor's simulator has to be installed first."""
WITH_SIMULATORS = [pytest.param(name, marks=SLOW.get(name, ())) for name in NAMES]
STEPS, CLIPS, SIDE = 6, 4, 8
FRAMES = (np.random.default_rng(3).random((STEPS, CLIPS, 2, SIDE, SIDE)) < 0.3).astype(np.uint16)


def _real(chip: Chip, seed: int = 1) -> Network:
    """Two layers of neurons that the chip has, with biases where it has them and several spikes where it can."""
    rng, biased = np.random.default_rng(seed), chip.numbers.bias_bits is not None
    neuron = Neuron(np.array(1.0), max_spikes=chip.numbers.max_spikes)
    layers = (
        Layer("conv", Conv2d(rng.normal(0.15, 0.3, (4, 2, 3, 3)), rng.normal(0, 0.05, 4) if biased else None)),
        Layer("n1", neuron),
        Layer("fc", Dense(rng.normal(0.1, 0.25, (6, 4 * 36)))),
        Layer("out", neuron),
    )
    return Network(InputSpec((2, SIDE, SIDE), 1000, STEPS, 1), layers, 3)


def _integer(chip: Chip) -> Network:
    return quantise(_real(chip), chip.numbers)[0]


def _at(chip: Chip, weight: int, threshold: int, bias: int | None = None) -> Network:
    """One layer whose numbers are these, leaky where the chip leaks: those compare as the format says."""
    spec, numbers = InputSpec((1, 2, 2), 1000, STEPS, 1), chip.numbers
    op = Conv2d(np.array([[[[weight]]]]), None if bias is None else np.array([bias]))
    neuron = Neuron(
        np.array(threshold),
        fire=Fire.GE if numbers.leak_shift is None else numbers.fire_leaky,
        leak=None if numbers.leak_shift is None else Leak(2**numbers.leak_shift // 2, numbers.leak_shift),
        v_min=numbers.v_min,
        max_spikes=numbers.max_spikes,
        state_shift=numbers.state_shift,
        state_bits=numbers.state_bits,
        overflow=numbers.overflow,
    )
    return Network(spec, (Layer("c", op), Layer("n", neuron)), 1)


def test_the_made_up_chips_come_in_through_the_entry_point() -> None:
    assert NAMES[-2:] == ("madeup", "madeup-bare")
    assert len(NAMES) == len(set(NAMES)) >= 7
    assert tuple(chips()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_limits_hold_to_the_unit(name: str) -> None:
    chip = chip_named(name)
    numbers = chip.numbers
    most, least = 2 ** (numbers.weight_bits - 1) - 1, -(2 ** (numbers.weight_bits - 1))
    for weight, threshold in ((most, 1), (least, numbers.threshold_max), (most, numbers.threshold_max)):
        assert chip.violations(_at(chip, weight, threshold)) == []
    for weight, threshold in ((most + 1, 1), (least - 1, 1), (most, numbers.threshold_max + 1)):
        issues = chip.violations(_at(chip, weight, threshold))
        assert issues, (weight, threshold)
        assert all(issue.rule and issue.where and issue.got and issue.limit and issue.hint for issue in issues)
    if numbers.bias_bits is None:
        assert chip.violations(_at(chip, most, 1, 1))
    else:
        # a chip may hold wider biases than the quantiser aims at, so that only this side is common
        for bias in (-(2 ** (numbers.bias_bits - 1)), 2 ** (numbers.bias_bits - 1) - 1):
            assert chip.violations(_at(chip, most, 1, bias)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_quantiser_uses_the_whole_width_and_the_result_fits(name: str) -> None:
    chip = chip_named(name)
    integer = _integer(chip)
    assert integer.is_integer
    assert chip.violations(integer) == []
    least, most = -(2 ** (chip.numbers.weight_bits - 1)), 2 ** (chip.numbers.weight_bits - 1) - 1
    for layer in integer:
        if isinstance(layer.op, Conv2d | Dense):
            assert least <= layer.op.weight.min()
            assert layer.op.weight.max() <= most
    first = integer["conv"].op
    assert isinstance(first, Conv2d)
    assert first.weight.max() == most or first.weight.min() == least
    found = fit_report(_real(chip), chip)
    assert found.fits
    assert found.resources is None or found.resources.cores > 0


@pytest.mark.parametrize("name", NAMES)
def test_what_a_chip_lacks_is_refused_layer_by_layer(name: str) -> None:
    chip = chip_named(name)
    network = _real(chip)
    odd = Neuron(np.full((4, 1, 1), 1.0), reset=Reset.VALUE, reset_value=0.1)
    other = replace(network, layers=(network.layers[0], replace(network.layers[1], op=odd), *network.layers[2:]))
    issues = chip.violations(other)
    assert "n1" in {issue.where for issue in issues} | {issue.where.split(".")[0] for issue in issues}
    with pytest.raises(UnsupportedError) as told:
        quantise(other, chip.numbers)
    assert {issue.where for issue in told.value.issues} == {"n1"}
    if chip.numbers.max_spikes is not None:
        more = replace(network.neurons[0].neuron, max_spikes=chip.numbers.max_spikes + 1)
        many = replace(network, layers=(network.layers[0], replace(network.layers[1], op=more), *network.layers[2:]))
        with pytest.raises(UnsupportedError) as told:
            quantise(many, chip.numbers)
        assert [(issue.where, issue.limit) for issue in told.value.issues] == [("n1", str(chip.numbers.max_spikes))]


@pytest.mark.parametrize("name", NAMES)
def test_gate_forms_and_rules_are_said(name: str) -> None:
    chip = chip_named(name)
    assert chip.gate_forms
    assert set(chip.gate_forms) <= set(FORMS)
    assert len(set(chip.rules)) == len(chip.rules) > 0
    assert all(rule.name and len(rule.text) > 10 for rule in chip.rules)


@pytest.mark.parametrize("name", NAMES)
def test_files_are_written_or_refused_by_name(name: str, tmp_path: Path) -> None:
    chip = chip_named(name)
    if chip.lower is None:
        with pytest.raises(UnsupportedError, match="nothing here writes files") as told:
            chip.require_files()
        assert (told.value.where, bool(told.value.hint)) == (name, True)
        return
    integer = _integer(chip)
    lowered = chip.require_files()(_real(chip), integer, tmp_path)
    assert lowered.files
    assert all((tmp_path / file).stat().st_size > 0 for file in lowered.files)
    assert all(note.strip() for note in lowered.notes)
    laid_out = integer if chip.laid_out is None else chip.laid_out(integer)
    assert set(lowered.placement) <= {layer.name for layer in laid_out.neurons}
    assert len(set(lowered.placement.values())) == len(lowered.placement)
    broken = replace(integer, layers=tuple(_with_strange_threshold(layer) for layer in integer))
    assert chip.violations(broken)


def _with_strange_threshold(layer: Layer) -> Layer:
    if layer.name != "n1" or not isinstance(layer.op, Neuron):
        return layer
    return replace(layer, op=replace(layer.op, threshold=np.array(2**40)))


@pytest.mark.parametrize("name", WITH_SIMULATORS)
def test_the_vendors_simulator_is_the_reference_spike_for_spike(name: str) -> None:
    chip = chip_named(name)
    real, integer = _real(chip), _integer(chip)
    vendor = None if chip.vendor_simulator is None else chip.vendor_simulator(real, integer)
    found = parity.check(name, integer, FRAMES, vendor, CLIPS)
    assert found.failures() == []
    assert len(found.comparisons) == (1 if vendor is None else 2)
    for comparison in found.comparisons:
        assert (comparison.clips, comparison.layers, comparison.mismatches) == (CLIPS, 2, 0)
        assert comparison.spikes > 300
    assert (found.simulated is None) == (vendor is None)
    several = reference.run(integer, FRAMES).layers["n1"].raster.max()
    assert several == 1 if chip.numbers.max_spikes == 1 else several > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_form_on_cores_has_the_same_spikes(name: str) -> None:
    chip = chip_named(name)
    integer = _integer(chip)
    laid_out = integer if chip.laid_out is None else chip.laid_out(integer)
    before, after = (reference.run(network, FRAMES).layers["out"] for network in (integer, laid_out))
    assert before.spikes > 50
    np.testing.assert_array_equal(before.raster, after.raster)


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_complete_or_names_its_gaps(name: str) -> None:
    chip = chip_named(name)
    integer = _integer(chip)
    counts = count(integer, FRAMES, reference.run(integer, FRAMES))
    budget = chip_budget(chip, integer, counts, numbers_of([name], {})[name])
    missing = {key for key, value in budget.numbers.items() if value is None}
    assert set(budget.numbers) == set(NUMBERS)
    assert set(budget.unknown) == missing
    assert all(len(why) > 20 for why in budget.unknown.values())
    assert {"core_synops_per_s", "peak_core_synops_per_s"} <= set(NUMBERS) - missing
    assert sum(rate.mean_per_s for rate in budget.rates) > 0
    assert (budget.step_time is None) or not chip.event_driven
    published = chip.published
    assert (published.reference is None) == (published.label == "")


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_of_events_runs_every_layer(name: str) -> None:
    chip = chip_named(name)
    assert chip.event_engine is None or chip.event_driven
    if chip.event_engine is None:
        return
    integer = _integer(chip)
    labels = np.arange(CLIPS) % 3
    found = chip.event_engine(integer, EventClips(FRAMES, labels, None, (SIDE, SIDE), 1, 0, 1.0))
    assert list(found.trace.layers) == [layer.name for layer in integer.neurons]
    assert all(layer.spikes > 50 for layer in found.trace.layers.values())
    assert "frames" in found.went_in
    measures = found.measures
    assert measures is not None
    assert {load["layer"] for load in measures.loads} == {"conv", "fc"}
    assert len(measures.over_limit) == 2  # one operation a second is little
    assert any("the limit given is 1" in warning for warning in measures.warnings)
    # clips come in parts: their measures add up to those of all of them
    parts = [
        chip.event_engine(
            integer, EventClips(FRAMES[:, at], labels[at], None, (SIDE, SIDE), 1, 0, 1.0, first=at.start)
        )
        for at in (slice(0, 1), slice(1, CLIPS))
    ]
    added = parts[0].measures + parts[1].measures
    for key in ("gap", "loads", "over_limit", "warnings"):
        assert getattr(added, key) == getattr(measures, key), key
    assert measures.gap["clips"] == CLIPS
    for layer, whole in found.trace.layers.items():
        joined = np.concatenate([part.trace.layers[layer].raster for part in parts], axis=1)
        assert np.array_equal(joined, whole.raster)


@pytest.mark.parametrize("name", NAMES)
def test_boards_readers_and_what_was_not_run(name: str, tmp_path: Path) -> None:
    chip = chip_named(name)
    for board in chip.boards:
        assert board_of(f"{board.name}:0") == (chip, board)
        missing = board.missing(f"{board.name}:7")
        assert missing, "nobody has eight boards"
        with pytest.raises(ConfigError, match="no index"):
            board_of(f"{board.name}:first")
        if board.meter is not None:
            assert set(board.meter.rails.values()) <= {"io", "ram", "logic", "pixel_digital", "pixel_analog"}
    for reader in chip.readers:
        assert reader_of(reader.kind) == (chip, reader)
        with pytest.raises(DataError):
            reader.read(tmp_path / f"none.{reader.kind}", steps=1)
    lines = () if chip.not_run is None else chip.not_run()
    assert all(line.what.strip() and line.why.strip() for line in lines)
    if chip.environment is not None:
        assert all(chip.environment().values())


@pytest.mark.parametrize("name", NAMES)
def test_a_rounding_report_says_how_much_it_compared(name: str) -> None:
    chip = chip_named(name)
    if chip.rounding_report is None:
        return
    found = chip.rounding_report(_real(chip), _integer(chip), FRAMES)
    assert (found["clips"], found["steps"]) == (CLIPS, STEPS)
    assert all(layer["spikes"] > 50 for layer in found["layers"])


def test_unknown_boards_and_files_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown board 'madeup-dask'") as told:
        board_of("madeup-dask:0")
    assert "madeup-desk" in told.value.hint
    with pytest.raises(ConfigError, match="the kind 'nut'"):
        reader_of("nut")
