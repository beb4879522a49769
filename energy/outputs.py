# SPDX-License-Identifier: Apache-2.0
"""The energy of a run as files: JSON (its form in `schema`), CSV by layer, Markdown with estimates in italics."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spikefold.energy.chip.markdown import cell, chip_markdown, table
from spikefold.energy.schema import SCHEMA, exact, validated
from spikefold.errors import DataError

_COUNTED = (
    "dense_padded", "dense", "pairs", "events", "input_events", "spikes", "neurons", "bias_adds", "neuron_updates",
    "active_updates", "idle_updates", "weight_reads", "state_accesses", "multiplicity", "peak_events",
)  # fmt: skip
_PRICED = ("mac_per_clip", "ac_per_clip", "energy_pj_per_clip")
_ON_CORES = {"cores": "cores", "core_mean_synops_per_s": "mean_per_s", "core_peak_synops_per_s": "peak_per_s"}
"""Columns of a chip's cores, and their names in the file; rates are of the layer's busiest core."""
COLUMNS = ("network", "layer", "input_kind", *_COUNTED, *_PRICED, *_ON_CORES)
"""Of the CSV; there are no rows of totals, so that a column may be added up, save peaks and rates."""
ATTENTION = "attention"
"""Name of the row of dynamic attention, which belongs to no layer."""


def energy_json(results: dict[str, Any]) -> str:
    """Text of ``energy.json`` from plain results (`profile`, `networks`, ...); the schema's name is put in.

    Raises:
        DataError: the results do not have the published form.
    """
    whole = {"schema": SCHEMA, **results}
    validated(whole)
    return json.dumps(exact(whole), indent=1, allow_nan=False)


def read_energy(path: Path) -> dict[str, Any]:
    """The content of ``energy.json``; whole numbers are `int` at any size.

    Raises:
        DataError: missing, damaged, or of another form.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path.name}: {error}", where=str(path), hint="run that stage again") from error
    if not isinstance(values, dict):
        raise DataError(f"{path.name} is no object", where=str(path), hint="run that stage again")
    return validated(values)


def layer_rows(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One row for each network and layer, with the keys `COLUMNS`; None where a layer has no such number."""
    for name, network in results["networks"].items():
        prices = {layer["name"]: layer for layer in network["budget"]["layers"]}
        cores = {core["layer"]: core for core in (network.get("chip") or {"cores": []})["cores"]}
        for layer in network["counts"]["layers"]:
            price, core = prices.get(layer["name"], {}), cores.get(layer["name"], {})
            yield {
                "network": name,
                "layer": layer["name"],
                "input_kind": layer["input_kind"],
                **{key: layer[key] for key in _COUNTED},
                **{key: price.get(key) for key in _PRICED},
                **{key: core.get(name_there) for key, name_there in _ON_CORES.items()},
            }
        macs = network["budget"]["attention_macs_per_clip"]
        if macs:
            row = dict.fromkeys(COLUMNS) | {"network": name, "layer": ATTENTION, "mac_per_clip": macs}
            yield row | {"ac_per_clip": 0, "energy_pj_per_clip": attention_energy_pj(network["budget"])}


def attention_energy_pj(budget: dict[str, Any]) -> float | None:
    """What the layers leave of the total; None where a constant is unknown."""
    parts = [layer["energy_pj_per_clip"] for layer in budget["layers"]]
    if budget["energy_pj_per_clip"] is None or None in parts:
        return None
    return float(budget["energy_pj_per_clip"] - sum(parts))


def layers_csv(results: dict[str, Any]) -> str:
    """CSV (RFC 4180) of `layer_rows`; whole numbers with all their digits, empty where there is none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(layer_rows(results))
    return text.getvalue()


def markdown(results: dict[str, Any], accuracy: dict[str, float] | None = None) -> str:
    """Tables in Markdown: the networks, the layers of each, and what those of chips take there.

    Estimates are in italics.

    Args:
        results: the content of ``energy.json``.
        accuracy: share of right clips by network.
    """
    networks, told = results["networks"], accuracy or {}
    parts = [table(
        ("network", "accuracy", "spikes / clip", "NASFR", "synaptic events / clip", "95 % interval", "p95",
         "worst clip", "estimate, uJ / clip"),
        [_summary(name, network, told.get(name)) for name, network in networks.items()],
    )]  # fmt: skip
    if "attention_macs" in results:
        parts.append(f"{results['attention_macs']['what']}\n")
    if "firing_break_even" in results:
        limit = results["firing_break_even"]
        parts.append(f"Against a network without spikes: {limit['verdict']} ({limit['source']}).\n")
    for name, network in networks.items():
        own = {"networks": {name: network}}
        rows = [
            (
                row["layer"],
                row["input_kind"] or "",
                *(_number(row[key]) for key in _COUNTED[:6]),
                _number(row["mac_per_clip"]),
                _number(row["ac_per_clip"]),
                _estimate(row["energy_pj_per_clip"], 1),
            )
            for row in layer_rows(own)
        ]
        header = (
            "layer",
            "input",
            *(key.replace("_", " ") for key in _COUNTED[:6]),
            "MAC / clip",
            "AC / clip",
            "estimate, pJ / clip",
        )
        parts.append(f"### {cell(name)}\n\n{table(header, rows)}\n{cell(network['counts']['coverage'])}.\n")
        if network.get("chip"):
            parts += chip_markdown(name, network["chip"])
    return "\n".join(parts)


def _summary(name: str, network: dict[str, Any], accuracy: float | None) -> tuple[str, ...]:
    counts, found = network["counts"], network.get("uncertainty", {}).get("synops")
    per_clip = [sum(layer[key] for layer in counts["layers"]) / counts["clips"] for key in ("spikes", "events")]
    interval = found and found["interval"]
    return (
        name,
        "" if accuracy is None else f"{accuracy:.3f}",
        _number(per_clip[0]),
        f"{counts['nasfr']:.4f}",
        _number(per_clip[1]),
        " to ".join(_number(end) for end in interval) if interval else "",
        _number(found["p95"]) if found else "",
        f"{_number(found['worst'])} (clip {found['worst_clip']})" if found else "",
        _estimate(network["budget"]["energy_pj_per_clip"], 1e-6),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _estimate(energy_pj: float | None, factor: float) -> str:
    return "*unknown*" if energy_pj is None else f"*{energy_pj * factor:,.3f}*"
