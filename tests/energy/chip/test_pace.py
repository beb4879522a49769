# SPDX-License-Identifier: Apache-2.0
"""The busiest core sets the pace: by hand on two layers, what binds, and what more cores would buy."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.energy.chip.pace import proposal, steps
from spikefold.energy.prices.load import load_profile
from spikefold.energy.prices.technology import Times
from spikefold.errors import MismatchError
from spikefold.hardware.core_work import CoreWork


def _times() -> Times:
    times = load_profile("loihi2").time_ns
    assert times is not None
    return times


def _work(layer: str, neurons: list[int], operations: list[list[int]]) -> CoreWork:
    """One clip; operations by step and core."""
    done = np.array(operations, np.int64)[:, None, :]
    return CoreWork(layer, np.array(neurons, np.int64), done, done, done, done)


def test_each_step_waits_for_its_slowest_core_and_layers_work_one_step_apart() -> None:
    work = {
        "first": _work("first", [1000, 10], [[10_000, 0], [0, 0], [0, 0]]),
        "second": _work("second", [10], [[0], [50_000], [0]]),
    }
    found = steps(work, _times())
    # the second layer's step 1 is the chip's step 2; in step 1 only the neurons of the first layer work: 1000 x 4 ns
    assert [(one.layer, one.core, one.part) for one in found] == [
        ("first", 0, "synapses"),
        ("first", 0, "neurons"),
        ("second", 0, "synapses"),
    ]
    assert [one.operations for one in found] == [10_000, 0, 50_000]
    assert [one.time_us[1] for one in found] == pytest.approx([10.2, 4.0, 51.0])
    assert found[2].time_us[0] == pytest.approx(50_000 * 0.66e-3)
    assert found[2].time_us[2] == pytest.approx(51.0 + 10)  # the barrier at its high end


def test_where_parts_do_not_overlap_they_add_up() -> None:
    loihi1 = load_profile("loihi1-presilicon").time_ns
    assert loihi1 is not None
    (only,) = steps({"one": _work("one", [100], [[1000]])}, loihi1)
    assert only.time_us[0] == pytest.approx((1000 * 3.5 + 100 * 5.3 + 113) / 1e3)


def test_more_cores_for_the_layer_that_binds_until_another_one_does() -> None:
    work = {
        "narrow": _work("narrow", [10, 10], [[30_000, 20_000]]),
        "wide": _work("wide", [10, 10, 10], [[22_000, 9000, 9000]]),
    }
    found = proposal(work, _times())
    assert found is not None
    assert (found.layer, found.cores, found.then) == ("narrow", (2, 3), "wide")
    assert found.slowest_us == pytest.approx((30.6, 22_000 * 1.02e-3))
    assert "1 more core for narrow (3 in place of 2)" in found.describe()
    assert proposal({"narrow": work["narrow"]}, _times()) is None
    with pytest.raises(MismatchError, match="no layer"):
        steps({}, _times())
