# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spikefold.config import Config, TrainConfig
from spikefold.train import loop
from spikefold.train.data.clips import ClipSet, Windows
from spikefold.train.data.frames import Binning
from spikefold.train.evaluate import evaluate, judged, read_out
from spikefold.train.loop import CheckpointSelector, train
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.processes.parallel import Ranks
from spikefold.train.state import Epoch
from tests.train.training_cases import CONFIG, changed, halves, recording, weights

WITH_ALL = {"attention": "asa1", "asa_mode": "batch", "learn_importance": True, "static_share": 0.3}


def _trained(config: Config = CONFIG) -> SpikingNet:
    return train(config, halves(), 2, lambda epoch: None)


def _accuracy(model: SpikingNet, clips: ClipSet) -> float:
    return float((evaluate(model, clips.frames, 40).argmax(1) == clips.labels).mean())


@pytest.mark.parametrize("loss", ["rate", "current", "rate_mse"])
@pytest.mark.parametrize("attention", ["asa1", "none"])
def test_an_easy_task_is_learned_in_a_few_epochs(loss: str, attention: str) -> None:
    config = CONFIG.model_copy(
        update={
            "model": CONFIG.model.model_copy(update={"attention": attention}),
            "train": CONFIG.train.model_copy(update={"loss": loss}),
        }
    )
    epochs: list[Epoch] = []
    model = train(config, halves(), 2, epochs.append)
    assert [(e.number, e.of) for e in epochs] == [(n, 6) for n in range(1, 7)]
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].accuracy > 0.9
    assert _accuracy(model, halves(60, seed=1)) > 0.9, "on clips it has not seen"
    assert not model.training


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("model", [WITH_ALL, {"attention": "tcsa"}, {"attention": "none", "neuron": "plif"}])
def test_mixed_precision_learns_it_too(
    precision: str, model: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, where a training is refused; on a GPU it is NOT RUN. Weights and Adam stay in float32."""
    monkeypatch.setattr(loop, "device_for", lambda config, ranks: torch.device("cpu"))
    half: set[torch.dtype] = set()

    def seen(current: torch.Tensor, spikes: torch.Tensor, config: TrainConfig) -> torch.Tensor:
        half.add(current.dtype)
        return read_out(current, spikes, config)

    monkeypatch.setattr(loop, "read_out", seen)
    epochs: list[Epoch] = []
    trained = train(changed(model=model, train={"precision": precision}), halves(), 2, epochs.append)
    assert half == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert epochs[-1].loss < 0.1 < epochs[0].loss
    assert {value.dtype for value in trained.parameters()} == {torch.float32}
    assert _accuracy(trained, halves(60, seed=1)) > 0.9


def test_a_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others() -> None:
    first, again = _trained(), _trained()
    other = _trained(CONFIG.model_copy(update={"seed": 1}))
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)


def test_no_clip_sees_what_came_before_it() -> None:
    model, clips = _trained(), halves(30, seed=2)
    counts = evaluate(model, clips.frames, batch=7)
    assert counts.shape == (30, 2)
    assert counts.dtype == np.int64
    assert counts.max() > 0
    order = np.random.default_rng(0).permutation(30)
    assert np.array_equal(evaluate(model, clips.frames[:, order], batch=7), counts[order])
    assert np.array_equal(evaluate(model, clips.frames[:, :1]), counts[:1])
    assert np.array_equal(evaluate(model, clips.frames, batch=30), counts)


def test_evaluation_starts_and_ends_with_a_quiet_net_in_inference_mode() -> None:
    model, clips = _trained(), halves(8, seed=2)
    counts = evaluate(model, clips.frames)
    model.train()
    with torch.no_grad():
        model(torch.full((3, 8, 2, 6, 8), 3.0))  # leaves states behind; its batch norm statistics are restored below
    fresh = _trained()
    model.load_state_dict(fresh.state_dict())
    assert np.array_equal(evaluate(model, clips.frames), counts)
    assert not model.training


def test_outputs_of_a_class_are_added_up() -> None:
    model, clips = _trained(), halves(4, seed=3)
    with torch.no_grad():
        _, spikes = model(torch.from_numpy(clips.frames.astype(np.float32)))
    expected = [[sum(int(v) for v in spikes[:, n, c].flatten()) for c in range(2)] for n in range(4)]
    assert evaluate(model, clips.frames).tolist() == expected


def test_the_squared_distance_of_rates_is_what_it_says() -> None:
    # one step on all clips: the loss is that of the weights as they are drawn
    config = changed(
        model={"attention": "none", "threshold": 0.1},
        train={"loss": "rate_mse", "epochs": 1, "batch": 44, "lr": 1e-9},
    )
    epochs: list[Epoch] = []
    clips = halves()
    torch.manual_seed(config.seed)
    model = SpikingNet(config.model, clips.shape[1:], clips.shape[0], 2).train()
    with torch.no_grad():
        _, spikes = model(torch.from_numpy(clips.frames.astype(np.float32)))
    rates = spikes.mean(dim=(0, 3)).numpy()
    wanted = np.eye(2)[clips.labels]
    train(config, clips, 2, epochs.append)
    assert rates.any()
    assert epochs[0].loss == pytest.approx(float(((rates - wanted) ** 2).mean()), rel=1e-5)


def test_weight_decay_is_taken_into_account() -> None:
    assert weights(_trained()) != weights(_trained(changed(train={"weight_decay": 1e-3})))


@pytest.mark.parametrize("wrong_labels", [False, True])
def test_the_first_of_the_best_epochs_is_kept_and_nothing_else_changes(wrong_labels: bool, tmp_path: Path) -> None:
    config, clips = changed(train={"lr": 0.003, "epochs": 4}), halves(40, seed=9)
    labels = 1 - clips.labels if wrong_labels else clips.labels
    recordings = [recording(clips.frames[:, n], label) for n, label in enumerate(labels)]
    windows = Windows(recordings, Binning((6, 8), 1, 1000, 3))
    assert np.array_equal(windows.frames(range(40)), clips.frames)
    chosen: list[Epoch] = []
    kept = train(config, halves(), 2, chosen.append, selector=CheckpointSelector(windows, "majority"))
    plain: list[Epoch] = []
    train(config, halves(), 2, plain.append)
    assert [(e.loss, e.accuracy) for e in chosen] == [(e.loss, e.accuracy) for e in plain]
    assert all(e.judged is None for e in plain)
    scores = [e.judged for e in chosen]
    best = scores.index(max(scores)) + 1
    assert best < 4, "else the last epoch's weights would do"
    assert judged(kept, windows, "majority") == max(scores)
    assert weights(kept) == _weights_after(best, config, tmp_path)


def test_a_selector_judges_in_the_batches_that_are_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = halves(12, seed=9)
    recordings = [recording(clips.frames[:, n], label) for n, label in enumerate(clips.labels)]
    selector = CheckpointSelector(Windows(recordings, Binning((6, 8), 1, 1000, 3)), "majority")
    batches: list[int | None] = []

    def seen(model: SpikingNet, windows: Windows, vote: str, ranks: Ranks, batch: int | None) -> float:
        batches.append(batch)
        return judged(model, windows, vote, ranks, batch)

    monkeypatch.setattr(loop, "judged", seen)
    for model in ({}, WITH_ALL):
        config = changed(model=model, train={"epochs": 1, "test_batch": 5})
        train(config, halves(), 2, lambda epoch: None, selector=selector)
    assert batches == [50, 5]


class _StoppedError(Exception):
    pass


def _weights_after(number: int, config: Config, folder: Path) -> bytes:
    """The weights that a training has after an epoch, from its state file."""

    def stop(epoch: Epoch) -> None:
        if epoch.number == number:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        train(config, halves(), 2, stop, state=folder / "state")
    tensors = load_file(folder / "state")
    return b"".join(tensors[f"model.{key}"].numpy().tobytes() for key in _trained(config).state_dict())


def test_label_smoothing_gives_a_share_of_the_label_to_all_classes() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]]), torch.tensor([0, 1])
    config = TrainConfig(label_smoothing=0.3)
    share = torch.full((2, 3), 0.1)
    share[[0, 1], labels] += 0.7
    wanted = -(share * logits.log_softmax(1)).sum(1).mean()
    assert loop._loss(logits, labels, config).item() == pytest.approx(wanted.item())
    plain = loop._loss(logits, labels, TrainConfig(label_smoothing=0)).item()
    assert plain == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())
    assert plain != pytest.approx(wanted.item())
