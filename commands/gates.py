# SPDX-License-Identifier: Apache-2.0
"""``--gate``: limits on the numbers of a run, which decide the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spikefold.commands.screen import Screen
from spikefold.errors import MismatchError
from spikefold.session import Session

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from spikefold.energy.gate import ReportGate, Scalars

_HELP = 'Exit code 1 unless it holds, as "energy_uj<50" or "speck2f.events.accuracy>=float-0.01".'
Gates = Annotated[list[str] | None, typer.Option("--gate", help=_HELP)]


def read_gates(texts: list[str] | None) -> tuple[ReportGate, ...]:
    """Gates as they were typed; what cannot be read is told before anything runs.

    Raises:
        ConfigError: a gate cannot be read.
    """
    if not texts:
        return ()
    from spikefold.energy.gate import parse

    return parse(texts)


def check_gates(gates: tuple[ReportGate, ...], session: Session, screen: Screen) -> None:
    """Hold the numbers of a finished run against the gates.

    Raises:
        MismatchError: some do not hold, each named.
        ConfigError: a gate is for a network that the run has not.
    """
    if gates:
        hold_gates(gates, numbers_of(session), session.config.chips.names, str(session.folder), screen)


def numbers_of(session: Session) -> dict[str, Scalars]:
    """By variant the numbers of a finished run that a gate can name."""
    from spikefold.energy.gate import scalars
    from spikefold.stages.files.energy import energy_of_run
    from spikefold.stages.files.simulate import SimulateFile

    variants = SimulateFile.of_run(session).variants
    networks = energy_of_run(session, variants)["networks"]
    return {name: scalars(networks[name], variant.accuracy) for name, variant in variants.items()}


def hold_gates(
    gates: tuple[ReportGate, ...],
    numbers: Mapping[str, Scalars],
    deployed: Collection[str],
    where: str,
    screen: Screen,
) -> None:
    """Hold numbers against gates, and say that they hold; nothing is said where there is none.

    Raises:
        MismatchError: some do not hold, each named.
        ConfigError: a gate is for a network that has no numbers.
    """
    if not gates:
        return
    from spikefold.energy.gate import evaluate

    if failures := evaluate(gates, numbers, deployed=tuple(deployed)):
        issues = [failure.issue for failure in failures]
        what = "1 gate does not hold" if len(failures) == 1 else f"{len(failures)} gates do not hold"
        raise MismatchError(what, where=where, issues=issues)
    screen.line("1 gate holds" if len(gates) == 1 else f"{len(gates)} gates hold")
