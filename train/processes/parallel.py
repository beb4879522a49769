# SPDX-License-Identifier: Apache-2.0
"""Shares one training among several processes, on one machine or many, each with a part of every batch.

It is started with ``torchrun --nproc-per-node 2 -m spikefold.pipeline train ...``; every process (rank) runs the same
command. The batch size of the configuration is that of all ranks together. PyTorch's `DistributedDataParallel`
averages the gradients, and whatever depends on a batch depends on the batch of all ranks: batch norm (`batch_norm`),
the masks of ASA's ``batch`` mode and the mean gate of ``model.static_share`` (`attention`). The result is therefore
that of one process except for the order of floating-point sums.

What is drawn for a batch (its order, its shift, the clips that see the mean gate) is drawn by rank 0 and sent to all
ranks; it equals what one process would draw. Only dropout is drawn by each rank for its own clips, so that a training
with dropout equals that of one process in distribution only.

A sum over ranks has a gradient: the sum over ranks of the gradients.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from spikefold.train.processes.main_process import world


@dataclass(frozen=True)
class Ranks:
    """This process among those of one training.

    Attributes:
        rank: its number from 0; rank 0 writes files and prints.
        count: the number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def share(self, chosen: torch.Tensor) -> torch.Tensor:
        """This rank's part of a batch, which can be empty in the last batch of an epoch."""
        return chosen if self.count == 1 else chosen.tensor_split(self.count)[self.rank]

    def agreed(self, drawn: torch.Tensor) -> torch.Tensor:
        """Replace a tensor by that of rank 0. Every rank must call it with a tensor of the same shape."""
        if self.count > 1:
            distributed.broadcast(drawn, src=0)
        return drawn

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Each number added up over the ranks."""
        if self.count == 1:
            return numbers
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums)
        return tuple(sums.tolist())

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks of tensors of one shape, with a gradient."""
        if self.count == 1:
            return values
        total: torch.Tensor = _SumOverRanks.apply(values)
        return total

    def mean(self, values: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        """The mean over some axes, which keep length 1, and over the ranks, with a gradient.

        The part of a rank may be empty, or smaller than that of another rank; not all of them may be empty.
        """
        if self.count == 1:
            return values.mean(axes, keepdim=True)
        # sums in half precision would overflow
        half = values.dtype in (torch.float16, torch.bfloat16)
        sums = values.sum(axes, keepdim=True, dtype=torch.float32 if half else None)
        (count,) = self.total(math.prod(values.shape[axis] for axis in axes))
        return (self.summed(sums) / count).to(values.dtype)

    def drawn(self, count: int, device: torch.device) -> torch.Tensor:
        """``count`` numbers from [0, 1) for this rank's clips: its part of what one process would draw."""
        if self.count == 1:
            return torch.rand(count, device=device)
        counts = [int(each) for each in self.everyones(torch.tensor(count))]
        return self.agreed(torch.rand(sum(counts), device=device)).split(counts)[self.rank]

    def everyones(self, value: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all ranks, in the order of the ranks; all have one shape."""
        if self.count == 1:
            return [value]
        values = [torch.empty_like(value) for _ in range(self.count)]
        distributed.all_gather(values, value)
        return values

    def bytes_of_first(self, content: bytes) -> bytes:
        """The bytes that rank 0 has."""
        if self.count == 1:
            return content
        size = self.agreed(torch.tensor([len(content)]))
        sent = torch.zeros(int(size), dtype=torch.uint8)
        if self.first:
            sent.copy_(torch.frombuffer(bytearray(content) or bytearray(1), dtype=torch.uint8)[: len(content)])
        return bytes(self.agreed(sent).numpy())


ALONE = Ranks()
"""A training in one process."""


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started; without it this process is alone."""
    if world() == 1:
        yield ALONE
        return
    # tensors on a CPU go through gloo, those on GPUs through NCCL
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def local_rank() -> int:
    """The number of this process among those of its machine, each of which has its own GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))
