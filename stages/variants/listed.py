# SPDX-License-Identifier: Apache-2.0
"""Lists the variants of a run's network, from the trained one down to each chip's, and runs each on parts of a set.

A network is loaded where it is listed, and runs where it is asked to: several variants are on the same clips before
the next clips come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from spikefold.errors import SpikefoldError
from spikefold.export.ops import Gate
from spikefold.hardware.event_engine import EventFindings
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.trace import Trace
from spikefold.session import BASELINE, EVENTS, NETWORK, Session
from spikefold.stage_table import ADAPT, EXPORT, FOLD, TRAIN, Stage
from spikefold.stages.chip_files import NETWORK_FILE, network_on_chip
from spikefold.stages.files.export import ExportFile
from spikefold.stages.files.fold import EXCHANGE, FoldFile
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.files.simulate import CONSTANT, FLOAT, FOLDED
from spikefold.stages.variants.by_events import run_by_events
from spikefold.train import checkpoint
from spikefold.train.data.clips import Part
from spikefold.train.deploy import gates
from spikefold.train.deploy.tracing import trace_model
from spikefold.train.evaluate import clips_at_once
from spikefold.train.models.spiking_net import SpikingNet

FRAMES = "frames"
"""What enters every variant but the event-driven ones."""
Runner = Callable[[np.ndarray], Trace]


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, eq=False)
class Variant:
    """The network at one step of its way from the training to a chip.

    Attributes:
        name: unique in a run.
        what: what runs, for the report.
        before: the variant that it came from, or None.
        network: file of the network whose connections it has, relative to the run.
        run: gives the spikes of some clips; of an event-driven chip also what else its engine measures, unless the
            spikes are all that is wanted.
        on_frames: the same on frames ``(T, N, C, H, W)`` alone; None for an event-driven chip.
        more: measures what else is told of it, for the report.
    """

    name: str
    what: str
    before: str | None
    network: str
    run: Callable[[Part, bool], EventFindings]
    on_frames: Runner | None = None
    more: Callable[[], dict[str, Any]] = field(default=_nothing)


def variants_of(session: Session) -> Iterator[Variant]:
    """Every variant, each behind the one that it was made from."""
    folds, exported = FoldFile.of_run(session), ExportFile.of_run(session)
    yield from _trained(session)
    form, before = folds.choices[EXCHANGE].form, FLOAT
    if form != "none":
        yield _constant(session)
        yield _static(session, form)
        before = "static"
    yield _clocked(session, FOLDED, "batch norm, pooling and attention folded, float64", before, FOLD, "folded")
    for name in session.config.chips.names:
        before = FOLDED
        for step in _steps_to(session, name, folds):
            before = step.name
            yield step
        yield from _on_chip(session, name, exported, before)
        yield from _baseline_on_chip(session, name, exported, BASELINE)


def ends_of(session: Session, chips: Collection[str]) -> Iterator[Variant]:
    """The trained network, its baseline, and what each chip runs, without the steps between."""
    exported = ExportFile.of_run(session)
    yield from _trained(session)
    for name in chips:
        yield from _on_chip(session, name, exported, None)
        yield from _baseline_on_chip(session, name, exported, None)


def _trained(session: Session) -> Iterator[Variant]:
    traced, file = _traced(session), f"{FOLD.folder}/unfolded"
    model = checkpoint.load(session.path(TRAIN) / NETWORK).model
    what = "trained network, dynamic attention, PyTorch float32"
    yield _framed(FLOAT, what, None, file, partial(traced, model))
    baseline = session.path(TRAIN) / BASELINE
    if baseline.is_dir():
        plain = checkpoint.load(baseline).model
        what = "its baseline without attention, PyTorch float32"
        yield _framed(BASELINE, what, None, file, partial(traced, plain))


def _static(session: Session, form: str) -> Variant:
    traced, network = _traced(session), network_of_run(session, FOLD, "unfolded")
    # the factors that the fold chose lie in its network
    chosen = {la.name: la.op.scale for la in network if isinstance(la.op, Gate)}
    model = checkpoint.load(session.path(TRAIN) / NETWORK).model

    def run(frames: np.ndarray) -> Trace:
        with gates.static(model, chosen) as frozen:
            return traced(frozen, frames)

    what = f"static attention per {form}, PyTorch float32"
    return _framed("static", what, FLOAT, f"{FOLD.folder}/unfolded", run)


def _constant(session: Session) -> Variant:
    """Every gate replaced by one number, its mean over clips, steps, channels and positions: what is left of ASA."""
    traced, means = _traced(session), FoldFile.of_run(session).gates
    model = checkpoint.load(session.path(TRAIN) / NETWORK).model
    chosen = {name: np.full((gate.shape[0], 1, 1), gate.mean) for name, gate in means.items()}

    def run(frames: np.ndarray) -> Trace:
        with gates.static(model, chosen) as frozen:
            return traced(frozen, frames)

    what = "each gate replaced by its mean, one number a layer, PyTorch float32: what is no attention"
    return _framed(CONSTANT, what, FLOAT, f"{FOLD.folder}/unfolded", run)


def _traced(session: Session) -> Callable[[SpikingNet, np.ndarray], Trace]:
    spiking = [la.name for la in network_of_run(session, FOLD, "unfolded").neurons]
    return partial(trace_model, batch=clips_at_once(session.config), also=spiking)


def _steps_to(session: Session, name: str, folds: FoldFile) -> Iterator[Variant]:
    """The folded network on its way into a chip's integers."""
    before, form = FOLDED, folds.choices[name].form
    if form != folds.choices[EXCHANGE].form:
        what = f"static attention per {form}, folded, float64"
        yield _clocked(session, f"{name}.folded", what, before, FOLD, f"{name}/folded")
        before = f"{name}.folded"
    if folds.replaced[name]:
        what = "with the chip's neurons, float64"
        yield _clocked(session, f"{name}.target", what, before, FOLD, f"{name}/target")
        before = f"{name}.target"
    if session.config.adapt.epochs or session.config.adapt.synops_budget is not None:
        what = "fine-tuned in the chip's integers, its real weights, float64"
        yield _clocked(session, f"{name}.adapted", what, before, ADAPT, f"{name}/adapted")


def _on_chip(session: Session, name: str, exported: ExportFile, before: str | None) -> Iterator[Variant]:
    """What a chip runs: its integers in clocked steps and, on a chip that has no steps, event by event."""
    chip = chip_named(name)
    what = f"{chip.numbers.weight_bits}-bit integers of {exported.chips[name].title}, clocked simulation"
    yield _clocked(session, name, what, before, EXPORT, f"{name}/network", partial(_rounding, session, name))
    if chip.event_engine is not None:
        yield _by_events(session, name, name, NETWORK_FILE, "the same integers by events, as the chip works")


def _baseline_on_chip(session: Session, name: str, exported: ExportFile, before: str | None) -> Iterator[Variant]:
    """The baseline in the chip's integers, adapted alike; nothing where it does not go to the chips."""
    if not (session.path(EXPORT) / name / f"{BASELINE}.json").is_file():
        return
    own = f"{name}.{BASELINE}"
    what = f"the baseline without attention on {exported.chips[name].title}, clocked simulation"
    yield _clocked(session, own, what, before, EXPORT, f"{name}/{BASELINE}")
    if chip_named(name).event_engine is not None:
        yield _by_events(session, name, own, BASELINE, "the baseline's integers by events")


def _by_events(session: Session, chip: str, before: str, file: str, what: str) -> Variant:
    """An integer network event by event, in the form in which its chip runs it."""
    engine = chip_named(chip).event_engine
    if engine is None:
        raise SpikefoldError(f"{chip} has no event engine")
    place = f"{chip}/{network_on_chip(session.path(EXPORT) / chip, file).name}"
    network = network_of_run(session, EXPORT, place)

    def run(part: Part, spikes_only: bool) -> EventFindings:
        return run_by_events(engine, network, part, session.binning, session.config, spikes_only=spikes_only)

    return Variant(f"{before}.{EVENTS}", what, before, f"{EXPORT.folder}/{place}", run)


def _rounding(session: Session, name: str) -> dict[str, Any]:
    """What each step of the rounding changes, layer by layer, for chips that take it apart."""
    report = chip_named(name).rounding_report
    if report is None:
        return {}
    real, integer = (network_of_run(session, EXPORT, f"{name}/{form}") for form in ("real", "network"))
    frames = session.first_clips("test", session.config.chips.parity_clips).frames
    return {"rounding": report(real, integer, frames)}


def _clocked(
    session: Session,
    name: str,
    what: str,
    before: str | None,
    stage: Stage,
    file: str,
    more: Callable[[], dict[str, Any]] = _nothing,
) -> Variant:
    run = partial(clocked.run, network_of_run(session, stage, file))
    return _framed(name, what, before, f"{stage.folder}/{file}", run, more)


def _framed(
    name: str,
    what: str,
    before: str | None,
    network: str,
    runner: Runner,
    more: Callable[[], dict[str, Any]] = _nothing,
) -> Variant:
    """A variant that runs on frames."""

    def run(part: Part, spikes_only: bool) -> EventFindings:
        return EventFindings(runner(part.clips.frames), FRAMES)

    return Variant(name, what, before, network, run, runner, more)
