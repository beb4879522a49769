# SPDX-License-Identifier: Apache-2.0
"""Epochs as CSV and as TensorBoard's event files hold the numbers of the training, exactly."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spikefold.errors import EnvironmentLacksError
from spikefold.train.epoch_log import epochs_as_csv, watched
from spikefold.train.state import Epoch

HISTORY = {
    "network": [Epoch(1, 2, 0.1 + 0.2, 0.5, 0.25), Epoch(2, 2, 0.1, 0.75, 0.5)],
    "vanilla": [Epoch(1, 2, 1.5, 0.125)],
}


def test_the_table_has_a_line_for_each_epoch_with_every_digit() -> None:
    lines = epochs_as_csv(HISTORY).splitlines()
    assert lines[0] == "network,epoch,of,loss,accuracy,judged"
    assert lines[1:] == [
        "network,1,2,0.30000000000000004,0.5,0.25",
        "network,2,2,0.1,0.75,0.5",
        "vanilla,1,2,1.5,0.125,",
    ]


def test_tensorboard_reads_the_same_numbers_back(tmp_path: Path) -> None:
    with watched(tmp_path) as note:
        for name, epochs in HISTORY.items():
            for epoch in epochs:
                note(name, epoch)
    for name, epochs in HISTORY.items():
        read = EventAccumulator(str(tmp_path / name)).Reload()
        found = [(one.step, one.value) for one in read.Scalars("loss")]
        assert found == [(epoch.number, float(np.float32(epoch.loss))) for epoch in epochs]
    assert "judged" not in EventAccumulator(str(tmp_path / "vanilla")).Reload().Tags()["scalars"]


def test_nothing_is_written_where_nobody_asks(tmp_path: Path) -> None:
    with watched(None) as note:
        note("network", HISTORY["network"][0])
    assert not list(tmp_path.iterdir())


def test_a_missing_tensorboard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError("No module named 'tensorboard'")
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EnvironmentLacksError, match="pip install tensorboard"), watched(tmp_path):
        pass
