# SPDX-License-Identifier: Apache-2.0
"""``spikefold inspect``: a network by name, layer by layer."""

from __future__ import annotations

import typer
from rich.console import Console

from spikefold.commands.options import Arch, Attention, Classes, Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show


def inspect(arch: Arch, attention: Attention = None, classes: Classes = None, as_json: Json = False) -> None:
    """Layers, shapes and parameters of one of the paper's networks, or of ours for Speck, as it would be trained."""
    with guarded():
        from spikefold.hardware.chip import Table
        from spikefold.stages.verbs.layer_table import layer_table
        from spikefold.train.models.architectures import architecture

        content = layer_table(architecture(arch, classes, attention))
        if as_json:
            say_json(content)
            return
        rows = [
            (layer["name"], layer["kind"], "x".join(map(str, layer["shape"])), f"{layer['parameters']:,}")
            for layer in content["layers"]
        ]
        rows.append(("all", "", "", f"{content['parameters']:,}"))
        title = f"{arch}: {content['title']}, input {content['input']}, {content['steps']} steps"
        show(Table(title, ("layer", "kind", "shape", "parameters"), tuple(rows)), Console(highlight=False))
        for reason in content["reasons"]:
            typer.echo(f"  {reason}")
