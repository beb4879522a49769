# SPDX-License-Identifier: Apache-2.0
"""What every file of a stage has in common: a closed form, a schema version, and typed errors where it is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from spikefold.config import Config
from spikefold.errors import DataError, Issue
from spikefold.files import write_json
from spikefold.session import Session
from spikefold.stage_table import Stage

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[Share, Share]
Neuron = tuple[Count, Count, Count]
"""One neuron of a layer, ``(c, y, x)``."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
F = TypeVar("F", bound=BaseModel)
_SHOWN = 60
"""Characters of a wrong value that a message shows."""


class Form(BaseModel):
    """A part of a file: all its keys are described, nothing is converted, and no number is infinite or NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StageFile(Form):
    """The content of one JSON file that a stage writes.

    Attributes:
        stage: which stage writes it.
        file: its name in the folder of that stage.
        version: of its form; a file with another one is refused.
    """

    stage: ClassVar[Stage]
    file: ClassVar[str]
    version: ClassVar[int] = 1
    schema_version: int

    @field_validator("schema_version")
    @classmethod
    def _known_version(cls, found: int) -> int:
        if found != cls.version:
            raise ValueError(f"this release reads version {cls.version}")
        return found

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The file from plain values without their version; what cannot be read back is not written."""
        return cls.model_validate_json(json.dumps({"schema_version": cls.version, **values}, allow_nan=False))

    @classmethod
    def read(cls, path: Path, hint: str) -> Self:
        """Read one file.

        Args:
            path: the file.
            hint: what to do where it cannot be read.

        Raises:
            DataError: the file is missing, damaged, edited or of another version; every wrong place is named.
        """
        return read_form(cls, path, hint)

    @classmethod
    def of_run(cls, session: Session) -> Self:
        """The file of a run, which must hold what the run's configuration asks of it.

        Raises:
            DataError: the stage has not run, or its file is damaged, edited, of another version or of other settings.
        """
        path = session.path(cls.stage) / cls.file
        hint = cls.stage.command(session.folder)
        found = cls.read(path, hint)
        if issues := list(found.missing(session.config)):
            raise refused(path, issues, hint)
        return found

    def missing(self, config: Config) -> Iterator[Issue]:
        """What the file does not hold although a run with this configuration has it."""
        yield from ()

    def write(self, folder: Path) -> None:
        """Write the file into a folder, by rename."""
        write_json(folder / self.file, {"schema_version": self.version, **self.plain()})

    def plain(self) -> dict[str, Any]:
        """Plain values for a report, without the version of the file."""
        return plain(self, {"schema_version"})


def read_form(form: type[F], path: Path, hint: str) -> F:
    """Read a JSON file of a known form.

    Raises:
        DataError: as `StageFile.read`.
    """
    try:
        return form.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path.name}: {error}", where=str(path), hint=hint) from error
    except ValidationError as error:
        raise refused(path, issues_of(error, path.name), hint) from error


def plain(form: BaseModel, leave_out: set[str] | None = None) -> dict[str, Any]:
    """A form as plain values, as it was written: what was absent stays absent."""
    return form.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=leave_out)


def lacking(field: str, held: Iterable[str], needed: Iterable[str]) -> Iterator[Issue]:
    """An issue for each name that a mapping of a file does not hold."""
    names = list(held)
    for name in needed:
        if name not in names:
            yield Issue(
                "complete", f"{field}.{name}", "nothing", "an entry", f"It holds {', '.join(names) or 'none'}."
            )


def issues_of(error: ValidationError, where: str) -> list[Issue]:
    """Every place at which a file breaks its form: the path of the field, what was found, what is allowed."""
    found = []
    for one in error.errors():
        path = ".".join(map(str, one["loc"])) or "the whole file"
        got = "nothing" if one["type"] == "missing" else shown(one["input"])
        found.append(Issue(one["type"], f"{where}: {path}", got, one["msg"], "The file was edited or damaged."))
    return found


def shown(value: object) -> str:
    """A value for a message, cut short."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def refused(path: Path, issues: Iterable[Issue], hint: str) -> DataError:
    """The error for a file that is not what its stage writes."""
    return DataError(f"{path.name} is not what this release writes", where=str(path), issues=issues, hint=hint)
