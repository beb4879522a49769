# SPDX-License-Identifier: Apache-2.0
"""The tests of the tests: plant a fault in a copy of the sources, and some test must fail.

Here a sample of the faults of `faults.toml`, another one with each fault that is added; all of them in ``make
nightly``. Those tests that noticed are run once more on the restored copy, where they must pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.planting import ROOT, Fault, Planter, copied, faults, planter

EACH = 25
"""One of so many faults is planted here."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def process(copy: Path) -> Iterator[Planter]:
    with planter(copy) as found:
        yield found


@pytest.fixture(scope="module")
def noticing() -> set[str]:
    """The tests that failed on a planted fault, gathered over this file."""
    return set()


def test_every_fault_still_has_its_place_and_its_tests() -> None:
    names = [fault.name for fault in faults()]
    assert len(set(names)) == len(names) >= 60
    for fault in faults():
        assert fault.before in (ROOT / fault.file).read_text(encoding="utf-8"), fault.name
        assert fault.before != fault.after, fault.name
        for test in fault.tests.split():
            assert (ROOT / test.partition("::")[0]).is_file(), f"{fault.name}: {test}"
    assert len({fault.file.split("/")[0] for fault in faults()}) >= 8, "faults are spread over the tree"


@pytest.mark.parametrize("fault", faults()[::EACH], ids=lambda fault: fault.name)
def test_a_planted_fault_is_noticed(copy: Path, process: Planter, noticing: set[str], fault: Fault) -> None:
    found, output = process.noticed(copy, fault)
    assert found, f"not noticed by {fault.tests}\n{output}"
    failed = re.search(r"^FAILED ([^\[\s]+)", output, re.MULTILINE)
    assert failed, output
    noticing.add(failed.group(1))


def test_the_tests_that_noticed_pass_without_the_fault(process: Planter, noticing: set[str]) -> None:
    if not noticing:
        pytest.skip("no fault was planted in this session: run the whole file")
    code, output = process.run(sorted(noticing))
    assert code == 0, output
    assert " passed" in output
