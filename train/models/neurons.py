# SPDX-License-Identifier: Apache-2.0
"""Makes SpikingJelly neurons by name. All fire at ``v >= threshold``, at most once a step, and reset to zero.

One step, with ``x`` the input, ``k = keep`` and ``s = 1 - k``::

    if                v <- v + x
    lif               v <- k v + x                Source: BICLab/ASA-SNN, architectures A and D (k = threshold = 0.3)
    lif_decay_input   v <- k v + s x              Source: the same, architecture C (k = 1/2)
    plif              v <- k v + s x, s = sigmoid(w) with one w learned for the layer
                      Source: Fang et al., "Incorporating learnable membrane time constant ...", ICCV 2021, eq. 9 and
                      10; BICLab/ASA-SNN, architecture B
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import neuron, surrogate

from spikefold.train.models.fast_if import FastIF
from spikefold.train.models.fast_lif import FastLIF


def make_neuron(
    kind: str, *, threshold: float, keep: float, spike: str = "atan", detach_reset: bool = True
) -> torch.nn.Module:
    """Make a layer of neurons that takes all steps at once.

    Args:
        kind: ``"if"``, ``"lif"``, ``"lif_decay_input"`` or ``"plif"``, see the module's docstring.
        threshold: the firing threshold.
        keep: the share of the potential that a leaky neuron keeps each step, ``1 - 1/tau``; the first value of a
            plif.
        spike: the derivative of a spike in training: ``"atan"``, or ``"rectangle"``, which is 2 within 1/4 of the
            threshold, else 0 (BICLab/ASA-SNN, ``lens = 0.25``).
        detach_reset: whether no gradient goes through the reset.
    """
    options = {
        "v_threshold": threshold,
        "v_reset": 0.0,
        "detach_reset": detach_reset,
        "step_mode": "m",
        "surrogate_function": surrogate.Rect(alpha=2.0) if spike == "rectangle" else surrogate.ATan(),
    }
    tau = 1 / (1 - keep)
    match kind:
        case "lif" if spike == "rectangle":  # the paper's neuron; SpikingJelly has no fast loop for this surrogate
            return FastLIF(tau=tau, decay_input=False, **options)
        case "lif" | "lif_decay_input":
            return neuron.LIFNode(tau=tau, decay_input=kind == "lif_decay_input", **options)
        case "plif":
            return neuron.ParametricLIFNode(init_tau=tau, decay_input=True, **options)
    return FastIF(**options)
