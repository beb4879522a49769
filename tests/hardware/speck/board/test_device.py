# SPDX-License-Identifier: Apache-2.0
"""Finding and opening a board, what is said where there is none, and that the stub is never run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spikefold.errors import (
    ConfigError,
    EnvironmentLacksError,
)
from spikefold.hardware.speck.board import device as samna_device
from spikefold.hardware.speck.board import samna_probe
from spikefold.hardware.speck.board.compare import (
    Agreement,
)
from spikefold.hardware.speck.board.open_board import BOARDS
from spikefold.hardware.speck.board.options import Clock
from spikefold.hardware.speck.board.run import run_on_device
from spikefold.hardware.speck.board.samna_standin import fill
from spikefold.hardware.speck.lowering.configuration import configuration
from tests.hardware.speck.board.devkit_cases import PLACES, QUICK, TARGET, clips, network, refusal
from tests.hardware.speck.board.samna_chip import Board, Faults, Time
from tests.hardware.speck.board.samna_strict import samna

# ---- which boards are there ---------------------------------------------------------------------------------


def test_boards_are_found_by_type_and_usb_address() -> None:
    boards = [Board(Time(), Faults()) for _ in range(3)]
    fake = samna([("Speck2fDevKit", boards[0]), ("Speck2eDevKit", boards[1]), ("Speck2fDevKit", boards[2])])
    assert samna_device.device_status("speck2fdevkit", fake) is None
    assert samna_device.device_status("speck2edevkit:0", fake) is None
    said = samna_device.device_status("speck2fdevkit:2", fake)
    assert said == (
        "speck2fdevkit:2 (Speck2fDevKit) is not connected; samna finds Speck2eDevKit, Speck2fDevKit, Speck2fDevKit"
    )
    assert "samna finds no board at all" in samna_device.device_status(TARGET, samna({}))
    # the later in the list has the lower address, so it is the first
    for index, board in ((0, boards[2]), (1, boards[0])):
        with samna_device.opened(f"speck2fdevkit:{index}", fake):
            assert [one.open for one in boards] == [one is board for one in boards]


def test_a_speck2e_is_spoken_to_by_its_own_names() -> None:
    time = Time()
    fake = samna({"Speck2eDevKit": Board(time, Faults())})
    del fake.speck2f, fake.BasicSourceNode_speck2f_event_input_event, fake.BasicSinkNode_speck2f_event_output_event
    net = network()
    made = configuration(net, PLACES, "speck2edevkit")
    done = run_on_device(
        "speck2edevkit:0", made, net, PLACES, clips(net.input), QUICK, samna=fake, clock=Clock(time.now, time.sleep)
    )
    assert (done.agreement, done.board) == (Agreement.IDENTICAL, "Speck2eDevKit")


def test_the_table_is_sinabs_own() -> None:
    """Names out of sinabs' source, which cannot be imported without samna."""
    import sinabs

    folder = Path(sinabs.__file__).parent / "backend" / "dynapcnn"
    io = (folder / "io.py").read_text()
    for name, board in BOARDS.items():
        assert f'"{name}": "{board.samna_name}"' in io
        chip = (folder / "chips" / f"{board.module}.py").read_text()
        assert f"samna.{board.source}()" in chip
        assert f"samna.{board.sink}()" in chip


@pytest.mark.parametrize(
    ("status", "said"),
    [("absent", "not installed"), ("stub", "the stub of the package registry"), ("unknown", "neither")],
)
def test_not_run_without_the_real_samna(monkeypatch: pytest.MonkeyPatch, status: str, said: str) -> None:
    monkeypatch.setattr(samna_probe, "samna_status", lambda: status)
    assert said in str(samna_device.device_status(TARGET))
    assert said in refusal(EnvironmentLacksError, samna=None).what
    with pytest.raises(ConfigError):
        samna_device.device_status("speck2f-devkit")


@pytest.mark.parametrize(
    "raised",
    [ImportError("GLIBC"), OSError("libusb"), RuntimeError("ABI"), subprocess.CalledProcessError(1, ["pip"])],
)
def test_a_samna_that_does_not_load(monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    monkeypatch.setattr(samna_probe, "samna_status", lambda: "real")
    finder = _Raises(raised)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "samna", raising=False)
    said = samna_device.device_status(TARGET)
    assert f"samna does not load: {type(raised).__name__}" in str(said)
    assert finder.asked == ["samna"]


class _Raises:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked: list[str] = []

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "samna":
            self.asked.append(name)
            raise self.error


def test_the_real_samna_is_loaded_and_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe says real: then, and only then, ``import samna`` is done."""
    fake = samna({"Speck2fDevKit": Board(Time(), Faults())})
    monkeypatch.setitem(sys.modules, "samna", fake)
    monkeypatch.setattr(samna_probe, "samna_status", lambda: "stub")
    assert "stub" in str(samna_device.device_status(TARGET))
    monkeypatch.setattr(samna_probe, "samna_status", lambda: "real")
    assert samna_device.device_status(TARGET) is None
    assert samna_device.load() is fake


STUB = """
PYPI_SAMNA = True
import os, pathlib, subprocess
pathlib.Path(os.environ["STUB_MARK"]).write_text("the stub ran")
raise subprocess.CalledProcessError(1, ["pip", "install", "--force-reinstall", "samna"])
"""


def test_the_stub_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "samna").mkdir()
    (tmp_path / "samna" / "__init__.py").write_text(STUB)
    script = """
import sys
import numpy as np
from spikefold.errors import EnvironmentLacksError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d
from spikefold.hardware.speck.lowering.configuration import configuration
from spikefold.hardware.speck.board.run import run_on_device
from spikefold.hardware.speck.board.clips import events_of
from spikefold.hardware.speck.board.device import device_status
print(device_status("speck2fdevkit:0"))
fire = Neuron(np.int64(1), reset=Reset.ZERO, v_min=-9, max_spikes=None)
net = Network(InputSpec((1, 2, 2), 1000, 1), (Layer("w", Conv2d(np.ones((1, 1, 1, 1), int))), Layer("n", fire)), 1)
clip = events_of(np.ones((1, 1, 2, 2), int), 1000)
try:
    run_on_device("speck2fdevkit:0", configuration(net, {"n": 3}, "speck2fdevkit"), net, {"n": 3}, [clip])
except EnvironmentLacksError as error:
    print(error.code, error.what)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("samna", "sinabs", "torch")))
try:
    import samna
except Exception as error:
    print(type(error).__name__)
"""
    mark = tmp_path / "mark"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "STUB_MARK": str(mark)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said, refused, loaded, armed = done.stdout.strip().split("\n")
    reason = "samna is the stub of the package registry, whose import runs pip, so it is left alone"
    assert (said, refused, loaded) == (reason, f"E-ENVIRONMENT {reason}", "[]")
    # the trap was armed: only the script's own import sprang it
    assert (armed, mark.read_text()) == ("CalledProcessError", "the stub ran")


# ---- the strict samna itself --------------------------------------------------------------------------------


def _raw() -> tuple[Any, Any, Any, Any]:
    fake = samna({"Speck2fDevKit": Board(Time(), Faults())})
    handle = fake.device.open_device(fake.device.get_all_devices()[0])
    source, graph = fake.BasicSourceNode_speck2f_event_input_event(), fake.graph.EventFilterGraph()
    graph.sequential([source, handle.get_model().get_sink_node()])
    return fake, handle, source, graph


def _spike(fake: Any, **values: int) -> Any:
    spike = fake.speck2f.event.Spike()
    for name, value in {"layer": 7, **values}.items():
        setattr(spike, name, value)
    return spike


@pytest.mark.parametrize(
    ("write", "error"),
    [
        ([{"layer": 9}], ValueError),
        ([{"x": 10}], ValueError),
        ([{"y": 4}], ValueError),
        ([{"feature": 2}], ValueError),
        ([{"timestamp": 5}, {"timestamp": 4}], ValueError),
        ([{"x": 1.0}], TypeError),
        ([{"x": -1}], TypeError),
        ([{"z": 1}], AttributeError),
        ([{"layer": 0}], ValueError),
    ],
)
def test_the_strict_samna_refuses(write: list[dict[str, Any]], error: type[Exception]) -> None:
    fake, handle, source, graph = _raw()
    with pytest.raises(RuntimeError, match="the graph does not run"):
        source.write([])
    graph.start()
    with pytest.raises(RuntimeError, match="before apply_configuration"):
        source.write([])
    made = fake.speck2f.configuration.SpeckConfiguration()
    with pytest.raises(TypeError):
        handle.get_model().apply_configuration({})
    fill(made, configuration(network(), PLACES, "speck2fdevkit"))
    made.cnn_layers[7].threshold_low = 0
    with pytest.raises(RuntimeError, match="threshold_low 0"):
        handle.get_model().apply_configuration(made)
    made.cnn_layers[7].threshold_low = -200
    handle.get_model().apply_configuration(made)
    with pytest.raises(RuntimeError, match="running stop watch"):
        source.write([_spike(fake)])
    handle.get_stop_watch().start()
    source.write([_spike(fake)])
    with pytest.raises(error):
        source.write([_spike(fake, **values) for values in write])
    fake.device.close_device(handle)
    with pytest.raises(RuntimeError, match="closed"):
        source.write([])
    with pytest.raises(AttributeError):
        handle.get_stop_watch().set_enable_value(True)
