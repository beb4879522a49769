# SPDX-License-Identifier: Apache-2.0
"""Decimators, the lost first event, ticks that fire: each worked out by hand, and off by default."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.errors import ConfigError
from spikefold.export.neuron import Reset
from spikefold.hardware.speck.events.options import INTERVALS, Emission, Options, Tick
from spikefold.hardware.speck.events.simulate import run, simulate
from tests.hardware.speck.events.event_cases import one_core, rows, spikes_and_states, two_cores


def test_nothing_is_on_by_default() -> None:
    options = Options()
    assert (options.tick_fires, options.lose_first, dict(options.decimators)) == (False, False, {})


# ---- decimators --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_nth_spike_of_the_core_passes(interval: int) -> None:
    """Two neurons fire at each event, 1 before 0: the n-th spike is neuron 0's for each n, at event n / 2."""
    network = one_core([[1], [1]], 1, steps=2)
    spikes, states = spikes_and_states(
        network, rows([interval], [interval // 2 - 1]), Options(decimators={"w": interval})
    )
    assert spikes == [[2, 0], [0, 0]]  # 2n spikes, then n - 2 more
    assert states == [[0, 0], [0, 0]]
    found = spikes_and_states(network, rows([interval // 2 - 1], [1]), Options(decimators={"w": interval}))[0]
    assert found == [[0, 0], [1, 0]]  # the count goes on over bins


def test_the_order_of_emission_decides_which_spike_passes() -> None:
    """Neuron 1 is the second of each pair where addresses ascend, neuron 0 where they or the features descend."""
    for emission, passed in zip(Emission, ([3, 0], [0, 3], [3, 0]), strict=False):
        options = Options(emission=emission, decimators={"w": 2})
        assert spikes_and_states(one_core([[1], [1]], 1), rows([3]), options)[0] == [passed]


def test_a_decimator_counts_from_the_start_of_a_clip_and_thins_what_arrives_behind_it() -> None:
    """Three events a clip, six spikes of the first core, one of four passes: one arrives, in each of two clips."""
    frames = np.full((1, 2, 1, 1, 1), 3)
    found = simulate(two_cores([1, 1]), frames, Options(decimators={"w": 4}))
    assert found.trace.layers["n"].raster.sum(axis=(0, 2, 3, 4)).tolist() == [1, 1]
    assert found.loads[1].events.tolist() == [[1, 1]]
    assert simulate(two_cores([1, 1]), frames).loads[1].events.tolist() == [[6, 6]]


def test_intervals_and_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Options(decimators={"w": 64, "d": 3, "e": 2})
    assert [(issue.where, issue.got) for issue in caught.value.issues] == [("w", "n = 64"), ("d", "n = 3")]
    with pytest.raises(ConfigError, match="no core") as caught:
        run(one_core([[1]], 1), rows([1]), Options(decimators={"n": 2}))
    assert [issue.where for issue in caught.value.issues] == ["n"]


def test_the_decimators_of_options_cannot_be_changed() -> None:
    given = {"w": 2}
    options = Options(decimators=given)
    given["w"] = 4
    assert dict(options.decimators) == {"w": 2}
    with pytest.raises(TypeError):
        options.decimators["w"] = 4  # type: ignore[index]


# ---- the lost first event ----------------------------------------------------------------------------------------


def test_each_core_loses_its_first_event_in_each_clip() -> None:
    """Core 1: one of 2 lost. It sends 2 spikes for the event left; core 2 loses one of them."""
    frames = np.full((2, 2, 1, 1, 1), 1)
    found = simulate(two_cores([1, 1], steps=2), frames, Options(lose_first=True), potentials=True)
    assert [load.events.tolist() for load in found.loads] == [[[0, 0], [1, 1]], [[0, 0], [1, 1]]]
    assert [load.operations.tolist() for load in found.loads] == [[[0, 0], [2, 2]], [[0, 0], [1, 1]]]
    out = found.trace.layers["out"]
    assert out.potentials is not None
    assert out.potentials.ravel().tolist() == [0, 0, 1, 1]
    assert simulate(two_cores([1, 1], steps=2), frames).trace.layers["out"].spikes == 4


def test_the_public_probe_of_a_lost_event() -> None:
    """Weight 127, threshold 141 (w / thr = 0.9), four events, then none: lost, 127, 254 fires, 240 fires again."""
    assert spikes_and_states(one_core([[127]], 141, steps=2), rows([4], [0]), Options(lose_first=True)) == (
        [[2], [0]],
        [[99], [99]],
    )


# ---- ticks that fire ---------------------------------------------------------------------------------------------


def test_a_tick_fires_once_and_resets() -> None:
    """Bias 25, threshold 10: one spike a tick, and the rest stays; by default it only waits."""
    network, frames = one_core([[1]], 10, bias=[25], steps=2), rows([0], [0])
    for tick in (Tick.START, Tick.END):
        assert spikes_and_states(network, frames, Options(tick=tick, tick_fires=True)) == ([[1], [1]], [[15], [30]])
        assert spikes_and_states(network, frames, Options(tick=tick)) == ([[0], [0]], [[25], [50]])
    assert spikes_and_states(network, frames, Options(tick=Tick.NEVER, tick_fires=True)) == ([[0], [0]], [[0], [0]])
    bounded = one_core([[1]], 10, bias=[12], reset=Reset.ZERO, v_min=0.0)
    assert spikes_and_states(bounded, rows([0]), Options(tick_fires=True)) == ([[1]], [[0]])


def test_all_cores_tick_before_a_tick_of_an_earlier_one_arrives() -> None:
    """Core 1 fires twice at its tick; core 2 ticks to 3 and fires once (1), then +2 fires (1), then -2 leaves -1.

    If the spikes came first, +2 would fire (0), -2 leave -2, and the tick lift it to 1 without a second spike.
    """
    network = two_cores([-2, 2], biases=([1, 1], [3]))
    for tick in (Tick.START, Tick.END):
        found = simulate(network, rows([0]), Options(tick=tick, tick_fires=True), potentials=True)
        assert found.trace.layers["n"].raster.ravel().tolist() == [1, 1]
        assert found.trace.layers["out"].raster.item() == 2
        assert found.trace.layers["out"].potentials.item() == -1
        assert found.loads[1].events.item() == 2


def test_at_the_start_a_ticks_spikes_come_before_the_events_and_at_the_end_behind_them() -> None:
    """One event makes both neurons of core 1 fire, 1 before 0; a tick makes neuron 1 fire. They weigh -1 and +1.

    Core 2 is bound at 0, threshold 2. At the start: 1, 2 fires, 0. At the end: 1, 0, 1.
    """
    network = two_cores([-1, 1], biases=([0, 1], None), v_min=0.0)
    found = {
        tick: spikes_and_states(network, rows([1]), Options(tick=tick, tick_fires=True))
        for tick in (Tick.START, Tick.END)
    }
    assert found == {Tick.START: ([[1]], [[0]]), Tick.END: ([[0]], [[1]])}
