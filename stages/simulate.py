# SPDX-License-Identifier: Apache-2.0
"""``5_simulate``: run every variant of the network over the whole test set: its accuracy, and what changed.

Traces are of the first clip of each recording, and so is the accuracy of every variant. With several clips a
recording (``data.clips``) each variant but the event-driven ones also runs on all of them, and ``voted`` is how often
their vote is right, as in the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from spikefold.config import Config
from spikefold.export.ops import Gate
from spikefold.hardware.event_engine import EventEngine
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import Accuracy, accuracy, predictions
from spikefold.hardware.simulators.trace import Trace, save_trace
from spikefold.session import BASELINE, EVENTS, NETWORK, Session
from spikefold.stage_table import ADAPT, EXPORT, FOLD, SIMULATE, TRAIN, Stage
from spikefold.stages.chip_files import network_on_chip
from spikefold.stages.event_variant import run_by_events
from spikefold.stages.files.export import ExportFile
from spikefold.stages.files.fold import EXCHANGE, FoldFile
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.files.simulate import FLOAT, FOLDED, SimulateFile
from spikefold.stages.files.traces import trace_file
from spikefold.train import checkpoint
from spikefold.train.data.clips import ClipSet, Windows
from spikefold.train.deploy import gates
from spikefold.train.deploy.tracing import trace_model
from spikefold.train.evaluate import clips_at_once, is_correct

Runner = Callable[[np.ndarray], Trace]


@dataclass(frozen=True, eq=False)
class Variant:
    """The network at one step of its way from the training to a chip.

    Attributes:
        name: unique in a run.
        what: what runs, for the report.
        before: the variant that it came from, or None.
        network: file of the network whose connections it has, relative to the run.
        trace: its spikes on the test set.
        run: the same on other frames; None where it does not run on frames.
        more: what else is known of it, for the report.
    """

    name: str
    what: str
    before: str | None
    network: str
    trace: Trace
    run: Runner | None = None
    more: dict[str, Any] = field(default_factory=dict)


def simulate_stage(session: Session) -> None:
    """Write each variant's trace and accuracy."""
    test, classes = session.clips("test"), len(session.dataset.classes)
    windows = Windows(session.dataset.test, session.binning, session.config.data.clips)
    results: dict[str, Any] = {}
    traces: dict[str, Trace] = {}
    with session.writing(SIMULATE) as folder:
        for variant in _variants(session, test):
            save_trace(variant.trace, folder / trace_file(variant.name))
            traces[variant.name] = variant.trace
            results[variant.name] = _facts(variant, test, classes) | _changes(variant, traces, classes) | variant.more
            found = results[variant.name]
            told = f"{variant.name}: accuracy {found['accuracy']:.3f} on {len(test)} clips, {found['spikes']} spikes"
            if windows.each > 1 and variant.run is not None:
                found["voted"] = _voted(variant.run, windows, session.config, classes)
                told += f"; {found['voted']['accuracy']:.3f} by the vote of {windows.each} clips a recording"
            session.reporter.line(told)
        SimulateFile.of({"variants": results}).write(folder)


def _variants(session: Session, test: ClipSet) -> Iterator[Variant]:
    folds, exported = FoldFile.of_run(session), ExportFile.of_run(session)
    trained = checkpoint.load(session.path(TRAIN) / NETWORK)
    unfolded = f"{FOLD.folder}/unfolded"
    network = network_of_run(session, FOLD, "unfolded")
    spiking = [la.name for la in network.neurons]
    traced = partial(trace_model, batch=clips_at_once(session.config), also=spiking)
    yield _ran(
        FLOAT,
        "trained network, dynamic attention, PyTorch float32",
        None,
        unfolded,
        test,
        partial(traced, trained.model),
    )
    baseline = session.path(TRAIN) / BASELINE
    if baseline.is_dir():
        yield _ran(
            BASELINE,
            "its baseline without attention, PyTorch float32",
            None,
            unfolded,
            test,
            partial(traced, checkpoint.load(baseline).model),
        )
    form = folds.choices[EXCHANGE].form
    before = FLOAT
    if form != "none":
        # the factors that the fold chose lie in its network
        chosen = {la.name: la.op.scale for la in network if isinstance(la.op, Gate)}
        with gates.static(trained.model, chosen) as frozen:
            yield _ran(
                "static",
                f"static attention per {form}, PyTorch float32",
                before,
                unfolded,
                test,
                partial(traced, frozen),
            )
        before = "static"
    yield _run(session, test, FOLDED, "batch norm, pooling and attention folded, float64", before, FOLD, "folded")
    for name in session.config.chips.names:
        yield from _chip_variants(session, test, name, folds, exported.chips[name].title)


def _chip_variants(session: Session, test: ClipSet, name: str, folds: FoldFile, title: str) -> Iterator[Variant]:
    before, form = FOLDED, folds.choices[name].form
    if form != folds.choices[EXCHANGE].form:
        yield _run(
            session,
            test,
            f"{name}.folded",
            f"static attention per {form}, folded, float64",
            before,
            FOLD,
            f"{name}/folded",
        )
        before = f"{name}.folded"
    if folds.replaced[name]:
        yield _run(
            session, test, f"{name}.target", "with the chip's neurons, float64", before, FOLD, f"{name}/target"
        )
        before = f"{name}.target"
    if session.config.adapt.epochs or session.config.adapt.synops_budget is not None:
        yield _run(
            session,
            test,
            f"{name}.adapted",
            "fine-tuned in the chip's integers, its real weights, float64",
            before,
            ADAPT,
            f"{name}/adapted",
        )
        before = f"{name}.adapted"
    chip = chip_named(name)
    what = f"{chip.numbers.weight_bits}-bit integers of {title}, clocked simulation"
    variant = _run(session, test, name, what, before, EXPORT, f"{name}/network")
    yield replace(variant, more=_rounding(session, test, name))
    if chip.event_engine is not None:
        yield _event_variant(session, test, name, chip.event_engine)


def _rounding(session: Session, test: ClipSet, name: str) -> dict[str, Any]:
    """What each step of the rounding changes, layer by layer, for chips that take it apart."""
    report = chip_named(name).rounding_report
    if report is None:
        return {}
    real, integer = (network_of_run(session, EXPORT, f"{name}/{form}") for form in ("real", "network"))
    frames = test.first(session.config.chips.parity_clips).frames
    return {"rounding": report(real, integer, frames)}


def _event_variant(session: Session, test: ClipSet, name: str, engine: EventEngine) -> Variant:
    file = network_on_chip(session.path(EXPORT) / name)
    trace, more = run_by_events(session, engine, network_of_run(session, EXPORT, f"{name}/{file.name}"), test)
    return Variant(
        f"{name}.{EVENTS}",
        f"the same integers by events, as the chip works: {more['went_in']}",
        name,
        f"{EXPORT.folder}/{name}/{file.name}",
        trace,
        more=more,
    )


def _run(session: Session, test: ClipSet, name: str, what: str, before: str, stage: Stage, file: str) -> Variant:
    run = partial(clocked.run, network_of_run(session, stage, file))
    return _ran(name, what, before, f"{stage.folder}/{file}", test, run)


def _ran(name: str, what: str, before: str | None, network: str, test: ClipSet, run: Runner) -> Variant:
    return Variant(name, what, before, network, run(test.frames), run)


def _voted(run: Runner, windows: Windows, config: Config, classes: int) -> dict[str, Any]:
    """The share of recordings for which the vote of their clips is right, with its 95 % interval."""
    right, vote, together = 0, config.data.vote, max(1, clips_at_once(config) // windows.each)
    for start in range(0, len(windows), together):
        chosen = range(start, min(start + together, len(windows)))
        counts = run(windows.frames(chosen)).output_counts(classes).reshape(len(chosen), windows.each, classes)
        right += int(is_correct(counts, windows.labels[chosen], vote, np.array(chosen)).sum())
    found = Accuracy(right, len(windows))
    return {
        "accuracy": found.share,
        "interval": list(found.interval),
        "recordings": len(windows),
        "clips": windows.each,
        "vote": vote,
    }


def _facts(variant: Variant, test: ClipSet, classes: int) -> dict[str, Any]:
    trace = variant.trace
    found = accuracy(trace.output_counts(classes), test.labels)
    return {
        "what": variant.what,
        "network": variant.network,
        "before": variant.before,
        "accuracy": found.share,
        "interval": list(found.interval),
        "ties": found.ties,
        "clips": len(test),
        "spikes": trace.spikes,
        "layers": {key: _layer_facts(trace, key) for key in trace.layers},
        "runner": trace.runner,
    }


def _layer_facts(trace: Trace, name: str) -> dict[str, Any]:
    layer = trace.layers[name]
    return {
        "spikes": layer.spikes,
        "rate": float(layer.raster.mean()),
        "overflow": layer.overflow,
        "v_range": None if layer.v_range is None else list(layer.v_range),
    }


def _changes(variant: Variant, traces: dict[str, Trace], classes: int) -> dict[str, Any]:
    """What this step changed: spike by spike in layers of unchanged shape, and in the predicted classes."""
    if variant.before is None:
        return {"changed": None}
    before, after = traces[variant.before], variant.trace
    told = (predictions(before.output_counts(classes)) != predictions(after.output_counts(classes))).sum()
    layers = {}
    for name, layer in after.layers.items():
        other = before.layers.get(name)
        if other is None or other.raster.shape != layer.raster.shape:
            continue
        flips = int(np.count_nonzero(other.raster != layer.raster))
        layers[name] = {"flips": flips, "share": flips / layer.raster.size, "spikes_before": other.spikes}
    return {"changed": {"since": variant.before, "predictions": int(told), "layers": layers}}
