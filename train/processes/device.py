# SPDX-License-Identifier: Apache-2.0
"""Where a training computes, and in which precision.

Everything is tested on a CPU. CUDA, and several GPUs, are NOT RUN in this project's tests, which have none. Mixed
precision follows PyTorch's recipe (`torch.autocast` around the forward pass and the loss, a `torch.amp.GradScaler`
for fp16); tests run it on a CPU, where a training refuses it: whole trainings in either half, an overflow left out.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from spikefold.config import TrainConfig
from spikefold.errors import ConfigError, EnvironmentLacksError
from spikefold.train.processes.parallel import ALONE, Ranks, local_rank

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def device_for(config: TrainConfig, ranks: Ranks = ALONE) -> torch.device:
    """The device that the configuration asks for; under ``torchrun`` each process has the GPU of its local rank.

    Raises:
        EnvironmentLacksError: CUDA without a GPU.
        ConfigError: mixed precision on a CPU.
    """
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise EnvironmentLacksError(
            "PyTorch sees no CUDA device",
            where="train.device",
            hint='train.device = "cpu", or "auto" for CUDA where there is a GPU',
        )
    if config.device == "cpu" or not has_gpu:
        if config.precision != "float32":
            raise ConfigError(
                f"{config.precision} is for CUDA: on a CPU it is slower than float32 and less exact",
                where="train.precision",
                hint='train.precision = "float32"',
            )
        return torch.device("cpu")
    return torch.device("cuda", local_rank() if ranks.count > 1 else torch.cuda.current_device())


def mixed(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """Around forward pass and loss: mixed precision where it is configured."""
    half = _HALVES.get(config.precision)
    return torch.autocast(device.type, dtype=half, enabled=half is not None)


def scaler_for(config: TrainConfig, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss so that gradients do not vanish in fp16; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
