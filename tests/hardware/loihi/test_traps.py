# SPDX-License-Identifier: Apache-2.0
"""What lava does with files that no chip can hold: the exporter refuses or repairs each, lava says nothing.

The files are written here by hand, layer by layer, as netx wants them; what they mean is computed by the reference,
in the file's own half weights. One start of lava runs them all, a second one shows the reset that is one step off.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Neuron, Overflow
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi.lava import process as lava_process
from spikefold.hardware.loihi.lava.process import Job, run_worker
from spikefold.hardware.loihi.lava.provision import provision
from spikefold.hardware.loihi.rules import RULES
from spikefold.hardware.loihi.to_netx import violations, write_net
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.trace import Trace

pytestmark = [pytest.mark.lava, pytest.mark.skipif(sys.platform != "linux", reason="lava forks; reads /proc")]
T = 6
RULE_NAMES = {str(rule.__doc__).partition("\n")[0].replace("``", "").rstrip("."): rule.__name__ for rule in RULES}
SAME, WRONG = "computed as it stands, though no chip holds it", "computed as something else"


@dataclass(frozen=True, eq=False)
class Trap:
    """A dense layer, or a convolution of 1x1 over one row, with its neurons without leak; numbers as in the file."""

    weight: np.ndarray
    theta: int
    rule: str
    lava: str
    bias: np.ndarray | None = None
    conv: bool = False
    density: float = 0.5

    @property
    def frames(self) -> np.ndarray:
        """``(T, 1, C, 1, W)``."""
        rng = np.random.default_rng(7)
        return (rng.random((T, 1, self.weight.shape[1], 1, 2 if self.conv else 1)) < self.density).astype(int)

    @property
    def network(self) -> Network:
        """What the file says."""
        op = Conv2d(self.weight[:, :, None, None], self.bias) if self.conv else Dense(self.weight, self.bias)
        neuron = Neuron(np.array(self.theta), fire=Fire.GT, state_shift=6, state_bits=24, overflow=Overflow.SATURATE)
        shape = self.frames.shape[2:]
        return Network(InputSpec(shape, 1000, T), (Layer("w", op), Layer("s", neuron)), classes=1)

    def write(self, path: Path) -> None:
        """The file, without any check."""
        entries: dict[str, Any] = {
            "0/type": "input",
            "0/shape": self.frames.shape[2:] if self.conv else (self.weight.shape[1],),
        }
        entries |= {"1/type": "dense", "1/shape": (len(self.weight),), "1/weight": self.weight}
        if self.conv:
            geometry: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "type": "conv"}
            geometry |= {"weight": self.weight[:, :, None, None], "shape": (len(self.weight), 1, 2)}
            entries |= {f"1/{key}": value for key, value in geometry.items()}
        if self.bias is not None:
            entries["1/bias"] = self.bias
        write_layers(path, entries | neurons("1", theta=self.theta))


def neurons(layer: str, theta: int) -> dict[str, Any]:
    cells = {"type": "CUBA", "iDecay": 4096, "vDecay": 0, "vThMant": theta}
    return {f"{layer}/neuron/{key}": value for key, value in cells.items()}


def write_layers(path: Path, entries: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for key, value in entries.items():
            data = np.array([value], dtype="S10") if isinstance(value, str) else np.asarray(value)
            file.create_dataset(f"layer/{key}", data=data)


def ints(*rows: list[int]) -> np.ndarray:
    return np.array(rows)


WEIGHT, BIAS, SUM = "weights_of_eight_bits", "biases_of_twelve_bits", "sum_of_weights"
TRAPS = {
    "excitatory weight above 255": Trap(ints([300, 20], [40, 260]), 250, WEIGHT, WRONG),
    "excitatory weights far above 255": Trap(ints([1000, 900], [700, 30]), 600, WEIGHT, WRONG),
    "no weight above 0, lowest -2^k": Trap(
        ints([-256, -128], [-128, -128]), 300, "no_lowest_power_of_two", WRONG, bias=ints([400, 600])[0]
    ),
    "mixed weights above 254": Trap(ints([400, -6], [8, 12]), 300, WEIGHT, WRONG),
    "mixed weights below -256": Trap(ints([-400, 200], [250, 12]), 230, WEIGHT, WRONG),
    "conv weights of 11 bits": Trap(ints([1000, -900], [-333, 777]), 500, WEIGHT, SAME, conv=True),
    "odd mixed weights": Trap(ints([201, -101], [-77, 155]), 150, WEIGHT, SAME),
    "odd mixed weights of a conv": Trap(ints([201, -101], [-77, 155]), 150, WEIGHT, SAME, conv=True),
    "bias of 14 bits": Trap(ints([8, -10]), 9000, BIAS, SAME, bias=ints([4100])[0]),
    "bias of 16 bits": Trap(ints([8, -10]), 40000, BIAS, SAME, bias=ints([32767])[0]),
    "bias above 16 bits": Trap(ints([8, -10]), 40000, BIAS, WRONG, bias=ints([32768])[0]),
    "threshold above 17 bits": Trap(np.full((1, 520), 250), 131072, "threshold_of_sixteen_bits", SAME, density=0.3),
    "largest threshold": Trap(np.full((1, 520), 250), 131071, "", SAME, density=0.3),
    "sum above 2^17": Trap(np.full((1, 540), 250), 120000, SUM, WRONG, density=1),
    "sum of 2^17": Trap(np.full((1, 512), 256), 130000, WEIGHT, WRONG, density=1),
    "largest sum": Trap(np.full((1, 524), 250), 130000, "", SAME, density=1),
}


@pytest.fixture(scope="module")
def library() -> Path:
    return provision()


@pytest.fixture(scope="module")
def computed(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(what the file means, what lava computes) as states ``(T, N, n)`` with spikes; one start."""
    home = tmp_path_factory.mktemp("traps")
    jobs = []
    for index, trap in enumerate(TRAPS.values()):
        trap.write(home / f"{index}.net")
        jobs.append(Job(f"{index}.net", trap.frames, potentials=True))
    arrays = run_worker(home, jobs, library, timeout_s=120)
    found = {}
    for index, (name, trap) in enumerate(TRAPS.items()):
        meant = reference.run(trap.network, trap.frames, potentials=True).layers["s"]
        pairs = [(meant.raster, f"{index}/0/spikes"), (meant.potentials, f"{index}/0/potentials")]
        both = [(states.reshape(-1), arrays[key].reshape(-1)) for states, key in pairs]
        ours, theirs = (np.concatenate(side) for side in zip(*both, strict=True))
        found[name] = ours, theirs
    return found


@pytest.mark.parametrize("name", TRAPS)
def test_the_exporter_refuses_what_lava_takes_without_a_word(
    computed: dict[str, tuple[np.ndarray, np.ndarray]], name: str, tmp_path: Path
) -> None:
    trap = TRAPS[name]
    meant, lava = computed[name]
    steps = len(meant) // 2
    assert steps == T * trap.weight.shape[0] * (2 if trap.conv else 1)
    assert (meant != 0).sum() >= T
    assert (meant[:steps].any()) == (name != "threshold above 17 bits")
    assert np.array_equal(meant, lava) == (trap.lava == SAME)
    if not trap.rule:
        assert violations(trap.network) == []
        return
    names = [issue.rule for issue in violations(trap.network)]
    assert any(trap.rule == RULE_NAMES[rule] for rule in names), names
    with pytest.raises(UnsupportedError, match="cannot carry"):
        write_net(trap.network, tmp_path / "a.net")
    assert not list(tmp_path.iterdir())


def conv_then_dense(bias: np.ndarray | None = None) -> Network:
    neuron = Neuron(np.array(3), state_shift=7, state_bits=24, overflow=Overflow.SATURATE)
    layers = (
        Layer("conv", Conv2d(np.arange(12).reshape(2, 1, 2, 3) - 4, bias)),
        Layer("a", neuron),
        Layer("dense", Dense(np.arange(24).reshape(2, 12) - 9)),
        Layer("b", neuron),
    )
    return Network(InputSpec((1, 3, 5), 1000, 12), layers, classes=2)


_BUILD = """
import importlib.util as u, sys, warnings
warnings.simplefilter("ignore")
spec = u.spec_from_file_location("shim", sys.argv[1])
shim = u.module_from_spec(spec); spec.loader.exec_module(shim); shim.install()
from lava.lib.dl.netx.hdf5 import Network
for path in sys.argv[2:]:
    try:
        Network(path)
        print("built")
    except Exception as error:
        print(type(error).__name__)
"""


def test_the_exporter_repairs_or_refuses_what_lava_stops_at(library: Path, tmp_path: Path) -> None:
    """A missing flatten, a scalar bias on a convolution, a dense matrix of zeros: lava stops while it builds."""
    network = conv_then_dense(np.array([3, -2]))
    write_net(network, tmp_path / "sound.net")
    with h5py.File(tmp_path / "sound.net") as file:
        assert [file[f"layer/{i}/type"][0] for i in range(4)] == [b"input", b"conv", b"flatten", b"dense"]
        assert file["layer/1/bias"].shape == (2,)
    for name in ("flatten", "bias", "zeros"):
        shutil.copy(tmp_path / "sound.net", tmp_path / f"{name}.net")
    with h5py.File(tmp_path / "flatten.net", "r+") as file:
        file.move("layer/3", "layer/2.dense")
        del file["layer/2"]
        file.move("layer/2.dense", "layer/2")
    with h5py.File(tmp_path / "bias.net", "r+") as file:
        del file["layer/1/bias"]
        file["layer/1/bias"] = 6
    with h5py.File(tmp_path / "zeros.net", "r+") as file:
        file["layer/3/weight"][...] = 0
    dead = Network(
        network.input,
        (*network.layers[:2], Layer("dense", Dense(np.zeros((2, 12), np.int64))), network.layers[3]),
        classes=2,
    )
    assert [RULE_NAMES[issue.rule] for issue in violations(dead)] == ["a_dense_weight_other_than_zero"]
    names = [str(tmp_path / f"{name}.net") for name in ("sound", "flatten", "bias", "zeros")]
    shim = lava_process.WORKER.with_name("shim.py")
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(shim), *names],
        env=lava_process._environment(library),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.split()
    assert said[0] == "built", done.stderr[-2000:]
    assert "built" not in said[1:]
    assert len(said) == 4
    assert said[3] == "OverflowError"


def test_reset_one_step_off_is_silent(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """netx resets at ``reset_offset``: without neurons on the input 1 is right (``test_lava.py``), 0 its default."""
    network, rng = conv_then_dense(np.array([3, -2])), np.random.default_rng(3)
    frames = (rng.random((12, 5, 1, 3, 5)) < 0.4).astype(int)
    text = lava_process.WORKER.read_text(encoding="utf-8")
    assert text.count("reset_offset=1)") == 1
    early = tmp_path / "worker.py"
    early.write_text(text.replace("reset_offset=1)", "reset_offset=0)"), encoding="utf-8")
    shutil.copy(lava_process.WORKER.with_name("shim.py"), tmp_path)
    monkeypatch.setattr(lava_process, "WORKER", early)
    write_net(network, tmp_path / "0.net")
    found = run_worker(tmp_path, [Job("0.net", frames)], library, timeout_s=60)
    meant = reference.run(network, frames)
    assert all(meant.layers[name].spikes > 40 for name in "ab")
    assert _different(found, meant)[0] > 5


def _different(found: dict[str, np.ndarray], meant: Trace) -> list[int]:
    """Spikes that differ, layer by layer."""
    layers = [layer.raster for layer in meant.layers.values()]
    return [int((found[f"0/{k}/spikes"].reshape(raster.shape) != raster).sum()) for k, raster in enumerate(layers)]
