# SPDX-License-Identifier: Apache-2.0
"""Makes the designs of a space, one after the other or on Ray's workers, and tells what they came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spikefold.config import to_toml
from spikefold.errors import DataError
from spikefold.files import write_text
from spikefold.provenance.lock import LOCK
from spikefold.session import Reporter
from spikefold.stage_table import REPORTS
from spikefold.stages.spread.engine import Cluster, Task, spread
from spikefold.stages.sweep.design import DESIGNS, Design
from spikefold.stages.sweep.outcome import Outcome, read_outcome
from spikefold.stages.sweep.point import Point, on_chips

DONE = Outcome(code=0)


@dataclass(frozen=True)
class ToMake:
    """What a worker needs to make one design.

    Attributes:
        name: of the design.
        config: file of its configuration, absolute.
        run: its run folder, absolute.
        outcome: file for what became of it, absolute.
        place: working directory, in which paths of the configuration begin.
    """

    name: str
    config: Path
    run: Path
    outcome: Path
    place: Path


Make = Callable[[ToMake], Outcome]
"""Makes one design, a function of a module; whatever goes wrong is in the outcome."""


def make_designs(
    designs: Sequence[Design],
    folder: Path,
    make: Make,
    reporter: Reporter,
    cluster: Cluster | None = None,
    *,
    retry: bool = False,
) -> None:
    """Make every design that is not made yet, and keep what became of each.

    Args:
        designs: of the space.
        folder: of the sweep.
        make: makes one.
        reporter: told about each.
        cluster: where they are made; None for one after the other here.
        retry: whether those that failed are made again.

    Raises:
        DataError: something else lies in the folder.
        EnvironmentLacksError: Ray cannot be reached, or the worker of one design died twice.
    """
    _check(folder)
    (folder / DESIGNS).mkdir(parents=True, exist_ok=True)
    left = [one for one in designs if _is_to_make(one, folder, retry=retry)]
    reporter.line(f"{len(designs)} designs, {len(designs) - len(left)} of them made before")
    tasks = []
    for one in left:
        write_text(one.config_file(folder), to_toml(one.config))
        config, run, outcome = (
            path.resolve() for path in (one.config_file(folder), one.run(folder), one.outcome_file(folder))
        )
        tasks.append(Task(one.name, ToMake(one.name, config, run, outcome, Path.cwd())))
    if cluster is not None:
        spread(make, tasks, cluster, reporter, "sweep")
        return
    for number, (one, task) in enumerate(zip(left, tasks, strict=True), 1):
        reporter.line(f"design {number} of {len(left)}, {one.name}: {one.described()}")
        reporter.line(f"  {_told(make(task.argument), folder / one.name)}")


def points(designs: Sequence[Design], folder: Path) -> tuple[Point, ...]:
    """Every design as its folder says, made or not."""
    return tuple(_point(one, folder) for one in designs)


def _check(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError("a file is there", where=str(folder), hint="choose another --out")
    others = [one for one in folder.iterdir() if one.name != LOCK] if folder.is_dir() else []
    if others and not (folder / DESIGNS).is_dir():
        raise DataError("something else is there", where=str(folder), hint="choose another --out")


def _is_to_make(design: Design, folder: Path, *, retry: bool) -> bool:
    """A report that stands is enough; a failure is one as long as nothing but a further try could change it."""
    if _has_report(design.run(folder)):
        return False
    known = read_outcome(design.outcome_file(folder))
    return known is None or known.code == 0 or known.may_change or retry


def _has_report(run: Path) -> bool:
    return all((run / name).is_file() for name in REPORTS)


def _point(design: Design, folder: Path) -> Point:
    run, known = design.run(folder), read_outcome(design.outcome_file(folder))
    if not _has_report(run):
        known = None if known is None or known.code == 0 else known
        code, error = (None, "") if known is None else (known.code, known.error)
        return Point(name=design.name, values=dict(design.values), code=code, error=error)
    known = known or DONE
    try:
        chips = on_chips(run)
    except DataError as error:
        return Point(name=design.name, values=dict(design.values), code=error.exit_code, error=str(error))
    return Point(name=design.name, values=dict(design.values), code=known.code, error=known.error, chips=chips)


def _told(outcome: Outcome, run: Path) -> str:
    try:
        chips = on_chips(run) if _has_report(run) else {}
    except DataError as error:
        return str(error).splitlines()[0]
    if not chips:
        return outcome.error.splitlines()[0] if outcome.error else f"exit code {outcome.code}"
    found = "; ".join(
        f"{chip} {one.accuracy:.3f}, {one.energy_uj:,.3f} uJ, {'no' if one.cores is None else one.cores} cores"
        for chip, one in chips.items()
    )
    return found if outcome.code == 0 else f"{found}; exit code {outcome.code}"
