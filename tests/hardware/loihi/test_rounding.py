# SPDX-License-Identifier: Apache-2.0
"""Float LIF against integer CUBA: each cause alone by hand, then networks in which all of them act."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.loihi import rounding
from spikefold.hardware.loihi.rounding import CAUSES, measure

HALF = Leak(2048, 12)


def _one(weights: list[float], theta: float, *drive: list[int], **options: object) -> tuple[Network, np.ndarray]:
    """One neuron, driven by rows of ``drive``, one a step."""
    layers = (Layer("w", Dense(np.array([weights]))), Layer("n", Neuron(np.array(theta), **options)))  # type: ignore[arg-type]
    spec = InputSpec((len(weights), 1, 1), 1000, len(drive))
    return Network(spec, layers, 1), np.array(drive).reshape(len(drive), 1, -1, 1, 1)


def _causes(real: Network, integer: Network, frames: np.ndarray) -> dict[str, int]:
    (layer,) = measure(real, integer, frames).layers
    assert layer.spikes > 0
    assert layer.bits == len(frames)
    assert set(layer.flips) == set(CAUSES)
    assert layer.local == layer.end_to_end
    return dict(layer.flips)


NOTHING = dict.fromkeys(CAUSES, 0)


def test_quantisation_alone() -> None:
    # 3.0 and 1.5 against a threshold of 2.5; rounded to 2 and 1 against 2, only the second of them changes
    drive = [2], [1], [2], [0]
    real, frames = _one([1.5], 2.5, *drive, leak=Leak(0.0), fire=Fire.GT)
    integer, _ = _one([1], 2, *drive, leak=Leak(0, 12), fire=Fire.GT)
    assert _causes(real, integer, frames) == NOTHING | {"quantisation": 2}


def test_ties_alone() -> None:
    # 4 meets its threshold twice; 2 + 3 is above it either way
    drive = [4], [0], [4], [3]
    real, frames = _one([1.0], 4.0, *drive, leak=Leak(0.5))
    integer, _ = _one([1], 4, *drive, leak=HALF, fire=Fire.GT)
    # with >= it fires at both ties, then 3 is left below; with > the states are 4 2 5* 3
    assert _causes(real, integer, frames) == NOTHING | {"ties": 1}


def test_decay_alone() -> None:
    # 4 kept by a little more than a half is above 2, and by a half it is not
    drive = [4], [0], [3], [9]
    real, frames = _one([1.0], 4.0, *drive, leak=Leak(0.5 + 2**-20), fire=Fire.GT)
    integer, _ = _one([1], 4, *drive, leak=HALF, fire=Fire.GT)
    # 4, 2+, 4+ fires; 4, 2, 4 does not, and then 9 fires in both
    assert _causes(real, integer, frames) == NOTHING | {"decay": 1}


def test_truncation_alone() -> None:
    drive = [3], [3], [9]
    real, frames = _one([1.0], 4.0, *drive, leak=Leak(0.5), fire=Fire.GT)
    integer, _ = _one([1], 4, *drive, leak=HALF, fire=Fire.GT)
    # 1.5 + 3 is above 4, 1 + 3 is not
    assert _causes(real, integer, frames) == NOTHING | {"truncation": 1}
    neuron = integer.layers[1].op
    assert isinstance(neuron, Neuron)
    finer = replace(
        integer, layers=(integer.layers[0], replace(integer.layers[1], op=replace(neuron, state_shift=7)))
    )
    assert _causes(real, finer, frames) == NOTHING


def test_the_decay_of_a_current_is_one_too() -> None:
    drive = [4], [0], [0], [9]
    real, frames = _one([1.0], 6.0, *drive, current=Leak(0.5 + 2**-20), fire=Fire.GT)
    integer, _ = _one([1], 6, *drive, current=HALF, fire=Fire.GT, state_shift=7)
    # 4 + 2 is 6: a little more is above
    causes = _causes(real, integer, frames)
    assert causes == NOTHING | {"decay": causes["decay"]}
    assert causes["decay"] > 0


def test_without_a_leak_whole_weights_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    # the one of 127 makes the factor 1; the others are small, so that many states lie on the threshold and one above
    weight = rng.integers(-2, 4, (20, 30)).astype(float)
    weight[0, 0] = 127
    for fire in Fire:
        layers = (Layer("w", Dense(weight)), Layer("n", Neuron(np.array(9.0), fire=fire)))
        real = Network(InputSpec((30, 1, 1), 1000, 20, 1), layers, 1)
        integer = quantise(real, loihi.NUMBERS)[0]
        frames = (rng.random((20, 10, 30, 1, 1)) < 0.3).astype(int)
        gap = measure(real, integer, frames)
        assert gap.local_share == gap.end_to_end_share == 0
        assert gap.layers[0].flips == NOTHING
        assert gap.layers[0].spikes > 200


def _trained_like(keep: float) -> tuple[Network, np.ndarray]:
    """Three layers of leaky neurons, weights as a training leaves them, every layer at some 5 to 20 % activity."""
    rng = np.random.default_rng(7)
    kind = Neuron(np.array(1.0), leak=Leak(keep))
    layers = (
        Layer("c1", Conv2d(rng.normal(0.15, 0.3, (8, 2, 3, 3)), rng.normal(0, 0.05, 8), (2, 2), (1, 1))),
        Layer("n1", kind),
        Layer("p", SumPool2d((2, 2))),
        Layer("c2", Conv2d(rng.normal(0.02, 0.15, (12, 8, 3, 3)), None, (1, 1), (1, 1))),
        Layer("n2", kind),
        Layer("fc", Dense(rng.normal(0.02, 0.15, (10, 12 * 25)))),
        Layer("out", kind),
    )
    frames = (rng.random((15, 8, 2, 20, 20)) < 0.15).astype(int)
    return Network(InputSpec((2, 20, 20), 1000, 15, 1), layers, 10), frames


@pytest.mark.parametrize(("keep", "most"), [(0.5, 0.005), (2 / 3, 0.005), (0.9, 0.01)])
def test_a_leaky_network_with_a_scale_for_each_layer(keep: float, most: float) -> None:
    real, frames = _trained_like(keep)
    gap = measure(real, quantise(real, loihi.NUMBERS)[0], frames, batch=3)
    assert (gap.clips, gap.steps, [layer.name for layer in gap.layers]) == (8, 15, ["n1", "n2", "out"])
    for layer in gap.layers:
        assert layer.spikes > 0.02 * layer.bits
        apart = sum(layer.flips.values())
        assert layer.local <= apart
        assert (apart - layer.local) % 2 == 0  # flips of one bit undo each other in pairs
        assert layer.local < most * layer.bits
    first = gap.layers[0]
    assert first.local == first.end_to_end  # both read the frames
    assert gap.layers[1].end_to_end >= gap.layers[1].local > 0
    assert 0 < gap.local_share < most
    assert gap.end_to_end_share < 0.02
    if keep == 0.5:  # a half is 2048 / 4096
        assert not any(layer.flips["decay"] for layer in gap.layers)
    assert sum(layer.flips["quantisation"] for layer in gap.layers) > 0


def test_the_batch_changes_nothing_and_json_is_plain() -> None:
    real, frames = _trained_like(0.7)
    integer = quantise(real, loihi.NUMBERS)[0]
    one, two = (measure(real, integer, frames[:, :5], batch=batch) for batch in (2, 25))
    assert one == two
    about = json.loads(json.dumps(one.to_json()))
    assert about["layers"][0]["flips"].keys() == set(CAUSES)
    assert about["local_share"] == one.local_share
    assert about["layers"][1]["local_share"] == one.layers[1].local / one.layers[1].bits > 0


def test_what_cannot_be_compared_is_refused() -> None:
    real, frames = _trained_like(0.5)
    integer = quantise(real, loihi.NUMBERS)[0]
    with pytest.raises(UnsupportedError, match="integer, real"):
        measure(integer, real, frames)
    other = _one([1], 2, [1])[0]
    with pytest.raises(UnsupportedError, match="quantise this very network"):
        measure(real, other, frames)
    soft = replace(
        real, layers=(*real.layers[:-1], replace(real.layers[-1], op=Neuron(np.array(1.0), reset=Reset.SUBTRACT)))
    )
    with pytest.raises(UnsupportedError, match="reset subtract"):
        measure(soft, integer, frames)
    assert [layer.spikes for layer in measure(real, integer, 0 * frames).layers] == [0, 0, 0], "a report says so"
    with pytest.raises(NetworkError, match="do not fit"):
        measure(real, integer, frames[:, :, :1])
    assert rounding.CAUSES == CAUSES
