# SPDX-License-Identifier: Apache-2.0
"""Busy cores: mean and peak rates against a limit, and the time of a Loihi step."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from spikefold.energy.chip.core_load import Spread, core_rates, step_time
from spikefold.energy.counts.count import Counts, LayerCounts, Series
from spikefold.energy.prices.load import load_profile
from spikefold.errors import ConfigError, MismatchError


def _layer(name: str, events: list[list[int]], neurons: int) -> LayerCounts:
    by_step = np.array(events, np.int64)
    total = int(by_step.sum())
    series = Series(*[by_step] * 5)
    return LayerCounts(name, "binary", 999, 888, total, total, total, 5, neurons, series=series)


def _counts() -> Counts:
    """Three steps of two clips, 1 ms each; the busiest step of conv1 is the second of the second clip."""
    conv1 = _layer("conv1", [[100, 0], [200, 1200], [0, 300]], 1000)
    fc = _layer("fc", [[10, 20], [30, 40], [50, 60]], 10)
    return Counts(2, 3, (conv1, fc), 1000)


def test_mean_and_peak_a_core() -> None:
    conv1, fc = core_rates(_counts())
    assert conv1.mean_per_s == pytest.approx(1800 / 6 / 1e-3)
    assert conv1.peak_per_s == pytest.approx(1200 / 1e-3)
    assert (fc.mean_per_s, fc.peak_per_s) == pytest.approx((35_000, 60_000))
    assert (conv1.light, conv1.advice, conv1.limit_per_s) == ("unknown", "", None)
    halved = core_rates(_counts(), cores={"conv1": Spread(2)})[0]
    assert (halved.mean_per_s, halved.peak_per_s) == pytest.approx((150_000, 600_000))
    assert core_rates(_counts(), dt_us=500)[0].peak_per_s == pytest.approx(2_400_000)


@pytest.mark.parametrize(
    ("limit", "light"), [(1_200_000, "green"), (1_199_999, "amber"), (300_000, "amber"), (299_999, "red")]
)
def test_the_light_against_a_limit(limit: float, light: str) -> None:
    assert core_rates(_counts(), limit)[0].light == light


def test_the_advice_is_enough_and_the_smallest() -> None:
    conv1, fc = core_rates(_counts(), 500_000)
    assert conv1.advice == "steps of 2400 us or longer with the same events, or 3 cores for conv1 in place of 1"
    assert core_rates(_counts(), 500_000, dt_us=2400)[0].light == "green"
    assert core_rates(_counts(), 500_000, dt_us=2399)[0].light == "amber"
    assert conv1.smallest_dt_us == 2400
    assert core_rates(_counts(), 500_000, cores={"conv1": Spread(3)})[0].light == "green"
    assert core_rates(_counts(), 500_000, cores={"conv1": Spread(2)})[0].light == "amber"
    assert (fc.light, fc.advice) == ("green", "")


def test_an_uneven_share_is_that_of_the_fullest_core() -> None:
    uneven = Spread(2, Fraction(16, 17), (4, 7))
    conv1 = core_rates(_counts(), 1_000_000, cores={"conv1": uneven})[0]
    assert (conv1.mean_per_s, conv1.peak_per_s) == pytest.approx((300_000 * 16 / 17, 1_200_000 * 16 / 17))
    assert conv1.smallest_dt_us == 1130  # 1200 * 16 / 17 / 1e6 s
    assert "shares of conv1 that are more alike" in conv1.advice  # two even cores would do
    assert conv1.to_json()["numbers"] == [4, 7]
    found = step_time(_counts(), load_profile("loihi1-presilicon"), cores={"conv1": uneven})
    assert found.peak_us[0] == pytest.approx((16 / 17 * (1200 * 3.5 + 5300) + 113) / 1e3)
    for cores, share in ((2, Fraction(1, 3)), (2, Fraction(17, 16)), (0, None)):
        with pytest.raises(MismatchError, match="busiest"):
            Spread(cores, share)


def test_graded_spikes_are_counted_once() -> None:
    series = Series(*[np.array([[3]], np.int64)] + [np.array([[12]], np.int64)] * 4)
    layer = replace(_layer("conv1", [[12]], 5), pairs=3, series=series)
    counts = Counts(1, 1, (layer,), 1000)
    assert [core_rates(counts, graded=one)[0].peak_per_s for one in (True, False)] == [3000, 12000]
    assert [core_rates(counts, graded=one)[0].mean_per_s for one in (True, False)] == [3000, 12000]
    times = load_profile("loihi1-presilicon")
    plain, graded = (step_time(counts, times, graded=one) for one in (False, True))
    assert plain.peak_us[0] - graded.peak_us[0] == pytest.approx(9 * 3.5e-3)
    assert plain.mean_us[0] - graded.mean_us[0] == pytest.approx(9 * 3.5e-3)


def test_a_loihi_step_waits_for_its_slowest_core() -> None:
    found = step_time(_counts(), load_profile("loihi1-presilicon"))
    # facts, energy 4.2: 3.5 ns a synaptic operation, 5.3 to 8.4 ns a neuron, barrier 113 to 465 ns
    assert found.layer == "conv1"
    assert found.mean_us == pytest.approx(((300 * 3.5 + 5300 + 113) / 1e3, (300 * 3.5 + 8400 + 465) / 1e3))
    assert found.peak_us == pytest.approx(((1200 * 3.5 + 5300 + 113) / 1e3, (1200 * 3.5 + 8400 + 465) / 1e3))
    assert (found.dt_us, found.light) == (1000, "green")
    assert [place.split(":")[0] for place in found.where] == ["loihi1-presilicon.toml"] * 3
    spread = step_time(_counts(), load_profile("loihi1-presilicon"), cores={"conv1": Spread(4)})
    assert spread.peak_us[0] == pytest.approx((300 * 3.5 + 250 * 5.3 + 113) / 1e3)


def test_the_light_of_a_step_against_real_time() -> None:
    lights = {
        dt: step_time(_counts(), load_profile("loihi1-presilicon"), dt_us=dt).light for dt in (6.4, 6.5, 13.0, 13.1)
    }
    assert lights == {6.4: "red", 6.5: "amber", 13.0: "amber", 13.1: "green"}


def test_nothing_is_made_up() -> None:
    totals = Counts(2, 3, (LayerCounts("conv1", "binary", 9, 8, 7, 7, 7, 5, 4),), 1000)
    for ask in (lambda c: core_rates(c), lambda c: step_time(c, load_profile("loihi1-presilicon"))):
        with pytest.raises(MismatchError, match="only totals are known"):
            ask(totals)
        with pytest.raises(MismatchError, match="no layer with synapses"):
            ask(Counts(2, 3, (), 1000))
    with pytest.raises(ConfigError, match="nothing about times"):
        step_time(_counts(), load_profile("speck"))
    with pytest.raises(ConfigError, match="above 0"):
        core_rates(_counts(), 0)
    with pytest.raises(MismatchError, match="cores of no layer"):
        core_rates(_counts(), cores={"conv9": Spread(2)})


def test_a_report_gets_plain_values() -> None:
    assert core_rates(_counts(), 500_000)[0].to_json()["light"] == "amber"
    values = step_time(_counts(), load_profile("loihi1-fitted")).to_json()
    assert values["light"] == "green"
    assert isinstance(values["mean_us"], list)
    assert values["profile"] == "loihi1-fitted"
