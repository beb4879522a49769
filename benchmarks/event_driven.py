# SPDX-License-Identifier: Apache-2.0
"""The event-driven engine and the same loop in NumPy, million synaptic operations a second, equal results asserted.

The networks are untrained: their shapes decide the work of an event, and their spikes are counted beside the figures,
for an event that makes something fire costs more. Gestures are generated; the recording of 10 s has random events.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numba import njit

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.registry import chips
from spikefold.hardware.simulators.lanes import add_rows
from spikefold.hardware.speck.cores import CoreLayer, core_layers
from spikefold.hardware.speck.events.dvs_layer import DvsLayer
from spikefold.hardware.speck.events.options import Emission, Options
from spikefold.hardware.speck.events.result import EventRun
from spikefold.hardware.speck.events.simulate import simulate, simulate_events
from spikefold.train.data.events import pack_events
from spikefold.train.data.frames import Binning, to_frames
from spikefold.train.data.synthetic.gestures import generate
from spikefold.train.models.architectures import architecture, network

AS_NUMPY = Options(emission=Emission.ADDRESSES_ASCENDING)
"""The order of emission of the loop in NumPy, which makes no difference to the time of it."""
RUNS, EVENTS, SECONDS, RATE = 5, 40_000, 10, 100_000
SPARSE, BUSY = (0.05, 2.5), (1.5, 1.5)
"""Gains of the first and the other convolutions: about the spikes of a network trained on gestures, and many."""
Found = TypeVar("Found")


def speck(name: str, first: float, others: float) -> Network:
    """A network of `train.architectures` in Speck's integers, untrained weights of convolutions times a factor."""
    real = network(replace(architecture(name), steps=8, dt_us=100_000))  # a clip as a run of gestures has it
    gains = {layer.name: others for layer in real if isinstance(layer.op, Conv2d)} | {real.layers[0].name: first}
    layers = [
        replace(layer, op=replace(layer.op, weight=layer.op.weight * gains[layer.name]))
        if isinstance(layer.op, Conv2d)
        else layer
        for layer in real
    ]
    return quantise(real.rewritten(layers, "gain"), chips()["speck2f"].numbers)[0]


def one_layer(channels: int, features: int, kernel: int, stride: int) -> tuple[Network, np.ndarray]:
    """A core on a map of 16x16 and frames for it."""
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.integers(-60, 64, (features, channels, kernel, kernel)), None, (stride, stride), (1, 1))
    neuron = Neuron(np.array(800), reset=Reset.SUBTRACT, v_min=-(2.0**14), max_spikes=None, state_bits=16)
    spec = InputSpec((channels, 16, 16), 1000, 10)
    each = EVENTS / (10 * channels * 16 * 16)
    return Network(spec, (Layer("conv", conv), Layer("sn", neuron)), 1), rng.poisson(each, (10, 1, *spec.shape))


def gestures(net: Network, clips: int) -> np.ndarray:
    """Frames ``(T, N, C, H, W)`` of generated recordings."""
    binning = Binning((128, 128), 128 // net.input.shape[1], net.input.dt_us, net.input.steps)
    return to_frames(generate(clips, seed=0), binning)


def table() -> Iterator[tuple[str, str]]:
    """Rows of name and figure."""
    sparse, busy = speck("speck-s", *SPARSE), speck("speck-s", *BUSY)
    frames = gestures(sparse, 4)
    started = time.process_time()
    simulate(sparse, frames[:1, :1])
    yield "first call, with the compilation", f"{time.process_time() - started:8.2f} s"
    yield from _both("speck-s on gestures", sparse, frames)
    yield from _both("the same, many spikes", busy, frames)
    for channels, features, kernel, stride in ((2, 16, 4, 2), (16, 32, 4, 2), (64, 64, 3, 1)):
        name = f"{channels} -> {features} channels, {kernel}x{kernel}, stride {stride}"
        yield from _both(name, *one_layer(channels, features, kernel, stride))
    yield "limit of this core: rows of 192 numbers of 16 bits added, nothing else", _limit()
    for name, pool in (("speck-s", 4), ("speck-m", 1)):
        yield from _recording(name, DvsLayer(pool=(pool, pool)))


@njit
def _only_add(v: np.ndarray, weights: np.ndarray, times: int) -> Any:
    farthest: Any = 0
    for _ in range(times):
        none = np.uint64(0)
        farthest += np.int64(add_rows(v, none, weights, none, 192, 3, 192, 192, np.int16(0)))
    return farthest


def _limit() -> str:
    times, (v, weights) = 200_000, np.zeros((2, 600), np.int16)
    _, seconds = _timed(lambda: _only_add(v, weights, times))
    rates = [times * 3 * 192 / one / 1e6 for one in seconds]
    return f"{statistics.median(rates):8.1f} M/s  (min {min(rates):.1f}, max {max(rates):.1f})"


def _both(name: str, net: Network, frames: np.ndarray) -> Iterator[tuple[str, str]]:
    """Ours on all clips, NumPy on the first one, which must be equal."""
    few = frames[:, :1]
    run, seconds = _timed(lambda: simulate(net, frames))
    wanted, slow_seconds = _timed(lambda: numpy_run(net, few))
    _assert_equal(simulate(net, few, AS_NUMPY, potentials=True), wanted)
    spikes = run.trace.spikes / sum(int(load.events.sum()) for load in run.loads)
    yield name, f"{_rates(run, len(frames[0]), seconds)}, {spikes:.2f} spikes an event"
    yield "    in NumPy", _rates(run, 1, slow_seconds)


def _rates(run: EventRun, clips: int, seconds: list[float]) -> str:
    operations = sum(int(load.operations[:, :clips].sum()) for load in run.loads)
    rates = [operations / one / 1e6 for one in seconds]
    return f"{statistics.median(rates):8.1f} M/s  (min {min(rates):.1f}, max {max(rates):.1f})"


def _recording(name: str, layer: DvsLayer) -> Iterator[tuple[str, str]]:
    net, rng = speck(name, *SPARSE), np.random.default_rng(0)
    t = np.sort(rng.integers(0, SECONDS * 1_000_000, SECONDS * RATE))
    x, y, p = (rng.integers(0, most, len(t)) for most in (128, 128, 2))
    events = pack_events(t, x, y, p)
    run, seconds = _timed(lambda: simulate_events(net, events, layer, dt_us=net.input.dt_us))
    middle = statistics.median(seconds)
    operations = sum(int(load.operations.sum()) for load in run.loads)
    yield (
        f"{SECONDS} s of {RATE} raw events a second, {name}",
        f"{middle:8.2f} s  ({SECONDS / middle:.0f} times real time, {operations / middle / 1e6:.1f} M a second)",
    )


def _timed(run: Callable[[], Found]) -> tuple[Found, list[float]]:
    found, seconds = run(), []
    for _ in range(RUNS):
        started = time.process_time()
        found = run()
        seconds.append(time.process_time() - started)
    return found, seconds


# ---- the same loop in NumPy: a chain, raster orders, a tick at the end of a bin ----------------------------------


class _NumpyCore:
    """State ``(H, W, f)``; each event updates a window of it."""

    def __init__(self, layer: CoreLayer) -> None:
        self.layer, self.neuron = layer, layer.neuron
        # taps in the order of the neurons that they reach
        self.weight = np.ascontiguousarray(layer.weight[:, :, ::-1, ::-1].transpose(1, 2, 3, 0))
        features, height, width = layer.neuron_shape
        self.v = np.zeros((height, width, features), np.int64)
        self.addresses = np.arange(self.v.size).reshape(self.v.shape)

    def drain(self, events: np.ndarray) -> np.ndarray:
        channels, _, in_width = self.layer.input_shape
        (down, across), (k_height, k_width) = self.layer.stride, self.weight.shape[1:3]
        spikes = [np.empty(0, np.int64)]
        for event in events.tolist():
            place, channel = divmod(event, channels)
            y, x = place // in_width + self.layer.padding[0], place % in_width + self.layer.padding[1]
            top, left = max(0, -((k_height - 1 - y) // down)), max(0, -((k_width - 1 - x) // across))
            here = np.s_[top : y // down + 1, left : x // across + 1]
            state = self.v[here]
            taps = self.weight[
                channel, k_height - 1 - y + top * down :: down, k_width - 1 - x + left * across :: across
            ]
            state += taps[: state.shape[0], : state.shape[1]]
            fired = state >= self.neuron.threshold
            if fired.any():
                spikes.append(self.addresses[here][fired])
                state[fired] = 0 if self.neuron.reset is Reset.ZERO else state[fired] - self.neuron.threshold
            np.maximum(state, int(self.neuron.v_min), out=state)
        return np.concatenate(spikes)

    def tick(self) -> None:
        if self.layer.bias is not None:
            self.v += self.layer.bias
            np.maximum(self.v, int(self.neuron.v_min), out=self.v)


def numpy_run(net: Network, frames: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Raster ``(T, 1, C, H, W)`` and last state ``(C, H, W)`` of each layer, for a chain and one clip."""
    cores = [_NumpyCore(layer) for layer in core_layers(net)]
    counts: dict[str, list[np.ndarray]] = {core.layer.neuron_name: [] for core in cores}
    for frame in frames[:, 0]:
        ordered = frame.transpose(1, 2, 0).ravel()
        events = np.repeat(np.arange(len(ordered)), ordered)
        for core in cores:
            events = core.drain(events)
            core.tick()
            fired = np.bincount(events, minlength=core.v.size).reshape(core.v.shape)
            counts[core.layer.neuron_name].append(fired.transpose(2, 0, 1)[None])
    return {
        core.layer.neuron_name: (np.stack(counts[core.layer.neuron_name]), core.v.transpose(2, 0, 1))
        for core in cores
    }


def _assert_equal(run: EventRun, wanted: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    assert list(run.trace.layers) == list(wanted)
    for name, (raster, state) in wanted.items():
        layer = run.trace.layers[name]
        assert raster.any(), f"{name} never fires, so nothing is compared"
        np.testing.assert_array_equal(layer.raster, raster)
        np.testing.assert_array_equal(layer.potentials[-1, 0], state)
