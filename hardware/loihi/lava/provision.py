# SPDX-License-Identifier: Apache-2.0
"""Installs lava into a private directory, once: it does not fit into the environment of anything else.

lava-nc 0.10.0 and lava-dl 0.6.0 declare Python < 3.11 and old numpy and torch, and both install a package called
``tests``. Their code is plain Python and runs with `shim`, so it is installed without dependencies beside the
user's environment, checked with a network whose spikes are known, and then moved into place in one step.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import platformdirs

from spikefold.errors import EnvironmentLacksError
from spikefold.hardware.loihi.lava import golden as lava_golden
from spikefold.hardware.loihi.lava.shim import SHIM_VERSION

REQUIREMENTS = """\
lava-nc==0.10.0 --hash=sha256:d646723e888a72868dac77d31beee3eef1f540366a8c1a8578a2dc3302470926
lava-dl==0.6.0 --hash=sha256:bcb448f2bb85dc0da4b4dbbbae16543d2a978c1da7279acc522ad621fc68c437
asteval==1.0.10 --hash=sha256:8d805fa8084aa12204715f799430f0012a0db38b42e997f9f11a9637ad59855f
"""
"""The last releases; the hashes are those of their wheels, the only files they have that run everywhere."""
VERSIONS = "lava-nc 0.10.0, lava-dl 0.6.0, asteval 1.0.10"
NETWORKS = "networks"
"""Folder, within lava's, of networks that lava-dl's wheel carries and that were measured on silicon."""
_CARRIED = {
    "pilotnet_lif.net": "tests/lava/lib/dl/netx/gts/pilotnet_lif/network.net",
    "pilotnet_sdnn.net": "tests/lava/lib/dl/netx/gts/pilotnet_sdnn/network.net",
}
_UNUSED = ("tests", "lava/lib/dl/slayer", "lava/lib/dl/bootstrap")
_MARK = "spikefold.json"
_STALE_S = 3600
_TAIL_CHARS = 2000

Installer = Callable[[str, Path], None]


def provision(
    *,
    interpreter: str | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
    install: Installer | None = None,
) -> Path:
    """The directory that holds lava; made on first use (76 MB to download, 4 MB kept). Safe to call concurrently.

    Args:
        interpreter: the Python that will run lava; this one by default.
        cache: where to keep it; the environment variable SPIKEFOLD_CACHE or the user's cache directory by default.
        progress: told what happens, one sentence a call.
        install: puts the packages into a directory; pip or uv by default.

    Raises:
        EnvironmentLacksError: the download or the check failed. Nothing half-made is left.
    """
    interpreter = interpreter or sys.executable
    say = progress or (lambda _: None)
    base = _base(cache)
    target = base / _key(interpreter)
    if _complete(target):
        return target
    work: Path | None = None
    try:
        base.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        work = Path(tempfile.mkdtemp(prefix=f"{_temporary(target)}{platform.node()}-{os.getpid()}-", dir=base))
        say(f"installing {VERSIONS} (76 MB, once)")
        (install or pip_install)(interpreter, work)
        _keep_networks(work, work)
        for part in _UNUSED:
            shutil.rmtree(work / part, ignore_errors=True)
        say("checking lava with a network whose spikes are known")
        lava_golden.check(work, interpreter)
        (work / _MARK).write_text(json.dumps({"versions": VERSIONS, "shim": SHIM_VERSION}), encoding="utf-8")
        _move(work, target)
    except OSError as error:
        raise EnvironmentLacksError(
            f"cannot install lava: {error.strerror or error}",
            where=str(base),
            hint="free disk space (about 200 MB) or set SPIKEFOLD_CACHE to a folder that can be written",
        ) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    return target


def carried_network(name: str, *, install: Installer | None = None, cache: Path | None = None) -> Path:
    """A network that lava-dl's wheel carries, as ``pilotnet_lif.net``; lava is provisioned where it is not there yet.

    A folder that was provisioned before the networks were kept gets them by one more download.

    Raises:
        EnvironmentLacksError: the download failed, or the wheel does not carry this network.
    """
    library = provision(install=install, cache=cache)
    path = library / NETWORKS / name
    if not path.is_file() and name in _CARRIED:
        work = Path(
            tempfile.mkdtemp(prefix=f"{_temporary(library)}{platform.node()}-{os.getpid()}-", dir=library.parent)
        )
        try:
            (install or pip_install)(sys.executable, work)
            _keep_networks(work, library)
        except OSError as error:
            hint = "free disk space, or set SPIKEFOLD_CACHE to a folder that can be written"
            raise EnvironmentLacksError(f"cannot keep the network: {error}", where=str(library), hint=hint) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if not path.is_file():
        hint = f"it carries {', '.join(sorted(_CARRIED))}"
        raise EnvironmentLacksError(f"lava-dl carries no network {name!r}", where=str(library), hint=hint)
    return path


def is_provisioned(*, cache: Path | None = None) -> bool:
    """Whether lava lies here already, for this Python."""
    return _complete(_base(cache) / _key(sys.executable))


def kept_network(name: str, *, cache: Path | None = None) -> Path | None:
    """A carried network that lies in the lava folder already; None where none does. Nothing is downloaded."""
    path = _base(cache) / _key(sys.executable) / NETWORKS / name
    return path if path.is_file() else None


def _keep_networks(installed: Path, library: Path) -> None:
    """Copy the networks out of what is thrown away, each by rename."""
    for name, inside in _CARRIED.items():
        if (installed / inside).is_file():
            (library / NETWORKS).mkdir(exist_ok=True)
            scratch = library / NETWORKS / f".{name}.{os.getpid()}"
            shutil.copyfile(installed / inside, scratch)
            os.replace(scratch, library / NETWORKS / name)


def pip_install(interpreter: str, into: Path) -> None:
    """Install the pinned wheels into ``into`` with the interpreter's pip, or with uv where it has none.

    Raises:
        EnvironmentLacksError: with the end of pip's own words.
    """
    wanted = into / "requirements.txt"
    wanted.write_text(REQUIREMENTS, encoding="utf-8")
    flags = ["--target", str(into), "--no-deps", "--require-hashes", "-r", str(wanted)]
    commands = [[interpreter, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]]
    commands[0] += ["--ignore-requires-python", "--only-binary=:all:", "--no-warn-conflicts", *flags]
    if uv := shutil.which("uv"):
        commands.append([uv, "pip", "install", "--python", interpreter, *flags])
    said = ""
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            return
        said += done.stdout[-_TAIL_CHARS:] + done.stderr[-_TAIL_CHARS:]
        if done.returncode < 0:
            said += f"\nit was killed by signal {-done.returncode}"
        if "No module named pip" not in said:
            break
    raise EnvironmentLacksError(
        f"lava could not be downloaded:\n{said.strip()[-_TAIL_CHARS:]}",
        hint="this needs a package index once; check the network and pip's configuration, then run it again",
    )


def _base(cache: Path | None) -> Path:
    return cache or Path(os.environ.get("SPIKEFOLD_CACHE") or platformdirs.user_cache_dir("spikefold"))


def _key(interpreter: str) -> str:
    minor = "{}.{}".format(*sys.version_info)
    if interpreter != sys.executable:
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            minor = subprocess.run(
                [interpreter, "-c", ask], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            raise EnvironmentLacksError(f"{interpreter} does not run: {error}", hint="name a Python 3.11+") from error
    return f"lava-nc-0.10.0-dl-0.6.0-py{minor}-shim{SHIM_VERSION}"


def _complete(target: Path) -> bool:
    return (target / _MARK).is_file() and (target / "lava" / "lib" / "dl" / "netx" / "hdf5.py").is_file()


def _temporary(target: Path) -> str:
    return f".{target.name}.tmp-"


def _move(work: Path, target: Path) -> None:
    for _ in range(3):
        with contextlib.suppress(OSError):
            os.rename(work, target)
            return
        if _complete(target):
            return  # another process was faster; its copy is as good
        # a directory without its mark: damaged, or a cache cleaner was there
        with contextlib.suppress(FileNotFoundError):
            os.rename(target, Path(tempfile.mkdtemp(prefix=_temporary(target), dir=target.parent)) / "damaged")
        _remove_stale(target, age_s=-1, only_damaged=True)
    os.rename(work, target)


def _remove_stale(target: Path, *, age_s: float = _STALE_S, only_damaged: bool = False) -> None:
    """Delete what killed runs left: made by a process of this machine that is gone, or old."""
    for path in target.parent.glob(f"{_temporary(target)}*"):
        if only_damaged and not (path / "damaged").exists():
            continue
        with contextlib.suppress(OSError):
            if _owner_gone(path.name) or time.time() - path.stat().st_mtime > age_s:
                shutil.rmtree(path, ignore_errors=True)


def _owner_gone(name: str) -> bool:
    host, _, rest = name.partition(".tmp-")[2].rpartition("-")[0].rpartition("-")
    if host != platform.node() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
