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
from collections.abc import Iterator, Sequence
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


Row = tuple[str, dict[str, str], str]
"""A network, what was compared (nothing where it was refused), and why it was refused (empty where it came in)."""


def main() -> int:
    """Run the tests and print the table; the exit code."""
    rows, failed = collected(TESTS)
    inside = [row for row in rows if row[1]]
    print(f"| network | layers | spikes | least of a layer |\n|---|---|---|---|\n{chr(10).join(map(_line, rows))}")
    print(f"\n{len(rows)} networks: {len(inside)} came in, {len(rows) - len(inside)} were refused for a true reason")
    print(failed, end="")
    return int(bool(failed) or len(rows) < AT_LEAST or len(inside) < COME_IN)


def collected(tests: Sequence[str]) -> tuple[list[Row], str]:
    """What the tests recorded of each network, and the end of pytest's own words where one of them failed.

    Args:
        tests: files or folders, as pytest takes them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.xml"
        # the newer family of the format has no properties of a test, which hold what is asserted
        options = ["-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={path}"]
        command = [sys.executable, "-m", "pytest", *options, *tests]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        rows = list(_rows(ElementTree.parse(path))) if path.is_file() else []  # noqa: S314
    return rows, done.stdout[-2000:] if done.returncode else ""


def _rows(tree: ElementTree.ElementTree[ElementTree.Element]) -> Iterator[Row]:
    for case in tree.iter("testcase"):
        told = {entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")}
        place = case.get("classname", "").rpartition(".test_")[2]
        name = case.get("name", "").removeprefix("test_")
        named = f"{place}: {name.partition('[')[2].rstrip(']') or name.replace('_', ' ')}"
        if "refused" in told:
            yield named, {}, told["refused"]
        elif "layers" in told:
            yield named, told, ""


def _line(row: Row) -> str:
    name, told, refused = row
    if refused:
        return f"| {name} | refused: {refused} | | |"
    return f"| {name} | {told['layers']} | {int(told['spikes']):,} | {int(told['least']):,} |"


if __name__ == "__main__":
    sys.exit(main())
