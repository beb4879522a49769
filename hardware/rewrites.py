# SPDX-License-Identifier: Apache-2.0
"""Makes of what a chip lacks what it has, by the exact rewrites that the chip names, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.hardware.chip import Chip


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A network in the form that a chip can carry, and the way there.

    Attributes:
        network: after all steps.
        steps: the rewrites that changed something: name, network before it and behind it.
        issues: what a rewrite cannot do; the network then still holds it.
    """

    network: Network
    steps: tuple[tuple[str, Network, Network], ...]
    issues: tuple[Issue, ...]


def rewritten(network: Network, chip: Chip) -> Rewritten:
    """The network with the chip's rewrites applied as far as they go.

    Args:
        network: real or integer, folded.
        chip: the target.
    """
    steps: list[tuple[str, Network, Network]] = []
    issues: list[Issue] = []
    for rewrite in chip.rewrites:
        before = network
        try:
            network = rewrite(before)
        except UnsupportedError as error:
            issues += error.issues or [Issue(error.what, error.where, "as it is", "a rewrite", error.hint)]
            continue
        if network is not before:
            added = network.history[len(before.history) :]
            steps.append((added[0], before, network))
    return Rewritten(network, tuple(steps), tuple(issues))
