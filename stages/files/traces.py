# SPDX-License-Identifier: Apache-2.0
"""The spikes of one variant on the one clip that a run keeps, checked against what ``simulate.json`` says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.hardware.simulators.trace import Trace, load_trace
from spikefold.session import Session
from spikefold.stage_table import SIMULATE
from spikefold.stages.files.base import refused
from spikefold.stages.files.simulate import VariantForm


def trace_file(name: str) -> str:
    """The file of a variant's trace in the folder of the simulation."""
    return f"trace.{name}.npz"


def trace_of_run(session: Session, name: str, variant: VariantForm, network: Network | None = None) -> Trace:
    """The trace of one variant on the clip that is shown, ``(T, 1, C, H, W)`` by layer.

    Args:
        session: a simulated run.
        name: of the variant.
        variant: what ``simulate.json`` says of it.
        network: whose layers the trace must have, with their shapes; None where only spikes are looked at.

    Raises:
        DataError: the file is missing or damaged, or is not the trace that ``simulate.json`` describes.
    """
    path = session.path(SIMULATE) / trace_file(name)
    trace, hint = load_trace(path), SIMULATE.command(session.folder)
    if issues := [*_differences(trace, variant, path), *_misfits(trace, network, path)]:
        raise refused(path, issues, hint)
    return trace


def _differences(trace: Trace, variant: VariantForm, path: Path) -> Iterator[Issue]:
    if list(trace.layers) != list(variant.layers):
        yield Issue(
            "layers", path.name, str(list(trace.layers)), str(list(variant.layers)), "One of them was edited."
        )
        return
    for name, layer in trace.layers.items():
        if layer.raster.dtype.kind not in "ub" or layer.raster.ndim != 5:
            got = f"{layer.raster.dtype} of {layer.raster.ndim} axes"
            yield Issue("spike counts", f"{path.name}: {name}", got, "unsigned integers of 5 axes", "")
        elif layer.spikes != (told := variant.layers[name].shown):
            yield Issue("spikes", f"{path.name}: {name}", str(layer.spikes), f"{told} of simulate.json", "")


def _misfits(trace: Trace, network: Network | None, path: Path) -> Iterator[Issue]:
    for name, layer in trace.layers.items():
        shape = layer.raster.shape
        steps = shape[0] if network is None else network.input.steps
        of_neuron = shape[2:] if network is None else network.shapes.get(name, shape[2:])
        if shape != (steps, 1, *of_neuron):
            yield Issue("shape", f"{path.name}: {name}", str(shape), str((steps, 1, *of_neuron)), "")
    if network is None:
        return
    for neurons in network.neurons:
        if neurons.name not in trace.layers:
            yield Issue("layers", f"{path.name}: {neurons.name}", "nothing", "its spikes", "")
