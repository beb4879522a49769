# SPDX-License-Identifier: Apache-2.0
"""Adds up what one engine does on the recordings: whole numbers, and a line of them for each clip."""

from __future__ import annotations

from dataclasses import dataclass, field

from spikefold.energy.counts.count import count
from spikefold.energy.counts.input_rates import input_rates
from spikefold.export.network import Network
from spikefold.stages.evaluate.form import EngineForm
from spikefold.stages.files.counts import Totals
from spikefold.stages.variants.listed import Variant
from spikefold.stages.variants.sums import VariantSums
from spikefold.stages.variants.voting import Voting
from spikefold.train.data.clips import Part, Windows


@dataclass
class EngineSums:
    """One engine.

    Attributes:
        sums: its hits, spikes and states.
        network: whose connections are counted.
        totals: its operations.
        spikes: of each clip.
        synops: synaptic events of each clip.
        voted: whether each recording is right by the vote of its clips; empty where it has one clip, or where the
            engine takes events and not clips.
    """

    sums: VariantSums
    network: Network
    totals: Totals = field(default_factory=Totals)
    spikes: list[int] = field(default_factory=list)
    synops: list[int] = field(default_factory=list)
    voted: list[bool] = field(default_factory=list)

    @classmethod
    def of(cls, variant: Variant, network: Network, classes: int) -> EngineSums:
        """Before the first clips."""
        return cls(VariantSums(variant, classes), network)

    def run(self, part: Part) -> None:
        """Run the next clips."""
        found = self.sums.variant.run(part, True)
        self.sums.add(part, found)
        frames = part.clips.frames
        counts = count(self.network, frames, found.trace)
        self.totals.add(counts, input_rates(self.network, frames, found.trace))
        self.spikes += counts.by_clip("spikes").tolist()
        self.synops += counts.by_clip("events").tolist()

    def vote(self, part: Part, windows: Windows, voting: Voting) -> None:
        """Run all clips of the next recordings."""
        runner = self.sums.variant.on_frames
        if runner is not None:
            self.voted += voting.right(runner, windows, part.clips.labels, part.first).tolist()

    def form(self) -> EngineForm:
        """All clips so far, as they are written."""
        sums, variant = self.sums, self.sums.variant
        what = variant.what if variant.on_frames is not None else f"{variant.what}: {sums.went_in}"
        return EngineForm(
            what=what,
            network=variant.network,
            runner=sums.runner,
            right=sums.hits.right,
            ties=sums.hits.ties,
            confusion=sums.confusion.tolist(),
            overflow=sum(layer.overflow for layer in sums.layers.values()),
            layers={name: layer.spikes for name, layer in sums.layers.items()},
            totals=self.totals.form(),
            predicted=sums.predicted,
            spikes=self.spikes,
            synops=self.synops,
            voted=self.voted,
        )
