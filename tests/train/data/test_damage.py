# SPDX-License-Identifier: Apache-2.0
"""Damaged files of every format: a typed error or a recording, within two seconds and 500 MB, and never a bug.

``SPIKEFOLD_EVERY_CUT=1`` cuts the longer files at every byte too, not at some 300 places.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import DataError, EnvironmentLacksError
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import read
from spikefold.train.data.repairs import OnFault
from tests.train.data.test_orientation import FILES

FLIPS = 300
MOST_S, MOST_KB = 2, 500_000
READINGS = (Reading(), Reading(OnFault.REPAIR))
EVERY_CUT = bool(os.environ.get("SPIKEFOLD_EVERY_CUT"))


def _outcome(path: Path, content: bytes, reading: Reading) -> str:
    path.write_bytes(content)
    started = time.process_time()
    try:
        found = read(path, reading)
        # a compression that a damaged header names may be of a package that is not installed
    except (DataError, EnvironmentLacksError) as error:
        outcome = "refused" if str(path) in error.where else "refused without its file"
    else:
        assert all(len(recording.events) for recording in found)
        outcome = "read"
    assert time.process_time() - started < MOST_S
    return outcome


def _memory_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("name", FILES)
def test_no_damage_is_a_bug_or_costs_much(name: str, tmp_path: Path) -> None:
    suffix, content = FILES[name]
    whole = content(tmp_path)
    path = tmp_path / f"a{suffix}"
    rng = np.random.default_rng(11)
    before = _memory_kb()
    outcomes = []
    for number, place in enumerate(rng.integers(0, len(whole), FLIPS)):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        outcomes.append(_outcome(path, bytes(damaged), READINGS[number % 2]))
    flipped = len(outcomes)
    cuts = range(0, len(whole), 1 if EVERY_CUT else max(1, len(whole) // 300))
    outcomes += [_outcome(path, whole[:cut], READINGS[cut % 2]) for cut in cuts]
    assert flipped == FLIPS
    assert len(outcomes) == FLIPS + len(cuts) > FLIPS + 20
    assert {"read", "refused"} == set(outcomes)
    assert _memory_kb() - before < MOST_KB
