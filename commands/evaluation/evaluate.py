# SPDX-License-Identifier: Apache-2.0
"""``spikefold evaluate``: a trained run on other recordings, in software and on every chip's engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spikefold.commands.evaluation.lines import tell
from spikefold.commands.options import LATEST_RUN, Address, Json, Quiet, RunFolder, Workers
from spikefold.commands.screen import guarded
from spikefold.errors import ConfigError
from spikefold.session import Session, open_session

if TYPE_CHECKING:
    from spikefold.stages.evaluate.form import EvaluationForm

_SOURCE = "gestures | digits | npz:DIR | npz:FILE.npz | folder:DIR | a published set as `spikefold run` takes it"
_SPLIT = "all | train | test; by default those for testing where the source has a split of its own, else all."
_SHARD = "Only the range I of N, as 2/8; the ranges are put together by --merge."
_MERGE = "Instead of running: the evaluation of a range, its folder or file; once for each range."
_OUT = "Folder of evaluation.json and evaluation.html; evaluations/RUN-SOURCE by default, never in the run."
_SETS = "How files are read, as --set data.time_unit=ms; the binning is the run's."


def evaluate(
    folder: RunFolder = LATEST_RUN,
    data: Annotated[str | None, typer.Option("--data", help=_SOURCE)] = None,
    chip: Annotated[list[str] | None, typer.Option(help="A chip of the run; all of them by default.")] = None,
    split: Annotated[str | None, typer.Option(help=_SPLIT)] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help=_SETS)] = None,
    shard: Annotated[str | None, typer.Option(help=_SHARD)] = None,
    merge: Annotated[list[Path] | None, typer.Option(help=_MERGE)] = None,
    workers: Workers = None,
    address: Address = None,
    out: Annotated[Path | None, typer.Option("--out", help=_OUT)] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """A trained run on other recordings, by every engine: accuracy, spikes, operations, energy. It is only read."""
    with guarded(quiet) as screen:
        from spikefold.stages.evaluate.write import out_folder, write_evaluation

        session = open_session(folder, screen)
        if (data is None) == (not merge):
            raise ConfigError(
                "name the recordings", where="evaluate", hint="--data SOURCE, or --merge for each range"
            )
        if data is None:
            given = {"--chip": chip, "--split": split, "--set": sets, "--shard": shard, "--workers": workers}
            found = _merged(session, merge or [], [name for name, value in given.items() if value])
            place = out_folder(session, found.recordings.source, out)
        else:
            place = out_folder(session, data, out)
            found = _ran(session, data, chip, _split(split), tuple(sets or ()), _shard(shard), (workers, address))
        write_evaluation(found, place)
        tell(found, place, as_json=as_json)


def _ran(
    session: Session,
    data: str,
    chips: list[str] | None,
    split: Literal["all", "train", "test"] | None,
    sets: tuple[str, ...],
    shard: tuple[int, int] | None,
    spread: tuple[int | None, str | None],
) -> EvaluationForm:
    from spikefold.stages.evaluate.on_recordings import Asked
    from spikefold.stages.evaluate.on_recordings import evaluate as evaluated
    from spikefold.stages.spread.engine import cluster_of
    from spikefold.stages.spread.evaluation import evaluate_spread

    asked, cluster = Asked(data, split, chips or None, sets, shard), cluster_of(*spread)
    return evaluated(session, asked) if cluster is None else evaluate_spread(session, asked, cluster)


def _merged(session: Session, places: list[Path], given: list[str]) -> EvaluationForm:
    from spikefold.stages.evaluate.merge import merged

    if given:
        raise ConfigError(f"{', '.join(given)} go with --data", where="--merge", hint="the files say what ran")
    return merged(session, places)


def _split(text: str | None) -> Literal["all", "train", "test"] | None:
    if text is None or text in ("all", "train", "test"):
        return text  # type: ignore[return-value]
    raise ConfigError(f"no split {text!r}", where="--split", hint="all, train or test")


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None:
        raise ConfigError(f"{text!r} is no shard", where="--shard", hint="I/N, as 2/8")
    return int(found[1]), int(found[2])
