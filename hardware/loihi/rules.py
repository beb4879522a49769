# SPDX-License-Identifier: Apache-2.0
"""Checks what Loihi 2, or the ``.net`` file that leads there, cannot carry: one function a rule, its text the rule.

lava's simulator accepts most of these silently and computes something else, so they are checked here (each is shown
doing so in ``tests/hardware/loihi/test_traps.py``). Shapes and kinds of neurons are checked in real networks too,
numbers in integer ones only.

A layer counts in int8 weights q, of which the file holds ``2q`` (`Site.unit` 2, states in 1/128), so a width of the
chip is one bit less. A layer read from somebody else's file may count in the file's own half weights instead (unit 1,
states in 1/64), where its threshold is an odd number of them; limits in those are twice as high.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Overflow, Reset
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi import always_on
from spikefold.hardware.loihi.cores import NEURONS, SYNAPTIC_WORDS

STATE_SHIFT, STATE_BITS, LEAK_SHIFT = 7, 24, 12
FILE_SHIFT = STATE_SHIFT - 1
"""The file counts in half weights."""
WEIGHT_MIN, WEIGHT_MAX, ONE_SIGN_MAX = -256, 254, 255
BIAS_MIN, BIAS_MAX = -(2**12), 2**12 - 1
THRESHOLD_MAX = 2**16 - 1
SUM_MAX = 2**16 - 1
"""netx's current wraps above ``2**23``, 128 a weight unit."""


@dataclass(frozen=True, eq=False)
class Site:
    """One layer as the rules see it; ``count`` is the most events that one of its inputs carries in one step."""

    network: Network
    layer: Layer
    count: int

    @property
    def weights(self) -> Conv2d | Dense | None:
        """The operation, where it has weights."""
        return self.layer.op if isinstance(self.layer.op, Conv2d | Dense) else None

    @property
    def whole(self) -> Conv2d | Dense | None:
        """The operation, where it has integer weights."""
        return self.weights if self.network.is_integer else None

    @property
    def neuron(self) -> Neuron | None:
        """The operation, where it is spiking."""
        return self.layer.op if isinstance(self.layer.op, Neuron) else None

    @property
    def whole_neuron(self) -> Neuron | None:
        """The operation, where it is spiking and integer."""
        return self.neuron if self.network.is_integer else None

    @property
    def driven(self) -> Neuron | None:
        """The neurons of this layer, or those that its weights drive."""
        after = self.network.consumers(self.layer.name)
        op = self.neuron if self.neuron is not None else after[0].op if after else None
        return op if isinstance(op, Neuron) else None

    @property
    def unit(self) -> int:
        """How many of the file's half weights one of this layer's numbers counts."""
        return 1 if self.driven is not None and self.driven.state_shift == FILE_SHIFT else 2

    @property
    def before(self) -> Layer | None:
        """The layer before it in the file's order."""
        index = self.network.layers.index(self.layer)
        return self.network.layers[index - 1] if index else None


Rule = Callable[[Site], Iterator[Issue]]


def broken(rules: tuple[Rule, ...], network: Network, max_count: int | None = None) -> list[Issue]:
    """Everything in the network that breaks one of these rules, layer by layer.

    Args:
        rules: which.
        network: real or integer.
        max_count: most events of one input and time bin; the network's own bound by default, 1 where it has none.
    """
    most = max_count or network.input.max_count or 1
    sites = [Site(network, layer, most if layer.inputs == (INPUT,) else 1) for layer in network]
    return [issue for site in sites for rule in rules for issue in rule(site)]


def one_chain(site: Site) -> Iterator[Issue]:
    """Each layer reads the one before it: netx has no skip connections, no sums and no branches."""
    expected = (site.before.name if site.before else INPUT,)
    if site.layer.inputs != expected:
        yield _issue(one_chain, site, f"inputs {site.layer.inputs}", str(expected), "merge the branches")


def operations(site: Site) -> Iterator[Issue]:
    """A layer is a convolution, a dense layer or spiking; there are no pools."""
    if site.weights is None and site.neuron is None:
        hint = "fold the pool into the weight layer after it"
        yield _issue(operations, site, type(site.layer.op).__name__, "conv, dense, spiking", hint)


def weights_and_neurons_alternate(site: Site) -> Iterator[Issue]:
    """Weight layers and spiking layers alternate, a weight layer first."""
    before = site.before
    has_weights_before = before is not None and isinstance(before.op, Conv2d | Dense)
    if (site.weights is not None or site.neuron is not None) and (site.neuron is not None) != has_weights_before:
        got = f"{type(site.layer.op).__name__} after {type(before.op).__name__ if before else 'the input'}"
        hint = "fold what lies between, or add a spiking layer"
        yield _issue(weights_and_neurons_alternate, site, got, "the other kind", hint)


def convolutions_first(site: Site) -> Iterator[Issue]:
    """No convolution follows a dense layer: netx cannot make a map of a vector again."""
    layers = site.network.layers
    earlier = layers[: layers.index(site.layer)]
    if isinstance(site.layer.op, Conv2d) and any(isinstance(layer.op, Dense) for layer in earlier):
        yield _issue(convolutions_first, site, "conv after dense", "dense only", "write it as a dense layer")


def channels_of_a_core(site: Site) -> Iterator[Issue]:
    """A core holds fewer than 4096 neurons, all channels of a pixel among them: 4095 channels (estimate)."""
    channels = site.network.shapes[site.layer.name][0]
    if isinstance(site.layer.op, Conv2d) and channels > NEURONS:
        yield _issue(channels_of_a_core, site, str(channels), str(NEURONS), f"use {NEURONS} channels")


def inputs_of_a_dense_layer(site: Site) -> Iterator[Issue]:
    """A core holds 12000 synaptic words, at least one for each input of a dense layer: 12000 inputs (estimate)."""
    inputs = site.layer.op.weight.shape[1] if isinstance(site.layer.op, Dense) else 0
    if inputs > SYNAPTIC_WORDS:
        hint = f"stride or pool by {int(np.ceil(np.sqrt(inputs / SYNAPTIC_WORDS)))} before it, or use fewer channels"
        yield _issue(inputs_of_a_dense_layer, site, str(inputs), str(SYNAPTIC_WORDS), hint)


def weights_of_eight_bits(site: Site) -> Iterator[Issue]:
    """A weight is -128 to 127; in half weights an even -256 to 254, or up to 255 where a layer has one sign only.

    lava's convolution takes any, its dense layer clips them.
    """
    if site.whole is None:
        return
    weight, unit = site.whole.weight * site.unit, site.unit
    low, high = int(weight.min()), int(weight.max())
    one_sign = (low >= 0 or high <= 0) and max(high, -low) <= ONE_SIGN_MAX
    if not (one_sign and unit == 1) and (low < WEIGHT_MIN or high > WEIGHT_MAX or (weight % 2).any()):
        odd = ", odd ones among them" if (weight % 2).any() else ""
        limit = f"[{WEIGHT_MIN // unit}, {WEIGHT_MAX // unit}]" + (", even" if unit == 1 else "")
        got, hint = f"[{low // unit}, {high // unit}]{odd}", "quantise the network for Loihi"
        yield _issue(weights_of_eight_bits, site, got, limit, hint)


def biases_of_twelve_bits(site: Site) -> Iterator[Issue]:
    """A bias is -2048 to 2047, 13 bits in half weights; lava takes 16 bits and wraps beyond them."""
    bias = None if site.whole is None else site.whole.bias
    low, high = BIAS_MIN // site.unit, BIAS_MAX // site.unit
    if bias is not None and (bias.min() < low or bias.max() > high):
        hint = "quantise the network for Loihi"
        yield _issue(biases_of_twelve_bits, site, f"[{bias.min()}, {bias.max()}]", f"[{low}, {high}]", hint)


def sum_of_weights(site: Site) -> Iterator[Issue]:
    """All inputs of one sign at their highest count, plus the bias, stay below 2^16: beyond it the current wraps.

    Where a current lasts, all that it can add up to in a clip stays below it.
    """
    op = site.whole
    if op is None:
        return
    rows = op.weight.reshape(len(op.weight), -1) * site.count
    bias = np.zeros(len(rows), np.int64) if op.bias is None else np.abs(op.bias)
    sums = np.maximum(rows.clip(min=0).sum(axis=1), -rows.clip(max=0).sum(axis=1))
    current = None if site.driven is None else site.driven.current
    # beside a current that lasts a bias adds up too: it comes by a synapse
    once, lasting = (bias, 0) if current is None or not current.keep else (0, bias)
    sums = (
        np.array([largest_current(int(total), current, site.network.input.steps) for total in sums + lasting]) + once
    )
    most = (2 * SUM_MAX + 1) // site.unit
    if sums.max() > most:
        over = int((sums > most).sum())
        hint = (
            f"{over} outputs: prune or scale down the weights, or bin into shorter steps (highest count {site.count})"
        )
        yield _issue(sum_of_weights, site, str(int(sums.max())), str(most), hint)


def a_dense_weight_other_than_zero(site: Site) -> Iterator[Issue]:
    """A dense matrix is not all zero: netx divides by its largest weight."""
    if isinstance(site.whole, Dense) and not site.whole.weight.any():
        hint = "the layer is dead; remove it or retrain"
        yield _issue(a_dense_weight_other_than_zero, site, "all zero", "one other than 0", hint)


def no_lowest_power_of_two(site: Site) -> Iterator[Issue]:
    """A dense matrix without a positive weight does not have -2^k as its lowest.

    netx scales that one to -256, lava clips it to -255 and cuts its low bits: -128 can act as -64.
    """
    if not isinstance(site.whole, Dense):
        return
    low, high = int(site.whole.weight.min()), int(site.whole.weight.max())
    if low < 0 and high <= 0 and (-low & (-low - 1)) == 0:
        hint = "a layer that only inhibits fires by its bias alone; retrain it, or raise that weight by 1"
        yield _issue(no_lowest_power_of_two, site, f"none positive, lowest {low}", "lowest not -2^k", hint)


def one_threshold_a_layer(site: Site) -> Iterator[Issue]:
    """A layer has one threshold: the file has room for one."""
    theta = None if site.neuron is None else site.neuron.threshold
    if theta is not None and (theta != theta.flat[0]).any():
        got, hint = f"{theta.min()} to {theta.max()}", "fold per-channel factors into the weights"
        yield _issue(one_threshold_a_layer, site, got, "a scalar", hint)


def threshold_of_sixteen_bits(site: Site) -> Iterator[Issue]:
    """A threshold is at most 65535 (65536 with ``>=``), 17 bits in half weights; lava takes 32."""
    neuron = site.whole_neuron
    if neuron is None:
        return
    # `v >= k` of whole states is written as `v > k - 1/2`
    most = (2 * THRESHOLD_MAX + 1 + (neuron.fire is Fire.GE)) // site.unit
    if neuron.threshold.max() > most:
        got, hint = str(neuron.threshold.max()), "quantise it again"
        yield _issue(threshold_of_sixteen_bits, site, got, str(most), hint)


def reset_to_zero(site: Site) -> Iterator[Issue]:
    """A neuron that fired starts again from zero."""
    if site.neuron is not None and site.neuron.reset is not Reset.ZERO:
        got, hint = site.neuron.reset.value, "train with a reset to zero"
        yield _issue(reset_to_zero, site, got, Reset.ZERO.value, hint)


def one_spike_a_step(site: Site) -> Iterator[Issue]:
    """A neuron fires at most once a step."""
    if site.neuron is not None and site.neuron.max_spikes != 1:
        yield _issue(one_spike_a_step, site, str(site.neuron.max_spikes), "1", "train with one spike a step")


def no_lower_bound(site: Site) -> Iterator[Issue]:
    """A state has no lower bound but its width."""
    if site.neuron is not None and site.neuron.v_min is not None:
        yield _issue(no_lower_bound, site, str(site.neuron.v_min), "none", "train without it")


def leak_before_input(site: Site) -> Iterator[Issue]:
    """The state leaks before the input of a step is added."""
    if site.neuron is not None and site.neuron.leak is not None and site.neuron.order is not Order.LEAK_FIRST:
        hint = "train with the leak before the input"
        yield _issue(leak_before_input, site, site.neuron.order.value, Order.LEAK_FIRST.value, hint)


def leak_of_twelve_bits(site: Site) -> Iterator[Issue]:
    """A leak keeps k/4096 of the state, a current k/4096 of itself."""
    for leak in () if site.whole_neuron is None else (site.whole_neuron.leak, site.whole_neuron.current):
        if leak is not None and leak.shift != LEAK_SHIFT:
            got = f"{leak.keep}/2^{leak.shift}"
            yield _issue(leak_of_twelve_bits, site, got, f"keep/2^{LEAK_SHIFT}", "quantise it for Loihi 2")


def bias_beside_a_lasting_current(site: Site) -> Iterator[Issue]:
    """A bias beside a current that lasts is a weight of 8 bits behind a source that is always on.

    Loihi adds a bias to the state, our neurons to the current. The source is an input, and in each layer up to the
    last of these one neuron or more; a kernel needs a tap that never lies in the padding.
    """
    layer = next((layer for layer in site.network.weights if layer.name == site.layer.name), None)
    if layer is None or not always_on.carries(site.network, layer):
        return
    op, current = layer.op, None if site.driven is None else site.driven.current
    if isinstance(op, Conv2d) and always_on.free_tap(op, site.network.input_shape(layer)) is None:
        hint = "pad by less than half of the kernel, or train without that bias"
        yield _issue(bias_beside_a_lasting_current, site, f"padding {op.padding}", "a tap outside of it", hint)
    low, high = WEIGHT_MIN // 2, WEIGHT_MAX // 2
    bias = op.bias if site.network.is_integer and always_on.biased(site.network, layer) else None
    if bias is not None and (bias.min() < low or bias.max() > high):
        hint = "quantise the network for Loihi"
        yield _issue(bias_beside_a_lasting_current, site, f"[{bias.min()}, {bias.max()}]", f"[{low}, {high}]", hint)
    if site.whole_neuron is None and site.driven is not None and site.network.is_integer and current is not None:
        drive = always_on.needed(int(site.driven.threshold.max())) * high
        most = largest_current(drive, current, site.network.input.steps) + BIAS_MAX // 2
        if always_on.carried_on(site.network, layer) and most > SUM_MAX:
            hint = "scale weights and threshold down"
            yield _issue(bias_beside_a_lasting_current, site, f"{most} to stay on", str(SUM_MAX), hint)


def fires_above_its_threshold(site: Site) -> Iterator[Issue]:
    """A neuron fires above its threshold, ``>``; without a leak states are whole weights, and ``>=`` is exact too."""
    neuron = site.whole_neuron
    if neuron is None:
        return
    fractions = neuron.leak is not None or neuron.current is not None or site.unit == 1
    if fractions and neuron.fire is not Fire.GT:
        hint = "leaky neurons of Loihi, and those that count half weights, fire above their threshold only"
        yield _issue(fires_above_its_threshold, site, neuron.fire.value, Fire.GT.value, hint)


def state_of_24_bits(site: Site) -> Iterator[Issue]:
    """A state has 24 bits in units of 1/128 weight (1/64 half weight), and saturates."""
    neuron = site.whole_neuron
    wanted = (FILE_SHIFT if site.unit == 1 else STATE_SHIFT, STATE_BITS, Overflow.SATURATE)
    if neuron is not None and (neuron.state_shift, neuron.state_bits, neuron.overflow) != wanted:
        got = _words((neuron.state_shift, neuron.state_bits, neuron.overflow))
        hint = "shift, bits, overflow: quantise it for Loihi 2"
        yield _issue(state_of_24_bits, site, got, _words(wanted), hint)


NETX_RULES: tuple[Rule, ...] = (
    one_chain,
    convolutions_first,
    a_dense_weight_other_than_zero,
    no_lowest_power_of_two,
)
"""What netx cannot read or changes, whatever the chip."""
NUMBER_RULES: tuple[Rule, ...] = (
    operations, weights_and_neurons_alternate, weights_of_eight_bits, biases_of_twelve_bits, sum_of_weights,
    one_threshold_a_layer, threshold_of_sixteen_bits, reset_to_zero, one_spike_a_step, no_lower_bound,
    leak_before_input, leak_of_twelve_bits, bias_beside_a_lasting_current, fires_above_its_threshold,
    state_of_24_bits,
)  # fmt: skip
"""Loihi's neurons and numbers, equal in both generations."""
RULES = (*NETX_RULES, *NUMBER_RULES, channels_of_a_core, inputs_of_a_dense_layer)
"""What `violations` checks."""

_FILE_RULES = (*NETX_RULES, weights_of_eight_bits, channels_of_a_core, inputs_of_a_dense_layer)


def largest_current(total: int, current: Leak | None, steps: int) -> int:
    """The largest synaptic current where each step adds ``total``, rounded up; in weights or half weights."""
    if current is None:
        return total
    unit = 2**STATE_SHIFT
    now = 0
    for _ in range(steps):
        before, now = now, ((now * int(current.keep)) >> current.shift) + total * unit
        if now == before:
            break
    return -(-now // unit)


def violations(network: Network, *, max_count: int | None = None) -> list[Issue]:
    """Every rule of Loihi 2 and its file that the network breaks, all at once; see `broken`."""
    issues = broken(RULES, network, max_count)
    form = always_on.always_on(network).network
    # what the file holds besides must be read as it is too
    return issues if issues or form is network else broken(_FILE_RULES, form, max_count)


def _issue(rule: Rule, site: Site, got: str, limit: str, hint: str) -> Issue:
    text = (rule.__doc__ or rule.__name__).partition("\n")[0].replace("``", "")
    return Issue(text.rstrip("."), site.layer.name, got, limit, hint)


def _words(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))
