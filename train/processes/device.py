# SPDX-License-Identifier: Apache-2.0
"""Chooses where a training computes, and in which precision.

The tests run on a CPU. Trainings on CUDA, and on several GPUs, are NOT RUN in them. Mixed precision follows PyTorch's
recipe (`torch.autocast` around the forward pass and the loss, a `torch.amp.GradScaler` for fp16). The tests run it on
a CPU, where a user's training refuses it: whole trainings in either half precision, and a step that overflows.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from spikefold.config import TrainConfig
from spikefold.errors import ConfigError, EnvironmentLacksError
from spikefold.train.processes.parallel import ALONE, Ranks, local_rank

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def threads_of_process() -> int:
    """PyTorch's threads on the CPU, in this process."""
    return torch.get_num_threads()


def set_threads(count: int) -> None:
    """Compute with so many from now on."""
    torch.set_num_threads(count)


def device_for(config: TrainConfig, ranks: Ranks = ALONE) -> torch.device:
    """The device that the configuration asks for; under ``torchrun`` each process has the GPU of its local rank.

    Raises:
        EnvironmentLacksError: CUDA is asked for and there is no GPU.
        ConfigError: mixed precision is asked for on a CPU.
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
    """The context for the forward pass and the loss: mixed precision where it is configured, else nothing."""
    half = _HALVES.get(config.precision)
    return torch.autocast(device.type, dtype=half, enabled=half is not None)


def scaler_for(config: TrainConfig, device: torch.device) -> torch.amp.GradScaler:
    """Make the scaler that keeps gradients from vanishing in fp16; in other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
