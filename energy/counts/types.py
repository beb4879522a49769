# SPDX-License-Identifier: Apache-2.0
"""`Counts`: what a run did, by layer, step and clip. Totals are exact Python integers, series are int64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from spikefold.errors import MismatchError, UnsupportedError, nearest

IN_SERIES = ("pairs", "events", "input_events", "spikes", "active_updates")
"""Fields that differ from step to step and clip to clip."""
CONSTANT = ("dense_padded", "dense", "bias_adds", "neuron_updates")
"""Fields that are equal in every step of every clip."""
_WORK = ("multiplies", "adds", "compares")
WEIGHTED = "weighted"
"""In a series too, where the weights were looked at."""
BINARY = "binary"
"""The kind of an input that holds 0 and 1 only."""
DERIVED = ("weight_reads", "state_accesses", "idle_updates")
"""Sums of the fields above, by definition."""


@dataclass(frozen=True, eq=False)
class Series:
    """One layer by step and clip, each ``(T, N)`` int64; the fields are those of `LayerCounts`.

    ``weighted`` is None where a series was made without looking at the weights.
    """

    pairs: np.ndarray
    events: np.ndarray
    input_events: np.ndarray
    spikes: np.ndarray
    active_updates: np.ndarray
    weighted: np.ndarray | None = None

    def __post_init__(self) -> None:
        known = [getattr(self, name) for name in IN_SERIES]
        known += [] if self.weighted is None else [self.weighted]
        found = {(one.shape, str(one.dtype)) for one in known}
        if len(found) != 1 or len(self.pairs.shape) != 2 or self.pairs.dtype != np.int64:
            raise MismatchError(f"series of one layer must all be (T, N) int64, not {sorted(found)}")

    def __add__(self, other: Series) -> Series:
        """The clips of both, one set behind the other."""
        fields = {name: np.concatenate([getattr(self, name), getattr(other, name)], axis=1) for name in IN_SERIES}
        weighted = None
        if self.weighted is not None and other.weighted is not None:
            weighted = np.concatenate([self.weighted, other.weighted], axis=1)
        return Series(**fields, weighted=weighted)

    def of_clip(self, clip: int) -> Series:
        """One clip alone, ``(T, 1)``."""
        weighted = None if self.weighted is None else self.weighted[:, clip : clip + 1]
        return Series(**{name: getattr(self, name)[:, clip : clip + 1] for name in IN_SERIES}, weighted=weighted)


@dataclass(frozen=True)
class LayerCounts:
    """One weight layer over all clips and steps of a run.

    Neurons that no weight layer feeds, or that share one with neurons before them, have a row of their own, without
    synapses and with the input kind ``none``.

    Attributes:
        name: the layer.
        input_kind: ``binary`` (0 or 1), ``counts`` (of the input, several events a bin), ``spikes`` (several a step),
            ``sum-pooled`` (spikes of a window) or ``none``.
        dense_padded: taps of a dense pass over all frames, those on the padding included.
        dense: the same without the padding: every synapse once a frame.
        pairs: synapses with an input other than zero.
        events: events times their synapses; equals ``pairs`` for binary input.
        input_events: events that arrived.
        spikes: spikes of the neurons behind this layer; 0 where an earlier layer feeds the same neurons.
        neurons: how many they are; 0 likewise.
        bias_adds: one for each output and step of a layer with a bias.
        neuron_updates: neurons times steps times clips: what a chip does that updates every neuron every step.
        active_updates: of them, those at which a synaptic event arrived; a weight of zero is a synapse, a bias is no
            event. The others are `idle_updates`: a chip driven by events skips them, if its neurons do not leak.
        multiplicity: positions of the largest pool of spikes in front, each spike of which is an event here; else 1.
        weighted: of ``pairs``, those with a weight other than 0; None where the weights were not looked at.
        series: the same by step and clip; None where only totals are known.
        peaks: most of one step of one clip, of the fields that differ from step to step; of the series where there is
            one.
    """

    name: str
    input_kind: str
    dense_padded: int
    dense: int
    pairs: int
    events: int
    input_events: int
    spikes: int
    neurons: int
    bias_adds: int = 0
    neuron_updates: int = 0
    active_updates: int = 0
    multiplicity: int = 1
    weighted: int | None = field(default=None, compare=False)
    series: Series | None = field(default=None, compare=False, repr=False)
    peaks: Mapping[str, int] | None = field(default=None, compare=False, repr=False)

    def __add__(self, other: LayerCounts) -> LayerCounts:
        """The clips of both. An input that is binary in one set only is what it is in the other.

        Raises:
            MismatchError: the two are not the same layer.
        """
        if (self.name, self.neurons, self.multiplicity) != (other.name, other.neurons, other.multiplicity):
            raise MismatchError(f"counts of {other.name} cannot be added", where=self.name)
        sums: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in (*IN_SERIES, *CONSTANT)}
        weighted = None if self.weighted is None or other.weighted is None else self.weighted + other.weighted
        series = None if self.series is None or other.series is None else self.series + other.series
        peaks = None
        if self.peaks is not None and other.peaks is not None:
            peaks = {name: max(peak, other.peaks[name]) for name, peak in self.peaks.items() if name in other.peaks}
        kind = other.input_kind if self.input_kind == BINARY else self.input_kind
        return replace(self, input_kind=kind, weighted=weighted, series=series, peaks=peaks, **sums)

    @property
    def weight_reads(self) -> int:
        """One for each event and synapse: an event-driven chip without a weight cache."""
        return self.events

    @property
    def state_accesses(self) -> int:
        """A read and a write of the target's state for each event and synapse, and for each neuron update."""
        return 2 * self.events + 2 * self.neuron_updates

    @property
    def idle_updates(self) -> int:
        """Neuron updates at which no synaptic event arrived."""
        return self.neuron_updates - self.active_updates

    @property
    def peak_events(self) -> int | None:
        """Most events, times their synapses, of one step of one clip; None where only totals are known."""
        return None if self.series is None and self.peaks is None else self.peak("events")

    def peak(self, name: str) -> int:
        """Most of one step of one clip of a field.

        Raises:
            MismatchError: only totals are known.
            UnsupportedError: no such field.
        """
        if self.series is None and self.peaks is not None and name in self.peaks:
            return self.peaks[name]
        return int(self.by_step(name).max(initial=0))

    def without_series(self) -> LayerCounts:
        """Totals and peaks: what adds up over any number of clips in the same memory."""
        if self.series is None:
            return self
        fields = IN_SERIES if self.series.weighted is None else (*IN_SERIES, WEIGHTED)
        return replace(self, series=None, peaks={name: self.peak(name) for name in fields})

    def by_step(self, name: str) -> np.ndarray:
        """A field by step and clip, ``(T, N)`` int64; its sum is the field.

        Raises:
            MismatchError: only totals are known.
            UnsupportedError: no such field.
        """
        if self.series is None:
            raise MismatchError(
                "only totals are known, not single clips",
                where=self.name,
                hint="count the run again: `spikefold energy RUN`",
            )
        if name in IN_SERIES:
            return np.asarray(getattr(self.series, name))
        if name == WEIGHTED:
            if self.series.weighted is None:
                hint = "count the run again: `spikefold energy RUN`"
                raise MismatchError("counted without looking at the weights", where=self.name, hint=hint)
            return self.series.weighted
        if name in CONSTANT:
            shape = self.series.pairs.shape
            return np.full(shape, int(getattr(self, name)) // max(1, shape[0] * shape[1]), np.int64)
        if name == "weight_reads":
            return self.by_step("events")
        if name == "state_accesses":
            return np.asarray(2 * self.by_step("events") + 2 * self.by_step("neuron_updates"))
        if name == "idle_updates":
            return np.asarray(self.by_step("neuron_updates") - self.by_step("active_updates"))
        raise UnsupportedError(
            f"{name!r} is not counted by step", where=self.name, hint=nearest(name, (*IN_SERIES, *CONSTANT, *DERIVED))
        )

    def of_clip(self, clip: int) -> LayerCounts:
        """The counts of one clip; the input kind stays that of the run, so that clips add up to it."""
        steps, clips = self.by_step("pairs").shape
        totals: dict[str, Any] = {name: int(self.by_step(name)[:, clip].sum()) for name in IN_SERIES}
        totals |= {name: getattr(self, name) // max(1, steps * clips) * steps for name in CONSTANT}
        series = None if self.series is None else self.series.of_clip(clip)
        if series is not None and series.weighted is not None:
            totals[WEIGHTED] = int(series.weighted.sum())
        return replace(self, series=series, **totals)

    def to_json(self) -> dict[str, object]:
        """Totals, without the series."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("series", "peaks")}
        return values | {name: getattr(self, name) for name in (*DERIVED, "peak_events")}


@dataclass(frozen=True)
class ElementCounts:
    """Element-wise work of a layer without synapses, over all frames, as a frame-based machine does it.

    Attributes:
        name: the layer.
        op: ``gate``, ``batch_norm``, ``avg_pool``, ``sum_pool``, ``max_pool``, or ``sum`` of several inputs.
        multiplies: multiplications.
        adds: additions.
        compares: comparisons.
    """

    name: str
    op: str
    multiplies: int = 0
    adds: int = 0
    compares: int = 0


@dataclass(frozen=True)
class Uncounted:
    """A layer that no rule covers: its operation, and the outputs it made over the run."""

    name: str
    op: str
    outputs: int


@dataclass(frozen=True)
class Counts:
    """A whole run: clips, steps and its weight layers in order.

    Attributes:
        clips: N.
        steps: T.
        layers: rows of layers with synapses or neurons.
        dt_us: length of a step; None where unknown, then there are no rates.
        elements: what batch norm, gates, pools and sums cost where they were not folded away.
        uncounted: layers that no rule covers.
    """

    clips: int
    steps: int
    layers: tuple[LayerCounts, ...]
    dt_us: int | None = None
    elements: tuple[ElementCounts, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()

    def __add__(self, other: Counts) -> Counts:
        """The clips of both runs of one network, as if they had been counted together.

        Raises:
            MismatchError: the runs are not of one network and one binning.
        """
        if (self.steps, self.dt_us) != (other.steps, other.dt_us):
            raise MismatchError(f"{other.steps} steps of {other.dt_us} us and {self.steps} of {self.dt_us} us")
        elements = tuple(
            replace(one, **{name: getattr(one, name) + getattr(two, name) for name in _WORK})
            for one, two in zip(self.elements, other.elements, strict=True)
        )
        uncounted = tuple(
            replace(one, outputs=one.outputs + two.outputs)
            for one, two in zip(self.uncounted, other.uncounted, strict=True)
        )
        layers = tuple(one + two for one, two in zip(self.layers, other.layers, strict=True))
        return replace(self, clips=self.clips + other.clips, layers=layers, elements=elements, uncounted=uncounted)

    def without_series(self) -> Counts:
        """Totals and peaks: what adds up over any number of clips in the same memory."""
        return replace(self, layers=tuple(layer.without_series() for layer in self.layers))

    def total(self, field: str) -> int:
        """Sum of one field over the layers.

        Raises:
            MismatchError: it was not counted in a layer, as ``weighted`` where the weights were not looked at.
        """
        found = [getattr(layer, field) for layer in self.layers]
        if None in found:
            where = self.layers[found.index(None)].name
            raise MismatchError(f"{field!r} was not counted", where=where, hint="count the run again")
        return sum(map(int, found))

    def by_step(self, field: str) -> np.ndarray:
        """One field, summed over the layers, by step and clip: ``(T, N)`` int64."""
        return _sum([layer.by_step(field) for layer in self.layers], (self.steps, self.clips))

    def by_clip(self, field: str) -> np.ndarray:
        """One field, summed over layers and steps: ``(N,)`` int64."""
        return np.asarray(self.by_step(field).sum(axis=0))

    def of_clip(self, clip: int) -> Counts:
        """One clip as a run of its own; what prices a run prices a clip.

        Raises:
            MismatchError: there is no such clip, or only totals are known.
        """
        if not 0 <= clip < self.clips:
            raise MismatchError(f"clip {clip} of {self.clips}", hint="clips are numbered from 0")
        elements = tuple(
            replace(one, **{name: getattr(one, name) // self.clips for name in _WORK}) for one in self.elements
        )
        uncounted = tuple(replace(one, outputs=one.outputs // self.clips) for one in self.uncounted)
        layers = tuple(layer.of_clip(clip) for layer in self.layers)
        return replace(self, clips=1, layers=layers, elements=elements, uncounted=uncounted)

    @property
    def nasfr(self) -> float:
        """Network average spike firing rate: all spikes over all neuron-steps (Definition 3 of the paper).

        Neurons that stand for a max pool are among them, as they are on a chip; the trained network has none there.
        """
        return self.total("spikes") / (self.total("neurons") * self.clips * self.steps)

    @property
    def peak_events(self) -> int | None:
        """Most synaptic events of the whole network in one step of one clip; None without series."""
        if any(layer.series is None for layer in self.layers):
            return None
        return int(self.by_step("events").max(initial=0))

    @property
    def coverage(self) -> str:
        """One sentence: what the network holds that no rule counts."""
        if not self.uncounted:
            return "every operation has a rule"
        return "without a rule: " + ", ".join(f"{u.op} in {u.name} ({u.outputs:,} outputs)" for u in self.uncounted)

    def to_json(self) -> dict[str, object]:
        """Plain values for a report; whole numbers as they are, see `outputs` for how they are written."""
        return {
            "clips": self.clips,
            "steps": self.steps,
            "dt_us": self.dt_us,
            "layers": [layer.to_json() for layer in self.layers],
            "elements": [asdict(one) for one in self.elements],
            "uncounted": [asdict(one) for one in self.uncounted],
            "coverage": self.coverage,
            "nasfr": self.nasfr,
            "peak_events": self.peak_events,
        }


def _sum(parts: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(sum(parts[1:], start=parts[0]) if parts else np.zeros(shape, np.int64))
