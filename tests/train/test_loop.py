# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from spikefold.config import Config, ModelConfig, TrainConfig
from spikefold.errors import SpikefoldError
from spikefold.train import loop
from spikefold.train.loop import ClipSet, Epoch, evaluate, train
from spikefold.train.models import SpikingNet

CONFIG = Config(
    model=ModelConfig(channels=(4,), strides=(2,), voters=2), train=TrainConfig(epochs=6, batch=8, lr=0.02, shift=0)
)


def _halves(count: int = 44, seed: int = 0) -> ClipSet:
    """Two classes: events in the left or in the right half of a 6x8 input, a few everywhere."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    frames = rng.poisson(0.05, (3, count, 2, 6, 8)).astype(np.uint16)
    for n, label in enumerate(labels):
        frames[:, n, :, :, 4 * label : 4 * label + 4] += rng.poisson(0.7, (3, 2, 6, 4)).astype(np.uint16)
    return ClipSet(frames, labels)


def _weights(model: SpikingNet) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def _trained(config: Config = CONFIG) -> SpikingNet:
    return train(config, _halves(), 2, lambda epoch: None)


def _accuracy(model: SpikingNet, clips: ClipSet) -> float:
    return float((evaluate(model, clips.frames).argmax(1) == clips.labels).mean())


@pytest.mark.parametrize("loss", ["rate", "current"])
@pytest.mark.parametrize("attention", ["asa1", "none"])
def test_an_easy_task_is_learned_in_a_few_epochs(loss: str, attention: str) -> None:
    config = CONFIG.model_copy(
        update={
            "model": CONFIG.model.model_copy(update={"attention": attention}),
            "train": CONFIG.train.model_copy(update={"loss": loss}),
        }
    )
    epochs: list[Epoch] = []
    model = train(config, _halves(), 2, epochs.append)
    assert [(e.number, e.of) for e in epochs] == [(n, 6) for n in range(1, 7)]
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].accuracy > 0.9
    assert _accuracy(model, _halves(60, seed=1)) > 0.9, "on clips it has not seen"
    assert not model.training


def test_a_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others() -> None:
    first, again = _trained(), _trained()
    other = _trained(CONFIG.model_copy(update={"seed": 1}))
    assert _weights(first) == _weights(again)
    assert _weights(first) != _weights(other)


def test_no_clip_sees_what_came_before_it() -> None:
    model, clips = _trained(), _halves(30, seed=2)
    counts = evaluate(model, clips.frames, batch=7)
    assert counts.shape == (30, 2)
    assert counts.dtype == np.int64
    assert counts.max() > 0
    order = np.random.default_rng(0).permutation(30)
    assert np.array_equal(evaluate(model, clips.frames[:, order], batch=7), counts[order])
    assert np.array_equal(evaluate(model, clips.frames[:, :1]), counts[:1])
    assert np.array_equal(evaluate(model, clips.frames, batch=30), counts)


def test_evaluation_starts_and_ends_with_a_quiet_net_in_inference_mode() -> None:
    model, clips = _trained(), _halves(8, seed=2)
    counts = evaluate(model, clips.frames)
    model.train()
    with torch.no_grad():
        model(torch.full((3, 8, 2, 6, 8), 3.0))  # leaves states behind; its batch norm statistics are restored below
    fresh = _trained()
    model.load_state_dict(fresh.state_dict())
    assert np.array_equal(evaluate(model, clips.frames), counts)
    assert not model.training


def test_outputs_of_a_class_are_added_up() -> None:
    model, clips = _trained(), _halves(4, seed=3)
    with torch.no_grad():
        _, spikes = model(torch.from_numpy(clips.frames.astype(np.float32)))
    expected = [[sum(int(v) for v in spikes[:, n, c].flatten()) for c in range(2)] for n in range(4)]
    assert evaluate(model, clips.frames).tolist() == expected


def _moved(frames: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Pixel by pixel."""
    out = torch.zeros_like(frames)
    height, width = frames.shape[3:]
    for row, column in itertools.product(range(height), range(width)):
        if 0 <= row + down < height and 0 <= column + right < width:
            out[..., row + down, column + right] = frames[..., row, column]
    return out


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (0, 2), (-2, 1), (2, -2)])
def test_a_batch_is_moved_down_and_right_with_zeros_moved_in(
    monkeypatch: pytest.MonkeyPatch, down: int, right: int
) -> None:
    frames = torch.arange(1.0, 1 + 2 * 3 * 2 * 5 * 7).reshape(2, 3, 2, 5, 7)
    monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.tensor([down, right]))
    assert torch.equal(loop.shifted(frames, 2), _moved(frames, down, right))


def test_every_shift_up_to_the_most_comes_and_none_beyond() -> None:
    torch.manual_seed(0)
    frames = torch.arange(1.0, 1 + 4 * 5).reshape(1, 1, 1, 4, 5)
    known = {_moved(frames, *shift).numpy().tobytes(): shift for shift in itertools.product((-1, 0, 1), repeat=2)}
    seen = {known[loop.shifted(frames, 1).numpy().tobytes()] for _ in range(200)}
    assert len(seen) == 9
    assert loop.shifted(frames, 0) is frames


def test_frames_and_labels_must_go_together() -> None:
    with pytest.raises(SpikefoldError, match="do not go with"):
        ClipSet(np.zeros((3, 4, 2, 6, 6), np.uint16), np.zeros(5, np.int64))
    with pytest.raises(SpikefoldError):
        ClipSet(np.zeros((4, 2, 6, 6), np.uint16), np.zeros(2, np.int64))


def test_first_keeps_clips_and_labels_together() -> None:
    clips = _halves(6)
    first = clips.first(4)
    assert len(first) == 4
    assert np.array_equal(first.frames, clips.frames[:, :4])
    assert first.labels.tolist() == [0, 1, 0, 1]
