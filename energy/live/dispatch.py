# SPDX-License-Identifier: Apache-2.0
"""Sees every operation that runs outside of a weight layer or neuron, and books it by its rule.

Inside a `TorchDispatchMode` handler the mode is off, so the counting of values is not counted itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spikefold.energy.live.ledger import Ledger
from spikefold.energy.live.op_rules import Call, Rule, not_priced, rule


class Dispatch(TorchDispatchMode):
    """The mode.

    Args:
        ledger: where to book.
        where: tells the path of the module that is running.
        parameter_of: the name of a parameter from a tensor that is it or a view of it, or an empty string.
    """

    def __init__(self, ledger: Ledger, where: Callable[[], str], parameter_of: Callable[[torch.Tensor], str]) -> None:
        super().__init__()
        self._ledger, self._where, self._parameter_of = ledger, where, parameter_of
        self._rules: dict[Any, tuple[str, Rule, tuple[str, ...]] | None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in self._rules:
            self._rules[func] = _known(func)
        known = self._rules[func]
        if known is None:
            with self:  # an operation made of others, which come here one by one
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
            known = self._rules[func] = (_name(func), not_priced, ())
        op, book, names = known
        out = func(*args, **kwargs)
        given = dict(zip(names, args, strict=False)) | kwargs
        book(Call(op, given, out, self._where(), self._parameter_of, self._ledger))
        return out


def _known(func: Any) -> tuple[str, Rule, tuple[str, ...]] | None:
    # `prim` asks for properties of a tensor
    found = rule("empty") if func.namespace == "prim" else rule(_name(func))
    return None if found is None else (_name(func), found, tuple(one.name for one in func._schema.arguments))


def _name(func: Any) -> str:
    """``mul`` for ``aten::mul_``; other libraries keep their prefix."""
    name = str(func._schema.name)
    return name.removeprefix("aten::").rstrip("_")
