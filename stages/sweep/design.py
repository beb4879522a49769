# SPDX-License-Identifier: Apache-2.0
"""One design of a sweep: the values that make it, its configuration, and where its run lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from spikefold.config import Config

DESIGNS = "designs"
"""Folder of the configurations and of what became of each, in the folder of the sweep."""
_DIGITS = 10


@dataclass(frozen=True)
class Design:
    """One design.

    Attributes:
        name: the first digits of a digest of its configuration: equal designs have one name in every sweep.
        values: by key of the configuration what the space says.
        config: the whole configuration.
    """

    name: str
    values: Mapping[str, Any]
    config: Config

    @classmethod
    def of(cls, values: Mapping[str, Any], config: Config) -> Design:
        """The design with its name."""
        content = json.dumps(config.model_dump(mode="json"), sort_keys=True)
        return cls(sha256(content.encode()).hexdigest()[:_DIGITS], dict(values), config)

    def described(self) -> str:
        """Its values in one line."""
        return ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in self.values.items())

    def run(self, sweep: Path) -> Path:
        """Its run folder in the folder of the sweep."""
        return sweep / self.name

    def config_file(self, sweep: Path) -> Path:
        """Its configuration, which makes the same run without a sweep."""
        return sweep / DESIGNS / f"{self.name}.toml"

    def outcome_file(self, sweep: Path) -> Path:
        """What became of it the last time."""
        return sweep / DESIGNS / f"{self.name}.json"


def _short(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
