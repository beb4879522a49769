# SPDX-License-Identifier: Apache-2.0
"""The engines against the vendors' simulators, for one clip and step: 2x34x34, conv 16 s2, conv 32 s2, dense 10.

Process time for what runs in this process; lava, which takes clips one after the other, runs in its own and is timed
by the clock, its start-up taken off by a second job of one step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi.lava import client as lava_client
from spikefold.hardware.registry import chips
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.speck.lowering import sinabs as to_speck
from spikefold.hardware.speck.lowering import sinabs_runner as speck_runner

STEPS, RUNS = 20, 5


def network() -> Network:
    """The network of the table, random weights that keep every layer active."""
    rng = np.random.default_rng(0)

    def weights(*shape: int, mean: float) -> np.ndarray:
        return rng.normal(mean, 0.15, shape)

    one = Neuron(np.array(1.0))
    layers = (
        Layer("conv1", Conv2d(weights(16, 2, 3, 3, mean=0.1), None, (2, 2), (1, 1))),
        Layer("sn1", one),
        Layer("conv2", Conv2d(weights(32, 16, 3, 3, mean=0.01), None, (2, 2), (1, 1))),
        Layer("sn2", one),
        Layer("fc", Dense(weights(10, 32 * 9 * 9, mean=0.0))),
        Layer("out", one),
    )
    return Network(InputSpec((2, 34, 34), 1000, STEPS, 1), layers, 10)


def table() -> Iterator[tuple[str, str]]:
    """Rows of name and figure."""
    real = network()
    integer = quantise(real, chips()["loihi2"].numbers)[0]
    speck = to_speck.convert(real)
    rng = np.random.default_rng(1)
    frames = {n: (rng.random((STEPS, n, 2, 34, 34)) < 0.05).astype(np.uint16) for n in (1, 16, 100)}
    spikes = reference.run(integer, frames[1])
    yield "spikes in one clip", ", ".join(f"{name} {layer.spikes}" for name, layer in spikes.layers.items())
    lava = _lava(integer, frames[16])
    yield "lava fixed-point, 16 clips", _figure(lava)
    for batch in (1, 16, 100):
        for name, run in (
            ("clocked engine", _clocked(integer, frames[batch])),
            ("reference", lambda n=batch: reference.run(integer, frames[n])),
        ):
            times = _per_step(run, batch)
            ratio = statistics.median(lava) / statistics.median(times)
            yield f"{name}, batch {batch}", f"{_figure(times)}  lava takes {ratio:5.0f} times as long"
    yield "sinabs discretised, batch 16", _figure(_per_step(lambda: speck_runner.run(speck, frames[16]), 16))


def _clocked(integer: Network, frames: np.ndarray) -> Callable[[], object]:
    return lambda: clocked.run(integer, frames, batch=frames.shape[1])


def _per_step(run: Callable[[], object], clips: int) -> list[float]:
    """Microseconds of process time for one clip and step, compiled beforehand."""
    run()
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        run()
        times.append((time.process_time() - started) * 1e6 / (clips * STEPS))
    return times


def _lava(integer: Network, frames: np.ndarray) -> list[float]:
    """Microseconds by the clock for one clip and step."""

    def clock(clips: np.ndarray) -> float:
        started = time.perf_counter()
        lava_client.run(integer, clips)
        return time.perf_counter() - started

    clock(frames[:1])
    return [(clock(frames) - clock(frames[:1])) * 1e6 / ((STEPS - 1) * frames.shape[1]) for _ in range(RUNS)]


def _figure(times: list[float]) -> str:
    return f"{statistics.median(times):9.1f} us  (min {min(times):.1f}, max {max(times):.1f})"
