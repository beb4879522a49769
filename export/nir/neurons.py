# SPDX-License-Identifier: Apache-2.0
"""Makes one NIR neuron node a `Neuron`, exactly, or says why that cannot be.

NIR's equation over one step dt, with keep and gain from the discretisation of `NirOptions`::

    IF       v <- v + gain x                gain = r dt
    LIF      v <- keep v + gain x           Euler:       keep = 1 - dt/tau,    gain = r dt/tau
                                            exponential: keep = exp(-dt/tau),  gain = r (1 - keep)
    CubaLIF  as LIF with gain * w_in, where its current forgets everything within a step: tau_syn 0, or tau_syn = dt
             in Euler (snnTorch's Synaptic with alpha 0); every other one is refused

The gain is folded into the threshold and never into weights: with u = v / gain, ``u <- keep u + x`` fires at theta /
gain, and both resets commute with the factor; so does the lower bound. One division a threshold, exact where the gain
is a power of two. A gain within 2^-20 of 1 is 1: writers compute r = tau/dt in float32, and mean 1.

A threshold that is the same everywhere becomes a scalar, the same within each channel ``(C, 1, 1)``, else ``(C, H,
W)``. Parameters hold one number, or one for each neuron in C, H, W order. A keep of 1 is integrate-and-fire.
"""

from __future__ import annotations

import math

import numpy as np

from spikefold.errors import Issue, NetworkError, UnsupportedError
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.nir.file import Node
from spikefold.export.nir.options import EULER, Semantics
from spikefold.export.ops import Shape

KINDS = {
    "IF": {"r", "v_threshold", "v_reset"},
    "LIF": {"tau", "r", "v_leak", "v_threshold", "v_reset"},
    "CubaLIF": {"tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"},
}
"""The neuron nodes of the subset, and the fields that each may have."""
_ONE = 2.0**-20


def neuron(node: Node, shape: Shape | None, how: Semantics) -> Neuron:
    """The neurons of a node; ``shape`` is that of their input, None where it is not known for other reasons.

    Raises:
        UnsupportedError: with every reason at once.
        DataError: a field is missing or damaged.
    """
    shapes = {node.numbers(key, infinite=True).shape for key in KINDS[node.kind] & node.fields.keys()}
    if len({shape for shape in shapes if math.prod(shape) > 1}) > 1:
        got, hint = " and ".join(map(str, sorted(shapes))), "one number each, or one for each neuron"
        raise UnsupportedError("parameters of different shapes", issues=[Issue("shape", str(node), got, "one", hint)])
    issues = [
        Issue(f"{key} is zero", str(node), _range(values), "0", hint)
        for key, hint in (
            ("v_leak", "shift threshold and bias so that the neuron rests at 0"),
            ("v_reset", "train with a reset to 0 or by subtraction"),
        )
        if key in node.fields and (values := node.numbers(key)).any()
    ]
    keep, gain = _discrete(node, how)
    threshold = node.numbers("v_threshold")
    checks = (
        ((threshold > 0).all(), "threshold above 0", _range(threshold), "above 0", "a neuron at rest must be silent"),
        (np.unique(keep).size == 1, "one tau a layer", _range(keep) + " kept", "one value", "train one tau a layer"),
        (((keep >= 0) & (keep <= 1)).all(), "leak", _range(keep) + " kept a step", "0 to 1",
         "tau is in another unit than dt, or too short for Euler: dt=..., leak=exponential"),
        ((np.isfinite(gain) & (gain > 0)).all(), "input scaling", _range(gain), "above 0",
         "r or tau is wrong; gain=one leaves r out"),
        (how.v_min is None or np.unique(gain).size == 1, "lower bound", f"scalings {_range(gain)}", "one scaling",
         "one r a layer, or no v_min"),
    )  # fmt: skip
    issues += [Issue(rule, str(node), got, limit, hint) for holds, rule, got, limit, hint in checks if not holds]
    issues += _cuba(node, how) + _delayed(node, keep, how)
    sizes = {values.size for values in (threshold, keep, gain)} - {1}
    if shape is not None and sizes - {math.prod(shape)}:
        limit = f"one, or {math.prod(shape)} for {shape}"
        issues.append(Issue("parameters", str(node), f"{sorted(sizes)} numbers", limit, "one number a neuron"))
    if issues:
        raise UnsupportedError("these neurons cannot be imported", where=str(node), issues=issues)
    kept = float(keep.flat[0])
    with np.errstate(over="ignore"):  # an infinite threshold is refused by `Neuron`
        theta = threshold.ravel() / gain.ravel()
    try:
        return Neuron(
            _compact(theta, shape),
            fire=how.fire,
            reset=how.reset,
            leak=None if kept == 1 else Leak(kept),
            v_min=None if how.v_min is None else how.v_min / float(gain.flat[0]),
            max_spikes=how.max_spikes,
        )
    except NetworkError as error:
        raise UnsupportedError(error.what, where=str(node), hint=error.hint) from error


def _discrete(node: Node, how: Semantics) -> tuple[np.ndarray, np.ndarray]:
    """What a step keeps, and what it adds of the input."""
    r = node.numbers("r", infinite=True)
    if node.kind == "IF":
        keep, gain = np.array(1.0), r * how.dt
    else:
        tau = node.numbers("tau_mem" if node.kind == "CubaLIF" else "tau", infinite=True)
        # a dead or timeless neuron divides by zero; the checks above name it. snnTorch writes a beta of 1 as
        # tau = r = inf, where r dt/tau stands for 1
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = how.dt / tau
            keep = 1 - share if how.leak == EULER else np.exp(-share)
            both = np.isinf(tau) & np.isinf(r)
            gain = np.where(both, 1.0, r * (share if how.leak == EULER else -np.expm1(-share)))
        if node.kind == "CubaLIF":
            gain = gain * (node.numbers("w_in") if "w_in" in node.fields else 1.0)
    if how.gain == "one":
        gain = np.array(1.0)
    return keep, np.where(np.abs(gain - 1) <= _ONE, 1.0, gain)


def _cuba(node: Node, how: Semantics) -> list[Issue]:
    """A synaptic current that outlives its step is a second state."""
    if node.kind != "CubaLIF":
        return []
    tau = node.numbers("tau_syn", infinite=True)
    one_step = (tau > 0) & (np.abs(tau / how.dt - 1) <= _ONE) if how.leak == EULER else np.zeros(tau.shape, bool)
    if ((tau == 0) | one_step).all():
        return []
    limit = "0" + (f", or dt = {how.dt:g} with Euler" if how.leak == EULER else "")
    hint = "no chip here has a synaptic current that decays: train LIF neurons, or alpha = 0"
    return [Issue("synaptic time constant", str(node), _range(tau), limit, hint)]


def _delayed(node: Node, keep: np.ndarray, how: Semantics) -> list[Issue]:
    """A subtraction in snnTorch is ours only without a leak, and only one step late."""
    if how.reset is not Reset.SUBTRACT or how.reset_delay is None or (how.reset_delay and (keep == 1).all()):
        return []
    got = f"subtract with reset_delay={how.reset_delay}" + (
        f", {_range(keep)} kept a step" if how.reset_delay else ""
    )
    limit = "reset to zero, or reset_delay=True without a leak"
    hint = "reset=zero if it was trained with reset_mechanism='zero'; else train it so"
    return [Issue("snnTorch's reset", str(node), got, limit, hint)]


def _compact(values: np.ndarray, shape: Shape | None) -> np.ndarray:
    """The smallest form ``()``, ``(C, 1, 1)`` or ``(C, H, W)`` that says the same."""
    if shape is None or (values == values[0]).all():
        return np.array(float(values[0]))
    spread = values.reshape(shape)
    first = spread[:, :1, :1]
    return first if (spread == first).all() else spread


def _range(values: np.ndarray) -> str:
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
