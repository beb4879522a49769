# SPDX-License-Identifier: Apache-2.0
"""What the operating system refuses is E-ENVIRONMENT with its path and what to do, never a bug of this program."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spikefold.commands import stage_command
from spikefold.commands.interrupted import INTERRUPTED, TERMINATED
from spikefold.commands.system_errors import from_system
from spikefold.pipeline import app

_NUMBERS = [errno.EACCES, errno.ENOSPC, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.EDQUOT, errno.EMFILE]


@pytest.mark.parametrize("number", _NUMBERS, ids=errno.errorcode.get)
def test_each_refusal_has_its_path_and_an_advice(number: int) -> None:
    error = from_system(OSError(number, os.strerror(number), "some/where"))
    assert error.exit_code == 4
    text = str(error)
    assert text.startswith(
        f"E-ENVIRONMENT: the system refuses: {os.strerror(number)}\n  where: some/where\n  to do: "
    )
    assert error.hint != from_system(OSError(9999, "nobody knows it", "some/where")).hint


def test_memory_and_renames_are_told_too() -> None:
    assert "not enough memory" in str(from_system(MemoryError()))
    moved = OSError(errno.ENOSPC, "full", "a", None, "b")
    assert from_system(moved).where == "a -> b"


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x/7_energy/clips.npz"),
            "the disk is full: make room",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), "give yourself the right"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_command_ends_with_the_message_and_its_code(
    raised: BaseException, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> None:
        raise raised

    monkeypatch.setattr(stage_command, "open_session", refused)
    done = CliRunner().invoke(app, ["fold", str(tmp_path)])
    assert done.exit_code == 4
    assert said in done.stderr
    assert "bug" not in done.stderr


def _spikefold(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spikefold.pipeline", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _spikefold("run", "--out", "file/run", cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.returncode == 4
    assert "where: file/run" in done.stderr
    assert "a file lies where a folder should be" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output() -> None:
    with Path("/dev/full").open("w") as full:
        done = _spikefold("config", stdout=full)
    assert done.returncode == 4
    assert "the disk is full" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_is_gone() -> None:
    read, write = os.pipe()
    os.close(read)
    done = _spikefold("config", stdout=write)
    os.close(write)
    assert done.returncode == 4
    assert "standard output is closed" in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, TERMINATED), (signal.SIGINT, INTERRUPTED)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_signal_ends_a_command_as_an_interruption_with_its_code(
    number: signal.Signals, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    reached = []

    def signalled(*arguments: Any) -> None:
        try:
            os.kill(os.getpid(), number)
            reached.append("behind the signal")
        finally:
            reached.append("cleaned up")

    monkeypatch.setattr(stage_command, "open_session", signalled)
    # where tests run in the background of a shell, Ctrl-C is ignored from the start
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = CliRunner().invoke(app, ["fold", str(tmp_path)])
    finally:
        signal.signal(signal.SIGINT, found)
    assert done.exit_code == code
    assert "interrupted; what was not finished is as it was before" in done.stderr
    assert reached[-1] == "cleaned up"
    assert signal.getsignal(signal.SIGTERM) is before
