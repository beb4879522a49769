# SPDX-License-Identifier: Apache-2.0
"""Hold sinabs' configuration against our own quantised network, field by field: two ways, one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.neuron import Reset
from spikefold.export.to_speck import SpeckModel
from spikefold.hardware.speck_cores import CoreLayer, core_layers

RULE = "sinabs' configuration equals our quantised network"


def differences(model: SpeckModel, network: Network) -> list[Issue]:
    """Every field in which the two differ; empty where they are the same network.

    Compared for each layer: shapes, kernel, stride, padding, weights, biases, leak, reset, both thresholds, initial
    state, destinations with their pooling, monitoring. A core in use that no layer of ours has is a difference too.

    Args:
        model: from `convert`.
        network: the integer network from `passes.quantise`.
    """
    cores, used = core_layers(network), model.configuration()["cnn_layers"]
    ours = [core.neuron_name for core in cores]
    if ours != list(model.layer2core) or not ours:
        return [_issue("network", "layers", list(model.layer2core), ours)]
    extra = [number for number, core in enumerate(used) if core["weights"]]
    issues = [
        _issue(core.name, field, theirs, mine)
        for core in cores
        for field, theirs, mine in _fields(core, used[model.layer2core[core.neuron_name]], model, cores)
        if not _same(theirs, mine)
    ]
    if sorted(extra) != sorted(model.layer2core.values()):
        issues.append(_issue("network", "cores in use", extra, sorted(model.layer2core.values())))
    return issues


def _fields(
    core: CoreLayer, theirs: Mapping[str, Any], model: SpeckModel, cores: tuple[CoreLayer, ...]
) -> Iterator[tuple[str, Any, Any]]:
    dims, neuron = theirs["dimensions"], core.neuron
    features, height, width = core.neuron_shape
    bias = np.zeros(features, np.int64) if core.bias is None else core.bias
    yield "input shape", _extent(dims["input_shape"]), core.input_shape
    yield "output shape", _extent(dims["output_shape"]), core.neuron_shape
    yield "kernel size", (dims["kernel_size"],) * 2, core.weight.shape[2:]
    yield "stride", _pair(dims["stride"]), core.stride
    yield "padding", _pair(dims["padding"]), core.padding
    # the chip's kernels and states are [..][x][y]
    yield "weights", np.swapaxes(np.array(theirs["weights"]), 2, 3), core.weight
    yield "biases", theirs["biases"], bias
    yield "leak enable", theirs["leak_enable"], bool(bias.any())
    yield "reset to zero", theirs["return_to_zero"], neuron.reset is Reset.ZERO
    yield "threshold", theirs["threshold_high"], neuron.threshold
    yield "lower bound", theirs["threshold_low"], neuron.v_min
    yield "initial state", theirs["neurons_initial_value"], np.zeros((features, width, height))
    by_name = {other.name: model.layer2core[other.neuron_name] for other in cores}
    sent = [(to["layer"], to["pooling"]) for to in theirs["destinations"] if to["enable"]]
    yield "destinations", sorted(sent), sorted((by_name[name], pool[0]) for name, pool in core.destinations)
    yield "monitored", theirs["monitor_enable"], core is cores[-1]


def _extent(extent: Mapping[str, Any]) -> tuple[int, int, int]:
    return extent["feature_count"], extent["size"]["y"], extent["size"]["x"]


def _pair(pair: Mapping[str, int]) -> tuple[int, int]:
    return pair["y"], pair["x"]


def _same(theirs: Any, mine: Any) -> bool:
    return np.array_equal(np.asarray(theirs), np.asarray(mine))


def _issue(where: str, field: str, theirs: Any, mine: Any) -> Issue:
    a, b = np.asarray(theirs), np.asarray(mine)
    if a.shape == b.shape and a.ndim > 1:
        first = tuple(int(i) for i in np.argwhere(a != b)[0])
        got, limit = f"{a[first]} at {first}, {int((a != b).sum())} of {a.size} differ", str(b[first])
    else:
        got, limit = str(theirs)[:80], str(mine)[:80]
    return Issue(f"{RULE}: {field}", where, got, limit, "convert and quantise the same network")
