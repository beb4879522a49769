# SPDX-License-Identifier: Apache-2.0
"""``spikefold doctor``: what of the installation is there, and what the missing parts would unlock."""

from __future__ import annotations

import typer

from spikefold.commands.options import Json
from spikefold.commands.screen import guarded
from spikefold.commands.tables import say_json, show
from spikefold.errors import EnvironmentLacksError, Issue


def doctor(as_json: Json = False) -> None:
    """Versions, vendors' packages, GPU and browser; exit code 4 where something is missing that every run needs.

    For example: spikefold doctor --json
    """
    with guarded():
        from spikefold.hardware.chip import Table
        from spikefold.stages.verbs.installation import installation

        found = installation()
        if as_json:
            say_json(found)
        else:
            title = f"spikefold {found['spikefold']}, Python {found['python']}, {found['machine']}"
            rows = tuple(
                (part["name"], "there" if part["ok"] else "MISSING" if part["needed"] else "not there",
                 part["found"], part["unlocks"], part["to_do"])
                for part in found["parts"]
            )  # fmt: skip
            show(Table(title, ("part", "state", "found", "for", "to do"), rows))
        missing = [part for part in found["parts"] if part["needed"] and not part["ok"]]
        if missing:
            issues = [
                Issue("needed", part["name"], part["found"], "a version that works", part["to_do"])
                for part in missing
            ]
            raise EnvironmentLacksError("something is missing that every run needs", issues=issues)
        if not as_json:
            typer.echo("everything that a run needs is there")
