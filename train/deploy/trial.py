# SPDX-License-Identifier: Apache-2.0
"""Runs a candidate network on recordings that its adaptation did not train on, in whole numbers, as its chip would.

By events where the chip has an event engine and the clips are recordings, else in clocked steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spikefold.export.fanout import fanout
from spikefold.export.network import INPUT, Network
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.accuracy import accuracy
from spikefold.hardware.simulators.trace import Trace
from spikefold.train.deploy.by_events import Recorded
from spikefold.train.deploy.selection import Candidate, Selection

_AT_ONCE = 50


class Trial(Protocol):
    """Labelled clips, and how a chip runs them."""

    @property
    def how(self) -> str:
        """In words: ``by events`` or ``in clocked steps``."""

    @property
    def labels(self) -> np.ndarray:
        """The class of each clip, ``(N,)``."""

    def run(self, integer: Network, part: slice) -> tuple[Trace, np.ndarray]:
        """The spikes of an integer network on some of the clips, and what entered: counts ``(T, N, C, H, W)``."""


@dataclass(frozen=True, eq=False)
class ByEvents:
    """Recordings, event by event.

    Attributes:
        recorded: the chip's event engine, and how recordings enter it.
        recordings: the events of each clip, sorted by time.
        labels: the class of each, ``(N,)``.
    """

    recorded: Recorded
    recordings: Sequence[np.ndarray]
    labels: np.ndarray

    @property
    def how(self) -> str:
        """In words."""
        return "by events"

    def run(self, integer: Network, part: slice) -> tuple[Trace, np.ndarray]:
        """See `Trial.run`."""
        clips = self.recordings[part]
        frames = self.recorded.frames(clips)
        return self.recorded.spikes(integer, clips, frames), frames


@dataclass(frozen=True, eq=False)
class InSteps:
    """Frames, step by step.

    Attributes:
        frames: ``(T, N, C, H, W)``.
        labels: the class of each clip, ``(N,)``.
    """

    frames: np.ndarray
    labels: np.ndarray

    @property
    def how(self) -> str:
        """In words."""
        return "in clocked steps"

    def run(self, integer: Network, part: slice) -> tuple[Trace, np.ndarray]:
        """See `Trial.run`."""
        frames = self.frames[:, part]
        return clocked.run(integer, frames), frames


def tried(name: str, network: Network, chip: NumberFormat, trial: Trial) -> Candidate:
    """The accuracy, the spikes and the synaptic operations a clip of a real network's integers.

    Args:
        name: of the candidate.
        network: real and folded, with the chip's neurons.
        chip: the chip's number format.
        trial: the recordings held out.

    Raises:
        UnsupportedError: the network cannot be quantised for the chip, or its engine cannot run it.
    """
    integer, _ = quantise(network, chip)
    fans = {layer.name: fanout(layer.op, integer.input_shape(layer)) for layer in integer.weights}
    counts, spikes, synops, clips = [], 0, 0.0, len(trial.labels)
    for start in range(0, clips, _AT_ONCE):
        trace, frames = trial.run(integer, slice(start, start + _AT_ONCE))
        counts.append(trace.output_counts(network.classes))
        spikes += trace.spikes
        synops += reads(integer, trace, frames, fans)
    share = accuracy(np.concatenate(counts), trial.labels).share
    return Candidate(name, share, spikes / clips, synops / clips, network)


class Candidates:
    """Tries networks one after the other on the recordings held out; without any, nothing is tried or chosen.

    Args:
        chip: the chip's number format.
        trial: the recordings held out, or None.
        budget: the most synaptic operations a clip, or None.
    """

    def __init__(self, chip: NumberFormat, trial: Trial | None, budget: float | None) -> None:
        self._chip, self._trial, self._budget = chip, trial, budget
        self._tried: list[Candidate] = []

    def add(self, name: str, network: Network) -> float | None:
        """Try a network; its accuracy, None where nothing is held out."""
        if self._trial is None:
            return None
        self._tried.append(tried(name, network, self._chip, self._trial))
        return self._tried[-1].accuracy

    def keep(self, name: str) -> bool:
        """Whether the choice among them falls on this one."""
        selection = self.selection()
        return selection is not None and selection.kept.name == name

    def selection(self) -> Selection | None:
        """The choice among them."""
        if self._trial is None:
            return None
        return Selection(len(self._trial.labels), self._trial.how, tuple(self._tried), self._budget)


def reads(network: Network, trace: Trace, frames: np.ndarray, fans: Mapping[str, np.ndarray]) -> float:
    """What weight layers read, each event of a layer's input times a factor; with its synapses: synaptic operations.

    Args:
        network: that was run.
        trace: its spikes.
        frames: what entered, ``(T, N, C, H, W)``.
        fans: by name of a weight layer the factor at each position of its input, ``(H, W)``.
    """
    values = {INPUT: frames.reshape(-1, *frames.shape[2:]).astype(np.int64)}
    found = 0.0
    for layer in network:
        x = reference.gathered(layer, values)
        if isinstance(layer.op, Conv2d | Dense):
            if layer.name in fans:
                found += float((x * fans[layer.name]).sum())
            x = np.zeros((len(x), *network.shapes[layer.name]), np.int64)  # what neurons made of it is in the trace
        elif layer.name in trace.layers:
            x = trace.layers[layer.name].raster.reshape(-1, *network.shapes[layer.name]).astype(np.int64)
        else:
            x = reference.apply(layer.op, x)
        values[layer.name] = x
    return found
