# SPDX-License-Identifier: Apache-2.0
"""``3_adapt``: fine-tune each chip's network in the chip's own integers, side by side; nothing without a chip.

The network of an event-driven chip is tuned event by event, on the recordings themselves, unless ``adapt.by`` or the
clips are against it. Training recordings that no weight was trained on choose what is kept.
"""

from __future__ import annotations

from collections.abc import Callable

from spikefold.export.io import load_network, save_network
from spikefold.files import write_json
from spikefold.session import BASELINE, Session
from spikefold.stage_table import ADAPT
from spikefold.stages.adaptations import Work, plan
from spikefold.stages.files.adapt import AdaptedForm, AdaptFile, SelectionForm
from spikefold.stages.files.base import plain, read_form
from spikefold.train.deploy.adapt import Task, adapt
from spikefold.train.deploy.adapt_by_events import adapt_by_events
from spikefold.train.deploy.selection import BEFORE
from spikefold.train.side_by_side import side_by_side
from spikefold.train.state import Epoch

_HINT = "the process that adapted it has just written it: is the disk full?"


def adapt_stage(session: Session) -> None:
    """Write each chip's adapted network; with 0 epochs and no budget it is the network of the fold."""
    config = session.config
    if not config.chips.names:
        with session.writing(ADAPT) as folder:
            AdaptFile.of({"chips": {}, "baselines": {}}).write(folder)
        session.reporter.line("no chip is named, so there is nothing to adapt to")
        return
    with session.writing(ADAPT) as folder:
        planned = plan(session, folder)
        side_by_side(
            _adapt_one,
            planned.works,
            lambda name, e: session.reporter.progress(
                f"adapt to {name}", e.number, e.of, f"loss {e.loss:.3f}, accuracy {e.accuracy:.3f}"
            ),
        )
        found = {key: read_form(AdaptedForm, work.told, _HINT) for key, work in planned.works.items()}
        chips = {key: plain(one) for key, one in found.items() if key in config.chips.names}
        baselines = {name: plain(found[key]) for name in config.chips.names if (key := f"{name}.{BASELINE}") in found}
        AdaptFile.of({"chips": chips, "baselines": baselines}).write(folder)
        for work in planned.works.values():
            work.told.unlink()
    session.reporter.line(
        f"adapted on {planned.clips} clips: "
        + ", ".join(f"{found[name].epochs} epochs for {name}" for name in config.chips.names)
    )
    for name, one in found.items():
        if one.selection is not None:
            session.reporter.line(f"{name}: {_chosen(one.selection)}")


def _chosen(selection: SelectionForm) -> str:
    before = next((one for one in selection.candidates if one.name == BEFORE), None)
    kept = next(one for one in selection.candidates if one.name == selection.kept)
    told = f"{kept.accuracy:.3f} with {kept.spikes:,.0f} spikes and {kept.synops:,.0f} operations a clip"
    if kept is before:
        told = f"nothing is better than before the adaptation, so nothing is changed: {told}"
    else:
        told = f"{kept.name} is kept, {told}"
        if before is not None:
            told += f"; before {before.accuracy:.3f} with {before.spikes:,.0f} and {before.synops:,.0f}"
    told += f", {selection.how} on {selection.held} training recordings held out"
    if not selection.unseen:
        told += "; the float network was trained on them, which favours no change"
    if selection.budget is not None and kept.synops > selection.budget:
        told += f"; NONE keeps the budget of {selection.budget:,.0f} operations"
    return told


def _adapt_one(work: Work, report: Callable[[Epoch], None]) -> None:
    task, network = work.task, load_network(work.source)
    adapted = adapt(network, task, report) if isinstance(task, Task) else adapt_by_events(network, task, report)
    work.folder.mkdir(exist_ok=True)
    save_network(adapted.network, work.folder / work.file)
    found = adapted.to_json()
    if isinstance(selection := found["selection"], dict):
        selection["unseen"] = work.unseen
    write_json(work.told, found)
