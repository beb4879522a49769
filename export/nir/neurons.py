# SPDX-License-Identifier: Apache-2.0
"""Makes one NIR neuron node a `Neuron`, exactly, or says why that cannot be.

NIR's equation over one step dt, with keep and gain from the discretisation of `NirOptions`::

    IF       v <- v + gain x                gain = r dt
    LIF      v <- keep v + gain x           Euler:       keep = 1 - dt/tau,    gain = r dt/tau
                                            exponential: keep = exp(-dt/tau),  gain = r (1 - keep)
    CubaLIF  i <- a i + b x, v <- keep v + gain i, with the current of this step (snnTorch's and norse's order)
                                            Euler:       a = 1 - dt/tau_syn,   b = w_in dt/tau_syn
                                            exponential: a = exp(-dt/tau_syn), b = w_in (1 - a)
             with u = i / b it is `Neuron.current`; tau_syn 0 is no current, and b = w_in

The gain is folded into the threshold and never into weights: with u = v / gain, ``u <- keep u + x`` fires at theta /
gain, and both resets commute with the factor; so does the lower bound. One division a threshold, exact where the gain
is a power of two. A gain within 2^-20 of 1 is 1: writers compute r = tau/dt in float32, and mean 1.

A leak that keeps less than 1/1000 though no Euler step says exactly 0, and a gain below 1/4096, are time constants in
another unit than the step: such neurons are refused, with the step that would fit.

A threshold that is the same everywhere becomes a scalar, the same within each channel ``(C, 1, 1)``, else ``(C, H,
W)``. Parameters hold one number, or one for each neuron in C, H, W order. A keep of 1 is integrate-and-fire.
"""

from __future__ import annotations

import math

import numpy as np

from spikefold.errors import Issue, NetworkError, UnsupportedError
from spikefold.export.neuron import Leak, Neuron, Reset
from spikefold.export.nir.file import Node
from spikefold.export.nir.options import AT_THRESHOLD, EULER, Semantics
from spikefold.export.ops import Shape

KINDS = {
    "IF": {"r", "v_threshold", "v_reset"},
    "LIF": {"tau", "r", "v_leak", "v_threshold", "v_reset"},
    "CubaLIF": {"tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"},
}
"""The neuron nodes of the subset, and the fields that each may have."""
_ONE = 2.0**-20
_LEAST_KEPT, _LEAST_GAIN = 1e-3, 2.0**-12


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
    kept_current, gain = _current(node, how, gain)
    threshold = node.numbers("v_threshold")
    checks = (
        ((threshold > 0).all(), "threshold above 0", _range(threshold), "above 0", "a neuron at rest must be silent"),
        (np.unique(keep).size == 1, "one tau a layer", _range(keep) + " kept", "one value", "train one tau a layer"),
        (((keep >= 0) & (keep <= 1)).all(), "leak", _range(keep) + " kept a step", "0 to 1",
         "tau is in another unit than dt, or too short for Euler: dt=..., leak=exponential"),
        ((np.isfinite(gain) & (gain > 0)).all(), "input scaling", _range(gain), "above 0",
         "r or tau is wrong; gain=one leaves r out"),
        (how.v_min is None or np.unique(gain).size == 1, "lower bound", f"scalings {_range(gain)}", "one scaling",
         "one r a layer, or v_min=none"),
        (np.unique(kept_current).size == 1 and 0 <= kept_current.flat[0] <= 1, "one tau_syn a layer",
         f"{_range(kept_current)} of a current kept", "one value, 0 to 1",
         f"train one tau_syn a layer, in the unit of dt = {how.dt:g}"),
    )  # fmt: skip
    issues += [Issue(rule, str(node), got, limit, hint) for holds, rule, got, limit, hint in checks if not holds]
    issues += _out_of_step(node, keep, gain, how) + _delayed(node, keep, how)
    issues += _bounded(node, threshold, how)
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
            v_min=_lower_bound(node, threshold, float(gain.flat[0]), how),
            max_spikes=how.max_spikes,
            current=Leak(float(kept_current.flat[0])) if kept_current.flat[0] else None,
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
    if how.gain == "one":
        gain = np.array(1.0)
    return keep, np.where(np.abs(gain - 1) <= _ONE, 1.0, gain)


def _current(node: Node, how: Semantics, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a step keeps of the current, 0 where there is none, and the gain from input to potential."""
    if node.kind != "CubaLIF":
        return np.zeros(1), gain
    tau = node.numbers("tau_syn", infinite=True)
    w_in = node.numbers("w_in") if "w_in" in node.fields and how.gain != "one" else np.ones(1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(tau == 0, 1.0, how.dt / tau)
        kept = np.where(tau == 0, 0.0, 1 - share if how.leak == EULER else np.exp(-share))
        taken = np.where(tau == 0, 1.0, share if how.leak == EULER else -np.expm1(-share))
    kept = np.where(np.abs(kept) <= _ONE, 0.0, kept)
    whole = gain * w_in * (1.0 if how.gain == "one" else taken)
    return kept, np.where(np.abs(whole - 1) <= _ONE, 1.0, whole)


def _out_of_step(node: Node, keep: np.ndarray, gain: np.ndarray, how: Semantics) -> list[Issue]:
    """A time constant far from the step: a neuron without memory, or one that its input does not move."""
    if node.kind == "IF":
        if (gain >= _LEAST_GAIN).all() or not (gain > 0).all():
            return []
        hint = f"say the step that r is meant for, such as --nir dt={how.dt / float(gain.max()):g}, or gain=one"
        return [Issue("an input that moves the neuron", str(node), f"input times {_range(gain)}", "about 1", hint)]
    tau = node.numbers("tau_mem" if node.kind == "CubaLIF" else "tau", infinite=True)
    finite = tau[np.isfinite(tau) & (tau > 0)]
    if not finite.size:
        return []
    least = float(finite.min())
    memoryless = ((keep < _LEAST_KEPT) & (keep != 0 if how.leak == EULER else True)).any() and (keep >= 0).all()
    dead = bool((gain < _LEAST_GAIN).any() and np.isfinite(gain).all() and (gain > 0).all())
    if not memoryless and not dead:
        return []
    fits = 10.0 ** np.floor(np.log10(least / 2))
    got = f"tau {_range(tau)} with dt = {how.dt:g}: {_range(keep)} kept, input times {_range(gain)}"
    rule = "a leak that leaves a memory" if memoryless else "an input that moves the neuron"
    return [
        Issue(rule, str(node), got, "tau in the unit of dt", f"the step in tau's unit, such as --nir dt={fits:g}")
    ]


def _bounded(node: Node, threshold: np.ndarray, how: Semantics) -> list[Issue]:
    if how.v_min != AT_THRESHOLD or node.kind != "IF" or np.unique(threshold).size <= 1:
        return []
    hint = "v_min=none for neurons that were trained without a bound, or v_min=NUMBER"
    return [Issue("one lower bound a layer", str(node), f"thresholds {_range(threshold)}", "one threshold", hint)]


def _lower_bound(node: Node, threshold: np.ndarray, gain: float, how: Semantics) -> float | None:
    if how.v_min == AT_THRESHOLD:
        return -float(threshold.flat[0]) / gain if node.kind == "IF" else None
    return None if how.v_min is None else float(how.v_min) / gain


def _delayed(node: Node, keep: np.ndarray, how: Semantics) -> list[Issue]:
    """A subtraction in snnTorch is ours only without a leak, and only one step late; Synaptic's zero only at once."""
    if node.kind == "CubaLIF" and how.reset is Reset.ZERO and how.reset_delay:
        got, hint = "zero with reset_delay=True", "reset_delay=false if it was trained so; else train it so"
        return [Issue("snnTorch's reset", str(node), got, "reset_delay=False: a late one clears new input too", hint)]
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
