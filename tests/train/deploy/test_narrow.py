# SPDX-License-Identifier: Apache-2.0
"""A trained network loses its least important channels until it fits; every weight that stays is the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.config import TrainConfig
from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.simulators import clocked
from spikefold.hardware.speck.chip import SPECK2F, violations
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.narrow import channel_importance, kept_counts, narrow

CHANNELS, SIDE, CLASSES = 40, 16, 5


def _wide(channels: int = CHANNELS, neuron: Neuron | None = None) -> Network:
    """A pooled convolution and a dense layer over its 8x8 map: ``64 * channels * 64`` words for 40 outputs."""
    rng = np.random.default_rng(0)
    fires = neuron or Neuron(np.array(1.0))
    layers = (
        Layer("c", Conv2d(rng.normal(0.1, 0.4, (channels, 2, 3, 3)), rng.normal(0, 0.1, channels), padding=(1, 1))),
        Layer("n", fires),
        Layer("p", SumPool2d((2, 2))),
        Layer("d", Dense(rng.normal(0.01, 0.05, (8 * CLASSES, channels * 64)))),
        Layer("o", fires),
    )
    return Network(InputSpec((2, SIDE, SIDE), 1000, 4, 2), layers, CLASSES)


@pytest.fixture(scope="module")
def clips() -> ClipSet:
    rng = np.random.default_rng(1)
    return ClipSet(rng.binomial(2, 0.2, (4, 10, 2, SIDE, SIDE)).astype(np.uint16), np.arange(10) % CLASSES)


def test_the_most_important_channels_stay_and_their_weights_are_the_same(clips: ClipSet) -> None:
    wide = _wide()
    (refused,) = violations(wide)
    assert (refused.where, refused.got.split(",")[0]) == ("d", f"kernel {CHANNELS * 64 * 64}")
    ranking = channel_importance(wide, SPECK2F, clips, TrainConfig(batch=5))
    assert ranking.keys() == {"n"}
    assert len(np.unique(ranking["n"])) > CHANNELS // 2
    found = narrow(wide, SPECK2F, ranking)
    kept = found.kept["n"]
    # 16 * 64 * 64 words are a whole core
    assert kept.sum() == 16
    assert ranking["n"][kept].min() >= ranking["n"][~kept].max()
    assert violations(found.network) == []
    for name, weight in (("c", wide["c"].op.weight[kept]), ("d", wide["d"].op.weight[:, np.repeat(kept, 64)])):
        np.testing.assert_array_equal(found.network[name].op.weight, weight)
    one, all_of_them = (clocked.run(which, clips.frames).layers["n"] for which in (found.network, wide))
    np.testing.assert_array_equal(one.raster, all_of_them.raster[:, :, kept])
    assert one.spikes > 1000


def test_one_channel_more_would_not_fit(clips: ClipSet) -> None:
    assert kept_counts(_wide(), SPECK2F) == {"n": 16}
    assert violations(_wide(16)) == []
    assert violations(_wide(17))


def test_channels_without_a_say_go_first(clips: ClipSet) -> None:
    wide = _wide()
    dense = wide["d"].op
    assert isinstance(dense, Dense)
    unheard = np.arange(CHANNELS) % 2 == 0
    weight = np.where(np.repeat(unheard, 64), 0.0, dense.weight)
    wide = wide.rewritten([replace(la, op=Dense(weight)) if la.name == "d" else la for la in wide], "unheard")
    ranking = channel_importance(wide, SPECK2F, clips, TrainConfig(batch=5))
    assert (ranking["n"][unheard] == 0).all()
    assert (ranking["n"][~unheard] > 0).sum() >= 16
    assert not narrow(wide, SPECK2F, ranking).kept["n"][unheard].any()


def test_with_the_training_on_currents_the_ranking_is_another(clips: ClipSet) -> None:
    rate, current = (
        channel_importance(_wide(), SPECK2F, clips, TrainConfig(batch=5, loss=loss))["n"]
        for loss in ("rate", "current")
    )
    assert (rate != current).any()


def test_a_network_that_fits_is_the_same_network() -> None:
    fits = _wide(16)
    found = narrow(fits, SPECK2F, {"n": np.arange(16.0)})
    assert found.network is fits
    assert found.kept == {}


def test_two_layers_that_compete_give_both_a_little() -> None:
    rng = np.random.default_rng(2)
    fires = Neuron(np.array(1.0))
    layers: list[Layer] = []
    channels = 2
    # four layers of 64 -> 64 channels take 64 Ki words each: two cores have as many, two more hold halves of a third
    for number in range(5):
        layers += [
            Layer(f"c{number}", Conv2d(rng.normal(size=(64, channels, 3, 3)), padding=(1, 1))),
            Layer(f"n{number}", fires),
        ]
        channels = 64
    layers += [Layer("d", Dense(rng.normal(size=(4, 64 * 16)))), Layer("o", fires)]
    wide = Network(InputSpec((2, 4, 4), 1000, 4), tuple(layers), 4)
    assert violations(wide)
    counts = kept_counts(wide, SPECK2F)
    assert 1 <= sum(count < 64 for count in counts.values()) <= 2
    assert min(counts.values()) >= 32
    found = narrow(wide, SPECK2F, {name: rng.random(64) for name in counts})
    assert violations(found.network) == []
    assert {name: found.network.shapes[name][0] for name in counts} == counts


def test_what_channels_cannot_mend_is_named_at_once() -> None:
    with pytest.raises(UnsupportedError, match="fewer channels alone") as caught:
        kept_counts(_wide(neuron=Neuron(np.array(1.0), leak=Leak(0.5))), SPECK2F)
    assert {issue.where for issue in caught.value.issues} == {"n", "o"}


def test_a_chip_that_counts_no_channels_takes_all_of_them() -> None:
    wide, fires = _wide(), Neuron(np.array(1.0))
    conv = Conv2d(np.ones((CHANNELS, 2, 4, 4)), stride=(2, 2), padding=(1, 1))
    layers = (Layer("c", conv), Layer("n", fires), Layer("d", wide["d"].op), Layer("o", fires))
    strided = Network(wide.input, layers, CLASSES)
    assert kept_counts(strided, LOIHI2) == {"n": CHANNELS}
    integer, _ = quantise(strided, LOIHI2.numbers)
    assert LOIHI2.violations(integer) == []
