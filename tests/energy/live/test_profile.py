# SPDX-License-Identifier: Apache-2.0
"""`profile` on the published test network, and what it promises: exact, repeatable, the model as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

import spikefold.energy
from spikefold.energy.live.profile_result import SUMMED, LayerProfile, Profile
from spikefold.errors import ConfigError, DataError, UnsupportedError

STEPS, CLIPS = 8, 4


def _lif() -> nn.Module:
    return neuron.LIFNode(step_mode="m")


def _published(variant: str) -> nn.Sequential:
    """The network of the comparison of tools (T 8, N 4, 2x32x32), batch norm calibrated to firing rates near 10 %."""
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {
        "conv1": layer.Conv2d(2, 16, 3, padding=1, bias=False, step_mode="m"),
        "bn1": layer.BatchNorm2d(16, step_mode="m"),
        "lif1": _lif(),
        "pool1": layer.AvgPool2d(2, step_mode="m"),
        "conv2": layer.Conv2d(16, 32, 3, padding=1, bias=False, step_mode="m"),
        "bn2": layer.BatchNorm2d(32, step_mode="m"),
        "lif2": _lif(),
        "pool2": layer.MaxPool2d(2, step_mode="m"),
        "conv3": layer.Conv2d(32, 32, 3, padding=1, stride=2, groups=4, step_mode="m"),
        "lif3": _lif(),
        "flatten": layer.Flatten(step_mode="m"),
        "fc": layer.Linear(512, 10, step_mode="m"),
        "lif4": _lif(),
    }
    if variant == "B":
        del parts["lif3"]
    network = nn.Sequential()
    for name, part in parts.items():
        network.add_module(name, part)
    for name in ("bn1", "bn2"):
        norm: Any = parts[name]
        nn.init.constant_(norm.weight, 1.2)
        norm.momentum = 1.0
    nn.init.uniform_(network.get_parameter("conv3.weight"), -0.5, 1.0)
    nn.init.uniform_(network.get_parameter("fc.weight"), -0.4, 0.4)
    with torch.no_grad():
        for _ in range(2):  # the second batch norm sees spikes once the first is calibrated
            network(_frames())
            functional.reset_net(network)
    return network.eval()


def _frames() -> torch.Tensor:
    return (torch.rand(STEPS, CLIPS, 2, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.05).float()


def _seen(network: nn.Sequential, frames: torch.Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Input and output of each part, ``(frames, ...)``, by running one after the other."""
    functional.reset_net(network)
    seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    x = frames
    with torch.no_grad():
        for name, part in network.named_children():
            before, x = x, part(x)
            given, made = (one.flatten(0, 1).double().numpy() for one in (before, x))
            seen[name] = given, made
    functional.reset_net(network)
    return seen


def _loops(part: layer.Conv2d, x: np.ndarray) -> tuple[float, float]:
    """Pairs and events of a convolution: outputs and taps one by one, all frames and channels of a tap at once."""
    padded = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in part.padding)))
    per_input = part.out_channels // part.groups
    pairs = events = 0.0
    for row in range(0, padded.shape[2] - 2, part.stride[0]):
        for column in range(0, padded.shape[3] - 2, part.stride[1]):
            for ky in range(3):
                for kx in range(3):
                    tap = padded[:, :, row + ky, column + kx]
                    pairs += np.count_nonzero(tap) * per_input
                    events += tap.sum() * per_input
    return pairs, events


# columns of the published table that no random weight moves: dense with padding, dense without
PUBLISHED = {
    "conv1": (9_437_184, 9_048_064),
    "conv2": (37_748_736, 34_668_544),
    "conv3": (1_179_648, 991_232),
    "fc": (163_840, 163_840),
}


@pytest.mark.parametrize("variant", ["A", "B"])
def test_the_published_network_gives_its_table(variant: str) -> None:
    network, frames = _published(variant), _frames()
    found = spikefold.energy.profile(network, frames)
    seen = _seen(network, frames)
    for name, columns in PUBLISHED.items():
        assert (found[name].dense_padded, found[name].dense) == columns
    assert found["conv1"].pairs == found["conv1"].events == 442_368  # of these very frames
    assert (found.total.dense_padded, found.total.dense) == (48_529_408, 44_871_680)
    for name in ("conv1", "conv2", "conv3"):
        pairs, events = _loops(getattr(network, name), seen[name][0])
        factor = 4 if name == "conv2" else 1  # a chip adds up the four spikes of a window, it does not average them
        assert (found[name].pairs, found[name].events) == (pairs, factor * events)
        assert found[name].pairs > 50_000
        assert found[name].multiplicity == factor
    assert found["conv2"].pairs < found["conv2"].events
    fc_input = seen["fc"][0]
    assert found["fc"].pairs == found["fc"].events == np.count_nonzero(fc_input) * 10 > 0
    kinds = [found[name].input_kind for name in PUBLISHED]
    assert kinds == ["binary", "graded", "binary", "binary" if variant == "A" else "analog"]
    for name in ("lif1", "lif2", "lif3", "lif4"):
        if name in seen:
            assert found[name].spikes == seen[name][1].sum()
            assert found[name].neuron_updates == seen[name][1].size
            assert found[name].spike_rule == "spikingjelly BaseNode"
    assert found["lif1"].spikes > 10_000
    assert (found["conv1"].bias_adds, found["conv3"].bias_adds, found["fc"].bias_adds) == (0, 32 * 32 * 16, 320)
    assert (found.clips, found.frames) == (CLIPS, STEPS * CLIPS)
    assert [one.op for one in found.unpriced] == ["max_pool2d"]
    assert found.uncalled == ()


def test_the_total_is_the_sum_of_the_layers_in_python_integers() -> None:
    found = spikefold.energy.profile(_published("A"), _frames())
    assert len(SUMMED) == 14
    for field in SUMMED:
        values = [getattr(one, field) for one in found.layers]
        assert all(type(value) is int for value in values)
        assert getattr(found.total, field) == sum(values)
    assert found.total.pairs > 0
    assert found.total.spikes > 0


def test_two_runs_are_equal_and_so_are_one_batch_and_many() -> None:
    network, frames = _published("A"), _frames()
    whole = spikefold.energy.profile(network, frames)
    assert spikefold.energy.profile(network, frames) == whole
    assert spikefold.energy.profile(network, [(frames, torch.zeros(CLIPS))]) == whole
    parts = spikefold.energy.profile(network, [frames[:, :3], frames[:, 3:]])  # the last batch is smaller
    for field in SUMMED:
        if field != "calls":
            assert getattr(parts.total, field) == getattr(whole.total, field), field
    assert parts.clips == whole.clips
    assert parts.total.pairs > 0


def _state(network: nn.Module) -> dict[str, Any]:
    hooks = {
        name: (len(one._forward_hooks), len(one._forward_pre_hooks), one.training)
        for name, one in network.named_modules()
    }
    values = {name: one.clone() for name, one in network.state_dict().items()}
    return {"hooks": hooks, "values": values, "modes": len(_get_current_dispatch_mode_stack())}


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    one, two = a["values"], b["values"]
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    equal = one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    return equal and a["hooks"] == b["hooks"] and a["modes"] == b["modes"]


def test_the_model_is_left_as_it_was() -> None:
    network: Any = _published("A")
    frames = _frames()
    network.train()
    network.bn2.eval()
    with torch.no_grad():
        network(frames)  # neurons in the middle of a clip
    potential = network.lif1.v.clone()
    before = _state(network)
    found = spikefold.energy.profile(network, frames)
    assert found.total.spikes > 0
    assert _same(before, _state(network))
    assert torch.equal(network.lif1.v, potential)
    assert potential.abs().sum() > 0


class _Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif, self.calls = nn.Conv2d(2, 2, 3), neuron.IFNode(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        y = self.lif(self.conv(x))
        if self.calls == 2:
            raise ValueError("the second batch")
        return y


def test_the_model_is_left_as_it_was_by_a_failure() -> None:
    network = _Fails()
    before = _state(network)
    with pytest.raises(ValueError, match="the second batch"):
        spikefold.energy.profile(network, [torch.ones(1, 2, 4, 4)] * 3, layout="N")
    assert _same(before, _state(network))
    assert network.calls == 0
    with pytest.raises(RuntimeError):  # and inside of a layer: the channels do not fit
        spikefold.energy.profile(network, torch.ones(1, 3, 4, 4), layout="N")
    assert _same(before, _state(network))
    assert network(torch.ones(1, 2, 4, 4)).shape == (1, 2, 2, 2)


class _Remembers(nn.Module):
    """Changes a buffer and an attribute in place, also in evaluation."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(2))
        self.kept = torch.zeros(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        self.kept.add_(1)
        return x * self.seen.sum()


def test_what_a_model_changes_in_place_is_given_back() -> None:
    network = _Remembers()
    buffer, kept = network.seen, network.kept
    assert spikefold.energy.profile(network, torch.ones(1, 2), layout="N").total.multiplies == 2
    assert network.seen is buffer
    assert network.kept is kept
    assert not buffer.any()
    assert not kept.any()


def test_hooks_of_the_user_run_and_stay() -> None:
    network, calls = _published("A"), []
    handle = network.conv1.register_forward_hook(lambda *_: calls.append(1))
    spikefold.energy.profile(network, _frames())
    assert calls == [1]
    assert len(network.conv1._forward_hooks) == 1
    handle.remove()


def test_an_output_in_json_and_as_a_table() -> None:
    found = spikefold.energy.profile(_published("A"), _frames())
    read = json.loads(json.dumps(found.to_json()))
    assert read["schema"] == "spikefold.profile/1"
    assert [one["name"] for one in read["layers"]] == [one.name for one in found.layers]
    assert read["total"]["dense"] == 44_871_680
    assert read["unpriced"] == [{"op": "max_pool2d", "where": "pool2", "times": 1}]
    table = found.summary().split("\n")
    assert len(table) == 1 + len(found.layers) + 2
    assert f"{found.total.pairs:,}" in table[-2]
    assert "max_pool2d in pool2 (1x)" in table[-1]


def test_numbers_that_json_readers_round_are_strings() -> None:
    huge = Profile(1, 1, (LayerProfile("a", "linear", dense=2**60), LayerProfile("b", "linear", dense=1)), (), ())
    read = json.loads(json.dumps(huge.to_json()))
    assert read["layers"][0]["dense"] == str(2**60)
    assert read["total"]["dense"] == str(2**60 + 1)
    assert read["layers"][1]["dense"] == 1


def test_what_cannot_be_counted_is_refused() -> None:
    network, frames = nn.Sequential(nn.Conv2d(2, 2, 3)), torch.ones(1, 2, 4, 4)
    with pytest.raises(ConfigError, match="TNC"):
        spikefold.energy.profile(network, frames, layout="TNC")
    with pytest.raises(DataError, match="no batch"):
        spikefold.energy.profile(network, [])
    with pytest.raises(DataError, match="nobody can tell"):
        spikefold.energy.profile(network, (frames, frames))
    with pytest.raises(DataError, match="dict"):
        spikefold.energy.profile(network, [{"x": frames}])
    with pytest.raises(UnsupportedError, match="hide what they run"):
        spikefold.energy.profile(nn.DataParallel(network), frames)
    with pytest.raises(UnsupportedError, match="without a shape"):
        spikefold.energy.profile(nn.LazyLinear(3), frames)


def test_a_row_is_found_by_name() -> None:
    found = spikefold.energy.profile(nn.Sequential(nn.Linear(4, 2)), torch.ones(1, 4), layout="N")
    assert found["0"].pairs == 8
    assert found.per_clip("pairs") == 8
    with pytest.raises(KeyError, match="'1'"):
        found["1"]


def test_the_package_itself_loads_without_torch() -> None:
    code = (
        "import sys, spikefold.energy; assert 'torch' not in sys.modules; assert callable(spikefold.energy.profile)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="profil"):
        spikefold.energy.profil  # noqa: B018
