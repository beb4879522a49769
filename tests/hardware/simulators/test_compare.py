# SPDX-License-Identifier: Apache-2.0
"""The comparator itself, with planted mismatches: each kind is found, at the right layer, step, clip and neuron."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikefold.errors import ConfigError, MismatchError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.registry import chip_named, chips
from spikefold.hardware.simulators import parity, reference
from spikefold.hardware.simulators.compare import Comparison, FirstMismatch, compare, explain
from spikefold.hardware.simulators.trace import LayerTrace, Trace

T, N = 6, 4


def _network(neuron: Neuron | None = None) -> Network:
    rng = np.random.default_rng(3)
    kind = neuron or Neuron(np.array(4), reset=Reset.SUBTRACT)
    layers = (
        Layer("c", Conv2d(rng.integers(-2, 4, (3, 2, 2, 3)))),
        Layer("first", kind),
        Layer("d", Dense(rng.integers(-2, 3, (4, 36)))),
        Layer("second", kind),
    )
    return Network(InputSpec((2, 5, 5), 1000, T), layers, 2)


def _frames() -> np.ndarray:
    return np.random.default_rng(4).poisson(0.3, (T, N, 2, 5, 5))


def _trace(runner: str = "truth") -> Trace:
    return Trace(runner, reference.run(_network(), _frames(), potentials=True).layers)


def _changed(trace: Trace, layer: str, spot: tuple[int, ...], by: int) -> Trace:
    raster = trace.layers[layer].raster.copy()
    raster[spot] = int(raster[spot]) + by
    return Trace("suspect", {**trace.layers, layer: replace(trace.layers[layer], raster=raster)})


def _spot(raster: np.ndarray, value: int, last: bool = False) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(raster == value)[-1 if last else 0])


# ---- equal ------------------------------------------------------------------------------------------------------


def test_equal_traces_are_equal_and_say_how_much_was_compared() -> None:
    trace = _trace()
    found = compare(trace, _trace("other"))
    spikes = sum(int(layer.raster.sum()) for layer in trace.layers.values())
    assert found == Comparison(("truth", "other"), 2, T, N, 3 * 4 * 3 + 4, spikes, 0)
    assert spikes > 150
    assert found.describe() == f"truth = other: equal (2 layers, 40 neurons, 6 steps, 4 clips, {spikes} spikes)"
    assert explain(found) == found.describe()
    assert json.loads(json.dumps(found.to_json()))["spikes"] == spikes


def test_rasters_of_other_integer_types_are_compared_by_value() -> None:
    trace = _trace()
    other = {name: LayerTrace(layer.raster.astype(np.int64)) for name, layer in trace.layers.items()}
    assert compare(trace, Trace("other", other)).mismatches == 0


# ---- planted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("value", "by"), [(0, 1), (1, -1), (1, 1)], ids=["one more", "one less", "two for one"])
def test_one_wrong_count_is_found_where_it_is(layer: str, last: bool, value: int, by: int) -> None:
    trace = _trace()
    spot = _spot(trace.layers[layer].raster, value, last)
    found = compare(trace, _changed(trace, layer, spot, by))
    step, clip, *neuron = spot
    assert found.mismatches == 1
    assert found.first == FirstMismatch(layer, step, clip, tuple(neuron), (value, value + by))  # type: ignore[arg-type]
    assert "1 MISMATCHES" in found.describe()
    text = explain(found)
    assert f"layer {layer}, step {step}, neuron (c, y, x) {tuple(neuron)}, clip {clip}" in text
    assert f"truth fired {value}" in text
    assert f"suspect fired {value + by}" in text


def test_a_spike_one_step_late_is_two_mismatches_and_the_earlier_step_is_named() -> None:
    trace = _trace()
    raster = trace.layers["second"].raster
    step, *rest = _spot((raster == 1)[:-1] & (raster == 0)[1:], True)
    late = _changed(_changed(trace, "second", (step, *rest), -1), "second", (step + 1, *rest), 1)
    found = compare(trace, late)
    assert found.mismatches == 2
    assert found.first is not None
    assert (found.first.step, found.first.spikes) == (step, (1, 0))


def test_the_earliest_layer_is_named_even_if_a_later_one_differs_at_an_earlier_step() -> None:
    trace = _trace()
    early = _spot(trace.layers["second"].raster, 0)
    late = _spot(trace.layers["first"].raster, 0, last=True)
    assert early[0] < late[0]
    found = compare(trace, _changed(_changed(trace, "second", early, 1), "first", late, 1))
    assert found.mismatches == 2
    assert found.first is not None
    assert (found.first.layer, found.first.step) == ("first", late[0])


def test_a_layer_silent_on_one_side_only_is_a_mismatch_in_every_spike() -> None:
    trace = _trace()
    silent = replace(trace.layers["second"], raster=np.zeros_like(trace.layers["second"].raster))
    found = compare(trace, Trace("suspect", {**trace.layers, "second": silent}))
    assert found.mismatches == int((trace.layers["second"].raster > 0).sum()) > 0
    turned = compare(Trace("suspect", {**trace.layers, "second": silent}), trace)
    assert turned.mismatches == found.mismatches


def test_states_come_from_running_that_clip_again() -> None:
    network, frames = _network(), _frames()
    neuron = network["second"].op
    assert isinstance(neuron, Neuron)
    wrong = replace(neuron, fire=Fire.GT)
    other = Network(network.input, (*network.layers[:3], Layer("second", wrong)), 2)
    asked: list[int] = []

    def rerun(net: Network, runner: str) -> Callable[[int], Trace]:
        def one(clip: int) -> Trace:
            asked.append(clip)
            return Trace(runner, reference.run(net, frames[:, clip : clip + 1], potentials=True).layers)

        return one

    one, two = reference.run(network, frames, potentials=True), reference.run(other, frames, potentials=True)
    found = compare(one, two, (rerun(network, "a"), rerun(other, "b")))
    first = found.first
    assert first is not None
    assert first.layer == "second"
    assert asked == [first.clip, first.clip]
    for side, trace in enumerate((one, two)):
        states = trace.layers["second"].potentials
        assert states is not None
        c, y, x = first.neuron
        before = states[first.step - 1, first.clip, c, y, x] if first.step else 0.0
        assert first.state_before[side] == before
        assert first.state_after[side] == states[first.step, first.clip, c, y, x]
    # only the neuron exactly at its threshold can part > from >=
    assert first.spikes == (1, 0)
    assert (first.state_after[0], first.state_after[1]) == (0.0, 4.0)


@pytest.mark.parametrize("step", [0, 3])
def test_states_before_the_first_step_are_0_and_a_runner_without_states_gives_none(step: int) -> None:
    raster = np.zeros((5, 1, 1, 1, 2), np.uint16)
    raster[4, 0, 0, 0, 0] = 1
    states = np.arange(10.0).reshape(5, 1, 1, 1, 2)
    one = Trace("a", {"n": LayerTrace(raster, potentials=states)})
    other = Trace("b", {"n": LayerTrace(_changed(one, "n", (step, 0, 0, 0, 1), 1).layers["n"].raster)})
    first = compare(one, other, (lambda _: one, lambda _: other)).first
    assert first is not None
    assert first.state_before == ((0.0 if step == 0 else states[step - 1, 0, 0, 0, 1]), None)
    assert first.state_after == (states[step, 0, 0, 0, 1], None)


# ---- refused ----------------------------------------------------------------------------------------------------


def test_a_missing_layer_is_an_error_on_either_side() -> None:
    trace = _trace()
    fewer = Trace("other", {"first": trace.layers["first"]})
    for pair in ((trace, fewer), (fewer, trace)):
        with pytest.raises(MismatchError, match=r"has layers \['first'") as caught:
            compare(*pair)
        assert "both runners must report every spiking layer" in str(caught.value)
        assert caught.value.exit_code == 1


def test_layers_in_another_order_are_an_error() -> None:
    trace = _trace()
    with pytest.raises(MismatchError, match=r"\['second', 'first'\]"):
        compare(trace, Trace("other", dict(reversed([*trace.layers.items()]))))


@pytest.mark.parametrize("cut", [np.s_[:-1], np.s_[:, :-1], np.s_[:, :, :, :-1]], ids=["steps", "clips", "rows"])
def test_another_shape_is_an_error_that_names_the_layer(cut: Any) -> None:
    trace = _trace()
    other = Trace("other", {**trace.layers, "first": LayerTrace(trace.layers["first"].raster[cut])})
    with pytest.raises(MismatchError, match=r"truth gives \(6, 4, 3, 4, 3\), other") as caught:
        compare(trace, other)
    assert caught.value.where == "first"


def test_a_layer_silent_on_both_sides_is_refused() -> None:
    trace = _trace()
    silent = LayerTrace(np.zeros_like(trace.layers["second"].raster))
    quiet = Trace("truth", {**trace.layers, "second": silent})
    found = compare(quiet, quiet, allow_silent=True)
    assert (found.silent, found.layers, found.mismatches) == (("second",), 1, 0)
    assert found.spikes == trace.layers["first"].spikes > 0
    assert "NOT COMPARED, for it never fires: second" in found.describe()
    assert compare(trace, quiet, allow_silent=True).silent == (), "one side fires, so it is compared"
    assert compare(trace, quiet, allow_silent=True).mismatches > 0
    with pytest.raises(MismatchError, match="second never fires, so nothing was compared there"):
        compare(quiet, Trace("other", quiet.layers))


def test_no_clips_and_no_layers_are_refused_for_nothing_was_compared() -> None:
    trace = _trace()
    empty = Trace("truth", {name: LayerTrace(layer.raster[:, :0]) for name, layer in trace.layers.items()})
    with pytest.raises(MismatchError, match="nothing was compared"):
        compare(empty, Trace("other", empty.layers))
    with pytest.raises(MismatchError, match="no spiking layer"):
        compare(Trace("truth", {}), Trace("other", {}))


# ---- parity -----------------------------------------------------------------------------------------------------


def _vendor(network: Network, name: str = "vendor") -> Callable[..., Trace]:
    def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return Trace(name, reference.run(network, frames, potentials=potentials).layers)

    return run


@pytest.mark.parametrize("clips", [1, 3, N, N + 5])
def test_parity_of_equal_runners(clips: int) -> None:
    found = parity.check("chip", _network(), _frames(), _vendor(_network()), clips)
    assert found.failures() == []
    assert found.runners == ("reference", "torch", "vendor")
    assert [c.clips for c in found.comparisons] == [N, min(clips, N)]
    report = json.loads(json.dumps(found.to_json()))
    assert (report["layers"], report["steps"], report["clips"], report["neurons"]) == (2, T, N, 40)
    assert report["mismatches"] == 0
    assert report["spikes"] == found.comparisons[0].spikes > 150


WRONG: dict[str, dict[str, Any]] = {
    "fires above only": {"fire": Fire.GT},
    "resets to zero": {"reset": Reset.ZERO},
    "leaks": {"leak": Leak(3, 2)},
    "another threshold": {"threshold": np.array(5)},
    "a lower bound": {"v_min": 0.0},
}


@pytest.mark.parametrize("clips", [2, N])
@pytest.mark.parametrize("wrong", WRONG)
def test_parity_with_a_wrong_simulator_names_layer_step_neuron_and_both_states(wrong: str, clips: int) -> None:
    network, frames = _network(), _frames()
    neuron = network["first"].op
    assert isinstance(neuron, Neuron)
    other_network = _network(replace(neuron, **WRONG[wrong]))
    found = parity.check("chip", network, frames, _vendor(other_network), clips)
    (text,) = found.failures()
    first = found.comparisons[1].first
    assert first is not None
    spec, other = (
        reference.run(net, frames, potentials=True).layers[first.layer] for net in (network, other_network)
    )
    assert first.layer == "first"
    spot = (first.clip, *first.neuron)
    for side, trace in enumerate((spec, other)):
        assert trace.potentials is not None
        assert first.state_after[side] == trace.potentials[first.step][spot]
        assert first.spikes[side] == trace.raster[first.step][spot]
    assert first.spikes[0] != first.spikes[1]
    np.testing.assert_array_equal(spec.raster[: first.step, :clips], other.raster[: first.step, :clips])
    assert text.startswith("chip: reference = vendor: ")
    assert f"layer first, step {first.step}, neuron (c, y, x) {first.neuron}, clip {first.clip}" in text
    for runner, spikes, before, after in zip(
        ("reference", "vendor"), first.spikes, first.state_before, first.state_after, strict=True
    ):
        assert f"{runner} fired {spikes}, state {before} -> {after}" in text
    assert found.to_json()["mismatches"] == found.comparisons[1].mismatches > 0


def test_parity_with_a_simulator_that_leaves_out_a_layer_is_an_error() -> None:
    def partly(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        layers = reference.run(_network(), frames, potentials=potentials).layers
        return Trace("vendor", {"first": layers["first"]})

    with pytest.raises(MismatchError, match="both runners must report every spiking layer"):
        parity.check("chip", _network(), _frames(), partly, 2)


def test_parity_without_a_simulator_of_the_vendor_compares_our_own_runners_alone() -> None:
    found = parity.check("chip", _network(), _frames(), None, 2)
    assert (found.simulated, found.runners) == (None, ("reference", "torch"))
    assert [(c.clips, c.mismatches) for c in found.comparisons] == [(N, 0)]
    assert found.comparisons[0].spikes > 150


def test_parity_on_silent_clips_is_a_failure_where_it_is_not_an_error() -> None:
    found = parity.check("chip", _network(), 0 * _frames(), None, 2, allow_silent=True)
    assert found.silent == ("first", "second")
    assert found.failures() == ["chip: NOT COMPARED, for it never fires: first, second"]
    assert found.to_json()["spikes"] == 0


def test_parity_on_silent_clips_is_an_error() -> None:
    with pytest.raises(MismatchError, match="never fires"):
        parity.check("chip", _network(), np.zeros_like(_frames()), _vendor(_network()), 2)


# ---- the chips --------------------------------------------------------------------------------------------------


def test_chips_are_found_by_name_and_a_typo_gets_a_suggestion() -> None:
    assert set(chips()) == {"speck2f", "speck2e", "dynapcnndevkit", "loihi2", "loihi1"}
    assert all(chip_named(name).name == name for name in chips())
    with pytest.raises(ConfigError, match="unknown chip 'spec2f'") as caught:
        chip_named("spec2f")
    assert "Did you mean 'speck2f'?" in str(caught.value)
