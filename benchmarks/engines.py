# SPDX-License-Identifier: Apache-2.0
"""The engines against the vendors' simulators, ms for one clip and step: 2x34x34, conv 16 s2, conv 32 s2, dense 10.

Process time for what runs in this process; lava runs in its own and is timed by the clock, its start-up taken off by
a second job of one step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from spikefold.export import speck_runner, to_speck
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware import clocked, lava_client, reference
from spikefold.hardware.registry import CHIPS

STEPS, RUNS = 20, 5


def network() -> Network:
    """The network of the table, random weights that keep every layer active."""
    rng = np.random.default_rng(0)

    def weights(*shape: int, mean: float) -> np.ndarray:
        return rng.normal(mean, 0.15, shape)

    one = Neuron(np.array(1.0))
    layers = (
        Layer("conv1", Conv2d(weights(16, 2, 3, 3, mean=0.1), None, (2, 2), (1, 1))), Layer("sn1", one),
        Layer("conv2", Conv2d(weights(32, 16, 3, 3, mean=0.01), None, (2, 2), (1, 1))), Layer("sn2", one),
        Layer("fc", Dense(weights(10, 32 * 9 * 9, mean=0.0))), Layer("out", one),
    )  # fmt: skip
    return Network(InputSpec((2, 34, 34), 1000, STEPS, 1), layers, 10)


def table() -> Iterator[tuple[str, str]]:
    """Rows of name and figure."""
    real = network()
    integer = quantise(real, CHIPS["loihi2"].numbers)[0]
    speck = to_speck.convert(real)
    rng = np.random.default_rng(1)
    frames = {n: (rng.random((STEPS, n, 2, 34, 34)) < 0.05).astype(np.uint16) for n in (1, 16, 100)}
    spikes = reference.run(integer, frames[1])
    yield "spikes in one clip", ", ".join(f"{name} {layer.spikes}" for name, layer in spikes.layers.items())
    for batch in (1, 16, 100):
        yield (
            f"torch engine, batch {batch}",
            _per_step(lambda n=batch: clocked.run(integer, frames[n], batch=n), batch),
        )
    yield "reference, batch 16", _per_step(lambda: reference.run(integer, frames[16]), 16)
    yield "sinabs discretised, batch 16", _per_step(lambda: speck_runner.run(speck, frames[16]), 16)
    yield "lava fixed-point, 4 clips", _lava(integer, frames[16][:, :4])


def _per_step(run: Callable[[], object], clips: int) -> str:
    run()
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        run()
        times.append((time.process_time() - started) * 1e3 / (clips * STEPS))
    return f"{statistics.median(times):8.4f} ms  (min {min(times):.4f}, max {max(times):.4f})"


def _lava(integer: Network, frames: np.ndarray) -> str:
    def clock(clips: np.ndarray) -> float:
        started = time.perf_counter()
        lava_client.run(integer, clips)
        return time.perf_counter() - started

    clock(frames[:1])
    times = [(clock(frames) - clock(frames[:1])) * 1e3 / ((STEPS - 1) * frames.shape[1]) for _ in range(3)]
    return f"{statistics.median(times):8.4f} ms  (min {min(times):.4f}, max {max(times):.4f})"
