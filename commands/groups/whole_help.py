# SPDX-License-Identifier: Apache-2.0
"""A group whose help gives the first sentence of each command whole, broken into lines and never cut short."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from spikefold.commands.groups.on_demand import OnDemand

_LONGEST = 1_000
"""Characters of a command's short help, which is its first sentence."""


class WholeHelpGroup(TyperGroup):
    """Lists its commands with the whole first sentence of each; typer's plain help would end them with dots.

    Plain, because the panels of rich take longer to load than everything else that ``spikefold --help`` does.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """The names alone: typer's own looks at every command."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands in their order."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._said(name)) for name in self.list_commands(ctx)])

    def _said(self, name: str) -> str:
        commands: Any = self.commands
        if isinstance(commands, OnDemand):
            return commands.recipes[name].first_sentence
        said: str = commands[name].get_short_help_str(_LONGEST)
        return said
