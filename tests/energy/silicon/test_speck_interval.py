# SPDX-License-Identifier: Apache-2.0
"""The price of an operation of Speck from six rows of a table alone: by hand, and against a search over a grid."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np
import pytest

from spikefold.energy.prices.load import load_profile
from spikefold.energy.silicon import speck
from spikefold.energy.silicon.price_interval import MeasuredNetwork, price_interval
from spikefold.errors import DataError
from spikefold.export.fanout import fanout
from spikefold.train.models.architectures import architecture, network

# Table 1 of Yao et al.: mW, millions of spikes in 540 ms, and classes
ROWS = ((9.5, 1.0, 11), (3.8, 0.4, 11), (16.1, 2.9, 20), (7.3, 1.2, 20), (46.8, 3.3, 20), (12.3, 1.5, 20))


def _feasible(price_pj: float, base_mw: float) -> bool:
    """Whether a price and a power of rest and running agree with every row."""
    for mw, millions, classes in ROWS:
        above_uj = (mw - base_mw) * 0.54e3
        if not classes * millions * price_pj <= above_uj <= 288 * millions * price_pj:
            return False
    return base_mw >= 0.339


def test_the_interval_from_the_six_rows_alone() -> None:
    found = speck.interval()
    low, high, running = float(found.low_pj), float(found.high_pj), float(found.running_mw)
    # low end: the hungriest row with all its spikes at 288 synapses, once running has all that the leanest row leaves
    assert low == pytest.approx(24.5454, abs=1e-3)
    # high end: the leanest row per spike, Gait-day vanilla, with all its spikes in the dense layer and rest at 0.339
    assert high == pytest.approx((16.1 - 0.339) * 0.54 / 2.9e6 / 20 * 1e9, rel=1e-9)
    # without any running the low end is that of Gait-night vanilla
    still = price_interval(speck.networks(), speck.REST_MW, speck.WINDOW_S, running=False)
    assert float(still.low_pj) == pytest.approx((46.8 - 0.42) * 0.54 / 3.3e6 / 288 * 1e9, rel=1e-9)
    # a search that knows nothing of lines: just inside there is a power that fits, just outside there is none
    bases = np.linspace(0.339, 3.8, 4001)
    for price, fits in ((low * 1.0005, True), (low * 0.9995, False), (high * 0.9995, True), (high * 1.0005, False)):
        assert any(_feasible(price, base) for base in bases) == fits
    prices = np.linspace(low, high, 2001)
    assert any(_feasible(price, 0.339 + running * 0.9995) for price in prices)
    assert not any(_feasible(price, 0.339 + running * 1.0005) for price in prices)


def test_the_profile_holds_the_interval_and_rounds_outward() -> None:
    found, profile = speck.interval(), load_profile("speck")
    price = profile.energy_pj.ac
    low, high = price.bounds
    assert 0 <= float(found.low_pj) - low < 0.1
    assert 0 <= high - float(found.high_pj) < 0.1
    assert price.amount == pytest.approx((low * high) ** 0.5, rel=1e-2)
    assert price.evidence == "bounded"
    assert profile.power_mw is not None
    assert profile.power_mw.running is not None
    assert 0 <= profile.power_mw.running.bounds[1] - float(found.running_mw) < 0.02
    assert profile.power_mw.static.bounds == tuple(map(float, speck.REST_MW))


def test_the_fanouts_are_those_of_the_network_itself() -> None:
    net = network(architecture("speck-yao"))
    assert len(net.weights) == 5
    most = [int(fanout(one.op, net.input_shape(one)).max()) for one in net.weights]
    assert max(most) == speck.MOST == 288
    assert most == [288, 288, 288, 32, 11]  # the second has a pool behind its neurons, not a stride
    assert min(most) == speck.CLASSES["gesture"]
    assert prod(net.shapes[net.weights[-1].name]) == 11


def test_one_network_bounds_a_price_by_hand() -> None:
    # 1 mW above rest for 1 s is 1 mJ, for 1e6 spikes of 10 to 100 synapses: 10 to 100 pJ; running may take all of it
    one = MeasuredNetwork("one", Fraction(3, 2), 10**6, 10, 100)
    still = price_interval([one], (Fraction(1, 2), Fraction(1, 2)), Fraction(1), running=False)
    assert (still.low_pj, still.high_pj, still.running_mw) == (10, 100, 0)
    found = price_interval([one], (Fraction(1, 2), Fraction(1, 2)), Fraction(1))
    assert (found.low_pj, found.high_pj, found.running_mw) == (0, 100, 1)


def test_what_cannot_agree_is_refused() -> None:
    lean, hungry = (MeasuredNetwork(name, Fraction(mw), 10**6, 10, 20) for name, mw in (("lean", 1), ("hungry", 9)))
    with pytest.raises(DataError, match="no price of an operation agrees with lean, hungry"):
        price_interval([lean, hungry], (Fraction(0), Fraction(0)), Fraction(1))
    with pytest.raises(DataError, match="no network"):
        price_interval([], (Fraction(0), Fraction(0)), Fraction(1))
    with pytest.raises(DataError, match="needs a power"):
        MeasuredNetwork("bad", Fraction(1), 10, 5, 4)
