# SPDX-License-Identifier: Apache-2.0
"""Quantises a folded real network to a chip's integers.

What: each layer's weights, bias and threshold are multiplied by one factor and rounded half to even; the factor is
the largest with which all of them fit, the rule of sinabs 3.1.3 ``discretize.py``::

    scale = min(fit(weight), fit(bias), threshold_max / threshold),   w_int = rint(scale * w), ...

where ``fit(a)`` is ``(2^(bits-1) - 1) / max(a)`` or ``2^(bits-1) / |min(a)|``, whichever side binds. Where a chip
bounds the sum of one step (Loihi's current wraps), the factor is also at most what keeps the largest possible sum,
``max_count * sum |w| + |b|``, below that bound after rounding. A common factor
leaves an integrate-and-fire neuron's spikes unchanged; what changes them is the rounding alone.

Precondition: conv or dense layers with a spiking layer after each, no batch norm, gates or average pools, thresholds
above 0 and uniform within a layer, a reset and a leak that the chip has. Everything else is refused, all at once; see
`passes.quantisable`.

Bound: a rounded weight is off by at most ``0.5 / scale``; the threshold likewise; a leak by ``2^-(shift+1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Block, Layer, Network, SpikingLayer, WeightLayer
from spikefold.export.neuron import Fire, Leak, Neuron, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Concat, Conv2d, Dense, SumPool2d
from spikefold.export.passes.network_pass import reporting_pass
from spikefold.export.passes.quantisable import refuse_unsupported

STEP = "quantise"


@dataclass(frozen=True)
class LayerScale:
    """How one layer was quantised: the factor, what bound it, what rounding did to it, and what its states can reach.

    Attributes:
        layer: the weight layer.
        scale: the common factor.
        bound_by: weight, bias, threshold or sum: which of them allowed no more.
        weight_error: largest error of a weight, in real units.
        zeroed_share: share of weights other than 0 that became 0.
        ties: weights exactly between two whole numbers; they went to the even one.
        effective_bits: of the largest weight, sign included.
        threshold: of the neurons behind it.
        max_weight_over_threshold: above 1 a single event can fire several times' worth.
        sum_bound: largest absolute sum of one step that any input can make, from weights, fan-in and largest count;
            None where nothing bounds the events of an input.
        state_bounds: lowest and highest state before firing that any clip can make, in weight units; None likewise.
        overflow_excluded: whether those bounds fit the state's width; None where one of them is unknown.
    """

    layer: str
    scale: float
    bound_by: str
    weight_error: float
    zeroed_share: float
    ties: int
    effective_bits: float
    threshold: int
    max_weight_over_threshold: float
    sum_bound: int | None
    state_bounds: tuple[int, int] | None
    overflow_excluded: bool | None

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)


@reporting_pass(STEP)
def quantise(
    network: Network, chip: NumberFormat
) -> tuple[Sequence[Layer], Callable[[Network], tuple[LayerScale, ...]]]:
    """The integer network for one chip, and how each layer was rounded.

    Raises:
        UnsupportedError: with every layer that breaks the precondition.
    """
    refuse_unsupported(network, chip)
    layers: list[Layer] = []
    scales: dict[str, tuple[Block, float, str]] = {}
    for layer in network:
        if isinstance(layer, WeightLayer):
            scale, bound_by = common_scale(network, layer, chip)
            weight, bias = _rounded(layer.op.weight, scale), layer.op.bias
            op = replace(layer.op, weight=weight, bias=None if bias is None else _rounded(bias, scale))
            layers.append(replace(layer, op=op))
            scales[layer.name] = (network.block(layer.name), scale, bound_by)
        elif isinstance(layer, SpikingLayer):
            layers.append(replace(layer, op=integer_neuron(layer.op, scales[layer.inputs[0]][1], chip)))
        else:
            layers.append(layer)
    return layers, lambda quantised: tuple(_report(quantised, *entry) for entry in scales.values())


def common_scale(network: Network, layer: Layer, chip: NumberFormat) -> tuple[float, str]:
    """The layer's factor, and which of weight, bias, threshold and sum bound it.

    Raises:
        UnsupportedError: it is no weight layer before neurons of its own.
    """
    block = network.block(layer.name)
    return scale_for(block.op, block.neuron, most_events(network, layer), chip, network.input.steps)


def scale_for(
    op: Conv2d | Dense, neuron: Neuron, most: int, chip: NumberFormat, steps: int | None = None
) -> tuple[float, str]:
    """The factor of a weight layer with these neurons, each of its inputs carrying at most ``most`` events a step.

    A current that lasts adds up over ``steps``, or for ever where they are not known.
    """
    threshold = chip.threshold_max - raised(neuron)
    fits = {"weight": _fit(op.weight, chip.weight_bits), "threshold": threshold / float(neuron.threshold)}
    if op.bias is not None and chip.bias_bits is not None:
        fits["bias"] = _fit(op.bias, bias_width(neuron, chip.bias_bits, chip))
    if chip.sum_max is not None:
        fits["sum"] = _fit_sum(op, most, int(chip.sum_max / added_up(_rounded_leak(neuron.current, chip), steps)))
    name = min(fits, key=lambda key: fits[key])
    return fits[name], name


def bias_width(neuron: Neuron, bits: int, chip: NumberFormat) -> int:
    """The width of a bias before these neurons, where that of any bias is ``bits``."""
    lasts = neuron.current is not None and chip.lasting_bias_bits is not None
    return chip.lasting_bias_bits or bits if lasts else bits


def added_up(current: Leak | None, steps: int | None) -> float:
    """How many times one step's input a current can hold after so many steps, or ever.

    Raises:
        UnsupportedError: nothing bounds it.
    """
    if current is None:
        return 1.0
    share = current.keep / 2**current.shift
    if share == 1 and steps is None:
        raise UnsupportedError("a synaptic current that never ends", hint="train one that decays")
    if share == 1:
        return float(steps or 1)
    return (1 - (0.0 if steps is None else share**steps)) / (1 - share)


def _rounded_leak(current: Leak | None, chip: NumberFormat) -> Leak | None:
    if current is None or chip.current_shift is None:
        return current
    return Leak(int(np.rint(current.keep * 2**chip.current_shift)), chip.current_shift)


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
        raise UnsupportedError(
            f"{fan_in} inputs of up to {most} events each can exceed the largest sum {limit}",
            hint="shorter time steps, or a smaller kernel",
        )
    return room / largest if largest else float("inf")


def most_events(network: Network, layer: Layer) -> int:
    """Most events that one input of this layer can carry in one step; 1 where the network sets no bound."""
    return sum(_events(network, name)[0] for name in layer.inputs)


def _events(network: Network, name: str) -> tuple[int, bool]:
    """Most events that one value of this layer stands for in one step, and whether anything bounds them."""
    op = None if name == INPUT else network[name].op
    if isinstance(op, SumPool2d | Concat):
        found = [_events(network, source) for source in network[name].inputs]
        counts, bounded = [most for most, _ in found], all(bound for _, bound in found)
        return (max(counts) if isinstance(op, Concat) else op.kernel[0] * op.kernel[1] * sum(counts)), bounded
    limit = network.input.max_count if op is None else getattr(op, "max_spikes", None)
    return limit or 1, limit is not None


def _rounded(values: np.ndarray, scale: float) -> np.ndarray:
    return np.rint(values * scale).astype(np.int64)


def raised(neuron: Neuron) -> int:
    """Among whole numbers v > k is v >= k + 1."""
    return int(neuron.leak is None and neuron.current is None and neuron.fire is Fire.GT)


def integer_neuron(neuron: Neuron, scale: float, chip: NumberFormat) -> Neuron:
    """The chip's neuron for a layer of this factor."""
    leak = neuron.leak
    if leak is not None and chip.leak_shift is not None:
        leak = Leak(int(np.rint(leak.keep * 2**chip.leak_shift)), chip.leak_shift)
    threshold = _rounded(neuron.threshold, scale) + raised(neuron)
    v_min = chip.v_min
    if v_min is not None:
        least = v_min if neuron.v_min is None else max(v_min, int(np.rint(neuron.v_min * scale)))
        v_min = least * 2**chip.state_shift  # a neuron's bound counts in the unit of its state
    return replace(
        neuron,
        threshold=threshold,
        leak=leak,
        current=_rounded_leak(neuron.current, chip),
        v_min=v_min,
        fire=Fire.GE if leak is None and neuron.current is None else chip.fire_leaky,
        state_shift=chip.state_shift,
        state_bits=chip.state_bits,
        overflow=chip.overflow,
    )


def _report(network: Network, real: Block, scale: float, bound_by: str) -> LayerScale:
    layer, made = real.weights, network.block(real.weights.name)
    original, rounded, neuron = real.op.weight, made.op.weight, made.neuron
    theta = int(neuron.threshold)
    nonzero = int((original != 0).sum())
    sums = states = fits = None
    if _is_bounded(network, layer):
        sums = sum_bounds(made.op, most_events(network, layer))
        lasts = added_up(neuron.current, network.input.steps)
        driven = (int(np.floor(sums[0] * lasts)), int(np.ceil(sums[1] * lasts)))
        states = state_bounds(neuron, driven, network.input.steps)
    if neuron.state_bits is not None and states is not None:
        most = (2 ** (neuron.state_bits - 1) - 1) // 2**neuron.state_shift
        fits = -most <= states[0] and states[1] <= most
    return LayerScale(
        layer.name,
        float(scale),
        bound_by,
        weight_error=float(np.abs(rounded / scale - original).max()),
        zeroed_share=float(((rounded == 0) & (original != 0)).sum() / nonzero) if nonzero else 0.0,
        ties=int((np.abs(original * scale - np.trunc(original * scale)) == 0.5).sum()),
        effective_bits=float(np.log2(2 * int(np.abs(rounded).max()) + 1)),
        threshold=theta,
        max_weight_over_threshold=float(rounded.max() / theta),
        sum_bound=None if sums is None else max(-sums[0], sums[1]),
        state_bounds=states,
        overflow_excluded=fits,
    )


def _is_bounded(network: Network, layer: Layer) -> bool:
    """Whether something bounds the events that each input of this layer carries in one step."""
    return all(_events(network, name)[1] for name in layer.inputs)


def sum_bounds(op: Conv2d | Dense, most: int) -> tuple[int, int]:
    """Lowest and highest sum of one step, each input between 0 and ``most``, the bias included."""
    rows = op.weight.reshape(len(op.weight), -1) * most
    bias = np.zeros(len(rows), np.int64) if op.bias is None else op.bias
    low, high = rows.clip(max=0).sum(axis=1) + bias, rows.clip(min=0).sum(axis=1) + bias
    return min(0, int(low.min())), max(0, int(high.max()))


def state_bounds(neuron: Neuron, sums: tuple[int, int], steps: int) -> tuple[int, int]:
    """Lowest and highest state before firing over a clip from zero state; a leak only brings states nearer to 0.

    After each step a state is below the threshold, or reset; only subtraction with a bounded number of spikes can
    leave more, so that every step may add to it.
    """
    low, high = sums
    kept = max(int(neuron.threshold) - 1, int(neuron.reset_value))
    if neuron.reset is Reset.SUBTRACT and neuron.max_spikes is not None:
        kept = (steps - 1) * high
    lowest = (steps - 1) * low + min(0, int(neuron.reset_value))
    if neuron.v_min is not None:
        lowest = max(int(neuron.v_min), lowest)
    return lowest + low, max(kept, 0) + high
