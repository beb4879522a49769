# SPDX-License-Identifier: Apache-2.0
"""``evaluate`` on many workers: ranges of the recordings, added as `stages.evaluate.merge` adds their files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from spikefold.errors import ConfigError
from spikefold.session import Session, open_session
from spikefold.stages.evaluate.form import EvaluationForm
from spikefold.stages.evaluate.merge import added
from spikefold.stages.evaluate.on_recordings import Asked, evaluate, shards_at_most
from spikefold.stages.spread.engine import Cluster, Task, spread
from spikefold.stages.spread.worker import Quiet, with_threads
from spikefold.train.processes.device import threads_of_process

_EACH = 4
"""Ranges for each worker: the last one done keeps the others waiting for a quarter of their time at most."""


@dataclass(frozen=True)
class _Range:
    run: Path
    asked: Asked
    threads: int


def evaluate_spread(session: Session, asked: Asked, cluster: Cluster) -> EvaluationForm:
    """As `evaluate`, in every number, by the workers of a cluster.

    Raises:
        ConfigError: a shard is asked for too.
        SpikefoldError: as `evaluate` and `spread`.
    """
    if asked.shard is not None:
        raise ConfigError("a range and workers", where="--shard", hint="--workers cuts the recordings by itself")
    there = replace(asked, source=_absolute(asked.source))
    shards = min(shards_at_most(session, there), _EACH * cluster.workers)
    run, count = session.folder.resolve(), threads_of_process()
    tasks = [
        Task(f"range {number} of {shards}", _Range(run, replace(there, shard=(number, shards)), count))
        for number in range(1, shards + 1)
    ]
    parts = spread(_evaluated, tasks, cluster, session.reporter, "evaluate")
    forms = [EvaluationForm.model_validate_json(part) for part in parts]
    whole = added(session, forms)
    # the source as it was named, not as the workers found it
    return whole.model_copy(update={"recordings": whole.recordings.model_copy(update={"source": asked.source})})


def _evaluated(given: _Range) -> str:
    with with_threads(given.threads):
        return evaluate(open_session(given.run, Quiet()), given.asked).model_dump_json()


def _absolute(source: str) -> str:
    kind, separator, place = source.partition(":")
    return f"{kind}:{Path(place).expanduser().resolve()}" if separator else source
