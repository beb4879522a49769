# SPDX-License-Identifier: Apache-2.0
"""Where a training computes. There is no GPU here: CUDA is NOT RUN, only chosen and refused."""

from __future__ import annotations

import pytest
import torch

from spikefold.config import TrainConfig
from spikefold.errors import ConfigError, EnvironmentLacksError
from spikefold.train.processes import device
from spikefold.train.processes.device import device_for, mixed, scaler_for
from spikefold.train.processes.parallel import Ranks

CPU = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_cuda_is_refused_and_auto_is_the_cpu() -> None:
    with pytest.raises(EnvironmentLacksError, match="no CUDA device") as caught:
        device_for(TrainConfig(device="cuda"))
    assert "auto" in caught.value.hint
    assert device_for(TrainConfig(device="auto")) == device_for(TrainConfig()) == CPU


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu_it_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_for(TrainConfig()) == CPU
    assert device_for(TrainConfig(device="auto")) == device_for(TrainConfig(device="cuda")) == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_for(TrainConfig(device="cuda"), Ranks(7, 8)) == torch.device("cuda", 3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("place", ["cpu", "auto"])
@pytest.mark.usefixtures("no_gpu")
def test_mixed_precision_on_a_cpu_is_refused(precision: str, place: str) -> None:
    with pytest.raises(ConfigError, match="is for CUDA"):
        device_for(TrainConfig(device=place, precision=precision))


@pytest.mark.usefixtures("gpu")
def test_mixed_precision_on_a_gpu_is_not_refused() -> None:
    assert device_for(TrainConfig(device="auto", precision="bf16")).type == "cuda"
    with pytest.raises(ConfigError, match="is for CUDA"):
        device_for(TrainConfig(precision="bf16"))


def test_float32_is_left_alone_and_the_scaler_waits_for_fp16() -> None:
    with mixed(TrainConfig(), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not scaler_for(TrainConfig(), CPU).is_enabled()
    assert not scaler_for(TrainConfig(precision="bf16"), CPU).is_enabled()
    assert scaler_for(TrainConfig(precision="fp16"), CPU).is_enabled()


def test_the_forward_pass_is_in_half_precision_where_it_is_configured() -> None:
    # on a CPU, which the training refuses: the context is the same
    with mixed(TrainConfig(precision="bf16"), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert device._HALVES["fp16"] is torch.float16
