# SPDX-License-Identifier: Apache-2.0
"""The options of every command that takes a network trained elsewhere: told once, as the fields of `OwnNetwork`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from spikefold.errors import ConfigError

if TYPE_CHECKING:
    from spikefold.stages.exchange.source import Asked

Adapt = Annotated[
    bool,
    typer.Option("--adapt", help="A network of your own: tune it to the chips that lack its neurons; needs --data."),
]
Strings = list[str] | None
Number = int | None


@dataclass(frozen=True)
class OwnNetwork:
    """What was said of a network of the user's own on the command line: an option for each field, in this order."""

    from_: Annotated[
        str | None,
        typer.Option("--from", help="Instead: nir:FILE, net:FILE or torch:package.module:function, which runs."),
    ] = None
    chip: Annotated[Strings, typer.Option("--chip", help="A network of your own: a target, repeatable.")] = None
    data: Annotated[str | None, typer.Option("--data", help="A network of your own: recordings, as npz:DIR.")] = None
    convention: Annotated[
        str | None,
        typer.Option(help="FILE.nir: who wrote it (spikefold, sinabs, snntorch, spikingjelly, norse)."),
    ] = None
    steps: Annotated[Number, typer.Option(min=1, help="A network of your own: time steps of a clip.")] = None
    dt_us: Annotated[
        Number, typer.Option("--dt-us", min=1, help="A network of your own: microseconds of a step.")
    ] = None
    classes: Annotated[
        Number, typer.Option("--classes", min=1, help="A network of your own: groups of output neurons.")
    ] = None
    input_shape: Annotated[
        str | None, typer.Option(help="C,H,W of the input, where a file or a function does not say it.")
    ] = None
    nir: Annotated[Strings, typer.Option(help="FILE.nir: what else it does not say, as reset=zero.")] = None
    no_input_bias: Annotated[
        bool, typer.Option("--no-input-bias", help="FILE.net: hold the bias of its input layer at 0.")
    ] = False

    @property
    def chips(self) -> list[str]:
        """The targets that were named, or those of a run by default."""
        from spikefold.config import ChipsConfig

        return self.chip or list(ChipsConfig().names)

    def source(self, argument: str | None, default: str | None = None) -> str | None:
        """What names the network; None where a run folder is meant.

        Args:
            argument: of the command.
            default: what the argument is where the user named none.

        Raises:
            ConfigError: two sources, or ``--from`` with something else than a kind and its place.
        """
        from spikefold.stages.exchange.source import KINDS, kind_of

        if self.from_ is None:
            return argument if argument is not None and kind_of(argument) is not None else None
        kind, _, place = self.from_.partition(":")
        if argument != default or kind not in KINDS or not place:
            hint = "nir:FILE, net:FILE or torch:package.module:function, and no other source"
            raise ConfigError(f"--from {self.from_}", where="--from", hint=hint)
        return self.from_

    def asked(self, classes: int | None = None) -> Asked:
        """What the network does not say itself, as `spikefold.stages.exchange.foreign.opened` takes it.

        Args:
            classes: where the command has an option of its own for them.

        Raises:
            ConfigError: an input shape that is not three whole numbers.
        """
        from spikefold.stages.exchange.source import Asked

        shape = None
        if self.input_shape is not None:
            sizes = self.input_shape.replace("x", ",").split(",")
            if len(sizes) != 3 or not all(size.strip().isdigit() for size in sizes):
                raise ConfigError(
                    f"{self.input_shape!r} is no shape", where="--input-shape", hint="C,H,W, as 2,34,34"
                )
            shape = (int(sizes[0]), int(sizes[1]), int(sizes[2]))
        return Asked(
            self.convention,
            self.steps,
            self.dt_us,
            classes if self.classes is None else self.classes,
            shape,
            tuple(self.nir or ()),
            self.no_input_bias,
        )

    def refuse_for_a_run(self, **more: object) -> None:
        """Refuse what only a network of the user's own takes.

        Args:
            more: further options of the command that are of this kind.

        Raises:
            ConfigError: something of it was given.
        """
        given = {one.name: getattr(self, one.name) for one in fields(self)} | more
        if wrong := [name.replace("_", "-") for name, value in given.items() if value not in (None, [], False)]:
            raise ConfigError(
                f"{', '.join(wrong)} go with FILE.nir or FILE.net, or --from torch:",
                where="a run folder",
                hint="a run folder has its own configuration",
            )


def refuse_other_chips(only: str, chips: list[str] | None) -> None:
    """Refuse other targets for a network that is in one chip's integers.

    Raises:
        ConfigError: another chip was named.
    """
    if others := [name for name in chips or () if name != only]:
        raise ConfigError(
            f"the file holds the integers of {only}, which {', '.join(others)} cannot take",
            where="--chip",
            hint="leave --chip out, or bring the network before it was quantised",
        )


def takes_own_network(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `OwnNetwork`, but for those named; it takes them as its parameter ``own``."""
    hints = get_type_hints(OwnNetwork, include_extras=True)
    taken = [one for one in fields(OwnNetwork) if one.name not in without]

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**given: Any) -> None:
            own = OwnNetwork(**{one.name: given.pop(one.name) for one in taken})
            command(**given, own=own)

        parameters = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.name != "own":
                parameters.append(parameter)
                continue
            parameters += [
                inspect.Parameter(one.name, parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
                for one in taken
            ]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorated
