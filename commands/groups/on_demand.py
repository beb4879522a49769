# SPDX-License-Identifier: Apache-2.0
"""Commands that are built of their functions when one of them is meant: building all takes longer than any help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.main import get_command


@dataclass(frozen=True)
class Recipe:
    """What a command is built of.

    Attributes:
        of: its function, or a group of commands.
        help: in place of the function's own docstring.
        epilog: below the help.
    """

    of: Callable[..., None] | typer.Typer
    help: str | None = None
    epilog: str | None = None

    @property
    def first_sentence(self) -> str:
        """Of the help."""
        own = self.of.info.help if isinstance(self.of, typer.Typer) else inspect.getdoc(self.of)
        words = " ".join((self.help or str(own)).partition("\n\n")[0].split())
        return words.partition(". ")[0].removesuffix(".") + "."

    def build(self, name: str) -> Any:
        """The command."""
        if isinstance(self.of, typer.Typer):
            built: Any = get_command(self.of)
            built.name, built.epilog = name, self.epilog
            return built
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name, help=self.help, epilog=self.epilog)(self.of)
        return get_command(alone)


class OnDemand(Mapping[str, Any]):
    """Commands by name, each built when it is first asked for."""

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self.recipes = recipes
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self.recipes[name].build(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.recipes)

    def __len__(self) -> int:
        return len(self.recipes)
