# SPDX-License-Identifier: Apache-2.0
"""Random networks in four ways: reference, the fast engine by events and dense, and lava's simulator.

Groups, kernels and strides that are not square, dilation, biases, decays of state and current from 0 to 4096, odd
weights (a layer counted in the file's half weights); every layer of every network fires. One start of lava for all.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi import to_netx as to_loihi
from spikefold.hardware.loihi.lava import client as lava_client
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators import sparse as clocked_sparse
from spikefold.hardware.simulators.trace import Trace

pytestmark = [pytest.mark.lava, pytest.mark.skipif(sys.platform != "linux", reason="lava forks")]
NETWORKS, STEPS, CLIPS, ONE = 24, 8, 2, 4096
WAYS = ("reference", "by events", "dense", "lava")


@dataclass(frozen=True, eq=False)
class Case:
    network: Network
    frames: np.ndarray
    traces: dict[str, Trace]


def _share(rng: np.random.Generator) -> Leak:
    return Leak(int(rng.choice([0, 0, 1, ONE // 2, ONE - 1, ONE, ONE, *rng.integers(0, ONE + 1, 3)])), 12)


def _neuron(rng: np.random.Generator, op: Conv2d | Dense, *, odd: bool) -> Neuron:
    leak = _share(rng) if rng.random() < 0.7 else None
    current = _share(rng) if op.bias is None and rng.random() < 0.6 else None
    theta = int(np.abs(op.weight).mean() * rng.uniform(0.5, 2)) + 1
    # >= is exact where states are whole weights: neither leak nor current, and not in half weights
    exact = leak is None and current is None and not odd
    fire = Fire.GE if exact and rng.random() < 0.7 else Fire.GT
    shift = 6 if odd else 7
    return Neuron(
        np.array(theta),
        fire=fire,
        leak=leak,
        state_shift=shift,
        state_bits=24,
        overflow=Overflow.SATURATE,
        current=current,
    )


def _drawn(rng: np.random.Generator) -> tuple[Network, np.ndarray]:
    shape = at = (int(rng.choice([2, 4])), int(rng.integers(6, 9)), int(rng.integers(9, 12)))
    layers: list[Layer] = []
    for number in range(int(rng.integers(2, 4))):
        odd = rng.random() < 0.4
        low, high = (0, 120) if odd else (-30, 60)  # weights of both signs must be even in the file
        op: Conv2d | Dense
        if number == 2 or (number == 1 and rng.random() < 0.3):
            op = Dense(rng.integers(low // 2, high // 2, (5, int(np.prod(at)))), _bias(rng, 5))
        else:
            groups = int(rng.choice([1, 2, at[0]]))
            stride, padding, dilation = rng.integers(1, 3, 2), rng.integers(0, 2, 2), rng.integers(1, 3, 2)
            most = (np.array(at[1:]) + 2 * padding - 1) // dilation + 1
            kernel = [int(rng.integers(1, min(3, n) + 1)) for n in most]
            c_out = int(rng.choice([4, 8])) if groups <= 4 else groups
            weight = rng.integers(low, high, (c_out, at[0] // groups, *kernel))
            geometry = [(int(y), int(x)) for y, x in (stride, padding, dilation)]
            op = Conv2d(weight, _bias(rng, c_out), geometry[0], geometry[1], geometry[2], groups)
        layers += [Layer(f"w{number}", op), Layer(f"n{number}", _neuron(rng, op, odd=odd))]
        at = op.output_shape(at)
        if isinstance(op, Dense):
            break
    frames = (rng.random((STEPS, CLIPS, *shape)) < 0.4) * rng.integers(1, 3, (STEPS, CLIPS, *shape))
    return Network(InputSpec(shape, 1000, STEPS), tuple(layers), 1), frames


def _bias(rng: np.random.Generator, outputs: int) -> np.ndarray | None:
    return rng.integers(-20, 50, outputs) if rng.random() < 0.5 else None


def _active(seed: int) -> tuple[Network, np.ndarray, Trace]:
    """The first network of this seed that lava can be asked for and in which every layer fires."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        network, frames = _drawn(rng)
        trace = reference.run(network, frames, potentials=True)
        quiet = any(layer.spikes < 20 for layer in trace.layers.values())
        if not quiet and not to_loihi.violations(network, max_count=int(frames.max())):
            return network, frames, trace
    raise AssertionError(f"seed {seed} draws no network in which every layer fires")


def _write(network: Network, path: Path, *, max_count: int | None = None) -> Path:
    """The exporter's file, with the decays of the currents."""
    to_loihi.write_net(network, path, max_count=max_count)
    with h5py.File(path, "r+") as file:
        spiking = [key for key in sorted(file["layer"], key=int) if "neuron" in file["layer"][key]]
        for key, layer in zip(spiking, network.neurons, strict=True):
            assert isinstance(layer.op, Neuron)
            if layer.op.current is not None:
                file["layer"][key]["neuron/iDecay"][...] = ONE - int(layer.op.current.keep)
    return path


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    drawn = [_active(seed) for seed in range(NETWORKS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lava_client, "write_net", _write)
        found = lava_client.run_many([(net, frames) for net, frames, _ in drawn], potentials=True, timeout_s=120)
    made = []
    for (network, frames, trace), lava in zip(drawn, found, strict=True):
        traces = {"reference": trace, "lava": lava}
        for way, by_events in (("by events", True), ("dense", False)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(clocked_sparse, "is_cheaper", lambda *_, answer=by_events: answer)
                traces[way] = clocked.run(network, frames, potentials=True)
        made.append(Case(network, frames, traces))
    return made


@pytest.mark.parametrize("way", WAYS[1:])
def test_no_spike_and_no_state_differs_in_any_layer_and_step(cases: list[Case], way: str) -> None:
    spikes = states = 0
    for number, case in enumerate(cases):
        expected, found = case.traces["reference"], case.traces[way]
        assert list(found.layers) == list(expected.layers)
        for name, ours in expected.layers.items():
            theirs = found.layers[name]
            assert ours.spikes >= 20, (number, name)
            assert theirs.raster.shape == ours.raster.shape
            assert int((theirs.raster != ours.raster).sum()) == 0, (number, name)
            assert int((theirs.potentials != ours.potentials).sum()) == 0, (number, name)
            if way != "lava":
                assert (theirs.v_range, theirs.overflow) == (ours.v_range, ours.overflow)
            assert ours.overflow == 0  # lava's current would wrap, ours would not
            spikes += ours.spikes
            states += ours.raster.size
    assert len(cases) == NETWORKS
    assert spikes > 20_000
    assert states > 100_000


def test_the_networks_are_of_every_kind(cases: list[Case]) -> None:
    seen: Counter[str] = Counter()
    for case in cases:
        seen["counts above 1"] += int(case.frames.max() > 1)
        for layer in case.network:
            op = layer.op
            if isinstance(op, Conv2d):
                seen["groups"] += op.groups > 1
                seen["kernel not square"] += op.weight.shape[2] != op.weight.shape[3]
                seen["stride"] += op.stride != (1, 1)
                seen["stride not square"] += op.stride[0] != op.stride[1]
                seen["dilation"] += op.dilation != (1, 1)
                seen["padding"] += op.padding != (0, 0)
            if isinstance(op, Conv2d | Dense):
                seen["bias"] += op.bias is not None
                neurons = case.network.consumers(layer.name)[0].op
                assert isinstance(neurons, Neuron)
                seen["odd weights"] += neurons.state_shift == 6 and bool((op.weight % 2).any())
            if isinstance(op, Neuron):
                for kind, leak in (("leak", op.leak), ("current", op.current)):
                    seen[kind] += leak is not None
                    seen[f"{kind} of 0"] += leak is not None and leak.keep == 0
                    seen[f"{kind} of 4096"] += leak is not None and leak.keep == ONE
                seen["leak and current"] += op.leak is not None and op.current is not None
                seen[str(op.fire)] += 1
    kinds = (
        "counts above 1", "groups", "kernel not square", "stride", "stride not square", "dilation", "padding", "bias",
        "leak", "leak of 0", "leak of 4096", "current", "current of 0", "current of 4096", "leak and current",
        "odd weights", ">=", ">",
    )  # fmt: skip
    assert all(seen[kind] >= 3 for kind in kinds), seen
