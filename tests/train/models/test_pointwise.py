# SPDX-License-Identifier: Apache-2.0
"""The strided 1x1 convolution is SpikingJelly's, forward and backward, and is described as the strided one."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer

from spikefold.train.models.pointwise import PointwiseConv2d


def test_outputs_and_gradients_are_those_of_the_strided_convolution() -> None:
    generator = torch.Generator().manual_seed(0)
    for size, stride in (((7, 8), 2), ((5, 5), 3), ((4, 6), 1)):
        ours = PointwiseConv2d(3, 5, stride).double()
        # planes apart: in channels-last order PyTorch's own backward pass is what may crash
        theirs = layer.Conv2d(3, 5, 1, stride, bias=False, step_mode="m").double()
        theirs.load_state_dict(ours.state_dict())
        x = torch.rand((2, 3, 3, *size), generator=generator, dtype=torch.float64)
        inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        outputs = [module(value) for module, value in zip((ours, theirs), inputs, strict=True)]
        assert outputs[0].shape == outputs[1].shape
        assert outputs[0].abs().min() > 0
        for output in outputs:
            (output**2).sum().backward()
        for mine, other in (outputs, [value.grad for value in inputs], [ours.weight.grad, theirs.weight.grad]):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-13)


def test_training_steps_on_one_thread_in_channels_last_order_end() -> None:
    """The shapes of a shortcut that crashed: four to five channels of 8 x 10 pixels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(40):
            conv = PointwiseConv2d(4, 5, 2).to(memory_format=torch.channels_last)
            x = torch.rand(18, 4, 8, 10).to(memory_format=torch.channels_last).unflatten(0, (3, 6)).requires_grad_()
            conv(x).sum().backward()
            assert conv.weight.grad is not None
            assert torch.isfinite(conv.weight.grad).all()
    finally:
        torch.set_num_threads(threads)
