# SPDX-License-Identifier: Apache-2.0
"""Runs integer networks on lava's fixed-point simulator of Loihi 2, as one more runner that returns a `Trace`.

The independent check of ``reference.py``: exact and slow (about 15 ms a clip and step for a small network). One start
of the worker costs two to three seconds, so give `run_many` all networks at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from spikefold.errors import MismatchError, NetworkError
from spikefold.export.network import Network
from spikefold.export.neuron_support import NeuronSupport, refuse
from spikefold.hardware.loihi import to_netx
from spikefold.hardware.loihi.always_on import always_on
from spikefold.hardware.loihi.lava.process import Job, run_worker
from spikefold.hardware.loihi.lava.provision import provision
from spikefold.hardware.loihi.to_netx import write_net
from spikefold.hardware.simulators.reference import check_frames
from spikefold.hardware.simulators.trace import LayerTrace, Trace, as_raster

RUNNER = "lava fixed-point"
NEURONS = NeuronSupport(
    "lava's simulator",
    {
        name: to_netx.NEURONS.fields[name]
        for name in (
            "threshold", "fire", "reset", "reset_value", "leak", "v_min", "max_spikes", "order", "state_shift",
            "state_bits", "overflow", "current",
        )
    },
)  # fmt: skip
"""It runs the ``.net`` file, so of these fields it carries what the file does."""


def run(
    network: Network,
    frames: np.ndarray,
    *,
    potentials: bool = False,
    timeout_s: float = 600,
    interpreter: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Trace:
    """Simulate a batch of clips ``(T, N, C, H, W)``, each from zero state; see `run_many`."""
    jobs = [(network, frames)]
    return run_many(jobs, potentials=potentials, timeout_s=timeout_s, interpreter=interpreter, progress=progress)[0]


def run_many(
    jobs: Sequence[tuple[Network, np.ndarray]],
    *,
    potentials: bool = False,
    timeout_s: float = 600,
    interpreter: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Trace]:
    """Simulate several networks in one start of lava; it is installed privately on first use.

    Args:
        jobs: integer networks, each with event counts ``(T, N, C, H, W)``.
        potentials: record the state of every neuron after every step too, in units of 1/128 weight.
        timeout_s: wall clock for all of them together.
        interpreter: Python that runs lava; this one by default.
        progress: told what happens, one sentence a call.

    Raises:
        UnsupportedError: a network that Loihi 2 cannot carry exactly.
        EnvironmentLacksError: lava cannot be installed, failed or took too long.
        MismatchError: lava answered with other shapes than the network has.
    """
    if not jobs:
        return []
    with tempfile.TemporaryDirectory(prefix="spikefold-lava-") as folder:
        home = Path(folder)
        entries = []
        for index, (network, frames) in enumerate(jobs):
            counts = always_on(network).frames(_checked(network, frames))
            write_net(network, home / f"{index}.net", max_count=max(1, int(counts.max())))
            refuse(network, NEURONS)
            entries.append(Job(f"{index}.net", counts, potentials))
        library = provision(interpreter=interpreter, progress=progress)
        arrays = run_worker(home, entries, library, interpreter=interpreter, timeout_s=timeout_s)
    return [_trace(arrays, index, network, frames.shape[:2]) for index, (network, frames) in enumerate(jobs)]


def _checked(network: Network, frames: np.ndarray) -> np.ndarray:
    check_frames(network, frames)
    counts = frames.astype(np.int32)
    if not frames.size or not np.array_equal(counts, frames) or counts.min() < 0:
        raise NetworkError("frames must hold whole event counts, at least one step and one clip")
    return counts


def _trace(arrays: dict[str, np.ndarray], index: int, network: Network, steps: tuple[int, ...]) -> Trace:
    layers, form = {}, always_on(network)
    for k, layer in enumerate(form.network.neurons):
        shape = (*steps, *form.network.shapes[layer.name])
        given = _shaped(arrays.get(f"{index}/{k}/spikes"), shape, layer.name)
        raster = as_raster(form.cut(layer.name, given), layer.name)
        states = arrays.get(f"{index}/{k}/potentials")
        if states is None:
            layers[layer.name] = LayerTrace(raster)
            continue
        states = form.cut(layer.name, _shaped(states, shape, layer.name)).astype(np.int64)
        layers[layer.name] = LayerTrace(raster, potentials=states)
    return Trace(RUNNER, layers)


def _shaped(values: np.ndarray | None, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Dense layers come back as ``(T, N, n)``."""
    if values is None or (values.shape != shape and (values.ndim != 3 or (*values.shape, 1, 1) != shape)):
        got = "nothing" if values is None else values.shape
        raise MismatchError(f"lava returned {got} where the network has {shape}", where=where)
    return values.reshape(shape)
