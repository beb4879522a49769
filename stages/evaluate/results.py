# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation, from its sums alone: accuracy, difference to the trained network, energy.

What is computed here from the sums of a range is computed alike from those of several ranges added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spikefold.energy.budget import Budget, TechnologyProfile, budget, load_profile
from spikefold.energy.chip.budget import chip_budget
from spikefold.energy.chip.sources import Numbers, numbers_of
from spikefold.energy.counts.attention import AttentionCost, cost_of
from spikefold.energy.counts.count import Counts
from spikefold.energy.statistics.difference import accuracy_difference, difference
from spikefold.energy.statistics.uncertainty import distribution
from spikefold.export.ops import Gate
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators.accuracy import Accuracy
from spikefold.session import EVENTS, Session
from spikefold.stage_table import FOLD
from spikefold.stages.evaluate.form import EngineForm
from spikefold.stages.files.export import ExportFile
from spikefold.stages.files.networks import network_at, network_of_run
from spikefold.stages.files.simulate import FLOAT


@dataclass(frozen=True)
class Figures:
    """Computes figures as a run would: with its technology profile, its counting rule and its chips."""

    session: Session

    @cached_property
    def profile(self) -> TechnologyProfile:
        """The run's technology."""
        return load_profile(self.session.config.energy_profile)

    def of_all(self, engines: dict[str, EngineForm], labels: list[int]) -> dict[str, dict[str, Any]]:
        """By engine the figures that stand in the file; the trained network is what the others are held against."""
        told = np.array(labels, np.int64)
        chips = [name for name in self.session.config.chips.names if name in engines]
        sources = numbers_of(chips, {key: one for key, one in self._power.items() if key in chips})
        found = {}
        for name, engine in engines.items():
            found[name] = self._figures(name, engine) | {"voted": None, "against_float": None, "chip": None}
            if engine.voted:
                found[name]["voted"] = self._voted(engine.voted)
            if name != FLOAT and FLOAT in engines:
                found[name]["against_float"] = _against(engines[FLOAT], engine, told, self.session.config.seed)
            if (chip := name.removesuffix(f".{EVENTS}")) in sources:
                found[name]["chip"] = self._on_chip(chip, engine, sources[chip])
        return found

    def _voted(self, voted: list[bool]) -> dict[str, Any]:
        data = self.session.config.data
        hits = Accuracy(sum(voted), len(voted))
        return {"accuracy": hits.share, "interval": list(hits.interval), "clips": data.clips, "vote": data.vote}

    @property
    def _power(self) -> dict[str, str]:
        return self.session.config.chips.power

    def _figures(self, name: str, engine: EngineForm) -> dict[str, Any]:
        counts, seed = engine.totals.counts(), self.session.config.seed
        hits, priced = Accuracy(engine.right, counts.clips, engine.ties), self._budget(name, engine, counts)
        return {
            "accuracy": hits.share,
            "interval": list(hits.interval),
            "clips": hits.clips,
            "spikes": distribution(np.array(engine.spikes, np.int64), seed).to_json(),
            "synops": distribution(np.array(engine.synops, np.int64), seed).to_json(),
            "nasfr": counts.nasfr,
            "operations": {"mac_per_clip": priced.mac_per_clip, "ac_per_clip": priced.ac_per_clip},
            "energy_pj_per_clip": priced.energy_pj_per_clip,
            "rule": priced.rule,
        }

    def _budget(self, name: str, engine: EngineForm, counts: Counts) -> Budget:
        config = self.session.config
        kind = config.model.attention if name == FLOAT else "none"
        rates = engine.totals.input_rates()
        return budget(counts, self.profile, self._attention(kind, counts.clips), rule=config.energy_rule, rates=rates)

    def _attention(self, kind: str, clips: int) -> AttentionCost:
        unfolded = network_of_run(self.session, FOLD, "unfolded")
        gated = {layer.name: unfolded.shapes[layer.name] for layer in unfolded if isinstance(layer.op, Gate)}
        return cost_of(kind, gated, unfolded.input.steps, clips)

    def _on_chip(self, name: str, engine: EngineForm, numbers: Numbers) -> dict[str, Any]:
        """What the chip takes, in real time."""
        config = self.session.config
        taken = chip_budget(
            chip_named(name),
            network_at(self.session, engine.network),
            engine.totals.counts(),
            numbers,
            limit_per_s=config.chips.core_limit,
            placement=ExportFile.of_run(self.session).chips[name].placement,
            nominal_dt=config.data.bins == "count",
        )
        known = {} if taken.power is None else taken.power.bands_uj
        bands = {part: None if band is None else list(band) for part, band in known.items()}
        return {"numbers": taken.numbers, "bands_uj": bands, "unknown": dict(taken.unknown), "told": taken.describe()}


def _against(base: EngineForm, engine: EngineForm, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """An engine minus the trained network, clip by clip."""
    right = [np.array(one.predicted, np.int64) == labels for one in (base, engine)]
    found: dict[str, Any] = {"accuracy": accuracy_difference(right[0], right[1], paired=True).to_json()}
    for name in ("spikes", "synops"):
        values = [np.array(getattr(one, name), np.int64) for one in (base, engine)]
        found[name] = difference(values[0], values[1], paired=True, seed=seed).to_json()
    changed = sum(one != other for one, other in zip(base.predicted, engine.predicted, strict=True))
    return found | {"predictions_changed": changed}
