# SPDX-License-Identifier: Apache-2.0
"""``report.html``: the content of ``report.json`` as one page with its pictures inside, which needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, UndefinedError

from spikefold.energy.chip.markdown import NOMINAL, by_reason
from spikefold.energy.report import energy_bars, uncertainty_section
from spikefold.errors import DataError, Issue
from spikefold.hardware.report import input_and_layers, output_rasters, spikes_per_layer
from spikefold.hardware.simulators.trace import Trace
from spikefold.session import RESULTS, Session
from spikefold.stage_table import ENERGY, TRAIN
from spikefold.stages.files.base import refused
from spikefold.stages.files.energy import clips_of_run
from spikefold.stages.files.simulate import FLOAT, FOLDED, SimulateFile
from spikefold.stages.files.traces import trace_of_run
from spikefold.stages.files.train import TrainFile
from spikefold.stages.silicon import at_hand

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


def render(session: Session, report: dict[str, Any]) -> str:
    """The page of a report.

    Raises:
        DataError: a file that it shows is missing, damaged or belongs to other settings.
    """
    test, classes = session.clips("test"), tuple(report["classes"])
    if classes != tuple(session.dataset.classes):
        issue = Issue("classes", TrainFile.file, str(classes), str(session.dataset.classes), "The file was edited.")
        raise refused(session.path(TRAIN) / TrainFile.file, [issue], TRAIN.command(session.folder))
    # the steps between are in the table; pictures show the ends
    shown = [name for name in report["accuracy"] if "." not in name and name != "static"]
    variants = SimulateFile.of_run(session).variants
    traces = {name: trace_of_run(session, name, variants[name]) for name in shown}
    spread = [FLOAT, *session.config.chips.names]
    clips = clips_of_run(session, spread)
    clip = _clearest(traces[FLOAT], len(classes), test.labels)
    pictures = {
        "input": input_and_layers(test.frames, traces[FOLDED], clip),
        "rasters": output_rasters(traces, classes, clip, int(test.labels[clip])),
        "spikes": spikes_per_layer(traces),
        "energy": energy_bars({name: report["energy"]["networks"][name] for name in shown}),
        "spread": uncertainty_section(report["energy"], {name: clips.networks[name] for name in spread}),
    }
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    shown_values = {"r": report, "pictures": pictures, "chips": list(session.config.chips.names)}
    try:
        silicon = [row.to_json() for row in at_hand()]
        return template.render(shown_values, by_reason=by_reason, nominal=NOMINAL, silicon=silicon)
    except UndefinedError as error:  # all other files are read in a closed form, so it is this one
        raise DataError(
            f"{RESULTS} lacks a part that the page shows: {error}",
            where=str(session.path(ENERGY) / RESULTS),
            hint=ENERGY.command(session.folder),
        ) from error


def _clearest(trace: Trace, classes: int, labels: Any) -> int:
    """The clip whose true class has the most output spikes: one picture should show a case that works."""
    counts = trace.output_counts(classes)
    return int(counts[range(len(labels)), labels].argmax())
