# SPDX-License-Identifier: Apache-2.0
"""Finds and opens a Speck board: the only file that imports the real samna, once the probe said that it is real.

samna is handed in as a value everywhere else, so that a test can hand in a strict stand-in.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from spikefold.errors import ConfigError, EnvironmentLacksError, nearest
from spikefold.hardware.speck.board.open_board import BOARDS, RESET_HINT, Board, naming_the_step
from spikefold.hardware.speck.board.samna_probe import why_not


def parse_target(target: str) -> tuple[str, int]:
    """Board type and index of ``speck2fdevkit:0``; without an index the first one.

    Raises:
        ConfigError: another form, or a type that is none of `BOARDS`.
    """
    name, colon, index = target.partition(":")
    if name not in BOARDS:
        raise ConfigError(f"unknown board {name!r}", where=target, hint=nearest(name, BOARDS))
    if colon and not (index.isascii() and index.isdecimal()):
        raise ConfigError(f"{index!r} is no index of a board", where=target, hint=f"write {name}:0 for the first one")
    return name, int(index or 0)


def load() -> Any:
    """The real samna.

    Raises:
        EnvironmentLacksError: it is absent, the registry's stub, or does not load. The stub is never run.
    """
    if reason := why_not():
        hint = "install the vendor's package, from the vendor's index, into the environment that runs spikefold"
        raise EnvironmentLacksError(reason, where="samna", hint=hint)
    try:
        import samna
    except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        hint = "install the release that the vendor built for this Python and system"
        raise EnvironmentLacksError(
            f"samna does not load: {type(error).__name__}: {error}", where="samna", hint=hint
        ) from error
    return samna


def device_status(target: str, samna: Any = None) -> str | None:
    """Why nothing can run on a board, in one clause for a line NOT RUN; None where the board is there.

    Args:
        target: board type and index, such as ``speck2fdevkit:0``.
        samna: the module; the real one is loaded where none is given.

    Raises:
        ConfigError: the target names no board type.
    """
    parse_target(target)
    try:
        _find(load() if samna is None else samna, target)
    except EnvironmentLacksError as error:
        return error.what
    return None


@contextmanager
def opened(target: str, samna: Any = None) -> Iterator[Board]:
    """The board, closed at the end, also after an error.

    Args:
        target: board type and index.
        samna: the module; the real one is loaded where none is given.

    Raises:
        ConfigError: the target names no board type.
        EnvironmentLacksError: no samna; the board is not connected, does not open, or fails in a later call.
    """
    name, _ = parse_target(target)
    samna = load() if samna is None else samna
    info = _find(samna, target)
    with naming_the_step(f"open {target}"):
        handle = samna.device.open_device(info)
    if handle is None:
        raise EnvironmentLacksError(f"{target} does not open", where=target, hint=RESET_HINT)
    board = Board(samna, BOARDS[name], handle)
    try:
        yield board
    except BaseException:
        # a board that vanished cannot be closed either: the first error is the one to tell
        with suppress(EnvironmentLacksError):
            board.close()
        raise
    board.close()


def _find(samna: Any, target: str) -> Any:
    """Samna's description of the board: the index counts boards of one type by USB address, as sinabs does."""
    name, index = parse_target(target)
    with naming_the_step("list the connected boards"):
        boards = [
            (str(info.device_type_name), int(info.usb_device_address), info)
            for info in samna.device.get_all_devices()
        ]
    alike = sorted((board for board in boards if board[0] == BOARDS[name].samna_name), key=lambda board: board[1])
    if index < len(alike):
        return alike[index][2]
    found = ", ".join(sorted(board[0] for board in boards)) or "no board at all"
    raise EnvironmentLacksError(
        f"{target} ({BOARDS[name].samna_name}) is not connected; samna finds {found}", where=target, hint=RESET_HINT
    )
