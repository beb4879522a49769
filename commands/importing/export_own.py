# SPDX-License-Identifier: Apache-2.0
"""A network of the user's own to its chips' files, and to its page: what ``export`` and ``report`` do with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spikefold.commands.importing.own_network import OwnNetwork, refuse_other_chips
from spikefold.commands.screen import Screen
from spikefold.commands.summary import comparisons
from spikefold.commands.tables import say_json, show
from spikefold.errors import ConfigError

if TYPE_CHECKING:
    from spikefold.config import Config


def export_own(
    source: str,
    own: OwnNetwork,
    out: Path,
    screen: Screen,
    *,
    adapt: bool,
    page: bool,
    sets: list[str],
    as_json: bool,
) -> None:
    """Write the files of every chip, tune where that is asked for, and write the page where it is.

    Raises:
        ConfigError: ``--adapt`` without recordings, or for a network in a chip's integers; a setting of nothing here.
    """
    from spikefold.stages.exchange.export_net import export_net
    from spikefold.stages.exchange.export_network import export_network
    from spikefold.stages.exchange.foreign import opened
    from spikefold.stages.exchange.page import PAGE
    from spikefold.stages.exchange.tuned import Tuning

    config = _settings(sets)
    if adapt and own.data is None:
        raise ConfigError(
            "nothing to tune it on", where="--adapt", hint="--data: recordings of its classes, as npz:DIR"
        )
    found, clips = opened(source, own.asked(), screen, own.data)

    def tell(content: dict[str, Any]) -> None:
        if as_json:
            say_json({"folder": str(out), **content})
        else:
            _tell(content, out / PAGE if page and (out / PAGE).is_file() else out)

    test, calibration = (None, None) if clips is None else (clips.test, clips.calibration)
    if found.chip is not None:
        refuse_other_chips(found.chip, own.chip)
        if adapt:
            hint = "tune it with lava-dl, or bring the network before it was quantised"
            raise ConfigError("the file holds a chip's integers", where="--adapt", hint=hint)
        path = Path(source.removeprefix("net:"))
        export_net(path, out, found.network, screen, test, tell, page=config if page else None)
        return
    tuning = Tuning(found.network, clips, config, screen) if adapt and clips is not None else None
    export_network(
        found, own.chips, out, screen, test, calibration, tell, tuning=tuning, page=config if page else None
    )


def _settings(sets: list[str]) -> Config:
    """The configuration, of which the adaptation and the prices may be set.

    Raises:
        ConfigError: another key.
    """
    from spikefold.config import load_config

    keys = [text.partition("=")[0] for text in sets]
    if wrong := [
        key for key in keys if not key.startswith("adapt.") and key not in ("energy_profile", "energy_rule")
    ]:
        raise ConfigError(f"--set {', '.join(wrong)}", where="--set", hint="adapt.KEY, energy_profile, energy_rule")
    return load_config(None, tuple(sets))


def _tell(content: dict[str, Any], written: Path) -> None:
    for name, found in content["accuracy"].items():
        low, high = found["interval"]
        typer.echo(f"{name:>10}  accuracy {found['accuracy']:.3f} ({low:.2f} to {high:.2f})")
    for name, told in content.get("adapted", {}).items():
        for one in told["replaced"]:
            typer.echo(f"{name:>10}  tuned {told['how']}: {one['layer']}: {one['what']}")
    for name, chip in content["chips"].items():
        for note in chip["notes"]:
            typer.echo(f"{name:>10}  {note}")
    _passes(content)
    for line in comparisons(content):
        typer.echo(line)
    typer.echo(written)


def _passes(content: dict[str, Any]) -> None:
    """The passes that were applied, a line each: for which chip, what, which layers, and what was compared."""
    from spikefold.hardware.chip import Table

    found = [("all", entry) for entry in content.get("passes", ())]
    found += [(name, entry) for name, chip in content["chips"].items() for entry in chip.get("passes", ())]
    rows = tuple(
        (name, entry["pass"], ", ".join(entry["changed"]), entry["what"], _proof(entry)) for name, entry in found
    )
    if rows:
        table = Table("Rewritten, before = after", ("chip", "pass", "layers", "what", "proof"), rows)
        show(table)


def _proof(entry: dict[str, Any]) -> str:
    if "spikes" not in entry:
        return str(entry["proof"])
    return f"{entry['flips']} of {entry['spikes']:,} spikes differ"
