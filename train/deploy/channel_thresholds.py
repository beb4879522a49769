# SPDX-License-Identifier: Apache-2.0
"""Gives each channel one threshold where each neuron had its own. This changes the function of the network.

A threshold of its own per neuron is a static gate per neuron, ``theta / g``. The gate of the channel is their mean,
so the threshold is the harmonic mean of those of its neurons. Fine-tuning (`adapt`) compensates the rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikefold.export.network import Network, SpikingLayer

STEP = "channel_thresholds"


def channel_thresholds(network: Network) -> tuple[Network, tuple[str, ...]]:
    """The network with thresholds ``()`` or ``(C, 1, 1)``, and the layers in which they differed within a channel.

    Args:
        network: real; the same object is returned where no threshold differs within its channel.
    """
    changed = {layer.name: _means(layer.neuron.threshold) for layer in network.neurons if _differs(layer)}
    if not changed:
        return network, ()
    layers = [
        replace(layer, op=replace(layer.neuron, threshold=changed[layer.name]))
        if isinstance(layer, SpikingLayer) and layer.name in changed
        else layer
        for layer in network
    ]
    return network.rewritten(layers, STEP), tuple(changed)


def _differs(layer: SpikingLayer) -> bool:
    theta = layer.neuron.threshold
    return theta.ndim > 0 and bool((theta != theta[:, :1, :1]).any())


def _means(theta: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 / theta).mean(axis=(1, 2), keepdims=True))
