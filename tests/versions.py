# SPDX-License-Identifier: Apache-2.0
"""Prints the lowest versions that ``pyproject.toml`` declares, as constraints: ``python -m tests.versions``."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

_LOWEST = re.compile(r"^([A-Za-z0-9_.-]+)>=([0-9.]+)")


def lowest(requirements: Iterable[str]) -> Iterator[str]:
    """``name==version`` of each requirement with a lower bound."""
    for requirement in requirements:
        if found := _LOWEST.match(requirement):
            yield f"{found[1]}=={found[2]}"


def main() -> None:
    """One constraint a line."""
    path = Path(__file__).parents[1] / "pyproject.toml"
    declared = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
    sys.stdout.write("\n".join(lowest(declared)) + "\n")


if __name__ == "__main__":
    main()
