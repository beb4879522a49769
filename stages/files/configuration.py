# SPDX-License-Identifier: Apache-2.0
"""The parts of a Speck configuration file that a run on a board reads; `hardware.speck.configuration` writes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from spikefold.stages.files.base import Count


class ConfigurationForm(BaseModel):
    """The board that it was made for, the core of each spiking layer, and the values for the vendor's library."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    device: str
    layer2core: dict[str, Count]
    configuration: dict[str, Any]
