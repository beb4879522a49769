# SPDX-License-Identifier: Apache-2.0
"""The protocol of a Speck board, against a strict samna with a plain chip behind it: what works, and what is said."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import (
    EnvironmentLacksError,
    MismatchError,
    UnsupportedError,
)
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Concat, Conv2d, SumPool2d
from spikefold.hardware.speck.board.compare import (
    CHIP_TO_CHIP,
    SIMULATOR_TO_CHIP,
    Agreement,
)
from spikefold.hardware.speck.board.config import essential, fingerprint
from spikefold.hardware.speck.board.power import rail_powers
from spikefold.hardware.speck.lowering.configuration import configuration
from tests.hardware.speck.board.devkit_cases import (
    DT_US,
    ONCE,
    PLACES,
    QUICK,
    TARGET,
    clips,
    network,
    perfect,
    refusal,
    run,
)
from tests.hardware.speck.board.samna_chip import IDLE_W, Board, Faults, Time
from tests.hardware.speck.board.samna_strict import samna

# ---- a board that works -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT])
@pytest.mark.parametrize("bias", [False, True])
def test_a_perfect_board_is_identical_to_the_simulator(reset: Reset, bias: bool) -> None:
    said: list[str] = []
    done, board, _ = run(net=network(bias, reset), progress=said.append)
    assert done.agreement is Agreement.IDENTICAL
    assert done.problems == ()
    assert [layer.layer for layer in done.layers] == ["n1", "n2", "n3"]
    for layer in done.layers:
        assert layer.spikes_simulated > 20
        assert layer.spikes_device == (layer.spikes_simulated,) * 2
        assert (layer.differences, layer.bins_differing, layer.between_repeats) == ((0.0, 0.0), (0, 0), (0.0,))
        assert layer.agreement is Agreement.IDENTICAL
    for trace in done.repeats:
        for name, simulated in done.simulated.layers.items():
            np.testing.assert_array_equal(trace.layers[name].raster, simulated.raster)
            assert simulated.raster.shape == (6, 2, *network().shapes[name])
    assert done.slow_clock_hz == (100 if bias else None)
    assert any("slow clock ticks at 100 Hz" in note for note in done.notes) is bias
    # every clip, and the idle measurement: zeroed before the clock starts
    assert board.log == ["apply", *["zeros"] * 3, "start", "stop"] + [
        "zeros",
        "zeros",
        "zeros",
        "start",
        "spikes",
        "stop",
    ] * 4 + ["power off"]
    assert said == [f"{TARGET}: repeat {r} of 2, clip {c} of 2" for r in (1, 2) for c in (1, 2)]
    assert not done.loses_first_event


def test_every_word_is_zeroed_before_every_clip() -> None:
    """The strict board starts full of garbage, and keeps its states: without zeros nothing would agree."""
    _, board, _ = run(options=ONCE, board=Board(Time(), Faults(), watched=True))
    everything = set(range(16 * 1024))
    assert board.written == [(core, everything) for core in (7, 5, 8)] * 2


def test_a_split_first_layer_is_fed_on_both_cores() -> None:
    rng = np.random.default_rng(5)
    fire = Neuron(np.array(60), reset=Reset.SUBTRACT, v_min=-200, max_spikes=None)
    parts = [
        layer
        for side in "ab"
        for layer in (
            Layer(f"w{side}", Conv2d(rng.integers(-20, 50, (2, 2, 3, 3)), padding=(1, 1)), (INPUT,)),
            Layer(f"n{side}", fire, (f"w{side}",)),
        )
    ]
    last = (
        Layer("both", Concat(), ("na", "nb")),
        Layer("w2", Conv2d(rng.integers(-20, 50, (3, 4, 2, 2)))),
        Layer("n2", fire),
    )
    net = Network(InputSpec((2, 4, 6), DT_US, 5), (*parts, *last), 1)
    places = {"na": 7, "nb": 8, "n2": 6}
    done, _, _ = run(net=net, placement=places, options=ONCE)
    assert done.agreement is Agreement.IDENTICAL
    assert min(layer.spikes_simulated for layer in done.layers) > 20
    assert [layer.bins_differing for layer in done.layers] == [(0,)] * 3


def test_what_sinabs_configures_runs_too() -> None:
    from spikefold.export.passes.quantise import quantise
    from spikefold.hardware.speck.chip import NUMBERS
    from spikefold.hardware.speck.lowering.sinabs import convert

    rng = np.random.default_rng(0)
    layers = [
        Layer("w1", Conv2d(rng.normal(0.2, 1, (2, 2, 3, 3)))),
        Layer("n1", Neuron(np.array(2.0))),
        Layer("p1", SumPool2d((2, 2))),
    ]
    layers += [Layer("w2", Conv2d(rng.normal(0.4, 1, (3, 2, 1, 1)))), Layer("n2", Neuron(np.array(2.0)))]
    real = Network(InputSpec((2, 10, 8), DT_US, 4), tuple(layers), 1)
    model, (net, _) = convert(real), quantise(real, NUMBERS)
    done, _, _ = run(net=net, configuration=json.loads(json.dumps(model.configuration())), placement=model.layer2core)
    assert done.agreement is Agreement.IDENTICAL
    assert [layer.spikes_simulated > 10 for layer in done.layers] == [True, True]


def test_only_the_asked_layers_are_monitored() -> None:
    done, board, _ = run(options=replace(ONCE, layers=("n3",)))
    assert [layer.layer for layer in done.layers] == ["n3"]
    assert list(done.repeats[0].layers) == ["n3"]
    assert done.agreement is Agreement.IDENTICAL
    assert [core.monitor_enable for core in board.configuration.cnn_layers] == [False] * 8 + [True]
    assert not any("monitored" in note for note in done.notes)


def test_the_configuration_is_identified_and_the_result_is_plain() -> None:
    done, _, _ = perfect()
    made = configuration(network(), PLACES, "speck2fdevkit")
    assert done.configuration_sha256 == fingerprint(essential(made))
    changed = copy.deepcopy(made)
    changed["cnn_layers"][7]["monitor_enable"] = not changed["cnn_layers"][7]["monitor_enable"]
    assert fingerprint(essential(changed)) == done.configuration_sha256
    changed["cnn_layers"][7]["weights"][0][0][0][0] += 1
    assert fingerprint(essential(changed)) != done.configuration_sha256
    plain = json.loads(json.dumps(done.to_json()))
    assert plain["agreement"] == "identical"
    assert plain["layers"][0]["by_repeat"] == ["identical", "identical"]
    assert plain["yardsticks"]["chip to chip"] == 0.0281
    assert (plain["clips"], plain["steps"], plain["options"]["repeats"]) == (2, 6, 2)
    assert "identical, SD up to 0.00%" in done.describe()


def test_events_written_late_come_in_a_burst_and_the_delay_avoids_it() -> None:
    """200 events and more take their time to write: without a delay the first ones are late, and bins shift."""
    net = replace(network(), input=InputSpec((2, 4, 10), 100, 6))
    crowd = clips(net.input, share=0.6)
    assert min(len(clip) for clip in crowd) > 250
    done = {delay: run(net=net, clips=crowd, options=replace(ONCE, delay_us=delay))[0] for delay in (0, 1_050)}
    assert done[1_050].layers[0].bins_differing == (0,)
    assert min(done[0].layers[0].bins_differing) > 0
    # the order is the same, and so are the counts
    assert done[0].agreement is done[1_050].agreement is Agreement.IDENTICAL


def test_a_slow_clock_a_little_too_slow_changes_nothing_and_a_drift_is_said() -> None:
    """Bins of 99999 us, as recordings are cut, want 10.0001 Hz; the clock has 10, so a tick comes up to 9 us late."""
    net = replace(network(bias=True), input=InputSpec((2, 4, 10), 99_999, 6))
    done, _, _ = run(net=net, options=ONCE)
    assert [layer.bins_differing for layer in done.layers] == [(0,)] * 3
    assert (done.slow_clock_hz, done.agreement) == (10, Agreement.IDENTICAL)
    assert not any("drift" in note for note in done.notes)
    net = replace(net, input=InputSpec((2, 4, 10), 160_000, 6))  # 6.25 Hz, and the clock has 6
    done, _, _ = run(net=net, options=ONCE)
    assert "biases: over a clip the ticks drift against the bins by 0.28 bins" in done.notes
    assert "biases: usual rates of the slow clock are 10 to 10000 Hz" in done.notes


# ---- boards that do not -------------------------------------------------------------------------------------


def test_lost_events_are_beyond_the_yardstick() -> None:
    done, _, _ = run(Faults(drop_every=5), ONCE)
    assert done.agreement is Agreement.BEYOND
    assert max(layer.differences[0] for layer in done.layers) > SIMULATOR_TO_CHIP
    assert not done.loses_first_event
    assert "beyond the published simulator gap" in done.describe()


def test_a_little_noise_is_named_and_shows_between_repeats() -> None:
    options = replace(QUICK, layers=("n1",), repeats=3)
    total = perfect()[0].layers[0].spikes_simulated
    assert total > 150
    done, _, _ = run(Faults(noise_every=total - 1), options)
    assert done.agreement is Agreement.CHIP_NOISE
    assert all(0 < sd < CHIP_TO_CHIP for sd in done.layers[0].differences)
    assert all(0 < sd < 2 * CHIP_TO_CHIP for sd in done.layers[0].between_repeats)
    assert len(done.layers[0].between_repeats) == 2


def test_a_lost_first_event_is_recognised_and_a_dummy_event_mends_it() -> None:
    done, _, _ = run(Faults(lose_first=True), ONCE)
    assert done.agreement is not Agreement.IDENTICAL
    assert done.loses_first_event
    assert all(layer.without_first_event == (0.0,) for layer in done.layers)
    mended, _, _ = run(Faults(lose_first=True), replace(ONCE, dummy_event=True))
    assert mended.agreement is Agreement.IDENTICAL
    assert (mended.layers[0].without_first_event, mended.loses_first_event) == ((), False)
    assert any("sent an event to lose" in note for note in mended.notes)
    # where none is lost, the dummy counts
    assert run(options=replace(ONCE, dummy_event=True))[0].agreement is not Agreement.IDENTICAL


def test_late_spikes_are_counted_and_said() -> None:
    done, _, _ = run(Faults(late_us=DT_US), ONCE)
    assert done.agreement is Agreement.IDENTICAL  # the counts are
    assert min(done.layers[0].bins_differing) > 0
    assert any("spikes of n1 after it" in problem for problem in done.problems)
    assert "PROBLEMS, first: repeat 0, clip 0: " in done.describe()


def test_a_first_silent_reading_does_not_end_a_clip() -> None:
    """The trap of sinabs' ``hw_forward``: 60 ms pass from the last event to the first spike, between readings 50."""
    done, _, _ = run(Faults(late_us=120_000), ONCE)
    assert done.agreement is Agreement.IDENTICAL
    assert all(layer.spikes_device == (layer.spikes_simulated,) for layer in done.layers)
    assert all("after it" in problem for problem in done.problems)
    assert len(done.problems) == 6


def test_spikes_after_the_silence_do_not_enter_the_next_clip() -> None:
    """They come while the neurons are zeroed: dropped, and said."""
    done, _, _ = run(Faults(late_us=1_000_000), ONCE)
    assert [layer.spikes_device for layer in done.layers] == [(0,)] * 3
    assert done.agreement is Agreement.BEYOND
    first = run(options=ONCE, clips=clips(network().input)[:1])[0]
    assert done.problems == (
        f"repeat 0, clip 1: {first.simulated.spikes} spikes came after the clip before had ended, and were dropped",
    )


def test_a_board_that_is_never_silent_is_cut_and_said() -> None:
    done, _, time = run(Faults(chatter=True))
    cut = [problem for problem in done.problems if "still sending 1 s after the last event, cut there" in problem]
    assert len(cut) == 4
    assert time.slept_s < 60
    assert done.to_json()["problems"]


def test_spikes_from_nowhere_are_counted_and_left_out() -> None:
    done, _, _ = run(Faults(stranger=True), replace(ONCE, layers=("n1", "n2")))
    assert done.agreement is Agreement.IDENTICAL
    assert "repeat 0, clip 0: 1 spikes of cores that are not monitored" in done.problems
    assert "repeat 0, clip 0: 1 spikes of n1 at no neuron" in done.problems


def test_a_board_that_vanishes_ends_in_one_error_and_is_closed() -> None:
    board = Board(Time(), Faults(vanish_after=40))
    error = refusal(EnvironmentLacksError, board=board)
    assert "could not read spikes: RuntimeError: LIBUSB_ERROR_NO_DEVICE" in error.what
    assert "reset button" in error.hint
    assert (board.closed, board.seen >= 40) == (1, True)


def test_a_broken_run_closes_the_board() -> None:
    board = Board(Time(), Faults())

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(board=board, progress=stop)
    assert (board.closed, board.open, board.log[-1]) == (1, False, "power off")


@pytest.mark.parametrize(("how", "what"), [("none", "does not open"), ("timeout", "LIBUSB_ERROR_TIMEOUT")])
def test_a_board_that_does_not_open(how: str, what: str) -> None:
    error = refusal(EnvironmentLacksError, Faults(refuses_open=how))
    assert what in error.what
    assert "reset button" in error.hint


def test_a_samna_that_does_not_keep_what_it_is_given() -> None:
    error = refusal(MismatchError, Faults(forgetful=True))
    fields = {issue.where for issue in error.issues}
    assert {"configuration.cores.7.weights", "configuration.cores.8.threshold_high"} <= fields


def test_a_samna_without_a_documented_name_is_said() -> None:
    fake = samna({"Speck2fDevKit": Board(Time(), Faults())})
    del fake.BasicSourceNode_speck2f_event_input_event
    assert "could not apply the configuration: AttributeError" in refusal(EnvironmentLacksError, samna=fake).what
    del fake.speck2f
    assert "could not offer speck2f" in refusal(EnvironmentLacksError, samna=fake).what


def test_samnas_reasons_reach_the_user() -> None:
    fake = samna({"Speck2fDevKit": Board(Time(), Faults())})
    fake.speck2f.validate_configuration = lambda made: (False, "core 7: too hot\ncore 8: too cold\n")
    error = refusal(UnsupportedError, samna=fake)
    assert [issue.got for issue in error.issues] == ["core 7: too hot", "core 8: too cold"]
    fake.speck2f.validate_configuration = lambda made: (False, "")
    assert [issue.got for issue in refusal(UnsupportedError, samna=fake).issues] == ["no reason given"]


# ---- power --------------------------------------------------------------------------------------------------


def test_power_is_by_rail_with_idle_subtracted() -> None:
    done, _, _ = perfect()
    assert done.power_missing is None
    assert [rail.rail for rail in done.power][:3] == ["VDD_IO 2.5V", "VDD_RAM 1.2V", "VDD_LOGIC 1.2V"]
    for channel, rail in enumerate(done.power):
        assert rail.idle_w == pytest.approx(IDLE_W[channel])
        assert rail.idle_samples == 200  # 2 s at 100 Hz
        assert 4 < rail.active_samples <= 4 * 6  # of each of 4 clips 50 to 60 ms: no pause, no silence at the end
    assert done.power[2].difference_w > 1e-5
    assert all(rail.difference_w == pytest.approx(0) for rail in done.power if rail is not done.power[2])
    plain = done.to_json()
    assert plain["power_offset_w"] == 50e-6
    assert plain["power"][2]["difference_w"] == done.power[2].difference_w
    assert any("3 layers were monitored, which costs power" in note for note in done.notes)


def test_no_power_monitor_is_no_failure() -> None:
    done, _, _ = run(Faults(no_power=True), replace(ONCE, idle_s=1.0))
    assert (done.power, done.agreement) == ((), Agreement.IDENTICAL)
    assert "no power monitor on this board" in done.power_missing
    assert run(options=ONCE)[0].power_missing == "not asked for"


def test_means_by_rail() -> None:
    low, high = rail_powers([(0, 1.0), (0, 3.0)], [(0, 5.0), (9, 7.0)])
    assert (low.idle_w, low.active_w, low.difference_w, low.idle_samples, low.active_samples) == (2.0, 5.0, 3.0, 2, 1)
    assert (high.rail, high.idle_w, high.active_w, high.difference_w) == ("channel 9", None, 7.0, None)
