# SPDX-License-Identifier: Apache-2.0
"""``report.html``: the content of ``report.json`` as one page with its pictures inside, which needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import UndefinedError

from spikefold.energy.chip.markdown import NOMINAL, by_reason
from spikefold.energy.report import energy_bars, uncertainty_section
from spikefold.errors import DataError, Issue
from spikefold.hardware.report import input_and_layers, output_rasters, spikes_per_layer
from spikefold.session import BASELINE, RESULTS, Session
from spikefold.stage_table import ANALYSE, ENERGY, SIMULATE, TRAIN
from spikefold.stages.analyse import PAGE
from spikefold.stages.files.base import refused
from spikefold.stages.files.energy import clips_of_run
from spikefold.stages.files.simulate import CONSTANT, FLOAT, FOLDED, SimulateFile, VariantForm
from spikefold.stages.files.traces import trace_of_run
from spikefold.stages.files.train import TrainFile
from spikefold.stages.report.energy_intervals import bars_of, energy_intervals
from spikefold.stages.report.floorplan import floorplan
from spikefold.stages.report.pictures import ladder_chart, training_chart
from spikefold.stages.report.template_files import templates
from spikefold.stages.silicon import at_hand
from spikefold.train.data.clips import ClipSet

_TEMPLATE = "report.html.jinja"
_ANALYSIS = f"{ANALYSE.folder}/{PAGE}"


def render(session: Session, report: dict[str, Any]) -> str:
    """The page of a report.

    Raises:
        DataError: a file that it shows is missing, damaged or belongs to other settings.
    """
    classes, simulated = tuple(report["classes"]), SimulateFile.of_run(session)
    if classes != tuple(session.dataset.classes):
        issue = Issue("classes", TrainFile.file, str(classes), str(session.dataset.classes), "The file was edited.")
        raise refused(session.path(TRAIN) / TrainFile.file, [issue], TRAIN.command(session.folder))
    # the steps between are in the table; pictures show the ends
    shown = [name for name in report["accuracy"] if "." not in name and name not in ("static", CONSTANT)]
    variants = simulated.variants
    traces = {name: trace_of_run(session, name, variants[name]) for name in shown}
    spread = [FLOAT, *session.config.chips.names]
    clips = clips_of_run(session, spread)
    clip = _shown(session, simulated.shown)
    quoted = [one["variant"] for one in report["on_chip"].values()]
    pictures = {
        "ladder": ladder_chart(report["accuracy_ladder"], quoted, report["clips"]),
        "training": training_chart(TrainFile.of_run(session).epochs),
        "input": input_and_layers(clip.frames, traces[FOLDED], 0),
        "rasters": output_rasters(traces, classes, 0, int(clip.labels[0])),
        "spikes": spikes_per_layer({name: _spikes_per_clip(variants[name]) for name in shown}),
        "energy": energy_bars({name: report["energy"]["networks"][name] for name in shown}),
        "intervals": energy_intervals(bars_of(quoted, report["energy"]["networks"])),
        "spread": uncertainty_section(report["energy"], {name: clips.networks[name] for name in spread}),
    }
    values = {
        "r": report,
        "pictures": pictures,
        "chips": list(session.config.chips.names),
        "quoted": quoted,
        "baseline": BASELINE,
        "floors": floors(report),
        "silicon": [row.to_json() for row in at_hand()],
        "analysis": _ANALYSIS if (session.folder / _ANALYSIS).is_file() else "",
    }
    try:
        return templates().get_template(_TEMPLATE).render(values, by_reason=by_reason, nominal=NOMINAL)
    except UndefinedError as error:  # all other files are read in a closed form, so it is this one
        raise DataError(
            f"{RESULTS} lacks a part that the page shows: {error}",
            where=str(session.path(ENERGY) / RESULTS),
            hint=ENERGY.command(session.folder),
        ) from error


def floors(report: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """By chip the tiles of its floorplan, at the pace of the variant that is quoted for it."""
    found = {}
    for chip, quoted in report["on_chip"].items():
        budget = report["energy"]["networks"][quoted["variant"]].get("chip") or {}
        found[chip] = [tile.to_json() for tile in floorplan(report["fit"][chip], budget.get("cores", ()))]
    return found


def _shown(session: Session, number: int) -> ClipSet:
    """The one clip of which the traces are kept: one whose true class has many output spikes, a case that works.

    Raises:
        DataError: there is no such test clip.
    """
    clips = session.number_of_clips("test")
    if number >= clips:
        issue = Issue("shown", SimulateFile.file, str(number), f"the number of one of {clips} test clips", "")
        raise refused(session.path(SIMULATE) / SimulateFile.file, [issue], SIMULATE.command(session.folder))
    return session.one_clip("test", number)


def _spikes_per_clip(variant: VariantForm) -> dict[str, float]:
    return {name: layer.spikes / variant.clips for name, layer in variant.layers.items()}
