# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate RUN --reduce FOLDER`` writes the smallest case as files, and a test loads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.errors import DataError
from spikefold.export.network import Network
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.parity import Runner
from spikefold.hardware.simulators.reduction import RunnerOf
from spikefold.pipeline import app
from spikefold.stages.verbs import reduce_mismatch
from spikefold.stages.verbs.reduce_mismatch import ENGINE, load_case


def _planted(chip: str) -> Iterator[tuple[str, RunnerOf]]:
    """The engine with another threshold in its last layer; on one chip alone."""

    def runner_of(real: Network, integer: Network) -> Runner:
        last = integer.neurons[-1]
        other = replace(last, op=replace(last.op, threshold=last.op.threshold * 3 // 4))
        planted = integer if chip != "loihi2" else replace(integer, layers=(*integer.layers[:-1], other))
        return lambda frames, *, potentials=False: clocked.run(planted, frames, potentials=potentials)

    yield ENGINE, runner_of


def _call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_the_smallest_case_is_written_and_loads(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "reduced"
    with monkeypatch.context() as patch:
        patch.setattr(reduce_mismatch, "_runners", _planted)
        code, said, err = _call("validate", str(finished_run), "--reduce", str(out))
        assert code == 1, err
        assert "E-MISMATCH: loihi2.torch differ from the reference" in err
        assert "layers 6 -> 2" in said
        assert [path.name for path in out.iterdir()] == ["loihi2.torch"]
        kept = load_case(out / "loihi2.torch")
        found = kept.compared()
        assert found.mismatches > 0, "it differs again"
        assert kept.case.frames.sum() < 30
    code, _, err = _call("validate", str(finished_run), "--reduce", str(out))
    assert (code, "something is there" in err) == (6, True)


def test_where_every_spike_is_equal_nothing_is_written(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduce_mismatch, "_runners", lambda chip: iter([next(_planted("another"))]))
    code, said, err = _call("validate", str(finished_run), "--reduce", str(tmp_path / "reduced"))
    assert code == 0, err
    assert "nothing to reduce" in said
    assert "equal (3 layers" in err
    assert not (tmp_path / "reduced").exists()
    assert _call("validate", str(finished_run), "--reduce", "x", "--on", "speck2fdevkit:0")[0] == 2


def test_a_damaged_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text("{}")
    with pytest.raises(DataError, match=r"case\.json lacks 'chip'"):
        load_case(tmp_path)
    np.savez(tmp_path / "frames.npz", other=np.zeros(1))
    (tmp_path / "case.json").write_text('{"schema_version": 1, "chip": "loihi2", "runner": "torch"}')
    with pytest.raises(DataError, match="lacks 'frames'"):
        load_case(tmp_path)
