# SPDX-License-Identifier: Apache-2.0
"""A checkpoint in the layout of the authors' code is that network: equal outputs, with their axes and their masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as f

from spikefold.errors import DataError
from spikefold.train.published_checkpoint import from_published, read_state
from tests.train.published_cases import CLASSES, STEPS, State, attention, layer, three_layers

CLIPS = 3
NORM = ("running_mean", "running_var", "weight", "bias")


def _gate(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """ASA of the published code over ``(N, T, C, H, W)``: its masks are united over the batch."""
    n, t, c = x.shape[:3]
    importance = 0.5 * (x.mean((3, 4)) + x.amax((3, 4))) + 0.5 * x.mean((3, 4)) + 0.5 * x.amax((3, 4))
    mixed = importance.transpose(1, 2)
    if f"{name}.fc.weight" in state:
        mixed = mixed @ state[f"{name}.fc.weight"].T
    else:
        mixed = torch.relu(mixed @ state[f"{name}.fc.0.weight"].T) @ state[f"{name}.fc.2.weight"].T
    mixed = mixed.transpose(1, 2)
    channels, steps = torch.zeros(t, c, dtype=x.dtype), torch.zeros(t, c, dtype=x.dtype)
    for clip in range(n):
        for step in range(t):
            channels[step, mixed[clip, step].topk(c // 2).indices] = 1
        for channel in range(c):
            steps[mixed[clip, :, channel].topk(t // 2).indices, channel] = 1
    group = (channels != steps).to(x.dtype)[None, :, :, None, None]
    maps = []
    for part, conv in ((group * x, "conv1"), ((1 - group) * x, "conv2")):
        flat = part.flatten(1, 2)
        two = torch.stack([flat.mean(1) / 0.5, flat.amax(1)], 1)
        maps.append(torch.sigmoid(f.conv2d(two, state[f"{name}.{conv}.weight"], padding=1))[:, None])
    return x * (group * maps[0] + (1 - group) * maps[1])


def _spikes(x: torch.Tensor, threshold: float = 0.3, leak: float = 0.3) -> torch.Tensor:
    """Their neurons over ``(N, T, ...)``: integrate, fire at the threshold, reset to zero, leak."""
    h, fired = torch.zeros_like(x[:, 0]), []
    for step in range(x.shape[1]):
        u = h + x[:, step]
        s = (u >= threshold).to(x.dtype)
        h = (1 - s) * u * leak
        fired.append(s)
    return torch.stack(fired, 1)


def _published(state: State, frames: torch.Tensor) -> torch.Tensor:
    """What their network answers to ``(N, T, polarity, x, y)``: the mean of its output spikes."""
    x = frames
    for i, pool in enumerate((1, 2, 2)):
        name = f"ConvAttLIFs.{i}"
        n, t = x.shape[:2]
        y = f.conv2d(x.flatten(0, 1), state[f"{name}.conv.0.weight"], state[f"{name}.conv.0.bias"], padding=1)
        mean, var, gamma, beta = (
            state[f"{name}.bn.0.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        y = f.avg_pool2d(f.batch_norm(y, mean, var, gamma, beta), pool).unflatten(0, (n, t))
        x = _spikes(_gate(state, f"{name}.attn", y) if f"{name}.attn.alpha" in state else y)
    x = x.flatten(2)
    for i in range(2):
        x = _spikes(f.linear(x, state[f"FCs.{i}.linear.0.weight"], state[f"FCs.{i}.linear.0.bias"]))
    return x.mean(1)


@pytest.mark.parametrize(
    ("arch", "channels", "reduction"),
    [("a", (64, 128, 128), 1), ("a", (64, 128, 128), 4), ("d", (32, 32, 32), 4), ("d", (32, 32, 32), None)],
)
def test_a_published_checkpoint_answers_as_their_code_does(
    arch: str, channels: tuple[int, int, int], reduction: int | None, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    torch.save(three_layers(channels, reduction), tmp_path / "net.pth")
    state = read_state(tmp_path / "net.pth")
    found, model = from_published(state, arch)
    assert (found.steps, found.classes) == (60 if reduction is None else STEPS, CLASSES)
    assert model.config.reduction_ratio == (reduction or 1)
    frames = torch.poisson(torch.full((CLIPS, found.steps, 2, 32, 32), 0.3)).double()
    theirs = _published({key: value.double() for key, value in state.items()}, frames.transpose(-1, -2))
    with torch.no_grad():
        _, spikes = model.double()(frames.transpose(0, 1))
    ours = spikes.mean(0).flatten(1)
    assert 0 < theirs.sum() < theirs.numel(), "some outputs fire, and not all of them always"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def _five_layers() -> State:
    """Keys and shapes of architecture B on its own frames of 128x128 pixels."""
    state: State = {}
    for i in range(5):
        name, reads = f"ConvAttLIFs.{i}.0", 128 if i else 2
        layer(state, f"{name}.conv.0", 128, reads, 3, 3, scale=0.6 / reads**0.5)
        state[f"{name}.bn.0.weight"] = 0.5 + torch.rand(128)
        state[f"{name}.bn.0.bias"] = 1.5 * torch.rand(128)
        state[f"{name}.bn.0.running_mean"] = 0.1 * torch.randn(128)
        state[f"{name}.bn.0.running_var"] = 0.5 + torch.rand(128)
        state[f"{name}.spike.0.w"] = torch.tensor(0.1 * i)
        attention(state, f"{name}.attn", 1)
    for i, (out, reads) in enumerate(((512, 2048), (10 * CLASSES, 512))):
        layer(state, f"FCs.{i}.1.fc", out, reads, scale=3.0 / reads**0.5)
        state[f"FCs.{i}.1.fc.bias"] = 0.5 * torch.rand(out)
        state[f"FCs.{i}.1.spike.0.w"] = torch.tensor(-0.2)
    return state


def _learned_leak(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """A parametric leaky neuron over ``(N, T, ...)``: ``v + (x - v) sigmoid(w)``, threshold 1, reset to zero."""
    v, fired = torch.zeros_like(x[:, 0]), []
    for step in range(x.shape[1]):
        v = v + (x[:, step] - v) * torch.sigmoid(w)
        s = (v >= 1).to(x.dtype)
        v = (1 - s) * v
        fired.append(s)
    return torch.stack(fired, 1)


def test_a_published_checkpoint_of_five_layers_answers_as_their_code_does() -> None:
    torch.manual_seed(5)
    state = _five_layers()
    found, model = from_published(state, "b")
    assert (found.steps, found.classes, model.config.voters) == (STEPS, CLASSES, 10)
    frames = torch.poisson(torch.full((2, STEPS, 2, 128, 128), 0.1))
    x = frames.transpose(-1, -2)
    for i in range(5):
        name = f"ConvAttLIFs.{i}.0"
        x = x if i == 0 else f.max_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])
        mean, var, gamma, beta = (
            state[f"{name}.bn.0.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        y = f.batch_norm(f.conv2d(x.flatten(0, 1), state[f"{name}.conv.0.weight"], padding=1), mean, var, gamma, beta)
        x = _learned_leak(_gate(state, f"{name}.attn", y.unflatten(0, x.shape[:2])), state[f"{name}.spike.0.w"])
    x = f.max_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2]).flatten(2)
    for i in range(2):
        current = f.linear(x, state[f"FCs.{i}.1.fc.weight"], state[f"FCs.{i}.1.fc.bias"])
        x = _learned_leak(current, state[f"FCs.{i}.1.spike.0.w"])
    theirs = x.unflatten(-1, (CLASSES, 10)).mean((1, 3))
    with torch.no_grad():
        _, spikes = model(frames.transpose(0, 1))
    assert 0 < theirs.sum() < theirs.numel()
    # float32, in another order of sums: a spike at its threshold may fall on either side
    torch.testing.assert_close(spikes.mean((0, 3)), theirs, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda state: state.pop("ConvAttLIFs.1.bn.0.running_var"), "running_var"),
        (lambda state: state.update(extra=torch.zeros(2)), "extra"),
        (lambda state: state.update({"ConvAttLIFs.2.conv.0.weight": torch.zeros(128, 7, 3, 3)}), r"128, 7, 3, 3"),
        (lambda state: state.pop("FCs.1.linear.0.weight"), "none of architecture a"),
    ],
)
def test_another_checkpoint_is_refused_with_every_key(change: Callable[[State], object], what: str) -> None:
    state = three_layers((64, 128, 128), 1)
    change(state)
    with pytest.raises(DataError, match=what):
        from_published(state, "a", "net.pth")


def test_a_file_that_is_no_state_dict_is_refused_and_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("weights")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "pickled.pth")
    for name in ("text.pth", "list.pth", "pickled.pth", "none.pth"):
        with pytest.raises(DataError):
            read_state(tmp_path / name)
