# SPDX-License-Identifier: Apache-2.0
"""Picks the values of a Speck configuration that decide what a board computes, and compares them with a network's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from spikefold.errors import ConfigError, Issue
from spikefold.export.network import Network
from spikefold.hardware.speck.board.samna_standin import as_values
from spikefold.hardware.speck.lowering.configuration import filled

MONITOR = "monitor_enable"
"""The one field of a core that is set for the run, not taken from the file."""


def essential(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The cores in use by number (as text), and whether the sensor's own events enter.

    A file made without samna has the stand-in's values for all the rest; there samna's own defaults are right.

    Raises:
        ConfigError: this is no such configuration, or it uses no core.
    """
    hint = "give `configuration` of the file that `spikefold export` writes"
    try:
        cores = {
            str(number): dict(core) for number, core in enumerate(configuration["cnn_layers"]) if core["weights"]
        }
        sensor = bool(configuration["dvs_layer"]["pass_sensor_events"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is no configuration of a Speck: {error!r}", hint=hint) from error
    if not cores:
        raise ConfigError("the configuration uses no core", hint=hint)
    return {"cores": cores, "pass_sensor_events": sensor}


def fingerprint(essentials: Mapping[str, Any]) -> str:
    """SHA-256 of `essential` values as canonical JSON, `MONITOR` left out."""
    cores = {
        number: {name: value for name, value in core.items() if name != MONITOR}
        for number, core in essentials["cores"].items()
    }
    text = json.dumps({**essentials, "cores": cores}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(wanted: Any, held: Any, rule: str, hint: str, where: str = "configuration") -> Iterator[Issue]:
    """Every wanted value that is another one in ``held``, `MONITOR` left out."""
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        for name in sorted(wanted.keys() - {MONITOR}):
            yield from differences(wanted[name], held.get(name), rule, hint, f"{where}.{name}")
    elif wanted != held:
        yield Issue(rule, where, f"{held!r:.60}", f"{wanted!r:.60}", hint)


def foreign(configuration: Mapping[str, Any], network: Network, placement: Mapping[str, int]) -> list[Issue]:
    """Every value in which a configuration is not that of a placed network; empty where it is.

    Args:
        configuration: plain values under samna's names.
        network: integer.
        placement: core number by spiking layer; legal (`check_placement`).

    Raises:
        ConfigError: this is no configuration of a Speck.
    """
    theirs, ours = (_any_order(essential(one)) for one in (configuration, as_values(filled(network, placement))))
    rule, hint = "the configuration is the network's", "give network, placement and configuration of one export"
    extra = sorted(theirs["cores"].keys() - ours["cores"].keys())
    return [
        *differences(ours, theirs, rule, hint),
        *(Issue(rule, f"configuration.cores.{number}", "in use", "no layer on it", hint) for number in extra),
    ]


def _any_order(essentials: dict[str, Any]) -> dict[str, Any]:
    """The same with the enabled destinations of each core as a sorted list: their order means nothing."""
    cores = {}
    for number, core in essentials["cores"].items():
        enabled = [to for to in core.get("destinations", []) if to.get("enable")]
        cores[number] = core | {"destinations": sorted(enabled, key=lambda to: json.dumps(to, sort_keys=True))}
    return {**essentials, "cores": cores}
