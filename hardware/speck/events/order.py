# SPDX-License-Identifier: Apache-2.0
"""The order in which the spikes of one event leave a core, as a rank of its neuron addresses."""

from __future__ import annotations

import numpy as np

from spikefold.export.ops import Shape
from spikefold.hardware.speck.events.options import Emission, Options


def emission_rank(shape: Shape, number: int, options: Options) -> np.ndarray | None:
    """Place of each neuron among the spikes of one event.

    Args:
        shape: ``(features, height, width)`` of the core's neurons.
        number: of the core in network order, from 0.
        options: the order of emission and the seed.

    Returns:
        For each address ``(y * width + x) * features + feature`` its place, ``(neurons,)`` int64; None where the
        places are the addresses.
    """
    neurons = int(np.prod(shape))
    match options.emission:
        case Emission.FEATURES_DESCENDING:
            places = np.arange(neurons)[::-1].reshape(shape)  # by (feature, y, x), the last one first
            return places.transpose(1, 2, 0).ravel()
        case Emission.ADDRESSES_ASCENDING:
            return None
        case Emission.ADDRESSES_DESCENDING:
            return np.arange(neurons)[::-1].copy()
        case Emission.SHUFFLED:
            return np.random.default_rng([options.seed, number]).permutation(neurons)
