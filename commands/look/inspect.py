# SPDX-License-Identifier: Apache-2.0
"""``spikefold inspect``: a network by name, of a run, from a file or from a function, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikefold.commands.importing.own_network import OwnNetwork, takes_own_network
from spikefold.commands.options import Attention, Classes, Json
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.tables import say_json, show
from spikefold.errors import ConfigError


@takes_own_network("chip", "data", "classes")
def inspect(
    own: OwnNetwork,
    model: Annotated[str | None, typer.Argument(help="A run folder, FILE.nir or FILE.net.")] = None,
    arch: Annotated[
        str | None, typer.Option(help="Instead: a | b | c | d | sew18 (the paper's) | speck-s, -m or -yao.")
    ] = None,
    attention: Attention = None,
    classes: Classes = None,
    as_json: Json = False,
) -> None:
    """Layers, shapes and parameters of a run's folded network, one of the paper's, or one of your own."""
    with guarded(quiet=as_json) as screen:
        foreign = own.source(model)
        if [model or own.from_, arch].count(None) != 1:
            hint = "a run folder, FILE.nir, FILE.net, --from torch:package.module:function or --arch NAME"
            raise ConfigError("name one network", where="inspect", hint=hint)
        if arch is None:
            own_asked = own.asked(classes)
            content = _of_own(foreign, own_asked, screen) if foreign else _of_run(Path(str(model)), screen)
            title = f"{content['network']}: input {content['input']}, {content['steps']} steps"
        else:
            from spikefold.stages.verbs.layer_table import layer_table
            from spikefold.train.models.architectures import architecture

            content = layer_table(architecture(str(arch), classes, attention))
            title = f"{arch}: {content['title']}, input {content['input']}, {content['steps']} steps"
        if as_json:
            say_json(content)
            return
        _show(content, title)


def _of_run(folder: Path, screen: Screen) -> dict[str, Any]:
    from spikefold.session import open_session
    from spikefold.stage_table import FOLD
    from spikefold.stages.files.networks import network_of_run
    from spikefold.stages.verbs.network_table import network_table

    return network_table(network_of_run(open_session(folder, screen), FOLD, "folded"), folder.name)


def _of_own(source: str, said: Any, screen: Screen) -> dict[str, Any]:
    from dataclasses import replace

    from spikefold.stages.exchange.foreign import opened
    from spikefold.stages.exchange.source import NET, kind_of
    from spikefold.stages.verbs.network_table import network_table

    # how long a clip is does not matter here, and a .net file may not say it
    if kind_of(source) == NET:
        said = replace(said, steps=said.steps or 1)
    found, _ = opened(source, said, screen)
    return network_table(found.network, found.name)


def _show(content: dict[str, Any], title: str) -> None:
    from spikefold.hardware.chip import Table

    rows = [
        (layer["name"], layer["kind"], "x".join(map(str, layer["shape"])), f"{layer['parameters']:,}")
        for layer in content["layers"]
    ]
    rows.append(("all", "", "", f"{content['parameters']:,}"))
    show(Table(title, ("layer", "kind", "shape", "parameters"), tuple(rows)))
    for reason in content["reasons"]:
        typer.echo(f"  {reason}")
