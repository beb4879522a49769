# SPDX-License-Identifier: Apache-2.0
"""TOML from a stranger: within limits that no honest file meets, so that none can take the memory or the time."""

from __future__ import annotations

import re
import tomllib
from typing import Any

MOST_CHARACTERS = 2**20
DEEPEST = 16
MOST_VALUES = 10_000
LARGEST_INTEGER = 2**63 - 1
"""TOML's own integers have 64 bits."""
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:\.[ \t]*{_PART}){{{DEEPEST},}}[=\]]")


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML text.

    Raises:
        ValueError: it is no TOML, or larger, deeper or with larger numbers than any settings are.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, more than the {MOST_CHARACTERS:,} allowed")
    if _LONG_KEY.search(text):  # the parser takes time that grows with the square of a key's parts
        raise ValueError(f"a key of more than {DEEPEST} parts")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError(f"nested deeper than {DEEPEST}") from error
    except ValueError as error:  # Python's own, of numbers of thousands of digits
        raise ValueError(f"an integer beyond 64 bits: {error}") from error
    check_plain(values)
    return values


def check_plain(values: object) -> None:
    """Check that plain values are neither too deep, too many, nor too large, before anything walks or prints them.

    Raises:
        ValueError: they are.
    """
    level, seen = [values], 0
    for _ in range(DEEPEST):
        seen += len(level)
        if seen > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        if any(isinstance(value, int) and abs(value) > LARGEST_INTEGER for value in level):
            raise ValueError("an integer beyond 64 bits")
        level = [inner for value in level for inner in _inside(value)]
    if level:
        raise ValueError(f"nested deeper than {DEEPEST}")


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
