# SPDX-License-Identifier: Apache-2.0
"""Which modules of a PyTorch network spike, and how their state is put to rest and given back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

# package, base class, the method that puts one module to rest: read from the classes, so that none must be installed
STATEFUL = (
    ("spikingjelly", "MemoryModule", "reset"),
    ("sinabs", "StatefulLayer", "reset_states"),
    ("snntorch", "SpikingNeuron", "reset_mem"),
)
SPIKING = (
    ("spikingjelly", "BaseNode"),
    ("sinabs", "StatefulLayer"),
    ("snntorch", "SpikingNeuron"),
    ("norse", "SNN"),
    ("norse", "SNNCell"),
    ("norse", "SNNRecurrent"),
    ("norse", "SNNRecurrentCell"),
)
NUMBERS = (int, float)
# what modules hold most of; to ask whether something is a tensor takes longer
NO_TENSORS = frozenset((type(None), bool, int, float, str, tuple, list, set, dict, OrderedDict))
BY_PREDICATE = "is_spiking of the caller"
BY_OUTPUT = "binary output of a module that keeps state"


def spike_rule(module: nn.Module, is_spiking: Callable[[nn.Module], bool] | None) -> str:
    """Why the output of this module is spikes, or an empty string."""
    if is_spiking is not None and is_spiking(module):
        return BY_PREDICATE
    return _library_rule(type(module))  # type: ignore[arg-type, unused-ignore]


def to_rest(model: nn.Module) -> None:
    """Put the neurons of SpikingJelly, sinabs and snnTorch to rest, as before a new clip."""
    for module in model.modules():
        ancestors = _ancestors(type(module))  # type: ignore[arg-type, unused-ignore]
        for package, name, method in STATEFUL:
            if (package, name) in ancestors and hasattr(module, method):
                getattr(module, method)()


def has_own_elements_only(module: nn.Module) -> bool:
    """Whether a module has no weights of two or more dimensions, itself or below: its work is a neuron's."""
    return all(parameter.dim() < 2 for parameter in module.parameters())


def may_be_a_neuron(module: nn.Module) -> bool:
    """A module of the user's without weights and children: worth a look at its state and output."""
    return (
        not type(module).__module__.startswith("torch.")
        and not any(True for _ in module.children())
        and has_own_elements_only(module)
    )


def state_of(module: nn.Module) -> tuple[object, ...]:
    """Identity and version of every tensor that a module keeps besides its parameters."""
    kept = (*module._buffers.values(), *module.__dict__.values())
    return tuple(
        (id(one), None if one.is_inference() else one._version) for one in kept if isinstance(one, torch.Tensor)
    )


def first_tensor(output: object) -> torch.Tensor | None:
    """The output, or the first part of a tuple ``(spikes, state)``."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


@contextmanager
def unchanged(modules: Iterable[nn.Module], *, rests: bool) -> Iterator[None]:
    """Give back every module as it was: attributes, buffers and states, their values and the training flags.

    It must be entered and left without gradients.

    Args:
        modules: all of the network.
        rests: `to_rest` runs before anything else does.
    """
    saved = [(module, _copy(module, rests)) for module in modules]
    try:
        yield
    finally:
        for module, (attributes, inner, values) in saved:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for name, entries in inner.items():
                attributes[name].clear()
                attributes[name].update(entries)
            for tensor, version, value in values:
                if tensor._version != version:
                    tensor.copy_(value)


def _copy(module: nn.Module, rests: bool) -> tuple[dict, dict, list]:  # type: ignore[type-arg]
    attributes = dict(module.__dict__)
    inner = {"_buffers": dict(module._buffers)}
    kept = [*attributes.values(), *module._buffers.values()]
    if "_memories" in attributes:
        inner["_memories"] = dict(attributes["_memories"])
        # SpikingJelly rests by a new state where it rests at a number; the old one, often large, is not touched
        at_rest = attributes.get("_memories_rv", {}) if rests else {}
        kept += [one for name, one in inner["_memories"].items() if not isinstance(at_rest.get(name), NUMBERS)]
    tensors = [
        one
        for one in kept
        if type(one) not in NO_TENSORS and isinstance(one, torch.Tensor) and not one.is_inference()
    ]
    return attributes, inner, [(one, one._version, one.clone()) for one in tensors]


@cache
def _library_rule(kind: type) -> str:
    ancestors = _ancestors(kind)
    return next((" ".join(one) for one in SPIKING if one in ancestors), "")


@cache
def _ancestors(kind: type) -> frozenset[tuple[str, str]]:
    """Package and name of a class and all that it descends from."""
    return frozenset((one.__module__.split(".")[0], one.__name__) for one in kind.__mro__)
