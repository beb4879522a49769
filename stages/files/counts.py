# SPDX-License-Identifier: Apache-2.0
"""The operations of one variant of a run by layer, step and clip, written while its clips stream through.

An archive holds the series of each part of the clips as an array of its own, ``series.00000`` and so on,
``(fields, layers, T, N)`` int64; which clips were right; and the totals, which must be the sums of the series.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError

from spikefold.energy.counts.input_rates import Rates
from spikefold.energy.counts.types import (
    CONSTANT,
    IN_SERIES,
    WEIGHTED,
    Counts,
    ElementCounts,
    LayerCounts,
    Series,
    Uncounted,
)
from spikefold.errors import DataError, Issue, MismatchError
from spikefold.npz import Archive, ArchiveWriter, opened_archive, writing_archive
from spikefold.session import Session
from spikefold.stage_table import SIMULATE
from spikefold.stages.files.base import Count, Form, Positive, issues_of, refused
from spikefold.stages.files.simulate import VariantForm

_FIELDS = (*IN_SERIES, WEIGHTED)
"""The first axis of a series."""
STATIC_UNFOLDED = "counts.folded-on-unfolded.npz"
"""Counts of the folded network's spikes on the unfolded connections: Eq. 11 sees attention alone, not folding."""
_FRACTION = r"^[0-9]+(/[1-9][0-9]*)?$"
_Text = Annotated[str, Field(max_length=200)]


class LayerTotalsForm(Form):
    """One row of counts; ``peaks`` are the most of one step of one clip."""

    name: _Text
    input_kind: _Text
    dense_padded: Count
    dense: Count
    pairs: Count
    events: Count
    input_events: Count
    spikes: Count
    neurons: Count
    bias_adds: Count
    neuron_updates: Count
    active_updates: Count
    multiplicity: Positive
    weighted: Count
    peaks: dict[str, Count]


class _ElementForm(Form):
    name: _Text
    op: _Text
    multiplies: Count
    adds: Count
    compares: Count


class _UncountedForm(Form):
    name: _Text
    op: _Text
    outputs: Count


class TotalsForm(Form):
    """Counts without their series, and the rates at the inputs of weight layers as exact fractions."""

    clips: Positive
    steps: Positive
    dt_us: Positive | None
    layers: Annotated[list[LayerTotalsForm], Field(min_length=1)]
    elements: list[_ElementForm]
    uncounted: list[_UncountedForm]
    rates: dict[str, Annotated[str, Field(pattern=_FRACTION)]]

    @classmethod
    def of(cls, counts: Counts, rates: Rates) -> TotalsForm:
        """Of counts without series."""
        names = [name for name in LayerTotalsForm.model_fields if name != "peaks"]
        layers = [
            {name: getattr(layer, name) for name in names} | {"peaks": dict(layer.peaks or {})}
            for layer in counts.layers
        ]
        values = {
            "clips": counts.clips,
            "steps": counts.steps,
            "dt_us": counts.dt_us,
            "layers": layers,
            "elements": [asdict(one) for one in counts.elements],
            "uncounted": [asdict(one) for one in counts.uncounted],
            "rates": {name: str(rate) for name, rate in rates.items()},
        }
        return cls.model_validate_json(json.dumps(values))

    def counts(self) -> Counts:
        """The same as `Counts`."""
        layers = tuple(LayerCounts(**one.model_dump()) for one in self.layers)
        elements = tuple(ElementCounts(**one.model_dump()) for one in self.elements)
        uncounted = tuple(Uncounted(**one.model_dump()) for one in self.uncounted)
        return Counts(self.clips, self.steps, layers, self.dt_us, elements, uncounted)

    def input_rates(self) -> dict[str, Fraction]:
        """The rates as fractions."""
        return {name: Fraction(text) for name, text in self.rates.items()}


@dataclass
class Totals:
    """Adds up counts and rates over the parts of a set of clips.

    Attributes:
        counts: without series; None before the first part.
        weighted_rates: the sum of each rate times the clips it is of.
    """

    counts: Counts | None = None
    weighted_rates: dict[str, Fraction] = field(default_factory=dict)

    def add(self, counts: Counts, rates: Rates) -> None:
        """The next clips."""
        totals = counts.without_series()
        self.counts = totals if self.counts is None else self.counts + totals
        for name, rate in rates.items():
            self.weighted_rates[name] = self.weighted_rates.get(name, Fraction(0)) + rate * counts.clips

    def form(self) -> TotalsForm:
        """All clips so far, as it is written.

        Raises:
            MismatchError: no clip came.
        """
        if self.counts is None:
            raise MismatchError("no clip was counted")
        clips = self.counts.clips
        return TotalsForm.of(self.counts, {name: rate / clips for name, rate in self.weighted_rates.items()})


@dataclass(frozen=True, eq=False)
class VariantCounts:
    """What one variant did: its operations with their series, the rates at its layers, and which clips were right."""

    counts: Counts
    rates: Rates
    right: np.ndarray


class CountsWriter:
    """Takes the counts of the parts of a set of clips, in order; see `writing_counts`."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self._archive, self._parts = archive, 0
        self._totals = Totals()
        self._right: list[np.ndarray] = []

    def add(self, counts: Counts, rates: Rates, right: np.ndarray) -> None:
        """The next clips.

        Raises:
            MismatchError: they were counted without series, or for another network.
        """
        whole = [[layer.by_step(name) for layer in counts.layers] for name in _FIELDS]
        self._archive.add(f"series.{self._parts:05d}", np.array(whole, np.int64))
        self._totals.add(counts, rates)
        self._right.append(np.asarray(right, bool))
        self._parts += 1

    def finish(self) -> None:
        """Write the totals.

        Raises:
            MismatchError: no clip came.
        """
        self._archive.add("totals", np.array(self._totals.form().model_dump_json()))
        self._archive.add("right", np.concatenate(self._right))


@contextmanager
def writing_counts(path: Path) -> Iterator[CountsWriter]:
    """An archive of counts that appears when the block ends well."""
    with writing_archive(path) as archive:
        writer = CountsWriter(archive)
        yield writer
        writer.finish()


def counts_file(name: str) -> str:
    """The file of a variant's counts in the folder of the simulation."""
    return f"counts.{name}.npz"


def counts_of_run(session: Session, name: str, variant: VariantForm, file: str | None = None) -> VariantCounts:
    """The counts of one variant.

    Args:
        session: a simulated run.
        name: of the variant.
        variant: what ``simulate.json`` says of it.
        file: instead of the variant's own.

    Raises:
        DataError: the file is missing or damaged, or is not what ``simulate.json`` describes.
    """
    path, hint = session.path(SIMULATE) / (file or counts_file(name)), SIMULATE.command(session.folder)
    try:
        with opened_archive(path, "the counts") as archive:
            found = _read(archive, path, hint)
    except DataError as error:
        raise DataError(error.what, where=str(path), issues=error.issues, hint=hint) from error
    spikes, right = found.counts.total("spikes"), int(found.right.sum())
    issues = [
        Issue(what, path.name, str(got), f"{told} of simulate.json", "One of them was edited.")
        for what, got, told in (
            ("clips", found.counts.clips, variant.clips),
            ("spikes", spikes, variant.spikes),
            ("right clips", right, round(variant.accuracy * variant.clips)),
        )
        if got != told
    ]
    if issues:
        raise refused(path, issues, hint)
    return found


def _read(archive: Archive, path: Path, hint: str) -> VariantCounts:
    names = sorted(name for name in archive.claims if name not in ("totals", "right"))
    issues = list(_wrong_arrays(archive, names, path))
    if issues:
        raise refused(path, issues, hint)
    try:
        about = TotalsForm.model_validate_json(str(archive.read("totals")))
    except ValidationError as error:
        raise refused(path, issues_of(error, path.name), hint) from error
    right, parts = archive.read("right"), [archive.read(name) for name in names]
    shape = (len(_FIELDS), len(about.layers), about.steps, about.clips)
    if any(part.shape[:3] != shape[:3] for part in parts) or sum(part.shape[3] for part in parts) != about.clips:
        got = ", ".join(sorted({str(part.shape) for part in parts})[:3])
        raise refused(path, [Issue("shape", f"{path.name}: series", got, f"{shape} together", "")], hint)
    if right.shape != (about.clips,):
        raise refused(path, [Issue("shape", f"{path.name}: right", str(right.shape), f"({about.clips},)", "")], hint)
    counts = _with_series(about.counts(), np.concatenate(parts, axis=3))
    if issues := list(_wrong_sums(counts, path)):
        raise refused(path, issues, hint)
    return VariantCounts(counts, about.input_rates(), right)


def _wrong_arrays(archive: Archive, names: list[str], path: Path) -> Iterator[Issue]:
    wanted = {"totals": ("U", 0), "right": ("b", 1)}
    wanted |= {f"series.{number:05d}": ("i", 4) for number in range(max(1, len(names)))}
    for name in sorted({*wanted, *archive.claims}):
        claim = archive.claims.get(name)
        if claim is None or name not in wanted:
            got, limit = ("nothing", "an array") if claim is None else ("an array", "nothing")
            yield Issue("complete", f"{path.name}: {name}", got, limit, "")
        elif (claim.dtype.kind, len(claim.shape)) != wanted[name] or (name != "totals" and claim.by_columns):
            got = f"{claim.dtype} {claim.shape}"
            yield Issue("type", f"{path.name}: {name}", got, "of kind {} with {} axes".format(*wanted[name]), "")


def _with_series(counts: Counts, series: np.ndarray) -> Counts:
    layers = (
        replace(layer, series=Series(**dict(zip(_FIELDS, series[:, row], strict=True))))
        for row, layer in enumerate(counts.layers)
    )
    return replace(counts, layers=tuple(layers))


def _wrong_sums(counts: Counts, path: Path) -> Iterator[Issue]:
    frames = counts.clips * counts.steps
    for layer in counts.layers:
        for name in _FIELDS:
            by_step = layer.by_step(name)
            if by_step.min(initial=0) < 0 or int(by_step.sum()) != getattr(layer, name):
                got = str(getattr(layer, name))
                yield Issue("sum", f"{path.name}: {layer.name}: {name}", got, f"{int(by_step.sum())}", "")
        for name in CONSTANT:
            if getattr(layer, name) % frames:
                got = str(getattr(layer, name))
                yield Issue("the same in every step", f"{path.name}: {layer.name}: {name}", got, f"n x {frames}", "")
