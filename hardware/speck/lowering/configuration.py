# SPDX-License-Identifier: Apache-2.0
"""Writes a Speck configuration of our own: an integer network and its placement, in the form of samna's attributes.

It shares nothing with sinabs: each field is written here from the network, after the datasheet 3.2.2 and the names
of samna's classes (`board.samna_standin`). The chip's kernels are ``[f][c][x][y]`` and its states
``[f][x][y]``: the last two axes of ours exchanged. What sinabs cannot write is here too: a layer on two cores, whose
parts lie side by side for their readers by ``feature_shift``, and layers with several sources.

The sensor's own layer is off, as sinabs leaves it: events are sent to the cores that read the input, both of them
where the first layer is split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.network import Network
from spikefold.export.neuron import Reset
from spikefold.export.neuron_support import CARRIED, NeuronSupport, refuse
from spikefold.export.ops import Shape
from spikefold.files import replacing
from spikefold.hardware.speck.board.samna_rules import validate_configuration
from spikefold.hardware.speck.board.samna_standin import CnnLayerConfig, SpeckConfiguration, as_values
from spikefold.hardware.speck.cores import CoreLayer, layout
from spikefold.hardware.speck.neuron_support import (
    FIRES_AT_EQUALITY,
    KNOWN_RESET,
    NO_CURRENT,
    NO_LEAK,
    NO_OVERFLOW,
    ONE_THRESHOLD,
    WHOLE_UNIT,
)
from spikefold.hardware.speck.placement import check_placement

FORMAT = "spikefold-speck-1"
NEURONS = NeuronSupport(
    "a Speck configuration",
    {
        "threshold": ONE_THRESHOLD,
        "fire": FIRES_AT_EQUALITY,
        "reset": KNOWN_RESET,
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": NO_LEAK,
        "v_min": CARRIED,
        # the chip knows no steps, so that it cannot cap their spikes: `notes` says so
        "max_spikes": CARRIED,
        # without a leak it says nothing
        "order": CARRIED,
        "state_shift": WHOLE_UNIT,
        # what leaves a width is decided with the overflow
        "state_bits": CARRIED,
        "overflow": NO_OVERFLOW,
        "current": NO_CURRENT,
    },
)
"""What the registers of a core say of its neurons."""
DEVICES = ("speck2edevkit", "speck2fdevkit", "speck2fmodule")
"""Devices with this configuration, by sinabs' names."""


def configuration(network: Network, placement: Mapping[str, int], device: str) -> dict[str, Any]:
    """The whole configuration as plain values, in the form of ``SpeckModel.configuration()``.

    Args:
        network: integer, without `violations`; split where it must be.
        placement: core number by spiking layer, such as ``place(network).cores``.
        device: one of `DEVICES`.

    Raises:
        UnsupportedError: another device; a real network; neurons that a core has not; a placement that is not legal;
            a configuration that the documented rules of samna's ``validate_configuration`` refuse.
    """
    if device not in DEVICES:
        raise UnsupportedError(
            f"no configuration for {device!r}", where=device, hint=f"write one for {', '.join(DEVICES)}"
        )
    if not network.is_integer:
        raise UnsupportedError("a configuration holds whole numbers", where="network", hint="quantise it for Speck")
    refuse(network, NEURONS)
    if issues := check_placement(network, placement):
        raise UnsupportedError("the placement is not legal", where=device, issues=issues)
    made = filled(network, placement)
    valid, why = validate_configuration(made)
    if not valid:
        raise UnsupportedError(f"the configuration is not valid: {why}", where=device, hint="see the violations")
    return as_values(made)


def write(
    path: Path,
    configuration: Mapping[str, Any],
    placement: Mapping[str, int],
    input_shape: Shape,
    notes: Sequence[str],
    device: str,
) -> None:
    """Write the JSON document ``{format, device, input_shape, layer2core, notes, configuration}`` in one step.

    It is made offline, its ``configuration`` under the names of samna's attributes. Where the real samna is
    installed, ``fill(samna.speck2f.configuration.SpeckConfiguration(), document["configuration"])`` loads it.
    """
    document = {
        "format": FORMAT,
        "device": device,
        "input_shape": list(input_shape),
        "layer2core": dict(placement),
        "notes": list(notes),
        "configuration": configuration,
    }
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(document), encoding="utf-8")


def filled(network: Network, placement: Mapping[str, int]) -> SpeckConfiguration:
    """The same as an object, whether it is valid or not."""
    made, layers = SpeckConfiguration(), layout(network).cores
    made.dvs_layer.pass_sensor_events = False
    cores = {layer.name: placement[layer.neuron_name] for layer in layers}
    for layer in layers:
        core = made.cnn_layers[cores[layer.name]]
        _write(core, layer)
        for target, to in zip(core.destinations, layer.destinations, strict=False):
            target.enable, target.layer = True, cores[to.layer]
            target.pooling, target.feature_shift = to.pool[0], to.shift
        # sinabs' default: the output goes to the host
        core.monitor_enable = layer.neuron_name == network.layers[-1].name
    return made


def _write(core: CnnLayerConfig, layer: CoreLayer) -> None:
    features, height, width = layer.neuron_shape
    bias = np.zeros(features, np.int64) if layer.bias is None else layer.bias
    core.dimensions = {
        "input_shape": _extent(layer.input_shape),
        "output_shape": _extent(layer.neuron_shape),
        "padding": _pair(layer.padding),
        "stride": _pair(layer.stride),
        "kernel_size": layer.weight.shape[2],
    }
    core.weights = np.swapaxes(layer.weight, 2, 3).tolist()
    core.biases = bias.tolist()
    core.leak_enable = bias.any()
    core.return_to_zero = layer.neuron.reset is Reset.ZERO
    core.threshold_high = layer.neuron.threshold.item()
    # without a bound, the least that the register holds
    core.threshold_low = -(2**15) if layer.neuron.v_min is None else int(layer.neuron.v_min)
    core.neurons_initial_value = np.zeros((features, width, height), np.int64).tolist()


def _extent(shape: tuple[int, int, int]) -> dict[str, Any]:
    return {"size": {"x": shape[2], "y": shape[1]}, "feature_count": shape[0]}


def _pair(pair: tuple[int, int]) -> dict[str, int]:
    return {"x": pair[1], "y": pair[0]}
