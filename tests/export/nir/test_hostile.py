# SPDX-License-Identifier: Apache-2.0
"""Files that are no graph, cut, damaged, or made to do harm: bad data, and nothing else happens."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from spikefold.errors import DataError, UnsupportedError
from spikefold.export.nir import file as nir_file
from spikefold.export.nir.from_nir import read
from tests.export.nir.nir_cases import OURS, chain_file, if_node, lif_node

pytestmark = pytest.mark.usefixtures("in_this_process")


# ---- hostile files ----------------------------------------------------------------------------------------------


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return chain_file(tmp_path / "good.nir", 3, nir.Affine(np.ones((3, 3)), np.ones(3)), lif_node(3))


@pytest.mark.usefixtures("isolated")
def test_files_that_are_no_nir_graph(tmp_path: Path, good: Path) -> None:
    bad = tmp_path / "bad.nir"
    with pytest.raises(DataError, match="cannot read"):
        read(bad, OURS)
    for content in (b"", b"garbage" * 1000, good.read_bytes()[:8] + bytes(3000), b"\x89HDF\r\n\x1a\n"):
        bad.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(bad, OURS)
        assert str(bad) in caught.value.where
    with h5py.File(bad, "w") as file:
        file["other"] = 1
    with pytest.raises(DataError):
        read(bad, OURS)
    nir.write(str(bad), if_node(2))
    with pytest.raises(DataError, match="'IF', not a graph"):
        read(bad, OURS)


@pytest.mark.usefixtures("isolated")
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, good: Path) -> None:
    whole, bad = good.read_bytes(), tmp_path / "bad.nir"
    for size in range(0, len(whole), 1997):
        bad.write_bytes(whole[:size])
        with pytest.raises(DataError):
            read(bad, OURS)


@pytest.mark.usefixtures("isolated")
def test_a_damaged_byte_never_escapes_as_another_error(tmp_path: Path, good: Path) -> None:
    whole, bad, rng = bytearray(good.read_bytes()), tmp_path / "bad.nir", np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 12):  # more of them by night
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        bad.write_bytes(bytes(damaged))
        with suppress(DataError, UnsupportedError):
            read(bad, OURS)


@pytest.mark.usefixtures("isolated")
def test_a_file_that_crashes_the_reader_is_bad_data(good: Path, monkeypatch: Any, tmp_path: Path) -> None:
    """HDF5 itself does, on a few damaged files in ten thousand; what would be our end is the reader's."""
    for code, said in (("import os; os.abort()", "ended with code -6"), ("while True: pass", "within 1 s")):
        reader = tmp_path / "reader.py"
        reader.write_text(code, encoding="utf-8")
        monkeypatch.setattr(nir_file, "_READER", reader)
        monkeypatch.setattr(nir_file, "_PATIENCE_S", 1)
        with pytest.raises(DataError, match=said):
            read(good, OURS)


def test_missing_and_senseless_fields_are_named(tmp_path: Path, good: Path) -> None:
    for key, value in (
        ("tau", None),
        ("tau", np.full(3, np.nan)),
        ("r", "text"),
        ("v_threshold", np.full(3, np.inf)),
    ):
        bad = tmp_path / "bad.nir"
        bad.write_bytes(good.read_bytes())
        with h5py.File(bad, "a") as file:
            del file[f"node/nodes/n1/{key}"]
            if value is not None:
                file[f"node/nodes/n1/{key}"] = value
        with pytest.raises(DataError, match=key) as caught:
            read(bad, OURS)
        assert "n1 (LIF)" in caught.value.where


@pytest.mark.parametrize(
    ("where", "value", "error"),
    [
        ("n1/tau", np.zeros(0), DataError),
        ("n1/tau", np.ones(2), UnsupportedError),
        ("n1/tau", np.full(3, 1e-320), UnsupportedError),
        ("n1/r", np.full(3, 1e-310), UnsupportedError),
        ("n0/weight", np.ones((3, 0)), DataError),
        ("n0/bias", np.ones(2), UnsupportedError),
        ("in/shape", np.array([2**30] * 3), UnsupportedError),
        ("in/shape", np.array([-3]), UnsupportedError),
        ("in/shape", np.array([1.5]), DataError),
        ("out/shape", np.array([2**31, 2**31, 2**31, 3]), UnsupportedError),
        ("n1/type", "Lif", UnsupportedError),
        ("n1/type", np.ones(2), DataError),
    ],
)
def test_values_that_make_no_sense_are_refused(good: Path, where: str, value: Any, error: type[Exception]) -> None:
    with h5py.File(good, "a") as file:
        del file[f"node/nodes/{where}"]
        file[f"node/nodes/{where}"] = value
    with pytest.raises(error):
        read(good, OURS)


@pytest.mark.usefixtures("isolated")
def test_nothing_outside_the_file_is_read_and_no_memory_taken_on_its_word(tmp_path: Path, good: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["tau"] = np.full(3, 2.0)
    (tmp_path / "raw").write_bytes(np.full(3, 2.0).tobytes())
    bad = tmp_path / "bad.nir"
    place = "node/nodes/n1/tau"
    virtual = h5py.VirtualLayout((3,), float)
    virtual[:] = h5py.VirtualSource(str(secret), "tau", (3,))
    for make, said in (
        (lambda file: file.__setitem__(place, h5py.ExternalLink(str(secret), "tau")), "link"),
        (lambda file: file.__setitem__(place, h5py.SoftLink("/node/nodes/n1/r")), "link"),
        (
            lambda file: file.create_dataset(place, (3,), float, external=[(str(tmp_path / "raw"), 0, 24)]),
            "of its own",
        ),
        (lambda file: file.create_virtual_dataset(place, virtual), "of its own"),
        (lambda file: file.create_dataset(place, (2**40,), float, chunks=(1024,)), "MiB"),
        (lambda file: file["node/nodes"].__setitem__("n1/again", file["node"]), "deeper"),
    ):
        bad.write_bytes(good.read_bytes())
        with h5py.File(bad, "a") as file:
            del file[place]
            make(file)
        with pytest.raises(DataError, match=said):
            read(bad, OURS)


def _stray(good: Path, count: int) -> None:
    with h5py.File(good, "a") as file:
        for number in range(count):
            node = file.create_group(f"node/nodes/stray{number}")
            node["type"] = "IF"
            node["r"], node["v_threshold"] = np.ones(3), np.ones(3)


@pytest.mark.usefixtures("isolated")
def test_thousands_of_nodes_are_refused_before_they_are_read(good: Path) -> None:
    _stray(good, 1500)
    with pytest.raises(DataError, match=r"a group of 1,5\d\d parts, more than the 1,024 allowed"):
        read(good, OURS)


@pytest.mark.usefixtures("isolated")
def test_hundreds_of_stray_nodes_make_a_message_that_one_can_read(good: Path) -> None:
    _stray(good, 400)
    with pytest.raises(UnsupportedError) as caught:
        read(good, OURS)
    assert len(caught.value.issues) >= 400
    text = str(caught.value)
    assert "stray0 (IF)" in text
    assert f"and {len(caught.value.issues) - 200:,} more" in text
    assert text.count("\n") < 210


@pytest.mark.usefixtures("isolated")
def test_a_small_file_does_not_claim_all_memory(good: Path) -> None:
    with h5py.File(good, "a") as file:
        del file["node/nodes/n0/weight"]
        file.create_dataset("node/nodes/n0/weight", (3, 2**27), np.uint8, chunks=(3, 2**16), compression="gzip")
    assert good.stat().st_size < 2**20
    with pytest.raises(DataError, match="beyond 64 MiB of numbers"):
        read(good, OURS)
