# SPDX-License-Identifier: Apache-2.0
"""Power of a chip: rest for as long as it is on, events at their prices, sensor apart, kinds that do not mix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spikefold.energy.chip.power import chip_power, sensor_terms, static_terms
from spikefold.energy.counts.count import Counts, LayerCounts, Uncounted
from spikefold.energy.prices.load import TechnologyProfile, load_profile
from spikefold.errors import ConfigError, MismatchError


def _counts(dt_us: int | None = 10_000) -> Counts:
    """Two clips of 54 steps: 2 x 0.54 s."""
    frames = 2 * 54
    first = LayerCounts("conv1", "counts", 9999, 8888, 1000, 3000, 50, 200, 64, 7, 64 * frames, 5000)
    second = LayerCounts("fc", "binary", 9999, 8888, 6000, 6000, 200, 80, 16, 0, 16 * frames, 1000)
    return Counts(2, 54, (first, second), dt_us)


def _speck_at(pj: float) -> TechnologyProfile:
    speck = load_profile("speck")
    price = speck.energy_pj.ac.model_copy(update={"value": pj, "low": pj / 2, "high": pj * 2, "evidence": "measured"})
    return speck.model_copy(update={"energy_pj": speck.energy_pj.model_copy(update={"ac": price})})


def _without_a_price() -> TechnologyProfile:
    speck = load_profile("speck")
    nothing = {"value": "unknown", "low": "unknown", "high": "unknown", "evidence": "none"}
    price = speck.energy_pj.ac.model_copy(update=nothing)
    return speck.model_copy(update={"energy_pj": speck.energy_pj.model_copy(update={"ac": price})})


def test_running_costs_whatever_happens_and_a_board_rests_once() -> None:
    board = load_profile("keyword-loihi1")
    found = chip_power(_counts(), board, chips=2)
    assert [(term.name, term.energy_uj) for term in found.static] == [
        ("at rest, the whole board", pytest.approx(29.6e3 * 0.54))
    ]
    (running,) = found.running
    assert running.energy_uj == pytest.approx(76.5e3 * 0.54)
    assert found.total_uj == found.static_uj + found.running_uj + found.dynamic_uj
    # a network of a few thousand operations: without the middle term it would come out a thousand times too low
    assert found.running_uj > 1000 * found.dynamic_uj > 0
    low, high = found.bands_uj["running"] or (0.0, 0.0)
    assert (low, high) == (pytest.approx(76.5e3 * 0.54), pytest.approx(78e3 * 0.54))
    # nobody told it apart on the chip of the pre-silicon figures
    apart = chip_power(_counts(), load_profile("loihi1-presilicon"))
    assert (apart.running, apart.running_uj) == ((), 0)
    assert any("running whatever happens" in text for text in apart.not_priced)


def test_the_profile_says_which_operations_its_price_is_for() -> None:
    loihi2 = load_profile("loihi2")
    layers = tuple(replace(layer, weighted=layer.pairs - 500) for layer in _counts().layers)
    found = chip_power(replace(_counts(), layers=layers), loihi2, graded=True)
    (stored,) = found.dynamic
    assert stored.per_clip == (500 + 5500) / 2
    assert "weights not 0" in stored.name
    assert (stored.low_uj, stored.high_uj) == (0, pytest.approx(3000 * 30.12e-6))
    with pytest.raises(MismatchError, match="'weighted' was not counted"):
        chip_power(_counts(), loihi2, graded=True)


def test_speck_at_rest_for_a_window_of_540_ms() -> None:
    # facts, energy 5: .42 mW = 227 uJ static per window, 74 times the 3.07 uJ of the test network's arithmetic
    (rest,) = static_terms(load_profile("speck"), 0.54)
    assert round(rest.energy_uj) == 227
    assert rest.energy_uj == pytest.approx(226.8, rel=1e-12)
    assert rest.where.startswith("speck.toml:")
    assert round(rest.energy_uj / 3.0705363) == 74
    sensor = sensor_terms(load_profile("speck"), 0.54)
    assert sum(term.energy_uj for term in sensor) == pytest.approx((78.9 + 610.9) * 0.54, rel=1e-12)


def test_a_hand_worked_chip_in_real_time() -> None:
    found = chip_power(_counts(), _speck_at(30.0))
    assert (found.on_s, found.real_time) == (pytest.approx(0.54), True)
    assert found.static_uj == pytest.approx(226.8, rel=1e-12)
    assert found.dynamic_uj == pytest.approx(4500 * 30e-6, rel=1e-12)
    assert found.total_uj == found.static_uj + found.dynamic_uj
    assert found.power_mw == pytest.approx(0.42 + 4500 / 0.54 * 30e-9, rel=1e-12)
    assert found.static_uj == sum(term.energy_uj or 0 for term in found.static)
    (events,) = found.dynamic
    assert (events.low_uj, events.high_uj) == pytest.approx((events.energy_uj / 2, events.energy_uj * 2))
    assert events.per_clip == 4500
    # the sensor is in no sum
    assert sum(term.energy_uj for term in found.sensor) == pytest.approx(689.8 * 0.54)


def test_at_the_break_even_events_cost_what_rest_costs() -> None:
    found = chip_power(_counts(), _speck_at(30.0))
    assert found.break_even == pytest.approx(226.8 / 0.135)
    assert found.break_even_synops_per_s == pytest.approx(0.42e-3 / 30e-12, rel=1e-9)
    busier = tuple(replace(la, events=la.events * 1680) for la in _counts().layers)
    even = chip_power(replace(_counts(), layers=busier), _speck_at(30.0))
    assert even.dynamic_uj == pytest.approx(even.static_uj, rel=1e-9)
    idle = replace(_counts(), layers=tuple(replace(la, events=0) for la in _counts().layers))
    assert chip_power(idle, load_profile("speck")).break_even is None


def test_an_accelerator_is_on_for_its_latency() -> None:
    window, fast = (chip_power(_counts(), _speck_at(30.0), latency_s=s) for s in (None, 0.001))
    assert fast.static_uj == pytest.approx(0.42)
    assert fast.dynamic_uj == window.dynamic_uj
    assert not fast.real_time
    assert fast.synops_per_s == pytest.approx(4_500_000)


def test_loihi_pays_for_idle_neurons_and_two_chips_rest_twice() -> None:
    profile = load_profile("loihi1-presilicon")
    found = chip_power(_counts(), profile, chips=2)
    updates = (64 + 16) * 54
    expected = {
        "synaptic operations": 4500 * 23.6e-6,
        "active neuron updates": 3000 * 81e-6,
        "idle neuron updates": (updates - 3000) * 52e-6,
        "spikes": 140 * 1.7e-6,
    }
    assert {term.name: term.energy_uj for term in found.dynamic} == pytest.approx(expected, rel=1e-12)
    assert [(term.name, term.energy_uj) for term in found.static] == [
        ("at rest", pytest.approx(104e3 * 0.54 * 2)),
        ("host processors", pytest.approx(65e3 * 0.54 * 2)),
    ]
    assert any("hops" in text for text in found.not_priced)


def test_a_power_that_grows_with_the_clock_needs_the_clock() -> None:
    odin = load_profile("odin")
    found = chip_power(_counts(), odin, clock_mhz=100)
    # Eq. 2 of its paper: 27.3 uW + 1.78 uW/MHz x f + 8.43 pJ x rate
    assert found.power_mw == pytest.approx(0.0273 + 0.178 + 4500 / 0.54 * 8.43e-9, rel=1e-12)
    pair = chip_power(_counts(), odin, clock_mhz=100, chips=2)
    assert pair.static_uj == pytest.approx(2 * (27.3 + 178) * 0.54, rel=1e-12)
    with pytest.raises(ConfigError, match="needs a clock frequency"):
        chip_power(_counts(), odin)
    with pytest.raises(ConfigError, match="has no clock frequency"):
        chip_power(_counts(), _speck_at(30.0), clock_mhz=100)


def test_what_has_no_price_is_named() -> None:
    counts = replace(_counts(), uncounted=(Uncounted("odd", "Odd", 7),))
    found = chip_power(counts, _speck_at(30.0))
    assert len(found.not_priced) == 3
    for text, named in zip(("neuron updates", "bias", "Odd in odd"), found.not_priced, strict=True):
        assert text in named


def test_an_unknown_energy_of_an_operation_is_not_made_up_and_rest_is_told_all_the_same() -> None:
    found = chip_power(_counts(), _without_a_price())
    assert found.static_uj == pytest.approx(226.8)
    assert found.sensor_uj == pytest.approx(689.8 * 0.54)
    unknown = (found.dynamic_uj, found.total_uj, found.power_mw, found.break_even, found.break_even_synops_per_s)
    assert unknown == (None,) * 5
    assert found.bands_uj["static"] == pytest.approx((0.339 * 540, 226.8))
    assert found.bands_uj["total"] is None
    (missing,) = found.unknown
    assert "one synaptic operation of Speck" in missing.price.covers
    assert (missing.energy_uj, missing.low_uj, missing.high_uj) == (None, None, None)
    other = chip_power(_counts(), load_profile("darwin3"))
    assert other.dynamic_uj == pytest.approx(4500 * 5.47e-6)
    assert (other.static_uj, other.total_uj) == (None, None)
    assert "one chip at rest" in other.unknown[0].price.covers


def test_the_band_of_a_sum_is_that_of_its_constants_at_one_end() -> None:
    found = chip_power(_counts(), load_profile("loihi1-presilicon"))
    low, high = found.bands_uj["total"] or (0.0, 0.0)
    # of the summed constants only the synaptic operation has a band: 23.6 to 35.5 pJ
    assert low == pytest.approx(found.total_uj)
    assert high - low == pytest.approx(4500 * (35.5 - 23.6) * 1e-6, rel=1e-6)
    speck = chip_power(_counts(), _speck_at(30.0)).bands_uj
    assert speck["dynamic"] == pytest.approx((4500 * 15e-6, 4500 * 60e-6))


def test_a_graded_spike_is_one_operation_however_many_events_it_carries() -> None:
    graded, single = (chip_power(_counts(), _speck_at(30.0), graded=one) for one in (True, False))
    assert [term.per_clip for term in (*graded.dynamic, *single.dynamic)] == [3500, 4500]  # pairs, events
    assert graded.synops_per_s == pytest.approx(3500 / 0.54)


def test_rest_is_not_added_to_an_all_in_energy() -> None:
    speck, all_in = load_profile("speck"), load_profile("truenorth-all-in")
    with pytest.raises(ConfigError, match="already holds") as caught:
        chip_power(_counts(), all_in.model_copy(update={"power_mw": speck.power_mw}))
    assert {issue.got for issue in caught.value.issues} == {"all-in", "static"}
    with pytest.raises(ConfigError, match="nothing about power at rest"):
        chip_power(_counts(), all_in)


@pytest.mark.parametrize(
    ("dt_us", "latency_s", "chips"), [(0, None, 1), (None, -1.0, 1), (None, 0.0, 1), (None, None, 0)]
)
def test_times_and_chips_must_be_there(dt_us: float | None, latency_s: float | None, chips: int) -> None:
    with pytest.raises(ConfigError):
        chip_power(_counts(), _speck_at(30.0), dt_us=dt_us, latency_s=latency_s, chips=chips)


def test_a_step_of_unknown_length_has_no_rates() -> None:
    with pytest.raises(ConfigError, match="no rates"):
        chip_power(_counts(dt_us=None), _speck_at(30.0))
    assert chip_power(_counts(dt_us=None), _speck_at(30.0), dt_us=10_000).static_uj == pytest.approx(226.8)


def test_a_report_gets_plain_values() -> None:
    values = chip_power(_counts(), _speck_at(30.0)).to_json()
    assert values["total_uj"] == values["static_uj"] + values["dynamic_uj"]
    assert values["static"][0]["where"].startswith("speck.toml:")
    assert values["static"][0]["price"]["value"] == 0.42
    assert [term["name"] for term in values["sensor"]] == ["pixel_digital", "pixel_analog"]
