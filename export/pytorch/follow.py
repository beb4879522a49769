# SPDX-License-Identifier: Apache-2.0
"""Run a PyTorch module once on a made-up input and write down what it computes, operation by operation.

The module itself runs, with whatever its ``forward`` does: loops over steps, containers, functions, hooks. Two things
watch it: global hooks tell where the run is (which module) and stop at modules with a state, and a
`TorchFunctionMode` sees each PyTorch function with its arguments. So a convolution is described by the weights that
were used, whether they were pruned, normalised or computed on the way, and not by an attribute that may be stale.

Whatever is not understood marks its result as such; it is an error only where a layer or the output reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


def computes(module: nn.Module) -> object:
    """The class whose function a module of ours says that it computes; a mark that is inherited does not count."""
    return vars(type(module)).get("computes")


@dataclass(frozen=True)
class Call:
    """One function that ran on a signal: its name, the module around it, its arguments, result and what they hold."""

    name: str
    where: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    read: tuple[Signal, ...]

    @property
    def layer(self) -> str:
        """Name of the layer that it becomes: that of its module."""
        return self.where or self.name

    def argument(self, place: int, *names: str, default: Any = None) -> Any:
        """An argument by its place or by one of its names."""
        if place < len(self.args):
            return self.args[place]
        return next((self.kwargs[name] for name in names if name in self.kwargs), default)


class Watch(TorchFunctionMode):
    """Follows tensors through a run, and tells of every function that runs on a signal."""

    def __init__(self, tell: Callable[[str, Call], None]) -> None:
        super().__init__()
        self._tell = tell
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

    def mark_new(self, values: Any, signal: Signal) -> None:
        """Say it of every tensor among results that nobody said anything of, and of the first in any case."""
        for place, value in enumerate(tree_leaves(values)):
            if isinstance(value, torch.Tensor) and (
                (place == 0 and len(values) == 1) or id(value) not in self._signals
            ):
                self.mark(value, signal)

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
            here = self.where[-1] if self.where else ""
            self._tell(resolve_name(func) or name, Call(name, here, args, kwargs, result, tuple(read)))
        return result


@contextmanager
def watching(
    root: nn.Module, watch: Watch, leaf: Callable[[nn.Module], bool], tell: Callable[[str, nn.Module, Any, Any], None]
) -> Iterator[None]:
    """Global hooks for the time of one run: ``leaf`` says at which modules to stop, ``tell`` is told that one ran."""
    names = {id(part): name for name, part in root.named_modules()}

    def before(module: nn.Module, args: Any) -> None:
        watch.where.append(names.get(id(module), type(module).__name__))
        if leaf(module):
            watch.inside += 1

    def after(module: nn.Module, args: Any, result: Any) -> None:
        if leaf(module):
            watch.inside -= 1
            if not watch.inside:
                tell(watch.where[-1], module, args, result)
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
