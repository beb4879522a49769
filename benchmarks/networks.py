# SPDX-License-Identifier: Apache-2.0
"""The table of other people's networks: which came in and fired every spike of every layer, which were refused, why.

``python -m benchmarks.networks`` runs the tests that build these networks by the libraries themselves, and prints
what they asserted: layers, spikes compared in all, and in the layer that fired least. It fails where a test does, or
where fewer come in than the README promises.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    "tests/export/pytorch",
    "tests/export/nir/test_writer.py",
    "tests/export/nir/test_writers.py",
    "tests/hardware/loihi/test_netx_doors.py",
    "tests/hardware/speck/lowering/test_topologies.py",
)
AT_LEAST, COME_IN = 60, 50
"""Networks in the table, and those of them that come in."""


def main() -> int:
    """Run the tests and print the table; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={path}", *TESTS]
        done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        rows = list(_rows(ElementTree.parse(path)))  # noqa: S314
    inside = [row for row in rows if row[1]]
    print(f"| network | layers | spikes | least of a layer |\n|---|---|---|---|\n{chr(10).join(map(_line, rows))}")
    print(f"\n{len(rows)} networks: {len(inside)} came in, {len(rows) - len(inside)} were refused for a true reason")
    return int(bool(done.returncode) or len(rows) < AT_LEAST or len(inside) < COME_IN)


def _rows(tree: ElementTree.ElementTree[ElementTree.Element]) -> Iterator[tuple[str, dict[str, str], str]]:
    for case in tree.iter("testcase"):
        told = {entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")}
        place = case.get("classname", "").rpartition(".test_")[2]
        name = case.get("name", "").removeprefix("test_")
        named = f"{place}: {name.partition('[')[2].rstrip(']') or name.replace('_', ' ')}"
        if "refused" in told:
            yield named, {}, told["refused"]
        elif "layers" in told:
            yield named, told, ""


def _line(row: tuple[str, dict[str, str], str]) -> str:
    name, told, refused = row
    if refused:
        return f"| {name} | refused: {refused} | | |"
    return f"| {name} | {told['layers']} | {int(told['spikes']):,} | {int(told['least']):,} |"


if __name__ == "__main__":
    sys.exit(main())
