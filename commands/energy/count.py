# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy RUN``: count and price a run or a network of one's own, and hold its numbers against gates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikefold.commands.gates import Gates, hold_gates, numbers_of, read_gates
from spikefold.commands.importing.own_network import OwnNetwork, refuse_other_chips, takes_own_network
from spikefold.commands.options import LATEST_RUN, Json, Quiet, Sets
from spikefold.commands.screen import Screen, guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.errors import ConfigError
from spikefold.session import open_session
from spikefold.stage_table import ENERGY

if TYPE_CHECKING:
    from spikefold.energy.gate import Scalars


@takes_own_network()
def count(
    own: OwnNetwork,
    source: Annotated[str, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = str(LATEST_RUN),
    sets: Sets = None,
    gate: Gates = None,
    out: Annotated[Path | None, typer.Option(help="A network of your own: file for its numbers, as JSON.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count and price a run or a network of your own, with gates on any number; meant where none is named.

    For example: spikefold energy runs/latest --gate "speck2f.energy_uj<50"
    """
    with guarded(quiet) as screen:
        from spikefold.provenance.origin import why_again

        gates = read_gates(gate)
        foreign = own.source(source, str(LATEST_RUN))
        if foreign is not None:
            numbers, deployed = _of_own(foreign, own, out, sets or [], screen, as_json=as_json)
        else:
            own.refuse_for_a_run(out=out)
            session = open_session(Path(source), screen)
            if gates and not sets and not why_again(ENERGY, session.config, session.folder):
                screen.line(f"{ENERGY.name}: unchanged")  # the numbers are there, and only they are asked for
            else:
                again(ENERGY, Path(source), sets or [], screen)
            say_run(ENERGY, Path(source), as_json=as_json)
            numbers, deployed = numbers_of(session) if gates else {}, list(session.config.chips.names)
        hold_gates(gates, numbers, deployed, foreign or source, screen)


def _of_own(
    source: str, own: OwnNetwork, out: Path | None, sets: list[str], screen: Screen, *, as_json: bool
) -> tuple[dict[str, Scalars], list[str]]:
    """The numbers of each network, told and written, and the chips among them."""
    from spikefold.config import load_config
    from spikefold.energy.gate import scalars
    from spikefold.energy.outputs import energy_json
    from spikefold.files import write_text
    from spikefold.stages.exchange.energy_of import energy_of
    from spikefold.stages.exchange.foreign import opened

    allowed = ("energy_profile", "energy_rule")
    if wrong := [text for text in sets if text.partition("=")[0] not in allowed]:
        raise ConfigError(f"--set {', '.join(wrong)}", where="energy", hint=f"here: {', '.join(allowed)}")
    config = load_config(None, tuple(sets))
    found, clips = opened(source, own.asked(), screen, own.data)
    if clips is None:
        raise ConfigError(
            "operations follow from spikes", where="--data", hint="recordings of its classes, as npz:DIR"
        )
    if found.chip is not None:
        refuse_other_chips(found.chip, own.chip)
    names = own.chips if found.chip is None else [found.chip]
    content, accuracies = energy_of(
        found, names, clips.test, clips.calibration, config.energy_profile, config.energy_rule, screen
    )
    if out is not None:
        write_text(out, energy_json(content))
    networks = content["networks"]
    if as_json:
        typer.echo(energy_json(content))
    elif out is not None:
        typer.echo(out)
    for name, network in () if as_json else networks.items():
        typer.echo(
            f"{name:>10}  {network['budget']['energy_pj_per_clip'] / 1e6:.3f} uJ a clip ({config.energy_profile}), "
            f"accuracy {accuracies[name]:.3f}"
        )
    numbers: dict[str, Scalars] = {name: scalars(network, accuracies[name]) for name, network in networks.items()}
    return numbers, [name for name in names if name in networks]
