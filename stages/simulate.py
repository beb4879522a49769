# SPDX-License-Identifier: Apache-2.0
"""``5_simulate``: run every variant of the network over the whole test set: its accuracy, and what changed.

The clips come in parts, and of each part every variant leaves sums: ``simulate.json``, and operations by layer, step
and clip in ``counts.VARIANT.npz``. Traces are kept of the one clip that the report shows. All of it is of the first
clip of each recording. With several clips a recording (``data.clips``) each variant but the event-driven ones also
runs on all of them, and ``voted`` is how often their vote is right, as in the training.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.energy.counts.count import count
from spikefold.energy.counts.input_rates import input_rates
from spikefold.energy.statistics.clips import FramesIdentity, identity
from spikefold.export.network import Network
from spikefold.hardware.simulators.trace import Trace, save_trace
from spikefold.session import BASELINE, Session
from spikefold.stage_table import FOLD, SIMULATE
from spikefold.stages.files.counts import STATIC_UNFOLDED, CountsWriter, counts_file, writing_counts
from spikefold.stages.files.networks import network_at, network_of_run
from spikefold.stages.files.simulate import FLOAT, FOLDED, SimulateFile
from spikefold.stages.files.traces import trace_file
from spikefold.stages.variants.listed import Variant, variants_of
from spikefold.stages.variants.shown import ShownClip
from spikefold.stages.variants.sums import VariantSums
from spikefold.stages.variants.voting import Voting
from spikefold.train.data.clips import Part, Windows
from spikefold.train.evaluate import clips_at_once


def simulate_stage(session: Session) -> None:
    """Write each variant's sums, its accuracy, and its trace on one clip."""
    variants = list(variants_of(session))
    with session.writing(SIMULATE) as folder, ExitStack() as stack:
        stream = _Stream(session, variants, folder, stack)
        clips, each = session.number_of_clips("test"), clips_at_once(session.config)
        for part in session.parts("test", each):
            stream.run(part)
            session.reporter.progress("simulate", min(part.first + each, clips), clips)
        stack.close()
        results = _results(session, stream)
        for name, trace in stream.shown.traces.items():
            save_trace(trace, folder / trace_file(name))
            for layer, found in results[name]["layers"].items():
                found["shown"] = trace.layers[layer].spikes
        _say(session, stream, results)
        content: dict[str, Any] = {
            "shown": stream.shown.number,
            "frames": stream.frames.hexdigest(),
            "labels": identity(stream.labels),
            "variants": results,
        }
        SimulateFile.of(content).write(folder)


class _Stream:
    """All variants, on the clips that stream through.

    Attributes:
        sums: of each variant, by name.
        shown: the clip whose traces are kept.
        frames: which clips ran.
    """

    def __init__(self, session: Session, variants: list[Variant], folder: Path, stack: ExitStack) -> None:
        classes = len(session.dataset.classes)
        self.sums = {variant.name: VariantSums(variant, classes) for variant in variants}
        self.shown, self.frames = ShownClip(classes), FramesIdentity()
        self._labels: list[np.ndarray] = []
        self._counters: list[tuple[str, Network, CountsWriter]] = []
        for variant in variants:
            # the baseline has the same connections: batch norm, pools and gates carry no synapses
            writer = stack.enter_context(writing_counts(folder / counts_file(variant.name)))
            self._counters.append((variant.name, network_at(session, variant.network), writer))
        if BASELINE in self.sums:
            writer = stack.enter_context(writing_counts(folder / STATIC_UNFOLDED))
            self._counters.append((FOLDED, network_of_run(session, FOLD, "unfolded"), writer))

    def run(self, part: Part) -> None:
        """Run every variant on the next clips, and keep sums."""
        traces: dict[str, Trace] = {}
        for name, sums in self.sums.items():
            found = sums.variant.run(part, False)
            before = sums.variant.before
            sums.add(part, found, None if before is None else traces[before])
            traces[name] = found.trace
        for name, network, writer in self._counters:
            frames, trace = part.clips.frames, traces[name]
            right = np.array(self.sums[name].predicted[part.first :]) == part.clips.labels
            writer.add(count(network, frames, trace), input_rates(network, frames, trace), right)
        self.shown.consider(part, FLOAT, traces)
        self.frames.add(part.clips.frames)
        self._labels.append(part.clips.labels)

    @property
    def labels(self) -> np.ndarray:
        """Of all clips so far, ``(N,)`` int64."""
        return np.concatenate(self._labels)


def _results(session: Session, stream: _Stream) -> dict[str, dict[str, Any]]:
    """By variant what ``simulate.json`` says of it, but for the clip that is shown."""
    classes, config = len(session.dataset.classes), session.config
    windows = Windows(session.dataset.test, session.binning, config.data.clips)
    voting, labels = Voting(config.data.vote, clips_at_once(config), classes), windows.labels
    results = {}
    for name, sums in stream.sums.items():
        results[name] = sums.facts() | sums.variant.more()
        runner = sums.variant.on_frames
        if windows.each > 1 and runner is not None:
            right = voting.right(runner, windows, labels)
            results[name]["voted"] = voting.facts(int(right.sum()), len(windows), windows.each)
    return results


def _say(session: Session, stream: _Stream, results: dict[str, dict[str, Any]]) -> None:
    """One line for each variant, behind what its engine warns of."""
    for name, found in results.items():
        measures = stream.sums[name].measures
        for warning in () if measures is None else measures.warnings:
            session.reporter.line(warning)
        told = f"{name}: accuracy {found['accuracy']:.3f} on {found['clips']} clips, {found['spikes']} spikes"
        if voted := found.get("voted"):
            told += f"; {voted['accuracy']:.3f} by the vote of {voted['clips']} clips a recording"
        session.reporter.line(told)
