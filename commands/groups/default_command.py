# SPDX-License-Identifier: Apache-2.0
"""A group whose first command is meant where none is named: ``spikefold energy RUN`` is ``energy count RUN``."""

from __future__ import annotations

from typing import Any

from spikefold.commands.groups.whole_help import WholeHelpGroup


class DefaultCommandGroup(WholeHelpGroup):
    """Puts its first command in front of arguments that begin with no command of the group.

    A run folder that is called like a command is given as ``./calibrate``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments with a command in front; help of the group and completion of its names stay as they are."""
        named = args[:1] and args[0] in (*self.commands, *ctx.help_option_names)
        completes_a_name = ctx.resilient_parsing and not args
        if not named and not completes_a_name:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
