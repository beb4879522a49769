# SPDX-License-Identifier: Apache-2.0
"""Compares sinabs' configuration with our own, field by field: two ways, one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.hardware.speck.board.samna_standin import as_values
from spikefold.hardware.speck.cores import layout
from spikefold.hardware.speck.lowering.configuration import filled
from spikefold.hardware.speck.lowering.sinabs import SpeckModel

RULE = "sinabs' configuration equals our quantised network"
_WORDS = {
    "return_to_zero": "reset to zero",
    "threshold_high": "threshold",
    "threshold_low": "lower bound",
    "neurons_initial_value": "initial state",
    "monitor_enable": "monitored",
}


def differences(model: SpeckModel, network: Network) -> list[Issue]:
    """Every field of the configuration in which the two differ; empty where they are the same network.

    Ours is `configuration.filled` for the same cores. All of both documents is compared: each core in use by its
    layer's name, the other cores, and the sensor's layer. Destinations may come in any order.

    Args:
        model: from `convert`.
        network: the integer network from `passes.quantise`.
    """
    names = {core.neuron_name: core.name for core in layout(network).cores}
    # two branches may be listed in either order: which cores there are is compared, and each by its name
    if set(names) != set(model.layer2core) or not names:
        return [_issue("network", "layers", list(model.layer2core), list(names))]
    theirs, ours = model.configuration(), as_values(filled(network, model.layer2core))
    users = {core: names[neurons] for neurons, core in model.layer2core.items()}
    used = [number for number, core in enumerate(theirs["cnn_layers"]) if core["weights"]]
    issues = [] if used == sorted(users) else [_issue("network", "cores in use", used, sorted(users))]
    for number, pair in enumerate(zip(theirs["cnn_layers"], ours["cnn_layers"], strict=True)):
        if number in users or number not in used:
            issues += _unequal(users.get(number, f"core {number}"), *pair)
    return issues + _unequal("sensor layer", theirs["dvs_layer"], ours["dvs_layer"])


def _unequal(where: str, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[Issue]:
    fields = zip(_fields(theirs), _fields(mine), strict=True)
    return [_issue(where, field, one, other) for (field, one), (_, other) in fields if not _same(one, other)]


def _fields(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Field by field in words, the geometry each by itself."""
    for name, value in values.items():
        if name == "dimensions":
            yield from _fields(value)
        elif name == "destinations":
            yield "destinations", sorted(tuple(to.items()) for to in value if to["enable"])
        else:
            yield _WORDS.get(name, name.replace("_", " ")), value


def _same(theirs: Any, mine: Any) -> bool:
    if isinstance(theirs, list) and isinstance(mine, list):
        a, b = np.array(theirs, object), np.array(mine, object)
        return a.shape == b.shape and np.array_equal(a, b)
    return bool(theirs == mine)


def _issue(where: str, field: str, theirs: Any, mine: Any) -> Issue:
    a, b = np.asarray(theirs), np.asarray(mine)
    if a.shape == b.shape and a.ndim > 1:
        first = tuple(int(i) for i in np.argwhere(a != b)[0])
        got, limit = f"{a[first]} at {first}, {int((a != b).sum())} of {a.size} differ", str(b[first])
    else:
        got, limit = str(theirs)[:80], str(mine)[:80]
    return Issue(f"{RULE}: {field}", where, got, limit, "convert and quantise the same network")
