# SPDX-License-Identifier: Apache-2.0
"""The stages of a run, one record each, from which everything that depends on the list of stages is derived.

The order of ``spikefold run``, the command of each stage with its help, the folder that it writes, which settings may
still change when it runs again, and which later stages are stale then: all of it follows from `STAGES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: the verb of the command line.
        folder: the folder that it writes in a run.
        reads: names of the stages whose files it opens.
        settings: configuration keys or sections that it takes and that may be set when it runs again. Its result
            depends on these, and on those of every stage that it reads directly or through others.
        function: where its function lives, as ``module:name``. It is loaded on demand, because ``spikefold --help``
            must not load PyTorch.
        help: what it does, for the command line.
        in_run: whether ``spikefold run`` does it, and the report holds its result.
    """

    name: str
    folder: str
    reads: tuple[str, ...]
    settings: tuple[str, ...]
    function: str
    help: str
    in_run: bool = True

    def load(self) -> Callable[[Any], Any]:
        """The function that does the stage on a session; this imports what the stage needs."""
        module, _, name = self.function.partition(":")
        found: Callable[[Any], Any] = getattr(import_module(module), name)
        return found

    def command(self, run: Path) -> str:
        """The command that does this stage again on a run folder."""
        if not self.reads:  # the first stage begins a run, so it is given the run's configuration
            return f"spikefold {self.name} --config {run / 'config.toml'} --out {run}"
        return f"spikefold {self.name} {run}"


TRAIN = Stage(
    "train",
    "1_train",
    reads=(),
    settings=("seed", "data", "model", "train"),
    function="spikefold.stages.train:train_stage",
    help="Train the network and its baseline without attention into a new run folder; under torchrun, on several "
    "processes.",
)
FOLD = Stage(
    "fold",
    "2_fold",
    reads=("train",),
    settings=("gates", "adapt.spikes", "chips.names", "chips.baseline", "chips.parity_clips"),
    function="spikefold.stages.fold:fold_stage",
    help="Calibrate the attention, choose its static form, fold, and give each chip its neurons.",
)
ADAPT = Stage(
    "adapt",
    "3_adapt",
    reads=("train", "fold"),
    settings=(
        "adapt.by",
        "adapt.epochs",
        "adapt.lr",
        "adapt.event_epochs",
        "adapt.event_lr",
        "adapt.event_batch",
        "adapt.held_share",
        "adapt.spike_limit",
        "adapt.distill",
        "adapt.synops_budget",
        "adapt.blend",
        "adapt.bias",
        "adapt.cap_weights",
    ),
    function="spikefold.stages.adapt:adapt_stage",
    help="Fine-tune the folded network in each chip's own integers, within a budget of operations if you like.",
)
EXPORT = Stage(
    "export",
    "4_export",
    reads=("fold", "adapt"),
    settings=(),
    function="spikefold.stages.export:export_stage",
    help="Quantise and write every artefact of an adapted run; or of a network trained elsewhere, from its file.",
)
SIMULATE = Stage(
    "simulate",
    "5_simulate",
    reads=("train", "fold", "adapt", "export"),
    settings=("chips.parity_clips", "chips.core_limit"),
    function="spikefold.stages.simulate:simulate_stage",
    help="Run every network of an exported run over the test set.",
)
VALIDATE = Stage(
    "validate",
    "6_validate",
    reads=("export",),
    settings=("chips.parity_clips", "chips.vendor_clips"),
    function="spikefold.stages.validate:validate_stage",
    help="Compare all runners of each chip spike for spike, or a board with its simulator; exit 1 where they differ.",
)
ENERGY = Stage(
    "energy",
    "7_energy",
    reads=("fold", "adapt", "export", "simulate"),
    settings=("energy_profile", "energy_rule", "chips.power", "chips.core_limit"),
    function="spikefold.stages.energy:energy_stage",
    help="Operations of a run and their energy; `spikefold energy RUN` counts and prices one.",
)
ANALYSE = Stage(
    "analyse",
    "8_analyse",
    reads=("train",),
    settings=(),
    function="spikefold.stages.analyse:analyse_stage",
    help="Firing rates, spike features and potentials of the network and its baseline, as the paper measures them.",
    in_run=False,
)
STAGES = (TRAIN, FOLD, ADAPT, EXPORT, SIMULATE, VALIDATE, ENERGY, ANALYSE)
"""In the order in which they run: each stands behind every stage that it reads."""
REPORTS = ("report.json", "report.html")
"""What binds together the results of the stages."""
BOARD = "board.json"
"""What a board did is added to a stage that is done; no stage reads it."""
REPORT_SETTINGS = ("chips.accuracy_loss",)
"""Configuration keys that only the report depends on."""


def computed_from(stage: Stage) -> tuple[Stage, ...]:
    """The stages that read a stage's files, directly or through others: stale once it has run again."""
    names, found = {stage.name}, []
    for later in STAGES:
        if names.intersection(later.reads):
            names.add(later.name)
            found.append(later)
    return tuple(found)


def may_change(stage: Stage) -> tuple[str, ...]:
    """Configuration keys and sections that may be set when a stage runs again: nothing that stays depends on them."""
    return tuple(sorted({*REPORT_SETTINGS, *(key for one in (stage, *computed_from(stage)) for key in one.settings)}))
