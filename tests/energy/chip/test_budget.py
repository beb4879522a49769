# SPDX-License-Identifier: Apache-2.0
"""The budget of a chip on networks small enough to count by hand, and that every unknown number says why."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from spikefold.energy.chip.budget import NUMBERS, ChipBudget, chip_budget, spreads
from spikefold.energy.chip.markdown import chip_markdown
from spikefold.energy.chip.schema import ChipForm
from spikefold.energy.chip.sources import numbers_of
from spikefold.energy.counts.count import Counts, count
from spikefold.errors import MismatchError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked

T, N, DT_US = 3, 4, 1000


def _network(channels: int = 3, side: int = 6) -> Network:
    """Integers: a 3x3 convolution and ten dense neurons."""
    rng = np.random.default_rng(0)
    low = {"v_min": -100}
    return Network(
        InputSpec((2, side, side), DT_US, T),
        (
            Layer("conv", Conv2d(rng.integers(-3, 9, (channels, 2, 3, 3)), None, (1, 1), (1, 1))),
            Layer("sn", Neuron(np.array(12), **low)),  # type: ignore[arg-type]
            Layer("fc", Dense(rng.integers(-3, 9, (10, channels * side * side)))),
            Layer("out", Neuron(np.array(40), **low)),  # type: ignore[arg-type]
        ),
        10,
    )


def _counted(network: Network) -> Counts:
    frames = np.random.default_rng(1).poisson(0.5, (T, N, *network.input.shape)).astype(np.uint16)
    counts = count(network, frames, clocked.run(network, frames))
    assert min(counts.total("spikes"), counts.total("events") - counts.total("pairs")) > 100
    return counts


def _budget(name: str, chosen: dict[str, str] | None = None, **options: Any) -> tuple[ChipBudget, Counts]:
    network = _network()
    counts = _counted(network)
    numbers = numbers_of([name], chosen or {})[name]
    return chip_budget(chip_named(name), network, counts, numbers, **options), counts


def test_specks_events_have_the_interval_that_published_power_leaves() -> None:
    found, counts = _budget("speck2f", placement={"sn": 7, "out": 3})
    assert found.power is not None
    window_us, numbers = T * DT_US, found.numbers
    assert numbers["static_uj"] == pytest.approx(0.42 * window_us * 1e-3)
    assert numbers["sensor_uj"] == pytest.approx((0.0789 + 0.6109) * window_us * 1e-3)
    assert set(found.unknown) == {"step_time_us", "smallest_dt_us"}
    per_clip = counts.total("events") / N
    assert per_clip > 0
    assert numbers["event_energy_uj"] == pytest.approx(per_clip * 60e-6)
    assert found.power.bands_uj["dynamic"] == pytest.approx((per_clip * 24.5e-6, per_clip * 146.8e-6))
    assert found.power.bands_uj["running"] == pytest.approx((0, 3.27 * window_us * 1e-3))
    (operations,) = found.power.dynamic
    assert operations.price.evidence == "bounded"
    assert "not measured by operation" in operations.price.band
    assert "chips.core_limit" in found.unknown["smallest_dt_us"]
    conv = counts.layers[0]
    assert numbers["core_synops_per_s"] == pytest.approx(conv.events / (N * T) / (DT_US * 1e-6))
    assert numbers["peak_core_synops_per_s"] == pytest.approx(int(conv.by_step("events").max()) / (DT_US * 1e-6))
    assert [rate.spread.numbers for rate in found.rates] == [(7,), (3,)]
    assert " to " in found.describe()
    assert "limit unknown" in found.describe()


def test_a_limit_gives_lights_and_the_smallest_step() -> None:
    free, counts = _budget("speck2f")
    limit = free.rates[0].peak_per_s / 2.5
    found, _ = _budget("speck2f", limit_per_s=limit)
    assert found.rates[0].light in ("amber", "red")
    smallest = found.numbers["smallest_dt_us"]
    assert smallest == max(rate.smallest_dt_us or 0 for rate in found.rates) == 2500
    for dt_us, fits in ((2500, True), (2499, False)):
        other = chip_budget(
            chip_named("speck2f"),
            _network(),
            replace(counts, dt_us=dt_us),
            numbers_of(["speck2f"], {})["speck2f"],
            limit_per_s=limit,
        )
        assert (other.rates[0].light == "green") == fits
    # a chip with steps is not held against it: a busy core makes its steps longer
    assert _budget("loihi2", limit_per_s=limit)[0].rates[0].limit_per_s is None


def test_loihi_1s_numbers_stand_beside_loihi_2_and_in_none_of_its_own() -> None:
    found, counts = _budget("loihi2")
    assert found.beside is not None
    assert found.beside.step_time is not None
    assert found.numbers["static_uj"] == pytest.approx(232e3 * T * DT_US * 1e-6)
    assert set(found.unknown) == {"sensor_uj"}
    assert found.power is not None
    assert found.step_time is not None
    # its own price is of weights that are not 0, and an upper bound
    (stored,) = found.power.dynamic
    assert stored.per_clip == counts.total("weighted") / N < counts.total("pairs") / N
    assert (stored.low_uj, stored.high_uj) == (0, pytest.approx(stored.per_clip * 30.12e-6))
    assert found.step_time.profile == "loihi2"
    assert found.step_time.peak_us[1] > found.step_time.peak_us[0] > 0
    # graded: several events of a pixel in a step are one operation
    synops = next(term for term in found.beside.power.dynamic if term.name == "synaptic operations of graded spikes")
    assert synops.per_clip == counts.total("pairs") / N < counts.total("events") / N
    chosen, _ = _budget("loihi2", {"loihi2": "loihi1-presilicon"})
    assert chosen.beside is None
    assert chosen.step_time == found.beside.step_time
    assert chosen.numbers["step_time_us"] == found.beside.step_time.peak_us[1]
    assert chosen.numbers["smallest_dt_us"] == int(found.beside.step_time.peak_us[1]) + 1
    assert chosen.numbers["chip_energy_uj"] == found.beside.power.total_uj
    assert set(chosen.unknown) == {"sensor_uj"}


def test_the_smallest_step_of_loihi_is_the_busiest_one_with_its_times_at_the_high_end() -> None:
    network = _network(channels=8, side=16)  # 2048 neurons on a core: 5.3 to 8.4 ns each
    counts, numbers = _counted(network), numbers_of(["loihi2"], {"loihi2": "loihi1-presilicon"})["loihi2"]
    large = chip_budget(chip_named("loihi2"), network, counts, numbers)
    assert large.step_time is not None
    low, high = large.step_time.peak_us
    assert low + 5 < high
    assert large.numbers["smallest_dt_us"] == int(high) + 1
    assert large.numbers["step_time_us"] == high


def test_a_chip_without_steps_has_none_also_with_a_profile_that_has_times() -> None:
    found, _ = _budget("speck2f", {"speck2f": "loihi1-presilicon"})
    assert found.step_time is None
    assert "no steps" in found.unknown["step_time_us"]
    assert found.numbers["chip_energy_uj"] is not None


def test_a_chip_of_which_nothing_is_published_has_cores_and_no_power() -> None:
    found, _ = _budget("dynapcnndevkit")
    assert found.power is None
    assert found.numbers["peak_core_synops_per_s"]
    assert "nobody published what SynSense DYNAP-CNN devkit draws" in found.unknown["static_uj"]
    assert list(chip_markdown("dynapcnndevkit", found.to_json()))


def test_a_split_layer_has_the_share_of_its_larger_part() -> None:
    # 17 channels of 64 x 64 neurons: more than the 2^16 words of the largest core
    rng, low = np.random.default_rng(0), {"v_min": -100}
    network = Network(
        InputSpec((2, 64, 64), DT_US, T),
        (
            Layer("conv", Conv2d(rng.integers(-3, 9, (17, 2, 3, 3)), None, (1, 1), (1, 1))),
            Layer("sn", Neuron(np.array(12), **low)),  # type: ignore[arg-type]
            Layer("last", Conv2d(rng.integers(-3, 9, (2, 17, 3, 3)), None, (4, 4), (1, 1))),
            Layer("out", Neuron(np.array(40), **low)),  # type: ignore[arg-type]
        ),
        2,
    )
    chip = chip_named("speck2f")
    assert chip.resources is not None
    assert chip.laid_out is not None
    laid_out, taken = chip.laid_out(network), chip.resources(network)
    parts = [layer.name for layer in laid_out if layer.name.startswith("conv")]
    lies = spreads(chip, network, taken, taken.placement)["conv"]
    assert (lies.cores, lies.share) == (len(parts), Fraction(9, 17)) == (2, Fraction(9, 17))
    assert sorted((*lies.numbers, taken.placement["out"])) == sorted(taken.placement.values())
    # the share is exact: count the network as it lies on the cores, each part by itself
    frames = np.random.default_rng(1).poisson(0.05, (T, N, *network.input.shape)).astype(np.uint16)
    whole = count(network, frames, clocked.run(network, frames)).layers[0]
    apart = count(laid_out, frames, clocked.run(laid_out, frames)).layers
    largest = max(row.events for row in apart if row.name in parts)
    assert largest == lies.share * whole.events > 1000


def test_a_layer_cut_unevenly_on_loihi_has_the_share_of_the_fullest_core() -> None:
    network = _network(channels=16, side=17)
    chip = chip_named("loihi2")
    assert chip.resources is not None
    taken = chip.resources(network)
    lies = spreads(chip, network, taken, {})
    # 16 x 17 neurons a column: 8 columns are 2176, 16 would be 4352 > 4095; so 8 + 8 + 1
    assert (lies["conv"].cores, lies["conv"].share) == (3, Fraction(8, 17))
    assert (lies["fc"].cores, lies["fc"].share) == (
        taken.layers[1].cores,
        Fraction(taken.layers[1].memory["neurons"][0], 10),
    )


@pytest.mark.parametrize("name", ["speck2f", "speck2e", "dynapcnndevkit", "loihi1", "loihi2"])
@pytest.mark.parametrize("limit", [None, 1.0, 1e9])
def test_every_unknown_number_says_why_and_the_form_is_the_published_one(name: str, limit: float | None) -> None:
    network = _network()
    frames = np.random.default_rng(1).integers(0, 2, (T, N, *network.input.shape)).astype(np.uint16)
    counts = count(network, frames, clocked.run(network, frames))
    found = chip_budget(chip_named(name), network, counts, numbers_of([name], {})[name], limit_per_s=limit)
    values = found.to_json()
    assert set(values["numbers"]) == set(NUMBERS)
    assert {key for key, value in values["numbers"].items() if value is None} == set(values["unknown"])
    assert all(values["unknown"].values())
    assert ChipForm.model_validate(values).model_dump() == values
    text = "\n".join(chip_markdown(name, values))
    for why in values["unknown"].values():
        assert why in text
    with pytest.raises(MismatchError, match="without a reason"):
        replace(found, unknown={})
