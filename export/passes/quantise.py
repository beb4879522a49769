# SPDX-License-Identifier: Apache-2.0
"""Quantise a folded real network to a chip's integers.

What: each layer's weights, bias and threshold are multiplied by one factor and rounded half to even; the factor is
the largest with which all of them fit, the rule of sinabs 3.1.3 ``discretize.py``::

    scale = min(fit(weight), fit(bias), threshold_max / threshold),   w_int = rint(scale * w), ...

where ``fit(a)`` is ``(2^(bits-1) - 1) / max(a)`` or ``2^(bits-1) / |min(a)|``, whichever side binds. Where a chip
bounds the sum of one step (Loihi's current wraps), the factor is also at most what keeps the largest possible sum,
``max_count * sum |w| + |b|``, below that bound after rounding. A common factor
leaves an integrate-and-fire neuron's spikes unchanged; what changes them is the rounding alone.

Precondition: conv or dense layers with a spiking layer after each, no batch norm, gates or average pools, thresholds
above 0 and uniform within a layer, a reset and a leak that the chip has. Everything else is refused, all at once.

Bound: a rounded weight is off by at most ``0.5 / scale``; the threshold likewise; a leak by ``2^-(shift+1)``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense, SumPool2d


@dataclass(frozen=True)
class LayerScale:
    """How one layer was quantised: the factor, what bound it, and what rounding did to it."""

    layer: str
    scale: float
    bound_by: str
    weight_error: float
    zeroed_share: float
    effective_bits: float
    threshold: int
    max_weight_over_threshold: float

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)


def quantise(network: Network, chip: NumberFormat) -> tuple[Network, tuple[LayerScale, ...]]:
    """The integer network for one chip, and how each layer was rounded.

    Raises:
        UnsupportedError: with every layer that breaks the precondition.
    """
    refuse_unsupported(network, chip)
    layers, scales = [], {}
    for layer in network:
        if isinstance(layer.op, Conv2d | Dense):
            scale, bound_by = common_scale(network, layer, chip)
            weight, bias = _rounded(layer.op.weight, scale), layer.op.bias
            op = replace(layer.op, weight=weight, bias=None if bias is None else _rounded(bias, scale))
            layers.append(replace(layer, op=op))
            scales[layer.name] = (layer, scale, bound_by, weight)
        elif isinstance(layer.op, Neuron):
            layers.append(replace(layer, op=_integer_neuron(layer.op, scales[layer.inputs[0]][1], chip)))
        else:
            layers.append(layer)
    quantised = network.rewritten(layers, "quantise")
    return quantised, tuple(_report(quantised, *entry) for entry in scales.values())


def common_scale(network: Network, layer: Layer, chip: NumberFormat) -> tuple[float, str]:
    """The layer's factor, and which of weight, bias, threshold and sum bound it."""
    op, neuron = layer.op, _neuron_after(network, layer).op
    if not isinstance(op, Conv2d | Dense) or not isinstance(neuron, Neuron):
        raise UnsupportedError("only a weight layer before neurons has a scale", where=layer.name)
    most = chip.threshold_max - _raised(neuron)
    fits = {"weight": _fit(op.weight, chip.weight_bits), "threshold": most / float(neuron.threshold)}
    if op.bias is not None:
        fits["bias"] = _fit(op.bias, chip.bias_bits)
    if chip.sum_max is not None:
        fits["sum"] = _fit_sum(op, _most(network, layer), chip.sum_max)
    name = min(fits, key=lambda key: fits[key])
    return fits[name], name


def _fit(values: np.ndarray, bits: int) -> float:
    low, high = float(values.min()), float(values.max())
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if low == high == 0:
        return float("inf")
    return abs(most / high) if abs(low) <= abs(high) * abs(least / most) else abs(least / low)


def _fit_sum(op: Conv2d | Dense, most: int, limit: int) -> float:
    """Rounding adds at most 1/2 to each weight and to the bias; that share of the limit is kept free."""
    fan_in = op.weight[0].size
    bias = np.zeros(len(op.weight)) if op.bias is None else np.abs(op.bias)
    largest = float((most * np.abs(op.weight).reshape(len(op.weight), -1).sum(axis=1) + bias).max())
    room = limit - (most * fan_in + 1) / 2
    if room <= 0:
        raise UnsupportedError(f"{fan_in} inputs of up to {most} events each can exceed the largest sum {limit}",
                               hint="shorter time steps, or a smaller kernel")  # fmt: skip
    return room / largest if largest else float("inf")


def _most(network: Network, layer: Layer) -> int:
    """Most events that one input of this layer can carry in one step; 1 where the network does not say."""
    most = 0
    for name in layer.inputs:
        factor = 1
        while name != INPUT and isinstance(network[name].op, SumPool2d):
            pool = network[name].op
            factor *= pool.kernel[0] * pool.kernel[1] if isinstance(pool, SumPool2d) else 1
            name = network[name].inputs[0]
        most += factor * ((network.input.max_count or 1) if name == INPUT else 1)
    return most


def _rounded(values: np.ndarray, scale: float) -> np.ndarray:
    return np.rint(values * scale).astype(np.int64)


def _neuron_after(network: Network, layer: Layer) -> Layer:
    return network.consumers(layer.name)[0]


def _raised(neuron: Neuron) -> int:
    """Among whole numbers v > k is v >= k + 1."""
    return int(neuron.leak is None and neuron.fire is Fire.GT)


def _integer_neuron(neuron: Neuron, scale: float, chip: NumberFormat) -> Neuron:
    leak = neuron.leak
    if leak is not None and chip.leak_shift is not None:
        leak = Leak(int(np.rint(leak.keep * 2**chip.leak_shift)), chip.leak_shift)
    threshold = _rounded(neuron.threshold, scale) + _raised(neuron)
    v_min = chip.v_min
    if v_min is not None and neuron.v_min is not None:
        v_min = max(v_min, int(np.rint(neuron.v_min * scale)))
    return replace(
        neuron,
        threshold=threshold,
        leak=leak,
        v_min=v_min,
        fire=Fire.GE if leak is None else chip.fire_leaky,
        state_shift=chip.state_shift,
        state_bits=chip.state_bits,
        overflow=chip.overflow,
    )


def refuse_unsupported(network: Network, chip: NumberFormat) -> None:
    """Name every layer that breaks the precondition, in one error."""
    issues = [issue for layer in network for issue in _unsupported(network, layer, chip)]
    if issues:
        raise UnsupportedError("the network cannot be quantised for this chip", issues=issues)


def _unsupported(network: Network, layer: Layer, chip: NumberFormat) -> list[Issue]:
    op, where = layer.op, layer.name
    if isinstance(op, Neuron):
        return _unsupported_source(network, layer) + _unsupported_neuron(op, where, chip)
    if isinstance(op, Conv2d | Dense):
        after = network.consumers(where)
        if len(after) == 1 and isinstance(after[0].op, Neuron):
            return []
        hint = "fold pooling, batch norm and gates first"
        return [Issue("a spiking layer after each weight layer", where, str([la.name for la in after]), "one", hint)]
    if isinstance(op, SumPool2d):
        return []
    return [Issue("operation", where, type(op).__name__, "conv, dense, sum pool, neuron", "fold it first")]


def _unsupported_source(network: Network, layer: Layer) -> list[Issue]:
    weights = [name for name in layer.inputs if name != INPUT and isinstance(network[name].op, Conv2d | Dense)]
    if len(weights) == len(layer.inputs) == 1:
        return []
    hint = "each weight layer has a factor of its own, and neurons need exactly one"
    return [Issue("one weight layer before each spiking layer", layer.name, str(list(layer.inputs)), "one", hint)]


def _unsupported_neuron(neuron: Neuron, where: str, chip: NumberFormat) -> list[Issue]:
    resets = "/".join(sorted(chip.resets))
    rules = [
        (neuron.threshold.ndim == 0, "one threshold a layer", f"shape {neuron.threshold.shape}", "a scalar",
         "fold per-channel factors into the weights"),
        (neuron.reset in chip.resets, "reset", neuron.reset.value, resets, f"train with reset {resets}"),
        (neuron.leak is None or chip.leak_shift is not None, "leak", str(neuron.leak), "none",
         "train integrate-and-fire neurons for this chip"),
        (neuron.v_min is None or chip.v_min is not None, "lower bound of the state", str(neuron.v_min), "none",
         "train without a lower bound for this chip"),
        (neuron.max_spikes == 1 or chip.multi_spike, "spikes a step", str(neuron.max_spikes), "1",
         "train with one spike a step"),
    ]  # fmt: skip
    return [Issue(rule, where, got, limit, hint) for holds, rule, got, limit, hint in rules if not holds]


def _report(network: Network, layer: Layer, scale: float, bound_by: str, rounded: np.ndarray) -> LayerScale:
    if not isinstance(layer.op, Conv2d | Dense):
        raise UnsupportedError("only weight layers have a scale", where=layer.name)
    original = layer.op.weight
    neuron = _neuron_after(network, layer).op
    theta = int(neuron.threshold) if isinstance(neuron, Neuron) else 0
    nonzero = int((original != 0).sum())
    largest = int(np.abs(rounded).max())
    return LayerScale(
        layer.name,
        float(scale),
        bound_by,
        weight_error=float(np.abs(rounded / scale - original).max()),
        zeroed_share=float(((rounded == 0) & (original != 0)).sum() / nonzero) if nonzero else 0.0,
        effective_bits=float(np.log2(2 * largest + 1)),
        threshold=theta,
        max_weight_over_threshold=float(rounded.max() / theta),
    )
