# SPDX-License-Identifier: Apache-2.0
"""lava's fixed-point simulator against the reference: every layer, step and neuron; one start for all networks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefold.errors import EnvironmentLacksError, NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow
from spikefold.export.ops import Conv2d, Dense, Shape
from spikefold.hardware.loihi import to_netx as to_loihi
from spikefold.hardware.loihi.always_on import always_on
from spikefold.hardware.loihi.lava import client as lava_client
from spikefold.hardware.loihi.lava import golden as lava_golden
from spikefold.hardware.loihi.lava import process as lava_process
from spikefold.hardware.loihi.lava.process import Job, run_worker
from spikefold.hardware.loihi.lava.provision import provision
from spikefold.hardware.loihi.to_netx import write_script
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.trace import Trace

pytestmark = [pytest.mark.lava, pytest.mark.skipif(sys.platform != "linux", reason="lava forks; reads /proc")]
T, N = 7, 3
Pairs = dict[str, tuple[Trace, Trace]]
"""What the reference and lava computed, by the name of the case."""


def spiking(theta: int, keep: int | None = None, fire: Fire | None = None) -> Neuron:
    leak = None if keep is None else Leak(keep, 12)
    fire = fire or (Fire.GE if leak is None else Fire.GT)
    state: dict[str, Any] = {"state_shift": 7, "state_bits": 24, "overflow": Overflow.SATURATE}
    return Neuron(np.array(theta), fire=fire, leak=leak, **state)


def lasting(theta: int, keep: int) -> Neuron:
    """Leaky, with a current that lasts."""
    return replace(spiking(theta, 3500), current=Leak(keep, 12))


@dataclass(frozen=True, eq=False)
class Case:
    name: str
    network: Network
    frames: np.ndarray
    checked: bool = True


def case(
    name: str,
    shape: Shape,
    *pairs: tuple[Conv2d | Dense, Neuron],
    steps: int = T,
    clips: int = N,
    density: float = 0.4,
    highest: int = 1,
    checked: bool = True,
) -> Case:
    """``pairs`` of (conv or dense operation, neuron)."""
    rng = np.random.default_rng(sum(map(ord, name)))
    named = [layer for i, (op, neuron) in enumerate(pairs) for layer in (Layer(f"w{i}", op), Layer(f"s{i}", neuron))]
    frames = (rng.random((steps, clips, *shape)) < density) * rng.integers(1, highest + 1, (steps, clips, *shape))
    return Case(name, Network(InputSpec(shape, 1000, steps), tuple(named), classes=1), frames, checked)


def ints(seed: int, *shape: int, low: int = -128, high: int = 127) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, shape)


def random_case(seed: int) -> Case:
    """Two convolutions and a dense layer with random geometry, decays and biases; x and y always differ."""
    rng = np.random.default_rng(seed)
    shape: Shape = (int(rng.choice([2, 4])), int(rng.integers(9, 13)), int(rng.integers(14, 19)))
    pairs: list[tuple[Conv2d | Dense, Neuron]] = []
    at = shape
    for _ in range(2):
        groups = int(rng.choice([1, 2]))
        kernel, stride, padding = rng.integers(1, 4, 2), rng.integers(1, 3, 2), rng.integers(0, 3, 2)
        dilation = rng.integers(1, 3, 2)
        weight = rng.integers(-60, 128, (4, at[0] // groups, *kernel))
        bias = rng.integers(-40, 90, 4) if rng.random() < 0.7 else None
        geometry = [(int(y), int(x)) for y, x in (stride, padding, dilation)]
        op = Conv2d(weight, bias, geometry[0], geometry[1], geometry[2], groups)
        pairs.append((op, spiking(int(rng.integers(30, 120)), None if seed % 3 == 0 else int(rng.integers(0, 4097)))))
        at = op.output_shape(at)
    inputs = int(np.prod(at))
    dense = Dense(rng.integers(-30, 60, (6, inputs)), rng.integers(-50, 50, 6))
    pairs.append((dense, spiking(int(rng.integers(100, 400)), int(rng.integers(0, 4097)))))
    return case(f"random {seed}", shape, *pairs)


CASES = [
    case("plain", (2, 6, 9), (Conv2d(ints(1, 3, 2, 3, 3)), spiking(150)), (Dense(ints(2, 4, 84)), spiking(100))),
    case("stride", (2, 9, 7), (Conv2d(ints(3, 3, 2, 3, 2), stride=(2, 3)), spiking(90))),
    case("padding", (1, 5, 8), (Conv2d(ints(4, 2, 1, 3, 3), padding=(0, 2)), spiking(90))),
    case("dilation", (1, 8, 11), (Conv2d(ints(5, 2, 1, 2, 3), dilation=(3, 2)), spiking(90))),
    case("groups", (4, 5, 6), (Conv2d(ints(6, 8, 1, 2, 2), groups=4), spiking(80))),
    case("tall kernel", (2, 9, 5), (Conv2d(ints(7, 3, 2, 5, 1), ints(8, 3)), spiking(120))),
    case("150 groups", (150, 3, 4), (Conv2d(ints(9, 150, 1, 2, 2), groups=150), spiking(80)), clips=1),
    case("sides above 127", (1, 127, 133), (Conv2d(ints(10, 1, 1, 3, 3), padding=(1, 1)), spiking(200)), clips=1),
    case("dense first", (2, 3, 4), (Dense(ints(11, 9, 24)), spiking(100)), (Dense(ints(12, 3, 9)), spiking(60))),
    case("biases alone", (1, 2, 3), (Conv2d(ints(13, 2, 1, 1, 1), np.array([30, 25])), spiking(60)),
         (Dense(ints(14, 3, 12), np.array([20, 50, 9])), spiking(70, 3000)), density=0.05),
    case("counts", (2, 5, 6), (Conv2d(ints(15, 3, 2, 2, 2)), spiking(300)), (Dense(ints(16, 3, 60)), spiking(90)),
         highest=9),
    case("counts, dense", (2, 2, 3), (Dense(ints(17, 5, 12)), spiking(300)), highest=9),
    *(case(f"keep {keep}", (1, 3, 4), (Dense(ints(keep, 12, 12, low=-60), ints(keep + 1, 12)), spiking(200, keep)))
      for keep in (0, 1, 2047, 2048, 4095, 4096)),
    case("above without leak", (1, 3, 4), (Dense(ints(19, 6, 12, low=-2, high=3)), spiking(2, fire=Fire.GT))),
    case("one step", (1, 3, 4), (Dense(ints(20, 6, 12)), spiking(50)), steps=1, clips=5),
    case("largest threshold", (516, 1, 1), (Dense(np.full((1, 516), 127)), spiking(2**16 - 1)), density=1, clips=1),
    case("all negative", (2, 1, 1), (Dense(np.array([[-127, -3], [-5, -1]]), np.array([200, 300])), spiking(100))),
    *(random_case(seed) for seed in range(6)),
    case("bias beside a current", (4, 9, 11),
         (Conv2d(ints(21, 6, 2, 3, 3, low=-60), ints(22, 6, low=-90), (2, 1), (1, 1), groups=2), lasting(300, 2048)),
         (Conv2d(ints(23, 3, 6, 3, 2, low=-10), padding=(1, 0), dilation=(1, 2)), lasting(3000, 1000)),
         (Dense(ints(24, 5, 135, low=-20, high=90), ints(25, 5)), lasting(700, 3000)), steps=9),
    case("bias beside a current, dense", (2, 3, 4),
         (Dense(ints(26, 9, 24, low=-40), ints(27, 9)), lasting(250, 4000)),
         (Dense(ints(28, 4, 9), ints(29, 4)), lasting(100, 9)), highest=3),
    # what lava does, silently, with networks that are refused
    case("trap: -2^k", (2, 1, 1), (Dense(np.array([[-128, -64], [-64, -64]]), np.array([200, 300])), spiking(100)),
         checked=False),
    case("trap: above int8", (2, 1, 1), (Dense(np.array([[200, 3], [5, 0]]), np.array([20, 30])), spiking(100)),
         checked=False),
    case("trap: wrapping sum", (600, 1, 1), (Dense(np.full((1, 600), 127)), spiking(60000)), density=1,
         checked=False),
    case("trap: bias above int16", (2, 1, 1), (Dense(np.array([[9, -9]]), np.array([20000])), spiking(30000)),
         checked=False),
]  # fmt: skip
SOUND = [c.name for c in CASES if c.checked]
TRAPS = [c.name for c in CASES if not c.checked]


def saturating() -> Case:
    """Driven to the lowest state, where it is no multiple of 128 any more, and back up to a tie."""
    ramp = np.concatenate([np.tile([516, 0], (140, 1)), np.tile([0, 516], (141, 1))])
    spec = case("saturation", (2, 1, 1), (Dense(np.array([[-127, 127]])), spiking(3)), steps=len(ramp), clips=1)
    return replace(spec, frames=ramp.reshape(-1, 1, 2, 1, 1))


@pytest.fixture(scope="module")
def library() -> Path:
    return provision()


@pytest.fixture(scope="module")
def pairs(library: Path) -> Pairs:
    """(reference, lava) of every case, from one start; refusals are switched off for the traps."""
    cases = [*CASES, saturating()]
    with pytest.MonkeyPatch.context() as patch:
        checked = {id(c.network) for c in cases if c.checked}

        def write(network: Network, path: Path, *, max_count: int | None = None) -> Path:
            if id(network) in checked:
                return to_loihi.write_net(network, path, max_count=max_count)
            return to_loihi._write_unchecked(network, path)

        patch.setattr(lava_client, "write_net", write)
        found = lava_client.run_many([(c.network, c.frames) for c in cases], potentials=True, timeout_s=200)
    expected = [reference.run(c.network, c.frames, potentials=True) for c in cases]
    return {c.name: pair for c, pair in zip(cases, zip(expected, found, strict=True), strict=True)}


@pytest.mark.parametrize("name", [*SOUND, "saturation"])
def test_reference_equals_lava(pairs: Pairs, name: str) -> None:
    expected, found = pairs[name]
    assert list(found.layers) == list(expected.layers)
    for layer, ours in expected.layers.items():
        theirs = found.layers[layer]
        assert theirs.raster.shape == ours.raster.shape
        assert ours.spikes > 0, f"{layer} never fired: nothing was compared"
        assert int((theirs.raster != ours.raster).sum()) == 0, layer
        assert int((theirs.potentials != ours.potentials).sum()) == 0, layer


def test_comparison_covered_enough(pairs: Pairs) -> None:
    traces = [pairs[name][0].layers.values() for name in SOUND]
    neuron_steps = sum(layer.raster.size for layers in traces for layer in layers)
    spikes = sum(layer.spikes for layers in traces for layer in layers)
    assert len(SOUND) >= 28
    assert neuron_steps > 200_000
    assert spikes > 40_000
    # saturation reached the lowest state, and came back
    assert pairs["saturation"][0].layers["s0"].overflow > 0


@pytest.mark.parametrize("name", TRAPS)
def test_refused_networks_would_be_computed_wrong(pairs: Pairs, name: str) -> None:
    network = next(c.network for c in CASES if c.name == name)
    assert to_loihi.violations(network)
    expected, found = pairs[name]
    assert (expected.layers["s0"].potentials != found.layers["s0"].potentials).any()


def test_run_refuses_before_it_installs_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_client, "provision", lambda **_: pytest.fail("installed"))
    bad = next(c for c in CASES if c.name == "trap: -2^k")
    with pytest.raises(UnsupportedError, match="lowest -128"):
        lava_client.run(bad.network, bad.frames)
    for frames in (bad.frames - 5, bad.frames + 0.5, bad.frames[:0], bad.frames[0]):
        with pytest.raises(NetworkError):
            lava_client.run(bad.network, frames)
    assert lava_client.run_many([]) == []


def golden_home(folder: Path) -> tuple[Path, list[Job]]:
    to_loihi.write_net(lava_golden.network(), folder / "0.net")
    return folder, [Job("0.net", lava_golden.FRAMES)]


def members(folder: Path) -> list[int]:
    """Process ids of the worker of this job directory and of all that it forked, oldest first."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (entry / "cmdline").read_bytes().split(b"\0")  # empty for a zombie
            if str(folder).encode() in words and any(word.endswith(b"worker.py") for word in words):
                found.append(int(entry.name))
    return sorted(found)


def all_end(folder: Path) -> bool:
    """Whether all of them end within five seconds: signals arrive late on a busy machine."""
    deadline = time.monotonic() + 5
    while members(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not members(folder)


def test_exception_inside_a_lava_process_reaches_the_user(library: Path, tmp_path: Path) -> None:
    home, jobs = golden_home(tmp_path)
    with h5py.File(home / "0.net", "r+") as file:
        del file["layer/1/neuron/vThMant"]
        file["layer/1/neuron/vThMant"] = np.arange(5)
    began = time.monotonic()
    with pytest.raises(EnvironmentLacksError, match=r"run_spk(.|\n)*boolean index did not match"):
        run_worker(home, jobs, library, timeout_s=60)
    assert time.monotonic() - began < 30
    assert all_end(home)


def test_unreadable_network_file_reaches_the_user(library: Path, tmp_path: Path) -> None:
    home, jobs = golden_home(tmp_path)
    (home / "0.net").write_bytes(b"no hdf5")
    with pytest.raises(EnvironmentLacksError, match="file signature not found"):
        run_worker(home, jobs, library, timeout_s=60)


def test_timeout_ends_every_process(library: Path, tmp_path: Path) -> None:
    home, _ = golden_home(tmp_path)
    slow = [Job("0.net", np.repeat(lava_golden.FRAMES, 20000, axis=0))]
    began = time.monotonic()
    with pytest.raises(EnvironmentLacksError, match=r"did not finish within 2\.5 s"):
        run_worker(home, slow, library, timeout_s=2.5)
    assert time.monotonic() - began < 10
    assert all_end(home)


SLOW = """
import sys
from pathlib import Path
import numpy as np
from spikefold.hardware.loihi.lava.golden import FRAMES
from spikefold.hardware.loihi.lava.process import Job, run_worker
run_worker(Path(sys.argv[1]), [Job("0.net", np.repeat(FRAMES, 20000, axis=0))], Path(sys.argv[2]), timeout_s=60)
"""


@pytest.mark.parametrize("victim", ["one of lava's processes", "the client"])
def test_nothing_waits_for_the_dead(library: Path, tmp_path: Path, victim: str) -> None:
    home, _ = golden_home(tmp_path)
    client = subprocess.Popen([sys.executable, "-c", SLOW, str(home), str(library)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while len(members(home)) < 8 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    assert len(members(home)) >= 8
    os.kill(client.pid if victim == "the client" else members(home)[-1], signal.SIGKILL)
    _, said = client.communicate(timeout=20)
    if victim != "the client":
        assert b"one of lava's processes died" in said
    assert all_end(home)


def test_killed_worker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text("import os, signal\nprint('last words', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setattr(lava_process, "WORKER", script)
    with pytest.raises(EnvironmentLacksError, match=r"killed by signal 9(.|\n)*last words"):
        run_worker(tmp_path, [Job("0.net", lava_golden.FRAMES)], tmp_path)


def test_interpreter_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacksError, match="cannot start"):
        run_worker(tmp_path, [Job("0.net", lava_golden.FRAMES)], tmp_path, interpreter=str(tmp_path / "python"))


def test_script_beside_the_file_runs_it(library: Path, tmp_path: Path) -> None:
    """With lava's own sinks and sources, in the simulator; the board is beyond this test."""
    ours = next(c for c in CASES if c.name == "bias beside a current")
    to_loihi.write_net(ours.network, tmp_path / "mynet.net")
    script = write_script(tmp_path / "mynet.py", always_on(ours.network).inputs)
    np.save(tmp_path / "frames.npy", ours.frames[:, 0])
    shim = lava_process.WORKER.with_name("shim.py")
    start = (
        "import importlib.util as u, runpy, sys\n"
        f"spec = u.spec_from_file_location('shim', {str(shim)!r})\n"
        "shim = u.module_from_spec(spec); spec.loader.exec_module(shim); shim.install()\n"
        f"sys.argv = ['mynet.py', {str(tmp_path / 'frames.npy')!r}, '--sim']\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start],
        env=lava_process._environment(library),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = reference.run(ours.network, ours.frames[:, :1]).layers["s2"].raster.sum(axis=(0, 1)).ravel().tolist()
    assert sum(expected) > 5
    assert done.stdout.strip().splitlines()[-1:] == [str(expected)], done.stderr[-2000:]
