# SPDX-License-Identifier: Apache-2.0
"""SpikingJelly neurons by name. Both fire at ``v >= threshold``, once a step, and reset to zero."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import neuron, surrogate


def make_neuron(kind: str, *, threshold: float, keep: float) -> torch.nn.Module:
    """A multi-step neuron.

    Args:
        kind: ``"if"`` integrate-and-fire, ``"lif"`` leaky (the input is not scaled by the leak).
        threshold: firing threshold.
        keep: share of the potential that a leaky neuron keeps each step, ``1 - 1/tau``.
    """
    options = {
        "v_threshold": threshold, "v_reset": 0.0, "detach_reset": True, "step_mode": "m",
        "surrogate_function": surrogate.ATan(),
    }  # fmt: skip
    if kind == "lif":
        return neuron.LIFNode(tau=1 / (1 - keep), decay_input=False, **options)
    return neuron.IFNode(**options)
