# SPDX-License-Identifier: Apache-2.0
"""A training killed at any moment goes on, and ends bit for bit as if it had not been; anything else is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spikefold.config import Config
from spikefold.errors import ConfigError, DataError
from spikefold.train import loop
from spikefold.train.data.clips import Windows
from spikefold.train.data.frames import Binning
from spikefold.train.loop import CheckpointSelector, train
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.state import Epoch
from tests.programs import environment
from tests.train.training_cases import CONFIG, changed, halves, recording, weights, with_everything

KILLED = Path(__file__).with_name("killed_program.py")
WHOLE = with_everything(CONFIG)


class _StoppedError(Exception):
    pass


def _train(config: Config, state: Path | None, **options: Any) -> tuple[SpikingNet, list[Epoch]]:
    epochs: list[Epoch] = []
    model = train(config, options.pop("clips", halves()), 2, epochs.append, state=state, **options)
    return model, epochs


def _stopped(config: Config, state: Path, after: int, **options: Any) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.number == after:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        train(config, halves(), 2, stop, state=state, **options)


def _about(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    found: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["training"])
    return found


def test_killed_in_the_middle_of_an_epoch_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    state = tmp_path / "state" / "network.safetensors"
    with subprocess.Popen(
        [sys.executable, str(KILLED), str(state)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "epoch 4 batch 3\n":
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    assert len(_about(state)["epochs"]) == 3
    assert [path.name for path in state.parent.iterdir()] == [state.name]
    model, epochs = _train(WHOLE, state)
    whole, all_epochs = _train(WHOLE, None)
    assert weights(model) == weights(whole)
    assert epochs == all_epochs
    assert epochs[-1].accuracy > 0.9


@pytest.mark.parametrize("after", [1, 5, 6])
@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_stopped_after_any_epoch_it_goes_on_bit_for_bit(tmp_path: Path, after: int, schedule: str) -> None:
    config = changed(WHOLE, train={"schedule": schedule})
    _stopped(config, tmp_path / "state", after)
    model, epochs = _train(config, tmp_path / "state")
    whole, all_epochs = _train(config, None)
    assert weights(model) == weights(whole)
    assert epochs == all_epochs


def test_the_scale_of_a_loss_in_half_precision_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "device_for", lambda config, ranks: torch.device("cpu"))  # a training on one is refused
    config = changed(WHOLE, train={"precision": "fp16"})
    _stopped(config, tmp_path / "state", 3)
    scaler = _about(tmp_path / "state")["scaler"]
    assert scaler["scale"] < 2**16, "some step overflowed"
    model, epochs = _train(config, tmp_path / "state")
    whole, all_epochs = _train(config, None)
    assert weights(model) == weights(whole)
    assert epochs == all_epochs
    assert epochs[-1].accuracy > 0.9


def test_a_training_with_another_adam_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state says how Adam computed, and a scaler trusts the fused one to undo the scale."""
    monkeypatch.setattr("spikefold.train.state.FUSED", False)
    _stopped(WHOLE, tmp_path / "state", 1)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="another configuration") as caught:
        _train(WHOLE, tmp_path / "state")
    assert [issue.where for issue in caught.value.issues] == ["fused Adam"]


def test_the_best_epoch_before_the_stop_is_not_forgotten(tmp_path: Path) -> None:
    config, clips = changed(train={"lr": 0.003, "epochs": 4}), halves(40, seed=9)
    recordings = [recording(clips.frames[:, n], 1 - label) for n, label in enumerate(clips.labels)]
    selector = CheckpointSelector(Windows(recordings, Binning((6, 8), 1, 1000, 3)), "majority")
    _stopped(config, tmp_path / "state", 3, selector=selector)
    model, epochs = _train(config, tmp_path / "state", selector=selector)
    whole, all_epochs = _train(config, None, selector=selector)
    assert epochs == all_epochs
    assert max(epochs, key=lambda epoch: epoch.judged or 0).number < 3
    with pytest.raises(ConfigError) as caught:
        _train(config, tmp_path / "state", selector=CheckpointSelector(selector.windows, "rates"))
    assert [issue.where for issue in caught.value.issues] == ["selector.vote"]
    assert weights(model) == weights(whole)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    model, epochs = _train(WHOLE, tmp_path / "state")
    before = (tmp_path / "state").stat().st_mtime_ns
    again, same = _train(WHOLE, tmp_path / "state")
    assert weights(model) == weights(again)
    assert same == epochs
    assert (tmp_path / "state").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, ["seed"]),
        ({"train": {"lr": 0.01}}, ["train.lr"]),
        ({"model": {"lam": 0.4}}, ["model.lam"]),
        ({"train": {"epochs": 7, "batch": 9}}, ["train.batch", "train.epochs"]),
    ],
    ids=str,
)
def test_another_configuration_is_refused_with_every_difference(
    tmp_path: Path, change: dict[str, Any], named: list[str]
) -> None:
    _stopped(WHOLE, tmp_path / "state", 1)
    content = (tmp_path / "state").read_bytes()
    with pytest.raises(ConfigError, match="another configuration") as caught:
        _train(changed(WHOLE, **change), tmp_path / "state")
    assert [issue.where for issue in caught.value.issues] == named
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / "state").read_bytes() == content


def test_other_data_are_refused(tmp_path: Path) -> None:
    _stopped(WHOLE, tmp_path / "state", 1)
    with pytest.raises(ConfigError) as caught:
        _train(WHOLE, tmp_path / "state", clips=halves(seed=1))
    assert [issue.where for issue in caught.value.issues] == ["data"]


@pytest.mark.parametrize("damage", ["half", "letters", "one tensor"])
def test_a_damaged_state_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state"
    _stopped(WHOLE, path, 1)
    content = path.read_bytes()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "letters":
        path.write_bytes(b"no state of anything")
    else:
        path.write_bytes(content.replace(b"model.layers.fc.weight", b"model.layers.fc.wait__"))
        assert path.read_bytes() != content
    with pytest.raises(DataError, match="cannot go on with the training"):
        _train(WHOLE, path)


def test_no_wrong_byte_in_the_header_is_a_traceback(tmp_path: Path) -> None:
    path, refused = tmp_path / "state", 0
    config = changed(WHOLE, train={"epochs": 1})
    _train(config, path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, 3000, 60):
        content = bytearray(whole)
        content[place] ^= rng.integers(1, 256)
        path.write_bytes(content)
        try:
            _train(config, path)
        except (DataError, ConfigError):
            refused += 1
    assert refused > 40


def test_the_file_holds_tensors_and_json_and_is_written_before_the_epoch_is_told(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    sizes: list[int] = []

    def look(epoch: Epoch) -> None:
        assert len(_about(path)["epochs"]) == epoch.number
        sizes.append(len(load_file(path)))

    train(WHOLE, halves(), 2, look, state=path)
    assert len(sizes) == 6
    assert min(sizes) == max(sizes) > 20
    assert [file.name for file in path.parent.iterdir()] == ["state"]


PARENT = """
import os, sys, time
from spikefold.train.side_by_side import side_by_side

def work(path, report):
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    side_by_side(work, {"one": sys.argv[1]}, lambda name, epoch: None)
"""


def test_trainings_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    child = tmp_path / "pid"
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(child)]) as process:
        _wait(lambda: child.is_file() and bool(child.read_text()))
        assert _alive(int(child.read_text()))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    _wait(lambda: not _alive(int(child.read_text())))


def _wait(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise TimeoutError


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # where nobody collects orphans, a dead one stays as a zombie
    return not (stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_random_numbers_of_the_network_go_on_where_they_were(tmp_path: Path) -> None:
    _stopped(WHOLE, tmp_path / "state", 2)
    after_two = torch.get_rng_state()
    torch.manual_seed(99)
    seen: list[torch.Tensor] = []

    def look(epoch: Epoch) -> None:
        if epoch.number == 2:
            seen.append(torch.get_rng_state())

    train(WHOLE, halves(), 2, look, state=tmp_path / "state")
    assert torch.equal(seen[0], after_two)
