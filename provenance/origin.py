# SPDX-License-Identifier: Apache-2.0
"""What one stage of a run was made from, kept in its folder; and what of that is different now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from spikefold.config import Config
from spikefold.files import write_json
from spikefold.provenance import digests
from spikefold.stage_table import BOARD, STAGES, Stage

ORIGIN = "origin.json"
_APART = (ORIGIN, BOARD)
CHOSEN_FROM_DATA = ("data.dt_us", "data.downsample", "data.max_count")
"""Keys that a configuration may leave open; a run's own has them filled in."""


class Origin(BaseModel):
    """What a stage was made from.

    Attributes:
        schema_version: of this form.
        settings: by dotted key, those of the stage and of the stages before it.
        inputs: by stage, the digest of the folder that was read.
        data: digest of the data.
        code: digest of the code.
        made: digest of what was written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: int = 1
    settings: dict[str, Any]
    inputs: dict[str, str]
    data: str
    code: str
    made: str = ""


def origin_now(stage: Stage, config: Config, run: Path) -> Origin:
    """What the stage would be made from now.

    Raises:
        OSError: a file of the run or of the data cannot be read.
    """
    before = [one for one in STAGES if one.name in _reached(stage)]
    values = flat(config)
    keys = {key for one in before for key in one.settings}
    settings = {name: value for name, value in values.items() if _within(name, keys)}
    settings |= dict(_contents(settings))
    return Origin(
        settings=settings,
        inputs={one.name: digests.of_folder(run / one.folder, _APART) for one in STAGES if one.name in stage.reads},
        data=digests.of_data(config.data.source),
        code=digests.of_code(),
    )


def keep_origin(stage: Stage, config: Config, run: Path, folder: Path) -> None:
    """Write what a stage was made from into the folder that it has just written."""
    found = origin_now(stage, config, run).model_copy(update={"made": digests.of_folder(folder, _APART)})
    write_json(folder / ORIGIN, found.model_dump(mode="json"))


def why_again(stage: Stage, config: Config, run: Path) -> list[str]:
    """Why the stage of a run must be done again, in words; empty where all that it was made from is unchanged.

    Raises:
        OSError: a file of the run or of the data cannot be read.
    """
    folder = run / stage.folder
    if not folder.is_dir():
        return ["not done yet"]
    then = _read(folder / ORIGIN)
    if then is None:
        return ["nothing says what it was made from"]
    now = origin_now(stage, config, run)
    found = [f"{key}: {_told(old)} -> {_told(new)}" for key, old, new in changes(then.settings, now.settings)]
    found += [f"{name} was made again" for name, digest in now.inputs.items() if then.inputs.get(name) != digest]
    if then.data != now.data:
        found.append("the data changed")
    if then.code != now.code:
        found.append("the code changed")
    if not found and then.made != digests.of_folder(folder, _APART):
        found.append("its files were edited")
    return found


def changes(then: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Settings that differ: key, then, now. What a configuration leaves open differs from no choice of the data."""
    for key in sorted({*then, *now}):
        old, new = then.get(key), now.get(key)
        if old != new and not (key in CHOSEN_FROM_DATA and None in (old, new)):
            yield key, old, new


def flat(config: Config) -> dict[str, Any]:
    """Every key of a configuration by its dotted name, as plain values."""
    found: dict[str, Any] = {}
    for name, value in config.model_dump(mode="json").items():
        section = isinstance(getattr(config, name), BaseModel)
        found |= {f"{name}.{key}": one for key, one in value.items()} if section else {name: value}
    return found


def _reached(stage: Stage) -> set[str]:
    """The stage and all that it reads, directly or through others."""
    found = {stage.name}
    for one in reversed(STAGES):
        if one.name in found:
            found.update(one.reads)
    return found


def _within(name: str, keys: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{key}.") for key in keys)


def _contents(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Digests of the TOML files that settings name, such as a profile of the user's own."""
    for key, value in settings.items():
        for one in value.values() if isinstance(value, dict) else [value]:
            if isinstance(one, str) and one.endswith(".toml") and Path(one).is_file():
                yield f"{key}, content of {one}", digests.of_file(Path(one))


def _read(path: Path) -> Origin | None:
    """None where it is missing, damaged or of another version: the stage is done again then."""
    try:
        found = Origin.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.schema_version == Origin.model_fields["schema_version"].default else None


def _told(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
