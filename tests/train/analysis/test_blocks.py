# SPDX-License-Identifier: Apache-2.0
"""The analysis, the gates and the trace inside residual blocks, against the network walked through by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from spikefold.config import ModelConfig
from spikefold.train.analysis.features import Rules
from spikefold.train.analysis.measure import analyse
from spikefold.train.analysis.values import to_arrays
from spikefold.train.deploy.gates import calibrate, static
from spikefold.train.deploy.tracing import trace_model
from spikefold.train.models.attention import ASA
from spikefold.train.models.sew import SewBlock
from spikefold.train.models.spiking_net import SpikingNet, channels_last

SHAPE, STEPS, CLASSES, CLIPS = (2, 58, 50), 4, 3, 4
NEURONS = [
    "sn1", "block1a.main.sn1", "block1a.main.sn2", "block1b.main.sn1", "block1b.main.sn2", "block2a.main.sn1",
    "block2a.main.sn2", "block2a.shortcut.sn", "block2b.main.sn1", "block2b.main.sn2", "out",
]  # fmt: skip
ATTENTION = [f"block{block}.main.asa{number}" for block in ("1a", "1b", "2a", "2b") for number in (1, 2)]


def _frames() -> np.ndarray:
    """A blob on a dark field with a few stray events, at another place in each clip."""
    rng = np.random.default_rng(5)
    frames = rng.poisson(0.004, (STEPS, CLIPS, *SHAPE))
    for clip in range(CLIPS):
        row, column = rng.integers(0, 12), rng.integers(0, 40)
        frames[:, clip, :, row : row + 3, column : column + 3] += rng.poisson(9, (STEPS, 2, 3, 3))
    return frames.astype(np.uint16)


FRAMES = _frames()


def _network(attention: str = "asa1", kind: str = "if") -> SpikingNet:
    torch.manual_seed(4)
    config = ModelConfig(family="sew", channels=(4, 6), strides=(1, 2), attention=attention, neuron=kind)
    net = SpikingNet(config, SHAPE, STEPS, CLASSES)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.bias.uniform_(0.0, 0.4)
                part.momentum = 1.0
            if isinstance(part, nn.Linear) and part.out_features == CLASSES * config.voters:
                part.weight.normal_(0.3, 1.0)
        net(torch.from_numpy(FRAMES).float())
    functional.reset_net(net)
    return net.eval()


class _Walk:
    """The network by the formula of Fang et al., neurons one step after the other.

    Attributes:
        spikes: ``(T, N, C, H, W)`` by neuron layer.
        potentials: before the threshold, likewise.
        attended: input and output of each attention layer.
    """

    def __init__(self, net: SpikingNet) -> None:
        self.spikes: dict[str, np.ndarray] = {}
        self.potentials: dict[str, np.ndarray] = {}
        self.attended: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        with torch.no_grad():
            x = channels_last(torch.from_numpy(FRAMES.astype(np.float32)))
            for name, module in net.layers.named_children():
                if isinstance(module, SewBlock):
                    short = self._chain(f"{name}.shortcut", module.shortcut, x)
                    x = self._chain(f"{name}.main", module.main, x) + short
                else:
                    x = self._one(name, module, x)

    def _chain(self, name: str, modules: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        for child, module in modules.named_children():
            x = self._one(f"{name}.{child}", module, x)
        return x

    def _one(self, name: str, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, ASA):
            y = module(x)
            self.attended[name] = x.double().numpy(), y.double().numpy()
            return y
        if not isinstance(module, neuron.BaseNode):
            return module(x)
        v, fired, states = torch.zeros_like(x[0]), [], []
        for current in x:
            v = v * (0.5 if isinstance(module, neuron.LIFNode) else 1.0) + current
            spike = (v >= module.v_threshold).float()
            states.append(v)
            fired.append(spike)
            v = v * (1 - spike)
        self.spikes[name], self.potentials[name] = (
            (y if y.ndim == 5 else y[..., None, None]).numpy() for y in (torch.stack(fired), torch.stack(states))
        )
        return torch.stack(fired)


@pytest.mark.parametrize(("attention", "kind"), [("asa1", "if"), ("none", "lif")])
def test_rates_and_errors_of_every_layer_are_those_of_the_walk(attention: str, kind: str) -> None:
    net = _network(attention, kind)
    walk, found = _Walk(net), analyse(net, FRAMES, batch=2)
    assert list(found.layers) == NEURONS
    assert set(walk.spikes) == set(NEURONS)
    for name in NEURONS:
        spikes, layer = walk.spikes[name], found.layers[name]
        assert 0 < spikes.sum() < spikes.size
        assert np.array_equal(layer.firing.fired, spikes.sum(axis=1).astype(np.int64)), name
        assert np.allclose(layer.firing.n_sfr, spikes.mean(axis=1), rtol=1e-12, atol=0)
        assert np.allclose(layer.firing.c_sfr, spikes.mean(axis=(1, 3, 4)), rtol=1e-6, atol=0)
        error = ((walk.potentials[name].astype(np.float64) - spikes) ** 2).mean()
        assert layer.potentials.qe() == pytest.approx(error, rel=1e-5)
        # as many potentials at or above the threshold as there are spikes, in histograms of U
        edge = 1 + 4 * 20 + 20
        assert layer.potentials.potential[:, :, edge:].sum() == spikes.sum()
        assert layer.potentials.potential.sum() == spikes.size
    whole = np.concatenate([walk.spikes[name].reshape(STEPS, CLIPS, -1) for name in NEURONS], axis=2)
    assert np.allclose(found.rates.t_sfr, whole.mean(axis=(1, 2)), rtol=1e-6, atol=0)
    assert found.rates.spikes == int(whole.sum()) > 2000
    assert found.rates.nasfr == pytest.approx(whole.mean(dtype=np.float64), rel=1e-9)
    assert list(found.maps) == NEURONS[:-1]


def test_a_neuron_behind_a_block_sees_what_either_branch_sees() -> None:
    """Fields walked back by hand: stem 7x7 of stride 2, pool 3x3 of stride 2, two 3x3, and a shortcut beside them."""
    net, rules = _network(), Rules(background=1.0)
    found, spikes = analyse(net, FRAMES, rules, batch=3), _Walk(net).spikes
    height, width = SHAPE[1:]
    stem = _seen({(y, x): {(y, x)} for y in range(height) for x in range(width)}, (height, width), 7, 2)
    pool = _seen(stem, (29, 25), 3, 2)
    inner = _seen(pool, (15, 13), 3, 1)
    outer = _seen(inner, (15, 13), 3, 1)
    behind = {place: outer[place] | pool[place] for place in outer}
    second = _seen(_seen(behind, (15, 13), 3, 1), (15, 13), 3, 1)
    after = {place: second[place] | behind[place] for place in second}
    fields = {
        "sn1": stem,
        "block1a.main.sn1": inner,
        "block1a.main.sn2": outer,
        "block1b.main.sn2": second,
        "block2a.shortcut.sn": _seen(after, (15, 13), 1, 2),
        "block2a.main.sn1": _seen(after, (15, 13), 3, 2),
    }
    different = 0
    for name, field in fields.items():
        raster, sites = spikes[name], 0
        expected = np.zeros((STEPS, raster.shape[2]), np.int64)
        for clip in range(CLIPS):
            events = FRAMES[:, clip].sum(axis=(0, 1), dtype=np.int64)
            bright = {place for place in np.ndindex(height, width) if events[place] * height * width > events.sum()}
            for (row, column), seen in field.items():
                if not bright & seen:
                    sites += 1
                    expected += raster[:, clip, :, row, column].astype(np.int64)
        background = found.layers[name].background
        assert background is not None
        assert background.sites == sites, name
        assert np.array_equal(background.spikes, expected), name
        different += sites
    assert different > 50


def _seen(
    before: dict[tuple[int, int], set[tuple[int, int]]], sides: tuple[int, int], kernel: int, stride: int
) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """Pixels of each output of a window over maps of ``sides``, padded by half the window."""
    reach = kernel // 2
    rows, columns = ((side - 1) // stride + 1 for side in sides)
    return {
        (row, column): set().union(
            *(
                before[place]
                for place in np.ndindex(*sides)
                if abs(place[0] - row * stride) <= reach and abs(place[1] - column * stride) <= reach
            )
        )
        for row in range(rows)
        for column in range(columns)
    }


@pytest.mark.parametrize("batch", [1, CLIPS])
def test_batches_make_no_difference_and_no_state_is_left(batch: int) -> None:
    net = _network()
    whole, parts = to_arrays(analyse(net, FRAMES, batch=2)), to_arrays(analyse(net, FRAMES, batch=batch))
    assert list(whole) == list(parts)
    assert len(whole) == 4 * len(NEURONS) - 1
    assert all(np.array_equal(values, parts[name]) for name, values in whole.items())
    assert all(module.v == 0.0 for module in net.modules() if isinstance(module, neuron.BaseNode))


def test_the_trace_of_the_neurons_and_of_a_pool_that_is_named_too() -> None:
    net = _network()
    walk, plain, more = _Walk(net), trace_model(net, FRAMES), trace_model(net, FRAMES, batch=2, also=["pool1"])
    assert list(plain.layers) == NEURONS
    assert list(more.layers) == [NEURONS[0], "pool1", *NEURONS[1:]]
    for name in NEURONS:
        assert np.array_equal(plain.layers[name].raster, walk.spikes[name])
        assert np.array_equal(more.layers[name].raster, walk.spikes[name])
    pooled = nn.functional.max_pool2d(torch.from_numpy(walk.spikes["sn1"]).flatten(0, 1), 3, 2, padding=1)
    assert np.array_equal(more.layers["pool1"].raster.reshape(pooled.shape), pooled.numpy())
    assert pooled.sum() > 100


def test_gates_are_calibrated_and_set_inside_blocks() -> None:
    net = _network()
    found, seen = calibrate(net, FRAMES, batch=2), _Walk(net).attended
    assert list(found) == ATTENTION
    for name, (x, y) in seen.items():
        assert np.allclose(found[name].form("channel"), (y / x).mean(axis=(0, 1, 3, 4)), rtol=1e-4), name
    factors = {name: found[name].form("neuron") for name in ATTENTION}
    with static(net, factors):
        for name, (x, y) in _Walk(net).attended.items():
            assert np.allclose(y, x * factors[name], rtol=1e-5, atol=1e-6), name
    assert all(np.array_equal(y, seen[name][1]) for name, (_, y) in _Walk(net).attended.items())
