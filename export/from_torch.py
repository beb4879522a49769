# SPDX-License-Identifier: Apache-2.0
"""A trained PyTorch module as a real `Network`: what its ``forward`` computes, and not the order of its children.

The module runs once, on an input of ones, and every operation is written down with the numbers it used
(`export.pytorch.follow`). Neurons of SpikingJelly, snnTorch, sinabs and norse come in with their own resets and
thresholds (`export.pytorch.neurons`). Everything that cannot be carried is named at once.

The network's numbers are those that the module computes with, as float64. Dynamic attention becomes a static `Gate`
with the factors that the caller calibrated; that step changes the function, `train.deploy.gates` says by how much.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.pytorch.describe import Description, is_leaf
from spikefold.export.pytorch.follow import Signal, hooked, watching
from spikefold.export.pytorch.handlers import HANDLERS

Axes = Literal["auto", "T,N", "N,T", "N*T", "N"]


def from_torch(
    module: nn.Module, spec: InputSpec, classes: int | None = None, gates: Mapping[str, np.ndarray] | None = None,
    axes: Axes = "auto", readout: Neuron | None = None,
) -> Network:  # fmt: skip
    """Describe a module as a real network.

    Args:
        module: with neurons of SpikingJelly, snnTorch, sinabs or norse; nothing of it is changed.
        spec: input shape ``(C, H, W)``, step and clip length.
        classes: groups of the output neurons; None: what a voting layer at the end says, else one neuron each.
        gates: static factors ``(C,)`` by the name of each attention module.
        axes: what stands before ``C, H, W`` in the module's input: steps and clips, clips and steps, both in one axis
            with the steps of a clip together, or clips alone where each call is one step. ``auto`` asks the neurons.
        readout: neurons for a network whose last layer has none; its spikes are then read as the classes.

    Raises:
        UnsupportedError: with everything that has no counterpart.
    """
    issues = hooked(module)
    if issues:
        raise UnsupportedError("the module's forward pass is changed by hooks", issues=issues)
    tried: list[Issue] = []
    # in the module's own precision, in which it computes its weights; in another one where it mixes precisions
    for leading, dtype in product(_candidates(module, axes), (None, torch.float64)):
        description = Description(spec, gates or {}, 1 if leading in ("N", "N*T") else 2, HANDLERS)
        failed, output = _run(module, description, spec, leading, dtype)
        if failed is None:
            return _network(description, output, spec, classes, readout)
        tried += description.issues
        tried.append(Issue("runs on its input", "the module", failed, f"axes {leading}", "check spec and axes"))
    raise UnsupportedError("the module does not run on an input of this shape", issues=dict.fromkeys(tried))


def _candidates(module: nn.Module, axes: Axes) -> Iterator[Axes]:
    if axes != "auto":
        yield axes
        return
    parts = list(module.modules())
    kinds = {base.__name__ for part in parts for base in type(part).__mro__}
    if any(getattr(part, "step_mode", None) == "m" for part in parts):
        yield "T,N"
    elif "SqueezeMixin" in kinds:
        yield "N*T"
    elif "StatefulLayer" in kinds:
        yield "N,T"
    elif kinds & {"SNN", "SNNRecurrent"}:
        yield "T,N"
    else:
        yield from ("N", "T,N")


def _run(
    module: nn.Module, description: Description, spec: InputSpec, axes: Axes, dtype: torch.dtype | None
) -> tuple[str | None, object]:
    """Why the module does not run on such an input, or what it returned."""
    ours = _copied(module).eval()
    ours = ours if dtype is None else ours.to(dtype)
    for part in ours.modules():
        if hasattr(part, "reset") and hasattr(part, "_memories"):
            cast("Any", part).reset()
    clips = _clips(ours)
    lead = {"T,N": (spec.steps, clips), "N,T": (clips, spec.steps), "N*T": (clips * spec.steps,), "N": (clips,)}[axes]
    own = next((value.dtype for value in ours.parameters() if value.is_floating_point()), torch.float32)
    x = torch.ones((*lead, *spec.shape), dtype=own)
    watch = description.watch
    watch.mark(x, Signal((INPUT,)))
    try:
        with (
            torch.no_grad(),
            warnings.catch_warnings(action="ignore"),
            watching(ours, watch, is_leaf, description.leaf),
        ):
            return None, ours(x)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", None


def _copied(module: nn.Module) -> nn.Module:
    """A copy; what was computed in the module (a normalised weight, a state) without what it came from."""
    memo: dict[int, object] = {}
    for part in module.modules():
        for value in tree_leaves([vars(part), part._buffers, vars(part).get("_memories")]):
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(module, memo)


def _clips(module: nn.Module) -> int:
    """As many clips as a sinabs layer was built for, else one."""
    sizes = {int(size) for part in module.modules() if isinstance(size := getattr(part, "batch_size", None), int)}
    return max((size for size in sizes if size > 0), default=1)


def _network(
    description: Description, output: object, spec: InputSpec, classes: int | None, readout: Neuron | None
) -> Network:
    read = [description.watch.of(value) for value in tree_leaves(output) if isinstance(value, torch.Tensor)]
    ends = list(dict.fromkeys(signal.names for signal in read if signal and signal.names and not signal.state))
    layers = list(description.layers)
    if not description.issues and not ends:
        description.issue("an output that hangs on the input", "the module", "none", "return the output's spikes")
    if len(ends) > 1:
        description.issue("one output", "the module", f"{len(ends)}: {ends}", "return the output's spikes alone")
    if ends and len(ends) == 1 and not description.issues:
        layers = _needed(layers, ends[0])
        last = next((layer.op for layer in layers if ends[0] == (layer.name,)), None)
        if not isinstance(last, Neuron):
            if readout is None:
                description.issue(
                    "spiking output", ends[0][0] if ends[0] else "the module", "a layer without neurons behind it",
                    "give readout=Neuron(threshold): output neurons that turn the current into spikes",
                )  # fmt: skip
            else:
                layers.append(Layer("readout", readout, ends[0]))
    if description.issues:
        raise UnsupportedError("the model holds layers that cannot be exported", issues=description.issues)
    outputs = (
        int(np.prod(description.shapes[layers[-1].name]))
        if layers[-1].name in description.shapes
        else int(np.prod(description.shapes[ends[0][0]]))
    )
    voted = None if description.voters is None else outputs // description.voters
    if classes is not None and voted is not None and classes != voted:
        raise UnsupportedError(f"its voting layer has {voted} classes, {classes} were asked for", where="classes")
    return Network(spec, tuple(layers), classes or voted or outputs, history=("from_torch",))


def _needed(layers: list[Layer], ends: tuple[str, ...]) -> list[Layer]:
    """The layers that the output hangs on, in the order in which they ran."""
    needed = set(ends)
    for layer in reversed(layers):
        if layer.name in needed:
            needed.update(layer.inputs)
    return [layer for layer in layers if layer.name in needed]
