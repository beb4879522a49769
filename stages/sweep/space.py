# SPDX-License-Identifier: Apache-2.0
"""A space of designs from a TOML file: what all have in common, and which values each key may take."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spikefold.config import parse_config, shortened
from spikefold.errors import ConfigError, Issue
from spikefold.stages.sweep.design import Design
from spikefold.toml import parse_toml

MOST_DESIGNS = 10_000
NONE = "none"
"""A value of a key that is left out: TOML has no word for nothing."""
_MOST_SHOWN = 20
_HINT = "[axes] with a list for each key, as model.channels = [[8, 16], [16, 32]]; docs/scale.md"


class Space(BaseModel):
    """The content of the file.

    Attributes:
        how: every combination, or some of them drawn.
        draws: how many are drawn.
        seed: of the draws.
        base: a part of a configuration, for every design.
        axes: by key of the configuration its values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    how: Literal["grid", "random"] = "grid"
    draws: int | None = Field(None, ge=1, le=MOST_DESIGNS)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    base: dict[str, Any] = {}
    axes: dict[str, Any]


def read_space(path: Path) -> tuple[Design, ...]:
    """The designs of a file, each once, in order.

    Raises:
        ConfigError: the file cannot be read; every key and value of a design that no configuration takes.
    """
    try:
        values = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the space: {error}", where=str(path)) from error
    try:
        space = Space.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']} (got {shortened(one['input'])})"
                 for one in error.errors()[:_MOST_SHOWN]]  # fmt: skip
        raise ConfigError("; ".join(lines), where=str(path), hint=_HINT) from error
    return designs(space, str(path))


def designs(space: Space, where: str) -> tuple[Design, ...]:
    """The designs of a space, each once: in the order of the axes, or as they are drawn.

    Raises:
        ConfigError: an axis without values, more designs than `MOST_DESIGNS`, draws that are not told, and every
            value that no configuration takes.
    """
    axes = dict(_axes(space.axes))
    wrong = [f"{key}: a list of values, not {shortened(one)}" for key, one in axes.items() if not _is_axis(one)]
    if wrong or not axes:
        raise ConfigError("; ".join(wrong) or "no axis", where=where, hint=_HINT)
    if (space.how == "random") != (space.draws is not None):
        raise ConfigError('draws go with how = "random"', where=where, hint='how = "random" and draws = 12')
    count = prod(map(len, axes.values()))
    if space.how == "grid" and count > MOST_DESIGNS:
        hint = 'fewer values, or how = "random" and draws = 100'
        raise ConfigError(f"{count:,} designs, at most {MOST_DESIGNS:,}", where=where, hint=hint)
    found: dict[str, Design] = {}
    issues: dict[str, Issue] = {}
    for values in _chosen(space, axes, count):
        try:
            config = parse_config(_merged(space.base, values))
        except ConfigError as error:
            told = ", ".join(f"{key} = {shortened(value)}" for key, value in values.items())
            issues.setdefault(error.what, Issue(error.what, where, told, "a configuration", "spikefold config"))
            continue
        one = Design.of(values, config)
        found.setdefault(one.name, one)
    if issues:
        raise ConfigError(
            "designs that are no configuration", where=where, issues=list(issues.values())[:_MOST_SHOWN]
        )
    return tuple(found.values())


def _axes(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with or without quotes: TOML makes tables of those without."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _axes(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _is_axis(values: object) -> bool:
    return isinstance(values, list) and len(values) > 0


def _chosen(space: Space, axes: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    names = list(axes)
    if space.how == "grid":
        for values in product(*axes.values()):
            yield dict(zip(names, values, strict=True))
        return
    draws = random.Random(space.seed)  # noqa: S311  no secret hangs on it
    for number in draws.sample(range(count), min(space.draws or 0, count)):
        yield _numbered(axes, number)


def _numbered(axes: dict[str, Any], number: int) -> dict[str, Any]:
    """One combination by its number among all: the last axis counts fastest."""
    chosen: dict[str, Any] = {}
    for name, one in reversed(axes.items()):
        number, place = divmod(number, len(one))
        chosen[name] = one[place]
    return {name: chosen[name] for name in axes}


def _merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The base as nested tables, with each value of the design in its place."""
    found = _copied(base)
    for key, value in values.items():
        *sections, last = key.split(".")
        table = found
        for section in sections:
            inner = table.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{section!r} is a value, not a section", where=key)
            table = inner
        if value == NONE and not _has_word_none(key):
            table.pop(last, None)
        else:
            table[last] = value
    return found


def _has_word_none(key: str) -> bool:
    """Whether ``"none"`` is a value of the key itself, as of ``model.attention``."""
    try:
        parse_config(_nested(key, NONE))
    except ConfigError:
        return False
    return True


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in values.items()}
