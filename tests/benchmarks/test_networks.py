# SPDX-License-Identifier: Apache-2.0
"""The table of other people's networks is made of what its tests recorded, and a test that fails is told."""

from __future__ import annotations

from pathlib import Path

from benchmarks.networks import collected

TESTS = """
import pytest

@pytest.mark.parametrize("name", ["a net", "another"])
def test_it_fires_the_same_spikes(name, record_property):
    for key, value in (("layers", 2), ("spikes", 1234), ("least", 5)):
        record_property(key, value)

def test_a_delay_is_refused(record_property):
    record_property("refused", "no chip delays spikes")

def test_nothing_of_a_network():
    pass
"""


def test_rows_are_what_tests_recorded(tmp_path: Path) -> None:
    path = tmp_path / "test_made.py"
    path.write_text(TESTS, encoding="utf-8")
    rows, failed = collected([str(path)])
    assert failed == ""
    assert [(name.partition(": ")[2], refused) for name, _, refused in rows] == [
        ("a net", ""), ("another", ""), ("a delay is refused", "no chip delays spikes")
    ]  # fmt: skip
    assert rows[0][1] == {"layers": "2", "spikes": "1234", "least": "5"}
    path.write_text("def test_wrong(): assert not 'so'\n", encoding="utf-8")
    rows, failed = collected([str(path)])
    assert rows == []
    assert "1 failed" in failed
