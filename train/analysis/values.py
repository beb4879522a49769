# SPDX-License-Identifier: Apache-2.0
"""Turns an `Analysis` into plain values for JSON, and into arrays that hold its full counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikefold.train.analysis.features import KINDS, Background, Rules, ghosts, patterns
from spikefold.train.analysis.firing_rates import LayerFiring
from spikefold.train.analysis.measure import Analysis, LayerAnalysis
from spikefold.train.analysis.potentials import LayerPotentials, ptd


def to_json(analysis: Analysis) -> dict[str, Any]:
    """The rates of the network, and the rates, potentials and spike features of each layer.

    Only layers with maps have spike features. Nested lists are ``(T, C)`` where their key ends in
    ``by_step_and_channel``, and ``(T, bins)`` in histograms.
    """
    rates = analysis.rates
    return {
        "neurons": rates.neurons,
        "spikes": rates.spikes,
        "nasfr": rates.nasfr,
        "t_sfr": rates.t_sfr.tolist(),
        "layers": {name: _layer(layer, analysis.rules) for name, layer in analysis.layers.items()},
    }


def to_arrays(analysis: Analysis) -> dict[str, np.ndarray]:
    """The counts of every neuron, and the histograms of every step and channel, by ``layer/quantity``."""
    arrays: dict[str, np.ndarray] = {}
    for name, layer in analysis.layers.items():
        arrays[f"{name}/fired"] = layer.firing.fired
        arrays[f"{name}/potential"] = layer.potentials.potential
        arrays[f"{name}/current"] = layer.potentials.current
        if layer.background is not None:
            arrays[f"{name}/background_spikes"] = layer.background.spikes
    return arrays


def _layer(layer: LayerAnalysis, rules: Rules) -> dict[str, Any]:
    firing, potentials = layer.firing, layer.potentials
    values = {
        "shape": list(firing.fired.shape[1:]),
        "neurons": firing.neurons,
        "spikes": firing.spikes,
        "rate": firing.rate,
        "c_sfr_by_step_and_channel": firing.c_sfr.tolist(),
        "threshold": potentials.threshold,
        "potential": _distribution(potentials.potential, potentials.threshold),
        "current": _distribution(potentials.current, potentials.threshold),
        "qe": potentials.qe(),
        "qe_by_step": [potentials.qe(rows) for rows in np.eye(len(firing.fired), dtype=bool)],
    }
    if layer.background is not None:
        values["features"] = _features(firing, potentials, layer.background, rules)
    return values


def _distribution(histogram: np.ndarray, threshold: float) -> dict[str, Any]:
    """Histograms of the layer and of each step from ``(T, C, BINS + 2)``; their PTD, and that of each channel."""
    whole, by_step, by_channel = histogram.sum(axis=(0, 1)), histogram.sum(axis=1), histogram.sum(axis=0)
    return {
        "below": int(whole[0]),
        "histogram": whole[1:-1].tolist(),
        "above": int(whole[-1]),
        "ptd": ptd(whole, threshold),
        "histogram_by_step": by_step[:, 1:-1].tolist(),
        "ptd_by_step": [ptd(row, threshold) for row in by_step],
        "ptd_by_channel": [ptd(row, threshold) for row in by_channel],
    }


def _features(
    firing: LayerFiring, potentials: LayerPotentials, background: Background, rules: Rules
) -> dict[str, Any]:
    kinds, alike = patterns(firing, background, rules), ghosts(firing, rules)
    sites = firing.clips * firing.fired.shape[2] * firing.fired.shape[3]
    behind = int(background.spikes.sum())
    found: dict[str, Any] = {
        "background_share": background.sites / sites,
        "background_spikes": behind,
        "background_spike_share": behind / firing.spikes if firing.spikes else 0.0,
        "channels_and_steps": kinds.size,
        "ghosts": int(alike.sum()),
        "ghost_share": float(alike.mean()),
        "ghosts_by_step": alike.sum(axis=1).tolist(),
        "kind_by_step_and_channel": kinds.tolist(),
        "kinds": {},
    }
    for index, kind in enumerate(KINDS):
        chosen = kinds == index
        histogram = potentials.potential[chosen].sum(axis=0)
        found["kinds"][kind] = {
            "count": int(chosen.sum()),
            "share": float(chosen.mean()),
            "by_step": chosen.sum(axis=1).tolist(),
            "spikes": int(firing.fired.sum(axis=(2, 3))[chosen].sum()),
            "ptd": ptd(histogram, potentials.threshold),
            "qe": potentials.qe(chosen),
            "below": int(histogram[0]),
            "histogram": histogram[1:-1].tolist(),
            "above": int(histogram[-1]),
        }
    return found
