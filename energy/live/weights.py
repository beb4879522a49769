# SPDX-License-Identifier: Apache-2.0
"""Which stored weight a tensor is, and which weights were used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import nn


class Weights:
    """The parameters of a network, by their tensors and by the memory that views of them share.

    Args:
        modules: all of the network, by their paths.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._parameters: dict[str, nn.Parameter] = {}
        self._names: dict[int, str] = {}  # by identity, which lasts as long as the parameters are held here
        for path, module in modules.items():
            for key, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in self._names:
                    name = f"{path}.{key}" if path else key
                    self._parameters[name], self._names[id(parameter)] = parameter, name
        self._used: set[str] = set()

    def use(self, module: nn.Module) -> None:
        """Mark the parameters of a layer as used."""
        for parameter in module._parameters.values():
            if parameter is not None:
                self._used.add(self._name_of(parameter))

    def layer_of(self, x: torch.Tensor) -> str:
        """The layer whose weight a tensor is, or a view of it, or an empty string; it is marked as used.

        A parameter that is not called ``weight`` stands for itself.
        """
        name = self._name_of(x)
        if name:
            self._used.add(name)
        return name.removesuffix(".weight")

    def unused(self) -> list[str]:
        """Parameters of two or more dimensions that nothing used."""
        return [
            name for name, parameter in self._parameters.items() if parameter.dim() > 1 and name not in self._used
        ]

    def _name_of(self, x: torch.Tensor) -> str:
        known = self._names.get(id(x))
        if known is not None:
            return known
        for start, end, name in self._memory.get(x.untyped_storage().data_ptr(), ()):
            if start <= x.data_ptr() < end:
                return name
        return ""

    @cached_property
    def _memory(self) -> dict[int, list[tuple[int, int, str]]]:
        """First and last byte and name of the parameters in each storage."""
        found: dict[int, list[tuple[int, int, str]]] = {}
        for name, parameter in self._parameters.items():
            start = parameter.data_ptr()
            end = start + parameter.numel() * parameter.element_size()
            found.setdefault(parameter.untyped_storage().data_ptr(), []).append((start, end, name))
        return found
