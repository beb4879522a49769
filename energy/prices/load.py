# SPDX-License-Identifier: Apache-2.0
"""Reading technology profiles: those of ``profiles/*.toml`` by name, and files of the user by path.

Each number is given the file and line on which its value stands, so that a report can link to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikefold.energy.prices.technology import Price as Price
from spikefold.energy.prices.technology import TechnologyProfile as TechnologyProfile
from spikefold.energy.prices.technology import refuse_mixing as refuse_mixing
from spikefold.errors import ConfigError, nearest
from spikefold.toml import parse_toml

DEFAULT = "horowitz45-fp32"
_FOLDER = Path(__file__).parent / "profiles"
_LONGEST = 4000
"""Characters of a message about a file with very many faults."""


def profile_names() -> list[str]:
    """Profiles that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_profile(name: str) -> TechnologyProfile:
    """A profile of ``energy/prices/profiles`` by name, or one of the user by a path that ends in ``.toml``.

    Raises:
        ConfigError: unknown name, a file that cannot be read, or a number that lacks source, kind or coverage.
    """
    path = Path(name).expanduser() if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    known = profile_names()
    if not name.endswith(".toml") and name not in known:
        # a name cut short means those that go on from it, and of the default's family the default
        longer = [one for one in known if name and one.startswith(name)] or known
        options = [DEFAULT] if len(longer) < len(known) and DEFAULT in longer else longer
        raise ConfigError(
            f"unknown technology profile {name!r}",
            where="energy_profile",
            hint=f"{nearest(name, options)} A file of your own is given by its path, which ends in .toml.",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the technology profile: {error}", where=str(path)) from error
    try:
        return TechnologyProfile.model_validate(_with_origins(parse_toml(text), text, path.name))
    except ValueError as error:
        raise ConfigError(
            f"technology profile {path.stem} is incomplete: {str(error)[:_LONGEST]}", where=path.name
        ) from error


def _with_origins(raw: dict[str, Any], text: str, file: str) -> dict[str, Any]:
    """Give each number the line it stands on, and the process and supply of the profile where it has none."""
    lines = _value_lines(text)
    shared = {key: raw[key] for key in ("node_nm", "voltage_v") if key in raw}

    def visit(table: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        found = {key: visit(one, (*path, key)) if isinstance(one, dict) else one for key, one in table.items()}
        if not path or "value" not in table:
            return found
        line, value = lines.get(path, (0, None))
        # compared as text: nan does not equal itself
        if "where" in table or repr(value) != repr(table["value"]):
            raise ConfigError(
                f"cannot tell on which line the number {'.'.join(path)} stands",
                where=file,
                hint=f"write it as a table [{'.'.join(path)}], `value = ...` on a line of its own, without `where`",
            )
        return shared | found | {"where": f"{file}:{line}"}

    return visit(raw, ())


def _value_lines(text: str) -> dict[tuple[str, ...], tuple[int, object]]:
    """Line and number of each ``value = ...``, by the table above it."""
    found: dict[tuple[str, ...], tuple[int, object]] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped.startswith(("[", "value")):
            continue
        try:
            parsed: Any = parse_toml(stripped)
        except ValueError:
            continue
        if stripped.startswith("["):
            table = _path(parsed)
        elif set(parsed) == {"value"}:
            found[table] = number, parsed["value"]
    return found


def _path(parsed: Any) -> tuple[str, ...]:
    """Keys from the outermost table to the innermost."""
    keys = []
    while isinstance(parsed, dict) and parsed:
        key, parsed = next(iter(parsed.items()))
        keys.append(key)
    return tuple(keys)
