# SPDX-License-Identifier: Apache-2.0
"""Writes an evaluation: ``evaluation.json``, and a page of it that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import ConfigError
from spikefold.files import replacing_folder, write_json, write_text
from spikefold.pages import template
from spikefold.session import Session
from spikefold.stages.evaluate.form import FILE, PAGE, EvaluationForm

_TEMPLATE = Path(__file__).with_name("evaluation.html.jinja")
_MOST_LISTED = 200
"""Recordings that the page lists by name."""


def out_folder(session: Session, source: str, out: Path | None) -> Path:
    """Where an evaluation goes: never into a run, nor in the place of anything but an evaluation.

    Raises:
        ConfigError: it would.
    """
    run = session.folder.resolve()
    folder = out or Path("evaluations") / f"{run.name}-{source.partition(':')[0]}"
    place = folder.resolve()
    if place == run or run in place.parents or place in run.parents:
        raise ConfigError("an evaluation is not written into a run", where=str(folder), hint="choose another --out")
    if place.exists() and not (place / FILE).is_file() and not _is_empty(place):
        raise ConfigError("there is something else", where=str(folder), hint="choose another --out, or remove it")
    return folder


def _is_empty(place: Path) -> bool:
    return place.is_dir() and not any(place.iterdir())


def write_evaluation(found: EvaluationForm, folder: Path) -> None:
    """Write both files; the folder appears whole or not at all."""
    content = found.model_dump(mode="json")
    with replacing_folder(folder) as scratch:
        write_json(scratch / FILE, content)
        write_text(scratch / PAGE, page(content))


def page(content: dict[str, Any]) -> str:
    """The page of an evaluation."""
    wrong, more = _wrong(content)
    shares = {name: _shares(engine["confusion"]) for name, engine in content["engines"].items()}
    return template(_TEMPLATE).render(e=content, wrong=wrong, more=more, shares=shares)


def _shares(confusion: list[list[int]]) -> list[list[float]]:
    """Of each true class, the share that was named as each class; 0 in a class without recordings."""
    counts = np.array(confusion, np.int64)
    return list((counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).tolist())


def _wrong(content: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Recordings that an engine has wrong, and how many more there are than are listed."""
    found = []
    classes, engines = content["classes"], content["engines"]
    for number, (name, label) in enumerate(zip(content["names"], content["labels"], strict=True)):
        told = {engine: one["predicted"][number] for engine, one in engines.items()}
        if any(one != label for one in told.values()):
            named = {engine: "" if one == label else classes[one] for engine, one in told.items()}
            found.append({"number": number, "name": name, "label": classes[label], "named": named})
    return found[:_MOST_LISTED], max(0, len(found) - _MOST_LISTED)
