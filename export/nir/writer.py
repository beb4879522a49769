# SPDX-License-Identifier: Apache-2.0
"""Tells from a NIR graph which tool wrote it, where something in it says so, and says what that was.

NIR's neurons are equations, and each tool writes them in its own units: what is looked at are the graph's metadata,
which nodes there are, and how the numbers of a neuron hang together (source of each: the exporter of the release
named in `options`). A file of which nothing says so has no writer here; nobody guesses one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikefold.export.nir.file import Graph, Node

OURS = "spikefold"
"""Key of the metadata that our own files carry."""
_SNN_DT = 1e-4
"""Seconds of a step, which snnTorch and SpikingJelly write by default."""
_CLOSE = 1e-4
_LEAKY = {"LIF": "tau", "CubaLIF": "tau_mem"}


@dataclass(frozen=True)
class Writer:
    """The convention of a file, and what told it."""

    convention: str
    told_by: str


def writer_of(graph: Graph) -> Writer | None:
    """Who wrote a graph; None where nothing in it says so."""
    if OURS in graph.metadata:
        return Writer("spikefold", "the graph's metadata")
    integrators = [node for node in graph.nodes.values() if node.kind == "IF" and _has(node, "r")]
    leaky = [node for node in graph.nodes.values() if node.kind in _LEAKY and _has(node, "r", _LEAKY[node.kind])]
    if integrators and all(_near(_of(node, "r"), 1 / _SNN_DT) for node in integrators):
        return Writer("spikingjelly", "r of its IF neurons is 1 / 1e-4 s")
    if leaky and all(_near(_of(node, "r") * _SNN_DT, _tau(node)) for node in leaky):
        if all(_of(node, "r").size == 1 for node in leaky):
            return Writer("snntorch", "r = tau / 1e-4 s, one number a layer")
        if all(_has(node, "v_reset") and _of(node, "v_reset").shape == _tau(node).shape for node in leaky):
            return Writer("spikingjelly", "r = tau / 1e-4 s, and a reset for each neuron")
        return None
    if leaky and all(_near(_of(node, "r"), _tau(node)) and _tau(node).min() >= 1 for node in leaky):
        return Writer("spikefold", "r = tau, in steps")
    if leaky and all(_near(_of(node, "r"), 1.0) and _tau(node).size and _tau(node).min() >= 1 for node in leaky):
        return Writer("sinabs", "r = 1 and tau in steps")
    if not leaky and any(node.kind == "SumPool2d" for node in graph.nodes.values()):
        return Writer("sinabs", "SumPool2d nodes, which no other tool writes")
    return None


def _has(node: Node, *keys: str) -> bool:
    return all(isinstance(value := node.fields.get(key), np.ndarray) and value.dtype.kind in "iuf" for key in keys)


def _of(node: Node, key: str) -> np.ndarray:
    return np.asarray(node.fields[key], np.float64)


def _tau(node: Node) -> np.ndarray:
    return _of(node, _LEAKY[node.kind])


def _near(values: np.ndarray, wanted: np.ndarray | float) -> bool:
    sizes = {values.size, np.size(wanted)}
    if 0 in sizes or len(sizes - {1}) > 1:
        return False  # a damaged field: whoever reads the node says so
    values, wanted = values.ravel(), np.ravel(wanted)
    with np.errstate(invalid="ignore"):
        both = np.isinf(values) & np.isinf(wanted)
        return bool((both | (np.abs(values - wanted) <= _CLOSE * np.abs(wanted))).all())
