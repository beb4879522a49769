# SPDX-License-Identifier: Apache-2.0
"""Adds the evaluations of ranges that follow one another: the result is that of all the recordings, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import DataError, Issue
from spikefold.session import Session
from spikefold.stages.evaluate.form import FILE, EngineForm, EvaluationForm
from spikefold.stages.evaluate.on_recordings import finished
from spikefold.stages.files.base import read_form, shown
from spikefold.stages.files.counts import Totals
from spikefold.stages.files.fold import FoldFile

_SAME = ("spikefold", "run", "identity", "classes", "binning", "pricing")
_OF_RANGE = {"first", "count"}


def merged(session: Session, places: Sequence[Path]) -> EvaluationForm:
    """Add the evaluations of all ranges of one source.

    Args:
        session: the run that was evaluated.
        places: the files, or the folders that hold them, in any order.

    Raises:
        DataError: a file that is damaged, of another run, of another source, or a range that is missing or twice.
    """
    files = [place / FILE if place.is_dir() else place for place in places]
    found = [read_form(EvaluationForm, file, "`spikefold evaluate RUN --shard i/n` writes it") for file in files]
    order = sorted(range(len(found)), key=lambda number: found[number].recordings.first)
    parts, names = [found[number] for number in order], [str(files[number]) for number in order]
    if issues := [*_strangers(session, parts, names), *_gaps(parts, names)]:
        raise DataError("these are not the ranges of one evaluation", where=str(session.folder), issues=issues)
    return added(session, parts)


def added(session: Session, parts: Sequence[EvaluationForm]) -> EvaluationForm:
    """Add ranges that follow one another, all of one source, of one run."""
    first = parts[0]
    about: dict[str, Any] = first.model_dump(exclude={"engines", "results"})
    about["recordings"] |= {"first": 0, "count": first.recordings.all}
    about["names"] = [name for part in parts for name in part.names]
    about["labels"] = [label for part in parts for label in part.labels]
    engines = {name: reduce(_added, [part.engines[name] for part in parts]) for name in first.engines}
    return finished(session, about, engines)


def _added(one: EngineForm, two: EngineForm) -> EngineForm:
    totals = Totals()
    for form in (one.totals, two.totals):
        totals.add(form.counts(), form.input_rates())
    confusion = np.array(one.confusion, np.int64) + np.array(two.confusion, np.int64)
    return one.model_copy(
        update={
            "right": one.right + two.right,
            "ties": one.ties + two.ties,
            "overflow": one.overflow + two.overflow,
            "confusion": confusion.tolist(),
            "layers": {name: spikes + two.layers[name] for name, spikes in one.layers.items()},
            "totals": totals.form(),
            **{name: getattr(one, name) + getattr(two, name) for name in ("predicted", "spikes", "synops", "voted")},
        }
    )


def _strangers(session: Session, parts: list[EvaluationForm], names: list[str]) -> list[Issue]:
    """What a file has otherwise than the run, or than the first file."""
    issues, first = [], parts[0]
    identity = FoldFile.of_run(session).identity
    for part, name in zip(parts, names, strict=True):
        if part.identity != identity:
            issues.append(Issue("of this run", name, part.identity[:12], identity[:12], "Give the run it is of."))
        for key in _SAME:
            if getattr(part, key) != getattr(first, key):
                got, limit = (shown(getattr(one, key)) for one in (part, first))
                issues.append(Issue(f"the same {key}", name, got, limit, f"as in {names[0]}"))
        one, other = (set_.recordings.model_dump(exclude=_OF_RANGE) for set_ in (part, first))
        if one != other:
            issues.append(Issue("the same recordings", name, shown(one), shown(other), f"as in {names[0]}"))
        if list(part.engines) != list(first.engines):
            got, limit = ", ".join(part.engines), ", ".join(first.engines)
            issues.append(Issue("the same engines", name, got, limit, f"as in {names[0]}"))
        lengths = {len(part.labels), len(part.names)} | {
            len(values) for one in part.engines.values() for values in (one.predicted, one.spikes, one.synops)
        }
        lengths |= {len(one.voted) for one in part.engines.values() if one.voted}
        if lengths != {part.recordings.count}:
            got = ", ".join(map(str, sorted(lengths)))
            issues.append(Issue("a line for each clip", name, got, str(part.recordings.count), ""))
    return issues


def _gaps(parts: list[EvaluationForm], names: list[str]) -> list[Issue]:
    """Ranges that are missing or twice."""
    issues, expected = [], 0
    for part, name in zip(parts, names, strict=True):
        if part.recordings.first != expected:
            hint = "Each range once, and all of them."
            issues.append(Issue("range", name, f"begins at {part.recordings.first}", f"{expected}", hint))
        expected = part.recordings.first + part.recordings.count
    if expected != parts[-1].recordings.all:
        hint = "Give the ranges that are missing too."
        issues.append(Issue("range", names[-1], f"ends at {expected}", f"{parts[-1].recordings.all}", hint))
    return issues
