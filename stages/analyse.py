# SPDX-License-Identifier: Apache-2.0
"""``8_analyse``: measure spikes and potentials as the paper does, of the trained network and its baseline.

It depends on the training and the test clips alone, and no other stage reads it.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from spikefold import __version__
from spikefold.files import write_json, write_text
from spikefold.npz import write_arrays
from spikefold.pages import template
from spikefold.session import BASELINE, NETWORK, Session
from spikefold.stage_table import ANALYSE, TRAIN
from spikefold.train import checkpoint
from spikefold.train.analysis import figures as analysis_figures
from spikefold.train.analysis import potential_figures
from spikefold.train.analysis.features import KINDS, Rules
from spikefold.train.analysis.measure import Analysis, analyse
from spikefold.train.analysis.potentials import BINS, SPAN
from spikefold.train.analysis.values import to_arrays, to_json
from spikefold.train.evaluate import clips_at_once, unites_masks

VALUES, PAGE = "analysis.json", "analysis.html"
SCHEMA_VERSION = 1
_TEMPLATE = Path(__file__).with_name("analysis.html.jinja")


def analyse_stage(session: Session, rules: Rules | None = None, batch: int | None = None) -> dict[str, Any]:
    """Write the counts of each network, ``analysis.json`` and a page that needs nothing else; return the values.

    Args:
        session: a run whose training is done; its reports stay as they are.
        rules: what noise, null and ghost mean; ours if None.
        batch: clips run at once, a matter of memory alone; as many as in every evaluation where the clips of a batch
            share their masks.

    Raises:
        DataError: the training has not run, or its networks have no finite potentials.
    """
    rules = rules or Rules()
    trained, test = session.path(TRAIN), session.clips("test")
    network = checkpoint.load(trained / NETWORK)
    attention = network.model.config.attention
    if unites_masks(session.config.model):
        batch = clips_at_once(session.config)
    models = {BASELINE if attention == "none" else attention: network.model}
    if attention != "none" and (trained / BASELINE).is_dir():
        models = {BASELINE: checkpoint.load(trained / BASELINE).model} | models
    analyses = {
        name: analyse(model, test.frames, rules, batch, partial(session.reporter.progress, f"analyse {name}"))
        for name, model in models.items()
    }
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "spikefold": __version__,
        "run": session.folder.name,
        "data": session.config.data.source,
        "clips": len(test),
        "steps": len(test.frames),
        "classes": list(network.classes),
        "rules": asdict(rules),
        "kinds": list(KINDS),
        "histograms": {"unit": "thresholds", "from": -SPAN, "to": SPAN, "bins": BINS},
        "networks": {name: to_json(analysis) for name, analysis in analyses.items()},
    }
    page = _page(values, analyses)
    with session.writing(ANALYSE) as folder:
        for name, analysis in analyses.items():
            write_arrays(folder / f"counts.{name}.npz", to_arrays(analysis))
        write_json(folder / VALUES, values)
        write_text(folder / PAGE, page)
    for name, found in values["networks"].items():
        session.reporter.line(f"{name}: NASFR {found['nasfr']:.4f}, {found['spikes']:,} spikes in {len(test)} clips")
    return values


def _page(values: dict[str, Any], analyses: dict[str, Analysis]) -> str:
    first = next(iter(analyses.values()))
    step = analysis_figures.busiest_step(first)
    pictures = {
        "rates": analysis_figures.firing_rates(analyses),
        "kinds": analysis_figures.feature_kinds(analyses),
        "features": [analysis_figures.spike_features(analyses, layer, step) for layer in first.maps],
        "distributions": potential_figures.distributions(analyses),
        "by_kind": potential_figures.distributions_by_kind(analyses),
        "over_time": potential_figures.distributions_over_time(analyses),
    }
    return template(_TEMPLATE).render(
        a=values, step=step, layers=list(zip(first.maps, pictures["features"], strict=True)), pictures=pictures
    )
