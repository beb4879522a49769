# SPDX-License-Identifier: Apache-2.0
"""What neurons that are computed in one compiled loop on a CPU have in common: the order of their memory.

Such a neuron is a class of SpikingJelly's with `InOneLoop` before it. It says which calls its loop covers; the others
run in SpikingJelly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import neuron, surrogate

AT_ONCE = 1024
"""The number of neurons whose steps are computed together; 20 steps of them take 80 KB."""
TYPES = {torch.float32: np.float32, torch.float64: np.float64}


class InOneLoop(neuron.BaseNode):  # type: ignore[misc, unused-ignore]
    """Stands before SpikingJelly's class of a neuron and gives its multi-step mode to a compiled loop."""

    derivative: type[surrogate.SurrogateFunctionBase]
    """The surrogate function whose derivative the loop has."""

    def in_one_loop(self, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Spikes ``(T, M)`` and last state ``(M,)`` of currents ``(T, M)`` and a first state ``(M,)``."""
        raise NotImplementedError

    def covered(self, x: torch.Tensor) -> bool:
        """Whether the loop computes what SpikingJelly would on these currents."""
        function = self.surrogate_function
        plain = self.v_reset == 0 and not self.store_v_seq
        derived = type(function) is self.derivative and function.spiking
        return plain and derived and x.device.type == "cpu" and x.dtype in TYPES and x.ndim > 1

    def multi_step_forward(self, x_seq: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Spikes of currents, both ``(T, N, *)``."""
        if not self.covered(x_seq):
            return super().multi_step_forward(x_seq, *args, **kwargs)
        (v,) = self.materialize_states((x_seq,), tuple(self._memories.values()), "m")
        # neurons are visited in the order in which they lie in memory, such as channels last
        order = sorted(range(x_seq.ndim - 1), key=lambda axis: -x_seq.stride(axis + 1))
        back = [order.index(axis) for axis in range(x_seq.ndim - 1)]
        ordered = x_seq.permute(0, *(axis + 1 for axis in order)).contiguous()
        first = v.permute(order).contiguous()
        spikes, last = self.in_one_loop(ordered.flatten(1), first.flatten())
        self._memories["v"] = last.view(first.shape).permute(back)
        return spikes.view(ordered.shape).permute(0, *(axis + 1 for axis in back))
