# SPDX-License-Identifier: Apache-2.0
"""Runs integrate-and-fire neurons without leak, current or width over all steps in one compiled loop, in float64.

These are most neurons of real networks. The clocked engine's operations in their order, each in float64, so every
spike and state is the same; only the tensors between them are left out.
"""

from __future__ import annotations

import numpy as np

from spikefold.compiled import compiled
from spikefold.export.neuron import Fire, Neuron, Reset

_AT_ONCE = 1024
"""Neurons whose steps are computed together, so that their states stay in the cache."""


def covers(neuron: Neuron) -> bool:
    """Whether `run` computes these neurons."""
    return neuron.leak is None and neuron.current is None and neuron.state_bits is None


def run(neuron: Neuron, x: np.ndarray, theta: np.ndarray, *, potentials: bool) -> tuple[np.ndarray, ...]:
    """Spikes of a layer from zero state.

    Args:
        neuron: `covers` them.
        x: what arrives in each step, in the unit of the threshold, ``(T, M)`` float64.
        theta: the threshold of each neuron, ``(M,)`` float64.
        potentials: whether states are kept.

    Returns:
        Spikes ``(T, M)``, the lowest and highest state before a spike ``(2,)``, and the states after each step
        ``(T, M)``, or ``(0, M)`` where they are not kept; all float64.
    """
    steps, neurons = x.shape
    spikes, states = np.empty_like(x), np.empty((steps if potentials else 0, neurons))
    v, span = np.zeros(neurons), np.zeros(2)
    most = np.inf if neuron.max_spikes is None else float(neuron.max_spikes)
    lowest = -np.inf if neuron.v_min is None else float(neuron.v_min)
    subtracts, strictly = neuron.reset is Reset.SUBTRACT, neuron.fire is not Fire.GE
    _run(x, theta, v, spikes, states, span, most, strictly, subtracts, float(neuron.reset_value), lowest)
    return spikes, span, states


@compiled()
def _charge(x: np.ndarray, v: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> None:
    for i in range(len(v)):
        h = v[i] + x[i]
        v[i] = h
        lows[i] = h if h < lows[i] else lows[i]
        highs[i] = h if h > highs[i] else highs[i]


@compiled()
def _fire_once(v: np.ndarray, theta: np.ndarray, fired: np.ndarray, strictly: bool) -> None:
    if strictly:
        for i in range(len(v)):
            fired[i] = 1.0 if v[i] > theta[i] else 0.0
    else:
        for i in range(len(v)):
            fired[i] = 1.0 if v[i] >= theta[i] else 0.0


@compiled()
def _fire_often(v: np.ndarray, theta: np.ndarray, fired: np.ndarray, strictly: bool, most: float) -> None:
    for i in range(len(v)):
        share = v[i] / theta[i]
        fitting = np.ceil(share) - 1.0 if strictly else np.floor(share)
        fitting = fitting if fitting > 0.0 else 0.0
        fired[i] = fitting if fitting < most else most


@compiled()
def _reset(v: np.ndarray, theta: np.ndarray, fired: np.ndarray, subtracts: bool, value: float, lowest: float) -> None:
    if subtracts:
        for i in range(len(v)):
            v[i] = v[i] - fired[i] * theta[i]
    else:
        for i in range(len(v)):
            v[i] = value if fired[i] > 0.0 else v[i]
    for i in range(len(v)):
        v[i] = v[i] if v[i] > lowest else lowest


@compiled()
def _run(
    x: np.ndarray,
    theta: np.ndarray,
    v: np.ndarray,
    spikes: np.ndarray,
    states: np.ndarray,
    span: np.ndarray,
    most: float,
    strictly: bool,
    subtracts: bool,
    value: float,
    lowest: float,
) -> None:
    lows, highs = np.zeros(_AT_ONCE), np.zeros(_AT_ONCE)
    for first in range(0, x.shape[1], _AT_ONCE):
        last = min(first + _AT_ONCE, x.shape[1])
        state, limit = v[first:last], theta[first:last]
        for t in range(x.shape[0]):
            fired = spikes[t, first:last]
            _charge(x[t, first:last], state, lows, highs)
            if most == 1.0:
                _fire_once(state, limit, fired, strictly)
            else:
                _fire_often(state, limit, fired, strictly, most)
            _reset(state, limit, fired, subtracts, value, lowest)
            if len(states):
                states[t, first:last] = state
    span[0], span[1] = lows.min(), highs.max()
