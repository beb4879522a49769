# SPDX-License-Identifier: Apache-2.0
"""The spiking neurons of SpikingJelly, snnTorch, sinabs and norse as `Neuron`, exactly, or the reason why not.

Each library is recognised by the module that a class comes from, so none of them has to be installed. Read in the
sources of SpikingJelly 2.0.0, snnTorch 1.0.0, sinabs 3.1.3 and norse 1.1.0; classes are compared exactly, because a
subclass may compute something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from spikefold.errors import NetworkError
from spikefold.export.neuron import Fire, Leak, Neuron, Reset

_NEURON_MODULES = ("spikingjelly.activation_based.neuron", "snntorch._neurons", "sinabs.layers", "norse.torch.module")
_STATES = ("BaseNode", "SpikingNeuron", "StatefulLayer", "SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell")
"""Names of the base classes of each library's modules with a state."""


def is_neuron(module: nn.Module) -> bool:
    """Whether a module keeps a state over the steps, in one of the four libraries."""
    kinds = type(module).__mro__
    return any(
        kind.__name__ in _STATES and kind.__module__.startswith(("spikingjelly", *_NEURON_MODULES)) for kind in kinds
    )


def neuron_of(module: nn.Module) -> Neuron:
    """The neurons that a module is.

    Raises:
        NetworkError: no `Neuron` computes what it does; with the reason.
    """
    kind = vars(type(module)).get("computes", type(module))
    translate = _KINDS.get((kind.__module__.split(".")[0], kind.__name__))
    if translate is None:
        raise NetworkError(
            f"no neuron here computes what {kind.__module__.split('.')[0]}'s {kind.__name__} does",
            hint="integrate-and-fire and leaky neurons without recurrence come in: see export/README.md",
        )
    return translate(module)


def scalar(value: Any, what: str) -> float:
    """One number.

    Raises:
        NetworkError: several different ones.
    """
    if isinstance(value, int | float):
        return float(value)
    numbers = np.unique(np.asarray(torch.as_tensor(value).detach().cpu().double()))
    if numbers.size != 1:
        raise NetworkError(f"{what} has {numbers.size} different values", hint="one number a layer")
    return float(numbers[0])


def _spikingjelly(module: Any) -> Neuron:
    if not getattr(module.surrogate_function, "spiking", True):
        raise NetworkError("surrogate(spiking=False) gives analog outputs", hint="set spiking=True, and train again")
    if module.v_reset not in (None, 0):
        raise NetworkError(f"v_reset {module.v_reset}", hint="train with v_reset 0, or None for reset by subtraction")
    reset = Reset.SUBTRACT if module.v_reset is None else Reset.ZERO
    threshold, leak, current = scalar(module.v_threshold, "v_threshold"), None, None
    if hasattr(module, "c_decay"):
        leak, current = Leak(scalar(module.v_decay, "v_decay")), Leak(scalar(module.c_decay, "c_decay"))
    elif hasattr(module, "decay_input"):
        tau = _time_constant(module)
        leak = Leak(1 - 1 / tau)
        # v += (x - v) / tau  is  v <- (1 - 1/tau) v + x  in units of v * tau
        threshold *= tau if module.decay_input else 1.0
    return Neuron(np.array(threshold), reset=reset, leak=leak, max_spikes=1, current=current)


def _time_constant(module: Any) -> float:
    """Tau in steps; a learned one is ``1 / sigmoid(w)``, in double precision."""
    if not hasattr(module, "w"):
        return float(module.tau)
    share = module.w.detach().cpu().double().sigmoid()
    if share.numel() != 1 or not 0 < share.item() <= 1:
        raise NetworkError(
            f"a learned 1 / tau of {share.tolist()}", hint="one number for the layer, above 0, at most 1"
        )
    return 1 / share.item()


def _snntorch(module: Any) -> Neuron:
    """Leaky and Synaptic: ``mem > threshold`` fires once a step, the reset comes one step later, before the leak."""
    if module.inhibition or module.state_quant:
        raise NetworkError("inhibition or a quantised state", hint="train without them")
    if scalar(module.graded_spikes_factor, "graded_spikes_factor") != 1:
        raise NetworkError("graded spikes", hint="graded_spikes_factor=1")
    keep = float(np.clip(scalar(module.beta, "beta"), 0, 1))
    if module.reset_mechanism == "none":
        raise NetworkError("neurons without a reset", hint="reset_mechanism='zero' or 'subtract'")
    zero = module.reset_mechanism == "zero"
    if not zero and not (module.reset_delay and keep == 1):
        # beta v - theta is not beta (v - theta)
        raise NetworkError(
            f"reset by subtraction with beta {keep:g} and reset_delay={module.reset_delay}",
            hint="train with reset_mechanism='zero', or without a leak and with reset_delay=True",
        )
    current = None
    if hasattr(module, "alpha"):
        if zero and module.reset_delay:  # it clears what came in meanwhile, too
            raise NetworkError("Synaptic that resets to zero one step late", hint="reset_delay=False")
        alpha = float(np.clip(scalar(module.alpha, "alpha"), 0, 1))
        current = Leak(alpha) if alpha else None
    return Neuron(
        np.array(scalar(module.threshold, "threshold")), fire=Fire.GT, reset=Reset.ZERO if zero else Reset.SUBTRACT,
        leak=None if keep == 1 else Leak(keep), max_spikes=1, current=current,
    )  # fmt: skip


def _sinabs(module: Any) -> Neuron:
    """IAF and LIF: how many spikes, what reset and which lower bound are objects of the layer."""
    spikes = _most_spikes(module.spike_fn)
    reset = type(module.reset_fn).__name__
    if reset not in ("MembraneReset", "MembraneSubtract"):
        raise NetworkError(f"reset_fn {reset}", hint="MembraneSubtract() or MembraneReset()")
    threshold = scalar(module.spike_threshold, "spike_threshold")
    own = getattr(module.reset_fn, "subtract_value", None)
    if own is not None and own != threshold:
        raise NetworkError(
            f"a reset that subtracts {own} at a threshold of {threshold:g}", hint="subtract_value=None"
        )
    keep = 1.0
    if module.alpha_mem_calculated is not None:
        keep = scalar(module.alpha_mem_calculated, "tau_mem")
    gain = 1 - keep if module.norm_input and keep != 1 else 1.0
    current = None
    if module.alpha_syn_calculated is not None:
        # i <- alpha (i + x)  is  u <- alpha u + x  with  i = alpha u
        alpha = scalar(module.alpha_syn_calculated, "tau_syn")
        current, gain = Leak(alpha), gain * alpha
    if not gain > 0:
        raise NetworkError("a time constant that lets nothing in", hint="a longer tau, or norm_input=False")
    bound = module.min_v_mem
    return Neuron(
        np.array(threshold / gain), reset=Reset.ZERO if reset == "MembraneReset" else Reset.SUBTRACT,
        leak=None if keep == 1 else Leak(keep), max_spikes=spikes, current=current,
        v_min=None if bound is None else scalar(bound, "min_v_mem") / gain,
    )  # fmt: skip


def _most_spikes(spike_fn: Any) -> int | None:
    name = getattr(spike_fn, "__name__", type(spike_fn).__name__)
    if name == "MultiSpike":
        return None
    if name == "SingleSpike":
        return 1
    if name == "MaxSpike" and getattr(spike_fn, "max_num_spikes_per_bin", None):
        return int(spike_fn.max_num_spikes_per_bin)
    if name == "CustomMaxSpike" or getattr(spike_fn, "max_num_spikes_per_bin", None):
        return int(spike_fn.max_num_spikes_per_bin)
    raise NetworkError(f"spike_fn {name}", hint="MultiSpike, SingleSpike or MaxSpike(n)")


def _norse(module: Any) -> Neuron:
    """LIF and LIFBox: ``v + dt/tau (i - v)`` with the current of this step, fires above the threshold, reset to 0."""
    p, dt = module.p, float(module.dt)
    if scalar(p.v_leak, "v_leak") or scalar(p.v_reset, "v_reset"):
        raise NetworkError("v_leak or v_reset other than 0", hint="shift threshold and bias so that it rests at 0")
    if hasattr(p, "reset_method") and p.reset_method.__name__ != "reset_value":
        raise NetworkError(f"reset method {p.reset_method.__name__}", hint="reset_value")
    share = dt * scalar(p.tau_mem_inv, "tau_mem_inv")
    if not 0 < share <= 1:
        raise NetworkError(f"dt / tau_mem = {share:g}", hint="between 0 and 1: another dt or tau_mem_inv")
    current = None
    if hasattr(p, "tau_syn_inv"):
        kept = 1 - dt * scalar(p.tau_syn_inv, "tau_syn_inv")
        if not 0 <= kept < 1:
            raise NetworkError(f"a current of which {kept:g} is kept", hint="dt / tau_syn between 0 and 1")
        current = Leak(kept) if kept else None
    return Neuron(
        np.array(scalar(p.v_th, "v_th") / share), fire=Fire.GT, reset=Reset.ZERO,
        leak=Leak(1 - share) if share < 1 else Leak(0.0), max_spikes=1, current=current,
    )  # fmt: skip


_KINDS: dict[tuple[str, str], Callable[[Any], Neuron]] = {
    **dict.fromkeys(
        (("spikingjelly", name) for name in ("IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode")), _spikingjelly
    ),
    **dict.fromkeys((("snntorch", name) for name in ("Leaky", "Synaptic")), _snntorch),
    **dict.fromkeys((("sinabs", name) for name in ("IAF", "IAFSqueeze", "LIF", "LIFSqueeze")), _sinabs),
    **dict.fromkeys((("norse", name) for name in ("LIFCell", "LIF", "LIFBoxCell", "LIFBox")), _norse),
}
