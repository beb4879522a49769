# SPDX-License-Identifier: Apache-2.0
"""What a ``.net`` file, netx or Loihi 2 cannot carry exactly: one small function a rule, its docstring is the rule.

lava's simulator accepts most of these silently and computes something else, so they are checked here. Numbers are in
units of the int8 weight q; the file holds ``2q``, so a width of the chip is one bit less here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Fire, Neuron, Order, Overflow, Reset
from spikefold.export.ops import Conv2d, Dense

STATE_SHIFT, STATE_BITS, LEAK_SHIFT = 7, 24, 12
_STATE = (STATE_SHIFT, STATE_BITS, Overflow.SATURATE)
WEIGHT_MIN, WEIGHT_MAX = -128, 127
BIAS_MIN, BIAS_MAX = -2048, 2047
THRESHOLD_MAX = 2**16 - 1
SUM_MAX = 2**16 - 1
"""netx's current wraps above ``2**23``, 128 a weight unit."""


def violations(network: Network, *, max_count: int | None = None) -> list[Issue]:
    """Every rule that the network breaks, all at once.

    Args:
        network: integer, quantised with ``hardware.loihi.NUMBERS``.
        max_count: most events of one input and time bin; the network's own bound by default, 1 where it has none.
    """
    if unquantised := _whole_numbers(network):
        return unquantised
    most = max_count or network.input.max_count or 1
    issues: list[Issue] = []
    for before, layer in zip((None, *network.layers), network.layers, strict=False):
        where = layer.name
        issues += _chain(network, before, layer)
        if isinstance(layer.op, Neuron):
            issues += _neuron(layer.op, where)
        elif isinstance(layer.op, Conv2d | Dense):
            count = most if layer.inputs == (INPUT,) else 1
            issues += [*_weights(layer.op, where), *_sums(layer.op, where, count)]
            issues += _dense(layer.op, where) if isinstance(layer.op, Dense) else []
    return issues


def _whole_numbers(network: Network) -> list[Issue]:
    """The network is quantised: whole numbers in units of an int8 weight."""
    if network.is_integer:
        return []
    return [Issue("whole numbers", "network", "real numbers", "integers", "quantise it for Loihi 2 first")]


def _chain(network: Network, before: Layer | None, layer: Layer) -> Iterator[Issue]:
    """A chain of convolutions, then of dense layers, each with its neurons; netx has no pools and no branches."""
    op, expected = layer.op, (before.name if before else INPUT,)
    if layer.inputs != expected:
        hint = "netx reads a chain; it has no skip connections"
        yield Issue("one chain", layer.name, f"inputs {layer.inputs}", str(expected), hint)
    if not isinstance(op, Conv2d | Dense | Neuron):
        hint = "fold the pool into the weight layer after it"
        yield Issue("operation", layer.name, type(op).__name__, "conv, dense, neuron", hint)
    elif isinstance(op, Neuron) != (before is not None and isinstance(before.op, Conv2d | Dense)):
        after = type(before.op).__name__ if before else "the input"
        hint = "fold what lies between, or add a spiking layer"
        yield Issue(
            "weights and neurons alternate", layer.name, f"{type(op).__name__} after {after}", "the other", hint
        )
    earlier = network.layers[: network.layers.index(layer)]
    if isinstance(op, Conv2d) and any(isinstance(other.op, Dense) for other in earlier):
        yield Issue("conv before dense", layer.name, "conv after dense", "dense only", "write it as a dense layer")


def _weights(op: Conv2d | Dense, where: str) -> Iterator[Issue]:
    """Weights are int8, biases have 12 bits; Loihi 2 stores both doubled."""
    ranges = [("weight", op.weight, WEIGHT_MIN, WEIGHT_MAX), ("bias", op.bias, BIAS_MIN, BIAS_MAX)]
    for what, values, low, high in ranges:
        if values is not None and (values.min() < low or values.max() > high):
            got = f"[{values.min()}, {values.max()}]"
            yield Issue(what, where, got, f"[{low}, {high}]", "quantise the network for Loihi 2")


def _sums(op: Conv2d | Dense, where: str, count: int) -> Iterator[Issue]:
    """All inputs of one sign at their highest count, plus the bias, stay below 2^16: beyond it the sum wraps."""
    rows = op.weight.reshape(len(op.weight), -1) * count
    bias = np.zeros(len(rows), np.int64) if op.bias is None else np.abs(op.bias)
    sums = np.maximum(rows.clip(min=0).sum(axis=1), -rows.clip(max=0).sum(axis=1)) + bias
    if sums.max() > SUM_MAX:
        over = int((sums > SUM_MAX).sum())
        hint = f"{over} outputs: prune or scale down the weights, or bin into shorter steps (highest count {count})"
        yield Issue("sum of weights", where, str(int(sums.max())), str(SUM_MAX), hint)


def _dense(op: Dense, where: str) -> Iterator[Issue]:
    """Netx scales a dense matrix to 8 bits: not one of zeros; nor one without a positive weight whose least is -2^k.

    The latter becomes -256, is clipped to -255 and then loses its low bits: -128 can act as -64.
    """
    low, high = int(op.weight.min()), int(op.weight.max())
    if low == high == 0:
        yield Issue("dense weights", where, "all zero", "one other than 0", "the layer is dead; remove it or retrain")
    elif high <= 0 and (-low & (-low - 1)) == 0:
        hint = "a layer that only inhibits fires by its bias alone; retrain it, or raise that weight by 1"
        yield Issue("dense weights", where, f"none positive, lowest {low}", "lowest not -2^k", hint)


def _neuron(neuron: Neuron, where: str) -> list[Issue]:
    """CUBA neurons: one threshold a layer, reset to zero, one spike a step, ``>=`` without a leak, ``>`` with one."""
    theta, leak = neuron.threshold, neuron.leak
    # without a leak states are whole weight units, so >= has an exact > between two of them; with one they are not
    fires = neuron.fire is Fire.GT or leak is None
    shift = "none" if leak is None else f"{leak.keep}/2^{leak.shift}"
    state = (neuron.state_shift, neuron.state_bits, neuron.overflow)
    rules = [
        (bool((theta == theta.flat[0]).all()), "one threshold a layer", f"{theta.min()} to {theta.max()}", "a scalar",
         "fold per-channel factors into the weights"),
        (int(theta.max()) <= THRESHOLD_MAX, "threshold", str(theta.max()), str(THRESHOLD_MAX), "quantise it again"),
        (neuron.reset is Reset.ZERO, "reset", neuron.reset.value, Reset.ZERO.value, "train with a reset to zero"),
        (neuron.max_spikes == 1, "spikes a step", str(neuron.max_spikes), "1", "train with one spike a step"),
        (neuron.v_min is None, "lower bound of the state", str(neuron.v_min), "none", "train without it"),
        (leak is None or leak.shift == LEAK_SHIFT, "leak", shift, f"keep/2^{LEAK_SHIFT}", "quantise it for Loihi 2"),
        (neuron.order is Order.LEAK_FIRST, "order", neuron.order.value, Order.LEAK_FIRST.value,
         "train with the leak before the input"),
        (fires, "fire", neuron.fire.value, Fire.GT.value, "leaky neurons of Loihi fire above their threshold only"),
        (state == _STATE, "state shift, bits, overflow", _words(state), _words(_STATE), "quantise it for Loihi 2"),
    ]  # fmt: skip
    return [Issue(rule, where, got, limit, hint) for holds, rule, got, limit, hint in rules if not holds]


RULES = (_whole_numbers, _chain, _weights, _sums, _dense, _neuron)
"""What `violations` checks."""


def _words(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))
