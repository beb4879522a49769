# SPDX-License-Identifier: Apache-2.0
"""Networks from ``.net`` files against lava's equations, and against lava on the very same file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spikefold.export.network import Network
from spikefold.hardware.loihi.from_netx import from_net
from spikefold.hardware.loihi.lava import process as lava_process
from spikefold.hardware.loihi.lava.process import Job, run_worker
from spikefold.hardware.loihi.lava.provision import provision
from spikefold.hardware.simulators import clocked, reference
from tests.hardware.loihi.netx_cases import (
    N,
    T,
    changed,
    events,
    ints,
    reading_here,
    slayer_layers,
    slayer_neuron,
    write,
)

Computed = dict[str, tuple[Network, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]]
"""Network, frames, and lava's spikes and states of each layer, by the name of the file."""


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    st.integers(0, 2**20),
    st.integers(0, 4096),
    st.integers(0, 4096),
    st.integers(1, 400),
    st.booleans(),
    st.booleans(),
)
@example(3, 2000, 0, 151, True, False)
@example(4, 4096, 0, 151, True, True)
def test_imported_networks_follow_lavas_equations(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    i_decay: int,
    v_decay: int,
    theta: int,
    even: bool,
    biased: bool,
) -> None:
    """A plain model in the file's own numbers, of the equations in the fact sheet, with one dense layer."""
    weight, bias = ints(seed, 6, 10, low=-100, high=150), ints(seed + 1, 6, low=-90, high=90)
    weight, bias = (2 * np.minimum(weight, 127), 2 * bias) if even else (weight, bias)
    biased &= i_decay == 4096
    neuron = slayer_neuron(iDecay=i_decay, vDecay=v_decay, vThMant=theta)
    layer = {"type": "dense", "shape": (6,), "weight": weight, "neuron": neuron} | ({"bias": bias} if biased else {})
    path = tmp_path_factory.getbasetemp() / "plain.net"
    frames = events((10, 1, 1), seed)
    with reading_here():
        network = from_net(write(path, [{"type": "input", "shape": (10,)}, layer]))
    found = reference.run(network, frames, potentials=True).layers["dense1.spikes"]
    u = v = np.zeros((N, 6), np.int64)
    fired = 0
    for step, frame in enumerate(frames.reshape(T, N, 10)):
        u = np.sign(u) * (np.abs(u) * (4096 - i_decay) >> 12) + ((frame @ weight.T) << 6)
        v = np.sign(v) * (np.abs(v) * (4096 - v_decay) >> 12) + u + ((bias if biased else 0 * bias) << 6)
        spikes = v > theta << 6
        v = np.where(spikes, 0, v)
        fired += spikes.sum()
        np.testing.assert_array_equal(found.raster[step].reshape(N, 6), spikes)
        np.testing.assert_array_equal(found.potentials[step].reshape(N, 6), v)
    assert fired > 0


LAVA_CASES: dict[str, tuple[list[dict[str, Any]], int]] = {
    "slayer": (slayer_layers(), 1),
    "odd threshold": (slayer_layers(vThMant=45), 1),
    "no leak": (slayer_layers(vDecay=0, vThMant=300), 1),
    "no leak, odd threshold": (slayer_layers(vDecay=0, vThMant=301), 1),
    "no memory": (slayer_layers(vDecay=4096, vThMant=60), 1),
    "counts": (slayer_layers(vThMant=200), 7),
    "older name": (slayer_layers(type="LOIHI", vThMant=100), 1),
    "delays of zero": (changed(3, delay=np.zeros(5)), 1),
    "or": (changed(1, weight=2 * np.ones((4, 2, 3, 2)), bias=None, neuron=slayer_neuron(vThMant=0, vDecay=9)), 1),
    "odd weights": (changed(3, weight=ints(4, 5, 96, low=-101, high=153)), 1),
    "positive weights": (changed(3, weight=ints(4, 5, 96, low=0, high=255), neuron=slayer_neuron(vThMant=2001)), 1),
    "biases (W, H, C)": (changed(1, bias=np.broadcast_to(np.array([12, -40, 5, 66]), (8, 3, 4))), 1),
    **{
        f"current {decay}": (
            [slayer_layers()[0]]
            + [
                {key: value for key, value in layer.items() if key != "bias"}
                | ({"neuron": slayer_neuron(iDecay=decay, vThMant=theta)} if "neuron" in layer else {})
                for layer in slayer_layers()[1:]
            ],
            1,
        )
        for decay, theta in ((0, 900), (1, 801), (1024, 500), (2047, 401), (4095, 80))
    },
}
"""Layers of a file, and the highest count of the input."""


@pytest.fixture(scope="module")
def library() -> Path:
    return provision()


@pytest.fixture(scope="module")
def computed(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Computed:
    """Network, frames, and lava's (spikes, states) of each layer of each file, from one start."""
    home = tmp_path_factory.mktemp("files")
    jobs, networks = [], []
    for index, (layers, highest) in enumerate(LAVA_CASES.values()):
        path = write(home / f"{index}.net", layers)
        jobs.append(Job(path.name, events((2, 6, 9), index, highest=highest), potentials=True))
        networks.append(from_net(path, max_count=highest))
    arrays = run_worker(home, jobs, library, timeout_s=120)
    layers_of = [
        [(arrays[f"{index}/{k}/spikes"], arrays[f"{index}/{k}/potentials"]) for k in range(3)]
        for index in range(len(jobs))
    ]
    return dict(zip(LAVA_CASES, zip(networks, (job.frames for job in jobs), layers_of, strict=True), strict=True))


@pytest.mark.lava
@pytest.mark.skipif(sys.platform != "linux", reason="lava forks; reads /proc")
@pytest.mark.parametrize("name", LAVA_CASES)
def test_lava_on_the_same_file(computed: Computed, name: str) -> None:
    network, frames, layers = computed[name]
    found = reference.run(network, frames, potentials=True)
    fast = clocked.run(network, frames)
    assert len(found.layers) == len(layers) == 3
    for (key, layer), (spikes, states) in zip(found.layers.items(), layers, strict=True):
        assert layer.spikes > 0, f"{key} never fired: nothing was compared"
        assert layer.raster.size == spikes.size >= T * N
        np.testing.assert_array_equal(layer.raster, spikes.reshape(layer.raster.shape))
        np.testing.assert_array_equal(layer.potentials, states.reshape(layer.raster.shape))
        np.testing.assert_array_equal(layer.raster, fast.layers[key].raster)


_DRIVEN = """
import importlib.util as u, sys
import numpy as np
spec = u.spec_from_file_location("shim", sys.argv[1])
shim = u.module_from_spec(spec); spec.loader.exec_module(shim); shim.install()
from lava.lib.dl.netx.hdf5 import Network
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer
drive = np.load(sys.argv[3])
T, N = drive.shape[:2]
net = Network(sys.argv[2], reset_interval=T, reset_offset=0)
steps = T * N + len(net.layers)
data = np.zeros((*drive.shape[:1:-1], steps), np.int32)
data[..., : T * N] = drive.swapaxes(0, 1).reshape(T * N, *drive.shape[2:]).transpose(3, 2, 1, 0)
source = RingBuffer(data=data)
source.s_out.connect(net.in_layer.neuron.a_in)
sinks = [Sink(shape=layer.out.shape, buffer=steps) for layer in net.layers]
for layer, sink in zip(net.layers, sinks):
    layer.out.connect(sink.a_in)
net.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
found = {str(k): sink.data.get()[..., k : k + T * N] for k, sink in enumerate(sinks)}
net.stop()
np.savez(sys.argv[4], **found)
"""


@pytest.mark.lava
@pytest.mark.skipif(sys.platform != "linux", reason="lava forks; reads /proc")
def test_lava_with_neurons_on_the_input(library: Path, tmp_path: Path) -> None:
    """As slayer's own PilotNet: the input's neurons charged with weight * x + bias, no delay, reset at offset 0."""
    layers = changed(0, neuron=slayer_neuron(vThMant=45), weight=36, bias=np.array([-2], np.float32))[:2]
    path = write(tmp_path / "a.net", layers)
    frames = events((2, 6, 9), 5)
    np.save(tmp_path / "drive.npy", 36 * frames - 2)
    shim = lava_process.WORKER.with_name("shim.py")
    command = [sys.executable, "-W", "ignore", "-c", _DRIVEN, str(shim), str(path)]
    done = subprocess.run(
        [*command, str(tmp_path / "drive.npy"), str(tmp_path / "out.npz")],
        env=lava_process._environment(library),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = reference.run(from_net(path), frames)
    with np.load(tmp_path / "out.npz") as arrays:
        for k, layer in enumerate(found.layers.values()):
            assert layer.spikes > 50
            # (W, H, C, N * T) to (T, N, C, H, W)
            spikes = np.moveaxis(arrays[str(k)], -1, 0).transpose(0, 3, 2, 1)
            spikes = spikes.reshape(N, T, *spikes.shape[1:]).swapaxes(0, 1)
            np.testing.assert_array_equal(spikes, layer.raster)
