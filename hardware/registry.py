# SPDX-License-Identifier: Apache-2.0
"""Finds the chips: those built in, and those of installed packages with the entry point group ``spikefold.chips``.

A package of its own adds a chip without a change here. Its ``pyproject.toml`` says::

    [project.entry-points."spikefold.chips"]
    NAME = "its_package.its_module:ITS_CHIP"

where the object is a `Chip` of that name. One that does not load, is no `Chip`, or takes a name that is taken is an
error that names it, for a chip that silently is not there would be found out much later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from spikefold.errors import ConfigError, EnvironmentLacksError, nearest
from spikefold.hardware.board import Board, split_target
from spikefold.hardware.chip import Chip, NetworkReader

GROUP = "spikefold.chips"
_TO_DO = "mend or uninstall the package that brings it"


@cache
def chips() -> Mapping[str, Chip]:
    """Every known chip by its name, the built-in ones first.

    Raises:
        EnvironmentLacksError: a package's chip does not load, is no `Chip`, has another name than its entry point, or
            a name that is taken.
    """
    found = {chip.name: chip for chip in _built_in()}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        chip = _loaded(point)
        if chip.name in found:
            raise EnvironmentLacksError(
                f"{_origin(point)} brings a chip {chip.name!r}, and there is one of that name",
                where=f"entry point {GROUP}: {point.name}",
                hint=_TO_DO,
            )
        found[chip.name] = chip
    return MappingProxyType(found)


def _built_in() -> tuple[Chip, ...]:
    from spikefold.hardware.loihi.chip import LOIHI1, LOIHI2
    from spikefold.hardware.speck.chip import DYNAPCNN, SPECK2E, SPECK2F

    return SPECK2F, SPECK2E, DYNAPCNN, LOIHI2, LOIHI1


def _loaded(point: EntryPoint) -> Chip:
    where = f"entry point {GROUP}: {point.name} = {point.value}"
    try:
        chip = point.load()
    except Exception as error:  # the module is not ours, and whatever it raises means that there is no such chip
        raise EnvironmentLacksError(
            f"the chip {point.name!r} of {_origin(point)} does not load: {type(error).__name__}: {error}",
            where=where,
            hint=_TO_DO,
        ) from error
    if not isinstance(chip, Chip):
        raise EnvironmentLacksError(
            f"what {_origin(point)} brings as the chip {point.name!r} is no Chip but {type(chip).__name__}",
            where=where,
            hint=_TO_DO,
        )
    if chip.name != point.name:
        raise EnvironmentLacksError(
            f"{_origin(point)} brings the chip {chip.name!r} under the name {point.name!r}", where=where, hint=_TO_DO
        )
    return chip


def _origin(point: EntryPoint) -> str:
    return "a package without metadata" if point.dist is None else f"the package {point.dist.name}"


def chip_named(name: str) -> Chip:
    """The chip of that name.

    Raises:
        ConfigError: there is none; the nearest name is suggested.
        EnvironmentLacksError: as `chips`.
    """
    known = chips()
    if name not in known:
        raise ConfigError(f"unknown chip {name!r}", where="chips", hint=nearest(name, known))
    return known[name]


def board_of(target: str) -> tuple[Chip, Board]:
    """The board that a target ``NAME:INDEX`` names, and the chip on it.

    Raises:
        ConfigError: no chip has a board of that name, or the index is none.
        EnvironmentLacksError: as `chips`.
    """
    name, _ = split_target(target)
    known = {board.name: (chip, board) for chip, board in _boards()}
    if name not in known:
        raise ConfigError(f"unknown board {name!r}", where=target, hint=nearest(name, known))
    return known[name]


def _boards() -> Iterator[tuple[Chip, Board]]:
    for chip in chips().values():
        for board in chip.boards:
            yield chip, board


def reader_of(kind: str) -> tuple[Chip, NetworkReader]:
    """What reads files of this kind, and the chip in whose integers they are.

    Raises:
        ConfigError: no chip's tools write such files.
        EnvironmentLacksError: as `chips`.
    """
    known = {reader.kind: (chip, reader) for chip in chips().values() for reader in chip.readers}
    if kind not in known:
        raise ConfigError(f"no chip's tools write files of the kind {kind!r}", where=kind, hint=nearest(kind, known))
    return known[kind]
