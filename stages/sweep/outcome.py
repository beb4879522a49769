# SPDX-License-Identifier: Apache-2.0
"""What became of one design: the exit code of its run, and its message."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from spikefold.errors import EnvironmentLacksError, UnsupportedError
from spikefold.files import write_json

_LONGEST = 4_000
"""Characters of a message that are kept."""


class Outcome(BaseModel):
    """What became of a design.

    Attributes:
        code: exit code of ``spikefold run``.
        error: what it said, where it is not 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    code: int
    error: str = ""

    @property
    def is_answer(self) -> bool:
        """Whether nothing went wrong: a design that does not fit is an answer too."""
        return self.code in (0, UnsupportedError.exit_code)

    @property
    def may_change(self) -> bool:
        """Whether it is worth another try as it is: what the environment did wrong, or an interruption."""
        return self.code == EnvironmentLacksError.exit_code or self.code >= 128

    def write(self, path: Path) -> None:
        """Keep it."""
        write_json(path, self.model_copy(update={"error": self.error[:_LONGEST]}).model_dump())


def read_outcome(path: Path) -> Outcome | None:
    """None where there is none, or a damaged one: the design is made again then."""
    try:
        return Outcome.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
