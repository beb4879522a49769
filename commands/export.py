# SPDX-License-Identifier: Apache-2.0
"""``spikefold export``: a run's artefacts, or those of a network trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikefold.commands.importing.export_own import export_own
from spikefold.commands.importing.own_network import Adapt, OwnNetwork, takes_own_network
from spikefold.commands.options import LATEST_RUN, Json, Quiet, Sets
from spikefold.commands.screen import guarded
from spikefold.commands.stage_command import again, say_run
from spikefold.errors import ConfigError
from spikefold.stage_table import EXPORT


@takes_own_network()
def export(
    own: OwnNetwork,
    source: Annotated[str, typer.Argument(help="A run folder, or a FILE.nir or FILE.net.")] = str(LATEST_RUN),
    out: Annotated[Path | None, typer.Option(help="A network of your own: folder for the files.")] = None,
    adapt: Adapt = False,
    sets: Sets = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Quantise and write every artefact of an adapted run; or of a network trained elsewhere, from its .nir file.

    For example: spikefold export model.nir --chip speck2f --out chips --data npz:DIR
    """
    with guarded(quiet) as screen:
        foreign = own.source(source, str(LATEST_RUN))
        if foreign is None:
            own.refuse_for_a_run(out=out, adapt=adapt, set=sets)
            again(EXPORT, Path(source), [], screen)
            say_run(EXPORT, Path(source), as_json=as_json)
            return
        if out is None:
            raise ConfigError("no folder for the files", where="--out", hint="for example --out chips")
        export_own(foreign, own, out, screen, adapt=adapt, page=adapt, sets=sets or [], as_json=as_json)
