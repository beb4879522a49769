# SPDX-License-Identifier: Apache-2.0
"""Simulates netx files with lava-nc's fixed-point models; runs as a script in a subprocess, without spikefold.

The job directory, the only argument, is the whole interface:

- in: ``job.json`` ``{"jobs": [{"net": "0.net", "bits": 0, "potentials": false}, ...]}`` and ``in.npz`` with the
  frames ``(T, N, C, H, W)`` of job j under the key ``"j"``.
- out: ``out.npz`` with ``"j/k/spikes"`` and on demand ``"j/k/potentials"`` of lava layer k, ``(T, N, C, H, W)`` or
  ``(T, N, n)``; then ``result.json``, ``{"ok": true, "seconds": ...}`` or ``{"ok": false, "error": traceback}``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np


def _install_shim() -> None:
    spec = importlib.util.spec_from_file_location("lava_shim", Path(__file__).with_name("shim.py"))
    if spec is None or spec.loader is None:
        raise ImportError("shim.py is missing beside worker.py")
    shim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shim)
    shim.install()


def _find_models_quickly() -> None:
    """Look for process models in the process's module and its ``models`` sibling only.

    lava executes every Python file beside a process's module, once for each process; netx's files would be executed
    without the patches above.
    """
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

    def find(proc: Any) -> list[Any]:
        home = type(proc).__module__
        beside = [home.rpartition(".")[0] + ".models"] if home.endswith(".process") else []
        modules = [sys.modules[home], *(importlib.import_module(name) for name in beside)]
        found = [model for module in modules for model in ProcGroupDiGraphs._find_proc_models_in_module(proc, module)]
        if not found:
            raise LookupError(f"no process model for {type(proc)}")
        return found

    ProcGroupDiGraphs._find_proc_models = staticmethod(find)


class _Keeper:
    """Keeps one array per step, and writes all of them at the last one.

    lava's own sinks are read out one number per message, which takes minutes where this takes milliseconds.
    """

    dtype: Any = np.uint8
    proc_params: Any
    time_step: int
    kept: Any = None

    def keep(self, values: Any) -> None:
        steps = self.proc_params["steps"]
        if self.kept is None:
            self.kept = np.zeros((steps, *values.shape), self.dtype)
        self.kept[self.time_step - 1] = values
        if self.time_step == steps:
            np.save(self.proc_params["path"], self.kept)


def _spike_recorder() -> Any:
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.model.py.model import PyLoihiProcessModel
    from lava.magma.core.model.py.ports import PyInPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.ports.ports import InPort
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.resources import CPU
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    class SpikeRecorder(AbstractProcess):  # type: ignore[misc]
        def __init__(self, *, shape: tuple[int, ...], steps: int, path: str) -> None:
            super().__init__(steps=steps, path=path)
            self.a_in = InPort(shape=shape)

    @implements(proc=SpikeRecorder, protocol=LoihiProtocol)
    @requires(CPU)
    @tag("fixed_pt")
    class SpikeKeeper(_Keeper, PyLoihiProcessModel):  # type: ignore[misc]
        a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)

        def run_spk(self) -> None:
            self.keep(self.a_in.recv())

    globals()["SpikeKeeper"] = SpikeKeeper  # lava looks models up in the module of the process
    return SpikeRecorder


def _state_recorder() -> Any:
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.model.py.model import PyLoihiProcessModel
    from lava.magma.core.model.py.ports import PyRefPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.ports.ports import RefPort
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.resources import CPU
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    class StateRecorder(AbstractProcess):  # type: ignore[misc]
        def __init__(self, *, var: Any, steps: int, path: str) -> None:
            super().__init__(steps=steps, path=path)
            self.state = RefPort(shape=var.shape)
            self.state.connect_var(var)

    @implements(proc=StateRecorder, protocol=LoihiProtocol)
    @requires(CPU)
    @tag("fixed_pt")
    class StateKeeper(_Keeper, PyLoihiProcessModel):  # type: ignore[misc]
        dtype = np.int32
        state: Any = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

        def post_guard(self) -> bool:
            return True

        def run_post_mgmt(self) -> None:
            self.keep(self.state.read())

    globals()["StateKeeper"] = StateKeeper
    return StateRecorder


def simulate(index: int, job: dict[str, Any], frames: Any, home: Path, recorders: tuple[Any, Any]) -> dict[str, Any]:
    """All clips of one network back to back; arrays of every layer, aligned to the input's steps.

    Layer k (from 1) answers k steps late. ``reset_offset=1`` puts the reset before the first frame of each clip:
    lava counts steps from 1, and adds one for each layer.
    """
    from lava.lib.dl.netx.hdf5 import Network
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.source import RingBuffer

    spike_recorder, state_recorder = recorders
    T, N = frames.shape[:2]
    net = Network(str(home / job["net"]), input_message_bits=job["bits"], reset_interval=T, reset_offset=1)
    steps = T * N + len(net.layers)
    # lava wants (W, H, C, time) before a convolution and (n, time) before a dense layer
    clips = frames.swapaxes(0, 1).reshape(T * N, *frames.shape[2:])
    clips = clips.transpose(3, 2, 1, 0) if len(net.inp.shape) == 3 else clips.reshape(T * N, -1).T
    data = np.zeros((*clips.shape[:-1], steps), np.int32)
    data[..., : T * N] = clips
    source = RingBuffer(data=data)
    source.s_out.connect(net.inp)
    paths: dict[str, tuple[int, Path]] = {}
    for k, layer in enumerate(net.layers):
        path = home / f"{index}-{k}-spikes.npy"
        recorder = spike_recorder(shape=layer.out.shape, steps=steps, path=str(path))
        layer.out.connect(recorder.a_in)
        paths[f"{index}/{k}/spikes"] = (k + 1, path)
        if job["potentials"]:
            path = home / f"{index}-{k}-potentials.npy"
            state_recorder(var=layer.neuron.v, steps=steps, path=str(path))
            paths[f"{index}/{k}/potentials"] = (k + 1, path)
    with _watch(home):
        net.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    net.stop()
    out = {}
    for key, (late, path) in paths.items():
        values = np.load(path)[late : late + T * N]
        values = values.reshape(N, T, *values.shape[1:]).swapaxes(0, 1)
        out[key] = values.transpose(0, 1, 4, 3, 2) if values.ndim == 5 else values
        path.unlink()
    return out


def _report_child_errors(home: Path) -> None:
    """Let a forked process write down what it dies of: lava logs it at a level that it then forbids, and hangs."""
    from lava.magma.core.model.py.model import AbstractPyProcessModel

    join = AbstractPyProcessModel.join

    def join_and_tell(self: Any) -> None:
        if sys.exc_info()[1] is not None:
            _write(home / "child.txt", traceback.format_exc())
        join(self)

    AbstractPyProcessModel.join = join_and_tell


@contextlib.contextmanager
def _watch(home: Path) -> Iterator[None]:
    """While lava runs, neither one of its processes nor our parent may end: it would wait for ever."""
    done, parent = threading.Event(), os.getppid()

    def look() -> None:
        while not done.wait(0.1):
            if os.getppid() != parent:
                os.killpg(0, signal.SIGTERM)
            ended = None
            with contextlib.suppress(ChildProcessError):  # before the first fork
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if _told(home) or (ended is not None and not done.wait(0.3)):
                _fail(home, f"one of lava's processes died: {ended}")

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _told(home: Path) -> str:
    path = home / "child.txt"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _fail(home: Path, error: str) -> NoReturn:
    """Leave at once: unwinding would end in lava's destructors, which wait for processes that wait for each other."""
    _write(home / "result.json", json.dumps({"ok": False, "error": _told(home) or error}))
    os._exit(1)


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def main(home: Path) -> None:
    """Run every job of the directory."""
    started = time.perf_counter()
    seconds = {}
    try:
        _install_shim()
        _find_models_quickly()
        _report_child_errors(home)
        recorders = (_spike_recorder(), _state_recorder())
        seconds["import"] = time.perf_counter() - started
        out: dict[str, Any] = {}
        with np.load(home / "in.npz") as frames:
            for index, job in enumerate(json.loads((home / "job.json").read_text(encoding="utf-8"))["jobs"]):
                began = time.perf_counter()
                out |= simulate(index, job, frames[str(index)], home, recorders)
                seconds[str(index)] = time.perf_counter() - began
        np.savez(home / "part.npz", **out)
        os.replace(home / "part.npz", home / "out.npz")
    except BaseException:  # noqa: BLE001 - the parent process raises it; here is nobody to raise to
        _fail(home, traceback.format_exc())
    _write(home / "result.json", json.dumps({"ok": True, "seconds": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
