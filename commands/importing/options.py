# SPDX-License-Identifier: Apache-2.0
"""What several commands ask of a network trained elsewhere, and which of a command's sources is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spikefold.config import ChipsConfig
from spikefold.errors import ConfigError

if TYPE_CHECKING:
    from spikefold.stages.exchange.foreign import Asked

From = Annotated[
    str | None,
    typer.Option("--from", help="Instead: nir:FILE, net:FILE or torch:package.module:function, which runs."),
]
OnChips = Annotated[list[str] | None, typer.Option("--chip", help="A network of your own: a target, repeatable.")]
Recordings = Annotated[str | None, typer.Option("--data", help="A network of your own: recordings, as npz:DIR.")]
Convention = Annotated[
    str | None,
    typer.Option(help="FILE.nir: who wrote it (spikefold, sinabs, snntorch, spikingjelly, norse)."),
]
Steps = Annotated[int | None, typer.Option(min=1, help="A network of your own: time steps of a clip.")]
StepUs = Annotated[int | None, typer.Option("--dt-us", min=1, help="A network of your own: microseconds of a step.")]
Groups = Annotated[
    int | None, typer.Option("--classes", min=1, help="A network of your own: groups of output neurons.")
]
InputShape = Annotated[
    str | None, typer.Option(help="C,H,W of the input, where a file or a function does not say it.")
]
Nir = Annotated[list[str] | None, typer.Option(help="FILE.nir: what else it does not say, as reset=zero.")]
NoInputBias = Annotated[
    bool, typer.Option("--no-input-bias", help="FILE.net: hold the bias of its input layer at 0.")
]


def asked(
    convention: str | None = None,
    steps: int | None = None,
    dt_us: int | None = None,
    classes: int | None = None,
    input_shape: str | None = None,
    nir: list[str] | None = None,
    no_input_bias: bool = False,
) -> Asked:
    """What was said on the command line, as `opened` takes it.

    Raises:
        ConfigError: an input shape that is not three whole numbers.
    """
    from spikefold.stages.exchange.foreign import Asked

    shape = None
    if input_shape is not None:
        sizes = input_shape.replace("x", ",").split(",")
        if len(sizes) != 3 or not all(size.strip().isdigit() for size in sizes):
            raise ConfigError(f"{input_shape!r} is no shape", where="--input-shape", hint="C,H,W, as 2,34,34")
        shape = (int(sizes[0]), int(sizes[1]), int(sizes[2]))
    return Asked(convention, steps, dt_us, classes, shape, tuple(nir or ()), no_input_bias)


def foreign_source(source: str | None, from_: str | None, default: str | None = None) -> str | None:
    """What names a network of the user's own; None where a run folder is meant.

    Raises:
        ConfigError: two sources, or ``--from`` with something else than a kind and its place.
    """
    from spikefold.stages.exchange.foreign import kind_of

    if from_ is None:
        return source if source is not None and kind_of(source) is not None else None
    kind = from_.partition(":")[0] if ":" in from_ else ""
    if source != default or kind not in ("nir", "net", "torch") or not from_.partition(":")[2]:
        hint = "nir:FILE, net:FILE or torch:package.module:function, and no other source"
        raise ConfigError(f"--from {from_}", where="--from", hint=hint)
    return from_


def refuse_for_a_run(**given: object) -> None:
    """Refuse what only a network of the user's own takes.

    Raises:
        ConfigError: something of it was given.
    """
    if wrong := [name.replace("_", "-") for name, value in given.items() if value not in (None, [], False)]:
        raise ConfigError(
            f"{', '.join(wrong)} go with FILE.nir or FILE.net, or --from torch:",
            where="a run folder",
            hint="a run folder has its own configuration",
        )


def chips_of(chips: list[str] | None) -> list[str]:
    """The targets that were named, or those of a run by default."""
    return chips or list(ChipsConfig().names)
