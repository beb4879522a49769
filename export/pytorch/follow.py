# SPDX-License-Identifier: Apache-2.0
"""Run a PyTorch module once on a made-up input and write down what it computes, operation by operation.

The module itself runs, with whatever its ``forward`` does: loops over steps, containers, functions, hooks. Two things
watch it: global hooks tell where the run is (which module) and stop at modules with a state, and a
`TorchFunctionMode` sees each PyTorch function with its arguments. So a convolution is described by the weights that
were used, whether they were pruned, normalised or computed on the way, and not by an attribute that may be stale.

Whatever is not understood marks its result as such; it is an error only where a layer or the output reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

from spikefold.errors import Issue


@dataclass(frozen=True)
class Signal:
    """What a tensor holds.

    Attributes:
        names: the layers whose outputs it is the sum of.
        state: it is a potential or current of the last of them, and no spikes.
        readout: steps were added up or averaged, or votes of a class: an output, and no layer may read it.
        lost: what made it, where that was not understood, and the module that did it.
        step: the time step that it is of, where the module takes its input apart by steps.
    """

    names: tuple[str, ...] = ()
    state: bool = False
    readout: bool = False
    lost: str = ""
    step: int | None = None


class Watch(TorchFunctionMode):
    """Follows tensors through a run; ``handler`` is asked about every function and every module that is a leaf."""

    def __init__(self, handler: Any) -> None:
        super().__init__()
        self.handler = handler
        self.where: list[str] = []
        self.inside = 0
        self._signals: dict[int, Signal] = {}
        self._kept: list[torch.Tensor] = []  # an id is a tensor's only as long as the tensor lives

    def of(self, value: Any) -> Signal | None:
        """The signal of a tensor; None for one that does not hang on the input."""
        return self._signals.get(id(value)) if isinstance(value, torch.Tensor) else None

    def mark(self, value: torch.Tensor, signal: Signal) -> None:
        """Say what a tensor holds."""
        self._signals[id(value)] = signal
        self._kept.append(value)

    def mark_all(self, values: Any, signal: Signal) -> None:
        """Say it of every tensor in a result that is not known yet."""
        for value in tree_leaves(values):
            if isinstance(value, torch.Tensor):
                self.mark(value, signal)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, and tell the handler if one of its arguments hangs on the input."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.inside:
            return result
        read = [signal for value in tree_leaves((args, kwargs)) if (signal := self.of(value)) is not None]
        if read:
            name = getattr(func, "__name__", str(func))
            self.handler.function(name, resolve_name(func) or name, args, kwargs, result, read)
        return result


@contextmanager
def watching(root: nn.Module, watch: Watch, leaf: Any, handler: Any) -> Iterator[None]:
    """Global hooks for the time of one run; ``leaf(module)`` says where to stop, ``handler`` what that layer is."""
    names = {id(part): name for name, part in root.named_modules()}

    def before(module: nn.Module, args: Any) -> None:
        watch.where.append(names.get(id(module), type(module).__name__))
        if leaf(module):
            watch.inside += 1

    def after(module: nn.Module, args: Any, result: Any) -> None:
        if leaf(module):
            watch.inside -= 1
            if not watch.inside:
                handler.leaf(watch.where[-1], module, args, result)
        watch.where.pop()

    handles = [
        torch_module.register_module_forward_pre_hook(before),
        torch_module.register_module_forward_hook(after),
    ]
    try:
        with watch:
            yield
    finally:
        for handle in handles:
            handle.remove()


def hooked(root: nn.Module) -> list[Issue]:
    """Every hook that PyTorch or the user put on the forward pass, but those that compute a weight from others."""
    known = ("WeightNorm", "SpectralNorm")
    issues = []
    for name, part in root.named_modules():
        hooks = [*part._forward_hooks.values(), *part._forward_pre_hooks.values()]
        for hook in hooks:
            kinds = {kind.__name__ for kind in type(hook).__mro__}
            if kinds & {*known, "BasePruningMethod"}:
                continue
            what = getattr(hook, "__qualname__", type(hook).__name__)
            hint = "remove the hook, or write what it does into the module"
            issues.append(Issue("no forward hooks", name or "the module", what, "none", hint))
    return issues
