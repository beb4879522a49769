# SPDX-License-Identifier: Apache-2.0
"""Hooks on a network: which module is running, the counts of weight layers and neurons, and nothing seen twice.

A dispatch mode that sees every operation would nearly double the time of a small network, most of it inside the
neurons. So the mode is off inside of modules whose costs are known as a whole (plain weight layers, neurons) and
between the parts of a plain `nn.Sequential`, where nothing happens, and on everywhere else: what a module, a hook
or a function of the user does is seen one by one, and nothing is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from spikefold.energy.live.dispatch import Dispatch
from spikefold.energy.live.geometry import is_plain, of_module
from spikefold.energy.live.known_modules import is_chain, only_calls, reading
from spikefold.energy.live.ledger import Ledger
from spikefold.energy.live.op_rules import Call, rule
from spikefold.energy.live.spiking import (
    BY_OUTPUT,
    first_tensor,
    has_own_elements_only,
    may_be_a_neuron,
    spike_rule,
    state_of,
)
from spikefold.energy.live.weights import Weights


class Watched:
    """One module: its path, what it is, and whether its operations are known as a whole.

    Attributes:
        spikes: why its output is spikes, or an empty string.
        asked: whether it may turn out to be a neuron once it runs.
        reading: the one operation that it is, if so.
        booked: whether its calls are.
        before: its state before the call that runs.
        silent_updates: neuron updates while it was asked and did not spike.
        chain: whether it is a container that calls its parts one after the other.
        silent: whether nothing but the calls of its parts happens in the call that runs.
    """

    def __init__(self, name: str, module: nn.Module, is_spiking: Callable[[nn.Module], bool] | None) -> None:
        self.name, self.module = name or "model", module
        self.plain = is_plain(module)
        self.spikes = "" if self.plain else spike_rule(module, is_spiking)
        self.reading = None if self.plain or self.spikes else reading(module)
        own = bool(self.spikes) and has_own_elements_only(module)
        self.closed = self.plain or own or self.reading is not None
        self.asked = not self.closed and not self.spikes and bool(name) and may_be_a_neuron(module)
        self.booked = self.closed or self.asked or bool(self.spikes)
        self.before: tuple[object, ...] = ()
        self.silent_updates = 0
        self.chain = is_chain(module)
        self.silent = False


class Watch:
    """Counts a network while it runs: ``with Watch(modules) as watch: model(x)``, then `Ledger.closed`.

    Args:
        modules: all of the network, by their paths.
        is_spiking: the caller's word on which modules spike, besides those known.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], is_spiking: Callable[[nn.Module], bool] | None = None
    ) -> None:
        self.ledger = Ledger()
        self._modules, self._is_spiking = modules, is_spiking
        running = self._running = list[Watched]()
        self._closed_by: Watched | None = None
        self._seeing = False
        self._weights = Weights(modules)
        # no method of this object: a cycle would keep all of it until the collector runs
        self._mode = Dispatch(self.ledger, lambda: running[-1].name if running else "model", self._weights.layer_of)
        self._watched: dict[nn.Module, Watched] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Watch:
        inside: set[nn.Module] = set()
        for name, module in self._modules.items():
            if module in inside:
                continue
            watched = self._watched[module] = Watched(name, module, self._is_spiking)
            if watched.closed and module._modules:
                inside.update(module.modules())
            # after the hooks of the user before a call, and before theirs behind it: what these compute is seen
            self._handles += (
                module.register_forward_pre_hook(partial(self._enter, watched)),
                module.register_forward_hook(
                    partial(self._leave, watched), prepend=True, with_kwargs=True, always_call=True
                ),
            )
        self._see(True)
        return self

    def __exit__(self, *error: object) -> None:
        self._see(False)
        for handle in self._handles:
            handle.remove()

    def unseen(self, run: Callable[..., None], *arguments: Any) -> None:
        """Run something that does not belong to the network's work."""
        seeing = self._seeing
        self._see(False)
        try:
            run(*arguments)
        finally:
            self._see(seeing)

    def uncalled(self) -> list[str]:
        """Weights of two or more dimensions that no operation used."""
        return self._weights.unused()

    def _see(self, every_operation: bool) -> None:
        if every_operation and not self._seeing:
            self._mode.__enter__()
        elif self._seeing and not every_operation:
            self._mode.__exit__(None, None, None)
        self._seeing = every_operation

    def _enter(self, watched: Watched, module: nn.Module, inputs: object) -> None:
        self._running.append(watched)
        if self._closed_by is None and watched.closed:
            self._closed_by = watched
        elif watched.asked:
            watched.before = state_of(module)
        watched.silent = watched.chain and only_calls(module, self._watched)
        self._see(self._closed_by is None and not watched.silent)

    def _leave(
        self, watched: Watched, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: object
    ) -> None:
        if watched not in self._running:  # a hook of the user failed before it began
            return
        if watched.booked:
            x = inputs[0] if inputs else next(iter(named.values()), None)
            self.unseen(self._book, watched, x, output)
        top = None
        while top is not watched:  # also those above it that ended in an error
            top = self._running.pop()
            if top is self._closed_by:
                self._closed_by = None
        self._see(self._closed_by is None and not (self._running and self._running[-1].silent))

    def _book(self, watched: Watched, x: Any, output: object) -> None:
        made = first_tensor(output)
        if made is None:  # also where the call failed
            self.ledger.unpriced[("output that is no tensor", watched.name)] += 1
        elif watched.plain:
            self._weight_layer(watched, x, made)
        elif watched.reading is not None:
            op, named_arguments = watched.reading
            found = rule(op)
            if found is not None:
                given = named_arguments(watched.module, x)
                found(Call(op, given, made, watched.name, self._weights.layer_of, self.ledger))
        elif watched.spikes or watched.asked:
            self._neuron(watched, made)

    def _weight_layer(self, watched: Watched, x: torch.Tensor, output: torch.Tensor) -> None:
        module: Any = watched.module
        self._weights.use(module)
        bias = output.numel() if module.bias is not None else 0
        if isinstance(module, nn.Linear):
            self.ledger.linear(watched.name, x, module.out_features, bias)
            return
        dimensions = len(module.kernel_size)
        plain_borders = module.padding_mode == "zeros" and not module.transposed
        zeros = self.ledger.zeros_around(x, dimensions) if plain_borders else ()
        spatial = tuple(x.shape[-dimensions:])
        if zeros:
            spatial = tuple(n - sum(z) for n, z in zip(spatial, zeros, strict=True))
        connections = of_module(module, spatial, tuple(output.shape[-dimensions:]), zeros)
        self.ledger.convolution(watched.name, x, connections, spatial, bias, zeros)

    def _neuron(self, watched: Watched, spikes: torch.Tensor) -> None:
        if watched.asked and not self._is_a_neuron(watched, spikes):
            return
        kind = self.ledger.neuron(watched.name, spikes, watched.spikes)
        if watched.spikes == BY_OUTPUT and kind != "binary":
            self.ledger.unpriced[(f"{kind} output of what looked like a neuron", watched.name)] += 1

    def _is_a_neuron(self, watched: Watched, output: torch.Tensor) -> bool:
        """Decide once: state that moved, and output of zeros and ones that are not all zeros."""
        if state_of(watched.module) == watched.before or self.ledger.tags.of(output).kind != "binary":
            watched.asked = False
            return False
        if not bool(output.any()):
            watched.silent_updates += output.numel()
            return False
        watched.asked, watched.spikes, watched.closed = False, BY_OUTPUT, True
        self.ledger.forget(watched.name)
        updates = watched.silent_updates
        self.ledger.add(watched.name, "neuron", neuron_updates=updates, state_accesses=2 * updates)
        return True
