# SPDX-License-Identifier: Apache-2.0
"""The largest sum of Loihi is the largest that its state can take, to the unit."""

from __future__ import annotations

from spikefold.hardware.loihi.rules import SUM_MAX
from spikefold.hardware.registry import chips


def test_a_sum_fits_the_state_and_one_more_does_not() -> None:
    for name in ("loihi1", "loihi2"):
        numbers = chips()[name].numbers
        assert numbers.state_bits is not None
        largest_state = 2 ** (numbers.state_bits - 1) - 1
        assert numbers.sum_max == SUM_MAX == 65_535
        assert SUM_MAX * 2**numbers.state_shift <= largest_state < (SUM_MAX + 1) * 2**numbers.state_shift
