# SPDX-License-Identifier: Apache-2.0
"""Holds the limits of Speck, each a function whose docstring is the rule: check, message and manual in one.

Numbers and limits: "Speck Dev Kit Datasheet" (Aug 2023) 2.4 and 3.2.4, and sinabs 3.1.3 ``chips/dynapcnn.py``. sinabs
leaves most of them to samna's ``validate_configuration``. They hold for real networks too, but for the ranges of
integers. A network is checked as `split.split_to_fit` would place it: a wide layer may stand on two cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import INPUT, Network, SpikingLayer
from spikefold.export.neuron_support import neuron_refusals
from spikefold.export.ops import Concat, Conv2d, Dense, MaxPool2d, Pair, SumPool2d
from spikefold.hardware.speck.cores import CORES, CoreLayer, layout
from spikefold.hardware.speck.neuron_support import CORE
from spikefold.hardware.speck.split_plan import Demand, demands, shortage
from spikefold.hardware.speck.unplaceable import unplaceable

INPUT_SIDE, NEURON_SIDE, FEATURES, KERNEL_SIDE, PADDING = 128, 64, 1024, 16, 7
STRIDES, POOLS, DESTINATIONS = (1, 2, 4, 8), (1, 2, 4), 2
NEURONS = CORE


def operations(network: Network) -> list[Issue]:
    """A core is one conv or dense layer, its spiking layer, and sum pools or concats behind it."""
    issues, where_ok = [], {core.neuron_name for core in layout(network).cores}
    for layer in network:
        op = layer.op
        if isinstance(op, Conv2d | Dense):
            after = network.consumers(layer.name)
            wrong = len(after) != 1 or not isinstance(after[0], SpikingLayer)
            got, hint = f"{[la.name for la in after]} after it", "fold pooling, batch norm and gates first"
        elif isinstance(layer, SpikingLayer):
            wrong = layer.name not in where_ok or len(layer.inputs) != 1
            got, hint = f"a spiking layer that reads {list(layer.inputs)}", "put one conv or dense layer before it"
        elif isinstance(op, SumPool2d):
            wrong = INPUT in layer.inputs
            got, hint = "a pool on the input", "pool the recording when it is binned, or in the sensor's own layer"
        elif isinstance(op, Concat):
            # whether the sensor's own layer can shift features is not settled
            wrong = INPUT in layer.inputs
            got, hint = "a concat with the input", "lay only spikes side by side"
        else:
            instead = "stride the convolution, or pool spikes by their sum" if isinstance(op, MaxPool2d) else ""
            wrong, got, hint = True, type(op).__name__, instead or "fold it first"
        if wrong:
            issues.append(_issue(operations, layer.name, got, "conv or dense, spiking, sum pool, concat", hint))
    return issues


def core_count(network: Network) -> list[Issue]:
    """A network has at most nine weight layers, one for each core."""
    count = sum(isinstance(layer.op, Conv2d | Dense) for layer in network)
    hint = f"leave out {count - len(CORES)} layers"
    return [_issue(core_count, "network", str(count), str(len(CORES)), hint)] if count > len(CORES) else []


def input_destinations(network: Network) -> list[Issue]:
    """The input is sent to at most two cores."""
    names, hint = [to.layer for to in layout(network).from_input], "let fewer layers read it, or repeat no layer"
    return (
        [_issue(input_destinations, INPUT, f"{len(names)}: {names}", "2", hint)] if len(names) > DESTINATIONS else []
    )


def placement(network: Network) -> list[Issue]:
    """Each layer has a core whose memories hold it, or two cores that hold a part of its output channels each."""
    wanted = demands(network)
    # where `core_count` has its say, each layer is asked for alone
    groups = [(one,) for one in wanted] if len(wanted) > len(CORES) else [wanted]
    found = [members for group in groups for members in _shortages(group)]
    found.sort(key=lambda members: wanted.index(members[0]))
    return [unplaceable(_text(placement), members, CORES) for members in found]


def _shortages(wanted: Sequence[Demand]) -> Iterator[tuple[Demand, ...]]:
    while members := shortage(wanted):
        yield members
        wanted = [one for one in wanted if one not in members]


def square_kernel(core: CoreLayer, integer: bool) -> list[Issue]:
    """A kernel is square, and 1 to 16 wide; a dense layer's kernel is its whole input map."""
    height, width = core.weight.shape[2:]
    side = max(height, width)
    if height == width and side <= KERNEL_SIDE:
        return []
    hint = f"pool or stride before it: {KERNEL_SIDE} at most" if side > KERNEL_SIDE else f"pad it to {side}x{side}"
    return [_issue(square_kernel, core.name, f"{height}x{width}", f"{KERNEL_SIDE}x{KERNEL_SIDE}, square", hint)]


def stride(core: CoreLayer, integer: bool) -> list[Issue]:
    """A stride is 1, 2, 4 or 8 along each axis."""
    nearest = min(STRIDES, key=lambda side: abs(side - max(core.stride)))
    bad = any(side not in STRIDES for side in core.stride)
    return [_issue(stride, core.name, _x(core.stride), "1, 2, 4 or 8", f"use {nearest}")] if bad else []


def padding(core: CoreLayer, integer: bool) -> list[Issue]:
    """A padding is 0 to 7 zeros along each axis."""
    bad = max(core.padding) > PADDING
    return [_issue(padding, core.name, _x(core.padding), str(PADDING), f"pad by {PADDING}")] if bad else []


def plain_convolution(core: CoreLayer, integer: bool) -> list[Issue]:
    """A convolution has no dilation and no groups; sinabs would take both and write wrong kernels."""
    got = f"dilation {_x(core.dilation)}, groups {core.groups}"
    hint = "write the dilated or grouped kernel out with zeros"
    bad = core.dilation != (1, 1) or core.groups != 1
    return [_issue(plain_convolution, core.name, got, "dilation 1x1, groups 1", hint)] if bad else []


def features(core: CoreLayer, integer: bool) -> list[Issue]:
    """A core has at most 1024 features in and out; feature shifts of concats count among those in."""
    got = {"in": core.input_shape[0], "out": core.neuron_shape[0]}
    return [
        _issue(features, core.name, f"{count} {side}", str(FEATURES), f"use {FEATURES} channels")
        for side, count in got.items()
        if count > FEATURES
    ]


def input_map(core: CoreLayer, integer: bool) -> list[Issue]:
    """A core reads a map of at most 128x128."""
    got = (core.input_shape[1], core.input_shape[2])
    factor = -(-max(got) // INPUT_SIDE)
    hint = f"downsample by {factor} before it"
    return [_issue(input_map, core.name, _x(got), "128x128", hint)] if max(got) > INPUT_SIDE else []


def neuron_map(core: CoreLayer, integer: bool) -> list[Issue]:
    """A core has at most 64x64 neurons for each feature."""
    got = (core.neuron_shape[1], core.neuron_shape[2])
    factor = next((s for s in STRIDES if max(got) <= s * NEURON_SIDE), STRIDES[-1])
    hint = f"use {factor} times the stride"
    return [_issue(neuron_map, core.name, _x(got), "64x64", hint)] if max(got) > NEURON_SIDE else []


def pooling(core: CoreLayer, integer: bool) -> list[Issue]:
    """The pools behind a core multiply to 1x1, 2x2 or 4x4."""
    hint = "stride the convolution instead"
    bad = [
        pool
        for pool in dict.fromkeys(to.pool for to in core.destinations)
        if pool[0] != pool[1] or pool[0] not in POOLS
    ]
    return [_issue(pooling, core.neuron_name, _x(pool), "1x1, 2x2 or 4x4", hint) for pool in bad]


def destinations(core: CoreLayer, integer: bool) -> list[Issue]:
    """A core sends its spikes to at most two others."""
    names, hint = [to.layer for to in core.destinations], "merge the branches, or repeat this layer on another core"
    return (
        [_issue(destinations, core.neuron_name, f"{len(names)}: {names}", "2", hint)]
        if len(names) > DESTINATIONS
        else []
    )


def neuron_kind(core: CoreLayer, integer: bool) -> list[Issue]:
    """A neuron has no leak, no decaying current, one threshold a core, and resets to zero or by subtraction."""
    found = neuron_refusals(core.neuron, NEURONS, core.neuron_name)
    return [replace(issue, rule=_text(neuron_kind)) for issue in found]


def integer_ranges(core: CoreLayer, integer: bool) -> list[Issue]:
    """Weights are 8 bit, biases and thresholds 16, and the lower bound is below 0 (a known fault of the chip)."""
    if not integer:
        return []
    half, neuron = 2**15, core.neuron
    bias = np.zeros(1, np.int64) if core.bias is None else core.bias
    low = -half if neuron.v_min is None else neuron.v_min
    checks = (
        ("weight", core.weight, -128, 127),
        ("bias", bias, -half, half - 1),
        ("threshold", neuron.threshold, 1, half - 1),
        ("lower bound", np.asarray(low), -half, -1),
    )
    return [
        _issue(
            integer_ranges, core.name, f"{what} {values.min():g}..{values.max():g}", f"{least}..{most}", "quantise it"
        )
        for what, values, least, most in checks
        if values.min() < least or values.max() > most
    ]


NETWORK_RULES = (operations, core_count, input_destinations, placement)
CORE_RULES = (
    square_kernel, stride, padding, plain_convolution, features, input_map, neuron_map, pooling, destinations,
    neuron_kind, integer_ranges,
)  # fmt: skip


def _issue(rule: Callable[..., list[Issue]], where: str, got: str, limit: str, hint: str) -> Issue:
    return Issue(_text(rule), where, got, limit, hint)


def _text(rule: Callable[..., list[Issue]]) -> str:
    return (rule.__doc__ or rule.__name__).rstrip(".")


def _x(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"
