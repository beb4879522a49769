# SPDX-License-Identifier: Apache-2.0
"""The configuration of a run: typed, closed, TOML. An unknown key is an error, with the nearest name suggested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from spikefold.config_sections import (
    RECORDED_CHANNELS,
    RECORDED_PENALTY,
    AdaptConfig,
    ChipsConfig,
    DataConfig,
    GatesConfig,
    ModelConfig,
    Section,
    TrainConfig,
)
from spikefold.errors import ConfigError, nearest
from spikefold.toml import check_plain, parse_toml

__all__ = [
    "AdaptConfig",
    "ChipsConfig",
    "Config",
    "DataConfig",
    "GatesConfig",
    "ModelConfig",
    "TrainConfig",
    "load_config",
    "parse_config",
    "shortened",
    "to_toml",
]

_LONGEST_SHOWN, _MOST_SHOWN = 200, 50


class Config(Section):
    """Everything a run depends on."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    gates: GatesConfig = GatesConfig()
    adapt: AdaptConfig = AdaptConfig()
    chips: ChipsConfig = ChipsConfig()
    energy_profile: str = Field("horowitz45-fp32", description="technology profile by name, or FILE.toml")
    energy_rule: Literal["mixed", "chip", "paper", "rate-flops", "ann", "qnn"] = Field(
        "mixed", description="what is booked as an operation; the report shows all of them"
    )


def load_config(path: Path | None = None, overrides: tuple[str, ...] = (), *, source: str | None = None) -> Config:
    """Read a TOML file, then apply ``a.b=value`` overrides.

    Args:
        path: of the file; None: the defaults.
        overrides: each ``a.b=value``, the value as in TOML.
        source: in place of ``data.source``, as it is: a path may hold quotes, which TOML would read in its own way.

    Raises:
        ConfigError: unreadable file, unknown key, wrong value; every wrong key is named.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = parse_toml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the configuration: {error}", where=str(path)) from error
    for override in overrides:
        _override(values, override)
    if source is not None and isinstance(values.setdefault("data", {}), dict):
        values["data"]["source"] = source
    return parse_config(values)


def parse_config(values: dict[str, Any]) -> Config:
    """A `Config` from plain values.

    Raises:
        ConfigError: every unknown key with the nearest known one, every value out of range.
    """
    try:
        check_plain(values)  # settings of a command line are no file that was checked
    except ValueError as error:
        raise ConfigError(f"cannot read the configuration: {error}") from error
    try:
        config = Config.model_validate(_for_recordings(values))
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()[:_MOST_SHOWN]]
        if error.error_count() > len(lines):
            lines.append(f"and {error.error_count() - len(lines):,} more")
        raise ConfigError("; ".join(lines), hint="`spikefold config` prints every key with its meaning") from error
    if len(config.model.channels) != len(config.model.strides):
        raise ConfigError("model.channels and model.strides differ in length", hint="give one stride a convolution")
    return config


def _for_recordings(values: dict[str, Any]) -> dict[str, Any]:
    """The same; for recordings in files with defaults of their own where nothing is given."""
    data, model, train = (values.get(section, {}) for section in ("data", "model", "train"))
    if not (isinstance(data, dict) and isinstance(model, dict) and isinstance(train, dict)):
        return values  # which is refused
    if ":" not in str(data.get("source", "")):
        return values
    if model.get("family", "chain") == "chain":
        model = {"channels": RECORDED_CHANNELS} | model
    return values | {"model": model, "train": {"synops_penalty": RECORDED_PENALTY} | train}


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override!r} is not KEY=VALUE", hint="for example --set train.epochs=3")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text  # a bare word is a string
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{section!r} is a value, not a section", where=key)
    values[last] = value


def shortened(value: object) -> str:
    """A value as it is shown in a message, at most a line of it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _explain(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{path}: {problem['msg']} (got {shortened(problem['input'])})"
    section: Any = Config
    for part in problem["loc"][:-1]:
        section = section.model_fields[part].annotation
    return f"unknown key {path!r}. {nearest(str(problem['loc'][-1]), section.model_fields)}"


def to_toml(config: Config, *, comments: bool = True) -> str:
    """The whole configuration as TOML, a comment with the meaning of each key."""
    top, tables = [], []
    for name, info in Config.model_fields.items():
        value = getattr(config, name)
        if not isinstance(value, Section):
            top.append(_line(name, value, info.description if comments else None))
            continue
        lines = [f"\n[{name}]"]
        for key, field in type(value).model_fields.items():
            lines.append(_line(key, getattr(value, key), field.description if comments else None))
        tables.append("\n".join(lines))
    return "\n".join([*top, *tables]) + "\n"


def _line(key: str, value: Any, comment: str | None) -> str:
    if value is None:
        return f"# {key} = (chosen from the data)" + (f"  # {comment}" if comment else "")
    return f"{key} = {_toml(value)}" + (f"  # {comment}" if comment else "")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    # as it is: TOML has no surrogate pairs, which JSON would escape to; and it wants DEL escaped, which JSON does not
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
