# SPDX-License-Identifier: Apache-2.0
"""``4_export/export.json`` of a run: the identity, scales, placement and files of each chip's network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from spikefold.config import Config
from spikefold.errors import Issue
from spikefold.stage_table import EXPORT, Stage
from spikefold.stages.files.base import Count, Form, NotNegative, Sha256, Share, StageFile, lacking
from spikefold.stages.files.fold import ProofForm


class LayerScaleForm(Form):
    """How one layer was rounded; see `export.passes.quantise.LayerScale`."""

    layer: str
    scale: NotNegative
    bound_by: str
    weight_error: NotNegative
    zeroed_share: Share
    ties: Count
    effective_bits: NotNegative
    threshold: int
    max_weight_over_threshold: NotNegative
    sum_bound: int | None
    state_bounds: tuple[int, int] | None
    overflow_excluded: bool | None


class ClippedForm(Form):
    """The weights of one layer that were clipped; see `export.passes.clip_outliers.Clipped`."""

    layer: str
    limit: NotNegative
    clipped_share: Share
    error_max: NotNegative
    error: NotNegative


class RewriteForm(ProofForm):
    """What a rewrite did, the layers that it changed, and its proof."""

    what: str
    changed: list[str]


class ChipFilesForm(Form):
    """One chip's network and files.

    ``placement`` is the core number of each spiking layer, empty if unknown; ``passes`` are the rewrites that made of
    what the chip lacks what it has.
    """

    title: str
    identity: Sha256
    notes: list[str]
    scales: list[LayerScaleForm]
    clipped: list[ClippedForm]
    placement: dict[str, Count]
    passes: list[RewriteForm]
    artefacts: list[str]


class ExportFile(StageFile):
    """The whole file; ``identity`` is that of the folded network for other tools."""

    stage: ClassVar[Stage] = EXPORT
    file: ClassVar[str] = "export.json"
    identity: Sha256
    chips: dict[str, ChipFilesForm]
    artefacts: list[str]

    def missing(self, config: Config) -> Iterator[Issue]:
        """Each chip has its files."""
        yield from lacking("chips", self.chips, config.chips.names)
