# SPDX-License-Identifier: Apache-2.0
"""Installing lava privately, with a stand-in for pip: whatever goes wrong, nothing half-made stays behind."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spikefold.errors import EnvironmentLacksError
from spikefold.hardware.loihi.lava import golden as lava_golden
from spikefold.hardware.loihi.lava import process as lava_process
from spikefold.hardware.loihi.lava import provision as lava_provision
from spikefold.hardware.loihi.lava.provision import kept_network, pip_install, provision

Installer = Callable[[str, Path], None]


def fake(interpreter: str, into: Path) -> None:
    """The files that `provision` looks for, and those that it throws away."""
    for part in ("lava/lib/dl/netx", "lava/lib/dl/slayer", "tests"):
        (into / part).mkdir(parents=True)
    (into / "lava/lib/dl/netx/hdf5.py").write_text("")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Golden runs asked for; they pass."""
    seen: list[str] = []
    monkeypatch.setattr(lava_golden, "check", lambda library, interpreter: seen.append(library.name))
    return seen


def test_made_once_checked_once_and_stripped(tmp_path: Path, checks: list[str]) -> None:
    said: list[str] = []
    path = provision(cache=tmp_path, install=fake, progress=said.append)
    assert sorted(os.listdir(tmp_path)) == [path.name]
    assert "lava-nc-0.10.0-dl-0.6.0" in path.name
    assert not (path / "tests").exists()
    assert not (path / "lava/lib/dl/slayer").exists()
    assert len(said) == 2
    again = provision(cache=tmp_path, install=lambda *_: pytest.fail("installed twice"))
    assert again == path
    assert len(checks) == 1


def test_cache_follows_the_environment(tmp_path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFOLD_CACHE", str(tmp_path / "here"))
    assert provision(install=fake).parent == tmp_path / "here"


def failing_pip(interpreter: str, into: Path) -> None:
    fake(interpreter, into)
    raise EnvironmentLacksError("lava could not be downloaded:\nconnection reset")


def full_disk(interpreter: str, into: Path) -> None:
    fake(interpreter, into)
    raise OSError(28, "No space left on device")


def interrupted(interpreter: str, into: Path) -> None:
    fake(interpreter, into)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("install", "error", "match"),
    [
        (failing_pip, EnvironmentLacksError, "connection reset"),
        (full_disk, EnvironmentLacksError, r"No space left(.|\n)*SPIKEFOLD_CACHE"),
        (interrupted, KeyboardInterrupt, None),
    ],
)
def test_failure_leaves_nothing(
    tmp_path: Path, checks: list[str], install: Installer, error: type[BaseException], match: str
) -> None:
    with pytest.raises(error, match=match):
        provision(cache=tmp_path, install=install)
    assert os.listdir(tmp_path) == []
    assert provision(cache=tmp_path, install=fake).is_dir()


def test_installation_that_computes_wrong_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise EnvironmentLacksError("lava computes [[1]] in layer 0 of the golden network")

    monkeypatch.setattr(lava_golden, "check", wrong)
    with pytest.raises(EnvironmentLacksError, match="golden network"):
        provision(cache=tmp_path, install=fake)
    assert os.listdir(tmp_path) == []


def test_partial_download_does_not_pass_the_golden_network(tmp_path: Path) -> None:
    """No stand-in for the check here: the worker starts, and lava is not whole."""
    with pytest.raises(EnvironmentLacksError, match="simulator failed"):
        provision(cache=tmp_path, install=fake)
    assert os.listdir(tmp_path) == []


def test_worker_killed_during_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setattr(lava_process, "WORKER", script)
    with pytest.raises(EnvironmentLacksError, match="killed by signal 9"):
        provision(cache=tmp_path / "cache", install=fake)
    assert os.listdir(tmp_path / "cache") == []


def test_disk_that_is_full_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lava_golden, "check", full)
    with pytest.raises(EnvironmentLacksError, match="No space left"):
        provision(cache=tmp_path, install=fake)
    assert os.listdir(tmp_path) == []


def test_cache_that_cannot_be_written(tmp_path: Path, checks: list[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentLacksError, match="SPIKEFOLD_CACHE"):
        provision(cache=tmp_path / "file", install=fake)


def test_what_a_killed_run_left_is_removed_and_a_living_one_spared(tmp_path: Path, checks: list[str]) -> None:
    path = provision(cache=tmp_path, install=fake)
    shutil.rmtree(path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    prefix = f".{path.name}.tmp-"
    here = platform.node()
    owners = ((here, dead.pid), (here, os.getpid()), ("elsewhere", dead.pid), ("old", 1))
    names = [f"{prefix}{host}-{pid}-x" for host, pid in owners]
    for name in names:
        (tmp_path / name / "lava").mkdir(parents=True)
    os.utime(tmp_path / names[3], (0, 0))
    provision(cache=tmp_path, install=fake)
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, names[1], names[2]])


SLOW = """
import sys, time
from pathlib import Path
from spikefold.hardware.loihi.lava.provision import provision

def install(interpreter, into):
    (into / "lava").mkdir()
    print("here", flush=True)
    time.sleep(60)

provision(cache=Path(sys.argv[1]), install=install)
"""


def test_program_killed_while_it_installs(tmp_path: Path, checks: list[str]) -> None:
    program = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"here\n"
    program.kill()
    program.communicate()
    (half,) = os.listdir(tmp_path)
    assert ".tmp-" in half  # a hidden name, which nothing takes for an installation
    path = provision(cache=tmp_path, install=fake)
    assert os.listdir(tmp_path) == [path.name]


def test_damaged_installation_is_made_anew(tmp_path: Path, checks: list[str]) -> None:
    path = provision(cache=tmp_path, install=fake)
    (path / "lava/lib/dl/netx/hdf5.py").unlink()
    assert provision(cache=tmp_path, install=fake) == path
    assert (path / "lava/lib/dl/netx/hdf5.py").exists()
    assert os.listdir(tmp_path) == [path.name]


def test_two_at_once_agree(tmp_path: Path, checks: list[str]) -> None:
    meet = threading.Barrier(2)

    def together(interpreter: str, into: Path) -> None:
        fake(interpreter, into)
        meet.wait(10)

    found = []
    threads = [
        threading.Thread(target=lambda: found.append(provision(cache=tmp_path, install=together))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(set(found)) == 1
    assert os.listdir(tmp_path) == [found[0].name]


def test_pip_failure_shows_the_end_of_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_provision, "REQUIREMENTS", "lava-nc @ file:///nowhere.whl --hash=sha256:00\n")
    with pytest.raises(EnvironmentLacksError, match=r"nowhere(.|\n)*package index"):
        pip_install(sys.executable, tmp_path)


def test_download_with_other_bytes_is_refused(
    tmp_path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real pip, and a wheel that was cut on its way: the hash of the whole one is what we ask for."""
    wheel = tmp_path / "spikefold_tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("lava/__init__.py", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wheel.write_bytes(wheel.read_bytes()[:-9])
    wanted = f"spikefold-tiny @ {wheel.as_uri()} --hash=sha256:{digest}\n"
    monkeypatch.setattr(lava_provision, "REQUIREMENTS", wanted)
    cache = tmp_path / "cache"
    with pytest.raises(EnvironmentLacksError, match=r"(?i)hash"):
        provision(cache=cache)
    assert os.listdir(cache) == []
    assert not checks


def test_pip_that_is_killed(tmp_path: Path, checks: list[str]) -> None:
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\nkill -9 $$\n")
    pip.chmod(0o755)
    cache = tmp_path / "cache"
    with pytest.raises(EnvironmentLacksError, match="killed by signal 9"):
        provision(cache=cache, install=lambda _, into: pip_install(str(pip), into))
    assert os.listdir(cache) == []


def test_interpreter_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacksError, match="does not run"):
        provision(cache=tmp_path, interpreter=str(tmp_path / "python"), install=fake)


def test_a_network_that_lies_here_is_found_without_a_download(tmp_path: Path, checks: list[str]) -> None:
    assert kept_network("pilotnet_lif.net", cache=tmp_path) is None
    folder = provision(cache=tmp_path, install=fake)
    assert kept_network("pilotnet_lif.net", cache=tmp_path) is None
    (folder / "networks").mkdir()
    (folder / "networks" / "pilotnet_lif.net").write_bytes(b"network")
    assert kept_network("pilotnet_lif.net", cache=tmp_path) == folder / "networks" / "pilotnet_lif.net"
