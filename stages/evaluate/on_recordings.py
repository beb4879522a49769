# SPDX-License-Identifier: Apache-2.0
"""Runs a trained network, its baseline and every chip's integers on recordings of any source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spikefold import __version__
from spikefold.config import Config, DataConfig, load_config
from spikefold.errors import ConfigError
from spikefold.session import NETWORK, Session
from spikefold.stage_table import TRAIN
from spikefold.stages.evaluate.form import EngineForm, EvaluationForm
from spikefold.stages.evaluate.results import Figures
from spikefold.stages.evaluate.source import Chosen, Split, choose
from spikefold.stages.evaluate.sums import EngineSums
from spikefold.stages.files.fold import FoldFile
from spikefold.stages.files.networks import network_at
from spikefold.stages.variants.listed import ends_of
from spikefold.stages.variants.voting import Voting
from spikefold.train import checkpoint
from spikefold.train.data.clips import Windows, parts_of
from spikefold.train.evaluate import clips_at_once

SETTINGS = (
    "seed",
    "data.on_fault",
    "data.sensor",
    "data.time_unit",
    "data.max_events",
    "data.max_pixels",
    "data.test_share",
    "data.train",
    "data.test",
)
"""What may be set: how files are read and what is generated. How clips are cut is the run's."""


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated.

    Attributes:
        source: of the recordings, as ``data.source``.
        split: which of them; None: those for testing where the source has a split of its own, else all.
        chips: of the run; None for all of them.
        settings: ``key=value`` for `SETTINGS`.
        shard: which range of how many, from 1; None for all recordings.
    """

    source: str
    split: Split | None = None
    chips: Sequence[str] | None = None
    settings: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None

    def data(self, run: Config) -> tuple[DataConfig, int]:
        """How the recordings are read, and the seed of what is generated or drawn.

        Raises:
            ConfigError: a setting of another kind, or a wrong value.
        """
        keys = [text.partition("=")[0] for text in self.settings]
        if wrong := [key for key in keys if key not in SETTINGS]:
            raise ConfigError(
                f"{', '.join(wrong)} cannot be set: the run says how clips are cut and what runs",
                where="--set",
                hint=f"what can be set: {', '.join(SETTINGS)}",
            )
        found = load_config(None, self.settings)
        kept = {key: getattr(run.data, key) for key in ("train", "test") if f"data.{key}" not in keys}
        # set as it is: a path may hold quotes and line ends
        data = found.data.model_copy(update={**kept, "source": self.source})
        return data, found.seed if "seed" in keys else run.seed


def evaluate(session: Session, asked: Asked) -> EvaluationForm:
    """Evaluate a run, which is only read.

    Args:
        session: an exported run.
        asked: what is to be evaluated.

    Raises:
        ConfigError: a chip that the run was not exported for, a setting that is the run's, a shard without clips.
        DataError: the run lacks a stage; recordings that cannot be read, or are of no class of the run.
    """
    config = session.config
    chips = _chips(config, asked.chips)
    trained = checkpoint.load(session.path(TRAIN) / NETWORK)
    data, seed = asked.data(config)
    chosen = choose(data, seed, asked.split, trained.classes, trained.binning, session.reporter)
    at_once = clips_at_once(config)
    span = _span(len(chosen.samples), at_once, asked.shard)
    classes = len(trained.classes)
    engines = [
        EngineSums.of(variant, network_at(session, variant.network), classes) for variant in ends_of(session, chips)
    ]
    voting = Voting(config.data.vote, at_once, classes)
    for part in parts_of(chosen.samples, trained.binning, at_once, labels=chosen.labels, span=span):
        for engine in engines:
            engine.run(part)
            if config.data.clips > 1 and part.recordings is not None:
                engine.vote(part, Windows(part.recordings, trained.binning, config.data.clips), voting)
        session.reporter.progress("evaluate", part.first + len(part.clips) - span.start, len(span))
    if _trained_on(config, asked, chosen, seed):
        session.reporter.line("the run was trained on some of these recordings: --split test leaves them out")
    labels = chosen.labels[span.start : span.stop]
    about: dict[str, Any] = {
        "schema_version": 1,
        "spikefold": __version__,
        "run": session.folder.resolve().name,
        "identity": FoldFile.of_run(session).identity,
        "classes": list(trained.classes),
        "binning": asdict(trained.binning) | {
            "bins": trained.binning.bins.value, "clips": config.data.clips, "vote": config.data.vote,
        },
        "recordings": _recordings(config, chosen, asked, data, seed) | {
            "first": span.start, "count": len(span), "at_once": at_once,
        },
        "pricing": {
            "profile": config.energy_profile,
            "rule": config.energy_rule,
            "attention": config.model.attention,
            "seed": config.seed,
        },
        "names": list(chosen.names[span.start : span.stop]),
        "labels": labels.tolist(),
    }  # fmt: skip
    return finished(session, about, {engine.sums.variant.name: engine.form() for engine in engines})


def shards_at_most(session: Session, asked: Asked) -> int:
    """Into how many ranges the recordings can be cut; those of no class of the run, and absent classes, are told.

    Raises:
        SpikefoldError: as `evaluate`.
    """
    trained = checkpoint.load(session.path(TRAIN) / NETWORK)
    data, seed = asked.data(session.config)
    chosen = choose(data, seed, asked.split, trained.classes, trained.binning, session.reporter)
    return -(-len(chosen.samples) // clips_at_once(session.config))


def finished(session: Session, about: dict[str, Any], engines: dict[str, EngineForm]) -> EvaluationForm:
    """The content of ``evaluation.json``, its figures computed from the sums."""
    results = Figures(session).of_all(engines, about["labels"])
    return EvaluationForm(**about, engines=engines, results=results)


def _chips(config: Config, wanted: Collection[str] | None) -> list[str]:
    names = list(config.chips.names)
    if wanted is None:
        return names
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigError(
            f"the run was not made for {', '.join(unknown)}",
            where="--chip",
            hint=f"its chips: {', '.join(names) or 'none'}; chips.names names those of a new run",
        )
    return [name for name in names if name in wanted]


def _span(samples: int, at_once: int, shard: tuple[int, int] | None) -> range:
    """The range of a shard. Ranges begin where clips come into memory together, so shards change no figure."""
    number, of = shard or (1, 1)
    parts = -(-samples // at_once)
    if not 1 <= number <= of:
        raise ConfigError(f"the shard {number} of {of}", where="--shard", hint="from 1/N to N/N")
    if of > parts:
        raise ConfigError(
            f"{samples} recordings, {at_once} at once, are {parts} parts: too few for {of} shards",
            where="--shard",
            hint=f"at most {parts} shards",
        )
    start, stop = ((number + side) * parts // of * at_once for side in (-1, 0))
    return range(start, min(stop, samples))


def _recordings(run: Config, chosen: Chosen, asked: Asked, data: DataConfig, seed: int) -> dict[str, Any]:
    return {
        "source": asked.source,
        "split": chosen.split,
        "settings": {key: getattr(data, key) for key in ("on_fault", "sensor", "time_unit")},
        "seed": seed,
        "repairs": chosen.repairs,
        "trained_on": _trained_on(run, asked, chosen, seed),
        "absent": list(chosen.absent),
        "left_out": chosen.left_out,
        "all": len(chosen.samples),
    }


def _trained_on(run: Config, asked: Asked, chosen: Chosen, seed: int) -> bool:
    """Whether some of the recordings are those that the run was trained on, as far as their source tells."""
    return asked.source == run.data.source and chosen.split != "test" and seed == run.seed
