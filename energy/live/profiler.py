# SPDX-License-Identifier: Apache-2.0
"""``spikefold.energy.profile(model, data)``: exact operation counts of any spiking network in PyTorch, as it runs.

Plain weight layers and neurons are counted by hooks, everything else by the operations that run (`dispatch`).
What no rule covers is named in ``unpriced``; nothing counts as zero without being listed.
`profile_result.LayerProfile` says what each number means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.parameter import is_lazy

from spikefold.energy.live.hooks import Watch
from spikefold.energy.live.profile_result import Profile
from spikefold.energy.live.spiking import to_rest, unchanged
from spikefold.errors import ConfigError, DataError, UnsupportedError

LAYOUTS = ("TN", "NT", "N")
HIDING = (torch.jit.ScriptModule, nn.DataParallel)


def profile(
    model: nn.Module,
    data: torch.Tensor | Iterable[object],
    *,
    layout: str = "TN",
    is_spiking: Callable[[nn.Module], bool] | None = None,
    call: Callable[[nn.Module, torch.Tensor], object] | None = None,
    reset: Callable[[nn.Module], None] | None = to_rest,
) -> Profile:
    """Count a network over all data, in evaluation mode and without gradients; the model is left as it was.

    Args:
        model: a network of SpikingJelly, snnTorch, sinabs, norse or plain PyTorch. It takes all steps in one call, or
            loops over them itself.
        data: one batch ``(T, N, C, H, W)``, or batches: tensors, or pairs whose first part is the input.
        layout: the first axes of a batch, ``TN``, ``NT`` or ``N`` (no steps): what counts as clip and as frame. The
            counts themselves do not depend on it.
        is_spiking: which modules spike, besides those of the libraries (and besides modules that keep a state and
            give zeros and ones).
        call: how to run one batch, ``model(x)`` if None.
        reset: run before each batch; puts the neurons of the known libraries to rest. None keeps their state.

    Raises:
        ConfigError: an unknown layout.
        DataError: no batch, or one without an input tensor.
        UnsupportedError: a module without its weights yet (lazy), or compiled or scripted code that hides what runs.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout {layout!r}", where="profile(layout=)", hint=f"one of {', '.join(LAYOUTS)}")
    modules = dict(model.named_modules())
    _check(modules)
    clips = frames = batches = 0
    with torch.no_grad(), unchanged(modules.values(), rests=reset is to_rest), Watch(modules, is_spiking) as watch:
        for module in modules.values():
            if module.training:
                module.training = False
        for x in _batches(data):
            if reset is not None:
                watch.unseen(reset, model)
            model(x) if call is None else call(model, x)
            if x.dim() < len(layout):
                raise DataError(f"a batch of shape {tuple(x.shape)} has no axes {layout}", where="profile(data)")
            watch.ledger.tags.forget()
            batches += 1
            clips += x.shape[layout.index("N")]
            frames += x.shape[:2].numel() if len(layout) > 1 else x.shape[0]
    if not batches:
        raise DataError("there is no batch to count", where="profile(data)", hint="an iterator may be used up")
    return watch.ledger.closed(clips, frames, watch.uncalled())


def _check(modules: Mapping[str, nn.Module]) -> None:
    lazy, hidden = [], []
    for name, module in modules.items():
        if module._parameters:
            held = module._parameters.items()
            lazy += [f"{name}.{key}" for key, value in held if value is not None and is_lazy(value)]
        if isinstance(module, HIDING) or "_orig_mod" in module._modules or module._compiled_call_impl is not None:
            hidden.append(name or "model")
    if lazy:
        raise UnsupportedError("weights without a shape", where=", ".join(lazy), hint="call the model once before")
    if _has_any_global_hook():
        raise UnsupportedError("hooks on all modules of the process run unseen", hint="remove them to profile")
    if hidden:
        raise UnsupportedError(
            "compiled, scripted or parallel modules hide what they run",
            where=", ".join(hidden),
            hint="profile the plain module that they were made from",
        )


def _batches(data: torch.Tensor | Iterable[object]) -> Iterator[torch.Tensor]:
    if isinstance(data, torch.Tensor):
        yield data
        return
    if isinstance(data, tuple):
        raise DataError(
            "a tuple is a batch or several, nobody can tell",
            where="profile(data)",
            hint="pass the input alone, or a list: [(x, y)]",
        )
    for batch in data:
        x = batch[0] if isinstance(batch, list | tuple) and batch else batch
        if not isinstance(x, torch.Tensor):
            raise DataError(f"a batch starts with {type(x).__name__}, not a tensor", where="profile(data)")
        yield x
