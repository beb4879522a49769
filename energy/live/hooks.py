# SPDX-License-Identifier: Apache-2.0
"""Hooks on a network: which module is running, the counts of weight layers and neurons, and nothing seen twice.

A dispatch mode that sees every operation would nearly double the time of a small network, most of it inside the
neurons. So the mode is off inside of modules whose costs are known as a whole (plain weight layers, neurons), and on
everywhere else: what a module or a function of the user does is seen one by one, and nothing is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from spikefold.energy.live.dispatch import Dispatch
from spikefold.energy.live.geometry import is_plain, of_module
from spikefold.energy.live.known_modules import reading
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


class Watched:
    """One module: its path, what it is, and whether its operations are known as a whole.

    Attributes:
        spikes: why its output is spikes, or an empty string.
        asked: whether it may turn out to be a neuron once it runs.
        reading: the one operation that it is, if so.
        booked: whether its calls are.
        before: its state before the call that runs.
        silent_updates: neuron updates while it was asked and did not spike.
    """

    def __init__(self, name: str, module: nn.Module, is_spiking: Callable[[nn.Module], bool] | None) -> None:
        self.name, self.module = name or "model", module
        self.plain = is_plain(module)
        self.spikes = "" if self.plain else spike_rule(module, is_spiking)
        self.reading = None if self.spikes else reading(module)
        own = bool(self.spikes) and has_own_elements_only(module)
        self.closed = self.plain or own or self.reading is not None
        self.asked = not self.closed and not self.spikes and bool(name) and may_be_a_neuron(module)
        self.booked = self.closed or self.asked or bool(self.spikes)
        self.before: tuple[object, ...] = ()
        self.silent_updates = 0


class Watch:
    """Counts a network while it runs: ``with Watch(model) as watch: model(x)``, then `Ledger.closed`.

    Args:
        model: the network.
        is_spiking: the caller's word on which modules spike, besides those known.
    """

    def __init__(self, model: nn.Module, is_spiking: Callable[[nn.Module], bool] | None = None) -> None:
        self.ledger = Ledger()
        self._model, self._is_spiking = model, is_spiking
        self._running: list[Watched] = []
        self._closed_by: Watched | None = None
        self._parameters: dict[int, list[tuple[int, int, str]]] = {}
        self._used: set[str] = set()
        self._mode = Dispatch(self.ledger, self._where, self._parameter_of)
        self._handles: list[Any] = []

    def __enter__(self) -> Watch:
        for name, parameter in self._model.named_parameters():
            start = parameter.data_ptr()
            held = self._parameters.setdefault(parameter.untyped_storage().data_ptr(), [])
            held.append((start, start + parameter.numel() * parameter.element_size(), name))
        inside: set[nn.Module] = set()
        for name, module in self._model.named_modules():
            if module in inside:
                continue
            watched = Watched(name, module, self._is_spiking)
            if watched.closed:
                inside.update(module.modules())
            self._handles += self._hooks(watched)
        self._mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._closed_by is None:
            self._mode.__exit__(None, None, None)
        for handle in self._handles:
            handle.remove()

    def unseen(self, run: Callable[..., None], *arguments: Any) -> None:
        """Run something that does not belong to the network's work."""
        if self._closed_by is not None:
            run(*arguments)
            return
        self._mode.__exit__(None, None, None)
        try:
            run(*arguments)
        finally:
            self._mode.__enter__()

    def uncalled(self) -> list[str]:
        """Weights of two or more dimensions that no operation used."""
        return [
            name
            for name, parameter in self._model.named_parameters()
            if parameter.dim() > 1 and name not in self._used
        ]

    def _hooks(self, watched: Watched) -> list[Any]:
        def enter(module: nn.Module, inputs: object) -> None:
            self._running.append(watched)
            if watched.closed and self._closed_by is None:
                self._mode.__exit__(None, None, None)
                self._closed_by = watched
            elif watched.asked:
                watched.before = state_of(module)

        def leave(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: object) -> None:
            if watched.booked:
                self.unseen(self._book, watched, inputs[0] if inputs else next(iter(named.values()), None), output)
            while self._running:  # also modules above it that an exception left
                top = self._running.pop()
                if top is self._closed_by:
                    self._closed_by = None
                    self._mode.__enter__()
                if top is watched:
                    break

        module = watched.module
        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, with_kwargs=True)]

    def _book(self, watched: Watched, x: Any, output: Any) -> None:
        if watched.plain:
            self._weight_layer(watched, x, output)
        elif watched.reading is not None:
            op, named_arguments = watched.reading
            found = rule(op)
            if found is not None:
                given = named_arguments(watched.module, x)
                found(Call(op, given, output, watched.name, self._parameter_of, self.ledger))
        elif watched.spikes or watched.asked:
            self._neuron(watched, output)

    def _weight_layer(self, watched: Watched, x: torch.Tensor, output: Any) -> None:
        module: Any = watched.module
        self._used.update(name for p in module.parameters(recurse=False) if (name := self._name_of(p)))
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

    def _neuron(self, watched: Watched, output: object) -> None:
        spikes = first_tensor(output)
        if spikes is None:
            self.ledger.unpriced[("output that is no tensor", watched.name)] += 1
            return
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

    def _where(self) -> str:
        return self._running[-1].name if self._running else "model"

    def _name_of(self, x: torch.Tensor) -> str:
        for start, end, name in self._parameters.get(x.untyped_storage().data_ptr(), ()):
            if start <= x.data_ptr() < end:
                return name
        return ""

    def _parameter_of(self, x: torch.Tensor) -> str:
        name = self._name_of(x)
        if name:
            self._used.add(name)
        return name.removesuffix(".weight")
