# SPDX-License-Identifier: Apache-2.0
"""Refuses what ``samna.speck2f.validate_configuration`` is documented to refuse, for the stand-in.

The original is compiled and not public; these are the rules of the datasheet 2.4 and 3.2.4 and of sinabs' overview,
applied to a filled configuration, so independently of `spikefold.hardware.speck.rules`, which look at a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from spikefold.hardware.speck.cores import CORES, memory_needed

READOUT = 12
"""Destination number of the readout layer."""


def validate_configuration(configuration: Any) -> tuple[bool, str]:
    """Whether a configuration is valid, and every reason why not, one a line."""
    problems = [
        f"core {number}: {problem}"
        for number, core in enumerate(configuration.cnn_layers)
        if _used(core)
        for problem in (*_limits(core), *_contents(core, number), *_routes(configuration, core, number))
    ]
    return not problems, "\n".join(problems)


def _used(core: Any) -> bool:
    return bool(core.weights)


def _limits(core: Any) -> Iterator[str]:
    dims = core.dimensions
    padding, stride = dims.padding, dims.stride
    checks = (
        (1 <= dims.kernel_size <= 16, f"kernel size {dims.kernel_size} is not 1 to 16"),
        (all(side in (1, 2, 4, 8) for side in (stride.x, stride.y)), "stride is not 1, 2, 4 or 8"),
        (all(0 <= side <= 7 for side in (padding.x, padding.y)), "padding is not 0 to 7"),
        (_within(dims.input_shape, 128), "input is not within 1024 features of 128x128"),
        (_within(dims.output_shape, 64), "output is not within 1024 features of 64x64"),
        (1 <= core.threshold_high < 2**15, f"threshold_high {core.threshold_high} is not 1 to 32767"),
        (-(2**15) <= core.threshold_low < 0, f"threshold_low {core.threshold_low} is not -32768 to -1"),
    )
    yield from (message for holds, message in checks if not holds)


def _within(extent: Any, side: int) -> bool:
    sizes = (extent.size.x, extent.size.y)
    return 1 <= extent.feature_count <= 1024 and all(1 <= size <= side for size in sizes)


def _contents(core: Any, number: int) -> Iterator[str]:
    dims, weights, biases = core.dimensions, np.array(core.weights), np.array(core.biases)
    features, size = dims.output_shape.feature_count, dims.output_shape.size
    expected = (features, dims.input_shape.feature_count, dims.kernel_size, dims.kernel_size)
    if weights.shape != expected:
        yield f"weights have shape {weights.shape}, not {expected}"
        return
    if weights.min() < -128 or weights.max() > 127:
        yield f"weights {weights.min()}..{weights.max()} do not fit 8 bits"
    if biases.shape != (features,) or np.abs(biases).max(initial=0) >= 2**15:
        yield f"biases {biases.shape} are not {features} numbers of 16 bits"
    for axis in ("x", "y"):
        padded = getattr(dims.input_shape.size, axis) + 2 * getattr(dims.padding, axis)
        if (padded - dims.kernel_size) // getattr(dims.stride, axis) + 1 != getattr(size, axis):
            yield f"output size along {axis} does not follow from the input"
    if np.shape(core.neurons_initial_value) != (features, size.x, size.y):
        yield "neurons_initial_value does not have the shape of the output"
    need = memory_needed(weights.shape, (size.y, size.x), bool(biases.any()))
    if not CORES[number].holds(need):
        yield f"needs {need}, the core has {CORES[number]}"


def _routes(configuration: Any, core: Any, number: int) -> Iterator[str]:
    yield from _destinations(configuration, core)
    yield from _unsent(configuration, number)


def _destinations(configuration: Any, core: Any) -> Iterator[str]:
    size, features = core.dimensions.output_shape.size, core.dimensions.output_shape.feature_count
    for target in core.destinations:
        if not target.enable:
            continue
        if target.pooling not in (1, 2, 4):
            yield f"pooling {target.pooling} is not 1, 2 or 4"
            continue
        if target.layer == READOUT:
            continue
        if not 0 <= target.layer < len(CORES) or not _used(configuration.cnn_layers[target.layer]):
            yield f"destination {target.layer} is no used core"
            continue
        reads = configuration.cnn_layers[target.layer].dimensions.input_shape
        sent, end = (size.x // target.pooling, size.y // target.pooling), features + target.feature_shift
        if sent != (reads.size.x, reads.size.y) or target.feature_shift < 0 or end > reads.feature_count:
            yield (
                f"sends features {target.feature_shift}..{end - 1} of {sent[1]}x{sent[0]} to core {target.layer}, "
                "which reads another shape"
            )


def _unsent(configuration: Any, number: int) -> Iterator[str]:
    """Features that a core reads and none of its sources sends; a core without a source is fed from outside."""
    sent = [
        range(target.feature_shift, target.feature_shift + core.dimensions.output_shape.feature_count)
        for core in configuration.cnn_layers
        if _used(core)
        for target in core.destinations
        if target.enable and target.layer == number
    ]
    missing = set(range(configuration.cnn_layers[number].dimensions.input_shape.feature_count)).difference(*sent)
    if sent and missing:
        yield f"no source sends features {sorted(missing)}"
