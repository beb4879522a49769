# SPDX-License-Identifier: Apache-2.0
"""Makes a pass of a function that rewrites layers: it records the pass in the network's history, once and always.

A pass that changes nothing gives back the very network that it was given, and leaves no entry in the history. Whether
anything changed is found here, from the layers, and not by each pass for itself: a layer is the same where its name,
its inputs and its operation are the same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from spikefold.export.network import Layer, Network

Arguments = ParamSpec("Arguments")
Report = TypeVar("Report")


def network_pass(
    step: str,
) -> Callable[
    [Callable[Concatenate[Network, Arguments], Sequence[Layer]]], Callable[Concatenate[Network, Arguments], Network]
]:
    """A decorator for ``network, ... -> layers``; ``step`` is the entry in the history."""

    def decorate(
        rewrite: Callable[Concatenate[Network, Arguments], Sequence[Layer]],
    ) -> Callable[Concatenate[Network, Arguments], Network]:
        @wraps(rewrite)
        def run(network: Network, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Network:
            return _recorded(network, rewrite(network, *args, **kwargs), step)

        return run

    return decorate


def reporting_pass(
    step: str,
) -> Callable[
    [Callable[Concatenate[Network, Arguments], tuple[Sequence[Layer], Callable[[Network], Report]]]],
    Callable[Concatenate[Network, Arguments], tuple[Network, Report]],
]:
    """The same for ``network, ... -> (layers, report)``, where ``report`` makes the report of the new network."""

    def decorate(
        rewrite: Callable[Concatenate[Network, Arguments], tuple[Sequence[Layer], Callable[[Network], Report]]],
    ) -> Callable[Concatenate[Network, Arguments], tuple[Network, Report]]:
        @wraps(rewrite)
        def run(network: Network, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> tuple[Network, Report]:
            layers, report = rewrite(network, *args, **kwargs)
            made = _recorded(network, layers, step)
            return made, report(made)

        return run

    return decorate


def _recorded(network: Network, layers: Sequence[Layer], step: str) -> Network:
    same = len(layers) == len(network.layers) and all(map(_is_same, network.layers, layers))
    return network if same else network.rewritten(layers, step)


def _is_same(old: Layer, new: Layer) -> bool:
    return new is old or (new.op is old.op and (new.name, new.inputs) == (old.name, old.inputs))
