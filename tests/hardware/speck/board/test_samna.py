# SPDX-License-Identifier: Apache-2.0
"""samna: told apart without running it, stood in for, and never seen by the user's process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, SumPool2d
from spikefold.hardware.speck.board import samna_standin
from spikefold.hardware.speck.board.samna_probe import samna_status, why_not
from spikefold.hardware.speck.board.samna_rules import validate_configuration
from spikefold.hardware.speck.board.samna_standin import Destination, SpeckConfiguration, as_values, standin
from spikefold.hardware.speck.lowering.sinabs import convert

STUB = """
PYPI_SAMNA = True
import os, pathlib, subprocess
pathlib.Path(os.environ["STUB_MARK"]).write_text("the stub ran")
raise subprocess.CalledProcessError(1, ["pip", "install", "--force-reinstall", "samna"])
"""


def _package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Only what the test puts into the folder can be found, and nothing of samna is in the metadata."""
    original = importlib.util.find_spec

    def only_here(name: str) -> Any:
        spec = original(name)
        return spec if spec and str(spec.origin).startswith(str(tmp_path)) else None

    def no_metadata(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", only_here)
    monkeypatch.setattr(importlib.metadata, "distribution", no_metadata)
    return tmp_path


def test_the_four_answers(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = nothing_installed / "mark"
    monkeypatch.setenv("STUB_MARK", str(mark))
    assert (samna_status(), why_not()) == ("absent", "samna is not installed")
    _package(nothing_installed, "samna", STUB)
    assert samna_status() == "stub"
    assert "whose import runs pip" in str(why_not())
    (nothing_installed / "samna" / "__init__.py").write_text("raise RuntimeError('ran')")
    assert samna_status() == "unknown"
    assert "neither" in str(why_not())
    _package(nothing_installed, "samnagui", "")
    importlib.invalidate_caches()
    assert (samna_status(), why_not()) == ("real", None)
    assert not mark.exists()
    assert "samna" not in sys.modules


def test_a_module_without_a_spec_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "samna", type(sys)("samna"))
    assert samna_status() == "unknown"


def test_a_conversion_never_runs_the_stub(tmp_path: Path) -> None:
    _package(tmp_path, "samna", STUB)
    script = """
import sys
import numpy as np
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d
from spikefold.hardware.speck.lowering.sinabs_runner import run
from spikefold.hardware.speck.lowering.sinabs import convert
from spikefold.hardware.speck.board.samna_probe import samna_status
layers = (Layer("a", Conv2d(np.ones((1, 1, 1, 1)))), Layer("n", Neuron(np.array(1.0))))
model = convert(Network(InputSpec((1, 4, 4), 1000, 2), layers, 1))
print(samna_status(), run(model, np.ones((2, 1, 1, 4, 4))).spikes)
print(sorted(name for name in sys.modules if name.startswith("samna")))
try:
    import samna
except Exception as error:
    print(type(error).__name__)
"""
    mark = tmp_path / "mark"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path, "STUB_MARK": str(mark)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    # the last line shows that the trap was armed: only the script's own import sprang it
    assert done.stdout.split("\n")[:3] == ["stub 32", "[]", "CalledProcessError"]
    assert mark.read_text() == "the stub ran"


def _use_the_stand_in() -> None:
    with standin() as placed:
        assert placed
        import samna
        from samna.speck2f.configuration import SpeckConfiguration as Placed

        assert Placed is SpeckConfiguration
        assert samna.speck2f.validate_configuration is validate_configuration
        with pytest.raises(AttributeError, match="needs samna itself"):
            samna.device.open_device("speck2fdevkit:0")
        raise RuntimeError("inside")


def test_the_stand_in_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samna_standin, "_SINABS_PART", "not.loaded")
    monkeypatch.setattr(samna_standin, "samna_status", lambda: "stub")
    kept = type(sys)("samna.kept")
    monkeypatch.setitem(sys.modules, "samna.kept", kept)
    with pytest.raises(RuntimeError, match="inside"):
        _use_the_stand_in()
    assert [name for name in sys.modules if name.startswith("samna")] == ["samna.kept"]


@pytest.mark.parametrize("part", ["sinabs.backend.dynapcnn", "not.loaded"])
def test_there_is_no_stand_in_beside_the_real_samna(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(samna_standin, "_SINABS_PART", part)
    monkeypatch.setattr(samna_standin, "samna_status", lambda: "real")
    with standin() as placed:
        assert not placed
        assert "samna" not in sys.modules


def test_the_classes_are_strict() -> None:
    core = SpeckConfiguration().cnn_layers[0]
    core.leak_enable = np.array([True]).any()
    assert core.leak_enable is True
    core.dimensions = {"padding": {"x": 1, "y": np.int64(2)}}
    assert (core.dimensions.padding.x, core.dimensions.padding.y, core.dimensions.stride.x) == (1, 2, 1)
    core.destinations[1].pooling = 4
    weights = [[[[1]]]]
    core.weights = weights
    weights[0][0][0][0] = 5
    assert core.weights == [[[[1]]]]
    for wrong in (1.5, "1", None):
        with pytest.raises(TypeError, match="threshold_high"):
            core.threshold_high = wrong
    for name in ("weights_kill_bit", "treshold_high"):
        with pytest.raises(AttributeError, match=name):
            setattr(core, name, 1)
        with pytest.raises(AttributeError, match=name):
            getattr(core, name)
    with pytest.raises(AttributeError, match="z"):
        core.dimensions = {"padding": {"z": 1}}
    with pytest.raises(TypeError):
        core.destinations = [Destination()]
    with pytest.raises(TypeError):
        core.dimensions = 3
    assert as_values(core)["destinations"][1] == {"layer": 0, "enable": False, "pooling": 4, "feature_shift": 0}
    assert '"kernel_size": 0' in core.to_json()


def _made() -> Any:
    rng = np.random.default_rng(0)
    fire = Neuron(np.array(1.0))
    ops: tuple[Op, ...] = (
        Conv2d(rng.normal(0, 1, (2, 2, 3, 3))),
        fire,
        SumPool2d((2, 2)),
        Conv2d(rng.normal(0, 1, (3, 2, 1, 1))),
        fire,
    )
    layers = tuple(Layer(f"l{i}", op) for i, op in enumerate(ops))
    network = Network(InputSpec((2, 10, 8), 1000, 1), layers, 1)
    return convert(network, placement={"l1": 0, "l4": 1}).samna_configuration


def _core(name: str, value: Any) -> Callable[[Any], None]:
    return lambda made: setattr(made.cnn_layers[0], name, value)


def _dims(path: str, value: int) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        *parents, leaf = path.split(".")
        target = made.cnn_layers[0].dimensions
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, leaf, value)

    return change


def _to(name: str, value: int) -> Callable[[Any], None]:
    return lambda made: setattr(made.cnn_layers[0].destinations[0], name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_core("threshold_low", 0), "threshold_low 0"),
        (_core("threshold_low", -(2**15) - 1), "threshold_low -32769"),
        (_core("threshold_high", 2**15), "threshold_high 32768"),
        (_core("biases", [0, 2**15]), "biases"),
        (_core("biases", [0]), "biases"),
        (_core("weights", [[[[128] * 3] * 3] * 2] * 2), "8 bits"),
        (_core("weights", [[[[1] * 3] * 3] * 1] * 2), "weights have shape"),
        (_core("neurons_initial_value", [[0]]), "neurons_initial_value"),
        (_dims("kernel_size", 17), "kernel size 17"),
        (_dims("stride.x", 3), "stride"),
        (_dims("padding.y", 8), "padding"),
        (_dims("input_shape.size.y", 129), "input is not within"),
        (_dims("output_shape.size.x", 65), "output is not within"),
        (_dims("output_shape.feature_count", 1025), "output is not within"),
        (_dims("padding.x", 1), "output size along x"),
        (_to("pooling", 3), "pooling 3"),
        (_to("pooling", 4), "which reads another shape"),
        (_to("layer", 5), "destination 5 is no used core"),
        (_to("layer", 9), "destination 9 is no used core"),
    ],
)
def test_a_configuration_with_one_fault_is_refused(change: Callable[[Any], None], message: str) -> None:
    made = _made()
    assert validate_configuration(made) == (True, "")
    change(made)
    valid, said = validate_configuration(made)
    assert not valid
    assert message in said
    assert said.startswith("core 0: ")


def test_values_at_the_edge_are_valid() -> None:
    made = _made()
    for change in (_core("threshold_low", -(2**15)), _core("threshold_high", 2**15 - 1), _to("layer", 12)):
        change(made)
        assert validate_configuration(made)[0]
    made.cnn_layers[0].threshold_low = -1
    assert validate_configuration(made)[0]


def test_a_core_without_the_memory_is_refused() -> None:
    made = SpeckConfiguration()
    values = {"x": 32, "y": 32}
    for number, valid in ((3, True), (7, False)):  # 32 Ki and 16 Ki neurons
        made = SpeckConfiguration()
        core = made.cnn_layers[number]
        extent = {"size": values, "feature_count": 17}
        core.dimensions = {"input_shape": extent, "output_shape": extent, "kernel_size": 1}
        core.weights, core.biases = [[[[1]]] * 17] * 17, [0] * 17
        core.threshold_high, core.threshold_low = 10, -1
        core.neurons_initial_value = [[[0] * 32] * 32] * 17
        assert validate_configuration(made)[0] is valid
